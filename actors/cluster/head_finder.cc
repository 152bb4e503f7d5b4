#include "actors/cluster/head_finder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "actors/cluster/messages.h"

namespace troupe {
namespace {

constexpr char kNotTheLeader[] = "not the leader: ";

}   // namespace

absl::Status NotTheLeader(const std::string& leader) {
  return absl::UnavailableError(absl::StrCat(kNotTheLeader, leader.empty() ? "nobody leads yet" : leader));
}

HeadFinder::HeadFinder(std::unique_ptr<Network> network, std::vector<std::string> places) : places_(std::move(places)), network_(std::move(network)) {
  network_->Locate(kHeadNode, places_);
}

void HeadFinder::Request(const Address& to, Frame frame, Lane lane, Duration timeout, Reply reply) {
  if (to.node != kHeadNode || places_.size() < 2) return network_->Request(to, std::move(frame), lane, timeout, std::move(reply));
  uint64_t turn = 0;
  {
    std::lock_guard lock(mutex_);
    turn = turn_;
  }
  network_->Request(to, std::move(frame), lane, timeout, [this, turn, reply = std::move(reply)](absl::StatusOr<Frame> answer) {
    if (absl::IsUnavailable(answer.status()) || absl::IsDeadlineExceeded(answer.status())) Next(turn, answer.status());
    reply(std::move(answer));
  });
}

void HeadFinder::Next(uint64_t turn, const absl::Status& why) {
  std::lock_guard lock(mutex_);
  if (turn != turn_) return;   // another one has had no luck either, and went on
  ++turn_;
  absl::string_view leader(why.message());
  auto first = places_.end();
  if (absl::ConsumePrefix(&leader, kNotTheLeader)) first = std::ranges::find(places_, absl::StrCat("tcp:", leader));
  if (first == places_.end()) first = places_.begin() + 1;
  std::rotate(places_.begin(), first, places_.end());
  network_->Locate(kHeadNode, places_);
}

}   // namespace troupe
