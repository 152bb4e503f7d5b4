// How the workers' messages travel, from the schema run.capnp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "actors/proxy.h"
#include "algorithms/run/messages.h"
#include "algorithms/run/worker_actor.h"
#include "ps/shard_actor.h"

namespace troupe {

template <>
struct Codec<RunPhase> {
  static constexpr uint64_t kType = 0xc7d0b8a190010301;
  static Frame Encode(const RunPhase& message);
  static absl::StatusOr<RunPhase> Decode(const Frame& frame);
};
template <>
struct Codec<PhaseReport> {
  static constexpr uint64_t kType = 0xc7d0b8a190010302;
  static Frame Encode(const PhaseReport& message);
  static absl::StatusOr<PhaseReport> Decode(const Frame& frame);
};

/// Where a worker in another process finds a shard, or the member of a group that another worker has.
struct ShardPlace {
  NodeId node{};
  std::vector<std::string> places;
  ActorId actor{};
};
/// A worker's share in the tables that the workers keep.
struct GroupJob {
  uint32_t member = 0;
  std::vector<ShardPlace> members;   ///< of all workers, with this one
  ShardActorOptions copy;            ///< as ShardJob says it
};
struct WorkerJob {
  WorkerOptions options;
  std::vector<ShardPlace> shards;
  std::optional<GroupJob> group = {};   ///< none: workers keep no table
};
/// The arguments with which a worker is spawned in another process.
Block EncodeWorkerJob(const WorkerJob& job);
absl::StatusOr<WorkerJob> DecodeWorkerJob(const Block& arguments);

}   // namespace troupe
