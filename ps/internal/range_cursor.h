// The rows of a sparse range by rising key, those in its tier among them.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "ps/internal/table_impl.h"

namespace troupe {

/// The range must not change while it is read. O(n log n) at the start: keys in memory are sorted.
class Table::RangeCursor {
 public:
  RangeCursor(const Impl& impl, uint32_t place);

  /// The next row; false: at the end (RowLimitsState::lost tells of rows that could not be read).
  bool Next();
  Key key() const { return key_; }
  /// The rule's floats and the mark. Of a row that is not in memory: a copy, until the next call.
  float* row() const { return row_; }
  bool in_memory() const { return in_memory_; }

 private:
  /// Looks at the tier's next row that is not in memory too.
  void Advance();

  const Impl& impl_;
  const uint32_t place_;
  std::vector<std::pair<Key, internal::RowStore::Slot>> sorted_;
  size_t at_ = 0;           // in sorted_
  std::vector<Key> keys_;   // of the tier
  std::vector<std::byte> rows_;
  size_t spilled_at_ = 0;   // in keys_
  bool more_ = false;       // behind keys_
  Key key_ = 0;
  float* row_ = nullptr;
  bool in_memory_ = true;
};

}   // namespace troupe
