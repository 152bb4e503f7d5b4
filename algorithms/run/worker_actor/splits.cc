// Pushing splits as they come and go: taken from the driver with what is known of them, read ahead for another worker's, gone on with after a loss, let go.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "algorithms/run/worker_actor/parts.h"

namespace troupe::worker_actor {
namespace {

constexpr std::chrono::milliseconds kStableWait{300};   // for what a split that is let go has pushed
constexpr size_t kKeptMax = 32 << 20;                   // that a split takes along; beyond it what its pushes keep is lost, as with a worker

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

/// Does what was read ahead serve a writer that goes on after `clock`?
bool Serves(const Pipeline& pipeline, Round clock) {
  const uint64_t ordinal = OrdinalOf(clock);
  return pipeline.prepared && PhaseOf(clock) == pipeline.record.number && pipeline.skip_to <= ordinal &&
         (pipeline.ready.empty() || pipeline.ready.front()->ordinal <= ordinal + 1);
}

}   // namespace

uint64_t TargetPhase(const WorkerState& state) {
  return state.phases.empty() ? 0 : state.phases.rbegin()->first;
}

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

}   // namespace troupe::worker_actor
