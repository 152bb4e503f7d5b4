#include "ps/internal/sparse_range.h"

#include <algorithm>
#include <cstring>

#include "actors/check.h"

namespace troupe::internal {

SparseRange::SparseRange(std::shared_ptr<Arena> arena, uint32_t floats)
    : arena_(std::move(arena)), stride_(sizeof(Key) + (size_t{floats} * sizeof(float) + 7) / 8 * 8), memory_(arena_, capacity_ * stride_) {}

void SparseRange::Grow() {
  TROUPE_CHECK(mask_ < (uint32_t{1} << 30));
  const Slot old_end = zero_slot();
  const Memory old = std::move(memory_);
  mask_ = mask_ * 2 + 1;
  capacity_ = size_t{mask_} + 2;
  memory_ = Memory(arena_, capacity_ * stride_);
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
