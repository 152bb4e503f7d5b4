// Shards on simulated nodes, and writers of adding_writer.h on others: all of a job but who reads or moves.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/proxy.h"
#include "actors/status.h"
#include "caf/send.hpp"
#include "ps/chain_client_actor.h"
#include "ps/chain_keeper_actor.h"
#include "ps/chain_member_actor.h"
#include "ps/shard_actor.h"
#include "ps/wire.h"
#include "tests/support/adding_writer.h"
#include "tests/support/sim.h"

namespace troupe::testing {

struct AddingShards {
  std::chrono::milliseconds snapshot_interval{20};
  uint32_t replication = 1;   ///< more than one: chains
  std::string log_folder;     ///< of chains: they log what they are told, in a folder of this machine; empty: they do not
};

class AddingCluster {
 public:
  /// `failed`: a writer's error, or a chain's. The job is copied; `sim` must outlive the cluster.
  AddingCluster(Sim& sim, const AddingJob& job, const AddingShards& of, const std::function<void(absl::Status)>& failed)
      : sim_(sim), job_(job), failed_(failed) {
    if (of.replication > 1) {
      System& mine = sim.system(NodeId{0});
      clients_ = ClientsOf(mine, job);
      keepers_ = std::make_unique<ChainKeepers>(
          mine, ChainKeepersOptions{.shards = job.shards,
                                    .request_timeout = kTimeout,
                                    .routed = [clients = clients_](const ChainRoute& route) { SetRoute(clients[route.shard], route); },
                                    .failed = failed_,
                                    .log = nullptr});
    }
    for (uint32_t i = 0; i < job.shards; ++i) {
      ShardActorOptions options;
      options.shard = {.tables = AddingTables(), .shard = i, .shards = job.shards, .writers = job.writers, .consistency = job.consistency};
      options.snapshot_uri = absl::StrCat("mem:/job/shard-", i);
      options.snapshot_interval = of.snapshot_interval;
      options.pull_wait_max = std::chrono::milliseconds(800);
      options.log_folder = of.log_folder;
      options.log_patience = std::chrono::milliseconds(0);   // it is real time
      options.log_bytes_max = 20'000;
      if (keepers_ == nullptr) {
        AddShard(options);
      } else {
        for (uint32_t member = 0; member < of.replication; ++member) AddMember(i, options);
      }
    }
    for (uint32_t i = 0; i < job.writers; ++i) AddWriter(WriterId{i});
  }
  ~AddingCluster() {
    if (keepers_ == nullptr) return;
    for (const NodeId node : nodes_) sim_.Stop(node);
    for (const NodeId node : writers_) sim_.Stop(node);
    keepers_ = nullptr;
    for (const ShardActor& client : clients_) caf::anon_send_exit(client, caf::exit_reason::kill);
  }
  AddingCluster(const AddingCluster&) = delete;
  AddingCluster& operator=(const AddingCluster&) = delete;

  /// The shards as `system` reaches them; not of chains.
  std::vector<ShardActor> Proxies(System& system) const { return ProxiesOf(system, nodes_); }
  /// As node 0 does.
  std::vector<ShardActor> Shards() const { return keepers_ == nullptr ? ProxiesOf(sim_.system(NodeId{0}), nodes_) : clients_; }
  /// Nodes that hold shards.
  const std::vector<NodeId>& nodes() const { return nodes_; }

 private:
  static constexpr ActorId kActor{1};
  static constexpr std::chrono::milliseconds kTimeout{1'500};

  static std::vector<ShardActor> ProxiesOf(System& system, const std::vector<NodeId>& nodes) {
    std::vector<ShardActor> shards;
    for (const NodeId node : nodes) shards.push_back(SpawnProxy<ShardActor>(system, {.to = {node, Incarnation{0}, kActor}, .timeout = kTimeout}));
    return shards;
  }
  static std::vector<ShardActor> ClientsOf(System& system, const AddingJob& job) {
    std::vector<ShardActor> clients;
    for (uint32_t i = 0; i < job.shards; ++i) {
      clients.push_back(
          SpawnChainClient(system, {.shard = i, .request_timeout = kTimeout, .cuts_at_first = CutsAtFirst(AddingTables(), Consistencies(job.consistency))}));
    }
    return clients;
  }

  void AddShard(const ShardActorOptions& options) {
    nodes_.push_back(sim_.AddNode([options](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
      TROUPE_TRY(ShardActor shard, SpawnShard(system, options));
      Expose(system, kActor, shard);
      return std::vector<caf::actor>{caf::actor_cast<caf::actor>(shard)};
    }));
  }
  /// The keeper hears of a fall when the next life is there.
  void AddMember(uint32_t shard, const ShardActorOptions& options) {
    nodes_.push_back(sim_.AddNode([this, shard, options](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
      const ChainMember self{system.node(), system.incarnation()};
      TROUPE_TRY(const ChainMemberActor member, SpawnChainMember(system, {.shard = options,
                                                                          .self = self,
                                                                          .request_timeout = kTimeout,
                                                                          .compare_every = std::chrono::milliseconds(50),
                                                                          .slice_bytes = 1 + sim_.random().Below(200),
                                                                          .backlog_bytes_max = 1 + sim_.random().Below(20'000),
                                                                          .failed = [this](const std::string& what) { failed_(absl::InternalError(what)); }}));
      const auto incarnation = static_cast<uint64_t>(self.incarnation);
      for (uint64_t life = 1; life < incarnation; ++life) keepers_->Gone(shard, {self.node, Incarnation{life}});
      keepers_->Ready(shard, self);
      return std::vector<caf::actor>{caf::actor_cast<caf::actor>(member)};
    }));
  }
  void AddWriter(WriterId id) {
    writers_.push_back(sim_.AddNode([this, id](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
      const std::vector<ShardActor> shards = keepers_ == nullptr ? ProxiesOf(system, nodes_) : ClientsOf(system, job_);
      if (keepers_ != nullptr) {
        ServeRoutes(system, shards);
        const ChainMember self{system.node(), system.incarnation()};
        for (uint64_t life = 1; life < static_cast<uint64_t>(self.incarnation); ++life) keepers_->Forget({self.node, Incarnation{life}});
        keepers_->Listen(self);
      }
      std::vector<caf::actor> actors;
      actors.push_back(system.actors().spawn(AddingWriterBehavior, id, job_, shards, failed_));
      for (const ShardActor& shard : shards) actors.push_back(caf::actor_cast<caf::actor>(shard));
      return actors;
    }));
  }

  Sim& sim_;
  const AddingJob job_;
  const std::function<void(absl::Status)> failed_;
  std::vector<NodeId> nodes_, writers_;
  std::vector<ShardActor> clients_;
  std::unique_ptr<ChainKeepers> keepers_;   // null: each shard is one node
};

}   // namespace troupe::testing
