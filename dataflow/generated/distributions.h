// The distributions of generated data, by tables: a lookup instead of a formula, and the same numbers everywhere.
#pragma once

#include <cstdint>
#include <vector>

#include "actors/random.h"

namespace troupe {

/// N(0, 1) cut into 2^16 slices of equal probability; within a slice all numbers are equally likely. Nothing lies beyond +-4.4.
class NormalTable {
 public:
  static constexpr uint32_t kSlices = 1 << 16;
  static const NormalTable& Get();

  float Draw(uint32_t bits) const {
    const float from = quantiles_[bits >> 16], to = quantiles_[(bits >> 16) + 1];
    return from + (to - from) * (static_cast<float>(bits & 0xffff) * 0x1p-16f);
  }
  /// n numbers, two of each 64 bits.
  void Fill(Random* random, size_t n, float* out) const;
  /// The middle of a slice.
  float Middle(uint32_t slice) const { return Draw(slice << 16 | 0x8000); }

 private:
  NormalTable();
  std::vector<float> quantiles_;   // kSlices + 1
};

/// Ranks 0 .. n-1 with probabilities proportional to (rank + 1)^-exponent.
class ZipfTable {
 public:
  /// `open`: the last rank also gets the probability of all that an endless Zipf distribution has after it. exponent > 1.
  ZipfTable(double exponent, uint32_t n, bool open);

  uint32_t Draw(uint32_t bits) const {
    uint32_t low = guide_[bits >> 16], high = guide_[(bits >> 16) + 1];   // most slices hold one rank only
    while (low < high) {
      const uint32_t middle = (low + high) / 2;
      if (bits < ends_[middle]) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

 private:
  std::vector<uint64_t> ends_;    // rank r is drawn by bits in [ends_[r - 1], ends_[r]); the last is 2^32
  std::vector<uint32_t> guide_;   // first rank whose end lies beyond slice << 16
};

}   // namespace troupe
