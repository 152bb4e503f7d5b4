// Which shard has which range, and since when: the map of a job, the same in all that follow it. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/block.h"
#include "ps/table_spec.h"
#include "ps/types.h"

namespace troupe {

/// A range that goes to another shard, and with it the ranges of the same number of all tables of its shape (RangeMap::SameShape).
struct RangeMove {
  uint32_t table = 0;
  uint32_t range = 0;
  uint32_t to = 0;   ///< shard
  bool operator==(const RangeMove&) const = default;
};

/// Epoch 0 is the arithmetic of partition.h; every set of moves makes the next one. Two maps of a job with one epoch are the same map.
class RangeMap {
 public:
  RangeMap() = default;
  RangeMap(std::span<const TableSpec> tables, uint32_t shards);

  MapEpoch epoch() const { return epoch_; }
  uint32_t shards() const { return shards_; }
  /// Shards, and the place behind them where some table is kept by workers (PlacesOf): the ranges of those tables are there and do not move.
  uint32_t ShardOf(uint32_t table, uint32_t range) const { return owners_[shape_of_[table]][range]; }
  uint32_t ranges(uint32_t table) const { return static_cast<uint32_t>(owners_[shape_of_[table]].size()); }
  size_t tables() const { return shape_of_.size(); }
  /// Tables that shards keep, both sparse or with equally many rows, with equally many ranges: their ranges of one number are always at one shard, because
  /// functions of two tables (dot, diff, fork) meet there.
  bool SameShape(uint32_t table, uint32_t other) const { return shape_of_[table] == shape_of_[other]; }
  /// The first table of its shape: moves that name others are of it.
  uint32_t FirstLike(uint32_t table) const { return first_of_[shape_of_[table]]; }

  /// The map of the next epoch. InvalidArgument: a table, range or shard that is not there, a range twice, one that is there already, or of a table that
  /// workers keep.
  absl::StatusOr<RangeMap> After(std::span<const RangeMove> moves) const;

  /// As it travels: uint64_t[]. Decode: InvalidArgument where it is not one of these tables and shards.
  Block Encode() const;
  static absl::StatusOr<RangeMap> Decode(std::span<const TableSpec> tables, uint32_t shards, const Block& bytes);
  bool operator==(const RangeMap&) const = default;

 private:
  MapEpoch epoch_ = 0;
  uint32_t shards_ = 0;
  std::vector<uint32_t> shape_of_;              // by table
  std::vector<uint32_t> first_of_;              // by shape: its first table
  std::vector<std::vector<uint32_t>> owners_;   // by shape and range
  std::vector<uint8_t> kept_by_shards_;         // by shape
};

/// All ranges of `shard`, dealt out to the others one by one, so that each gets as many as the others: what a shard that is to end gives away.
std::vector<RangeMove> Drained(const RangeMap& map, uint32_t shard);

}   // namespace troupe
