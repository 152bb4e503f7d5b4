// Whether all numbers are finite, at the speed of memory: integer operations, which need no order and so become vectors.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace troupe::internal {

inline constexpr size_t kFloatsALine = 16;

inline bool AllFinite(const float* values, size_t n) {
  using Lanes [[gnu::vector_size(32)]] = uint32_t;   // the compiler's own vectors: left alone, it sums up the lanes again and again
  constexpr uint32_t kExponent = 0x7f800000, kOne = 0x00800000;
  constexpr size_t kStreams = 4;   // places read at once: one alone leaves half of the memory's speed unused
  constexpr size_t kShort = 8192;
  constexpr size_t kAhead = 512;   // of short pieces also what is behind them, which is mostly the next
  Lanes carries{};
  const size_t part = n < kShort ? 0 : n / (kStreams * kFloatsALine) * kFloatsALine;
  for (size_t i = 0; i < part; i += kFloatsALine) {
    for (size_t stream = 0; stream < kStreams; ++stream) {
      Lanes low, high;
      std::memcpy(&low, values + stream * part + i, sizeof low);
      std::memcpy(&high, values + stream * part + i + kFloatsALine / 2, sizeof high);
      carries |= ((low & kExponent) + kOne) | ((high & kExponent) + kOne);   // infinities and NaNs alone have a full exponent
    }
  }
  size_t done = kStreams * part;
  for (; done + kFloatsALine <= n; done += kFloatsALine) {
    Lanes low, high;
    __builtin_prefetch(values + done + kAhead);
    std::memcpy(&low, values + done, sizeof low);
    std::memcpy(&high, values + done + kFloatsALine / 2, sizeof high);
    carries |= ((low & kExponent) + kOne) | ((high & kExponent) + kOne);
  }
  uint32_t carry = 0;
  for (size_t i = done; i < n; ++i) carry |= (std::bit_cast<uint32_t>(values[i]) & kExponent) + kOne;
  for (size_t lane = 0; lane < kFloatsALine / 2; ++lane) carry |= carries[lane];
  return carry >> 31 == 0;
}

}   // namespace troupe::internal
