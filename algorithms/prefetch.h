// Shuffled rows lie anywhere in memory, and the processor cannot guess where the next one is: told early, it fetches several at once.
#pragma once

#include "dataflow/batch.h"

namespace troupe {

/// Call before row `i` is used, for i = 0, 1, 2, ...: asks for the bounds of row i + 16, then for the entries of row i + 8.
/// kValues false: their features only.
template <bool kValues>
[[gnu::always_inline]]   // as a function of its own GCC 12 takes it for pure, and drops the calls
inline void
PrefetchSparse(const Batch& batch, size_t i) {
  if (i + 16 < batch.rows()) batch.row(i + 16).block->sparse.PrefetchBounds(batch.row(i + 16).row);
  if (i + 8 < batch.rows()) batch.row(i + 8).block->sparse.PrefetchEntries<kValues>(batch.row(i + 8).row);
}

}   // namespace troupe
