#include "ps/range_map.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ps/partition.h"

namespace troupe {

RangeMap::RangeMap(std::span<const TableSpec> tables, uint32_t shards) : shards_(shards) {
  for (uint32_t t = 0; t < tables.size(); ++t) {
    const TableSpec& spec = tables[t];
    const bool by_shards = spec.kept_by == KeptBy::kShards;
    const auto like = std::ranges::find_if(first_of_, [&](uint32_t first) {
      return (tables[first].kept_by == KeptBy::kShards) == by_shards && tables[first].rows == spec.rows && RangeCount(tables[first]) == RangeCount(spec);
    });
    shape_of_.push_back(static_cast<uint32_t>(like - first_of_.begin()));
    if (like != first_of_.end()) continue;
    first_of_.push_back(t);
    kept_by_shards_.push_back(by_shards);
    const Partition partition(spec, shards);
    std::vector<uint32_t>& owners = owners_.emplace_back();
    for (uint32_t range = 0; range < partition.ranges(); ++range) owners.push_back(partition.ShardOf(range));
  }
}

absl::StatusOr<RangeMap> RangeMap::After(std::span<const RangeMove> moves) const {
  RangeMap next = *this;
  ++next.epoch_;
  std::set<std::pair<uint32_t, uint32_t>> seen;
  for (const RangeMove& move : moves) {
    if (move.table >= tables()) return absl::InvalidArgumentError(absl::StrCat("move: table is ", move.table, ", expected < ", tables()));
    const uint32_t shape = shape_of_[move.table];
    if (kept_by_shards_[shape] == 0) return absl::InvalidArgumentError(absl::StrCat("move: table ", move.table, " is kept by workers, expected one at shards"));
    if (move.range >= ranges(move.table)) {
      return absl::InvalidArgumentError(absl::StrCat("move: range is ", move.range, ", expected < ", ranges(move.table), " of table ", move.table));
    }
    if (move.to >= shards_) return absl::InvalidArgumentError(absl::StrCat("move: shard is ", move.to, ", expected < ", shards_));
    if (!seen.emplace(shape, move.range).second) {
      return absl::InvalidArgumentError(absl::StrCat("move: range ", move.range, " of table ", move.table, " twice (tables of one shape move together)"));
    }
    uint32_t& owner = next.owners_[shape][move.range];
    if (owner == move.to) {
      return absl::InvalidArgumentError(absl::StrCat("move: range ", move.range, " of table ", move.table, " is at shard ", move.to, " already"));
    }
    owner = move.to;
  }
  return next;
}

Block RangeMap::Encode() const {
  std::vector<uint64_t> numbers{epoch_, shards_};
  for (const std::vector<uint32_t>& owners : owners_) {
    numbers.push_back(owners.size());
    numbers.insert(numbers.end(), owners.begin(), owners.end());
  }
  return Block::Adopt(std::move(numbers));
}

absl::StatusOr<RangeMap> RangeMap::Decode(std::span<const TableSpec> tables, uint32_t shards, const Block& bytes) {
  RangeMap map(tables, shards);
  const auto refuse = [](std::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("map of ranges: ", std::string(what), ", expected one of this job's tables and shards"));
  };
  if (!bytes.IsArrayOf<uint64_t>()) return refuse("cut or not aligned");
  std::span<const uint64_t> numbers = bytes.As<uint64_t>();
  if (numbers.size() < 2 || numbers[1] != shards) return refuse("of another number of shards");
  map.epoch_ = numbers[0];
  numbers = numbers.subspan(2);
  for (size_t shape = 0; shape < map.owners_.size(); ++shape) {
    std::vector<uint32_t>& owners = map.owners_[shape];
    if (numbers.size() < owners.size() + 1 || numbers[0] != owners.size()) return refuse("of other ranges");
    for (size_t range = 0; range < owners.size(); ++range) {
      const uint64_t owner = numbers[1 + range];
      const bool fits = map.kept_by_shards_[shape] != 0 ? owner < shards : owner == owners[range];
      if (!fits) return refuse(absl::StrCat("a range at shard ", owner));
      owners[range] = static_cast<uint32_t>(owner);
    }
    numbers = numbers.subspan(owners.size() + 1);
  }
  if (!numbers.empty()) return refuse("too long");
  return map;
}

std::vector<RangeMove> Drained(const RangeMap& map, uint32_t shard) {
  std::vector<uint32_t> held(map.shards());
  const auto each = [&](auto&& use) {
    for (uint32_t table = 0; table < map.tables(); ++table) {
      if (map.FirstLike(table) != table) continue;
      for (uint32_t range = 0; range < map.ranges(table); ++range) {
        if (map.ShardOf(table, range) < map.shards()) use(table, range);
      }
    }
  };
  each([&](uint32_t table, uint32_t range) { ++held[map.ShardOf(table, range)]; });
  std::vector<RangeMove> moves;
  each([&](uint32_t table, uint32_t range) {
    if (map.ShardOf(table, range) != shard || map.shards() < 2) return;
    uint32_t to = shard == 0 ? 1 : 0;
    for (uint32_t other = 0; other < map.shards(); ++other) {
      if (other != shard && held[other] < held[to]) to = other;
    }
    ++held[to];
    moves.push_back({table, range, to});
  });
  return moves;
}

}   // namespace troupe
