// A worker on a node of its own, from what its job says: proxies of the shards, its share in the tables that the workers keep, the actor, all reachable.
#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/system.h"
#include "algorithms/run/cluster.h"
#include "algorithms/run/wire.h"

namespace troupe {

inline constexpr ActorId kJobActor{1};      ///< the shard or worker of an executor
inline constexpr ActorId kMemberActor{2};   ///< a worker's share in the tables that the workers keep

/// What the workers keep, as worker `worker` has it: its members, all exposed as kMemberActor, and its copy, without a place for its own snapshots. Of a job
/// without such tables: none.
std::optional<GroupJob> GroupJobOf(const ClusterOptions& options, uint32_t worker, std::vector<ShardPlace> workers);

/// Spawns it and exposes it as `id`. Returns what ends with the node, the worker first. Errors as SpawnWorker and SpawnGroupMember.
absl::StatusOr<std::vector<caf::actor>> StartWorker(System& system, ActorId id, const WorkerJob& job, std::chrono::milliseconds request_timeout);

}   // namespace troupe
