// k centroids, laid out for finding the nearest one of every row of a batch: the inner loop of k-means, of its start and of its predictions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataflow/batch.h"

namespace troupe {

class Centroids {
 public:
  /// rows: k x columns, row-major; k >= 1.
  Centroids(std::vector<float> rows, uint32_t columns);

  uint32_t k() const { return static_cast<uint32_t>(rows_.size() / columns_); }
  uint32_t columns() const { return columns_; }
  std::span<const float> row(size_t i) const { return {rows_.data() + i * columns_, columns_}; }

  /// cluster[i]: the nearest centroid of row i (of equally near ones the first), distance2[i]: its squared distance. Sparse rows are read as dense ones of
  /// columns() features; what they have beyond counts as differing from 0. Dense rows must have columns() columns.
  /// Cost: rows x k x columns multiply-adds, 16 rows at a time in vector lanes. Thread-safe.
  void Nearest(const Batch& batch, std::span<uint32_t> cluster, std::span<float> distance2) const;

 private:
  std::vector<float> rows_;
  uint32_t columns_;
};

/// sum += row i of the batch; sparse entries beyond sum.size() are left out.
void AddRow(const Batch& batch, size_t i, std::span<double> sum);
/// Row i of the batch as `columns` floats.
std::vector<float> RowAsDense(const Batch& batch, size_t i, uint32_t columns);

}   // namespace troupe
