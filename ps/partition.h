// Which range a key belongs to, and which shard owns a range. Pure arithmetic, the same in every process.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "ps/table_spec.h"
#include "ps/types.h"

namespace troupe {

/// Mixes all bits of a key (the finaliser of MurmurHash3, public domain by Austin Appleby): ranges take the high bits, stores the low ones.
inline uint64_t HashKey(Key key) {
  key ^= key >> 33;
  key *= 0xff51afd7ed558ccdULL;
  key ^= key >> 33;
  key *= 0xc4ceb9fe1a85ec53ULL;
  key ^= key >> 33;
  return key;
}

/// The range of a key of a sparse table.
inline uint32_t HashRange(Key key, uint32_t ranges) {
  return static_cast<uint32_t>((static_cast<unsigned __int128>(HashKey(key)) * ranges) >> 64);
}

class Partition {
 public:
  Partition() = default;
  Partition(const TableSpec& spec, uint32_t shards)
      : rows_(spec.rows.value_or(0)),
        ranges_(RangeCount(spec)),
        shards_(shards),
        kept_by_shards_(spec.kept_by == KeptBy::kShards),
        rows_per_range_(rows_ == 0 ? 0 : (rows_ + ranges_ - 1) / ranges_) {}

  bool dense() const { return rows_ != 0; }
  uint32_t ranges() const { return ranges_; }
  uint32_t shards() const { return shards_; }
  uint32_t RangeOf(Key key) const {
    if (dense()) return static_cast<uint32_t>(key / rows_per_range_);
    return HashRange(key, ranges_);
  }
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
};

/// Shards, and the place behind them where some table is kept by workers.
inline uint32_t PlacesOf(std::span<const TableSpec> tables, uint32_t shards) {
  const auto kept = [](const TableSpec& spec) { return spec.kept_by != KeptBy::kShards; };
  return shards + (std::ranges::any_of(tables, kept) ? 1 : 0);
}

}   // namespace troupe
