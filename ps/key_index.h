// Numbers the distinct keys of a batch 0, 1, 2, ... as they are first met: the way from 64-bit keys to small dense arrays. On the hot path of every sparse
// batch and of every BSP round, so its memory is kept from one to the next.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "ps/types.h"

namespace troupe {

/// Keys come as numbers of 32 or 64 bits. Not thread-safe: one a thread. All of it stays in a core's first cache for some thousand keys: 4 bytes a slot, 8 a
/// key, 4 a count.
class KeyIndex {
 public:
  /// Forgets the last batch. `expected`: about as many distinct keys will come (more may).
  void Start(size_t expected) {
    keys_.clear();
    counts_.clear();
    Resize(std::bit_ceil(std::max<size_t>(kSlotsMin, 2 * expected)));
  }
  /// The number of `key`: that of its first appearance, or the next free one. Not counted.
  uint32_t Column(Key key) {
    uint32_t column;
    Columns(std::span<const Key>(&key, 1), &column);
    --counts_[column];
    return column;
  }
  /// columns[i] = Column(keys[i]), quicker, and counted.
  template <class Number>
  [[gnu::noinline]] void Columns(std::span<const Number> keys, uint32_t* columns) {
    // Members as locals: the compiler cannot know that `columns` does not point at them.
    uint32_t* slots = slots_.data();
    const Key* known = keys_.data();
    uint32_t* counts = counts_.data();
    size_t mask = mask_;
    int shift = shift_;
    for (const Key key : keys) {
      size_t i = Hash(key) >> shift;
      while (slots[i] != 0 && known[slots[i] - 1] != key) i = (i + 1) & mask;
      if (slots[i] == 0) [[unlikely]] {
        keys_.push_back(key);
        counts_.push_back(0);
        slots[i] = static_cast<uint32_t>(keys_.size());
        if (keys_.size() * 2 > mask) {
          Grow();
          slots = slots_.data();
          mask = mask_;
          shift = shift_;
        }
        known = keys_.data();
        counts = counts_.data();
        *columns++ = static_cast<uint32_t>(keys_.size() - 1);
        ++counts[keys_.size() - 1];
        continue;
      }
      const uint32_t column = slots[i] - 1;
      ++counts[column];
      *columns++ = column;
    }
  }
  /// By column.
  const std::vector<Key>& keys() const { return keys_; }
  /// By column: how often Columns met it.
  const std::vector<uint32_t>& counts() const { return counts_; }

 private:
  static constexpr size_t kSlotsMin = 16;
  /// Multiplicative hashing takes the product's high bits (Knuth, "The Art of Computer Programming" vol. 3, sec. 6.4).
  static uint64_t Hash(Key key) { return (key ^ (key >> 32)) * 0x9e3779b97f4a7c15ULL; }

  void Resize(size_t slots) {
    slots_.assign(slots, 0);
    mask_ = slots - 1;
    shift_ = 64 - std::countr_zero(slots);
  }
  void Grow() {
    Resize(2 * (mask_ + 1));
    for (uint32_t column = 0; column < keys_.size(); ++column) {
      size_t i = Hash(keys_[column]) >> shift_;
      while (slots_[i] != 0) i = (i + 1) & mask_;
      slots_[i] = column + 1;
    }
  }

  std::vector<uint32_t> slots_;   // 1 + column, or 0. Invariant: at most half of them are taken.
  size_t mask_ = 0;               // slots - 1, a power of two less one
  int shift_ = 0;
  std::vector<Key> keys_;
  std::vector<uint32_t> counts_;
};

}   // namespace troupe
