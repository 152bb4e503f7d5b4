#include "ps/shard_actor.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "caf/event_based_actor.hpp"
#include "caf/stateful_actor.hpp"
#include "caf/typed_response_promise.hpp"
#include "ps/export.h"

namespace troupe {
namespace {

/// A snapshot that is being written by a compute job.
struct Writing {
  std::vector<Round> clocks;   // what it covers
  uint64_t version = 0;
  absl::Status status;
  std::function<void(absl::Status)> done;
};

struct WaitingPull {
  uint64_t number;
  Pull pull;
  std::function<void(absl::StatusOr<Pulled>)> answer;
};

struct WaitingCall {
  uint64_t number;
  Call call;
  std::function<void(absl::StatusOr<Called>)> answer;
};

struct SnapshotWritten {
  std::shared_ptr<Writing> writing;
};
struct SnapshotTick {};
using PullKey = std::pair<uint32_t, uint32_t>;   // writer, piece
struct PullExpired {
  PullKey key;
  uint64_t number;
};
struct CallExpired {
  uint64_t number;
};
struct CallGoesOn {};

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::SnapshotWritten)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::SnapshotTick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::PullExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::CallExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::CallGoesOn)

namespace troupe {
namespace {

struct ShardState {
  static inline const char* name = "shard";
  System* system = nullptr;
  ShardActorOptions options;
  std::optional<Shard> shard;
  std::vector<std::chrono::steady_clock::time_point> heard;   // by writer: its last push, or the start
  std::map<PullKey, WaitingPull> pulls;                       // at most one each
  uint64_t pulls_seen = 0;
  std::shared_ptr<Writing> writing;   // at most one snapshot at a time
  uint64_t version_saved = 0;
  int failures = 0;    // snapshots in a row that could not be written
  absl::Status disk;   // the last of them, once there were too many: pushes are refused with it
  struct Held {
    TakeSnapshot request;
    std::vector<std::function<void(const absl::StatusOr<SnapshotTaken>&)>> answers;   // to all who asked for the same
  };
  std::optional<Held> held;                                                                    // waits for its round
  std::map<std::string, std::vector<std::function<void(absl::StatusOr<RowsSaved>)>>> saving;   // by URI: who asked for what is being written
  std::deque<WaitingCall> calls;                                                               // in the order of their arrival
  uint64_t calls_seen = 0;
  std::optional<RunningCall> running;   // at most one call at a time
  std::function<void(absl::StatusOr<Called>)> running_answer;
  std::deque<std::function<void()>> changes;   // what came while a call runs and would change its rows
};
using Self = caf::stateful_actor<ShardState>;

constexpr int kSnapshotFailuresMax = 5;
constexpr size_t kCallsMax = 64;             // waiting at once
constexpr uint64_t kSliceFloats = 1 << 18;   // of a call, between two looks into the mailbox

void StartReadyCall(Self* self);

/// Does `change` when no call is running: one result is of one state.
void WhenUnread(ShardState& state, std::function<void()> change) {
  if (state.running || !state.changes.empty()) {
    state.changes.push_back(std::move(change));
  } else {
    change();
  }
}

/// May the pull be answered now, as rounds and bounds of delay say? A writer who is behind and silent for longer than the bound is waited for.
bool Ready(Self* self, const Pull& pull) {
  const Shard& shard = *self->state.shard;
  if (!shard.Ready(pull)) return false;
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

void AnswerReadyPulls(Self* self) {
  ShardState& state = self->state;
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

/// After a round that was to be the last one for a while.
void Resume(Self* self) {
  self->state.shard->Resume();
  AnswerReadyPulls(self);
}

/// Serialises now, in one cut; a compute job writes the file.
void StartSnapshot(Self* self, const std::string& uri, std::function<void(absl::Status)> done) {
  ShardState& state = self->state;
  auto writing = std::make_shared<Writing>();
  writing->clocks = state.shard->AppliedClocks();
  writing->version = state.shard->version();
  writing->done = std::move(done);
  auto sections = std::make_shared<std::vector<SnapshotSection>>(state.shard->Save());
  state.writing = writing;
  const bool durable = uri != state.options.snapshot_uri;   // the job's own snapshots need to survive the process, not the machine
  state.system->compute().Submit(Compute::Priority::kStep, [system = state.system, to = caf::actor(self), uri, writing, sections, durable] {
    writing->status = WriteSnapshot(system->storage(), uri, *sections, durable);
    System::Deliver(to, SnapshotWritten{writing});
  });
}

/// For its own replacement.
void SnapshotForRestart(Self* self) {
  ShardState& state = self->state;
  if (state.options.snapshot_uri.empty() || state.writing != nullptr || state.version_saved == state.shard->version()) return;
  StartSnapshot(self, state.options.snapshot_uri, [&state](const absl::Status& status) {
    if (status.ok()) {
      state.version_saved = state.writing->version;
      state.shard->SetStable(state.writing->clocks);
      state.failures = 0;
    } else if (++state.failures >= kSnapshotFailuresMax) {
      state.disk = WithContext(status, absl::StrCat("shard ", state.shard->options().shard, " cannot write its snapshot"));
    }
  });
}

void TakeHeldSnapshot(Self* self) {
  ShardState& state = self->state;
  if (!state.held || state.writing != nullptr || state.running) return;
  if (!state.shard->Reached(state.held->request.at)) return;
  auto [request, answers] = std::move(*state.held);
  state.held.reset();
  const Round clock = state.shard->applied();
  StartSnapshot(self, request.uri, [answers, clock](const absl::Status& status) {
    const absl::StatusOr<SnapshotTaken> taken = status.ok() ? absl::StatusOr<SnapshotTaken>(SnapshotTaken{clock}) : status;
    for (const auto& answer : answers) answer(taken);
  });
  Resume(self);   // the cut is made: go on while it is written
}

void OnTakeSnapshot(Self* self, const TakeSnapshot& request, std::function<void(const absl::StatusOr<SnapshotTaken>&)> answer) {
  ShardState& state = self->state;
  if (state.held && state.held->request.uri == request.uri && state.held->request.at == request.at) {
    state.held->answers.push_back(std::move(answer));
    return;
  }
  // Another one that waits belongs to an attempt that its asker has given up.
  if (auto earlier = std::exchange(state.held, std::nullopt)) {
    for (const auto& earlier_answer : earlier->answers) earlier_answer(absl::CancelledError("a later request for a snapshot came"));
    Resume(self);
  }
  if (request.at != 0 && !state.shard->HoldAfter(request.at)) {
    answer(absl::OutOfRangeError("the round has passed"));
    return;
  }
  state.held = ShardState::Held{request, {std::move(answer)}};
  TakeHeldSnapshot(self);
}

absl::StatusOr<Pushed> OnPush(Self* self, const Push& push) {
  ShardState& state = self->state;
  TROUPE_RETURN_IF_ERROR(state.disk);
  auto pushed = state.shard->OnPush(push);
  if (!pushed.ok()) return pushed;
  if (pushed->outcome == Pushed::Outcome::kNeedKeys) return pushed;
  state.heard[static_cast<uint32_t>(push.writer)] = self->clock().now();
  if (push.wants_snapshot) SnapshotForRestart(self);
  TakeHeldSnapshot(self);
  AnswerReadyPulls(self);
  if (state.changes.empty()) StartReadyCall(self);
  return pushed;
}

template <class Answer>
void OnPull(Self* self, Pull pull, Answer answer) {
  ShardState& state = self->state;
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

// --- calls ---

void EndCall(Self* self, absl::StatusOr<Called> called) {
  ShardState& state = self->state;
  state.running.reset();
  std::exchange(state.running_answer, nullptr)(std::move(called));
  while (!state.running && !state.changes.empty()) {
    const auto change = std::move(state.changes.front());
    state.changes.pop_front();
    change();
  }
  TakeHeldSnapshot(self);
  StartReadyCall(self);
}

void GoOn(Self* self) {
  ShardState& state = self->state;
  const auto done = state.running->Advance(kSliceFloats);
  if (!done.ok()) {
    EndCall(self, done.status());
  } else if (*done) {
    EndCall(self, state.running->Answer());
  } else {
    self->send(self, CallGoesOn{});
  }
}

/// The first call that may see the rows now.
void StartReadyCall(Self* self) {
  ShardState& state = self->state;
  if (state.running) return;
  const auto next = std::find_if(state.calls.begin(), state.calls.end(), [&](const WaitingCall& waiting) { return state.shard->Reached(waiting.call.at); });
  if (next == state.calls.end()) return;
  const WaitingCall waiting = std::move(*next);
  state.calls.erase(next);
  state.running_answer = waiting.answer;
  absl::Status status;
  for (const Assign& assign : waiting.call.assigned) status.Update(state.shard->OnAssign(assign));
  absl::StatusOr<RunningCall> running = status.ok() ? state.shard->StartCall(waiting.call) : status;
  if (!running.ok()) {
    EndCall(self, running.status());
    return;
  }
  state.running.emplace(std::move(*running));
  GoOn(self);
}

void OnCall(Self* self, const Call& call, std::function<void(absl::StatusOr<Called>)> answer) {
  ShardState& state = self->state;
  if (state.calls.size() >= kCallsMax) {
    answer(absl::UnavailableError(absl::StrCat("shard ", state.shard->options().shard, " has ", kCallsMax, " calls that wait")));
    return;
  }
  const uint64_t number = ++state.calls_seen;
  state.calls.push_back({number, call, std::move(answer)});
  if (!state.shard->options().stable_when_applied) self->delayed_send(self, state.options.pull_wait_max, CallExpired{number});
  if (state.changes.empty()) StartReadyCall(self);
}

/// The rows as they are now; a compute job writes them.
absl::Status OnSaveRows(Self* self, const SaveRows& request, std::function<void(absl::StatusOr<RowsSaved>)> answer) {
  ShardState& state = self->state;
  if (state.shard->min_clock() < request.at) {
    return absl::UnavailableError(absl::StrCat("shard ", state.shard->options().shard, " is catching up"));
  }
  if (auto saving = state.saving.find(request.uri); saving != state.saving.end()) {   // its asker did not wait so long
    saving->second.push_back(std::move(answer));
    return absl::OkStatus();
  }
  for (const Assign& assign : request.assigned) TROUPE_RETURN_IF_ERROR(state.shard->OnAssign(assign));
  state.saving[request.uri].push_back(std::move(answer));
  auto sections = std::make_shared<std::vector<SnapshotSection>>();
  RowsSaved saved{.nonzeros = state.shard->nonzeros(), .late = state.shard->late_nonzeros()};
  for (const Table& table : state.shard->tables()) {
    for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
      if (table.Owns(range)) sections->push_back({absl::StrCat("rows/", table.spec().name, "/", range), ExportRange(table, range)});
    }
    saved.rows += table.rows();
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

template <class T>
void Fulfil(caf::typed_response_promise<T>& promise, absl::StatusOr<T> result) {
  if (result.ok()) {
    promise.deliver(std::move(*result));
  } else {
    promise.deliver(ToError(result.status()));
  }
}

void OnPushPull(Self* self, const PushPull& both, caf::typed_response_promise<PushPulled> promise) {
  auto pushed = OnPush(self, both.push);
  if (!pushed.ok()) {
    promise.deliver(ToError(pushed.status()));
  } else if (pushed->outcome != Pushed::Outcome::kApplied) {
    promise.deliver(PushPulled{*pushed, {}});
  } else {
    OnPull(self, both.pull, [promise, pushed = *pushed](absl::StatusOr<Pulled> pulled) mutable {
      if (!pulled.ok()) {
        promise.deliver(ToError(pulled.status()));
      } else {
        promise.deliver(PushPulled{pushed, std::move(*pulled)});
      }
    });
  }
}

template <class T>
caf::result<T> Reply(absl::StatusOr<T> result) {
  if (!result.ok()) return ToError(result.status());
  return std::move(*result);
}

caf::behavior ShardBehavior(Self* self) {
  if (!self->state.options.snapshot_uri.empty()) self->delayed_send(self, self->state.options.snapshot_interval, SnapshotTick{});
  return {
      [self](const Push& push) -> caf::result<Pushed> {
        if (!self->state.running) return Reply(OnPush(self, push));
        auto promise = self->make_response_promise<caf::typed_response_promise<Pushed>>();
        WhenUnread(self->state, [self, push, promise]() mutable { Fulfil(promise, OnPush(self, push)); });
        return promise;
      },
      [self](const Pull& pull) -> caf::result<Pulled> {
        auto promise = self->make_response_promise<caf::typed_response_promise<Pulled>>();
        OnPull(self, pull, [promise](absl::StatusOr<Pulled> pulled) mutable { Fulfil(promise, std::move(pulled)); });
        return promise;
      },
      [self](const PushPull& both) -> caf::result<PushPulled> {
        auto promise = self->make_response_promise<caf::typed_response_promise<PushPulled>>();
        if (!self->state.running) {
          OnPushPull(self, both, promise);
        } else {
          WhenUnread(self->state, [self, both, promise] { OnPushPull(self, both, promise); });
        }
        return promise;
      },
      [self](const Open& open) -> caf::result<Opened> { return Reply(self->state.shard->OnOpen(open)); },
      [self](const Assign& assign) -> caf::result<Assigned> {
        auto promise = self->make_response_promise<caf::typed_response_promise<Assigned>>();
        WhenUnread(self->state, [self, assign, promise]() mutable {
          const absl::Status status = self->state.shard->OnAssign(assign);
          Fulfil(promise, status.ok() ? absl::StatusOr<Assigned>(Assigned{}) : status);
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
      [self](CallGoesOn) { GoOn(self); },
      [self](const CallExpired& expired) {
        std::deque<WaitingCall>& calls = self->state.calls;
        const auto it = std::find_if(calls.begin(), calls.end(), [&](const WaitingCall& waiting) { return waiting.number == expired.number; });
        if (it == calls.end()) return;
        const auto answer = std::move(it->answer);
        calls.erase(it);
        answer(absl::DeadlineExceededError("other writers are behind"));
      },
      [](const Thunk& thunk) { thunk.run(); },
      [self](const SnapshotWritten& written) {
        written.writing->done(written.writing->status);
        self->state.writing = nullptr;
        TakeHeldSnapshot(self);
        StartReadyCall(self);
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

absl::StatusOr<ShardActor> SpawnShard(System& system, const ShardActorOptions& options) {
  TROUPE_TRY(Shard shard, Shard::Make(options.shard));
  for (const std::string& uri : {options.snapshot_uri, options.restore_uri}) {
    if (uri.empty()) continue;
    auto sections = ReadSnapshot(system.storage(), uri);
    if (absl::IsNotFound(sections.status()) && uri == options.snapshot_uri) continue;
    TROUPE_RETURN_IF_ERROR(sections.status());
    if (absl::Status status = shard.Load(*sections); !status.ok()) return WithContext(status, uri);
    break;
  }
  auto held = std::make_shared<Shard>(std::move(shard));   // the actor begins later, on another thread
  auto actor = system.actors().spawn([&system, options, held](Self* self) {
    self->state.system = &system;
    self->state.options = options;
    self->state.shard.emplace(std::move(*held));
    self->state.heard.assign(options.shard.writers, self->clock().now());
    return ShardBehavior(self);
  });
  return caf::actor_cast<ShardActor>(actor);
}

}   // namespace troupe
