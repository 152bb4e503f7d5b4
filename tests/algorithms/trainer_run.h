// Runs of the real trainer over actors of this process, for its hosts and for tests of what only it does.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "actors/status.h"
#include "algorithms/run/local_runner.h"
#include "algorithms/run/trainer.h"

namespace troupe::testing {

inline constexpr const char* kModel = "mem:/model";

/// What the serial oracle does with `local`, for the trainer.
inline TrainOptions OptionsOf(const LocalOptions& local, uint32_t workers, uint32_t shards) {
  TrainOptions options;
  options.algorithm = local.algorithm;
  options.params = local.params;
  options.data.uri = "memory";   // only its name
  options.opened = local.source;
  options.epochs = local.epochs;
  options.seed = local.seed;
  options.workers = workers;
  options.splits = local.splits;
  options.shards = shards;
  options.memory_bytes = 64 << 20;
  options.model_uri = kModel;
  return options;
}

inline void KeepCheckpoints(TrainOptions& options) {
  options.checkpoint_uri = "mem:/checkpoint";
  options.checkpoint_every_s = 0;
  options.resume = true;
}

inline absl::StatusOr<TrainReport> TrainIn(System& system, const TrainOptions& options) {
  return Train(options, system.storage(), [&system](const ClusterOptions& cluster) { return MakeLocalCluster(system, cluster); }, {});
}

/// A cluster whose trainer falls after its n-th wait. What it waited for has come: requests that nobody waits for any more would outlive the run.
class FallingCluster final : public Cluster {
 public:
  FallingCluster(std::unique_ptr<Cluster> cluster, int waits) : cluster_(std::move(cluster)), waits_(waits) {}
  System& system() override { return cluster_->system(); }
  const std::vector<WorkerActor>& workers() const override { return cluster_->workers(); }
  const std::vector<ShardActor>& shards() const override { return cluster_->shards(); }
  uint64_t restarts() const override { return cluster_->restarts(); }
  absl::Status Await(Ending& ending) override {
    TROUPE_RETURN_IF_ERROR(cluster_->Await(ending));
    return --waits_ > 0 ? absl::OkStatus() : absl::AbortedError("the trainer falls");
  }

 private:
  std::unique_ptr<Cluster> cluster_;
  int waits_;
};

/// Falls after its first wait, is taken up, falls after its second, and so on until it is done. `begins` is told of every cluster that is made, `fell` after
/// every fall.
inline absl::StatusOr<TrainReport> TrainFalling(System& system, const TrainOptions& options, const std::function<void(const ClusterOptions&)>& begins,
                                                const std::function<void()>& fell) {
  for (int waits = 1;; ++waits) {
    const ClusterFactory falling = [&, waits](const ClusterOptions& cluster) -> absl::StatusOr<std::unique_ptr<Cluster>> {
      begins(cluster);
      TROUPE_TRY(std::unique_ptr<Cluster> made, MakeLocalCluster(system, cluster));
      return std::make_unique<FallingCluster>(std::move(made), waits);
    };
    auto report = Train(options, system.storage(), falling, {});
    if (!absl::IsAborted(report.status()) || waits == 1000) return report;
    fell();
  }
}

}   // namespace troupe::testing
