#include "ps/group_view.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace troupe {

absl::StatusOr<GroupView> GroupView::Make(uint32_t member, uint32_t members, uint64_t incarnation) {
  if (member >= members) return absl::InvalidArgumentError(absl::StrCat("group: member is ", member, ", expected below the number of members, ", members));
  if (incarnation == 0) return absl::InvalidArgumentError("group: incarnation is 0, expected at least 1");
  GroupView view(member, members);
  view.incarnations_[member] = incarnation;
  view.heard_[member] = Heard{0, incarnation == 1};
  return view;
}

absl::StatusOr<bool> GroupView::Hear(const Greeting& greeting) {
  if (greeting.incarnations.size() != incarnations_.size() || greeting.member >= incarnations_.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("greeting of member ", greeting.member, " of ", greeting.incarnations.size(), ", expected one of ", incarnations_.size(), " members"));
  }
  bool grown = false;
  for (size_t i = 0; i < incarnations_.size(); ++i) {
    if (greeting.incarnations[i] <= incarnations_[i] || i == member_) continue;   // of itself nobody knows more
    incarnations_[i] = greeting.incarnations[i];
    grown = true;
  }
  if (grown) {
    const auto own = heard_[member_];
    heard_.assign(heard_.size(), std::nullopt);
    heard_[member_] = own;
  }
  if (greeting.member != member_ && greeting.incarnations == incarnations_) heard_[greeting.member] = Heard{greeting.over, greeting.in_step};
  return grown;
}

void GroupView::Stand(Round over, bool in_step) {
  heard_[member_] = Heard{over, in_step};
}

Greeting GroupView::Own() const {
  return {.member = member_, .incarnations = incarnations_, .over = heard_[member_]->over, .in_step = heard_[member_]->in_step};
}

// Incarnations only rise, so the sum does. Of two members that work, each has been greeted by the other in its own view; whoever has been in both of two views
// has had one before the other, so that they differ in no sense but by incarnations that have risen.
uint64_t GroupView::number() const {
  return std::accumulate(incarnations_.begin(), incarnations_.end(), uint64_t{0});
}

std::vector<uint32_t> GroupView::Missing() const {
  std::vector<uint32_t> missing;
  for (uint32_t i = 0; i < heard_.size(); ++i)
    if (!heard_[i]) missing.push_back(i);
  return missing;
}

std::optional<uint32_t> GroupView::Source() const {
  const auto rank = [this](uint32_t i) { return std::tuple(heard_[i]->in_step, heard_[i]->over); };
  uint32_t best = 0;
  for (uint32_t i = 1; i < heard_.size(); ++i)
    if (rank(i) > rank(best)) best = i;
  const bool has_it = best == member_ || (heard_[member_]->in_step && rank(member_) == rank(best));
  return has_it ? std::nullopt : std::optional(best);
}

}   // namespace troupe
