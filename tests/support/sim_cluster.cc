#include "tests/support/sim_cluster.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/proxy.h"
#include "actors/status.h"
#include "algorithms/run/wire.h"
#include "caf/send.hpp"
#include "ps/wire.h"

namespace troupe::testing {
namespace {

constexpr ActorId kActor{1};

class SimCluster final : public Cluster {
 public:
  SimCluster(Sim& sim, SimClusterOptions options, ClusterOptions cluster) : sim_(sim), options_(std::move(options)), cluster_(std::move(cluster)) {}
  ~SimCluster() override {
    for (const NodeId node : nodes_) sim_.Stop(node);
    for (const WorkerActor& worker : workers_) caf::anon_send_exit(worker, caf::exit_reason::kill);
    for (const ShardActor& shard : shards_) caf::anon_send_exit(shard, caf::exit_reason::kill);
  }

  void Start() {
    for (uint32_t i = 0; i < cluster_.shards; ++i) {
      ShardActorOptions shard = ShardOptionsOf(cluster_, i);
      shard.snapshot_uri = absl::StrCat(options_.folder, "/shard-", i, ".snapshot");
      shard.tier_folder = absl::StrCat(options_.folder, "/shard-", i, ".rows");
      shard.snapshot_interval = options_.snapshot_interval;
      shard.pull_wait_max = options_.pull_wait_max;
      AddShard(EncodeShardJob(shard));
    }
    for (uint32_t i = 0; i < cluster_.workers; ++i) {
      WorkerJob job{.options = cluster_.worker, .shards = {}};
      job.options.splits = SplitsOf(i, cluster_.workers, cluster_.splits);
      for (uint32_t s = 0; s < cluster_.shards; ++s) job.shards.push_back({nodes_[s], {}, kActor});
      AddWorker(EncodeWorkerJob(job));
    }
    sim_.StartFaults();
  }

  System& system() override { return sim_.system(NodeId{0}); }
  const std::vector<WorkerActor>& workers() const override { return workers_; }
  const std::vector<ShardActor>& shards() const override { return shards_; }
  std::string move_folder() const override { return options_.folder; }
  uint64_t restarts() const override { return sim_.restarts(); }
  absl::Status Await(Ending& ending) override {
    return sim_.Run([&ending] { return ending.IsSet(); });
  }

 private:
  template <class Handle>
  Handle Proxy(System& system, NodeId node) const {
    return SpawnProxy<Handle>(system, {.to = {node, Incarnation{0}, kActor}, .timeout = options_.request_timeout});
  }

  void AddShard(Block arguments) {
    nodes_.push_back(sim_.AddNode([arguments](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
      TROUPE_TRY(ShardActorOptions options, DecodeShardJob(arguments));
      TROUPE_TRY(ShardActor shard, SpawnShard(system, options));
      Expose(system, kActor, shard);
      return std::vector<caf::actor>{caf::actor_cast<caf::actor>(shard)};
    }));
    shards_.push_back(Proxy<ShardActor>(system(), nodes_.back()));
  }

  void AddWorker(Block arguments) {
    nodes_.push_back(sim_.AddNode([this, arguments](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
      TROUPE_TRY(WorkerJob job, DecodeWorkerJob(arguments));
      job.options.opened = options_.source;
      std::vector<caf::actor> actors;
      std::vector<ShardActor> shards;
      for (const ShardPlace& shard : job.shards) {
        shards.push_back(Proxy<ShardActor>(system, shard.node));
        actors.push_back(caf::actor_cast<caf::actor>(shards.back()));
      }
      TROUPE_TRY(WorkerActor worker, SpawnWorker(system, job.options, std::move(shards)));
      Expose(system, kActor, worker);
      actors.insert(actors.begin(), caf::actor_cast<caf::actor>(worker));
      return actors;
    }));
    if (workers_.empty()) sim_.SetPace(nodes_.back(), options_.first_workers_pace);
    workers_.push_back(Proxy<WorkerActor>(system(), nodes_.back()));
  }

  Sim& sim_;
  const SimClusterOptions options_;
  const ClusterOptions cluster_;
  std::vector<NodeId> nodes_;   // shards, then workers
  std::vector<ShardActor> shards_;
  std::vector<WorkerActor> workers_;
};

}   // namespace

ClusterFactory SimulatedCluster(Sim& sim, SimClusterOptions options) {
  return [&sim, options = std::move(options)](const ClusterOptions& cluster) -> absl::StatusOr<std::unique_ptr<Cluster>> {
    auto made = std::make_unique<SimCluster>(sim, options, cluster);
    made->Start();
    return made;
  };
}

}   // namespace troupe::testing
