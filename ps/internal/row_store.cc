#include "ps/internal/row_store.h"

#include <algorithm>
#include <array>
#include <bit>

#include "actors/check.h"

namespace troupe::internal {
namespace {

constexpr uint32_t kGroupsAtStart = 2;
constexpr size_t kRowInSlot = 32;   // bytes
constexpr uint64_t kNumbersMax = uint64_t{1} << 30;

/// Which numbers are counted together, of those below kNumbersMax: eight classes to an octave.
constexpr size_t kClasses = 1 + (30 - 4) * 8;
size_t ClassOf(uint64_t number) {
  if (number < 16) return 0;
  const size_t shift = static_cast<size_t>(std::bit_width(number)) - 4;
  return (shift - 1) * 8 + (number >> shift & 7) + 1;
}

}   // namespace

RowStore::RowStore(std::shared_ptr<Arena> arena, uint32_t floats, std::optional<SparseKeys> keys, size_t slab_bytes, uint32_t groups_doubled)
    : arena_(std::move(arena)),
      keys_(keys.value_or(SparseKeys())),
      may_number_(keys.has_value()),
      row_bytes_(floats * sizeof(float)),
      groups_doubled_(groups_doubled) {
  stride_ = sizeof(Key) + row_bytes_;
  if (row_bytes_ > kRowInSlot) {
    stride_ = sizeof(Key) + sizeof(uint32_t);
    row_bytes_ = (row_bytes_ + 15) / 16 * 16;
    slab_shift_ = 1;
    while (SlabBytes() < slab_bytes) ++slab_shift_;
  }
  Grow({}, 0);
}

RowStore::RowStore(const RowStore& other)
    : arena_(other.arena_),
      keys_(other.keys_),
      may_number_(other.may_number_),
      numbered_(other.numbered_),
      array_rows_(other.array_rows_),
      stride_(other.stride_),
      row_bytes_(other.row_bytes_),
      slab_shift_(other.slab_shift_),
      groups_(other.groups_),
      groups_doubled_(other.groups_doubled_),
      size_(other.size_),
      used_(other.used_),
      limit_(other.limit_),
      tags_(other.tags_.Copy()),
      slots_(other.slots_.Copy()),
      array_(other.array_.Copy()),
      there_(other.there_.Copy()),
      slab_rows_(other.slab_rows_),
      vacated_(other.vacated_) {
  slabs_.reserve(other.slabs_.size());
  for (const Memory& slab : other.slabs_) {
    slabs_.push_back(slab.Copy());
    slab_at_.push_back(slabs_.back().get());
  }
}

RowStore::Slot RowStore::Vacant(uint64_t hash) const {
  for (uint32_t group = Home(hash);;) {
    const uint8_t* at = tags() + group * kGroup;
    if (const uint32_t found = Matches(at, kEmpty) | Matches(at, kErased); found != 0) {
      return group * static_cast<uint32_t>(kGroup) + static_cast<uint32_t>(std::countr_zero(found));
    }
    if (++group == groups_) group = 0;
  }
}

void RowStore::MakeNumbered(uint32_t number) {
  ++size_;
  ++array_rows_;
  if (rows_in_slots()) {
    there()[number / 64] |= uint64_t{1} << number % 64;
    return;   // zeros since the array was made
  }
  const uint32_t row = NewSlabRow();
  std::memcpy(PlaceOf(number), &row, sizeof row);
}

RowStore::Slot RowStore::FindOrMakeHashed(Key key, uint64_t hash, bool* made) {
  Slot slot = FindHashed(key, hash);
  *made = slot == kMissing;
  if (!*made) return slot;
  slot = Vacant(hash);
  used_ += tags()[slot] == kEmpty;
  ++size_;
  tags()[slot] = TagOf(hash);
  std::byte* at = At(slot);
  std::memcpy(at, &key, sizeof key);
  if (slab_shift_ == 0) {
    std::memset(at + sizeof key, 0, row_bytes_);
  } else {
    const uint32_t row = NewSlabRow();
    std::memcpy(at + sizeof key, &row, sizeof row);
  }
  return slot;
}

uint32_t RowStore::NewSlabRow() {
  if (!vacated_.empty()) {
    const uint32_t row = vacated_.back();
    vacated_.pop_back();
    std::memset(SlabRow(row - 1), 0, row_bytes_);
    return row;
  }
  if (slab_rows_ >> slab_shift_ == slabs_.size()) slab_at_.push_back(slabs_.emplace_back(arena_, SlabBytes()).get());
  return ++slab_rows_;
}

void RowStore::Erase(Slot slot) {
  TROUPE_CHECK(!may_number_);
  if (slab_shift_ != 0) {
    uint32_t row;
    std::memcpy(&row, At(slot) + sizeof(Key), sizeof row);
    vacated_.push_back(row);
  }
  // Where the group has an empty slot no search goes on behind it: the slot may be empty too.
  const bool ends_here = Matches(tags() + slot / kGroup * kGroup, kEmpty) != 0;
  tags()[slot] = ends_here ? kEmpty : kErased;
  used_ -= ends_here;
  --size_;
}

uint32_t RowStore::BestNumbered(std::span<const Key> coming, size_t* hashed) const {
  *hashed = used_ + coming.size();
  if (!may_number_) return 0;
  struct Class {
    uint32_t rows = 0, end = 0;   // end: behind the highest number that is there
  };
  std::array<Class, kClasses> classes;
  const auto count = [&](Key key) {
    const uint64_t number = keys_.NumberOf(key);
    if (number >= kNumbersMax) return;
    Class& its = classes[ClassOf(number)];
    ++its.rows;
    its.end = std::max(its.end, static_cast<uint32_t>(number) + 1);
  };
  for (size_t slot = 0; slot < size_t{groups_} * kGroup; ++slot) {
    if (tags()[slot] >= kFull) count(HashedKey(static_cast<Slot>(slot)));
  }
  for (const Key key : coming) count(key);
  const double hashed_bytes = static_cast<double>(1 + stride_) * 8 / 7;
  uint32_t best = numbered_;
  double best_bytes = static_cast<double>(ArrayBytes(numbered_)) + static_cast<double>(*hashed) * hashed_bytes;
  size_t held = 0, best_held = 0;
  for (const Class& its : classes) {
    held += its.rows;
    if (its.end <= numbered_) continue;
    const double bytes = static_cast<double>(ArrayBytes(its.end)) + static_cast<double>(*hashed - held) * hashed_bytes;
    if (bytes > best_bytes) continue;
    best = its.end;
    best_bytes = bytes;
    best_held = held;
  }
  *hashed -= best_held;
  return best;
}

void RowStore::GrowArray(uint32_t numbers) {
  const size_t place_bytes = stride_ - sizeof(Key);
  const Memory old = std::exchange(array_, Memory(arena_, numbers * place_bytes));
  if (numbered_ > 0) std::memcpy(array_.get(), old.get(), numbered_ * place_bytes);
  if (rows_in_slots()) {
    const Memory old_there = std::exchange(there_, Memory(arena_, (size_t{numbers} + 63) / 64 * 8));
    if (numbered_ > 0) std::memcpy(there_.get(), old_there.get(), (size_t{numbered_} + 63) / 64 * 8);
  }
  numbered_ = numbers;
}

void RowStore::Grow(std::span<const Key> keys, size_t n) {
  size_t hashed;
  const uint32_t numbers = BestNumbered(keys, &hashed);
  uint32_t groups = std::max(groups_, kGroupsAtStart);
  if (numbers > numbered_) {
    // More may follow behind the array. They have room for an eighth of what is in it before it is copied again.
    hashed += n - keys.size() + (size_ + keys.size() - hashed) / 8;
    for (groups = kGroupsAtStart; hashed * 8 > size_t{groups} * kGroup * 7;) groups = NextGroups(groups);
    GrowArray(numbers);
  } else {
    hashed += n - keys.size();
    // Many erased slots: the same size is enough.
    const size_t rows = size_ - array_rows_, erased = used_ - rows;
    hashed -= erased;
    while (hashed * 8 > size_t{groups} * kGroup * 7 || (groups == groups_ && erased < rows / 8)) groups = NextGroups(groups);
  }
  TROUPE_CHECK(groups < UINT32_MAX / kGroup / 4);   // slots below kNumbered
  const Memory old_tags = std::exchange(tags_, Memory(arena_, size_t{groups} * kGroup));
  const Memory old_slots = std::exchange(slots_, Memory(arena_, size_t{groups} * kGroup * stride_));
  const size_t old = size_t{groups_} * kGroup;
  groups_ = groups;
  limit_ = size_t{groups} * kGroup / 8 * 7;
  used_ = 0;
  const std::byte* from = old_slots.get();
  for (size_t i = 0; i < old; ++i, from += stride_) {
    if (static_cast<uint8_t>(old_tags.get()[i]) < kFull) continue;
    Key key;
    std::memcpy(&key, from, sizeof key);
    if (IsNumbered(key)) {
      const auto number = static_cast<uint32_t>(keys_.NumberOf(key));
      ++array_rows_;
      if (rows_in_slots()) there()[number / 64] |= uint64_t{1} << number % 64;
      std::memcpy(PlaceOf(number), from + sizeof key, stride_ - sizeof key);
      continue;
    }
    const uint64_t hash = HashKey(key);
    const Slot slot = Vacant(hash);
    tags()[slot] = TagOf(hash);
    std::memcpy(At(slot), from, stride_);
    ++used_;
  }
}

size_t RowStore::BytesFor(uint64_t rows) const {
  uint32_t groups = kGroupsAtStart;
  while (rows * 8 > uint64_t{groups} * kGroup * 7) groups = NextGroups(groups);
  const size_t slabs = slab_shift_ == 0 ? 0 : (rows + (uint64_t{1} << slab_shift_) - 1) >> slab_shift_;
  return size_t{groups} * kGroup * (1 + stride_) + slabs * SlabBytes();
}

RowStore::Slot RowStore::Next(Slot slot) const {
  if ((slot & kNumbered) == 0) {
    const size_t end = size_t{groups_} * kGroup;
    for (size_t i = slot; i < end; ++i) {
      if (tags()[i] >= kFull) return static_cast<Slot>(i);
    }
    slot = kNumbered;
  }
  for (uint32_t number = slot & ~kNumbered; number < numbered_; ++number) {
    if (IsThere(number)) return kNumbered | number;
  }
  return kMissing;
}

std::vector<std::pair<Key, RowStore::Slot>> RowStore::Sorted(uint32_t range) const {
  std::vector<std::pair<Key, Slot>> sorted;
  sorted.reserve(size_);
  for (Slot slot = Next(kNumbered); slot != kMissing; slot = Next(slot + 1)) sorted.emplace_back(KeyAt(range, slot), slot);
  for (Slot slot = Next(0); (slot & kNumbered) == 0; slot = Next(slot + 1)) sorted.emplace_back(HashedKey(slot), slot);
  std::sort(sorted.begin() + static_cast<std::ptrdiff_t>(array_rows_), sorted.end());   // those of the array have the lower keys
  return sorted;
}

}   // namespace troupe::internal
