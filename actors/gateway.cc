#include "actors/gateway.h"

#include <algorithm>
#include <vector>

#include "actors/system.h"
#include "caf/sec.hpp"

namespace troupe {
namespace {
constexpr std::chrono::minutes kLookEvery{1};
}   // namespace

caf::behavior Gateway::make_behavior() {
  return {[](const Thunk& thunk) { thunk.run(); }};
}

void Gateway::Began(uint64_t number) {
  open_.emplace(number, clock().now());
  if (std::exchange(looking_, true)) return;
  delayed_send(this, kLookEvery, Thunk{[this] { EndOverdue(); }});
}

void Gateway::EndOverdue() {
  std::vector<uint64_t> overdue;
  for (const auto& [number, since] : open_) {
    if (clock().now() - since >= kAnswerMax) overdue.push_back(number);
  }
  std::ranges::sort(overdue);   // in the order of their requests
  // As CAF's clock does it; an answer that comes later finds nobody.
  for (const uint64_t number : overdue) eq_impl(caf::make_message_id(number), ctrl(), context(), caf::make_error(caf::sec::request_timeout));
  looking_ = open_.size() > overdue.size();
  if (looking_) delayed_send(this, kLookEvery, Thunk{[this] { EndOverdue(); }});
}

}   // namespace troupe
