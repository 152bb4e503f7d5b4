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
  std::string algorithm, data, valid, label, format, model, checkpoint, checkpoint_every, checkpoints, rebalance, replication, log;
  std::vector<std::string> params;   // "k=v"
  ClusterFlags cluster;
  std::string queue = "default";
  bool processes = false, resume = false, accept_loss = false, json = false, explain = false;

  void Declare(CommandLine& line);
  /// Is the run to be a job of a cluster?
  bool OnCluster() const;
  /// Checks all that can be checked without opening the data. Errors InvalidArgument, NotFound: what, value, expected.
  absl::StatusOr<TrainOptions> ToOptions(const Config& config) const;

 private:
  absl::Status ReadParams(TrainOptions& options) const;
  absl::Status ReadCheckpoint(TrainOptions& options) const;
  absl::Status ReadRebalance(TrainOptions& options) const;
  absl::Status ReadReplication(TrainOptions& options) const;
};

}   // namespace troupe
