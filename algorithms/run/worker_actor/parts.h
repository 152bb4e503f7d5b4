// What the parts of a worker's actor have in common: its state, and what each part does for the others. Every function runs in the actor's context.
//
//   worker_actor.cc   what the driver asks for and is told
//   splits.cc         pushing splits: taken, prepared, gone on with, let go
//   batches.cc        a pushing split's batches: read, rows asked for, worked on, pushed
//   scans.cc          splits in phases without tables
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/system.h"
#include "algorithms/run/batch_jobs.h"
#include "algorithms/run/worker_actor.h"
#include "caf/event_based_actor.hpp"
#include "caf/stateful_actor.hpp"
#include "caf/typed_response_promise.hpp"
#include "ps/client.h"
#include "ps/encoding/compressor.h"

namespace troupe::worker_actor {

using Time = caf::actor_clock::time_point;

/// Whose a split is: nobody's here, read ahead for when it comes, this worker's, or to go as soon as it can.
enum class Hold : uint8_t { kNone, kPreparing, kMine, kLeaving };

/// How long compute jobs take, on average over the last few; and the one under way.
struct Pace {
  std::optional<Time> began;
  std::chrono::microseconds usual{0};

  void Begin(Time now) { began = now; }
  void End(Time now) {
    if (!began) return;
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(now - *std::exchange(began, std::nullopt));
    usual = usual.count() == 0 ? took : (3 * usual + took) / 4;
  }
  void Say(Time now, SplitReport& report) const {
    report.batch_time = usual;
    report.working = began ? std::chrono::duration_cast<std::chrono::milliseconds>(now - *began) : std::chrono::milliseconds(0);
  }
};

/// The pushing side of one split: phases one after the other, batch by batch.
struct Pipeline {
  enum class Stage : uint8_t { kIdle, kStarting, kRunning, kEnding, kDone };
  uint32_t split = 0;
  Hold hold = Hold::kNone;
  Stage stage = Stage::kIdle;
  uint64_t behind = 0;                 // while it prepares: batches that need not be read for work
  bool prepared = false;               // the source stands in the phase of `record`, as it was read ahead
  std::optional<SplitReport> so_far;   // of the worker before
  std::optional<Time> answered;        // while it is to go: since when the shards have all
  uint64_t generation = 0;             // results of jobs of an older one are dropped
  PhaseRecord record;                  // the phase it is in
  std::shared_ptr<BatchSource> source;
  std::shared_ptr<Compressor> compressor;   // one job at a time uses it; a writer that begins anew has a new one
  bool reading = false, at_end = false;
  uint64_t skip_to = 0;   // batches up to this one are only counted
  std::deque<std::shared_ptr<PreparedBatch>> ready;
  std::shared_ptr<PreparedBatch> current, next;   // being worked on (or waiting for its rows); pulled ahead
  bool waiting_rows = false, working = false;     // current's
  std::optional<std::vector<Block>> next_rows;
  Round last_round = 0;
  Round after = 0;   // of the phase: Push::after
  Pace pace;
  SplitReport report;
};

/// A phase without tables over one split.
struct Scan {
  Phase phase;
  uint64_t epoch = 0;
  Hold hold = Hold::kMine;
  std::unique_ptr<BatchSource> source;
  uint64_t skip = 0;   // batches that another worker has done
  bool begun = false;
  bool finished = false;
  Pace pace;
  WorkResult result;
  absl::Status status;
  SplitReport report;
};

struct BatchRead {
  uint32_t split;
  uint64_t generation;
  std::shared_ptr<absl::StatusOr<std::optional<PreparedBatch>>> batch;
};
struct BatchWorked {
  uint32_t split;
  uint64_t generation;
  std::shared_ptr<WorkResult> result;
  std::shared_ptr<RoutedPush> push;
  absl::Status status;
};
struct Scanned {
  uint32_t split;
  std::shared_ptr<Scan> scan;
};
struct ReportDue {
  uint64_t number;
};
struct WorkerTick {};

}   // namespace troupe::worker_actor

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::worker_actor::BatchRead)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::worker_actor::BatchWorked)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::worker_actor::Scanned)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::worker_actor::ReportDue)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::worker_actor::WorkerTick)

namespace troupe::worker_actor {

struct WorkerState {
  static inline const char* name = "worker";
  System* system = nullptr;
  WorkerOptions options;
  std::shared_ptr<const Algorithm> algorithm;
  std::shared_ptr<const Router> router;
  std::shared_ptr<const Source> source;
  std::shared_ptr<BlockCache> cache;
  std::shared_ptr<const RoutedPull> barrier;   // asks every shard for nothing: waits for the other writers, where the consistency wants that
  bool waits = false;
  std::unique_ptr<ReplicatedPulls> replicas;   // may be null
  std::unique_ptr<Client> client;
  std::map<uint32_t, Pipeline> pipelines;   // by split
  std::map<uint32_t, std::shared_ptr<Scan>> scans;
  RunPhase run;                             // the latest
  std::map<uint64_t, PhaseRecord> phases;   // pushing ones by number, up to now
  std::optional<caf::typed_response_promise<PhaseReport>> asker;
  uint64_t asked = 0;
  bool holding = false;        // the asker is to wait even if all is done
  uint64_t share_number = 0;   // of the share in force
  absl::Status failure;
};
using Self = caf::stateful_actor<WorkerState>;

// --- worker_actor.cc ---

/// The run cannot go on.
void Fail(Self* self, const absl::Status& status);
/// Answers the driver, if all of the share is done, or in any case.
void Answer(Self* self, bool even_if_running);

// --- splits.cc ---

/// What the driver is told of a pushing split now.
SplitReport ReportOf(Self* self, const Pipeline& pipeline);
/// The last phase that is known, 0: none.
uint64_t TargetPhase(const WorkerState& state);
/// Goes on after `clock`: in that phase, or in the last one that is known where the shards have all of it (to count its rows).
void Continue(Self* self, Pipeline& pipeline, Round clock);
/// Lets the split go if it can now: no batch is worked on, and every shard has what was pushed.
void MaybeLetGo(Self* self, Pipeline& pipeline);
/// Another worker works on the split, and this one is to have it.
void Prepare(Self* self, Pipeline& pipeline, uint64_t behind);
/// What was read ahead for a split that another worker works on.
void OnPrepared(Self* self, Pipeline& pipeline);
/// The driver wants it here no more.
void Release(Self* self, Pipeline& pipeline);
/// The split is this worker's in a phase that pushes. `new_run`: the phase begins, or is asked for again.
void Take(Self* self, Pipeline& pipeline, const SplitTask& task, bool new_run);

// --- batches.cc ---

/// What is ready up to that batch is not worked on.
void DropReady(Pipeline& pipeline, uint64_t up_to);
/// The next batch is read, unless enough is ready. `begin_skipping`: the source begins the phase, and batches up to that one are only counted.
void ReadAhead(Self* self, Pipeline& pipeline, std::optional<uint64_t> begin_skipping = std::nullopt);
/// What it does is of the phase that is reported.
bool Counts(const WorkerState& state, const Pipeline& pipeline);
/// Rows, entries and bytes that its source has read, into its report.
void Count(Pipeline& pipeline);
/// Does whatever can be done now.
void Advance(Self* self, Pipeline& pipeline);
void OnBatchRead(Self* self, const BatchRead& read);
void OnRows(Self* self, WriterId writer, std::vector<Block> rows);
void OnBatchWorked(Self* self, BatchWorked& worked);
/// Shards have more of what the writer has pushed.
void OnAcked(Self* self, WriterId writer);

// --- scans.cc ---

/// What the driver is told of it now.
SplitReport ReportOf(Self* self, const Scan& scan);
void OnScanned(Self* self, const Scanned& scanned);
/// The split is this worker's in a phase without tables.
void TakeScan(Self* self, const SplitTask& task);
/// The driver wants it here no more.
void Release(Self* self, Scan& scan);

}   // namespace troupe::worker_actor
