#include "ps/internal/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "actors/check.h"

namespace troupe::internal {
namespace {

constexpr size_t kLine = 64, kHugePage = size_t{1} << 21;
/// A table that needs little takes little.
constexpr size_t kFirstMapping = 64 << 10;

size_t RoundUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}   // namespace

Arena::~Arena() {
  for (const Mapping& mapping : mappings_) munmap(mapping.memory, mapping.bytes);
}

void Arena::Map(size_t bytes) {
  // As much as there is already, so that small tables stay small; from 2 MiB on whole huge pages.
  size_t wanted = std::max(bytes, std::clamp(bytes_, kFirstMapping, kHugePage));
  const bool huge = wanted >= kHugePage;
  wanted = RoundUp(wanted, huge ? kHugePage : kFirstMapping);
  const size_t slack = huge ? kHugePage : 0;
  void* mapped = mmap(nullptr, wanted + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TROUPE_CHECK(mapped != MAP_FAILED);
  auto* memory = static_cast<std::byte*>(mapped);
  if (huge) {
    auto* begin = reinterpret_cast<std::byte*>(RoundUp(reinterpret_cast<size_t>(memory), kHugePage));
    if (begin != memory) munmap(memory, static_cast<size_t>(begin - memory));
    if (begin != memory + slack) munmap(begin + wanted, static_cast<size_t>(memory + slack - begin));
    memory = begin;
    madvise(memory, wanted, MADV_HUGEPAGE);
  }
  mappings_.push_back({memory, wanted});
  bytes_ += wanted;
  Insert(memory, wanted);
}

void Arena::Insert(std::byte* memory, size_t bytes) {
  auto next = free_.lower_bound(memory);
  if (next != free_.end() && memory + bytes == next->first) {
    bytes += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == memory) {
      before->second += bytes;
      return;
    }
  }
  free_.emplace_hint(next, memory, bytes);
}

std::byte* Arena::Allocate(size_t bytes) {
  bytes = RoundUp(bytes, kLine);
  const auto fits = [&] { return std::find_if(free_.begin(), free_.end(), [&](const auto& piece) { return piece.second >= bytes; }); };
  auto found = fits();
  if (found == free_.end()) {
    Map(bytes);
    found = fits();
  }
  const auto [memory, size] = *found;
  free_.erase(found);
  if (size > bytes) free_.emplace(memory + bytes, size - bytes);
  std::memset(memory, 0, bytes);
  return memory;
}

void Arena::Free(std::byte* memory, size_t bytes) {
  bytes = RoundUp(bytes, kLine);
  const auto mapping = std::find_if(mappings_.begin(), mappings_.end(), [&](const Mapping& m) { return m.memory == memory && m.bytes == bytes; });
  if (mapping != mappings_.end()) {   // all of a mapping: back to the system
    munmap(memory, bytes);
    bytes_ -= bytes;
    mappings_.erase(mapping);
    return;
  }
  Insert(memory, bytes);
}

}   // namespace troupe::internal
