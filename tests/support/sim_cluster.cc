#include "tests/support/sim_cluster.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/proxy.h"
#include "actors/status.h"
#include "algorithms/run/start_worker.h"
#include "caf/send.hpp"
#include "ps/chain_client_actor.h"
#include "ps/chain_keeper_actor.h"
#include "ps/chain_member_actor.h"
#include "ps/partition.h"
#include "ps/wire.h"

namespace troupe::testing {
namespace {

class SimCluster final : public Cluster {
 public:
  SimCluster(Sim& sim, SimClusterOptions options, ClusterOptions cluster) : sim_(sim), options_(std::move(options)), cluster_(std::move(cluster)) {}
  ~SimCluster() override {
    for (const NodeId node : nodes_) sim_.Stop(node);
    chains_ = nullptr;
    for (const WorkerActor& worker : workers_) caf::anon_send_exit(worker, caf::exit_reason::kill);
    for (const ShardActor& shard : shards_) caf::anon_send_exit(shard, caf::exit_reason::kill);
  }

  void Start() {
    if (cluster_.replication > 1) StartChains();
    for (uint32_t i = 0; i < cluster_.shards; ++i) {
      ShardActorOptions shard = ShardOptionsOf(cluster_, i);
      shard.snapshot_uri = absl::StrCat(options_.folder, "/shard-", i, ".snapshot");
      shard.tier_folder = absl::StrCat(options_.folder, "/shard-", i, ".rows");
      shard.snapshot_interval = options_.snapshot_interval;
      shard.pull_wait_max = options_.pull_wait_max;
      shard.catch_up_max = options_.catch_up_max;
      if (chains_ == nullptr) AddShard(EncodeShardJob(shard));
      for (uint32_t r = 0; chains_ != nullptr && r < cluster_.replication; ++r) AddMember(i, shard);
    }
    std::vector<ShardPlace> workers;   // nodes are numbered as they are added
    for (uint32_t i = 0; i < cluster_.workers; ++i) workers.push_back({NodeId{static_cast<uint32_t>(nodes_.back()) + 1 + i}, {}, kJobActor});
    for (uint32_t i = 0; i < cluster_.workers; ++i) {
      WorkerJob job{.options = cluster_.worker, .shards = {}};
      for (uint32_t s = 0; s < cluster_.shards; ++s) job.shards.push_back({nodes_[s], {}, kJobActor});
      if (chains_ != nullptr) job.chains.emplace();
      job.group = GroupJobOf(cluster_, i, workers);
      if (job.group && i == 0) {
        job.group->copy.snapshot_uri = absl::StrCat(options_.folder, "/tables-of-workers.snapshot");
        job.group->copy.snapshot_interval = options_.snapshot_interval;
      }
      AddWorker(EncodeWorkerJob(job));
    }
    if (PlacesOf(cluster_.tables, cluster_.shards) > cluster_.shards) shards_.push_back(Proxy<ShardActor>(system(), workers[0].node, kMemberActor));
    if (options_.placed) options_.placed(Places());
    sim_.StartFaults();
  }

  System& system() override { return sim_.system(NodeId{0}); }
  const std::vector<WorkerActor>& workers() const override { return workers_; }
  bool splits_move() const override { return options_.splits_move && PlacesOf(cluster_.tables, cluster_.shards) == cluster_.shards; }
  /// A worker that lives and is taken for lost is worked beside by another one, and one of them may come between two pushes of the other; so where only the
  /// network has faults (a lost message costs a request_timeout) nobody is taken for lost.
  std::chrono::milliseconds absent_after() const override { return sim_.faults().crashes_max == 0 ? std::chrono::hours(1) : std::chrono::seconds(3); }
  const std::vector<ShardActor>& shards() const override { return shards_; }
  std::string move_folder() const override { return options_.folder; }
  uint64_t restarts() const override { return sim_.restarts(); }
  absl::Status Await(Ending& ending) override {
    TROUPE_RETURN_IF_ERROR(sim_.Run([&] { return ending.IsSet() || !failure_.ok(); }));
    return failure_;
  }

 private:
  SimPlaces Places() const {
    SimPlaces places;
    const size_t of_each = chains_ == nullptr ? 1 : cluster_.replication;
    size_t next = 0;
    for (uint32_t i = 0; i < cluster_.shards; ++i) {
      places.shards.emplace_back(nodes_.begin() + static_cast<std::ptrdiff_t>(next), nodes_.begin() + static_cast<std::ptrdiff_t>(next + of_each));
      next += of_each;
    }
    places.workers.assign(nodes_.begin() + static_cast<std::ptrdiff_t>(next), nodes_.end());
    return places;
  }

  template <class Handle>
  Handle Proxy(System& system, NodeId node, ActorId actor = kJobActor) const {
    return SpawnProxy<Handle>(system, {.to = {node, Incarnation{0}, actor}, .timeout = options_.request_timeout});
  }

  void AddShard(Block arguments) {
    nodes_.push_back(sim_.AddNode([arguments](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
      TROUPE_TRY(ShardActorOptions options, DecodeShardJob(arguments));
      if (system.incarnation() == Incarnation{1}) options.catch_up_max = {};
      TROUPE_TRY(ShardActor shard, SpawnShard(system, options));
      Expose(system, kJobActor, shard);
      return std::vector<caf::actor>{caf::actor_cast<caf::actor>(shard)};
    }));
    shards_.push_back(Proxy<ShardActor>(system(), nodes_.back()));
  }

  void StartChains() {
    for (uint32_t i = 0; i < cluster_.shards; ++i) {
      shards_.push_back(SpawnChainClient(
          system(), {.shard = i, .request_timeout = options_.request_timeout, .cuts_at_first = CutsAtFirst(cluster_.tables, cluster_.consistency)}));
    }
    chains_ = std::make_unique<ChainKeepers>(
        system(), ChainKeepersOptions{.shards = cluster_.shards,
                                      .request_timeout = options_.request_timeout,
                                      .routed = [clients = shards_](const ChainRoute& route) { SetRoute(clients[route.shard], route); },
                                      .failed = [this](const absl::Status& status) { failure_.Update(status); },
                                      .log = nullptr});
  }

  /// The keeper hears of a fall when the next life is there.
  void AddMember(uint32_t shard, const ShardActorOptions& options) {
    nodes_.push_back(sim_.AddNode([this, shard, options](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
      const ChainMember self{system.node(), system.incarnation()};
      ShardActorOptions own = options;
      own.tier_folder = absl::StrCat(options.tier_folder, ".", static_cast<uint32_t>(self.node));
      TROUPE_TRY(const ChainMemberActor member,
                 SpawnChainMember(system, {.shard = own,
                                           .self = self,
                                           .request_timeout = options_.request_timeout,
                                           .compare_every = std::chrono::milliseconds(50),
                                           .slice_bytes = 1 + sim_.random().Below(2'000),   // a state in many parts
                                           .backlog_bytes_max = 1 + sim_.random().Below(20'000),
                                           .failed = [this](const std::string& what) { failure_.Update(absl::InternalError(what)); }}));
      const auto incarnation = static_cast<uint64_t>(self.incarnation);
      for (uint64_t life = 1; life < incarnation; ++life) chains_->Gone(shard, {self.node, Incarnation{life}});   // some may have been too short to be told of
      chains_->Ready(shard, self);
      return std::vector<caf::actor>{caf::actor_cast<caf::actor>(member)};
    }));
  }

  void AddWorker(Block arguments) {
    nodes_.push_back(sim_.AddNode([this, arguments](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
      const ChainMember self{system.node(), system.incarnation()};
      TROUPE_TRY(WorkerJob job, DecodeWorkerJob(arguments));
      job.options.opened = options_.source;
      TROUPE_TRY(std::vector<caf::actor> actors, StartWorker(system, kJobActor, job, options_.request_timeout));
      if (chains_ != nullptr) {
        const auto incarnation = static_cast<uint64_t>(self.incarnation);
        for (uint64_t life = 1; life < incarnation; ++life) chains_->Forget({self.node, Incarnation{life}});
        chains_->Listen(self);
      }
      return actors;
    }));
    if (workers_.empty()) sim_.SetPace(nodes_.back(), options_.first_workers_pace);
    if (const size_t first = cluster_.workers - cluster_.spare; workers_.size() >= first) {
      sim_.Crash(nodes_.back(), options_.spare_every * static_cast<int>(workers_.size() - first + 1));
    }
    workers_.push_back(Proxy<WorkerActor>(system(), nodes_.back()));
  }

  Sim& sim_;
  const SimClusterOptions options_;
  const ClusterOptions cluster_;
  std::vector<NodeId> nodes_;   // shards, then workers
  std::vector<ShardActor> shards_;
  std::vector<WorkerActor> workers_;
  std::unique_ptr<ChainKeepers> chains_;   // null: each shard is one node
  absl::Status failure_;
};

}   // namespace

ClusterFactory SimulatedCluster(Sim& sim, SimClusterOptions options) {
  return [&sim, options = std::move(options)](const ClusterOptions& cluster) -> absl::StatusOr<std::unique_ptr<Cluster>> {
    auto made = std::make_unique<SimCluster>(sim, options, cluster);
    made->Start();
    return made;
  };
}

double LogLoss(const std::vector<std::pair<std::string, double>>& metrics) {
  for (const auto& [name, value] : metrics) {
    if (name == "logloss") return value;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

}   // namespace troupe::testing
