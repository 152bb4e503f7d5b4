// Shards on simulated nodes, and writers of adding_writer.h on others: all of a job but who reads or moves.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/proxy.h"
#include "actors/status.h"
#include "ps/shard_actor.h"
#include "ps/wire.h"
#include "tests/support/adding_writer.h"
#include "tests/support/sim.h"

namespace troupe::testing {

class AddingCluster {
 public:
  /// `failed`: a writer's error. The job is copied; `sim` must outlive the cluster.
  AddingCluster(Sim& sim, const AddingJob& job, std::chrono::milliseconds snapshot_interval, const std::function<void(absl::Status)>& failed) {
    for (uint32_t i = 0; i < job.shards; ++i) {
      ShardActorOptions options;
      options.shard = {.tables = AddingTables(), .shard = i, .shards = job.shards, .writers = job.writers, .consistency = job.consistency};
      options.snapshot_uri = absl::StrCat("mem:/shard-", i);
      options.snapshot_interval = snapshot_interval;
      options.pull_wait_max = std::chrono::milliseconds(800);
      shards_.push_back(sim.AddNode([options](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
        TROUPE_TRY(ShardActor shard, SpawnShard(system, options));
        Expose(system, kActor, shard);
        return std::vector<caf::actor>{caf::actor_cast<caf::actor>(shard)};
      }));
    }
    for (uint32_t i = 0; i < job.writers; ++i) {
      sim.AddNode([job, failed, shards = shards_, id = WriterId{i}](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
        const std::vector<ShardActor> proxies = ProxiesOf(system, shards);
        std::vector<caf::actor> actors;
        actors.push_back(system.actors().spawn(AddingWriterBehavior, id, job, proxies, failed));
        for (const ShardActor& shard : proxies) actors.push_back(caf::actor_cast<caf::actor>(shard));
        return actors;
      });
    }
  }
  /// The shards as `system` reaches them.
  std::vector<ShardActor> Proxies(System& system) const { return ProxiesOf(system, shards_); }

 private:
  static constexpr ActorId kActor{1};
  static std::vector<ShardActor> ProxiesOf(System& system, const std::vector<NodeId>& nodes) {
    std::vector<ShardActor> shards;
    for (const NodeId node : nodes)
      shards.push_back(SpawnProxy<ShardActor>(system, {.to = {node, Incarnation{0}, kActor}, .timeout = std::chrono::milliseconds(1'500)}));
    return shards;
  }
  std::vector<NodeId> shards_;
};

}   // namespace troupe::testing
