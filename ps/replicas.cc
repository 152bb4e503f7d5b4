#include "ps/replicas.h"

#include <algorithm>
#include <cstring>

#include "ps/partition.h"

namespace troupe {
namespace {
constexpr size_t kSlotsMin = 64;
}   // namespace

Replicas::Replicas(uint32_t width, size_t bytes_max)
    : width_(width), rows_max_(std::min<size_t>(bytes_max / (width * sizeof(float) + sizeof(Entry) + 2 * sizeof(uint32_t)), kNone - 1)) {
  Clear();
}

void Replicas::Clear() {
  slots_.assign(kSlotsMin, kNone);
  entries_.clear();
  values_.clear();
  rows_ = 0;
  newest_ = oldest_ = free_ = kNone;
}

size_t Replicas::SlotOf(Key key) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = HashKey(key) & mask;
  while (slots_[slot] != kNone && entries_[slots_[slot]].key != key) slot = (slot + 1) & mask;
  return slot;
}

const float* Replicas::Find(Key key, uint64_t oldest) {
  const uint32_t entry = slots_[SlotOf(key)];
  if (entry == kNone || entries_[entry].stamp < oldest) return nullptr;
  if (entry != newest_) {
    Unlink(entry);
    LinkNewest(entry);
  }
  return values_.data() + size_t{entry} * width_;
}

void Replicas::Put(Key key, uint64_t stamp, const float* row) {
  if (rows_max_ == 0) return;
  uint32_t entry = slots_[SlotOf(key)];
  if (entry != kNone) {
    if (entries_[entry].stamp > stamp) return;
    Unlink(entry);
  } else {
    if (rows_ == rows_max_) Remove(SlotOf(entries_[oldest_].key));
    if (2 * (rows_ + 1) > slots_.size()) Grow();
    entry = NewEntry(key);
    slots_[SlotOf(key)] = entry;
    ++rows_;
  }
  entries_[entry].stamp = stamp;
  LinkNewest(entry);
  std::memcpy(values_.data() + size_t{entry} * width_, row, width_ * sizeof(float));
}

uint32_t Replicas::NewEntry(Key key) {
  if (free_ == kNone) {
    free_ = static_cast<uint32_t>(entries_.size());
    entries_.push_back({.key = 0, .stamp = 0, .newer = kNone, .older = kNone});
    const size_t floats = entries_.size() * width_;
    if (floats > values_.capacity()) values_.reserve(std::min(2 * floats, rows_max_ * width_));
    values_.resize(floats);
  }
  const uint32_t entry = free_;
  free_ = entries_[entry].older;
  entries_[entry].key = key;
  return entry;
}

void Replicas::Drop(Key key) {
  const size_t slot = SlotOf(key);
  if (slots_[slot] != kNone) Remove(slot);
}

void Replicas::Remove(size_t slot) {
  const uint32_t entry = slots_[slot];
  Unlink(entry);
  entries_[entry].older = free_;
  free_ = entry;
  --rows_;
  // What lies behind it moves up, so that no search ends too early (Knuth, "The Art of Computer Programming" vol. 3, sec. 6.4, algorithm R).
  const size_t mask = slots_.size() - 1;
  size_t hole = slot;
  for (size_t next = (hole + 1) & mask; slots_[next] != kNone; next = (next + 1) & mask) {
    const size_t home = HashKey(entries_[slots_[next]].key) & mask;
    if (((next - home) & mask) < ((next - hole) & mask)) continue;   // its own place is behind the hole
    slots_[hole] = slots_[next];
    hole = next;
  }
  slots_[hole] = kNone;
}

void Replicas::Unlink(uint32_t entry) {
  const auto [newer, older] = std::pair(entries_[entry].newer, entries_[entry].older);
  (newer == kNone ? newest_ : entries_[newer].older) = older;
  (older == kNone ? oldest_ : entries_[older].newer) = newer;
}

void Replicas::LinkNewest(uint32_t entry) {
  entries_[entry].newer = kNone;
  entries_[entry].older = newest_;
  (newest_ == kNone ? oldest_ : entries_[newest_].newer) = entry;
  newest_ = entry;
}

void Replicas::Grow() {
  std::vector<uint32_t> old(slots_.size() * 2, kNone);
  old.swap(slots_);
  for (const uint32_t entry : old) {
    if (entry != kNone) slots_[SlotOf(entries_[entry].key)] = entry;
  }
}

}   // namespace troupe
