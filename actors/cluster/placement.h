// Which node runs a process: pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/cluster/messages.h"

namespace troupe {

/// A process that is to be placed. The pointers must outlive the call.
struct PlacementWish {
  const ProcessId* id = nullptr;
  const ProcessNeeds* needs = nullptr;
  const std::vector<NodeId>* refused = nullptr;   ///< nodes that cannot start it; may be null
};

/// What nodes have and what of it is promised. Nodes are kept in the order in which they are tried, so that a process is placed without a look at all of them
/// where one of the emptiest will do.
class Rooms {
 public:
  /// What is promised of one node, and to how many.
  struct Used {
    uint64_t cores = 0, memory = 0, disk = 0;
    std::map<std::string, uint64_t> accelerators = {};
    uint32_t processes = 0;
    bool operator==(const Used&) const = default;
  };

  /// A node, new or changed; what it has promised stays. `open`: it takes processes.
  void Put(NodeId node, const NodeCapacity& capacity, bool open);
  void Remove(NodeId node);
  /// Promises a node, which must be there, to a process of the job, whether or not it has room; and takes that back.
  void Take(NodeId node, JobId job, const ProcessNeeds& needs);
  void Give(NodeId node, JobId job, const ProcessNeeds& needs);

  /// A node for each of `wanted`, all or none, in their order; nothing is promised yet. Each goes to an open node that has its labels and room and has not
  /// refused it; of these to the one with the fewest of its job's processes with its first word of `apart`, then with the second, and so on; then with the most
  /// cores left, then with the fewest processes, then the first. The biggest are placed first. ResourceExhausted: in words what is missing.
  absl::StatusOr<std::vector<NodeId>> Choose(std::span<const PlacementWish> wanted);
  /// Choose, if nothing were promised to anybody.
  absl::StatusOr<std::vector<NodeId>> ChooseEmpty(std::span<const PlacementWish> wanted) const;
  /// Why no open node could ever run it, even if nobody else were there, in words; empty: one could.
  std::string WhyNever(const PlacementWish& wish) const;

  /// The node that Choose would name for a process that runs on `from`, where its words of `apart` say that it is better off there: fewer others with the first
  /// word than where it is, or as many and fewer with the second, and so on. Nothing: it is as well off where it is.
  std::optional<NodeId> BetterThan(NodeId from, const PlacementWish& wish) const;
  /// How many processes of the job with this word a node has; and the fewest that an open node has, those `refused` and those that have promised more than they
  /// have apart (very many where there is none).
  uint32_t CountApart(NodeId node, JobId job, const std::string& word) const;
  uint32_t FewestApart(JobId job, const std::string& word, const std::vector<NodeId>& refused = {}) const;

  /// Zero for a node that is not there.
  const Used& UsedOf(NodeId node) const;
  size_t open() const { return order_.size(); }
  /// Goes up whenever a node comes, goes, or changes what it has.
  uint64_t version() const { return version_; }

 private:
  struct Room {
    NodeCapacity capacity;
    bool open = false;
    Used used = {};
    std::map<std::pair<JobId, std::string>, uint32_t> apart = {};   // how many of its processes have the word
  };
  using Place = std::tuple<int64_t, uint32_t, NodeId>;   // minus the cores left, processes, node: the emptiest first

  static Place PlaceOf(NodeId node, const Room& room) {
    return {static_cast<int64_t>(room.used.cores) - static_cast<int64_t>(room.capacity.cores), room.used.processes, node};
  }
  void Change(NodeId node, JobId job, const ProcessNeeds& needs, bool take);
  static std::vector<uint32_t> ApartOf(const Room& room, const PlacementWish& wish);
  const Room* Best(const PlacementWish& wish, NodeId* node) const;
  absl::Status NoRoom(const PlacementWish& wish) const;

  // Invariants: order_ holds PlaceOf of every open room, free_ is the sum of their cores left.
  std::map<NodeId, Room> rooms_;
  std::set<Place> order_;
  uint64_t free_ = 0;
  uint64_t version_ = 0;
};

/// "2 cores, 3 MB of memory, label zone=a": what a process needs, in words.
std::string ToString(const ProcessNeeds& needs);

}   // namespace troupe
