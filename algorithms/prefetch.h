// Shuffled rows lie anywhere in memory, and the processor cannot guess where the next one is: told early, it fetches several at once.
#pragma once

#include "dataflow/batch.h"

namespace troupe {

inline constexpr size_t kCacheLine = 64;

/// Call before row `i` is used, for i = 0, 1, 2, ...: asks for the offsets of row i + 16, then for the entries of row i + 8.
/// kValues false: their features only.
template <bool kValues>
[[gnu::always_inline]]   // as a function of its own GCC 12 takes it for pure, and drops the calls
inline void
PrefetchSparse(const Batch& batch, size_t i) {
  if (i + 16 < batch.rows()) {
    const Batch::Row& row = batch.row(i + 16);
    __builtin_prefetch(row.block->offsets.data() + row.row);
  }
  if (i + 8 >= batch.rows()) return;
  const std::span<const Feature> indices = batch.indices(i + 8);
  for (size_t j = 0; j < indices.size(); j += kCacheLine / sizeof(Feature)) __builtin_prefetch(indices.data() + j);
  if (!indices.empty()) __builtin_prefetch(indices.data() + indices.size() - 1);
  if constexpr (!kValues) return;
  const float* values = batch.values(i + 8).data();
  for (size_t j = 0; j < indices.size(); j += kCacheLine / sizeof(float)) __builtin_prefetch(values + j);
}

}   // namespace troupe
