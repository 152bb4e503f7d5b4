// The processes that hold the same shard, in a chain: the first takes writes, each hands them to the next, and what the last has is acknowledged and read.
// Who decides about a chain is the job's driver; a member that is gone is left out, and a new one is added behind the last when it has its state. Pure.
// Source: van Renesse and Schneider, "Chain Replication for Supporting High Throughput and Availability" (OSDI 2004), with views for its master.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "actors/address.h"

namespace troupe {

/// One life of a process.
struct ChainMember {
  NodeId node{};
  Incarnation incarnation{};
  bool operator==(const ChainMember&) const = default;
};

struct ChainView {
  uint64_t number = 0;                ///< rises with every change
  uint64_t epoch = 0;                 ///< the number at the last change of `members`; messages of a lower one are refused. 0: there is no chain yet
  std::vector<ChainMember> members;   ///< first to last
  std::optional<ChainMember> joining = std::nullopt;   ///< is being given the state of the last
  bool operator==(const ChainView&) const = default;
};

/// What whoever uses the shard has to know.
struct ChainRoute {
  uint32_t shard = 0;
  uint64_t epoch = 0;
  ChainMember first, last;
  bool operator==(const ChainRoute&) const = default;
};

/// The driver's decisions about one chain. Every call that may change the view says whether it has.
class ChainKeeper {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Views and epochs are numbered from `after` + 1.
  explicit ChainKeeper(uint64_t after = 0) { view_.number = after; }

  /// The process is there, with nothing. The first of a chain without members begins it (with what files there are).
  bool Ready(const ChainMember& process);
  /// It has ended: known for certain.
  bool Gone(const ChainMember& process);
  /// It is given up, but may live, cut off: its place is not taken before the lease that it was granted last has run out.
  bool Lost(const ChainMember& process, Time now);
  /// May the process serve for `lease` from when it asked, which was before `now`? Not where it has been given up.
  bool Grant(const ChainMember& process, Time now, std::chrono::milliseconds lease);
  /// What joins has the state, as the last member of view `number` says.
  bool Joined(uint64_t number);
  /// Leases that have run out.
  bool Tick(Time now);

  const ChainView& view() const { return view_; }
  /// Nothing to be told while there are no members.
  std::optional<ChainRoute> route(uint32_t shard) const;
  /// When Tick is to be called next; nothing: it need not.
  std::optional<Time> next_tick() const;
  bool Serves(const ChainMember& process) const;

 private:
  bool Settle(const ChainView& before);
  bool HasEnded(const ChainMember& process) const;
  ChainView view_;
  std::map<NodeId, Incarnation> gone_;                     // the last life of each that has ended: what is told of it later is old
  std::vector<ChainMember> ready_;                         // without a place in the chain
  std::vector<std::pair<ChainMember, Time>> granted_;      // leases
  std::vector<std::pair<ChainMember, Time>> lost_until_;   // members that are given up, and when their place is free
};

}   // namespace troupe
