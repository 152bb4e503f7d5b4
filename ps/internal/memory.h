// Zeroed memory at cache line boundaries, touched when it is made, so that no page fault meets a push.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "actors/check.h"

namespace troupe::internal {

struct FreeMemory {
  void operator()(std::byte* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<std::byte, FreeMemory>;

inline Memory ZeroedMemory(size_t bytes) {
  constexpr size_t kLine = 64, kHugePage = size_t{1} << 21;
  const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kLine;
  const size_t size = std::max<size_t>(1, (bytes + alignment - 1) / alignment) * alignment;
  Memory memory(static_cast<std::byte*>(std::aligned_alloc(alignment, size)));
  TROUPE_CHECK(memory != nullptr);
  if (alignment == kHugePage) madvise(memory.get(), bytes, MADV_HUGEPAGE);   // rows met at random then miss fewer page translations
  std::memset(memory.get(), 0, bytes);
  return memory;
}

}   // namespace troupe::internal
