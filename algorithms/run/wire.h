// How the workers' messages travel, from the schema run.capnp.
#pragma once

#include <string>
#include <vector>

#include "actors/proxy.h"
#include "algorithms/run/messages.h"
#include "algorithms/run/worker_actor.h"

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

/// Where a worker in another process finds a shard.
struct ShardPlace {
  NodeId node{};
  std::vector<std::string> places;
  ActorId actor{};
};
struct WorkerJob {
  WorkerOptions options;
  std::vector<ShardPlace> shards;
};
/// The arguments with which a worker is spawned in another process.
Block EncodeWorkerJob(const WorkerJob& job);
absl::StatusOr<WorkerJob> DecodeWorkerJob(const Block& arguments);

}   // namespace troupe
