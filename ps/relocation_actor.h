// Moves ranges between the shards of a running job, at a cut: all shards stand at one vector clock, those that give write what leaves, the others read it, all
// agree, and from there on the next map holds. No push is lost, none counts twice, and no request fails: what was dealt by the old map is answered that there
// is another (docs/relocation.md).
//
// Prepare -> Stand -> TakeIn (each shard agrees, and its snapshot says so) -> the decision is written -> Settle, until all have answered.
// Whatever fails before the decision: Settle without `commit`, and the old map goes on.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/system.h"
#include "ps/messages.h"
#include "ps/range_map.h"

namespace troupe {

struct MoveOptions {
  /// Where what moves is put down for a moment, and the decision until all have heard of it: all shards reach it. In one process "mem:" does.
  std::string folder;
  /// Rises with every attempt of this process.
  uint64_t number = 0;
  /// What each step before the decision may take.
  std::chrono::milliseconds step_max{2'000};
  /// How long a shard that does not answer is told the end of the move: it may have to be replaced first.
  std::chrono::milliseconds patience{120'000};
  /// Asked before each step: false, and there is no next one, nor an end: whoever wanted the move is gone, and the shards with it. Null: true.
  std::function<bool()> wanted = nullptr;
};

struct MovedRanges {
  RangeMap map;                         ///< that holds now
  std::chrono::microseconds pause{0};   ///< from the first shard that is asked to stop to the decision: pushes of later rounds waited for so long at most
};

/// `shards`, `tables`: all of the job. Calls done once, in some actor's context. One at a time of a job; the end of one that was cut off, because its process
/// fell, is brought about first. `choose` gets the present map and says what is to move; nothing: done. Errors: Unavailable, DeadlineExceeded: no cut was
/// reached, or a shard did not answer before the decision: the old map goes on, another attempt may do better. FailedPrecondition: tables that do not move
/// (memory_max, kept by workers, only some by rounds), shards that log. InvalidArgument as RangeMap::After. After the decision only Unavailable: a shard has
/// not heard of it within `patience`; the map of the next attempt is the new one.
void MoveRanges(System& system, const std::vector<ShardActor>& shards, const std::vector<TableSpec>& tables,
                std::function<std::vector<RangeMove>(const RangeMap&, const std::vector<Ranges>&)> choose, const MoveOptions& options,
                std::function<void(absl::StatusOr<MovedRanges>)> done);

}   // namespace troupe
