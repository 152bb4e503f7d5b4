// The rows of one range of a sparse table: open addressing with linear probing over rows {key, values, state} of one fixed size, one behind the other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "ps/internal/memory.h"
#include "ps/partition.h"
#include "ps/types.h"
#include "ps/update_rule.h"

namespace troupe::internal {

class SparseRange {
 public:
  using Slot = uint32_t;
  static constexpr Slot kMissing = UINT32_MAX;

  /// `floats`: a row's values and state.
  SparseRange(std::shared_ptr<Arena> arena, uint32_t floats);

  uint64_t rows() const { return size_ + has_zero_; }
  size_t bytes() const { return capacity_ * stride_; }

  /// Brings the place where the search for a key begins near. (Inlined by force: GCC 12 takes a function that only prefetches for one without effect, and drops
  /// calls.)
  [[gnu::always_inline]] void Prefetch(uint64_t hash) const { __builtin_prefetch(memory_.get() + (hash & mask_) * stride_); }
  [[gnu::always_inline]] void Prefetch(std::span<const Key> keys) const {
    for (const Key key : keys) Prefetch(HashKey(key));
  }
  Slot Find(Key key, uint64_t hash) const;
  /// Makes the row, all zeros, where it is missing. MakeRoom must have made room for it.
  Slot FindOrMake(Key key, uint64_t hash);
  /// Grows so that the next n new rows move no other row.
  void MakeRoom(size_t n) {
    while ((size_ + n) * 8 > size_t{mask_ + 1} * 5) [[unlikely]] Grow();
  }
  float* Row(Slot slot) { return reinterpret_cast<float*>(memory_.get() + slot * stride_ + sizeof(Key)); }
  const float* Row(Slot slot) const { return reinterpret_cast<const float*>(memory_.get() + slot * stride_ + sizeof(Key)); }

  Key KeyAt(Slot slot) const { return slot == zero_slot() ? 0 : KeyIn(slot); }
  /// Every row, by rising key.
  std::vector<std::pair<Key, Slot>> Sorted() const;

 private:
  // Key 0 marks an empty slot; the row of key 0 itself lies behind the others.
  Slot zero_slot() const { return mask_ + 1; }
  const Key& KeyIn(Slot slot) const { return *reinterpret_cast<const Key*>(memory_.get() + slot * stride_); }
  Key& KeyIn(Slot slot) { return *reinterpret_cast<Key*>(memory_.get() + slot * stride_); }
  void Grow();

  std::shared_ptr<Arena> arena_;
  size_t stride_;          // bytes from row to row
  uint32_t mask_ = 31;     // slots - 1, a power of two less one
  size_t capacity_ = 33;   // slots and the row of key 0
  size_t size_ = 0;        // rows in slots. Invariant: at most 5/8 of the slots.
  bool has_zero_ = false;
  Memory memory_;
};

inline SparseRange::Slot SparseRange::Find(Key key, uint64_t hash) const {
  if (key == 0) [[unlikely]]
    return has_zero_ ? zero_slot() : kMissing;
  for (Slot slot = static_cast<Slot>(hash) & mask_;; slot = (slot + 1) & mask_) {
    const Key found = KeyIn(slot);
    if (found == key) return slot;
    if (found == 0) return kMissing;
  }
}

inline SparseRange::Slot SparseRange::FindOrMake(Key key, uint64_t hash) {
  if (key == 0) [[unlikely]] {
    has_zero_ = true;
    return zero_slot();
  }
  for (Slot slot = static_cast<Slot>(hash) & mask_;; slot = (slot + 1) & mask_) {
    Key& found = KeyIn(slot);
    if (found == key) return slot;
    if (found == 0) {
      found = key;
      ++size_;
      return slot;
    }
  }
}

}   // namespace troupe::internal
