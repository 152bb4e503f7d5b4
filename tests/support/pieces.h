// The rows of a data set in smaller pieces, so that a small one gives many batches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "actors/check.h"
#include "dataflow/source.h"

namespace troupe::testing {

class PiecedSource final : public Source {
 public:
  PiecedSource(Schema schema, std::vector<std::shared_ptr<const RowBlock>> blocks) : schema_(std::move(schema)), blocks_(std::move(blocks)) {}
  const Schema& schema() const override { return schema_; }
  uint64_t pieces() const override { return blocks_.size(); }
  uint64_t piece_bytes(uint64_t i) const override { return blocks_[i]->bytes(); }
  absl::StatusOr<std::shared_ptr<const RowBlock>> Read(uint64_t i) const override { return blocks_[i]; }

 private:
  const Schema schema_;
  const std::vector<std::shared_ptr<const RowBlock>> blocks_;
};

/// Sparse data only. `rows`: of each piece but the last of each of the source's.
inline std::shared_ptr<const Source> InPieces(const Source& source, uint64_t rows) {
  std::vector<std::shared_ptr<const RowBlock>> blocks;
  for (uint64_t piece = 0; piece < source.pieces(); ++piece) {
    const auto read = source.Read(piece);
    TROUPE_CHECK(read.ok() && !(*read)->is_dense());
    const RowBlock& from = **read;
    for (uint64_t first = 0; first < from.rows; first += rows) {
      const uint64_t last = std::min(from.rows, first + rows);
      auto block = std::make_shared<RowBlock>();
      block->piece = blocks.size();
      block->first_row = from.first_row + first;
      block->rows = last - first;
      for (uint64_t row = first; row < last; ++row) {
        block->labels.push_back(from.labels[row]);
        const SparseRow entries = from.sparse.row(row);
        for (size_t i = 0; i < entries.size(); ++i) block->sparse.Add(entries.feature(i), entries.value(i));
        block->sparse.EndRow();
      }
      blocks.push_back(std::move(block));
    }
  }
  return std::make_shared<PiecedSource>(source.schema(), std::move(blocks));
}

}   // namespace troupe::testing
