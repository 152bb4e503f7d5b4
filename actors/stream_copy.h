// A copy that leaves the caches alone: for more than they hold, of which nothing is read again soon, or what another processor reads. Where an ordinary copy
// reads each line of the target before it overwrites it, and drives the source of the next copy out of the cache, this one only writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace troupe {

/// Arrays from here on are worth it, where their own processor is the next to read them.
inline constexpr size_t kStreamedBytes = size_t{8} << 20;

/// to[0 .. n) = from[0 .. n), bytes.
inline void StreamCopy(void* to, const void* from, size_t n) {
  auto* target = static_cast<std::byte*>(to);
  const auto* source = static_cast<const std::byte*>(from);
#ifdef __AVX2__
  constexpr size_t kVector = sizeof(__m256i);
  const size_t head = -reinterpret_cast<uintptr_t>(target) % kVector;   // up to the first whole vector
  if (n > head + kVector) {
    std::memcpy(target, source, head);
    target += head, source += head, n -= head;
    for (; n >= kVector; target += kVector, source += kVector, n -= kVector) {
      _mm256_stream_si256(reinterpret_cast<__m256i*>(target), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)));
    }
    _mm_sfence();   // other threads see it in order
  }
#endif
  std::memcpy(target, source, n);
}

}   // namespace troupe
