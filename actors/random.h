// Random numbers from a seed: the same on every machine and compiler (no std:: distributions, no libm), so a run replays from its seed.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "actors/check.h"

namespace troupe {

/// A bijection of 64 bits that looks random: a hash of one number, where a whole generator would be too much.
/// The finaliser of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
constexpr uint64_t Mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// One stream of random numbers. Not thread-safe; copying copies the position.
/// xoshiro256** (Blackman, Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 2021), its state filled by splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed) : seed_(seed) {
    for (uint64_t& word : state_) word = Mix64(seed += kGolden);
  }

  /// 64 random bits.
  uint64_t Next() {
    const uint64_t result = Rotate(state_[1] * 5, 7) * 9;
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = Rotate(state_[3], 45);
    return result;
  }

  /// Every number of [0, n) with the same probability; n > 0.
  uint64_t Below(uint64_t n) {
    TROUPE_CHECK(n > 0);
    // The high half of a product with n; low halves below 2^64 mod n would count once too often. Lemire, "Fast random integer generation in an
    // interval", ACM TOMACS 2019.
    unsigned __int128 product = static_cast<unsigned __int128>(Next()) * n;
    if (static_cast<uint64_t>(product) < n) {
      const uint64_t excess = -n % n;
      while (static_cast<uint64_t>(product) < excess) product = static_cast<unsigned __int128>(Next()) * n;
    }
    return static_cast<uint64_t>(product >> 64);
  }

  /// In [0, 1), a multiple of 2^-53.
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

  /// Mean 0, variance 1.
  double Normal();

  /// Puts `values` in random order, every order with the same probability.
  template <class T>
  void Shuffle(std::span<T> values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[Below(i)]);
  }

  /// An independent stream: a function of this one's seed and `stream` only, not of how much was drawn, so Random(seed).Fork(epoch).Fork(split) is a name.
  Random Fork(uint64_t stream) const { return Random(Mix64(Mix64(seed_ + kForked) ^ (stream * kGolden + kForked))); }

 private:
  static constexpr uint64_t kGolden = 0x9e3779b97f4a7c15u;   // 2^64 / golden ratio: the step of splitmix64
  static constexpr uint64_t kForked = 0x6a09e667f3bcc909u;   // 2^64 * (sqrt(2) - 1): any constant that seeds are not

  static constexpr uint64_t Rotate(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

  uint64_t seed_;
  uint64_t state_[4];
};

}   // namespace troupe
