// What a worker's compute jobs do, without actors: read and plan the next batch, work on one with its rows, scan a phase that needs no tables.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "algorithms/algorithm.h"
#include "dataflow/split_reader.h"
#include "ps/replicated_pulls.h"
#include "ps/router.h"

namespace troupe {

/// A batch that is ready for its rows.
struct PreparedBatch {
  uint64_t ordinal = 0;   // 1-based, in its phase
  uint64_t nonzeros = 0;
  Batch batch;
  std::unique_ptr<Plan> plan;               // may be null
  std::shared_ptr<const RoutedPull> pull;   // null: nothing to pull
  ReplicatedPulls::Answer rows = {};        // once they are asked for: those that copies have answered, and what of the pull is asked
};

/// The reading side of one split: its position in a phase. One job at a time uses it.
class BatchSource {
 public:
  BatchSource(std::shared_ptr<const Algorithm> algorithm, std::shared_ptr<const Router> router, std::shared_ptr<const Source> source,
              std::shared_ptr<BlockCache> cache, uint32_t split, uint32_t splits, uint64_t seed);
  /// Begins `phase`; its first `skip` batches are counted, not delivered (UINT64_MAX: all of them).
  absl::Status Begin(const Phase& phase, uint64_t epoch, uint64_t skip);
  /// The next batch to work on, or nullopt at the end of the phase. Batches up to the `left_out`th are counted and left out.
  absl::StatusOr<std::optional<PreparedBatch>> Next(uint64_t left_out = 0);

  // Of the phase so far.
  uint64_t batches() const { return ordinal_; }
  uint64_t rows() const { return rows_; }
  uint64_t nonzeros() const { return nonzeros_; }
  uint64_t bad_rows() const { return reader_ ? reader_->bad_rows() : 0; }
  uint64_t bytes() const { return reader_ ? reader_->bytes_read() : 0; }
  uint64_t bytes_total() const { return bytes_total_; }

 private:
  std::shared_ptr<const Algorithm> algorithm_;   // a job may outlive its worker
  std::shared_ptr<const Router> router_;
  std::shared_ptr<const Source> source_;
  std::shared_ptr<BlockCache> cache_;
  const uint32_t split_, splits_;
  const uint64_t seed_;
  Phase phase_;
  std::unique_ptr<SplitReader> reader_;
  uint64_t ordinal_ = 0, skip_ = 0, rows_ = 0, nonzeros_ = 0, bytes_total_ = 0;
};

/// What Work put out.
struct WorkResult {
  std::vector<TablePush> pushes;
  Numbers sum, collected;
};

/// Adds `from` to `into` element by element (an empty `into` takes its length). InvalidArgument: lengths differ.
absl::Status AddNumbers(std::span<const double> from, Numbers& into);

/// Runs the algorithm's Work. rows[i] belong to plan->pulls[i].
absl::Status WorkOn(const Algorithm& algorithm, const Phase& phase, const PreparedBatch& prepared, std::span<const RowsView> rows, WorkResult& result);

}   // namespace troupe
