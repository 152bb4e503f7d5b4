// Which node runs a process: pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/cluster/messages.h"

namespace troupe {

/// A node that takes processes, with what is left of it.
struct Room {
  NodeId node{};
  NodeCapacity capacity;
  uint32_t cores_used = 0;
  uint64_t memory_used = 0;
  uint32_t processes = 0;
  std::vector<std::pair<JobId, std::string>> apart = {};   ///< of its processes: job and word (ProcessNeeds::apart), where there is one
};

/// A node for each of `wanted`, all or none: a node that has its labels and room, of these the one with the fewest of its job's processes that are to be apart,
/// then with the most cores left, then with the fewest processes, then the first. `rooms` are as they will be. The biggest are placed first.
/// ResourceExhausted: in words what is missing; `rooms` are as they were.
absl::StatusOr<std::vector<NodeId>> PlaceAll(std::span<const ProcessOrder> wanted, std::vector<Room>& rooms);

}   // namespace troupe
