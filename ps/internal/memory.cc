#include "ps/internal/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "actors/check.h"

namespace troupe::internal {
namespace {

constexpr size_t kLine = 64, kPage = 4096, kHugePage = size_t{1} << 21;
/// From here on a piece is a mapping of its own: whole pages, and back to the system when it is freed.
constexpr size_t kOwnMapping = size_t{1} << 20;
/// A table that needs little takes little.
constexpr size_t kFirstMapping = 64 << 10;

size_t RoundUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

/// Zeros, at the start of a huge page where there is room for one.
std::byte* MapZeros(size_t bytes) {
  const size_t slack = bytes >= kHugePage ? kHugePage : 0;
  void* mapped = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TROUPE_CHECK(mapped != MAP_FAILED);
  auto* memory = static_cast<std::byte*>(mapped);
  if (slack == 0) return memory;
  auto* begin = reinterpret_cast<std::byte*>(RoundUp(reinterpret_cast<size_t>(memory), kHugePage));
  if (begin != memory) munmap(memory, static_cast<size_t>(begin - memory));
  if (begin != memory + slack) munmap(begin + bytes, static_cast<size_t>(memory + slack - begin));
  madvise(begin, bytes, MADV_HUGEPAGE);
  return begin;
}

}   // namespace

Arena::~Arena() {
  for (const auto& [memory, bytes] : mappings_) munmap(memory, bytes);
}

void Arena::Map(size_t bytes) {
  // As much as there is already, so that small tables stay small; in the end whole huge pages.
  size_t wanted = std::max(bytes, std::clamp(bytes_, kFirstMapping, kHugePage));
  wanted = RoundUp(wanted, wanted > kHugePage / 2 ? kHugePage : kFirstMapping);
  std::byte* memory = MapZeros(wanted);
  mappings_.emplace(memory, wanted);
  bytes_ += wanted;
  Insert(memory, wanted);
}

/// The piece that it is part of now.
Arena::Pieces::iterator Arena::Insert(std::byte* memory, size_t bytes) {
  free_bytes_ += bytes;
  auto next = free_.lower_bound(memory);
  if (next != free_.end() && memory + bytes == next->first) {
    bytes += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == memory) {
      before->second += bytes;
      return before;
    }
  }
  return free_.emplace_hint(next, memory, bytes);
}

std::byte* Arena::Allocate(size_t bytes, bool zeros) {
  if (bytes >= kOwnMapping) {
    bytes = RoundUp(bytes, kPage);
    std::byte* memory = MapZeros(bytes);
    {
      std::lock_guard lock(mutex_);
      bytes_ += bytes;
    }
    if (zeros) std::memset(memory, 0, bytes);
    return memory;
  }
  bytes = RoundUp(bytes, kLine);
  std::byte* memory = Cut(bytes);
  if (zeros) std::memset(memory, 0, bytes);
  return memory;
}

/// `bytes`: whole cache lines.
std::byte* Arena::Cut(size_t bytes) {
  std::lock_guard lock(mutex_);
  const auto fits = [&] { return std::find_if(free_.begin(), free_.end(), [&](const auto& piece) { return piece.second >= bytes; }); };
  auto found = fits();
  if (found == free_.end()) {
    Map(bytes);
    found = fits();
  }
  const auto [memory, size] = *found;
  free_.erase(found);
  free_bytes_ -= bytes;
  if (size > bytes) free_.emplace(memory + bytes, size - bytes);
  return memory;
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

void Arena::Free(std::byte* memory, size_t bytes) {
  if (bytes >= kOwnMapping) {
    bytes = RoundUp(bytes, kPage);
    munmap(memory, bytes);
    std::lock_guard lock(mutex_);
    bytes_ -= bytes;
    return;
  }
  std::lock_guard lock(mutex_);
  ReturnUnused(Insert(memory, RoundUp(bytes, kLine)));
}

/// Huge pages of `piece` in which nothing is in use go back to the system, but for an eighth of all memory, and for one: copies on write take them next.
void Arena::ReturnUnused(Pieces::iterator piece) {
  const auto [begin, size] = *piece;
  std::byte* const end = begin + size;
  std::byte* rest = begin;   // what follows is free and not in free_
  free_.erase(piece);
  for (auto mapping = mappings_.lower_bound(begin); mapping != mappings_.end() && mapping->first + mapping->second <= end;) {
    const auto [memory, bytes] = *mapping;
    if (bytes < kHugePage || free_bytes_ - bytes < std::max(kHugePage, bytes_ / 8)) {
      ++mapping;
      continue;
    }
    if (rest < memory) free_.emplace(rest, static_cast<size_t>(memory - rest));
    rest = memory + bytes;
    munmap(memory, bytes);
    mapping = mappings_.erase(mapping);
    free_bytes_ -= bytes;
    bytes_ -= bytes;
  }
  if (rest < end) free_.emplace(rest, static_cast<size_t>(end - rest));
}

}   // namespace troupe::internal
