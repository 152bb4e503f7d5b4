// Which range a key belongs to, and which shard owns a range. Pure arithmetic, the same in every process.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>

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

/// How the keys of a sparse table are dealt to its ranges, 0 < ranges < 2^32: of `ranges` keys that follow each other every range gets one, so that the keys of
/// a range have numbers of their own, without gaps where the table's keys have none; which one it gets is mixed, so that strides are spread as well.
class SparseKeys {
 public:
  explicit SparseKeys(uint32_t ranges = 1) : ranges_(ranges), shift_(std::has_single_bit(ranges) ? std::countr_zero(ranges) : kDivide) {}

  /// Of a key in its range; rises with the key.
  uint64_t NumberOf(Key key) const { return shift_ != kDivide ? key >> shift_ : key / ranges_; }
  uint32_t RangeOf(Key key) const {
    const uint64_t number = NumberOf(key);
    const uint64_t range = key - number * ranges_ + Turn(number);
    return static_cast<uint32_t>(range < ranges_ ? range : range - ranges_);
  }
  bool AreIn(uint32_t range, std::span<const Key> keys) const {
    bool all = true;
    if (shift_ != kDivide) {
      const uint32_t mask = ranges_ - 1;
      const int down = 63 - shift_;   // of a number's turn, its upper bits
      for (const Key key : keys) all &= ((key + (Mix(key >> shift_) >> 1 >> down)) & mask) == range;
    } else {
      for (const Key key : keys) all &= RangeOf(key) == range;
    }
    return all;
  }
  /// The key of this number in `range`.
  Key KeyOf(uint32_t range, uint64_t number) const {
    const uint64_t turn = Turn(number);
    return number * ranges_ + (range >= turn ? range - turn : uint64_t{ranges_} + range - turn);
  }

 private:
  static constexpr int kDivide = 64;
  /// By how many ranges the keys of this number are moved on. Fibonacci hashing: Knuth, "The Art of Computer Programming", volume 3, 6.4.
  uint64_t Turn(uint64_t number) const { return (Mix(number) >> 32) * ranges_ >> 32; }
  static uint64_t Mix(uint64_t number) { return number * 0x9e3779b97f4a7c15ULL; }

  uint32_t ranges_;
  int shift_;
};

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
