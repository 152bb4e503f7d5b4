// Which range a key belongs to, and which shard owns a range. Pure arithmetic, the same in every process.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>

#include "ps/table_spec.h"
#include "ps/types.h"

namespace troupe {

/// Mixes all bits of a key (the finaliser of MurmurHash3, public domain by Austin Appleby).
inline uint64_t HashKey(Key key) {
  key ^= key >> 33;
  key *= 0xff51afd7ed558ccdULL;
  key ^= key >> 33;
  key *= 0xc4ceb9fe1a85ec53ULL;
  key ^= key >> 33;
  return key;
}

/// How the keys of a sparse table are dealt to its ranges, 0 < ranges < 2^32. A key's number is key / ranges: each range gets one key of each number, so that
/// the numbers of a range have no gaps where the table's keys have none. Which one it gets is mixed by the number, so that strides spread over the ranges, and
/// keys that follow each other lie far apart: the first ones are the hottest where keys are sorted by frequency, and a shard holds ranges that follow each
/// other.
class SparseKeys {
 public:
  explicit SparseKeys(uint32_t ranges = 1);
  uint32_t ranges() const { return ranges_; }

  /// Of a key in its range; rises with the key.
  uint64_t NumberOf(Key key) const { return shift_ != kDivide ? key >> shift_ : key / ranges_; }
  uint32_t RangeOf(Key key) const {
    const uint64_t number = NumberOf(key);
    return static_cast<uint32_t>(Modulo((key - number * ranges_) * step_ + Turn(number)));
  }
  bool AreIn(uint32_t range, std::span<const Key> keys) const {
    bool all = true;
    if (shift_ != kDivide) {
      const uint32_t step = step_, mask = ranges_ - 1;
      const int shift = shift_, down = 31 - shift_;   // of a mixed number, to its upper bits
      uint32_t wrong = 0;
      for (const Key key : keys) wrong |= ((static_cast<uint32_t>(key) * step + (Mixed(key >> shift) >> 1 >> down)) & mask) ^ range;
      all = wrong == 0;
    } else {
      for (const Key key : keys) all &= RangeOf(key) == range;
    }
    return all;
  }
  /// The key of this number in `range`.
  Key KeyOf(uint32_t range, uint64_t number) const { return number * ranges_ + Modulo(Modulo(uint64_t{range} + ranges_ - Turn(number)) * back_); }

 private:
  static constexpr int kDivide = 64;
  uint64_t Modulo(uint64_t number) const { return shift_ != kDivide ? number & (ranges_ - 1) : number % ranges_; }
  /// By how many ranges the keys of this number are moved on.
  uint64_t Turn(uint64_t number) const { return uint64_t{Mixed(number)} * ranges_ >> 32; }
  /// In 32 bits, of which the processor takes eight at once.
  static uint32_t Mixed(uint64_t number) {
    uint32_t mixed = static_cast<uint32_t>(number) * 0x9e3779b1U + static_cast<uint32_t>(number >> 32) * 0x85ebca6bU;
    mixed ^= mixed >> 15;
    return mixed * 0xc2b2ae35U;
  }

  uint32_t ranges_;
  uint32_t step_, back_;   // from key to key, about 0.618 of the ranges, as in Knuth, "The Art of Computer Programming", volume 3, 6.4; and its inverse
  int shift_;
};

inline SparseKeys::SparseKeys(uint32_t ranges) : ranges_(ranges), shift_(std::has_single_bit(ranges) ? std::countr_zero(ranges) : kDivide) {
  step_ = std::max(1u, static_cast<uint32_t>(0.6180339887498949 * ranges));
  while (std::gcd(step_, ranges) != 1) ++step_;
  // The inverse, by Euclid: remainder = turns * step modulo ranges, all along.
  int64_t before = 0, turns = 1;
  for (uint64_t above = ranges, remainder = step_ % ranges; remainder > 1;) {
    const uint64_t times = above / remainder;
    before = std::exchange(turns, before - static_cast<int64_t>(times) * turns);
    above = std::exchange(remainder, above % remainder);
  }
  back_ = static_cast<uint32_t>(turns < 0 ? turns + ranges : turns);
}

class Partition {
 public:
  Partition() = default;
  Partition(const TableSpec& spec, uint32_t shards)
      : rows_(spec.rows.value_or(0)),
        ranges_(RangeCount(spec)),
        shards_(shards),
        kept_by_shards_(spec.kept_by == KeptBy::kShards),
        rows_per_range_(rows_ == 0 ? 0 : (rows_ + ranges_ - 1) / ranges_),
        sparse_(ranges_) {}

  bool dense() const { return rows_ != 0; }
  uint32_t ranges() const { return ranges_; }
  uint32_t shards() const { return shards_; }
  uint32_t RangeOf(Key key) const {
    if (dense()) return static_cast<uint32_t>(key / rows_per_range_);
    return sparse_.RangeOf(key);
  }
  /// Of a sparse table.
  const SparseKeys& sparse_keys() const { return sparse_; }
  /// Ranges are dealt to the shards in equal contiguous runs. Those of a table that workers keep lie behind the last shard: at the place `shards()`, of which
  /// every worker has its own.
  uint32_t ShardOf(uint32_t range) const { return kept_by_shards_ ? static_cast<uint32_t>(uint64_t{range} * shards_ / ranges_) : shards_; }
  /// Those of `shard`, or of the place behind the last one, are [FirstRange(shard), FirstRange(shard + 1)).
  uint32_t FirstRange(uint32_t shard) const {
    if (!kept_by_shards_) return shard <= shards_ ? 0 : ranges_;
    return shard >= shards_ ? ranges_ : static_cast<uint32_t>((uint64_t{shard} * ranges_ + shards_ - 1) / shards_);
  }
  /// Dense: the first row of a range and how many rows it has (0 for ranges past the end).
  Key FirstRow(uint32_t range) const { return uint64_t{range} * rows_per_range_ < rows_ ? uint64_t{range} * rows_per_range_ : rows_; }
  uint64_t RowsIn(uint32_t range) const { return FirstRow(range + 1) - FirstRow(range); }

 private:
  uint64_t rows_ = 0;
  uint32_t ranges_ = 1;
  uint32_t shards_ = 1;
  bool kept_by_shards_ = true;
  uint64_t rows_per_range_ = 0;
  SparseKeys sparse_;
};

/// Shards, and the place behind them where some table is kept by workers.
inline uint32_t PlacesOf(std::span<const TableSpec> tables, uint32_t shards) {
  const auto kept = [](const TableSpec& spec) { return spec.kept_by != KeptBy::kShards; };
  return shards + (std::ranges::any_of(tables, kept) ? 1 : 0);
}

}   // namespace troupe
