#include "algorithms/run/worker_actor.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/caf_status.h"
#include "actors/status.h"
#include "algorithms/registry.h"
#include "algorithms/run/worker_actor/parts.h"

namespace troupe {
namespace worker_actor {
namespace {

constexpr std::chrono::milliseconds kTick{20};

/// Is it to be told of? What was never this worker's in this run is not.
template <class Work>
bool Told(const Work& work) {
  return work.hold != Hold::kNone || work.report.state == SplitReport::State::kLetGo;
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

}   // namespace

void Fail(Self* self, const absl::Status& status) {
  WorkerState& state = self->state;
  if (state.failure.ok()) state.failure = status;
  if (!state.asker) return;
  state.asker->deliver(ToError(state.failure));
  state.asker.reset();
}

void Answer(Self* self, bool even_if_running) {
  WorkerState& state = self->state;
  if (!state.asker || (!even_if_running && (state.holding || !AllDone(state)))) return;
  state.asker->deliver(Report(self));
  state.asker.reset();
}

namespace {

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
}   // namespace worker_actor

using namespace worker_actor;

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
            .acked = [self](WriterId writer) { OnAcked(self, writer); },
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
