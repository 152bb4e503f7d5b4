#include "tests/support/counting_cluster.h"

#include <utility>
#include <vector>

#include "actors/caf_status.h"
#include "actors/check.h"
#include "actors/status.h"
#include "actors/stop_actors.h"
#include "caf/event_based_actor.hpp"
#include "caf/typed_response_promise.hpp"
#include "ps/wire.h"

namespace troupe::testing {
namespace {

/// Decoded from its frame, whose bytes are added to `bytes`.
template <class Message>
Message Travelled(const Message& message, std::atomic<uint64_t>& bytes) {
  const Frame frame = Codec<Message>::Encode(message);
  bytes += frame.size();
  auto decoded = Codec<Message>::Decode(frame);
  TROUPE_CHECK(decoded.ok());
  return std::move(*decoded);
}

template <class Request, class Reply>
auto Counted(caf::event_based_actor* self, ShardActor shard, Traffic* traffic) {
  return [self, shard, traffic](const Request& request) -> caf::result<Reply> {
    auto promise = self->make_response_promise<caf::typed_response_promise<Reply>>();
    ++traffic->messages;
    self->request(shard, caf::infinite, Travelled(request, traffic->requests))
        .then([promise, traffic](const Reply& reply) mutable { promise.deliver(Travelled(reply, traffic->replies)); },
              [promise](const caf::error& error) mutable { promise.deliver(error); });
    return promise;
  };
}

caf::behavior Counter(caf::event_based_actor* self, const ShardActor& shard, Traffic* traffic) {
  return {Counted<Push, Pushed>(self, shard, traffic), Counted<Pull, Pulled>(self, shard, traffic), Counted<PushPull, PushPulled>(self, shard, traffic),
          Counted<Open, Opened>(self, shard, traffic)};
}

class Counting final : public Cluster {
 public:
  Counting(System& system, Traffic& traffic) : system_(system), traffic_(traffic) {}
  ~Counting() override {
    StopAndWait(system_, workers_);
    StopAndWait(system_, counters_);
    StopAndWait(system_, shards_);
  }
  absl::Status Start(const ClusterOptions& options) {
    for (uint32_t i = 0; i < options.shards; ++i) {
      ShardActorOptions shard = ShardOptionsOf(options, i);
      shard.tier_folder = "mem:rows";
      shard.shard.stable_when_applied = true;
      TROUPE_TRY(ShardActor actor, SpawnShard(system_, shard));
      shards_.push_back(std::move(actor));
      counters_.push_back(caf::actor_cast<ShardActor>(system_.actors().spawn(Counter, shards_.back(), &traffic_)));
    }
    for (uint32_t i = 0; i < options.workers; ++i) {
      WorkerOptions worker = options.worker;
      worker.held_bytes = 0;
      TROUPE_TRY(WorkerActor actor, SpawnWorker(system_, worker, counters_));
      workers_.push_back(std::move(actor));
    }
    return absl::OkStatus();
  }
  System& system() override { return system_; }
  const std::vector<WorkerActor>& workers() const override { return workers_; }
  const std::vector<ShardActor>& shards() const override { return shards_; }
  uint64_t restarts() const override { return 0; }
  absl::Status Await(Ending& ending) override {
    while (!ending.WaitFor(std::chrono::milliseconds(50))) {
    }
    return absl::OkStatus();
  }

 private:
  System& system_;
  Traffic& traffic_;
  std::vector<ShardActor> shards_, counters_;
  std::vector<WorkerActor> workers_;
};

}   // namespace

ClusterFactory CountingCluster(System& system, Traffic& traffic) {
  return [&system, &traffic](const ClusterOptions& options) -> absl::StatusOr<std::unique_ptr<Cluster>> {
    auto cluster = std::make_unique<Counting>(system, traffic);
    TROUPE_RETURN_IF_ERROR(cluster->Start(options));
    return cluster;
  };
}

}   // namespace troupe::testing
