#include "algorithms/run/hand_over.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace troupe {

HandOvers::HandOvers(uint32_t places, uint32_t shards) : holders_(places) {
  std::iota(holders_.begin(), holders_.end(), 0);
  for (uint32_t shard = 0; shard < shards; ++shard) shards_.push_back({.idle = places + shard, .leaving = {}, .heir = {}});
}

std::optional<uint32_t> HandOvers::Begin(Shard& shard) {
  if (shard.leaving.empty() || shard.heir || shard.told || shard.tries >= kTriesMax) return std::nullopt;
  ++shard.tries;
  shard.heir = Life{shard.idle, 0};
  return shard.idle;
}

std::optional<uint32_t> HandOvers::Leaves(uint32_t number, const Life& leaving) {
  Shard& shard = shards_[number];
  if (over_[leaving.process] >= leaving.incarnation) return std::nullopt;
  const auto known = std::ranges::find(shard.leaving, leaving);
  const bool stuck = !shard.leaving.empty() && !shard.heir && !shard.told && shard.tries >= kTriesMax;
  if (!stuck) {
    if (known == shard.leaving.end()) shard.leaving.push_back(leaving);
    return Begin(shard);
  }
  if (known != shard.leaving.end()) shard.leaving.erase(known);
  shard.leaving.push_front(leaving);
  shard.tries = 0;
  return Begin(shard);
}

void HandOvers::Starts(uint32_t shard, uint64_t incarnation) {
  if (shards_[shard].heir) shards_[shard].heir->incarnation = incarnation;
}

std::optional<HandOvers::Life> HandOvers::ChainChanged(uint32_t number, const std::function<bool(const Life&)>& is_member) {
  Shard& shard = shards_[number];
  if (shard.leaving.empty() || !shard.heir || shard.told || !is_member(*shard.heir)) return std::nullopt;
  shard.told = true;
  return shard.leaving.front();
}

std::optional<uint32_t> HandOvers::Ended(uint32_t number, const Life& life) {
  Shard& shard = shards_[number];
  over_[life.process] = std::max(over_[life.process], life.incarnation);
  if (shard.heir != life) return std::nullopt;
  shard.heir.reset();
  return Begin(shard);
}

HandOvers::Replaced HandOvers::Replace(uint32_t place, uint32_t number, uint64_t incarnation) {
  Shard& shard = shards_[number];
  const Life gone{holders_[place], incarnation};
  over_[gone.process] = std::max(over_[gone.process], gone.incarnation);
  const auto it = std::ranges::find(shard.leaving, gone);
  if (it == shard.leaving.end()) return {};
  const bool first = it == shard.leaving.begin();
  shard.leaving.erase(it);
  if (!first) return {};   // before its turn
  shard.told = false;
  shard.tries = 0;
  Replaced replaced;
  if (const std::optional<Life> heir = std::exchange(shard.heir, std::nullopt)) {
    replaced.heir = heir->process;
    shard.idle = std::exchange(holders_[place], heir->process);
  }
  replaced.begins = Begin(shard);
  return replaced;
}

}   // namespace troupe
