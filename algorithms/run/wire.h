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
/// From a process that a node has started to its job's driver: where it listens. Said every second: it is still there, and wanted as long as it is answered.
/// FailedPrecondition: the job has replaced it. A member of a chain may serve for kShardLease from when it asked.
struct Attach {
  NodeId node{};
  Incarnation incarnation{};
  std::vector<std::string> places;
};
/// reply to Attach
struct Attached {};
inline constexpr std::chrono::milliseconds kShardLease{2'000};
/// From the driver to such a process: where the others are.
struct Locations {
  std::vector<ShardPlace> nodes;
};
/// reply to Locations
struct Located {};
/// From the driver at its end: the process is not wanted any more. It ends without an answer.
struct Leave {};
inline constexpr ActorId kDirectoryActor{3};   ///< takes Attach at the driver, Locations and Leave at the others

/// A worker's share in the tables that the workers keep.
struct GroupJob {
  uint32_t member = 0;
  std::vector<ShardPlace> members;   ///< of all workers, with this one
  ShardActorOptions copy;            ///< as ShardJob says it
};
struct WorkerJob {
  WorkerOptions options;
  std::vector<ShardPlace> shards;
  /// Shards have replicas: where the job's processes are, as far as that is known; SetRoutes says who holds which shard. `shards` says only how many there are.
  std::optional<std::vector<ShardPlace>> chains = {};
  std::optional<GroupJob> group = {};   ///< none: workers keep no table
};
/// A member of a shard's chain, and where the others may be.
struct ReplicaJob {
  ShardActorOptions shard;
  std::vector<ShardPlace> places;
};
Block EncodeReplicaJob(const ReplicaJob& job);
absl::StatusOr<ReplicaJob> DecodeReplicaJob(const Block& arguments);
/// The arguments with which a worker is spawned in another process.
Block EncodeWorkerJob(const WorkerJob& job);
absl::StatusOr<WorkerJob> DecodeWorkerJob(const Block& arguments);

template <>
struct Codec<Attach> {
  static constexpr uint64_t kType = 0xc7d0b8a190010303;
  static Frame Encode(const Attach& message);
  static absl::StatusOr<Attach> Decode(const Frame& frame);
};
template <>
struct Codec<Attached> {
  static constexpr uint64_t kType = 0xc7d0b8a190010304;
  static Frame Encode(const Attached& message);
  static absl::StatusOr<Attached> Decode(const Frame& frame);
};
template <>
struct Codec<Locations> {
  static constexpr uint64_t kType = 0xc7d0b8a190010305;
  static Frame Encode(const Locations& message);
  static absl::StatusOr<Locations> Decode(const Frame& frame);
};
template <>
struct Codec<Leave> {
  static constexpr uint64_t kType = 0xc7d0b8a190010307;
  static Frame Encode(const Leave& message);
  static absl::StatusOr<Leave> Decode(const Frame& frame);
};
template <>
struct Codec<Located> {
  static constexpr uint64_t kType = 0xc7d0b8a190010306;
  static Frame Encode(const Located& message);
  static absl::StatusOr<Located> Decode(const Frame& frame);
};

}   // namespace troupe
