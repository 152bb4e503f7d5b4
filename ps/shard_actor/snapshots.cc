// Snapshots of a shard: for its own replacement, for a checkpoint at a round, and its rows for a model. Compute jobs write them; the shard goes on.
#include "ps/shard_actor/parts.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/export.h"

namespace troupe::shard_actor {
namespace {

constexpr int kSnapshotFailuresMax = 5;

/// Of the shard as it is now; a compute job serialises and writes it, in parts where `request` wants it.
void StartSnapshot(Self* self, const std::string& uri, std::function<void(absl::Status)> done, const TakeSnapshot& request = {}) {
  State& state = self->state;
  auto writing = std::make_shared<Writing>();
  writing->clocks = state.shard->AppliedClocks();
  writing->version = state.shard->version();
  writing->done = std::move(done);
  auto view = std::make_shared<ShardView>(state.shard->View());
  writing->status = state.shard->usable();
  state.writing = writing;
  const bool own = uri == state.options.snapshot_uri;
  writing->own = own;
  const bool durable = !own || state.log != nullptr;   // the job's own snapshots need to survive the process, not the machine
  const std::shared_ptr<PushLog> log = own ? state.log : nullptr;
  const uint64_t first = log == nullptr ? 0 : log->Rotate();
  if (log != nullptr) {
    view->Add({kLogSection, Block::Copy(&first, sizeof first)});
    view->Add(state.shard->SaveHalves());   // whose other halves are in the log behind it
  }
  const std::shared_ptr<const SnapshotRecord> base = state.parts != nullptr && state.parts->uri == request.base ? state.parts : nullptr;
  state.system->compute().Submit(Compute::Priority::kStep,
                                 [system = state.system, to = caf::actor(self), uri, writing, view, durable, log, first, base, in_parts = request.in_parts] {
                                   if (writing->status.ok() && in_parts) {
                                     auto parts = WriteParts(system->storage(), uri, *view, base.get());
                                     parts.ok() ? void(writing->parts = *std::move(parts)) : void(writing->status = parts.status());
                                   } else if (writing->status.ok()) {
                                     writing->status = WriteSnapshot(system->storage(), uri, view->TakeAll(), durable);
                                   }
                                   if (writing->status.ok() && log != nullptr) log->Drop(first).IgnoreError();   // what is left is dropped the next time
                                   System::Deliver(to, SnapshotWritten{writing});
                                 });
}

/// The shard's own snapshot at `uri` is durable.
void OnOwnWritten(State& state, const std::string& uri) {
  if (uri == state.options.snapshot_uri) state.version_saved = state.writing->version;
  state.shard->SetStable(state.writing->clocks);
}

/// Was it made as `request` wants it? Then it must not be made again: others refer to what lies there.
bool IsTaken(const State& state, const TakeSnapshot& request) {
  if (!request.in_parts || state.parts == nullptr || state.parts->uri != request.uri || state.parts_taken.files.empty()) return false;
  if (request.at == 0 || state.parts_taken.clock == request.at) return true;
  return !state.shard->options().consistency.all.in_rounds() && state.parts_taken.clock > request.at;
}

}   // namespace

void SnapshotForRestart(Self* self) {
  State& state = self->state;
  if (state.options.snapshot_uri.empty() || state.writing != nullptr || state.version_saved == state.shard->version()) return;
  StartSnapshot(self, state.options.snapshot_uri, [self, &state, uri = state.options.snapshot_uri](const absl::Status& status) {
    if (status.ok()) {
      OnOwnWritten(state, uri);
      state.failures = 0;
    } else if (uri != state.options.snapshot_uri || state.begins) {   // another one is kept by now
      state.failures = 0;
    } else if (++state.failures >= kSnapshotFailuresMax && state.snapshots_needed) {
      const absl::Status of_disk = absl::IsResourceExhausted(status) ? status : absl::InternalError(status.message());
      state.disk = WithContext(of_disk, absl::StrCat("shard ", state.shard->options().shard, " cannot write its snapshot"));
      if (state.log != nullptr) BeginLogLater(self);
    }
  });
}

void SnapshotForLog(Self* self, std::function<void(const absl::Status&)> done) {
  StartSnapshot(self, self->state.options.snapshot_uri, [self, done = std::move(done), uri = self->state.options.snapshot_uri](const absl::Status& status) {
    if (status.ok()) {
      OnOwnWritten(self->state, uri);
      self->state.failures = 0;
    }
    done(status);
  });
}

void TakeHeldSnapshot(Self* self) {
  State& state = self->state;
  if (!state.held || state.writing != nullptr || state.running || !state.unsaved.empty()) return;
  if (IsTaken(state, state.held->request)) {   // since it came
    const auto answers = std::move(state.held->answers);
    state.held.reset();
    for (const auto& answer : answers) answer(state.parts_taken);
    Resume(self);
    FreezeIfReached(self);
    return;
  }
  if (!state.shard->Reached(state.held->request.at)) return;
  auto [request, answers] = std::move(*state.held);
  state.held.reset();
  const Round clock = state.shard->applied();
  const auto done = [self, answers, clock, in_parts = request.in_parts](const absl::Status& status) {
    State& now = self->state;
    absl::StatusOr<SnapshotTaken> taken = SnapshotTaken{clock, now.writing->parts.bytes, now.writing->parts.files};
    if (!status.ok()) taken = status;
    if (status.ok() && in_parts) {
      if (now.parts != nullptr) now.parts_before.insert(now.parts->uri);
      now.parts = std::make_shared<const SnapshotRecord>(std::move(now.writing->parts.record));
      now.parts_before.erase(now.parts->uri);
      now.parts_taken = *taken;
    }
    for (const auto& answer : answers) answer(taken);
  };
  StartSnapshot(self, request.uri, done, request);
  Resume(self);   // the cut is made: go on while it is written
  FreezeIfReached(self);
}

void OnTakeSnapshot(Self* self, const TakeSnapshot& request, std::function<void(const absl::StatusOr<SnapshotTaken>&)> answer) {
  State& state = self->state;
  if (IsTaken(state, request)) return answer(state.parts_taken);
  if (request.in_parts && state.parts_before.contains(request.uri)) {
    return answer(absl::AbortedError(absl::StrCat(request.uri, ": was written before the last one: whoever wants it anew has an answer")));
  }
  if (state.held && state.held->request.uri == request.uri && state.held->request.at == request.at) {
    state.held->answers.push_back(std::move(answer));
    return;
  }
  // Another one that waits belongs to an attempt that its asker has given up.
  if (auto earlier = std::exchange(state.held, std::nullopt)) {
    for (const auto& earlier_answer : earlier->answers) earlier_answer(absl::CancelledError("a later request for a snapshot came"));
    Resume(self);
    FreezeIfReached(self);
  }
  if (request.at != 0 && !state.shard->HoldAfter(request.at)) {
    answer(absl::OutOfRangeError("the round has passed"));
    return;
  }
  state.held = State::Held{request, {std::move(answer)}};
  TakeHeldSnapshot(self);
}

void SaveForAnswers(Self* self) {
  State& state = self->state;
  if (state.unsaved.empty() || state.writing != nullptr) return;
  const auto answers = std::make_shared<std::vector<std::function<void(const absl::Status&)>>>(std::exchange(state.unsaved, {}));
  const auto tell = [answers](const absl::Status& status) {
    for (const auto& answer : *answers) answer(status);
  };
  if (state.options.snapshot_uri.empty()) {
    tell(absl::OkStatus());
    return;
  }
  StartSnapshot(self, state.options.snapshot_uri, [&state, tell, uri = state.options.snapshot_uri](const absl::Status& status) {
    if (status.ok()) OnOwnWritten(state, uri);
    tell(status);
  });
}

absl::Status OnSaveRows(Self* self, const SaveRows& request, std::function<void(absl::StatusOr<RowsSaved>)> answer) {
  State& state = self->state;
  if (state.shard->min_clock() < request.at || state.shard->in_doubt() != 0) {
    return absl::UnavailableError(absl::StrCat("shard ", state.shard->options().shard, " is catching up"));
  }
  if (auto saving = state.saving.find(request.uri); saving != state.saving.end()) {   // its asker did not wait so long
    saving->second.push_back(std::move(answer));
    return absl::OkStatus();
  }
  for (const Assign& assign : request.assigned) TROUPE_RETURN_IF_ERROR(state.shard->OnAssign(assign));
  state.saving[request.uri].push_back(std::move(answer));
  auto sections = std::make_shared<std::vector<SnapshotSection>>();
  RowsSaved saved{.nonzeros = state.shard->nonzeros(), .late = state.shard->late_nonzeros(), .epoch = state.shard->map().epoch()};
  for (const Table& table : state.shard->tables()) {
    for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
      if (table.Owns(range)) sections->push_back({absl::StrCat("rows/", table.spec().name, "/", range), ExportRange(table, range)});
    }
    saved.rows += table.rows();
    saved.dropped += table.dropped();
    saved.evicted += table.evicted();
  }
  if (absl::Status status = state.shard->usable(); !status.ok()) {
    state.saving.erase(request.uri);
    return status;
  }
  state.system->compute().Submit(Compute::Priority::kStep, [self, system = state.system, to = caf::actor(self), uri = request.uri, saved, sections] {
    const absl::Status status = WriteSnapshot(system->storage(), uri, *sections, false);
    System::Deliver(to, Thunk{[self, status, uri, saved] {
                      const auto result = status.ok() ? absl::StatusOr<RowsSaved>(saved) : status;
                      const auto asked = self->state.saving.extract(uri);
                      for (const auto& answer : asked.mapped()) answer(result);
                    }});
  });
  return absl::OkStatus();
}

void StartTicking(Self* self) {
  if (!std::exchange(self->state.ticking, true)) self->delayed_send(self, self->state.options.snapshot_interval, SnapshotTick{});
}

void OnKeepSnapshots(Self* self, const KeepSnapshots& keep) {
  State& state = self->state;
  state.options.snapshot_interval = keep.interval;
  state.snapshots_needed = keep.needed;
  if (std::exchange(state.options.snapshot_uri, keep.uri) == keep.uri) return;
  state.version_saved = 0;   // there is nothing at this place
  if (!keep.needed && state.log == nullptr) {
    state.disk = absl::OkStatus();
    state.failures = 0;
  }
  if (!keep.uri.empty()) {
    StartTicking(self);
    return;
  }
  if (auto held = std::exchange(state.held, std::nullopt)) {   // another member is asked again
    for (const auto& answer : held->answers) answer(absl::CancelledError("it is not read any more"));
    Resume(self);
  }
  for (const State::KeptFrom& kept : std::exchange(state.unkept, {})) kept.answer(absl::OkStatus());   // others have the rows as well
}

}   // namespace troupe::shard_actor
