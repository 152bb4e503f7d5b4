// A copy that leaves the caches alone: for more than they hold, of which nothing is read again soon. Where an ordinary copy reads each line of the target
// before it overwrites it, and drives the source of the next copy out of the cache, this one only writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace troupe::internal {

/// Arrays from here on are worth it.
inline constexpr size_t kStreamedBytes = size_t{8} << 20;

/// to[0 .. n) = from[0 .. n), floats.
inline void StreamCopy(float* to, const float* from, size_t n) {
#ifdef __AVX2__
  constexpr size_t kFloats = sizeof(__m256i) / sizeof(float);
  const size_t head = -(reinterpret_cast<uintptr_t>(to) / sizeof(float)) % kFloats;   // floats up to the first whole vector
  if (n > head + kFloats) {
    std::memcpy(to, from, head * sizeof(float));
    to += head, from += head, n -= head;
    for (; n >= kFloats; to += kFloats, from += kFloats, n -= kFloats) {
      _mm256_stream_si256(reinterpret_cast<__m256i*>(to), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    }
    _mm_sfence();   // other threads see it in order
  }
#endif
  std::memcpy(to, from, n * sizeof(float));
}

}   // namespace troupe::internal
