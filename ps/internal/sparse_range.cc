#include "ps/internal/sparse_range.h"

#include <algorithm>
#include <cstring>

#include "actors/check.h"

namespace troupe::internal {

SparseRange::SparseRange(uint32_t width, uint32_t floats)
    : width_(width), stride_(sizeof(Key) + (size_t{floats} * sizeof(float) + 7) / 8 * 8), memory_(ZeroedMemory(capacity_ * stride_)) {}

void SparseRange::Grow() {
  TROUPE_CHECK(mask_ < (uint32_t{1} << 30));
  std::vector<Key> touched_keys(touched_.size());
  for (size_t i = 0; i < touched_.size(); ++i) touched_keys[i] = KeyAt(touched_[i]);

  const Slot old_end = zero_slot();
  const Memory old = std::move(memory_);
  mask_ = mask_ * 2 + 1;
  capacity_ = size_t{mask_} + 2;
  memory_ = ZeroedMemory(capacity_ * stride_);
  const std::byte* row = old.get();
  for (Slot from = 0; from < old_end; ++from, row += stride_) {
    Key key;
    std::memcpy(&key, row, sizeof key);
    if (key == 0) continue;
    Slot slot = static_cast<Slot>(HashKey(key)) & mask_;
    while (KeyIn(slot) != 0) slot = (slot + 1) & mask_;
    std::memcpy(memory_.get() + slot * stride_, row, stride_);
  }
  std::memcpy(memory_.get() + zero_slot() * stride_, row, stride_);

  if (marks_.empty()) return;
  marks_.assign(capacity_, 0);
  for (size_t i = 0; i < touched_.size(); ++i) {
    touched_[i] = Find(touched_keys[i], HashKey(touched_keys[i]));
    marks_[touched_[i]] = static_cast<uint32_t>(i) + 1;
  }
}

void SparseRange::ClearSums() {
  for (const Slot slot : touched_) marks_[slot] = 0;
  touched_.clear();
}

std::vector<std::pair<Key, SparseRange::Slot>> SparseRange::Sorted() const {
  std::vector<std::pair<Key, Slot>> sorted;
  sorted.reserve(rows());
  if (has_zero_) sorted.emplace_back(0, zero_slot());
  for (Slot slot = 0; slot < zero_slot(); ++slot) {
    if (KeyIn(slot) != 0) sorted.emplace_back(KeyIn(slot), slot);
  }
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

}   // namespace troupe::internal
