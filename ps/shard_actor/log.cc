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
    System::Deliver(to, LogSynced{clocks, log->Sync()});
  });
}

}   // namespace

void WhenLogged(Self* self, std::function<void(const absl::Status&)> answer) {
  State& state = self->state;
  if (state.log == nullptr) {
    answer(absl::OkStatus());
    return;
  }
  state.unsynced.push_back(std::move(answer));
  if (state.syncing == 0) SyncLog(self);
}

void OnSynced(Self* self, const LogSynced& synced) {
  State& state = self->state;
  if (synced.status.ok()) {
    state.shard->SetStable(synced.clocks);
  } else {
    state.disk = WithContext(synced.status, absl::StrCat("shard ", state.shard->options().shard, " cannot write its log"));
  }
  for (; state.syncing > 0; --state.syncing) {
    const auto answer = std::move(state.unsynced.front());
    state.unsynced.pop_front();
    answer(synced.status.ok() ? absl::OkStatus() : state.disk);
  }
  if (!state.unsynced.empty()) SyncLog(self);
  // In the middle of a round it would hold a part that the rest, which is in the log behind it, does not continue.
  if (state.log->bytes() > state.options.log_bytes_max && state.shard->between_rounds()) SnapshotForRestart(self);
}

std::string LogName(const ShardActorOptions& options) {
  return absl::StrCat("shard-", options.shard.shard);
}

absl::StatusOr<std::shared_ptr<PushLog>> OpenLog(Storage& storage, const ShardActorOptions& options, FileLock lock, uint64_t first, Shard& shard) {
  for (const TableSpec& spec : options.shard.tables) {
    if (spec.encoding.key_cache)
      return absl::InvalidArgumentError(
          absl::StrCat("table '", spec.name, "': encoding is '", ToString(spec.encoding), "', expected one without cache: pushes are logged"));
  }
  for (const TableSpec& spec : options.shard.tables) {
    if (options.shard.consistency.Of(spec.name).in_rounds()) {
      return absl::InvalidArgumentError(
          absl::StrCat("table '", spec.name, "' goes by rounds, expected a consistency without: pushes are logged when they are applied"));
    }
  }
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
