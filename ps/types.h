// The words of the parameter server: keys, tables, writers, rounds.
#pragma once

#include <cstdint>

namespace troupe {

/// A row of a table: sparse, any 64-bit number; dense, 0 .. rows - 1.
using Key = uint64_t;

enum class TableId : uint32_t {};
/// A virtual range: a fixed share of a table's keys, the unit of placement, snapshot and move.
enum class RangeId : uint32_t {};
/// A writer is a logical split of the data, not a process: it keeps its identity when a worker is replaced or splits move.
enum class WriterId : uint32_t {};

/// Where the rows of a table lie while a job runs.
enum class KeptBy : uint8_t {
  kShards,   ///< ranges are dealt to shards
  kRing,     ///< every worker has all rows; the gradients of a round go round a ring of the workers (all_reduce.h)
  kTree,     ///< the same, up and down a binary tree
};

/// A point in the job's order of batches, the same for every writer: phase (1-based) << 40 | ordinal of the batch in it (1-based). {p + 1, 0} says that all of
/// phase p is over. Comparing the numbers compares the points.
using Round = uint64_t;
inline constexpr Round MakeRound(uint64_t phase, uint64_t ordinal) {
  return phase << 40 | ordinal;
}
inline constexpr uint64_t PhaseOf(Round round) {
  return round >> 40;
}
inline constexpr uint64_t OrdinalOf(Round round) {
  return round & ((uint64_t{1} << 40) - 1);
}
/// Where every writer's clock starts: nothing is done yet.
inline constexpr Round kFirstRound = MakeRound(1, 0);

/// The number of one push of one writer: its round << 8 | how many pushes of the same table the batch made before it. Rises over the whole job and is a pure
/// function of the batch, so that a retry, a restarted worker and a backup task carry the same one. (Rounds fit: 2^16 phases of 2^40 batches.)
using Sequence = uint64_t;

/// Which map of ranges: it rises with every set of ranges that moves (range_map.h).
using MapEpoch = uint64_t;

}   // namespace troupe
