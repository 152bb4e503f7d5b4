#include "ps/hot_keys.h"

#include <algorithm>
#include <limits>

namespace troupe {

HotKeys::HotKeys(const Options& options) : options_(options), groups_(std::bit_ceil(std::max(options.counters, kWays)) / kWays) {}

bool HotKeys::See(Key key) {
  Group& group = groups_[GroupOf(key)];
  size_t way = group.Find(key);
  if (way < kWays) {
    if (group.counts[way] < std::numeric_limits<uint32_t>::max()) ++group.counts[way];
    return group.counts[way] - group.errors[way] >= options_.hot;
  }
  way = static_cast<size_t>(std::min_element(group.counts, group.counts + kWays) - group.counts);
  group.keys[way] = key;
  group.errors[way] = group.counts[way]++;
  return options_.hot <= 1;
}

void HotKeys::See(std::span<const Key> keys, uint8_t* hot) {
  constexpr size_t kAhead = 12;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i + kAhead < keys.size()) {
      const Group& next = groups_[GroupOf(keys[i + kAhead])];
      __builtin_prefetch(next.keys, 1);
      __builtin_prefetch(next.counts, 1);
    }
    hot[i] = See(keys[i]);
  }
}

void HotKeys::EndBatch() {
  if (++batches_ < options_.window) return;
  batches_ = 0;
  for (Group& group : groups_) {
    for (size_t way = 0; way < kWays; ++way) {
      const uint32_t least = (group.counts[way] - group.errors[way]) / 2;
      group.counts[way] /= 2;
      group.errors[way] = group.counts[way] - least;
      if (least == 0) group.counts[way] = group.errors[way] = 0;   // of it nothing certain is left
    }
  }
}

HotKeys::Count HotKeys::CountOf(Key key) const {
  const Group& group = groups_[GroupOf(key)];
  const size_t way = group.Find(key);
  if (way < kWays) return {group.counts[way] - group.errors[way], group.counts[way]};
  return {0, *std::min_element(group.counts, group.counts + kWays)};   // it has never had a counter, or lost one that was no larger than any is now
}

}   // namespace troupe
