// Lists of keys that a shard has seen lately, of one writer, by their hash: what comes again need not travel. The writer keeps the same account of what the
// shard must remember; where it is wrong the shard says so and the keys are sent. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>

#include "actors/block.h"

namespace troupe {

/// XXH3 64 of the keys, never 0.
uint64_t HashOf(const Block& keys);

class KeyLists {
 public:
  static constexpr size_t kListsMax = 16;
  static constexpr size_t kBytesMax = 8 << 20;   // of all; a list of more than a quarter is not kept

  /// Keeps `keys` as the most recent list; the least recent ones go. `bytes`: what it counts for.
  void Keep(uint64_t hash, Block keys, size_t bytes);
  /// The list, which becomes the most recent one; nullptr: not here. Valid until the next call.
  const Block* Find(uint64_t hash);
  void Clear() {
    lists_.clear();
    bytes_ = 0;
  }

 private:
  struct List {
    uint64_t hash;
    Block keys;
    size_t bytes;
  };
  std::list<List> lists_;   // the most recent one first
  size_t bytes_ = 0;
};

}   // namespace troupe
