#include "ps/rebalancer.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"

namespace troupe {

Rebalancer::Decision Rebalancer::Look(const RangeMap& map, std::span<const RangeLoad> loads) {
  ++looks_;
  std::map<Place, double> traffic, bytes;
  double all_traffic = 0, all_bytes = 0;
  for (const RangeLoad& load : loads) {
    if (load.table >= map.tables() || load.range >= map.ranges(load.table)) continue;
    const uint64_t rows = load.pushed + load.pulled;
    uint64_t& seen = seen_[{load.table, load.range}];
    const uint64_t since = rows >= seen ? rows - seen : rows;   // a shard that came anew, or a range, counts from zero
    seen = rows;
    const Place place{map.FirstLike(load.table), load.range};
    const double floats = static_cast<double>(since) * tables_[load.table].width;
    traffic[place] += floats;
    bytes[place] += static_cast<double>(load.bytes);
    all_traffic += floats;
    all_bytes += static_cast<double>(load.bytes);
  }
  Decision decision;
  const uint32_t shards = map.shards();
  if (shards < 2 || all_traffic < static_cast<double>(options_.traffic_min)) {
    too_busy_.reset();
    return decision;
  }
  const double memory = all_bytes > 0 ? options_.memory_share : 0;
  std::map<Place, double> share;
  std::vector<double> of_shard(shards);
  for (const auto& [place, floats] : traffic) {
    share[place] = (1 - memory) * floats / all_traffic + (memory > 0 ? memory * bytes[place] / all_bytes : 0);
    of_shard[map.ShardOf(place.first, place.second)] += share[place];
  }
  const double mean = 1.0 / shards;
  const auto busiest = [&] { return static_cast<uint32_t>(std::ranges::max_element(of_shard) - of_shard.begin()); };
  const uint32_t first = busiest();
  const bool too_busy = of_shard[first] > (1 + options_.tolerance) * mean;
  const bool still = too_busy && too_busy_ == first;
  too_busy_ = too_busy ? std::optional(first) : std::nullopt;
  if (!still) return decision;
  std::map<Place, uint32_t> at;
  for (const auto& [place, load] : share) at[place] = map.ShardOf(place.first, place.second);
  while (decision.moves.size() < options_.moves_max) {
    const uint32_t from = busiest();
    const auto to = static_cast<uint32_t>(std::ranges::min_element(of_shard) - of_shard.begin());
    if (of_shard[from] <= (1 + options_.tolerance / 2) * mean) break;
    const double gap = of_shard[from] - of_shard[to];
    const Place* best = nullptr;
    for (const auto& [place, load] : share) {
      const auto moved = moved_at_.find(place);
      if (at[place] != from || load <= 0 || load >= gap || (moved != moved_at_.end() && looks_ - moved->second < options_.rest)) continue;
      if (best == nullptr || std::abs(load - gap / 2) < std::abs(share[*best] - gap / 2)) best = &place;
    }
    if (best == nullptr || share[*best] < 0.01 * mean) break;   // what is left is one hot range, or not worth it
    decision.moves.push_back({best->first, best->second, to});
    decision.reasons.push_back(
        absl::StrFormat("range %d of table '%s' from shard %d, which has %.0f %% of the load, to shard %d with %.0f %%: it is %.1f %% of it", best->second,
                        tables_[best->first].name, from, 100 * of_shard[from], to, 100 * of_shard[to], 100 * share[*best]));
    of_shard[from] -= share[*best];
    of_shard[to] += share[*best];
    moved_at_[*best] = looks_;
    at[*best] = to;
  }
  return decision;
}

}   // namespace troupe
