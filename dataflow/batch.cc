// What a batch knows of its rows as a whole.
#include "dataflow/batch.h"

namespace troupe {

std::span<const float> Batch::contiguous() const {
  if (!is_dense()) return {};
  const Row& first = rows_[0];
  for (size_t i = 1; i < rows_.size(); ++i) {
    if (rows_[i].block != first.block || rows_[i].row != first.row + i) return {};
  }
  return {first.block->row_dense(first.row).data(), rows_.size() * first.block->columns};
}

uint64_t Batch::nonzeros() const {
  if (is_dense()) return rows_.size() * columns();
  uint64_t sum = 0;
  for (const Row& row : rows_) sum += row.block->sparse.entries(row.row);
  return sum;
}

}   // namespace troupe
