// A training run from options to saved model: opens the data, starts a cluster, drives the algorithm through its phases, keeps checkpoints, saves and scores.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "algorithms/algorithm.h"
#include "algorithms/run/cluster.h"
#include "dataflow/source.h"
#include "ps/range_map.h"

namespace troupe {

struct TrainOptions {
  std::string algorithm;
  std::map<std::string, std::string> params;
  SourceOptions data;                     ///< label_kind, splits are set by the trainer
  std::shared_ptr<const Source> opened;   ///< the data, where it is open already, by TrainingData; for a cluster in this process `data` then only names it
  std::optional<SourceOptions> valid;
  std::optional<int> epochs;   ///< default: the algorithm's
  uint64_t seed = 1;
  uint32_t workers = 1;
  /// On a cluster: so many there may be when nodes join; at most `workers` where it is less.
  uint32_t workers_max = 0;
  std::optional<uint32_t> splits;   ///< default: as many as there may be workers
  uint32_t shards = 1;
  Consistencies consistency;
  uint64_t memory_bytes = 0;   ///< for parsed rows, tables and buffers of this process (and of each worker); 0: half of the machine's
  int threads = 1;             ///< for scoring
  std::string model_uri;
  std::string checkpoint_uri;   ///< folder; empty: none
  double checkpoint_every_s = 60;
  uint32_t checkpoints_kept = 2;   ///< at least 1
  bool resume = false;
  bool accept_loss = false;   ///< with resume: where the newest checkpoint is damaged, the newest whole one
  size_t held_bytes = 64 << 20;
  ReplicaOptions replicas;   ///< copies of rows at each worker
  /// Processes that hold each shard (ClusterOptions::replication); nothing: `replication_default`, or 1 where shards of the run cannot have replicas.
  std::optional<uint32_t> replication = std::nullopt;
  uint32_t replication_default = 1;
  /// So often it is looked whether ranges should move to other shards (ps/rebalancer.h), in phases that push; negative: they stay.
  double rebalance_every_s = -1;
  /// What moves, in place of the rebalancer; null: that.
  std::function<std::vector<RangeMove>(const RangeMap&)> choose_moves = nullptr;
  const std::atomic<bool>* cancelled = nullptr;
};

struct TrainProgress {
  std::string phase;
  int epoch = 0, epochs = 0;
  uint64_t rows = 0;            ///< over all epochs
  double share = 0;             ///< of the whole run, 0 .. 1
  std::optional<double> loss;   ///< of the epoch so far
  uint64_t restarts = 0;
};

struct TrainReport {
  uint64_t rows = 0;   ///< input rows, once
  uint64_t bad_rows = 0;
  std::string first_bad;
  int epochs = 0;
  uint64_t restarts = 0;
  /// Non-zeros of all batches read, of all pushes applied, and of those that came too late (backup workers; batches then may also be left out).
  uint64_t ledger_read = 0, ledger_applied = 0, ledger_late = 0;
  /// Where there are copies of rows: how many rows batches got from shards, and how many from copies; without batches whose worker was lost.
  uint64_t rows_pulled = 0, rows_copied = 0;
  /// Moves of ranges: those that were made, and attempts that came to nothing (a shard fell, or no cut was reached in time).
  struct Move {
    uint32_t ranges = 0;
    double pause_ms = 0;                     ///< that pushes of later rounds waited at most
    std::vector<std::string> reasons = {};   ///< of the rebalancer
  };
  std::vector<Move> moves;
  uint64_t moves_failed = 0;
  uint64_t splits_moved = 0, splits_taken = 0;   ///< that one worker let go for another; that were taken from lost or stuck ones
  uint64_t dropped = 0, evicted = 0;             ///< of tables with limits: rows of gradients before their keys were admitted, and rows let go
  std::vector<std::pair<std::string, double>> metrics;
  std::vector<std::pair<int, double>> losses;   ///< by epoch
  std::string loss_name;
};

struct TrainEvents {
  std::function<void(const TrainProgress&)> progress;
  /// For the log. Called from several threads, also at once.
  std::function<void(std::string)> log = nullptr;
  /// What people should read: what is lost by `accept_loss`.
  std::function<void(std::string)> warn = nullptr;
};

/// Into how many splits the data is cut.
uint32_t SplitsOf(const TrainOptions& options);
/// Bytes that a run may take in a process.
uint64_t MemoryOf(const TrainOptions& options);
/// How a run opens its data.
SourceOptions TrainingData(const TrainOptions& options, const Algorithm& algorithm);

/// The tables of a run, checked with everything that the options say of them (shards 0: a number to come).
absl::StatusOr<Blueprint> DeclareTables(const TrainOptions& options, Algorithm& algorithm, const Params& params, const DataShape& shape);

/// Makes the cluster of a run once its tables are known.
using ClusterFactory = std::function<absl::StatusOr<std::unique_ptr<Cluster>>(const ClusterOptions&)>;

/// Errors: as design: input and usage InvalidArgument/NotFound, disk ResourceExhausted, Cancelled for a signal. The model folder is then as it was.
absl::StatusOr<TrainReport> Train(const TrainOptions& options, Storage& storage, const ClusterFactory& make_cluster, const TrainEvents& events);

}   // namespace troupe
