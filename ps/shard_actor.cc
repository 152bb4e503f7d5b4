// The actor itself: what comes when, pushes and pulls. The rest of what it does is in ps/shard_actor/, a file each.
#include "ps/shard_actor.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "caf/typed_response_promise.hpp"
#include "ps/disk_tier.h"
#include "ps/shard_actor/parts.h"
#include "ps/wire.h"

namespace troupe {
namespace shard_actor {
namespace {

constexpr size_t kBeyondMax = 4096;   // pushes that wait for one cut: it is given up when there are more

/// May the pull be answered now, as rounds and bounds of delay say? A writer who is behind and silent for longer than the bound is waited for.
bool Ready(Self* self, const Pull& pull) {
  const Shard& shard = *self->state.shard;
  if (self->state.catch_up || !shard.Ready(pull)) return false;
  const auto bound = shard.DelayBound(pull);
  const uint64_t ordinal = OrdinalOf(pull.round);
  if (bound.count() == 0 || ordinal == 0) return true;
  const Round before = MakeRound(PhaseOf(pull.round), ordinal - 1);
  const auto now = self->clock().now();
  for (uint32_t writer = 0; writer < shard.options().writers; ++writer) {
    if (shard.clock(writer) < before && writer != static_cast<uint32_t>(pull.writer) && now - self->state.heard[writer] > bound) return false;
  }
  return true;
}

/// Does `take` when no call is reading rows and no cut is being made that `push` is beyond.
void TakeOrKeep(Self* self, const Push& push, std::function<void()> take, std::function<void(const absl::Status&)> refuse) {
  State& state = self->state;
  if (state.running) {
    state.changes.push_back([self, push, take = std::move(take), refuse = std::move(refuse)] { TakeOrKeep(self, push, take, refuse); });
  } else if (state.shard->Passes(push)) {
    take();
  } else if (state.beyond.size() < kBeyondMax) {
    state.beyond.push_back({push, std::move(take), std::move(refuse)});
  } else if (state.shard->in_doubt() != 0) {   // the end of that cut is not this shard's to decide
    refuse(absl::UnavailableError(absl::StrCat("shard ", state.shard->options().shard, " waits for the end of a move of ranges")));
  } else {
    state.beyond.push_back({push, std::move(take), std::move(refuse)});
    EndCut(self, state.shard->cut());
  }
}

}   // namespace

void WhenUnread(State& state, std::function<void()> change) {
  if (state.running || !state.changes.empty()) {
    state.changes.push_back(std::move(change));
  } else {
    change();
  }
}

void AnswerReadyPulls(Self* self) {
  State& state = self->state;
  for (auto it = state.pulls.begin(); it != state.pulls.end();) {
    if (!Ready(self, it->second.pull)) {
      ++it;
      continue;
    }
    WaitingPull waiting = std::move(it->second);
    it = state.pulls.erase(it);
    waiting.answer(state.shard->OnPull(waiting.pull));
  }
}

void Resume(Self* self) {
  self->state.shard->Resume();
  AnswerReadyPulls(self);
}

void GoOnCatchingUp(Self* self) {
  State& state = self->state;
  while (state.catch_up) {
    if (const CatchUp::Take take = state.catch_up->Next(state.shard->clocks())) {
      take();
    } else if (state.catch_up->IsOver(state.shard->clocks())) {
      state.catch_up.reset();
      AnswerReadyPulls(self);
    } else {
      return;
    }
  }
}

void TakeBeyond(Self* self) {
  std::deque<State::HeldPush> beyond = std::exchange(self->state.beyond, {});
  for (State::HeldPush& held : beyond) TakeOrKeep(self, held.push, std::move(held.take), std::move(held.refuse));
  GoOnCatchingUp(self);
}

namespace {

/// As TakeOrKeep, but what comes while the shard is catching up waits for its turn.
void TakeInTurn(Self* self, const Push& push, std::function<void()> take, std::function<void(const absl::Status&)> refuse) {
  State& state = self->state;
  const auto writer = static_cast<uint32_t>(push.writer);
  if (!state.catch_up || writer >= state.options.shard.writers) return TakeOrKeep(self, push, std::move(take), std::move(refuse));
  // Whoever has not heard of the loss sends what is behind all that is to be sent again.
  if (!state.catch_up->HasOpened(writer)) return refuse(absl::UnavailableError("the shard is catching up, and waits for what the writer holds"));
  state.catch_up->Keep(writer, push.order, [self, push, take = std::move(take), refuse = std::move(refuse)] { TakeOrKeep(self, push, take, refuse); });
  GoOnCatchingUp(self);
}

absl::StatusOr<Pushed> OnPush(Self* self, const Push& push) {
  State& state = self->state;
  if (state.log != nullptr && !state.in_chain) TROUPE_RETURN_IF_ERROR(state.disk);
  const auto told = [&] { return std::pair(state.shard->version(), state.shard->min_clock()); };
  const auto before = told();
  auto pushed = state.shard->OnPush(push);
  if (state.log != nullptr && state.disk.ok() && told() != before) state.log->Append(Codec<Push>::Encode(push));
  if (!pushed.ok()) return pushed;
  if (pushed->outcome == Pushed::Outcome::kNeedKeys || pushed->outcome == Pushed::Outcome::kMoved) return pushed;
  state.heard[static_cast<uint32_t>(push.writer)] = self->clock().now();
  if (push.wants_snapshot && state.log == nullptr) SnapshotForRestart(self);
  TakeHeldSnapshot(self);
  AnswerReadyPulls(self);
  FreezeIfReached(self);
  if (state.changes.empty()) StartReadyCall(self);
  TROUPE_RETURN_IF_ERROR(state.disk);   // it counts all the same, as with a replica that joins and has heard of it
  return pushed;
}

template <class Answer>
void OnPull(Self* self, Pull pull, Answer answer) {
  State& state = self->state;
  if (pull.view != 0 || pull.epoch != state.shard->map().epoch()) {
    answer(state.shard->OnPull(pull));
    return;
  }
  if (static_cast<uint32_t>(pull.writer) >= state.shard->options().writers) {
    answer(absl::InvalidArgumentError(absl::StrCat("pull: writer is ", static_cast<uint32_t>(pull.writer), ", expected < ", state.shard->options().writers)));
    return;
  }
  state.shard->FillKeys(pull);
  if (pull.keys_kept || Ready(self, pull)) {
    answer(state.shard->OnPull(pull));
    return;
  }
  const PullKey key{static_cast<uint32_t>(pull.writer), pull.piece};
  const uint64_t number = ++state.pulls_seen;
  if (auto old = state.pulls.find(key); old != state.pulls.end()) {
    old->second.answer(absl::CancelledError("a later pull of the same writer came"));
    state.pulls.erase(old);
  }
  state.pulls.emplace(key, WaitingPull{number, std::move(pull), std::move(answer)});
  if (!state.shard->options().stable_when_applied) self->delayed_send(self, state.options.pull_wait_max, PullExpired{key, number});
}

template <class T>
void Fulfil(caf::typed_response_promise<T>& promise, absl::StatusOr<T> result) {
  if (result.ok()) {
    promise.deliver(std::move(*result));
  } else {
    promise.deliver(ToError(result.status()));
  }
}

/// After the log's sync a push is stable; where that failed, it is refused.
void DeliverPushed(Self* self, caf::typed_response_promise<Pushed> promise, absl::StatusOr<Pushed> pushed) {
  if (!pushed.ok() || self->state.log == nullptr) {
    Fulfil(promise, std::move(pushed));
    return;
  }
  WhenLogged(self, [promise, pushed = *pushed](const absl::Status& status) mutable {
    pushed.stable = pushed.clock;
    Fulfil(promise, status.ok() ? absl::StatusOr<Pushed>(pushed) : status);
  });
}

void OnPushPull(Self* self, const PushPull& both, caf::typed_response_promise<PushPulled> promise) {
  auto pushed = OnPush(self, both.push);
  if (!pushed.ok()) {
    promise.deliver(ToError(pushed.status()));
  } else if (pushed->outcome != Pushed::Outcome::kApplied) {
    promise.deliver(PushPulled{*pushed, {}});
  } else {
    OnPull(self, both.pull, [self, promise, pushed = *pushed](absl::StatusOr<Pulled> pulled) mutable {
      if (!pulled.ok()) {
        promise.deliver(ToError(pulled.status()));
        return;
      }
      WhenLogged(self, [promise, pushed, pulled = std::move(*pulled), logs = self->state.log != nullptr](const absl::Status& status) mutable {
        if (logs) pushed.stable = pushed.clock;
        status.ok() ? promise.deliver(PushPulled{pushed, pulled}) : promise.deliver(ToError(status));
      });
    });
  }
}

template <class T>
caf::result<T> Reply(absl::StatusOr<T> result) {
  if (!result.ok()) return ToError(result.status());
  return std::move(*result);
}

absl::StatusOr<ShardSlice> OnAskSlice(const Shard& shard, const AskSlice& ask) {
  TROUPE_RETURN_IF_ERROR(shard.usable());
  if (shard.HoldsRounds()) return absl::UnavailableError(absl::StrCat("shard ", shard.options().shard, " holds rounds back for a snapshot or a cut"));
  const uint32_t end = shard.SliceEnd(ask.first, ask.bytes);
  return ShardSlice{.sections = shard.SaveSlice(ask.first, end), .next = end < shard.ranges() ? end : 0};
}

caf::behavior ShardBehavior(Self* self) {
  if (!self->state.options.snapshot_uri.empty() && self->state.log == nullptr) StartTicking(self);
  const auto in_rounds = [self](const TableSpec& table) { return self->state.options.shard.consistency.Of(table.name).in_rounds(); };
  if (self->state.options.catch_up_max.count() > 0 && !std::ranges::all_of(self->state.options.shard.tables, in_rounds)) {
    self->state.catch_up.emplace(self->state.options.shard.writers);
    self->delayed_send(self, self->state.options.catch_up_max, CatchUpExpired{});
  }
  return {
      [self](const Push& push) -> caf::result<Pushed> {
        if (!self->state.running && self->state.log == nullptr && !self->state.catch_up && self->state.shard->Passes(push)) return Reply(OnPush(self, push));
        auto promise = self->make_response_promise<caf::typed_response_promise<Pushed>>();
        TakeInTurn(
            self, push, [self, push, promise] { DeliverPushed(self, promise, OnPush(self, push)); },
            [promise](const absl::Status& status) mutable { promise.deliver(ToError(status)); });
        return promise;
      },
      [self](const Pull& pull) -> caf::result<Pulled> {
        auto promise = self->make_response_promise<caf::typed_response_promise<Pulled>>();
        OnPull(self, pull, [promise](absl::StatusOr<Pulled> pulled) mutable { Fulfil(promise, std::move(pulled)); });
        return promise;
      },
      [self](const PushPull& both) -> caf::result<PushPulled> {
        auto promise = self->make_response_promise<caf::typed_response_promise<PushPulled>>();
        if (!self->state.running && !self->state.catch_up && self->state.shard->Passes(both.push)) {
          OnPushPull(self, both, promise);
        } else {
          TakeInTurn(
              self, both.push, [self, both, promise] { OnPushPull(self, both, promise); },
              [promise](const absl::Status& status) mutable { promise.deliver(ToError(status)); });
        }
        return promise;
      },
      [self](const Open& open) -> caf::result<Opened> {
        if (self->state.catch_up && static_cast<uint32_t>(open.writer) < self->state.options.shard.writers) {
          self->state.catch_up->OnOpen(static_cast<uint32_t>(open.writer), open.through);
          GoOnCatchingUp(self);
        }
        if (self->state.log == nullptr) return Reply(self->state.shard->OnOpen(open));
        auto promise = self->make_response_promise<caf::typed_response_promise<Opened>>();   // it acknowledges as much as an answer to a push does
        WhenLogged(self, [promise, opened = self->state.shard->OnOpen(open)](const absl::Status& status) mutable {
          Fulfil(promise, status.ok() ? opened : absl::StatusOr<Opened>(status));
        });
        return promise;
      },
      [self](const Assign& assign) -> caf::result<Assigned> {
        auto promise = self->make_response_promise<caf::typed_response_promise<Assigned>>();
        WhenUnread(self->state, [self, assign, promise]() mutable {
          if (self->state.log == nullptr && !self->state.in_chain) {
            KeepAssigned(self, assign,
                         [promise](const absl::Status& kept) mutable { Fulfil(promise, kept.ok() ? absl::StatusOr<Assigned>(Assigned{}) : kept); });
            return;
          }
          const absl::Status& disk = self->state.disk;
          absl::Status status = disk.ok() || self->state.in_chain ? self->state.shard->OnAssign(assign) : disk;
          if (status.ok()) status = disk;
          if (status.ok() && self->state.log != nullptr) self->state.log->Append(Codec<Assign>::Encode(assign));
          auto answer = [promise](const absl::Status& logged) mutable { Fulfil(promise, logged.ok() ? absl::StatusOr<Assigned>(Assigned{}) : logged); };
          status.ok() ? WhenLogged(self, answer) : answer(status);
        });
        return promise;
      },
      [self](const TakeSnapshot& request) -> caf::result<SnapshotTaken> {
        auto promise = self->make_response_promise<caf::typed_response_promise<SnapshotTaken>>();
        WhenUnread(self->state, [self, request, promise] {
          OnTakeSnapshot(self, request, [promise](const absl::StatusOr<SnapshotTaken>& taken) mutable { Fulfil(promise, taken); });
          StartReadyCall(self);   // the rounds that were held for the snapshot may be what one waits for
        });
        return promise;
      },
      [self](const SaveRows& request) -> caf::result<RowsSaved> {
        auto promise = self->make_response_promise<caf::typed_response_promise<RowsSaved>>();
        WhenUnread(self->state, [self, request, promise]() mutable {
          const auto answer = [promise](absl::StatusOr<RowsSaved> saved) mutable { Fulfil(promise, std::move(saved)); };
          if (absl::Status status = OnSaveRows(self, request, answer); !status.ok()) promise.deliver(ToError(status));
        });
        return promise;
      },
      [self](const Call& call) -> caf::result<Called> {
        auto promise = self->make_response_promise<caf::typed_response_promise<Called>>();
        OnCall(self, call, [promise](absl::StatusOr<Called> called) mutable { Fulfil(promise, std::move(called)); });
        return promise;
      },
      [self](const Prepare& prepare) -> caf::result<Prepared> { return Reply(OnPrepare(self, prepare)); },
      [self](const Freeze& freeze) -> caf::result<Frozen> {
        auto promise = self->make_response_promise<caf::typed_response_promise<Frozen>>();
        WhenUnread(self->state, [self, freeze, promise] {
          OnFreeze(self, freeze, [promise](absl::StatusOr<Frozen> frozen) mutable { Fulfil(promise, std::move(frozen)); });
        });
        return promise;
      },
      [self](const Release& release) {
        EndCut(self, release.cut);
        self->state.shard->DropView(release.cut);
        return Released{};
      },
      [self](const AskRanges& ask) { return Reply(self->state.shard->OnAskRanges(ask)); },
      [self](const Stand& stand) -> caf::result<Standing> {
        auto promise = self->make_response_promise<caf::typed_response_promise<Standing>>();
        WhenUnread(self->state, [self, stand, promise] {
          OnStand(self, stand, [promise](absl::StatusOr<Standing> standing) mutable { Fulfil(promise, std::move(standing)); });
        });
        return promise;
      },
      [self](const TakeIn& request) -> caf::result<TakenIn> {
        auto promise = self->make_response_promise<caf::typed_response_promise<TakenIn>>();
        OnTakeIn(self, request, [promise](absl::StatusOr<TakenIn> taken) mutable { Fulfil(promise, std::move(taken)); });
        return promise;
      },
      [self](const Settle& settle) -> caf::result<Settled> {
        auto promise = self->make_response_promise<caf::typed_response_promise<Settled>>();
        WhenUnread(self->state, [self, settle, promise] {
          OnSettle(self, settle, [promise](absl::StatusOr<Settled> settled) mutable { Fulfil(promise, std::move(settled)); });
        });
        return promise;
      },
      [self](const LeavingWritten& written) { OnLeavingWritten(self, written); },
      [self](const ArrivingRead& read) { WhenUnread(self->state, [self, read] { OnArrivingRead(self, read); }); },
      [self](const HoldExpired& expired) { OnHoldExpired(self, expired); },
      [self](const FreezeExpired& expired) { OnFreezeExpired(self, expired); },
      [self](const ViewExpired& expired) { self->state.shard->DropView(expired.cut); },
      [self](CallGoesOn) { GoOn(self); },
      [self](CatchUpExpired) {
        while (const CatchUp::Take take = self->state.catch_up ? self->state.catch_up->TakeFirst() : nullptr) take();
        self->state.catch_up.reset();
        AnswerReadyPulls(self);
      },
      [self](const CallExpired& expired) { OnCallExpired(self, expired); },
      [](const Thunk& thunk) { thunk.run(); },
      [self](const SnapshotWritten& written) {
        written.writing->done(written.writing->status);
        self->state.writing = nullptr;
        BeginLog(self);
        AnswerAssigned(self, *written.writing);
        SaveForAnswers(self);
        TakeHeldSnapshot(self);
        StartReadyCall(self);
      },
      [self](const LogSynced& synced) { OnSynced(self, synced); },
      [self](LogTick) { OnLogTick(self); },
      [self](AskState) -> caf::result<ShardState> {
        if (self->state.catch_up) return ToError(absl::UnavailableError("the shard is catching up: what it keeps is in no state yet"));
        auto promise = self->make_response_promise<caf::typed_response_promise<ShardState>>();
        WhenUnread(self->state, [self, promise]() mutable {
          const Shard& shard = *self->state.shard;
          if (const absl::Status status = shard.usable(); !status.ok()) {
            promise.deliver(ToError(status));
            return;
          }
          promise.deliver(ShardState{.sections = shard.SaveForReplica(), .waiting = shard.Waiting()});
        });
        return promise;
      },
      [self](const AskSlice& ask) -> caf::result<ShardSlice> {
        auto promise = self->make_response_promise<caf::typed_response_promise<ShardSlice>>();
        WhenUnread(self->state, [self, ask, promise]() mutable { Fulfil(promise, OnAskSlice(*self->state.shard, ask)); });
        return promise;
      },
      [self](const TakeSlice& slice) -> caf::result<SliceTaken> {
        if (const absl::Status status = self->state.shard->TakeSlice(slice.sections); !status.ok()) return ToError(status);
        return SliceTaken{};
      },
      [self](const AskDigest& ask) -> caf::result<Shard::Digest> {
        const Shard& shard = *self->state.shard;
        if (ask.table >= shard.tables().size() || !shard.tables()[ask.table].Owns(ask.range))
          return ToError(absl::InvalidArgumentError(absl::StrCat("range ", ask.range, " of table ", ask.table, " is not this shard's")));
        auto promise = self->make_response_promise<caf::typed_response_promise<Shard::Digest>>();
        WhenUnread(self->state, [self, ask, promise]() mutable { promise.deliver(self->state.shard->DigestOf(ask.table, ask.range)); });
        return promise;
      },
      [self](const KeepSnapshots& keep) { OnKeepSnapshots(self, keep); },
      [self](AskClocks) -> caf::result<ShardClocks> {
        auto promise = self->make_response_promise<caf::typed_response_promise<ShardClocks>>();
        WhenUnread(self->state, [self, promise]() mutable { promise.deliver(ShardClocks{self->state.shard->AppliedClocks(), self->state.shard->begun()}); });
        return promise;
      },
      [self](const KeepView& keep) -> caf::result<Frozen> {
        auto promise = self->make_response_promise<caf::typed_response_promise<Frozen>>();
        WhenUnread(self->state, [self, keep, promise]() mutable {
          const absl::Status status = OnKeepView(self, keep);
          status.ok() ? promise.deliver(Frozen{}) : promise.deliver(ToError(status));
        });
        return promise;
      },
      [self](const KeepLog& keep) -> caf::result<LogKept> {
        auto promise = self->make_response_promise<caf::typed_response_promise<LogKept>>();
        WhenUnread(self->state, [self, keep, promise] {   // what waits for a call is not in a snapshot yet
          OnKeepLog(self, keep, [promise](const absl::Status& status) mutable { status.ok() ? promise.deliver(LogKept{}) : promise.deliver(ToError(status)); });
        });
        return promise;
      },
      [self](SnapshotTick) {
        SnapshotForRestart(self);
        self->delayed_send(self, self->state.options.snapshot_interval, SnapshotTick{});
      },
      [self](const PullExpired& expired) {
        auto it = self->state.pulls.find(expired.key);
        if (it == self->state.pulls.end() || it->second.number != expired.number) return;
        auto answer = std::move(it->second.answer);
        self->state.pulls.erase(it);
        answer(absl::DeadlineExceededError("other writers are behind"));
      },
  };
}

}   // namespace
}   // namespace shard_actor

absl::StatusOr<ShardActor> SpawnShard(System& system, const ShardActorOptions& options) {
  ShardOptions shard_options = options.shard;
  if (options.tier_folder.starts_with("mem:")) {
    shard_options.tiers = MemoryTiers();
  } else if (!options.tier_folder.empty()) {
    shard_options.tiers = DiskTiers(options.tier_folder);
  }
  TROUPE_TRY(Shard shard, Shard::Make(std::move(shard_options)));
  uint64_t first_of_log = 0;
  FileLock lock;   // before the snapshot is read, which says where to go on in the log: whoever has the log open writes new ones and drops what is older
  if (!options.log_folder.empty()) {
    TROUPE_TRY(lock, PushLog::Lock(options.log_folder, shard_actor::LogName(options), options.log_patience));
  }
  std::shared_ptr<const SnapshotRecord> parts;
  if (options.state != nullptr) TROUPE_RETURN_IF_ERROR(shard.Load(*options.state));
  for (const std::string& uri : {options.snapshot_uri, options.restore_uri}) {
    if (uri.empty() || options.state != nullptr) continue;
    auto sections = ReadPlacedSnapshot(system.storage(), uri);
    if (absl::IsNotFound(sections.status()) && uri == options.snapshot_uri && options.log_name.empty()) continue;
    TROUPE_RETURN_IF_ERROR(sections.status());
    if (absl::Status status = shard.Load(*sections); !status.ok()) return WithContext(status, uri);
    if (uri == options.restore_uri) {
      TROUPE_TRY(SnapshotRecord record, RecordOf(system.storage(), uri, shard.tables()));
      parts = std::make_shared<const SnapshotRecord>(std::move(record));
    }
    for (const SnapshotSection& section : *sections) {
      if (section.name == shard_actor::kLogSection && section.bytes.size() == sizeof first_of_log)
        std::memcpy(&first_of_log, section.bytes.data(), sizeof first_of_log);
    }
    break;
  }
  std::shared_ptr<PushLog> log;
  if (!options.log_folder.empty()) {
    TROUPE_TRY(log, shard_actor::OpenLog(system.storage(), options, std::move(lock), first_of_log, shard));
  }
  auto held = std::make_shared<Shard>(std::move(shard));   // the actor begins later, on another thread
  auto actor = system.actors().spawn([&system, options, held, log, parts](shard_actor::Self* self) {
    self->state.system = &system;
    self->state.options = options;
    self->state.options.state = nullptr;   // it is loaded
    self->state.shard.emplace(std::move(*held));
    self->state.log = log;
    self->state.parts = parts;
    self->state.heard.assign(options.shard.writers, self->clock().now());
    return shard_actor::ShardBehavior(self);
  });
  return caf::actor_cast<ShardActor>(actor);
}

}   // namespace troupe
