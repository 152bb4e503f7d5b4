// A job's workers and shards on simulated nodes: what the trainer gets as its cluster. One node a shard and a worker; node 0 is the trainer's.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "algorithms/run/trainer.h"
#include "tests/support/sim.h"

namespace troupe::testing {

/// The nodes of a job's processes.
struct SimPlaces {
  std::vector<std::vector<NodeId>> shards;   ///< of each: all that hold it
  std::vector<NodeId> workers;
};

struct SimClusterOptions {
  /// Of the shards' own snapshots; another one for each run of one simulation.
  std::string folder = "mem:/job";
  std::chrono::milliseconds snapshot_interval{20};
  /// A request ends after `request_timeout`; a pull waits at the shard for at most `pull_wait_max`, which must be less.
  std::chrono::milliseconds request_timeout{1'500};
  std::chrono::milliseconds pull_wait_max{800};
  /// Of a shard's lives but the first.
  std::chrono::milliseconds catch_up_max{1'000};
  /// The first worker's compute jobs take this many times as long as the others'.
  double first_workers_pace = 1;
  bool splits_move = true;   ///< to other workers, where these keep no tables
  /// Spare workers come one after the other, each so much later than the one before.
  std::chrono::milliseconds spare_every{100};
  /// What the workers read, in place of the job's own data set (the same rows in other pieces); null: as the job says.
  std::shared_ptr<const Source> source = nullptr;
  /// Told when all nodes are there, before the first fault.
  std::function<void(const SimPlaces&)> placed = nullptr;
};

/// The factory for Train(). `sim` must outlive the run; its faults begin when the cluster is made. A hang is Await's DeadlineExceeded.
ClusterFactory SimulatedCluster(Sim& sim, SimClusterOptions options);

/// The log loss of a model on the data: what a run says of its model. (What it says of its epochs lacks what replaced workers had seen.) NaN: not among them.
double LogLoss(const std::vector<std::pair<std::string, double>>& metrics);

}   // namespace troupe::testing
