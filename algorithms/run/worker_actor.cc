#include "algorithms/run/worker_actor.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/caf_status.h"
#include "actors/status.h"
#include "algorithms/registry.h"
#include "algorithms/run/batch_jobs.h"
#include "caf/event_based_actor.hpp"
#include "caf/stateful_actor.hpp"
#include "caf/typed_response_promise.hpp"
#include "ps/encoding/compressor.h"

namespace troupe {
namespace {

// Batches a split reads and plans before they are needed: enough to go on while the next pieces are parsed, a window of them at once; of large batches two.
constexpr size_t kPreparedMax = 16, kPreparedMin = 2;
constexpr uint64_t kPreparedNonzeros = 256 << 10;
constexpr size_t kRoundsInFlight = 8;    // pushed and unanswered, where no pull holds a writer back
constexpr uint64_t kBarrierEvery = 16;   // rounds between the empty pulls that keep such a writer near the others
constexpr uint64_t kScanBatches = 32;    // of a phase without tables, in one job
constexpr std::chrono::milliseconds kTick{20};
constexpr std::chrono::milliseconds kStableWait{300};   // for what a split that is let go has pushed
constexpr size_t kKeptMax = 32 << 20;                   // that a split takes along; beyond it what its pushes keep is lost, as with a worker

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

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::BatchRead)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::BatchWorked)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Scanned)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ReportDue)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::WorkerTick)

namespace troupe {
namespace {

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

void Advance(Self* self, Pipeline& pipeline);

void Fail(Self* self, const absl::Status& status) {
  WorkerState& state = self->state;
  if (state.failure.ok()) state.failure = status;
  if (!state.asker) return;
  state.asker->deliver(ToError(state.failure));
  state.asker.reset();
}

/// Is it to be told of? What was never this worker's in this run is not.
template <class Work>
bool Told(const Work& work) {
  return work.hold != Hold::kNone || work.report.state == SplitReport::State::kLetGo;
}

/// What the driver is told of a pushing split now.
SplitReport ReportOf(Self* self, const Pipeline& pipeline) {
  const WorkerState& state = self->state;
  SplitReport report = pipeline.report;
  if (pipeline.hold != Hold::kMine && pipeline.hold != Hold::kLeaving) return report;
  pipeline.pace.Say(self->clock().now(), report);
  const Round acked = state.client->ready(WriterId{pipeline.split}) ? state.client->acked(WriterId{pipeline.split}) : 0;
  if (PhaseOf(acked) == state.run.current.number) report.batches = OrdinalOf(acked);
  report.clock = pipeline.stage == Pipeline::Stage::kDone ? pipeline.last_round : 0;
  return report;
}

SplitReport ReportOf(Self* self, const Scan& scan) {
  SplitReport report = scan.report;
  if (scan.hold != Hold::kNone) scan.pace.Say(self->clock().now(), report);
  return report;
}

PhaseReport Report(Self* self) {
  const WorkerState& state = self->state;
  PhaseReport report{.run = state.run.run, .share_number = state.share_number, .splits = {}};
  for (const auto& [split, pipeline] : state.pipelines) {
    if (state.run.current.phase.pushes && Told(pipeline)) report.splits.push_back(ReportOf(self, pipeline));
  }
  for (const auto& [split, scan] : state.scans) {
    if (Told(*scan)) report.splits.push_back(ReportOf(self, *scan));
  }
  return report;
}

/// Has it done all of its share? A worker without any is asked to wait.
bool AllDone(const WorkerState& state) {
  const auto is_done = [](const auto& work) {
    return work.hold == Hold::kNone || (work.hold == Hold::kMine && work.report.state == SplitReport::State::kDone);
  };
  if (!state.run.current.phase.pushes) return std::ranges::all_of(state.scans, [&](const auto& scan) { return is_done(*scan.second); });
  return std::ranges::all_of(state.pipelines, [&](const auto& pipeline) { return is_done(pipeline.second); });
}

void Answer(Self* self, bool even_if_running) {
  WorkerState& state = self->state;
  if (!state.asker || (!even_if_running && (state.holding || !AllDone(state)))) return;
  state.asker->deliver(Report(self));
  state.asker.reset();
}

// --- phases with tables ---

uint64_t TargetPhase(const WorkerState& state) {
  return state.phases.empty() ? 0 : state.phases.rbegin()->first;
}

void Count(Pipeline& pipeline) {
  pipeline.report.rows = pipeline.source->rows();
  pipeline.report.nonzeros = pipeline.source->nonzeros();
  pipeline.report.bad_rows = pipeline.source->bad_rows();
  pipeline.report.bytes = pipeline.source->bytes();
  pipeline.report.bytes_total = pipeline.source->bytes_total();
}

/// Batches of the phase up to this one are not worth working on: what is pushed of them comes too late.
uint64_t LeftOut(const WorkerState& state, const Pipeline& pipeline) {
  const Round closed = state.options.consistency.all.backup > 0 ? state.client->closed(WriterId{pipeline.split}) : 0;
  return PhaseOf(closed) == pipeline.record.number ? OrdinalOf(closed) : 0;
}

bool PreparedEnough(const Pipeline& pipeline) {
  if (pipeline.ready.size() < kPreparedMin || pipeline.ready.size() >= kPreparedMax) return pipeline.ready.size() >= kPreparedMin;
  uint64_t nonzeros = 0;
  for (const auto& prepared : pipeline.ready) nonzeros += prepared->nonzeros;
  return nonzeros >= kPreparedNonzeros;
}

void ReadAhead(Self* self, Pipeline& pipeline, std::optional<uint64_t> begin_skipping = std::nullopt) {
  if (pipeline.reading || pipeline.at_end || PreparedEnough(pipeline)) return;
  pipeline.reading = true;
  self->state.system->compute().Submit(Compute::Priority::kPrepare,
                                       [to = caf::actor(self), split = pipeline.split, generation = pipeline.generation, source = pipeline.source,
                                        record = pipeline.record, begin_skipping, left_out = LeftOut(self->state, pipeline)] {
                                         auto batch = std::make_shared<absl::StatusOr<std::optional<PreparedBatch>>>(std::optional<PreparedBatch>());
                                         absl::Status begun = begin_skipping ? source->Begin(record.phase, record.epoch, *begin_skipping) : absl::OkStatus();
                                         if (begun.ok()) {
                                           *batch = source->Next(left_out);
                                         } else {
                                           *batch = begun;
                                         }
                                         System::Deliver(to, BatchRead{split, generation, std::move(batch)});
                                       });
}

/// Before the pushes of this phase are applied, all writers must be past the last change of rows, and before a change past the phase before it. The rounds that
/// everybody has had order them the first time; when shards have lost some, writers would else overtake each other.
Round AfterOf(const WorkerState& state, uint64_t phase) {
  Round after = 0;
  for (const auto& [number, record] : state.phases) {
    if (!record.phase.change) continue;
    if (number == phase) return MakeRound(number, 0);
    if (number < phase) after = MakeRound(number + 1, 0);
  }
  return after;
}

bool Counts(const WorkerState& state, const Pipeline& pipeline) {
  return pipeline.record.number == TargetPhase(state) && pipeline.report.state == SplitReport::State::kRunning;
}

std::shared_ptr<BatchSource> SourceOf(const WorkerState& state, uint32_t split) {
  return std::make_shared<BatchSource>(state.algorithm, state.router, state.source, state.cache, split, state.options.splits_total, state.options.seed);
}

/// Forgets what was read and worked on; results under way are dropped.
void Clear(Pipeline& pipeline) {
  ++pipeline.generation;
  pipeline.ready.clear();
  pipeline.current = pipeline.next = nullptr;
  pipeline.next_rows.reset();
  pipeline.waiting_rows = pipeline.working = pipeline.reading = pipeline.at_end = pipeline.prepared = false;
  pipeline.skip_to = 0;
  pipeline.pace.began.reset();
}

void DropReady(Pipeline& pipeline, uint64_t up_to) {
  while (!pipeline.ready.empty() && pipeline.ready.front()->ordinal <= up_to) pipeline.ready.pop_front();
}

/// Does what was read ahead serve a writer that goes on after `clock`?
bool Serves(const Pipeline& pipeline, Round clock) {
  const uint64_t ordinal = OrdinalOf(clock);
  return pipeline.prepared && PhaseOf(clock) == pipeline.record.number && pipeline.skip_to <= ordinal &&
         (pipeline.ready.empty() || pipeline.ready.front()->ordinal <= ordinal + 1);
}

/// Goes on after `clock`: in that phase, or in the last one that is known where the shards have all of it (to count its rows).
void Continue(Self* self, Pipeline& pipeline, Round clock) {
  WorkerState& state = self->state;
  const uint64_t target = TargetPhase(state);
  const uint64_t number = std::min(PhaseOf(clock), target);
  const std::optional<SplitReport> so_far = std::exchange(pipeline.so_far, std::nullopt);
  const bool goes_on = so_far && so_far->clock != 0 && so_far->clock == clock;
  if (goes_on && !so_far->kept.empty()) {
    if (const absl::Status status = pipeline.compressor->GoOn(so_far->kept); !status.ok()) return Fail(self, status);
  }
  if (goes_on && so_far->complete && PhaseOf(clock) > target) {
    pipeline.report = *so_far;
    pipeline.report.state = SplitReport::State::kDone;
  }
  const bool serves = Serves(pipeline, clock) && number == target;
  if (!serves) Clear(pipeline);
  pipeline.last_round = clock;
  if (number == 0 || (PhaseOf(clock) > target && pipeline.report.state == SplitReport::State::kDone)) {   // nothing to do, or nothing was lost
    pipeline.stage = number == 0 ? Pipeline::Stage::kIdle : Pipeline::Stage::kDone;
    if (!goes_on) return;
    pipeline.record = state.phases.at(number);
    Answer(self, false);
    return;
  }
  const auto record = state.phases.find(number);
  if (record == state.phases.end()) {
    Fail(self, absl::InternalError(absl::StrCat("phase ", number, " is needed again and not known")));
    return;
  }
  pipeline.stage = Pipeline::Stage::kRunning;
  pipeline.record = record->second;
  pipeline.after = AfterOf(state, number);
  if (number == target && pipeline.report.state != SplitReport::State::kDone) {
    pipeline.report = SplitReport{.split = pipeline.split, .sum = {}, .collected = {}};
    if (goes_on) {
      pipeline.report.pulled = so_far->pulled;
      pipeline.report.copied = so_far->copied;
      pipeline.report.sum = so_far->sum;
      pipeline.report.collected = so_far->collected;
    }
  }
  if (serves) {
    pipeline.prepared = false;
    pipeline.skip_to = OrdinalOf(clock);
    DropReady(pipeline, pipeline.skip_to);
    if (!pipeline.reading && !pipeline.record.phase.change && Counts(state, pipeline)) Count(pipeline);
    Advance(self, pipeline);
    return;
  }
  pipeline.source = SourceOf(state, pipeline.split);
  if (pipeline.record.phase.change) {   // reads nothing
    pipeline.at_end = true;
    Advance(self, pipeline);
    return;
  }
  ReadAhead(self, pipeline, PhaseOf(clock) > number ? UINT64_MAX : OrdinalOf(clock));
}

/// Lets the split go if it can now: no batch is worked on, and every shard has what was pushed.
void MaybeLetGo(Self* self, Pipeline& pipeline) {
  WorkerState& state = self->state;
  if (pipeline.hold != Hold::kLeaving) return;
  const bool knows = state.client->ready(WriterId{pipeline.split});   // else a shard is asked what it has, and the next worker will ask as well
  if (knows && (pipeline.working || state.client->acked(WriterId{pipeline.split}) < pipeline.last_round)) return;
  // What a shard may still lose only this worker can give it again as it was: whoever makes it anew may see rows that are newer. For a moment that is waited
  // for.
  if (!pipeline.answered) pipeline.answered = self->clock().now();
  if (knows && state.client->stable(WriterId{pipeline.split}) < pipeline.last_round && self->clock().now() - *pipeline.answered < kStableWait) return;
  pipeline.answered.reset();
  SplitReport report = pipeline.so_far.value_or(SplitReport{.split = pipeline.split, .sum = {}, .collected = {}});   // not begun yet: as it came
  pipeline.so_far.reset();
  if (knows && pipeline.record.number == state.run.current.number) {
    report = ReportOf(self, pipeline);
    report.complete = pipeline.stage == Pipeline::Stage::kDone;
  }
  if (knows) {
    report.clock = pipeline.last_round;
    report.kept = pipeline.compressor->State();
    if (report.kept.size() > kKeptMax) report.kept = Block();
  }
  report.state = SplitReport::State::kLetGo;
  report.working = std::chrono::milliseconds(0);
  state.client->Leave(WriterId{pipeline.split});
  Clear(pipeline);
  pipeline.source = nullptr;
  pipeline.stage = Pipeline::Stage::kIdle;
  pipeline.hold = Hold::kNone;
  pipeline.report = std::move(report);
  Answer(self, true);
}

bool WantsRows(const WorkerState& state, const PreparedBatch& prepared) {
  if (prepared.pull != nullptr) return true;
  return state.waits && prepared.ordinal % kBarrierEvery == 0;
}

/// Asks for the rows that no copy answers. False: there are none, the batch can be worked on.
bool AskRows(Self* self, Pipeline& pipeline, PreparedBatch& prepared) {
  WorkerState& state = self->state;
  const Round round = MakeRound(pipeline.record.number, prepared.ordinal);
  if (prepared.pull == nullptr) {
    state.client->Pull(WriterId{pipeline.split}, round, state.barrier);
    return true;
  }
  if (state.replicas != nullptr) {
    prepared.rows = state.replicas->Take(prepared.pull, round);
    if (Counts(state, pipeline)) {
      pipeline.report.pulled += prepared.rows.asked;
      pipeline.report.copied += prepared.rows.copied;
    }
  } else {
    prepared.rows.rest = prepared.pull;
  }
  if (prepared.rows.rest == nullptr) return false;
  state.client->Pull(WriterId{pipeline.split}, round, prepared.rows.rest);
  return true;
}

/// Copies of what the shards have answered, for later batches.
absl::Status KeepRows(const WorkerState& state, WriterId writer, const PreparedBatch& prepared, std::span<const Block> rows) {
  if (state.replicas == nullptr || prepared.rows.rest == nullptr) return absl::OkStatus();
  std::vector<Round> clocks;
  for (uint32_t shard = 0; shard < state.options.shards; ++shard) clocks.push_back(state.client->pulled_clock(writer, shard));
  return state.replicas->Keep(prepared.rows, rows, clocks);
}

/// May the rows of this batch be asked for before the current one is pushed?
bool AllowsPrefetch(const WorkerState& state, const PreparedBatch& prepared) {
  if (prepared.plan == nullptr || prepared.pull == nullptr) return state.options.consistency.all.allows_prefetch();
  return std::ranges::all_of(prepared.plan->pulls,
                             [&](const Plan::Pull& pull) { return state.options.consistency.Of(state.router->tables()[pull.table].name).allows_prefetch(); });
}

void StartWork(Self* self, Pipeline& pipeline, std::vector<Block> rows) {
  WorkerState& state = self->state;
  pipeline.working = true;
  pipeline.pace.Begin(self->clock().now());
  state.system->compute().Submit(Compute::Priority::kStep, [to = caf::actor(self), split = pipeline.split, generation = pipeline.generation,
                                                            prepared = pipeline.current, phase = pipeline.record.phase, algorithm = state.algorithm,
                                                            router = state.router, compressor = pipeline.compressor, rows = std::move(rows)] {
    BatchWorked worked{split, generation, std::make_shared<WorkResult>(), nullptr, absl::OkStatus()};
    worked.status = [&]() -> absl::Status {
      std::vector<std::vector<float>> values = std::move(prepared->rows.values);
      std::vector<RowsView> views;
      std::vector<GivenRows> given;
      if (prepared->pull != nullptr) {
        if (prepared->rows.rest != nullptr) TROUPE_RETURN_IF_ERROR(router->Gather(*prepared->rows.rest, rows, values));
        for (size_t i = 0; i < values.size(); ++i) {
          const Plan::Pull& pull = prepared->plan->pulls[i];
          views.push_back({.keys = pull.keys, .values = values[i], .width = router->tables()[pull.table].width});
          given.push_back({.table = pull.table, .keys = pull.keys, .values = values[i]});
        }
      }
      TROUPE_RETURN_IF_ERROR(WorkOn(*algorithm, phase, *prepared, views, *worked.result));
      compressor->Compress(worked.result->pushes, given);
      worked.push = std::make_shared<RoutedPush>(router->Push(std::move(worked.result->pushes), prepared->pull.get()));
      return absl::OkStatus();
    }();
    System::Deliver(to, std::move(worked));
  });
}

void Ended(Self* self, Pipeline& pipeline) {
  const bool more = pipeline.record.number < TargetPhase(self->state);
  if (!more) {
    pipeline.stage = Pipeline::Stage::kDone;
    pipeline.report.state = SplitReport::State::kDone;
  }
  if (pipeline.hold == Hold::kLeaving) {
    MaybeLetGo(self, pipeline);
  } else if (more) {
    Continue(self, pipeline, MakeRound(pipeline.record.number + 1, 0));
  } else {
    Answer(self, false);
  }
}

void EndPhase(Self* self, Pipeline& pipeline) {
  const Round end = MakeRound(pipeline.record.number + 1, 0);
  pipeline.stage = Pipeline::Stage::kEnding;
  if (pipeline.last_round < end) {
    pipeline.last_round = end;
    RoutedPush push = RoutedPush::Empty(self->state.router->shards());
    push.after = pipeline.after;
    if (pipeline.record.phase.change && pipeline.split == 0) push.change = std::make_shared<const FunctionCall>(*pipeline.record.phase.change);
    self->state.client->Push(WriterId{pipeline.split}, end, std::move(push));
  }
  if (self->state.client->acked(WriterId{pipeline.split}) >= end) Ended(self, pipeline);
}

void LeaveOut(const WorkerState& state, Pipeline& pipeline) {
  DropReady(pipeline, LeftOut(state, pipeline));
}

/// Does whatever can be done now.
void Advance(Self* self, Pipeline& pipeline) {
  WorkerState& state = self->state;
  if (pipeline.stage != Pipeline::Stage::kRunning || !state.client->ready(WriterId{pipeline.split})) return;
  if (pipeline.hold == Hold::kLeaving) return MaybeLetGo(self, pipeline);
  LeaveOut(state, pipeline);
  if (pipeline.current == nullptr) {
    if (pipeline.next != nullptr) {   // its rows were asked for ahead
      if (!pipeline.next_rows) return;
      pipeline.current = std::exchange(pipeline.next, nullptr);
      StartWork(self, pipeline, std::move(*std::exchange(pipeline.next_rows, std::nullopt)));
    } else if (!pipeline.ready.empty()) {
      if (state.client->rounds_in_flight(WriterId{pipeline.split}) >= kRoundsInFlight) return;
      pipeline.current = std::move(pipeline.ready.front());
      pipeline.ready.pop_front();
      pipeline.waiting_rows = WantsRows(state, *pipeline.current) && AskRows(self, pipeline, *pipeline.current);
      if (!pipeline.waiting_rows) StartWork(self, pipeline, {});
    } else if (pipeline.at_end) {
      EndPhase(self, pipeline);
      return;
    }
  }
  // The next batch's rows while this one is worked on, where the consistency lets them be a round older.
  if (pipeline.working && pipeline.next == nullptr && !pipeline.ready.empty() && AllowsPrefetch(state, *pipeline.ready.front()) &&
      WantsRows(state, *pipeline.ready.front()) && state.client->rounds_in_flight(WriterId{pipeline.split}) < kRoundsInFlight) {
    pipeline.next = std::move(pipeline.ready.front());
    pipeline.ready.pop_front();
    if (!AskRows(self, pipeline, *pipeline.next)) pipeline.next_rows.emplace();
  }
  ReadAhead(self, pipeline);
}

/// What was read ahead for a split that another worker works on.
void OnPrepared(Self* self, Pipeline& pipeline) {
  pipeline.skip_to = std::max(pipeline.skip_to, pipeline.behind);
  DropReady(pipeline, pipeline.skip_to);
  if (pipeline.ready.empty() && !pipeline.at_end) {
    ReadAhead(self, pipeline);
  } else if (pipeline.report.state == SplitReport::State::kPreparing) {
    pipeline.report.state = SplitReport::State::kPrepared;
    Answer(self, true);
  }
}

void OnBatchRead(Self* self, const BatchRead& read) {
  Pipeline& pipeline = self->state.pipelines.at(read.split);
  if (read.generation != pipeline.generation) return;
  pipeline.reading = false;
  if (!read.batch->ok()) {
    Fail(self, read.batch->status());
    return;
  }
  if (!**read.batch) {
    pipeline.at_end = true;
  } else if ((**read.batch)->ordinal > pipeline.skip_to) {
    pipeline.ready.push_back(std::make_shared<PreparedBatch>(std::move(***read.batch)));
  }
  if (pipeline.hold == Hold::kPreparing) return OnPrepared(self, pipeline);
  if (pipeline.stage == Pipeline::Stage::kStarting) return;   // what it is for the shards will say
  if (Counts(self->state, pipeline)) Count(pipeline);
  ReadAhead(self, pipeline);
  Advance(self, pipeline);
}

void OnRows(Self* self, WriterId writer, std::vector<Block> rows) {
  Pipeline& pipeline = self->state.pipelines.at(static_cast<uint32_t>(writer));
  const std::shared_ptr<PreparedBatch>& batch = pipeline.waiting_rows ? pipeline.current : pipeline.next;
  if (const absl::Status kept = batch == nullptr ? absl::OkStatus() : KeepRows(self->state, writer, *batch, rows); !kept.ok()) return Fail(self, kept);
  if (pipeline.waiting_rows) {
    pipeline.waiting_rows = false;
    if (pipeline.current->ordinal <= LeftOut(self->state, pipeline))
      pipeline.current = nullptr;
    else
      StartWork(self, pipeline, std::move(rows));
  } else if (pipeline.next != nullptr) {
    pipeline.next_rows = std::move(rows);
  }
  Advance(self, pipeline);
}

void OnBatchWorked(Self* self, BatchWorked& worked) {
  WorkerState& state = self->state;
  Pipeline& pipeline = state.pipelines.at(worked.split);
  if (worked.generation != pipeline.generation) return;
  pipeline.pace.End(self->clock().now());
  if (!state.client->ready(WriterId{worked.split})) return;   // it will be done again
  absl::Status status = worked.status;
  if (status.ok() && Counts(state, pipeline)) {
    status = AddNumbers(worked.result->sum, pipeline.report.sum);
    pipeline.report.collected.insert(pipeline.report.collected.end(), worked.result->collected.begin(), worked.result->collected.end());
  }
  if (!status.ok()) {
    Fail(self, status);
    return;
  }
  const Round round = MakeRound(pipeline.record.number, pipeline.current->ordinal);
  pipeline.working = false;
  pipeline.current = nullptr;
  pipeline.last_round = round;
  LeaveOut(state, pipeline);
  // With copies it may be that nothing is left to pull, and then nothing would take the push along.
  const bool pull_follows = state.replicas == nullptr && pipeline.hold == Hold::kMine && pipeline.next == nullptr && !pipeline.ready.empty() &&
                            WantsRows(state, *pipeline.ready.front()) && state.client->rounds_in_flight(WriterId{worked.split}) + 1 < kRoundsInFlight;
  worked.push->after = pipeline.after;
  state.client->Push(WriterId{worked.split}, round, std::move(*worked.push), pull_follows);
  Advance(self, pipeline);
}

// --- phases without tables ---

void ContinueScan(Self* self, uint32_t split, const std::shared_ptr<Scan>& scan) {
  scan->pace.Begin(self->clock().now());
  self->state.system->compute().Submit(Compute::Priority::kStep, [to = caf::actor(self), split, scan, algorithm = self->state.algorithm] {
    scan->status = [&]() -> absl::Status {
      if (!std::exchange(scan->begun, true)) TROUPE_RETURN_IF_ERROR(scan->source->Begin(scan->phase, scan->epoch, scan->skip));
      for (uint64_t i = 0; i < kScanBatches; ++i) {
        TROUPE_TRY(std::optional<PreparedBatch> prepared, scan->source->Next());
        if (!prepared) {
          scan->finished = true;
          break;
        }
        if (prepared->pull != nullptr) return absl::InternalError(absl::StrCat("phase '", scan->phase.name, "' pulls, but says that it uses no tables"));
        TROUPE_RETURN_IF_ERROR(WorkOn(*algorithm, scan->phase, *prepared, {}, scan->result));
        if (!scan->result.pushes.empty()) return absl::InternalError(absl::StrCat("phase '", scan->phase.name, "' pushes, but says that it uses no tables"));
      }
      return absl::OkStatus();
    }();
    System::Deliver(to, Scanned{split, scan});
  });
}

void LetGo(Self* self, Scan& scan) {
  scan.report.complete = scan.finished;
  scan.report.state = SplitReport::State::kLetGo;
  scan.report.sum = scan.result.sum;
  scan.report.collected = scan.result.collected;
  scan.hold = Hold::kNone;
  Answer(self, true);
}

void OnScanned(Self* self, const Scanned& scanned) {
  WorkerState& state = self->state;
  Scan& scan = *scanned.scan;
  if (state.scans[scanned.split] != scanned.scan) return;   // of an earlier run
  scan.pace.End(self->clock().now());
  if (!scan.status.ok()) {
    Fail(self, scan.status);
    return;
  }
  scan.report.rows = scan.source->rows();
  scan.report.nonzeros = scan.source->nonzeros();
  scan.report.bad_rows = scan.source->bad_rows();
  scan.report.bytes = scan.source->bytes();
  scan.report.bytes_total = scan.source->bytes_total();
  scan.report.batches = scan.source->batches();
  if (scan.hold == Hold::kLeaving) return LetGo(self, scan);
  if (!scan.finished) {
    ContinueScan(self, scanned.split, scanned.scan);
    return;
  }
  scan.report.sum = scan.result.sum;
  scan.report.collected = scan.result.collected;
  scan.report.state = SplitReport::State::kDone;
  Answer(self, false);
}

/// The split is this worker's in a phase without tables.
void TakeScan(Self* self, const SplitTask& task) {
  WorkerState& state = self->state;
  std::shared_ptr<Scan>& scan = state.scans[task.split];
  if (scan != nullptr && scan->hold != Hold::kNone) {
    scan->hold = Hold::kMine;
    return;
  }
  scan = std::make_shared<Scan>();
  scan->phase = state.run.current.phase;
  scan->epoch = state.run.current.epoch;
  scan->source =
      std::make_unique<BatchSource>(state.algorithm, state.router, state.source, state.cache, task.split, state.options.splits_total, state.options.seed);
  scan->report.split = task.split;
  if (task.so_far) {
    scan->skip = task.so_far->batches;
    scan->result.sum = task.so_far->sum;
    scan->result.collected = task.so_far->collected;
    if (task.so_far->complete) {
      scan->report = *task.so_far;
      scan->report.state = SplitReport::State::kDone;
      scan->finished = true;
      return;
    }
  }
  ContinueScan(self, task.split, scan);
}

void Release(Self* self, Scan& scan) {
  if (scan.hold != Hold::kMine) return;
  scan.hold = Hold::kLeaving;
  if (scan.finished) LetGo(self, scan);
}

// --- the protocol ---

/// Another worker works on the split, and this one is to have it.
void Prepare(Self* self, Pipeline& pipeline, uint64_t behind) {
  WorkerState& state = self->state;
  pipeline.behind = behind;
  const bool same = pipeline.hold == Hold::kPreparing && pipeline.record.number == state.run.current.number;
  if (same && pipeline.reading) return;
  if (same) return OnPrepared(self, pipeline);
  Clear(pipeline);
  pipeline.hold = Hold::kPreparing;
  pipeline.prepared = true;
  pipeline.record = state.run.current;
  pipeline.source = SourceOf(state, pipeline.split);
  pipeline.report = SplitReport{.split = pipeline.split, .state = SplitReport::State::kPreparing, .sum = {}, .collected = {}};
  pipeline.skip_to = behind;
  if (pipeline.record.phase.change) {   // reads nothing
    pipeline.at_end = true;
    OnPrepared(self, pipeline);
    return;
  }
  ReadAhead(self, pipeline, behind);
}

void Release(Self* self, Pipeline& pipeline) {
  if (pipeline.hold == Hold::kPreparing) {
    Clear(pipeline);
    pipeline.source = nullptr;
    pipeline.hold = Hold::kNone;
    pipeline.report = SplitReport{.split = pipeline.split, .sum = {}, .collected = {}};
  } else if (pipeline.hold == Hold::kMine) {
    pipeline.hold = Hold::kLeaving;
    MaybeLetGo(self, pipeline);
  }
}

/// The split is this worker's in a phase that pushes. `new_run`: the phase begins, or is asked for again.
void Take(Self* self, Pipeline& pipeline, const SplitTask& task, bool new_run) {
  WorkerState& state = self->state;
  if (pipeline.hold == Hold::kNone || pipeline.hold == Hold::kPreparing) {
    pipeline.hold = Hold::kMine;
    pipeline.so_far = task.so_far;
    pipeline.report = SplitReport{.split = pipeline.split, .sum = {}, .collected = {}};
    pipeline.stage = Pipeline::Stage::kStarting;
    state.client->Start(WriterId{pipeline.split});
    return;
  }
  const bool was_leaving = std::exchange(pipeline.hold, Hold::kMine) == Hold::kLeaving;
  pipeline.answered.reset();
  const bool at_rest = pipeline.stage == Pipeline::Stage::kDone || pipeline.stage == Pipeline::Stage::kIdle;
  if (pipeline.stage == Pipeline::Stage::kDone && pipeline.record.number == state.run.current.number) return;
  if (new_run || at_rest) pipeline.report = SplitReport{.split = pipeline.split, .sum = {}, .collected = {}};
  if (at_rest) return Continue(self, pipeline, MakeRound(state.run.current.number, 0));   // else it is catching up in an earlier phase and will get here
  if (was_leaving) Advance(self, pipeline);
}

/// What the driver wants of this worker now.
void TakeShare(Self* self, const RunPhase& run, bool new_run) {
  WorkerState& state = self->state;
  state.share_number = run.share_number;
  std::set<uint32_t> mine;
  for (const SplitTask& task : run.share) {
    mine.insert(task.split);
    if (!run.current.phase.pushes) {
      TakeScan(self, task);
      continue;
    }
    Pipeline& pipeline = state.pipelines[task.split];
    pipeline.split = task.split;
    if (!task.prepare) {
      Take(self, pipeline, task, new_run);
    } else if (pipeline.hold == Hold::kMine || pipeline.hold == Hold::kLeaving) {
      Release(self, pipeline);
    } else {
      Prepare(self, pipeline, task.behind);
    }
  }
  for (auto& [split, pipeline] : state.pipelines) {
    if (run.current.phase.pushes && !mine.contains(split)) Release(self, pipeline);
  }
  for (auto& [split, scan] : state.scans) {
    if (!mine.contains(split)) Release(self, *scan);
  }
}

void StartRun(Self* self, const RunPhase& run) {
  WorkerState& state = self->state;
  state.run = run;
  for (const PhaseRecord& record : run.earlier) state.phases[record.number] = record;
  if (run.current.phase.pushes) state.phases[run.current.number] = run.current;
  state.scans.clear();
  for (auto& [split, pipeline] : state.pipelines) {
    if (pipeline.hold == Hold::kNone) pipeline.report = SplitReport{.split = split, .sum = {}, .collected = {}};
  }
}

caf::result<PhaseReport> OnRunPhase(Self* self, const RunPhase& run) {
  WorkerState& state = self->state;
  if (!state.failure.ok()) return ToError(state.failure);
  if (run.run < state.run.run) return ToError(absl::CancelledError(absl::StrCat("run ", state.run.run, " has begun")));
  for (const SplitTask& task : run.share) {
    if (task.split >= state.options.splits_total)
      return ToError(absl::InvalidArgumentError(absl::StrCat("run phase: split is ", task.split, ", expected < ", state.options.splits_total)));
  }
  Answer(self, true);   // an earlier asker is not kept waiting
  const bool new_run = run.run > state.run.run;
  if (new_run) StartRun(self, run);
  if (new_run || run.share_number >= state.share_number) TakeShare(self, run, new_run);
  if (!state.failure.ok()) return ToError(state.failure);
  state.asker = self->make_response_promise<caf::typed_response_promise<PhaseReport>>();
  auto promise = *state.asker;
  self->delayed_send(self, run.wait, ReportDue{++state.asked});
  state.holding = run.hold;
  Answer(self, false);
  return promise;
}

caf::behavior WorkerBehavior(Self* self) {
  self->delayed_send(self, kTick, WorkerTick{});
  return {
      [self](const RunPhase& run) -> caf::result<PhaseReport> { return OnRunPhase(self, run); },
      [self](const BatchRead& read) { OnBatchRead(self, read); },
      [self](BatchWorked& worked) { OnBatchWorked(self, worked); },
      [self](const Scanned& scanned) { OnScanned(self, scanned); },
      [self](const ReportDue& due) {
        if (due.number == self->state.asked) Answer(self, true);
      },
      [self](WorkerTick) {
        self->state.client->Tick();
        for (auto& [split, pipeline] : self->state.pipelines) MaybeLetGo(self, pipeline);
        self->delayed_send(self, kTick, WorkerTick{});
      },
  };
}

}   // namespace

absl::StatusOr<WorkerActor> SpawnWorker(System& system, const WorkerOptions& options, std::vector<ShardActor> shards) {
  std::shared_ptr<const Source> source = options.opened;
  if (source == nullptr) {
    TROUPE_TRY(source, OpenSource(options.source));
  }
  TROUPE_TRY(std::unique_ptr<Algorithm> algorithm, MakeAlgorithm(options.algorithm));
  TROUPE_TRY(Params params, Params::Parse(algorithm->params(), options.params));
  TROUPE_TRY(Blueprint blueprint, algorithm->Declare(params, DataShape::Of(source->schema())));
  TROUPE_RETURN_IF_ERROR(CheckReplicas(options.replicas, blueprint.tables, options.consistency));
  KeepTables(options.consistency, blueprint.tables);
  auto router = std::make_shared<const Router>(std::move(blueprint.tables), options.shards);
  // The actor begins later, on another thread: everything by value.
  auto actor =
      system.actors().spawn([&system, options, shards, source, router, algorithm = std::shared_ptr<const Algorithm>(std::move(algorithm))](Self* self) {
        WorkerState& state = self->state;
        state.system = &system;
        state.options = options;
        state.algorithm = algorithm;
        state.router = router;
        state.source = source;
        state.cache = options.cache != nullptr ? options.cache : std::make_shared<BlockCache>(options.cache_bytes);
        auto barrier = std::make_shared<RoutedPull>();
        barrier->shards.resize(router->shards());
        state.barrier = std::move(barrier);
        state.waits =
            std::ranges::any_of(router->tables(), [&](const TableSpec& spec) { return options.consistency.Of(spec.name).kind != Consistency::Kind::kAsp; });
        if (options.replicas.bytes_max > 0) state.replicas = std::make_unique<ReplicatedPulls>(router, options.consistency, options.replicas);
        Client::Events events{
            .begin_after =
                [self](WriterId writer, Round clock) {
                  WorkerState& s = self->state;
                  Pipeline& pipeline = s.pipelines.at(static_cast<uint32_t>(writer));
                  pipeline.compressor = std::make_shared<Compressor>(s.router->tables(), s.options.seed, pipeline.split);
                  if (s.replicas != nullptr) s.replicas->Forget();
                  Continue(self, pipeline, clock);
                  MaybeLetGo(self, pipeline);
                },
            .pulled = [self](WriterId writer, PullNumber, std::vector<Block> rows) { OnRows(self, writer, std::move(rows)); },
            .acked =
                [self](WriterId writer) {
                  Pipeline& pipeline = self->state.pipelines.at(static_cast<uint32_t>(writer));
                  if (pipeline.stage == Pipeline::Stage::kEnding && self->state.client->acked(writer) >= MakeRound(pipeline.record.number + 1, 0)) {
                    Ended(self, pipeline);
                  } else {
                    Advance(self, pipeline);
                    MaybeLetGo(self, pipeline);
                  }
                },
            .failed = [self](absl::Status status) { Fail(self, status); },
        };
        state.client = std::make_unique<Client>(self, shards, state.router,
                                                ClientOptions{.held_bytes_max = options.held_bytes, .rounds_left_out = options.consistency.all.backup > 0},
                                                std::move(events));
        return WorkerBehavior(self);
      });
  return caf::actor_cast<WorkerActor>(actor);
}

}   // namespace troupe
