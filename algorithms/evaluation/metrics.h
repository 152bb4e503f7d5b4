// How good predictions are: accumulators that take rows as they come and can be merged, so that pieces are measured in parallel.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "algorithms/algorithm.h"

namespace troupe {

/// Area under the ROC curve: the probability that a row of class 1 scores higher than one of class 0, ties counting half. Exact up to 8 million rows, from
/// sorted scores; beyond, from a histogram whose bins are 2^-13 of a score wide (relative), so that memory is bounded. NaN where a class has no rows.
class AreaUnderCurve {
 public:
  static constexpr size_t kExactRowsMax = 8'000'000;
  explicit AreaUnderCurve(size_t exact_rows_max = kExactRowsMax) : exact_rows_max_(exact_rows_max) {}
  void Add(std::span<const float> scores, std::span<const float> labels);
  void Merge(const AreaUnderCurve& other);
  double Result() const;

 private:
  void SpillIfLong();
  size_t exact_rows_max_;
  std::vector<uint32_t> scores_[2];      // by class: floats as integers of the same order
  std::vector<uint64_t> histogram_[2];   // by class; empty while all is exact
};

/// All metrics of one task. Sums are taken in the order of Add and Merge: merge pieces in their order, and the result does not depend on threads.
class Metrics {
 public:
  explicit Metrics(Task task) : task_(task) {}
  /// One prediction a row; labels empty for clustering. `loss`: clustering's sum of squared distances.
  void Add(std::span<const float> predictions, std::span<const float> labels, double loss);
  void Merge(const Metrics& other);
  uint64_t rows() const { return rows_; }
  /// Binary: auc, logloss (nats, probabilities clipped to [1e-15, 1 - 1e-15]), accuracy (threshold 0.5). Regression: rmse, r2. Clustering: inertia.
  /// What is not defined (auc of one class, anything of no rows) is left out.
  std::vector<std::pair<std::string, double>> Result() const;

 private:
  void AddBinary(std::span<const float> probabilities, std::span<const float> labels);
  void AddRegression(std::span<const float> values, std::span<const float> labels);
  Task task_;
  uint64_t rows_ = 0;
  double loss_ = 0;   // log loss, squared errors, or squared distances: their sum
  uint64_t correct_ = 0;
  double mean_ = 0, spread_ = 0;   // of the labels: mean, and sum of squared differences from it
  AreaUnderCurve curve_;
};

}   // namespace troupe
