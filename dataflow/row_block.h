// Rows as the parsers leave them: one immutable piece of a data set, sparse (CSR) or dense (row-major), with labels beside it. Shared by every batch that
// refers to its rows, and what the cache holds between epochs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataflow/sparse_rows.h"

namespace troupe {

struct RowBlock {
  /// Piece of the source it came from: the same piece always gives the same block.
  uint64_t piece = 0;
  /// The row number of row 0 within its file, where the source knows it at once (Parquet), else 0.
  uint64_t first_row = 0;
  uint64_t rows = 0;
  /// One a row, or empty where the data set has no label.
  std::vector<float> labels;

  SparseRows sparse;   ///< of a sparse block

  // Dense: row r is dense[r * columns .. (r + 1) * columns); feature c + 1 stands in column c.
  uint32_t columns = 0;
  std::vector<float> dense;

  /// Rows that were left out by SourceOptions::skip_bad_rows.
  uint64_t bad_rows = 0;

  bool is_dense() const { return columns != 0; }
  std::span<const float> row_dense(size_t row) const { return {dense.data() + row * columns, columns}; }
  /// Memory held, for budgets.
  size_t bytes() const { return sizeof(*this) + sparse.bytes() + (labels.capacity() + dense.capacity()) * sizeof(float); }
};

}   // namespace troupe
