// Batches of keys and gradients as a shard meets them, for `troupe bench ps`.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ps/table.h"

namespace troupe::internal {

/// `count` batches of at most `batch` distinct random rows out of 1 .. rows, grouped by range.
struct Batches {
  struct Shape {
    size_t rows, batch, count;
    uint32_t width = 1;
    double hot = 1;        ///< share of the rows that nine of ten are drawn from
    bool hashed = false;   ///< keys are hashes of the rows' numbers, else the numbers
    Key KeyOf(Key row) const { return hashed ? HashKey(row) : row; }
  };
  struct Part {
    uint32_t range;
    size_t begin, end;   ///< of `keys`
  };
  std::vector<Key> keys, rows;   // what a table and what a flat array know them by
  std::vector<float> gradient;   // keys.size() x width
  std::vector<std::vector<Part>> batches;
  uint32_t width;

  Batches(const Partition& partition, const Shape& shape);
  std::span<const Key> KeysOf(const Part& part) const { return {keys.data() + part.begin, part.end - part.begin}; }
  /// All rows of one batch, and its gradient.
  std::span<const Key> RowsOf(size_t batch) const {
    return {rows.data() + batches[batch].front().begin, batches[batch].back().end - batches[batch].front().begin};
  }
  const float* GradientOf(size_t batch) const { return gradient.data() + batches[batch].front().begin * width; }
  std::vector<RowsIn> In(size_t batch) const;
  /// `out`: for all batches, keys.size() x width.
  std::vector<RowsOut> Out(size_t batch, float* out) const;
  double millions() const { return static_cast<double>(keys.size()) / 1e6; }
};

}   // namespace troupe::internal
