// What an algorithm sees at a time: some rows, in an order of their own, that refer to shared RowBlocks without copying them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "dataflow/row_block.h"

namespace troupe {

class Batch {
 public:
  struct Row {
    const RowBlock* block;
    uint32_t row;
  };

  Batch() = default;
  /// blocks  what `rows` refers to; further ones do no harm.
  Batch(std::vector<Row> rows, std::vector<std::shared_ptr<const RowBlock>> blocks) : rows_(std::move(rows)), blocks_(std::move(blocks)) {}

  size_t rows() const { return rows_.size(); }
  bool empty() const { return rows_.empty(); }
  bool is_dense() const { return !rows_.empty() && rows_[0].block->is_dense(); }
  /// Columns of a dense batch, 0 of a sparse one.
  uint32_t columns() const { return rows_.empty() ? 0 : rows_[0].block->columns; }
  const Row& row(size_t i) const { return rows_[i]; }
  float label(size_t i) const { return rows_[i].block->labels[rows_[i].row]; }
  bool has_labels() const { return !rows_.empty() && !rows_[0].block->labels.empty(); }
  SparseRow sparse(size_t i) const { return rows_[i].block->sparse.row(rows_[i].row); }
  std::span<const float> dense(size_t i) const { return rows_[i].block->row_dense(rows_[i].row); }
  /// All rows as one row-major matrix, where they lie one after the other in one dense block (true of every unshuffled batch); else empty.
  std::span<const float> contiguous() const;
  /// Entries that stand in the rows: those of the sparse ones, or rows x columns. The unit of the ledger.
  uint64_t nonzeros() const;

  void Add(const std::shared_ptr<const RowBlock>& block, uint32_t row) {
    if (blocks_.empty() || blocks_.back() != block) blocks_.push_back(block);
    rows_.push_back({block.get(), row});
  }

 private:
  std::vector<Row> rows_;
  std::vector<std::shared_ptr<const RowBlock>> blocks_;   // keeps what rows_ points to
};

}   // namespace troupe
