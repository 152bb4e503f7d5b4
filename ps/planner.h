// Lays the tables of a job out over shards by their size and traffic, and says why: arithmetic over what a sample of the job has shown.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "ps/table_spec.h"
#include "ps/types.h"

namespace troupe {

/// What a sample of batches did with one table. Memory: some 40 bytes a distinct key.
class TableTraffic {
 public:
  void Pulled(std::span<const Key> keys);
  void Pushed(std::span<const Key> keys);

  uint64_t pulled() const { return pulled_; }   ///< rows, over all batches
  uint64_t pushed() const { return pushed_; }
  uint64_t distinct() const { return touches_.size(); }
  /// Distinct keys of a table after `growth` times as many batches, by Heaps' law (distinct = K batches^beta, beta from the sample's two halves), and not more
  /// than the largest key allows.  Source: Heaps, "Information Retrieval", 1978, sec. 7.5.
  double DistinctAfter(double growth) const;
  /// Share of the touches that go to the `keys` most touched ones.
  double ShareOfHottest(uint64_t keys) const;
  /// Share of the touches by shard, as its partition deals its ranges.
  std::vector<double> ShareByShard(const TableSpec& spec, uint32_t shards) const;

 private:
  void Touch(std::span<const Key> keys);

  uint64_t pulled_ = 0, pushed_ = 0, touched_ = 0;
  std::unordered_map<Key, uint32_t> touches_;
  std::vector<uint64_t> distinct_by_call_;
};

/// How fast hosts are: what `troupe bench ps` showed on two cores in November 2026. Plans want the right order of magnitude.
struct HostSpeed {
  double sparse_rows = 30e6;   ///< a second, found and updated by adagrad at a shard's actor
  double floats = 2.7e9;       ///< a second, updated by sgd at a shard's actor
  double link = 6e9;           ///< bytes a second, pushed to another process
  double message = 24e-6;      ///< seconds: half of the way of one number there and back
};

struct PlanInputs {
  std::vector<TableSpec> tables;       ///< valid ones
  std::vector<TableTraffic> traffic;   ///< of each
  uint64_t batches = 0;                ///< in the sample
  double growth = 1;                   ///< batches of a whole epoch / batches of the sample
  double batch_seconds = 0;            ///< a worker's own work on one
  uint32_t workers = 1, cores = 1;
  uint64_t memory = 0;   ///< bytes that a process may take
  uint32_t shards = 0;   ///< as many, whatever speaks for others; 0: what the plan finds
  bool processes = false;
  std::vector<bool> stale;   ///< of each table: its consistency lets rows be old
  HostSpeed speed = {};
};

struct TablePlan {
  std::string name, shape;   ///< "dense, 1000 x 64", "sparse, about 230000 rows"
  double rows = 0, bytes = 0;
  double pulled = 0, pushed = 0;   ///< rows a batch
  double wire = 0;                 ///< bytes a batch, there and back
  double busiest = 1;              ///< traffic of the busiest shard / mean
  std::vector<std::string> advice;
};

struct LayoutPlan {
  uint32_t shards = 1;
  std::string why;          ///< so many
  double bytes = 0;         ///< of a shard
  double utilisation = 0;   ///< of the busiest shard, while workers never wait
  std::vector<TablePlan> tables;
};

LayoutPlan PlanLayout(const PlanInputs& inputs);

}   // namespace troupe
