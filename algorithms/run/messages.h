// The protocol of a worker: run a phase over its splits, say how far it is. Asked again and again until it is done, so that a lost message or a replaced
// worker needs nothing special.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

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

/// Run `current` over the worker's splits. The answer comes when all are done, or after `wait` with the progress so far; the same `run` asked again goes on.
struct RunPhase {
  uint64_t run = 0;   ///< rises with every phase of the job
  PhaseRecord current;
  std::vector<PhaseRecord> earlier;   ///< all pushing phases before it: a shard that comes back with an old state may need their batches again
  std::chrono::milliseconds wait{200};
  /// The worker has been done before: it waits all the same, so that the driver hears of it while others are not (its replacement may have to do it again).
  bool hold = false;
};

struct SplitReport {
  uint32_t split = 0;
  bool done = false;
  uint64_t rows = 0;   ///< of this phase
  uint64_t nonzeros = 0;
  uint64_t bad_rows = 0;
  uint64_t bytes = 0, bytes_total = 0;
  uint64_t pulled = 0, copied = 0;   ///< rows that its batches got from shards, and from copies (ps/replicated_pulls.h)
  Numbers sum, collected;
};

/// reply to RunPhase. An error (bad input, disk) is the job's.
struct PhaseReport {
  uint64_t run = 0;
  bool done = false;
  std::vector<SplitReport> splits;
};

using WorkerActor = caf::typed_actor<caf::replies_to<RunPhase>::with<PhaseReport>>;

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::RunPhase)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::PhaseReport)
