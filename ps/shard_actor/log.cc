// The log of a shard: what it has been told is on the disk before it is acknowledged.
#include "ps/shard_actor/parts.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/wire.h"

namespace troupe::shard_actor {
namespace {

void SyncLog(Self* self) {
  State& state = self->state;
  state.syncing = state.unsynced.size();
  state.system->compute().Submit(Compute::Priority::kStep, [log = state.log, to = caf::actor(self), clocks = state.shard->AppliedClocks()] {
    System::Deliver(to, LogSynced{log, clocks, log->Sync()});
  });
}

/// The first `n` of those who wait.
void AnswerUnsynced(State& state, size_t n, const absl::Status& status) {
  for (; n > 0; --n) {
    const auto answer = std::move(state.unsynced.front());
    state.unsynced.pop_front();
    answer(status);
  }
}

}   // namespace

void WhenLogged(Self* self, std::function<void(const absl::Status&)> answer) {
  State& state = self->state;
  if (state.log == nullptr) {
    answer(absl::OkStatus());
    return;
  }
  state.unsynced.push_back(std::move(answer));
  if (state.syncing == 0 && !state.begins) SyncLog(self);
}

void OnSynced(Self* self, const LogSynced& synced) {
  State& state = self->state;
  if (synced.log != state.log) return;   // of a log before this one, or it has none any more: they have been answered, or will be by this one
  if (synced.status.ok()) {
    state.shard->SetStable(synced.clocks);
  } else {
    state.disk = WithContext(synced.status, absl::StrCat("shard ", state.shard->options().shard, " cannot write its log"));
    BeginLogLater(self);
  }
  AnswerUnsynced(state, std::exchange(state.syncing, 0), synced.status.ok() ? absl::OkStatus() : state.disk);
  if (!state.unsynced.empty()) SyncLog(self);
  if (state.log->bytes() > state.options.log_bytes_max) SnapshotForRestart(self);
}

void OnKeepLog(Self* self, const KeepLog& keep, std::function<void(const absl::Status&)> answer) {
  State& state = self->state;
  state.in_chain = true;
  if (state.log != nullptr && !keep.name.empty() && keep.name == state.options.log_name) {   // which has failed
    if (state.begins || !state.unsynced.empty()) return answer(state.disk.ok() ? absl::UnavailableError("the log is not at rest") : state.disk);
    state.begins = std::move(answer);
    return BeginLog(self);
  }
  if (auto begins = std::exchange(state.begins, std::nullopt)) (*begins)(absl::CancelledError("another log is kept"));
  state.syncing = 0;
  state.failures = 0;
  state.disk = absl::OkStatus();
  state.log = nullptr;   // and its lock, as soon as nobody writes to it any more
  state.options.snapshot_uri = keep.uri;
  state.options.log_name = keep.name;
  if (keep.name.empty()) {
    AnswerUnsynced(state, state.unsynced.size(), absl::OkStatus());   // others log what they have as well
    answer(absl::OkStatus());
    return;
  }
  absl::StatusOr<std::unique_ptr<PushLog>> log = PushLog::Open(
      keep.folder, keep.name, 0, [](const Frame&) { return absl::FailedPreconditionError("the log has begun before"); }, std::chrono::milliseconds(0));
  if (!log.ok()) {
    state.disk = WithContext(log.status(), absl::StrCat("shard ", state.shard->options().shard, " cannot begin its log"));
    AnswerUnsynced(state, state.unsynced.size(), state.disk);
    answer(state.disk);
    return;
  }
  state.log = *std::move(log);
  state.begins = std::move(answer);
  BeginLog(self);
}

void BeginLog(Self* self) {
  State& state = self->state;
  if (!state.begins || state.writing != nullptr) return;
  SnapshotForLog(self, [self, log = state.log](const absl::Status& status) {
    State& now = self->state;
    if (log != now.log || !now.begins) return;
    const auto begins = *std::exchange(now.begins, std::nullopt);
    now.disk = status.ok() ? absl::OkStatus() : WithContext(status, absl::StrCat("shard ", now.shard->options().shard, " cannot begin its log"));
    if (!status.ok()) {
      AnswerUnsynced(now, now.unsynced.size(), now.disk);
    } else {
      now.log->GoOn();
      if (!now.unsynced.empty()) SyncLog(self);
    }
    begins(now.disk);
  });
}

void BeginLogLater(Self* self) {
  State& state = self->state;
  if (!state.in_chain && !std::exchange(state.log_waits, true)) self->delayed_send(self, state.options.log_retry, LogTick{});
}

void OnLogTick(Self* self) {
  State& state = self->state;
  state.log_waits = false;
  if (state.disk.ok() || state.in_chain || state.begins) return;
  if (!state.unsynced.empty()) return BeginLogLater(self);   // what has been lost is being refused
  state.begins = [self](const absl::Status& status) {
    if (!status.ok()) BeginLogLater(self);
  };
  BeginLog(self);
}

std::string LogName(const ShardActorOptions& options) {
  return options.log_name.empty() ? absl::StrCat("shard-", options.shard.shard) : options.log_name;
}

absl::StatusOr<std::shared_ptr<PushLog>> OpenLog(Storage& storage, const ShardActorOptions& options, FileLock lock, uint64_t first, Shard& shard) {
  TROUPE_RETURN_IF_ERROR(ValidateLog(options.shard));
  const auto take = [&shard](const Frame& frame) -> absl::Status {
    if (frame.type == Codec<Assign>::kType) {
      TROUPE_TRY(const Assign assign, Codec<Assign>::Decode(frame));
      return shard.OnAssign(assign);
    }
    TROUPE_TRY(const Push push, Codec<Push>::Decode(frame));
    TROUPE_TRY(const Pushed pushed, shard.OnPush(push));
    if (pushed.outcome == Pushed::Outcome::kApplied) return absl::OkStatus();
    return absl::DataLossError("the log does not continue the snapshot");
  };
  TROUPE_TRY(std::shared_ptr<PushLog> log, PushLog::Open(std::move(lock), options.log_folder, LogName(options), first, take));
  TROUPE_TRY(const bool there, storage.Exists(options.snapshot_uri));
  if (!there) {
    const uint64_t next = log->Rotate();
    std::vector<SnapshotSection> sections = shard.Save();
    sections.push_back({kLogSection, Block::Copy(&next, sizeof next)});
    TROUPE_RETURN_IF_ERROR(WriteSnapshot(storage, options.snapshot_uri, sections, true));
  }
  shard.SetStable(shard.AppliedClocks());
  return log;
}

}   // namespace troupe::shard_actor

namespace troupe {

absl::Status ValidateLog(const ShardOptions& shard) {
  for (const TableSpec& spec : shard.tables) {
    if (spec.encoding.key_cache)
      return absl::InvalidArgumentError(
          absl::StrCat("table '", spec.name, "': encoding is '", ToString(spec.encoding), "', expected one without cache: pushes are logged"));
  }
  for (const TableSpec& spec : shard.tables) {
    if (shard.consistency.Of(spec.name).in_rounds()) {
      return absl::InvalidArgumentError(
          absl::StrCat("table '", spec.name, "' goes by rounds, expected a consistency without: pushes are logged when they are applied"));
    }
  }
  return absl::OkStatus();
}

}   // namespace troupe
