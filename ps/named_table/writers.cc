#include "ps/named_table/writers.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"

namespace troupe {

absl::StatusOr<WriterId> TableWriters::Open(uint64_t user, Time now) {
  auto slot = std::ranges::find(slots_, user, &Slot::user);
  if (slot == slots_.end()) {
    slot = std::ranges::find(slots_, kNobody, &Slot::user);
    if (slot == slots_.end()) {
      return absl::ResourceExhaustedError(absl::StrCat("the table has ", slots_.size(), " users that may write, which is the most: wait for one to leave"));
    }
    slot->user = user;
    ++version_;
  }
  slot->until = now + lease_;
  return WriterId{static_cast<uint32_t>(slot - slots_.begin())};
}

void TableWriters::Close(uint64_t user) {
  const auto slot = std::ranges::find(slots_, user, &Slot::user);
  if (user == kNobody || slot == slots_.end()) return;
  slot->user = kGone;
  ++version_;
}

std::vector<WriterId> TableWriters::Unsettled(Time now) {
  std::vector<WriterId> unsettled;
  for (size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (slot.user == kNobody || (slot.user != kGone && slot.until > now)) continue;
    if (slot.user != kGone) ++version_;
    slot.user = kGone;
    unsettled.push_back(WriterId{static_cast<uint32_t>(i)});
  }
  return unsettled;
}

void TableWriters::Settled(WriterId writer) {
  Slot& slot = slots_[static_cast<uint32_t>(writer)];
  if (slot.user != kGone) return;
  slot.user = kNobody;
  ++version_;
}

std::string TableWriters::Text() const {
  std::string text;
  for (const Slot& slot : slots_) absl::StrAppend(&text, text.empty() ? "" : " ", slot.user);
  return text;
}

absl::Status TableWriters::Restore(std::string_view text, Time now) {
  std::vector<Slot> slots;
  for (const char *at = text.data(), *end = at + text.size(); at != end;) {
    Slot slot{.until = now + lease_};
    const auto [next, error] = std::from_chars(at, end, slot.user);
    if (error != std::errc() || (next != end && *next != ' ')) return absl::DataLossError("the list of writers is damaged");
    slots.push_back(slot);
    at = next == end ? end : next + 1;
  }
  if (slots.size() > slots_.size()) return absl::DataLossError(absl::StrCat("a list of ", slots.size(), " writers, expected at most ", slots_.size()));
  std::ranges::copy(slots, slots_.begin());
  ++version_;
  return absl::OkStatus();
}

}   // namespace troupe
