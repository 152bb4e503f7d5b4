// What a Table holds, and the checks that every call makes before it changes anything.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ps/internal/dense_range.h"
#include "ps/internal/sparse_range.h"
#include "ps/table.h"

namespace troupe {

namespace internal {
inline constexpr size_t kBlock = 16;   // sparse rows that are found together, then updated together
inline constexpr size_t kAhead = 32;   // keys whose rows are on their way from memory
}   // namespace internal

struct Table::Impl {
  TableSpec spec;
  Partition partition;
  std::unique_ptr<UpdateRule> rule;
  uint32_t width = 1;
  uint32_t state = 0;                          // floats behind a row's values
  bool spares = false;                         // some keys are spared a penalty
  uint32_t first_range = 0;                    // this shard's ranges are consecutive
  std::vector<internal::SparseRange> sparse;   // by range - first_range; one of the two is empty
  std::shared_ptr<internal::Arena> arena;
  internal::Memory dense_memory;   // of all dense ranges, in one piece
  std::vector<internal::DenseRange> dense;

  uint32_t held() const { return static_cast<uint32_t>(sparse.size() + dense.size()); }
  uint32_t Place(uint32_t range) const { return range - first_range; }
  /// Rows of a dense range that are spared penalties, counted from the range's first.
  uint64_t Unpenalised(uint32_t range) const;

  absl::Status Refuse(std::string_view what) const;
  absl::Status CheckRange(uint32_t range) const;
  /// Range and keys. Sparse: also brings the first rows near.
  absl::Status CheckKeys(uint32_t range, std::span<const Key> keys) const;
  absl::Status CheckRows(uint32_t range, Key first, uint64_t n) const;
  /// values is n x width; the error names the key: keys[i], or first + i where there are no keys. `what`: "gradient" or "value".
  absl::Status CheckFinite(const char* what, const float* values, uint64_t n, std::span<const Key> keys, Key first) const;

  /// Applies the rule to at most kBlock rows; gradient is n x width.
  void ApplyBlock(internal::SparseRange& rows, const internal::SparseRange::Slot* slots, size_t n, const float* gradient) const;
};

}   // namespace troupe
