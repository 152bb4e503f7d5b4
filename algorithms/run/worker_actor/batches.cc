// The way of a pushing split's batches: read and planned ahead, their rows asked for, worked on, pushed; and the end of a phase.
#include <algorithm>
#include <utility>

#include "actors/status.h"
#include "algorithms/run/worker_actor/parts.h"

namespace troupe::worker_actor {
namespace {

// Batches a split reads and plans before they are needed: enough to go on while the next pieces are parsed, a window of them at once; of large batches two.
constexpr size_t kPreparedMax = 16, kPreparedMin = 2;
constexpr uint64_t kPreparedNonzeros = 256 << 10;
constexpr size_t kRoundsInFlight = 8;    // pushed and unanswered, where no pull holds a writer back
constexpr uint64_t kBarrierEvery = 16;   // rounds between the empty pulls that keep such a writer near the others

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

void LeaveOut(const WorkerState& state, Pipeline& pipeline) {
  DropReady(pipeline, LeftOut(state, pipeline));
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

}   // namespace

void Count(Pipeline& pipeline) {
  pipeline.report.rows = pipeline.source->rows();
  pipeline.report.nonzeros = pipeline.source->nonzeros();
  pipeline.report.bad_rows = pipeline.source->bad_rows();
  pipeline.report.bytes = pipeline.source->bytes();
  pipeline.report.bytes_total = pipeline.source->bytes_total();
}

bool Counts(const WorkerState& state, const Pipeline& pipeline) {
  return pipeline.record.number == TargetPhase(state) && pipeline.report.state == SplitReport::State::kRunning;
}

void DropReady(Pipeline& pipeline, uint64_t up_to) {
  while (!pipeline.ready.empty() && pipeline.ready.front()->ordinal <= up_to) pipeline.ready.pop_front();
}

void ReadAhead(Self* self, Pipeline& pipeline, std::optional<uint64_t> begin_skipping) {
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

void OnAcked(Self* self, WriterId writer) {
  Pipeline& pipeline = self->state.pipelines.at(static_cast<uint32_t>(writer));
  if (pipeline.stage == Pipeline::Stage::kEnding && self->state.client->acked(writer) >= MakeRound(pipeline.record.number + 1, 0)) {
    Ended(self, pipeline);
  } else {
    Advance(self, pipeline);
    MaybeLetGo(self, pipeline);
  }
}

}   // namespace troupe::worker_actor
