// A state of N shards as the state of M: what `train --resume --shards M` begins with. Ranges are the unit: each goes, with what is applied of whom in it, to
// the shard that has it among M. Pure; the rows themselves may be anywhere (snapshot_places.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/snapshot.h"
#include "ps/table_spec.h"

namespace troupe {

/// `from`: what Shard::Save gave at each of N shards, and behind them at the place of what workers keep, where there is one (PlacesOf). The result is the same
/// of `to` shards, with the map of epoch 0: ranges that had moved are dealt as if they never had.
///
/// - A writer's clock is the least that any shard had of it. What a range has of it beyond that is in the range's sequences: the writer pushes it again, and it
///   is known.
/// - Non-zeros, and those that came too late, are added up, at shard 0.
/// - Rounds that are over are those of the shard that has fewest. `in_rounds`: some table goes by rounds, and so all shards have applied the same; else rounds
///   beyond the least clocks are not counted, as far as they are of the same phase: they are pushed again.
/// - Shards in the middle of a move of ranges: it is over where any shard has the next map already, else it has not been.
///
/// Errors InvalidArgument: not one whole state of N shards of these tables; which shard, and what it lacks. Cost: O(ranges x writers), no rows are read.
absl::StatusOr<std::vector<std::vector<SnapshotSection>>> Reshard(std::span<const TableSpec> tables, bool in_rounds,
                                                                  std::span<const std::vector<SnapshotSection>> from, uint32_t to);

}   // namespace troupe
