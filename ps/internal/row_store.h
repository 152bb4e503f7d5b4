// The rows of one range of a sparse table, by key, without an allocation a row. Keys that are numbered, as features and vocabularies are, lie in an array by
// their number, without their keys, as far as that takes no more memory than to hash them. The others are hashed, by open addressing over groups of 16 slots:
// one byte of each key's hash stands in a group's tags, which are compared at once, so that a row is found at the first look even where seven of eight slots
// are taken. Short rows lie in the places of the array and in the slots themselves; long ones in slabs, so that growth moves none of them. Sources: of the
// tags, Kulukundis, "Designing a Fast, Efficient, Cache-friendly Hash Table, Step by Step", CppCon 2017; of a table that is part array, part hashed,
// Ierusalimschy, de Figueiredo, Celes, "The Implementation of Lua 5.0", 2005, section 4.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "ps/internal/memory.h"
#include "ps/partition.h"
#include "ps/types.h"

namespace troupe::internal {

class RowStore {
 public:
  using Slot = uint32_t;   // with kNumbered: a place in the array
  static constexpr Slot kMissing = UINT32_MAX, kNumbered = uint32_t{1} << 31;
  static constexpr size_t kSlabBytes = 64 << 10;

  /// `floats`: of a row; `keys`: how they are dealt, of a store whose rows are never erased, else none, and all keys are hashed. Rows that do not lie in their
  /// slots take memory `slab_bytes` at a time, or two rows. Below `groups_doubled` groups of 16 rows the slots double when they grow, then they grow by a
  /// seventh: memory before time.
  RowStore(std::shared_ptr<Arena> arena, uint32_t floats, std::optional<SparseKeys> keys, size_t slab_bytes = kSlabBytes, uint32_t groups_doubled = 256);
  /// The same rows in memory of their own. Cost: a copy of bytes().
  explicit RowStore(const RowStore& other);
  RowStore(RowStore&&) noexcept = default;
  RowStore& operator=(RowStore&&) noexcept = default;

  uint64_t rows() const { return size_; }
  size_t bytes() const { return size_t{groups_} * kGroup * (1 + stride_) + slabs_.size() * SlabBytes() + ArrayBytes(numbered_); }
  /// What a store takes that is given room for so many hashed rows at once.
  size_t BytesFor(uint64_t rows) const;
  /// Keys with lower numbers lie in the array.
  uint32_t numbered() const { return numbered_; }
  bool mostly_numbered() const { return array_rows_ > size_ / 2; }
  /// The arrays of all ranges together lie in the processor's caches, if they are like this one.
  bool is_near() const { return ArrayBytes(numbered_) * keys_.ranges() <= kNearBytes; }
  /// The row lies in its slot: Row() needs no further look at memory.
  bool rows_in_slots() const { return slab_shift_ == 0; }

  /// Before searches in many stores: asks for what this object itself holds; then, when that is there, for what else all of its rows need.
  [[gnu::always_inline]] void PrefetchSelf() const {
    for (size_t i = 0; i < sizeof(RowStore); i += 64) __builtin_prefetch(reinterpret_cast<const std::byte*>(this) + i);
  }
  [[gnu::always_inline]] void PrefetchSlabs() const {
    for (size_t i = 0; i < slab_at_.size(); i += 8) __builtin_prefetch(slab_at_.data() + i);
  }
  /// What a search does first: asks for the key's place in the array or for its group's tags, and returns the hash of a key that is hashed; then, when they are
  /// there, Guess asks for the slots where the key may be, the first of which it returns, or, where no tag fits, for the one that a row would be made in.
  [[gnu::always_inline]] uint64_t Ask(Key key) const {
    if (IsNumbered(key)) {
      const auto number = static_cast<uint32_t>(keys_.NumberOf(key));
      __builtin_prefetch(PlaceOf(number));
      if (rows_in_slots()) __builtin_prefetch(there() + number / 64);
      return 0;
    }
    const uint64_t hash = HashKey(key);
    __builtin_prefetch(tags() + Home(hash) * kGroup);
    return hash;
  }
  [[gnu::always_inline]] Slot Guess(Key key, uint64_t hash) const {
    if (IsNumbered(key)) return kNumbered;
    const uint8_t tag = TagOf(hash);
    for (uint32_t group = Home(hash);;) {
      const uint8_t* at = tags() + group * kGroup;
      const uint32_t tagged = Matches(at, tag), found = tagged != 0 ? tagged : Matches(at, kEmpty);
      if (found != 0) [[likely]] {
        const Slot slot = group * static_cast<uint32_t>(kGroup) + static_cast<uint32_t>(std::countr_zero(found));
        PrefetchSlot(slot);
        for (uint32_t other = tagged & (tagged - 1); other != 0; other &= other - 1) {
          PrefetchSlot(group * static_cast<uint32_t>(kGroup) + static_cast<uint32_t>(std::countr_zero(other)));
        }
        return slot;
      }
      if (++group == groups_) group = 0;
    }
  }
  /// `guess`: of an earlier Guess with the same key, also where the store has grown since.
  [[gnu::always_inline]] Slot Find(Key key, uint64_t hash, Slot guess) const {
    if (IsNumbered(key)) return FindNumbered(key);
    return IsAt(key, hash, guess) ? guess : FindHashed(key, hash);
  }
  /// Of short rows: asks for these keys' places in the array.
  [[gnu::always_inline]] void AskNumbered(std::span<const Key> keys) const {
    const Array array = ArrayNow();
    for (const Key key : keys) {
      const uint64_t number = array.dealt.NumberOf(key);
      if (number >= array.numbers) continue;
      __builtin_prefetch(array.places + number * array.place_bytes);
      if (array.numbers > kNearBits) __builtin_prefetch(array.there + number / 64);
    }
  }
  /// Of short rows: the rows of those keys that lie in the array and are there, into `rows`, for the others null; whether there are others.
  [[gnu::always_inline]] bool FindNumbered(std::span<const Key> keys, float** rows) const {
    const Array array = ArrayNow();
    size_t found = 0;
    for (size_t i = 0; i < keys.size(); ++i) {
      const uint64_t number = array.dealt.NumberOf(keys[i]);
      rows[i] = nullptr;
      if (number >= array.numbers || (array.there[number / 64] >> number % 64 & 1) == 0) continue;
      rows[i] = reinterpret_cast<float*>(array.places + number * array.place_bytes);
      ++found;
    }
    return found != keys.size();
  }
  Slot Find(Key key) const { return IsNumbered(key) ? FindNumbered(key) : FindHashed(key, HashKey(key)); }
  /// Makes the row, all zeros, where it is missing; *made says so. MakeRoom must have made room for it.
  [[gnu::always_inline]] Slot FindOrMake(Key key, uint64_t hash, Slot guess, bool* made) {
    if (IsNumbered(key)) return FindOrMakeNumbered(key, made);
    *made = false;
    return IsAt(key, hash, guess) ? guess : FindOrMakeHashed(key, hash, made);
  }
  Slot FindOrMake(Key key, bool* made) { return IsNumbered(key) ? FindOrMakeNumbered(key, made) : FindOrMakeHashed(key, HashKey(key), made); }
  Slot FindOrMake(Key key) {
    bool made;
    return FindOrMake(key, &made);
  }
  /// Grows so that the next n new rows move no row.
  void MakeRoom(size_t n) {
    if (used_ + n > limit_) [[unlikely]]
      Grow({}, n);
  }
  /// The same for rows of these keys, all distinct, of which none is there.
  void MakeRoom(std::span<const Key> keys) {
    if (used_ + keys.size() > limit_) Grow(keys, keys.size());
  }
  /// Of a store that was made without `keys`.
  void Erase(Slot slot);

  float* Row(Slot slot) { return const_cast<float*>(std::as_const(*this).Row(slot)); }
  const float* Row(Slot slot) const {
    const std::byte* at = (slot & kNumbered) != 0 ? PlaceOf(slot & ~kNumbered) : At(slot) + sizeof(Key);
    if (slab_shift_ == 0) return reinterpret_cast<const float*>(at);
    uint32_t row;
    std::memcpy(&row, at, sizeof row);
    return reinterpret_cast<const float*>(SlabRow(row - 1));
  }
  size_t row_bytes() const { return row_bytes_; }
  /// Asks for all of a row that does not lie in its slot.
  [[gnu::always_inline]] void PrefetchRow(const float* row) const {
    const auto* at = reinterpret_cast<const std::byte*>(row);
    for (size_t i = 0; i < row_bytes_; i += 64) __builtin_prefetch(at + i);
    __builtin_prefetch(at + row_bytes_ - 1);
  }
  /// The key of a row of the range that the store is of.
  Key KeyAt(uint32_t range, Slot slot) const { return (slot & kNumbered) != 0 ? keys_.KeyOf(range, slot & ~kNumbered) : HashedKey(slot); }
  /// The first row in a slot from `slot` on, or kMissing: all rows, in an order of their own.
  Slot Next(Slot slot) const;
  /// Every row, by rising key.
  std::vector<std::pair<Key, Slot>> Sorted(uint32_t range) const;

 private:
  static constexpr size_t kGroup = 16;
  static constexpr uint8_t kEmpty = 0, kErased = 1, kFull = 0x80;   // and seven bits of the hash

  // --- the array ---

  static constexpr size_t kNearBytes = size_t{1} << 20;
  static constexpr uint32_t kNearBits = 1 << 15;   // of an array: what says which rows are there is near where its places are not

  /// What a loop over many keys needs of it.
  struct Array {
    SparseKeys dealt;
    uint32_t numbers;
    size_t place_bytes;
    std::byte* places;
    const uint64_t* there;
  };
  Array ArrayNow() const { return {keys_, numbered_, stride_ - sizeof(Key), array_.get(), there()}; }
  bool IsNumbered(Key key) const { return keys_.NumberOf(key) < numbered_; }
  const std::byte* PlaceOf(uint32_t number) const { return array_.get() + size_t{number} * (stride_ - sizeof(Key)); }
  std::byte* PlaceOf(uint32_t number) { return array_.get() + size_t{number} * (stride_ - sizeof(Key)); }
  /// Which of its rows are there, a bit each, where no number of a row in the slabs says so.
  uint64_t* there() { return reinterpret_cast<uint64_t*>(there_.get()); }
  const uint64_t* there() const { return reinterpret_cast<const uint64_t*>(there_.get()); }
  bool IsThere(uint32_t number) const {
    if (rows_in_slots()) return (there()[number / 64] >> number % 64 & 1) != 0;
    uint32_t row;
    std::memcpy(&row, PlaceOf(number), sizeof row);
    return row != 0;
  }
  [[gnu::always_inline]] Slot FindNumbered(Key key) const {
    const auto number = static_cast<uint32_t>(keys_.NumberOf(key));
    return IsThere(number) ? kNumbered | number : kMissing;
  }
  [[gnu::always_inline]] Slot FindOrMakeNumbered(Key key, bool* made) {
    const auto number = static_cast<uint32_t>(keys_.NumberOf(key));
    *made = !IsThere(number);
    if (*made) [[unlikely]]
      MakeNumbered(number);
    return kNumbered | number;
  }
  void MakeNumbered(uint32_t number);
  size_t ArrayBytes(uint32_t numbers) const { return size_t{numbers} * (stride_ - sizeof(Key)) + (rows_in_slots() ? (size_t{numbers} + 63) / 64 * 8 : 0); }
  /// How long the array is best when hashed rows become too many: no shorter than now. `coming`: rows that are still to be made.
  uint32_t BestNumbered(std::span<const Key> coming, size_t* hashed) const;
  void GrowArray(uint32_t numbers);

  // --- hashed rows ---

  const uint8_t* tags() const { return reinterpret_cast<const uint8_t*>(tags_.get()); }
  uint8_t* tags() { return reinterpret_cast<uint8_t*>(tags_.get()); }
  const std::byte* At(Slot slot) const { return slots_.get() + slot * stride_; }
  std::byte* At(Slot slot) { return slots_.get() + slot * stride_; }
  [[gnu::always_inline]] void PrefetchSlot(Slot slot) const {
    const std::byte* at = At(slot);
    __builtin_prefetch(at);
    if (stride_ % 16 != 0) __builtin_prefetch(at + stride_ - 1);   // it may reach into the next cache line
  }
  static uint8_t TagOf(uint64_t hash) { return static_cast<uint8_t>(kFull | (hash >> 32 & 0x7f)); }
  /// Rises with the hash's low half, so that growth reads and writes in order.
  uint32_t Home(uint64_t hash) const { return static_cast<uint32_t>(uint64_t{static_cast<uint32_t>(hash)} * groups_ >> 32); }
  Key HashedKey(Slot slot) const {
    Key key;
    std::memcpy(&key, At(slot), sizeof key);
    return key;
  }
  /// The slots may have become fewer since the guess.
  bool IsAt(Key key, uint64_t hash, Slot slot) const { return slot < groups_ * kGroup && tags()[slot] == TagOf(hash) && HashedKey(slot) == key; }
  /// Bit i: tag i of the group is `tag`.
  static uint32_t Matches(const uint8_t* group, uint8_t tag) {
#ifdef __SSE2__
    return static_cast<uint32_t>(
        _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128(reinterpret_cast<const __m128i*>(group)), _mm_set1_epi8(static_cast<char>(tag)))));
#else
    uint32_t found = 0;
    for (uint32_t i = 0; i < kGroup; ++i) found |= uint32_t{group[i] == tag} << i;
    return found;
#endif
  }
  Slot FindHashed(Key key, uint64_t hash) const;
  Slot FindOrMakeHashed(Key key, uint64_t hash, bool* made);
  /// The row's place in the group where it would be made.
  Slot Vacant(uint64_t hash) const;
  size_t SlabBytes() const {
    return row_bytes_ << slab_shift_;
  }
  std::byte* SlabRow(uint32_t row) const {
    return slab_at_[row >> slab_shift_] + (row & ((uint32_t{1} << slab_shift_) - 1)) * row_bytes_;
  }
  /// 1 + its number.
  uint32_t NewSlabRow();
  uint32_t NextGroups(uint32_t groups) const {
    return groups < groups_doubled_ ? groups * 2 : groups + groups / 7;
  }
  /// Room for n more rows, of which these keys are known.
  void Grow(std::span<const Key> keys, size_t n);

  std::shared_ptr<Arena> arena_;
  SparseKeys keys_;
  bool may_number_;
  uint32_t numbered_ = 0;
  size_t array_rows_ = 0;   // of size_
  size_t stride_;           // bytes from slot to slot: the key, then the row or 1 + its number in the slabs; in the array without the key
  size_t row_bytes_;
  uint32_t slab_shift_ = 0;   // log2 of a slab's rows; 0: rows lie in their slots
  uint32_t groups_ = 0;
  uint32_t groups_doubled_;
  size_t size_ = 0;   // rows
  size_t used_ = 0;   // of them, those that are hashed, and slots of erased ones. Invariant: used_ <= limit_ = 7/8 of the slots.
  size_t limit_ = 0;
  Memory tags_, slots_, array_, there_;
  std::vector<Memory> slabs_;
  std::vector<std::byte*> slab_at_;   // slabs_[i].get(), close together
  uint32_t slab_rows_ = 0;            // given out so far
  std::vector<uint32_t> vacated_;     // of them, 1 + those that are free again
};

inline RowStore::Slot RowStore::FindHashed(Key key, uint64_t hash) const {
  const uint8_t tag = TagOf(hash);
  for (uint32_t group = Home(hash);;) {
    const uint8_t* at = tags() + group * kGroup;
    for (uint32_t found = Matches(at, tag); found != 0; found &= found - 1) {
      const Slot slot = group * static_cast<uint32_t>(kGroup) + static_cast<uint32_t>(std::countr_zero(found));
      if (HashedKey(slot) == key) return slot;
    }
    if (Matches(at, kEmpty) != 0) return kMissing;
    if (++group == groups_) group = 0;
  }
}

}   // namespace troupe::internal
