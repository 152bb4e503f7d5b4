// Which keys of a stream come often, in bounded memory: of what is worth a copy. Pure.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ps/partition.h"
#include "ps/types.h"

namespace troupe {

/// Counters of the most frequent keys, halved now and then so that what was frequent long ago is forgotten. A key that comes again and again gets a counter
/// of its own; one that does not takes over the smallest of its group, with that count as its possible error.
/// Source: Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", ICDT 2005 (Space-Saving), here within groups
/// of eight counters that a key is hashed to, so that each costs two cache lines and no list is kept in order.
class HotKeys {
 public:
  struct Options {
    /// About 16 bytes each. Keys whose share of the stream is well above 1 / counters are found.
    size_t counters = size_t{1} << 14;
    /// A key is hot that has certainly come so often, ...
    uint32_t hot = 4;
    /// ... where all counts are halved after so many batches. At least 1.
    uint32_t window = 32;
  };
  explicit HotKeys(const Options& options);

  /// `key` has come once more. True: it is hot.
  bool See(Key key);
  /// hot[i] = See(keys[i]), quicker: counters are on their way from memory while others are counted.
  void See(std::span<const Key> keys, uint8_t* hot);
  bool IsHot(Key key) const { return CountOf(key).least >= options_.hot; }
  /// The end of a batch, as ageing counts.
  void EndBatch();

  /// least <= how often the key has come <= most, where nothing has been halved yet. most - least <= keys seen in the group / 8.
  struct Count {
    uint32_t least, most;
  };
  Count CountOf(Key key) const;

 private:
  static constexpr size_t kWays = 8;
  struct alignas(64) Group {
    Key keys[kWays] = {};
    uint32_t counts[kWays] = {};   // 0: free
    uint32_t errors[kWays] = {};   // of the counts: what they had when the key took them over. Invariant: less than the count, or both are 0
    /// Which counter is the key's; kWays: none. All are compared at once, without a branch.
    size_t Find(Key key) const {
      uint32_t found = 0;
      for (size_t way = 0; way < kWays; ++way) found |= static_cast<uint32_t>((keys[way] == key) & (counts[way] > 0)) << way;
      return found == 0 ? kWays : static_cast<size_t>(std::countr_zero(found));
    }
  };
  size_t GroupOf(Key key) const { return HashKey(key) & (groups_.size() - 1); }

  const Options options_;
  std::vector<Group> groups_;   // a power of two
  uint32_t batches_ = 0;
};

}   // namespace troupe
