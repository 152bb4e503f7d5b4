#include "ps/chain_view.h"

#include <algorithm>

namespace troupe {
namespace {

bool Holds(const std::vector<ChainMember>& list, const ChainMember& process) {
  return std::ranges::find(list, process) != list.end();
}

}   // namespace

bool ChainKeeper::Serves(const ChainMember& process) const {
  return Holds(view_.members, process);
}

/// Fills what has become free, and numbers what differs from `before`.
bool ChainKeeper::Settle(const ChainView& before) {
  if (view_.members.empty()) {
    if (view_.joining) ready_.insert(ready_.begin(), *view_.joining);   // it may have the state already, or all but
    view_.joining.reset();
    if (!ready_.empty()) {
      view_.members.push_back(ready_.front());
      ready_.erase(ready_.begin());
    }
  }
  if (!view_.members.empty() && !view_.joining && !ready_.empty()) {
    view_.joining = ready_.front();
    ready_.erase(ready_.begin());
  }
  if (view_ == before) return false;
  view_.number = before.number + 1;
  if (view_.members != before.members) view_.epoch = view_.number;
  return true;
}

bool ChainKeeper::HasEnded(const ChainMember& process) const {
  const auto gone = gone_.find(process.node);
  return gone != gone_.end() && process.incarnation <= gone->second;
}

bool ChainKeeper::Ready(const ChainMember& process) {
  if (HasEnded(process)) return false;
  if (Serves(process) || Holds(ready_, process) || view_.joining == process) return false;
  const ChainView before = view_;
  ready_.push_back(process);
  return Settle(before);
}

bool ChainKeeper::Gone(const ChainMember& process) {
  const ChainView before = view_;
  Incarnation& last = gone_[process.node];
  last = std::max(last, process.incarnation);
  std::erase(ready_, process);
  std::erase(view_.members, process);
  std::erase_if(granted_, [&](const auto& entry) { return entry.first == process; });
  std::erase_if(lost_until_, [&](const auto& entry) { return entry.first == process; });
  if (view_.joining == process) view_.joining.reset();
  return Settle(before);
}

bool ChainKeeper::Lost(const ChainMember& process, Time now) {
  const auto lease = std::ranges::find(granted_, process, &std::pair<ChainMember, Time>::first);
  if (!Serves(process) || lease == granted_.end() || lease->second <= now) return Gone(process);
  if (std::ranges::find(lost_until_, process, &std::pair<ChainMember, Time>::first) == lost_until_.end()) lost_until_.push_back(*lease);
  return false;
}

bool ChainKeeper::Grant(const ChainMember& process, Time now, std::chrono::milliseconds lease) {
  if (HasEnded(process) || std::ranges::find(lost_until_, process, &std::pair<ChainMember, Time>::first) != lost_until_.end()) return false;
  const auto it = std::ranges::find(granted_, process, &std::pair<ChainMember, Time>::first);
  it == granted_.end() ? granted_.emplace_back(process, now + lease) : * it = {process, now + lease};
  return true;
}

bool ChainKeeper::Joined(uint64_t number) {
  if (number != view_.number || !view_.joining) return false;
  const ChainView before = view_;
  view_.members.push_back(*std::exchange(view_.joining, std::nullopt));
  return Settle(before);
}

bool ChainKeeper::Tick(Time now) {
  std::vector<ChainMember> over;
  for (const auto& [process, until] : lost_until_) {
    if (until <= now) over.push_back(process);
  }
  bool changed = false;
  for (const ChainMember& process : over) changed |= Gone(process);
  return changed;
}

std::optional<ChainRoute> ChainKeeper::route(uint32_t shard) const {
  if (view_.members.empty()) return std::nullopt;
  return ChainRoute{.shard = shard, .epoch = view_.epoch, .first = view_.members.front(), .last = view_.members.back()};
}

std::optional<ChainKeeper::Time> ChainKeeper::next_tick() const {
  std::optional<Time> next;
  for (const auto& [process, until] : lost_until_) next = next ? std::min(*next, until) : until;
  return next;
}

}   // namespace troupe
