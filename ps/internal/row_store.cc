#include "ps/internal/row_store.h"

#include <algorithm>

#include "actors/check.h"

namespace troupe::internal {
namespace {

constexpr uint32_t kGroupsAtStart = 2;
constexpr size_t kRowInSlot = 32;   // bytes

}   // namespace

RowStore::RowStore(std::shared_ptr<Arena> arena, uint32_t floats, size_t slab_bytes, uint32_t groups_doubled)
    : arena_(std::move(arena)), row_bytes_(floats * sizeof(float)), groups_doubled_(groups_doubled) {
  stride_ = sizeof(Key) + row_bytes_;
  if (row_bytes_ > kRowInSlot) {
    stride_ = sizeof(Key) + sizeof(uint32_t);
    row_bytes_ = (row_bytes_ + 15) / 16 * 16;
    slab_shift_ = 1;
    while (SlabBytes() < slab_bytes) ++slab_shift_;
  }
  Grow(0);
}

RowStore::RowStore(const RowStore& other)
    : arena_(other.arena_),
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

RowStore::Slot RowStore::FindOrMake(Key key, uint64_t hash, bool* made) {
  Slot slot = Find(key, hash);
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
    std::memset(SlabRow(row), 0, row_bytes_);
    return row;
  }
  if (slab_rows_ == slabs_.size() << slab_shift_) slab_at_.push_back(slabs_.emplace_back(arena_, SlabBytes()).get());
  return slab_rows_++;
}

void RowStore::Erase(Slot slot) {
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

void RowStore::Grow(size_t n) {
  // Many erased slots: the same size is enough.
  uint32_t groups = std::max(groups_, kGroupsAtStart);
  while ((size_ + n) * 8 > size_t{groups} * kGroup * 7 || (groups == groups_ && used_ - size_ < size_ / 8)) {
    groups = NextGroups(groups);
    TROUPE_CHECK(groups < UINT32_MAX / kGroup / 2);
  }
  const Memory old_tags = std::exchange(tags_, Memory(arena_, size_t{groups} * kGroup));
  const Memory old_slots = std::exchange(slots_, Memory(arena_, size_t{groups} * kGroup * stride_));
  const size_t old = size_t{groups_} * kGroup;
  groups_ = groups;
  limit_ = size_t{groups} * kGroup / 8 * 7;
  used_ = size_;
  const std::byte* from = old_slots.get();
  for (size_t i = 0; i < old; ++i, from += stride_) {
    if (static_cast<uint8_t>(old_tags.get()[i]) < kFull) continue;
    Key key;
    std::memcpy(&key, from, sizeof key);
    const uint64_t hash = HashKey(key);
    const Slot slot = Vacant(hash);
    tags()[slot] = TagOf(hash);
    std::memcpy(At(slot), from, stride_);
  }
}

size_t RowStore::BytesFor(uint64_t rows) const {
  uint32_t groups = kGroupsAtStart;
  while (rows * 8 > uint64_t{groups} * kGroup * 7) groups = NextGroups(groups);
  const size_t slabs = slab_shift_ == 0 ? 0 : (rows + (uint64_t{1} << slab_shift_) - 1) >> slab_shift_;
  return size_t{groups} * kGroup * (1 + stride_) + slabs * SlabBytes();
}

RowStore::Slot RowStore::Next(Slot slot) const {
  const size_t end = size_t{groups_} * kGroup;
  for (size_t i = slot; i < end; ++i) {
    if (tags()[i] >= kFull) return static_cast<Slot>(i);
  }
  return kMissing;
}

std::vector<std::pair<Key, RowStore::Slot>> RowStore::Sorted() const {
  std::vector<std::pair<Key, Slot>> sorted;
  sorted.reserve(size_);
  for (Slot slot = Next(0); slot != kMissing; slot = Next(slot + 1)) sorted.emplace_back(KeyAt(slot), slot);
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

}   // namespace troupe::internal
