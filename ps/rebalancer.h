// Which ranges should be at which shards, by what is done to them while a job runs. It moves little, and nothing twice in a row. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ps/messages.h"
#include "ps/range_map.h"
#include "ps/table_spec.h"

namespace troupe {

struct RebalanceOptions {
  /// A shard is too busy when its load is more than 1 + tolerance times the mean of all, at two looks one after the other.
  double tolerance = 0.2;
  /// Moved at one look.
  uint32_t moves_max = 8;
  /// A range that has moved stays where it is for so many looks.
  uint32_t rest = 4;
  /// Floats pushed and pulled since the last look; with less there is nothing to see.
  uint64_t traffic_min = 1'000;
  /// What of the load is memory, the rest is traffic.
  double memory_share = 0.25;
};

class Rebalancer {
 public:
  explicit Rebalancer(std::vector<TableSpec> tables, RebalanceOptions options = {}) : tables_(std::move(tables)), options_(options) {}

  struct Decision {
    std::vector<RangeMove> moves;
    std::vector<std::string> reasons;   ///< one for each move; what moves nothing has none
  };
  /// `loads`: of all shards, as they are now; it keeps them, to see the difference at the next look. A range's load is its share of all floats pushed and
  /// pulled since, and of the bytes held. From the busiest shard to the least busy goes the range that comes nearest to half of what they differ by, and so on
  /// while that shard is too busy.
  Decision Look(const RangeMap& map, std::span<const RangeLoad> loads);

 private:
  using Place = std::pair<uint32_t, uint32_t>;               // first table of the shape, range
  std::map<std::pair<uint32_t, uint32_t>, uint64_t> seen_;   // by table and range: rows
  std::map<Place, uint64_t> moved_at_;                       // look
  uint64_t looks_ = 0;
  std::optional<uint32_t> too_busy_;   // the shard that was at the last look
  const std::vector<TableSpec> tables_;
  const RebalanceOptions options_;
};

}   // namespace troupe
