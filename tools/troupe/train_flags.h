// The flags of `troupe train`, and what they become.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/config.h"
#include "algorithms/run/trainer.h"
#include "tools/troupe/cluster_flags.h"
#include "tools/troupe/options.h"

namespace troupe {

struct TrainFlags {
  std::string algorithm, data, valid, label, format, model, checkpoint, checkpoint_every, checkpoints, rebalance, replication, workers_max, log;
  std::vector<std::string> params;   // "k=v"
  ClusterFlags cluster;
  std::string queue = "default";
  bool processes = false, resume = false, accept_loss = false, json = false, explain = false;

  void Declare(CommandLine& line);
  /// Is the run to be a job of a cluster?
  bool OnCluster() const;
  /// Checks all that can be checked without opening the data. `cores`: that workers can have, where none are asked for; 0: this machine's.
  /// Errors InvalidArgument, NotFound: what, value, expected.
  absl::StatusOr<TrainOptions> ToOptions(const Config& config, uint32_t cores = 0) const;

 private:
  absl::Status ReadParams(TrainOptions& options) const;
  absl::Status ReadCheckpoint(TrainOptions& options) const;
  absl::Status ReadRebalance(TrainOptions& options) const;
  absl::Status ReadWorkers(const Config& config, uint32_t cores, TrainOptions& options) const;
  absl::Status ReadReplication(TrainOptions& options) const;
};

}   // namespace troupe
