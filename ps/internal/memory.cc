#include "ps/internal/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "actors/check.h"

namespace troupe::internal {
namespace {

constexpr size_t kLine = 64, kPage = 4096, kHugePage = size_t{1} << 21;
/// A table that needs little takes little.
constexpr size_t kFirstMapping = 64 << 10;

size_t RoundUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

/// The first whole huge page from here on; the end of the last one before here.
std::byte* FirstHugePage(std::byte* memory) {
  return reinterpret_cast<std::byte*>(RoundUp(reinterpret_cast<size_t>(memory), kHugePage));
}
std::byte* LastHugePage(std::byte* memory) {
  return reinterpret_cast<std::byte*>(reinterpret_cast<size_t>(memory) / kHugePage * kHugePage);
}

/// Zeros, at the start of a huge page where there is room for one.
std::byte* MapZeros(size_t bytes) {
  const size_t slack = bytes >= kHugePage ? kHugePage : 0;
  void* mapped = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TROUPE_CHECK(mapped != MAP_FAILED);
  auto* memory = static_cast<std::byte*>(mapped);
  if (slack == 0) return memory;
  std::byte* const begin = FirstHugePage(memory);
  if (begin != memory) munmap(memory, static_cast<size_t>(begin - memory));
  if (begin != memory + slack) munmap(begin + bytes, static_cast<size_t>(memory + slack - begin));
  madvise(begin, bytes, MADV_HUGEPAGE);
  return begin;
}

}   // namespace

Arena::~Arena() {
  for (const auto& [memory, bytes] : mappings_) munmap(memory, bytes);
}

std::byte* Arena::Allocate(size_t bytes, bool zeros) {
  std::byte* memory;
  if (bytes >= options_.own_from) {
    bytes = RoundUp(bytes, kPage);
    memory = MapZeros(bytes);
    std::lock_guard lock(mutex_);
    bytes_ += bytes;
  } else {
    bytes = RoundUp(bytes, kLine);
    std::lock_guard lock(mutex_);
    memory = Cut(bytes);
  }
  if (zeros) std::memset(memory, 0, bytes);
  return memory;
}

void Arena::Free(std::byte* memory, size_t bytes) {
  if (bytes >= options_.own_from) {
    bytes = RoundUp(bytes, kPage);
    munmap(memory, bytes);
    std::lock_guard lock(mutex_);
    bytes_ -= bytes;
    ReturnUnused();   // an eighth is less now
  } else {
    std::lock_guard lock(mutex_);
    Join(memory, RoundUp(bytes, kLine));
    ReturnUnused();
  }
}

/// `bytes`: whole cache lines.
std::byte* Arena::Cut(size_t bytes) {
  const auto fits = [&] { return std::find_if(free_.begin(), free_.end(), [&](const auto& piece) { return piece.second >= bytes; }); };
  auto found = fits();
  if (found == free_.end()) {
    Map(bytes);
    found = fits();
  }
  const auto [memory, size] = *found;
  Drop(found);
  if (size > bytes) Add(memory + bytes, size - bytes);
  return memory;
}

/// Room for some pieces of so many bytes.
void Arena::Map(size_t bytes) {
  // As much as there is already, so that small tables stay small; in the end whole huge pages.
  const size_t mapping = std::clamp(bytes_, kFirstMapping, options_.mapping_max);
  size_t wanted = std::max<size_t>(1, mapping / bytes) * bytes;
  wanted = RoundUp(wanted, wanted > kHugePage / 2 ? kHugePage : kFirstMapping);
  std::byte* memory = MapZeros(wanted);
  mappings_.emplace(memory, wanted);
  bytes_ += wanted;
  Join(memory, wanted);
}

/// False: the system does not (too many mappings), all stays as it was.
bool Arena::Unmap(std::byte* begin, std::byte* end) {
  if (munmap(begin, static_cast<size_t>(end - begin)) != 0) return false;
  for (auto mapping = std::prev(mappings_.upper_bound(begin)); mapping != mappings_.end() && mapping->first < end;) {
    std::byte *const memory = mapping->first, *const after = memory + mapping->second;
    mapping = mappings_.erase(mapping);
    if (memory < begin) mappings_.emplace(memory, static_cast<size_t>(begin - memory));
    if (end < after) mappings_.emplace(end, static_cast<size_t>(after - end));
  }
  bytes_ -= static_cast<size_t>(end - begin);
  return true;
}

/// What is free from now on, with what is free beside it.
void Arena::Join(std::byte* memory, size_t bytes) {
  auto next = free_.lower_bound(memory);
  if (next != free_.end() && memory + bytes == next->first) {
    bytes += next->second;
    next = Drop(next);
  }
  if (next != free_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == memory) {
      memory = before->first;
      bytes += before->second;
      Drop(before);
    }
  }
  Add(memory, bytes);
}

void Arena::Add(std::byte* memory, size_t bytes) {
  free_.emplace(memory, bytes);
  free_bytes_ += bytes;
  if (FirstHugePage(memory) < LastHugePage(memory + bytes)) whole_.insert(memory);
}

Arena::Pieces::iterator Arena::Drop(Pieces::iterator piece) {
  free_bytes_ -= piece->second;
  whole_.erase(piece->first);
  return free_.erase(piece);
}

void Arena::ReturnUnused() {
  for (;;) {
    const size_t spare = std::max(options_.spare_min, (bytes_ - free_bytes_) / 8);
    if (free_bytes_ < spare + kHugePage || whole_.empty()) return;
    const auto piece = free_.find(*whole_.rbegin());
    std::byte *const memory = piece->first, *const after = memory + piece->second;
    std::byte* const end = LastHugePage(after);
    std::byte* const begin = std::max(FirstHugePage(memory), end - (free_bytes_ - spare) / kHugePage * kHugePage);
    if (!Unmap(begin, end)) return;
    Drop(piece);
    if (memory < begin) Add(memory, static_cast<size_t>(begin - memory));
    if (end < after) Add(end, static_cast<size_t>(after - end));
  }
}

Memory Memory::Copy() const {
  Memory copy;
  if (memory_ == nullptr) return copy;
  copy.arena_ = arena_;
  copy.memory_ = arena_->Allocate(bytes_, false);
  copy.bytes_ = bytes_;
  std::memcpy(copy.memory_, memory_, bytes_);
  return copy;
}

}   // namespace troupe::internal
