// A model against a data set: predictions in the order of the rows, and metrics, with pieces read and scored in parallel. What evaluate, predict and the end of
// train do.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "algorithms/algorithm.h"
#include "dataflow/block_cache.h"
#include "dataflow/source.h"

namespace troupe {

struct ScoreOptions {
  std::shared_ptr<const Source> source;
  BlockCache* cache = nullptr;   ///< pieces are taken from it, and kept in it where they fit; may be null
  int threads = 1;
  /// Predictions of the next piece, in the order of the rows; called by the thread that called Score. An error ends the scoring. May be empty.
  std::function<absl::Status(std::span<const float>)> predictions = {};
};

struct ScoreResult {
  uint64_t rows = 0;
  uint64_t bad_rows = 0;
  std::vector<std::pair<std::string, double>> metrics;   ///< empty where the data has no labels and the task needs them
};

/// The result, bits included, does not depend on `threads`. At most 4 pieces a thread are in memory beyond the cache.
/// Errors: of reading or predicting, the first in the order of the pieces; of `predictions`.
absl::StatusOr<ScoreResult> Score(const Predictor& predictor, Task task, const ScoreOptions& options);

}   // namespace troupe
