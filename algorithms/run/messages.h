// The protocol of a worker: run a phase over its splits, say how far it is. Asked again and again until it is done, so that a lost message or a replaced
// worker needs nothing special.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "actors/block.h"
#include "algorithms/algorithm.h"
#include "caf/allowed_unsafe_message_type.hpp"
#include "caf/typed_actor.hpp"
#include "ps/types.h"

namespace troupe {

/// A phase with its place in the job. Phases that push are numbered 1, 2, ... in their rounds; the others have number 0.
struct PhaseRecord {
  uint64_t number = 0;
  uint64_t epoch = 0;   ///< of the data: shuffled phases before it
  Phase phase;
};

/// What a worker says of a split that it has, or had in this run.
struct SplitReport {
  enum class State : uint8_t {
    kRunning,
    kDone,        ///< with the phase; it stays the worker's, who makes again what a shard loses
    kLetGo,       ///< as it was told: this report is the last, and all that it counts every shard has
    kPreparing,   ///< another one works on it; this one reads
    kPrepared,    ///< and could go on at once
  };
  uint32_t split = 0;
  State state = State::kRunning;
  uint64_t rows = 0;   ///< of this phase
  uint64_t nonzeros = 0;
  uint64_t bad_rows = 0;
  uint64_t bytes = 0, bytes_total = 0;
  uint64_t pulled = 0, copied = 0;           ///< rows that its batches got from shards, and from copies (ps/replicated_pulls.h)
  uint64_t batches = 0;                      ///< that are behind it: answered by every shard, or scanned
  Round clock = 0;                           ///< of its writer, where `sum` and `collected` are those of all batches up to it; 0: they are not
  std::chrono::microseconds batch_time{0};   ///< that the last batches took in its compute jobs, on average; 0: none yet
  std::chrono::milliseconds working{0};      ///< for so long has it been at its present batch; 0: at none
  bool complete = false;                     ///< let go, and done with the phase
  Numbers sum, collected;
  Block kept = {};   ///< let go: what its pushes keep for later ones (ps/encoding/compressor.h)

  bool has_ended() const { return state == State::kDone; }
};

/// One split of a worker's share.
struct SplitTask {
  uint32_t split = 0;
  /// Another worker works on it still: read up to batch `behind` and wait.
  bool prepare = false;
  uint64_t behind = 0;
  /// What its last worker said when it let it go in this run: go on from there.
  std::optional<SplitReport> so_far = {};
};

/// Run `current` over the worker's share. The answer comes when all is done, when a split is let go or prepared, or after `wait` with the progress so far; the
/// same `run` asked again goes on.
struct RunPhase {
  uint64_t run = 0;   ///< rises with every phase of the job
  PhaseRecord current;
  std::vector<PhaseRecord> earlier;   ///< all pushing phases before it: a shard that comes back with an old state may need their batches again
  std::chrono::milliseconds wait{200};
  /// The worker has been done before: it waits all the same, so that the driver hears of it while others are not (its replacement may have to do it again).
  bool hold = false;
  /// Its splits. One that it has and that is not among them it lets go, between two batches, once every shard has what it pushed.
  std::vector<SplitTask> share;
  uint64_t share_number = 0;   ///< of a run's shares for this worker the highest is in force
};

/// reply to RunPhase. An error (bad input, disk) is the job's.
struct PhaseReport {
  uint64_t run = 0;
  uint64_t share_number = 0;         ///< of the share that was in force
  std::vector<SplitReport> splits;   ///< of its share, and those that it had
};

using WorkerActor = caf::typed_actor<caf::replies_to<RunPhase>::with<PhaseReport>>;

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::RunPhase)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::PhaseReport)
