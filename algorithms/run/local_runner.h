// The serial oracle: any algorithm in one thread, without actors, straight over tables. What it computes is what a run with BSP must compute, bit for bit, with
// any number of workers and shards and the same splits; so it says in the fewest lines what a run means.
// One exception: a worker that falls between its pushes to two shards is replaced by one that pulls a round which the first of them has applied already.
// Nothing is lost or counted twice, but its gradients for the second shard are those of a newer model. Pushes that depend on no pull (naive Bayes) stay exact.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "algorithms/algorithm.h"
#include "algorithms/model.h"
#include "dataflow/source.h"
#include "ps/table.h"

namespace troupe {

/// Sees what the batches of a run do. Called from RunLocal.
class LocalWatch {
 public:
  virtual ~LocalWatch() = default;
  virtual void Pulled(uint32_t table, std::span<const Key> keys) = 0;
  virtual void Pushed(uint32_t table, std::span<const Key> keys) = 0;
  /// A batch is over; the algorithm's own part of it, without tables, took so long.
  virtual void Batch(const Phase& phase, double seconds) = 0;
};

struct LocalOptions {
  std::string algorithm;
  std::map<std::string, std::string> params = {};
  std::shared_ptr<const Source> source;   ///< its labels read as the algorithm wants them
  uint32_t splits = 1;
  uint64_t seed = 1;
  int epochs = 1;
  Numbers resumed = {};   ///< the state of a checkpoint, for algorithms whose tables are a function of it; empty: from the start
  LocalWatch* watch = nullptr;
};

struct LocalReport {
  int epoch = 0;
  std::string metric;
  double value = 0;
  bool operator==(const LocalReport&) const = default;
};

struct LocalResult {
  std::vector<Table> tables;   ///< in the order of the Blueprint
  std::vector<LocalReport> reports;
  std::vector<Numbers> checkpoints;                  ///< in their order
  uint64_t rows = 0;                                 ///< over all phases
  uint64_t nonzeros_read = 0, nonzeros_pushed = 0;   ///< the ledger, over phases that push
  Manifest manifest;                                 ///< algorithm, params, schema, labels, seed, epochs, tables
};

/// A round: batch `ordinal` of every split that still has one, in the order of the splits, all seeing the tables as they were before it; then the rule is
/// applied once. The data's epoch is the number of shuffled phases before. Sums are taken over a split's batches, then over the splits.
absl::StatusOr<LocalResult> RunLocal(const LocalOptions& options);
/// The tables as a model.
absl::StatusOr<std::unique_ptr<const Model>> MakeModel(const LocalResult& result);

}   // namespace troupe
