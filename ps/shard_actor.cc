#include "ps/shard_actor.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "caf/event_based_actor.hpp"
#include "caf/stateful_actor.hpp"
#include "caf/typed_response_promise.hpp"
#include "ps/catch_up.h"
#include "ps/disk_tier.h"
#include "ps/export.h"
#include "ps/push_log.h"
#include "ps/snapshot_parts.h"
#include "ps/wire.h"

namespace troupe {
namespace {

/// A snapshot that is being written by a compute job.
struct Writing {
  std::vector<Round> clocks;   // what it covers
  uint64_t version = 0;
  bool own = false;   // for the shard's own replacement
  absl::Status status;
  WrittenParts parts;   // of a snapshot in parts
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
struct LogSynced {
  std::vector<Round> clocks;   // what the log has now
  absl::Status status;
};
using PullKey = std::pair<uint32_t, uint32_t>;   // writer, piece
struct PullExpired {
  PullKey key;
  uint64_t number;
};
struct CatchUpExpired {};
struct CallExpired {
  uint64_t number;
};
struct CallGoesOn {};
struct HoldExpired {
  uint64_t cut;
};
struct FreezeExpired {
  uint64_t cut;
};
struct ViewExpired {
  uint64_t cut;
};
struct LeavingWritten {
  uint64_t cut;
  absl::Status status;
};
struct ArrivingRead {
  uint64_t cut;
  absl::StatusOr<std::vector<SnapshotSection>> sections;
  std::function<void(absl::StatusOr<TakenIn>)> answer;
};

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::SnapshotWritten)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::SnapshotTick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::LogSynced)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::PullExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::CatchUpExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::CallExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::CallGoesOn)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::HoldExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::FreezeExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ViewExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::LeavingWritten)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ArrivingRead)

namespace troupe {
namespace {

struct State {
  static inline const char* name = "shard";
  System* system = nullptr;
  ShardActorOptions options;
  std::optional<Shard> shard;
  std::vector<std::chrono::steady_clock::time_point> heard;   // by writer: its last push, or the start
  std::map<PullKey, WaitingPull> pulls;                       // at most one each
  uint64_t pulls_seen = 0;
  std::optional<CatchUp> catch_up;               // pulls and pushes wait
  std::shared_ptr<Writing> writing;              // at most one snapshot at a time
  std::shared_ptr<const SnapshotRecord> parts;   // the last snapshot in parts
  SnapshotTaken parts_taken;                     // what was answered for it, where this life has made it
  std::set<std::string> parts_before;            // URIs of those that it has made before
  uint64_t version_saved = 0;
  bool ticking = false, snapshots_needed = true;
  int failures = 0;               // snapshots in a row that could not be written
  absl::Status disk;              // the last of them, once there were too many, or what ended the log: pushes are answered with it
  std::shared_ptr<PushLog> log;   // null: none
  std::deque<std::function<void(const absl::Status&)>> unsynced;   // answers to what the log does not have yet
  size_t syncing = 0;                                              // how many of them wait for the sync under way
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
  struct HeldPush {
    Push push;
    std::function<void()> take;
    std::function<void(const absl::Status&)> refuse;
  };
  std::deque<HeldPush> beyond;   // pushes beyond the cut that is being made, in the order of their arrival
  struct Freezing {
    uint64_t cut;
    std::chrono::milliseconds lease;
    std::vector<std::function<void(absl::StatusOr<Frozen>)>> answers;
  };
  std::optional<Freezing> freezing;   // a cut that is not reached yet
  struct Leaving {
    uint64_t cut;
    std::string uri;
    caf::actor_clock::time_point until;   // then it is given up, unless the shard has agreed
    bool written = false;
    std::vector<std::function<void(absl::StatusOr<Standing>)>> answers;
  };
  std::optional<Leaving> leaving;                                  // of a move's cut that is reached: what is given away
  std::vector<std::function<void(const absl::Status&)>> unsaved;   // answers to what the next snapshot for the shard's replacement has to have
  struct KeptFrom {
    uint64_t version;   // of the shard: a snapshot of this version or a later one has the rows
    std::function<void(const absl::Status&)> answer;
  };
  std::vector<KeptFrom> unkept;   // answers to assignments
  struct AssignedRows {
    Assign assign;
    uint64_t version;   // that has it
  };
  std::deque<AssignedRows> assigned;   // the last kAssignedMax ones, in their order; as long as nothing else changes
  uint64_t assigned_through = 0;       // the version after the last of them
};
using Self = caf::stateful_actor<State>;

constexpr int kSnapshotFailuresMax = 5;
constexpr size_t kAssignedMax = 64;          // assignments that a repeated one is compared with
constexpr char kLogSection[] = "log";        // of a snapshot: the number of the first file of the log that is not in it
constexpr size_t kCallsMax = 64;             // waiting at once
constexpr uint64_t kSliceFloats = 1 << 18;   // of a call, between two looks into the mailbox
constexpr size_t kBeyondMax = 4096;          // pushes that wait for one cut: it is given up when there are more
constexpr std::chrono::seconds kHoldMax{10}, kLeaseMax{600};

void StartReadyCall(Self* self);
void FreezeIfReached(Self* self);
void GoOnCatchingUp(Self* self);
void SaveForAnswers(Self* self);

/// Does `change` when no call is running: one result is of one state.
void WhenUnread(State& state, std::function<void()> change) {
  if (state.running || !state.changes.empty()) {
    state.changes.push_back(std::move(change));
  } else {
    change();
  }
}

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

/// After a round that was to be the last one for a while.
void Resume(Self* self) {
  self->state.shard->Resume();
  AnswerReadyPulls(self);
}

// --- the log ---

void SyncLog(Self* self) {
  State& state = self->state;
  state.syncing = state.unsynced.size();
  state.system->compute().Submit(Compute::Priority::kStep, [log = state.log, to = caf::actor(self), clocks = state.shard->AppliedClocks()] {
    System::Deliver(to, LogSynced{clocks, log->Sync()});
  });
}

/// Answers when all that the shard has been told is on the disk; at once where there is no log.
void WhenLogged(Self* self, std::function<void(const absl::Status&)> answer) {
  State& state = self->state;
  if (state.log == nullptr) {
    answer(absl::OkStatus());
    return;
  }
  state.unsynced.push_back(std::move(answer));
  if (state.syncing == 0) SyncLog(self);
}

void SnapshotForRestart(Self* self);

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
  if (log != nullptr) view->Add({kLogSection, Block::Copy(&first, sizeof first)});
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

/// For its own replacement.
void SnapshotForRestart(Self* self) {
  State& state = self->state;
  if (state.options.snapshot_uri.empty() || state.writing != nullptr || state.version_saved == state.shard->version()) return;
  StartSnapshot(self, state.options.snapshot_uri, [&state, uri = state.options.snapshot_uri](const absl::Status& status) {
    if (status.ok()) {
      if (uri == state.options.snapshot_uri) state.version_saved = state.writing->version;
      state.shard->SetStable(state.writing->clocks);
      state.failures = 0;
    } else if (++state.failures >= kSnapshotFailuresMax && state.snapshots_needed) {
      state.disk = WithContext(status, absl::StrCat("shard ", state.shard->options().shard, " cannot write its snapshot"));
    }
  });
}

/// Was it made as `request` wants it? Then it must not be made again: others refer to what lies there.
bool IsTaken(const State& state, const TakeSnapshot& request) {
  if (!request.in_parts || state.parts == nullptr || state.parts->uri != request.uri || state.parts_taken.files.empty()) return false;
  if (request.at == 0 || state.parts_taken.clock == request.at) return true;
  return !state.shard->options().consistency.all.in_rounds() && state.parts_taken.clock > request.at;
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

absl::StatusOr<Pushed> OnPush(Self* self, const Push& push) {
  State& state = self->state;
  if (state.log != nullptr) TROUPE_RETURN_IF_ERROR(state.disk);
  const auto told = [&] { return std::pair(state.shard->version(), state.shard->min_clock()); };
  const auto before = told();
  auto pushed = state.shard->OnPush(push);
  if (state.log != nullptr && told() != before) state.log->Append(Codec<Push>::Encode(push));
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

// --- calls ---

void EndCall(Self* self, absl::StatusOr<Called> called) {
  State& state = self->state;
  state.running.reset();
  std::exchange(state.running_answer, nullptr)(std::move(called));
  while (!state.running && !state.changes.empty()) {
    const auto change = std::move(state.changes.front());
    state.changes.pop_front();
    change();
  }
  GoOnCatchingUp(self);
  TakeHeldSnapshot(self);
  StartReadyCall(self);
}

void GoOn(Self* self) {
  State& state = self->state;
  const auto done = state.running->Advance(kSliceFloats);
  if (!done.ok()) {
    EndCall(self, done.status());
  } else if (*done) {
    Called called = state.running->Answer();
    called.epoch = state.shard->map().epoch();
    EndCall(self, std::move(called));
  } else {
    self->send(self, CallGoesOn{});
  }
}

/// The first call that may see the rows now.
void StartReadyCall(Self* self) {
  State& state = self->state;
  if (state.running || state.shard->in_doubt() != 0) return;
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
  State& state = self->state;
  if (state.calls.size() >= kCallsMax) {
    answer(absl::UnavailableError(absl::StrCat("shard ", state.shard->options().shard, " has ", kCallsMax, " calls that wait")));
    return;
  }
  const uint64_t number = ++state.calls_seen;
  state.calls.push_back({number, call, std::move(answer)});
  if (!state.shard->options().stable_when_applied) self->delayed_send(self, state.options.pull_wait_max, CallExpired{number});
  if (state.changes.empty()) StartReadyCall(self);
}

// --- cuts ---

void EndCut(Self* self, uint64_t cut);
void EndLeaving(Self* self, uint64_t cut);
void GiveIfReached(Self* self);

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

// --- after a loss ---

/// Takes what the shard has come back without, as far as it is there in its order; the end of it lets pulls see the rows.
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

/// After a cut's clocks have become known, or it is over.
void TakeBeyond(Self* self) {
  std::deque<State::HeldPush> beyond = std::exchange(self->state.beyond, {});
  for (State::HeldPush& held : beyond) TakeOrKeep(self, held.push, std::move(held.take), std::move(held.refuse));
  GoOnCatchingUp(self);
}

absl::Status Unreached(const State& state) {
  return absl::DeadlineExceededError(absl::StrCat("shard ", state.shard->options().shard, " has not reached the cut: some of its pushes have not come"));
}

/// Whatever has become of it.
void EndCut(Self* self, uint64_t cut) {
  State& state = self->state;
  if (cut != 0 && state.shard->in_doubt() == cut) return;   // Settle ends it
  EndLeaving(self, cut);
  if (state.freezing && state.freezing->cut == cut) {
    const auto freezing = *std::exchange(state.freezing, std::nullopt);
    for (const auto& answer : freezing.answers) answer(Unreached(state));
  }
  WhenUnread(state, [self, cut] {
    self->state.shard->EndCut(cut);
    AnswerReadyPulls(self);
    TakeHeldSnapshot(self);
    TakeBeyond(self);
    if (self->state.changes.empty()) StartReadyCall(self);
  });
}

void FreezeIfReached(Self* self) {
  State& state = self->state;
  GiveIfReached(self);
  if (!state.freezing || !state.shard->MakeView(state.freezing->cut)) return;
  const auto freezing = *std::exchange(state.freezing, std::nullopt);
  self->delayed_send(self, freezing.lease, ViewExpired{freezing.cut});
  for (const auto& answer : freezing.answers) answer(Frozen{});
  EndCut(self, freezing.cut);
}

absl::Status CheckTime(const char* what, std::chrono::milliseconds time, std::chrono::milliseconds max) {
  if (time.count() >= 1 && time <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " is ", time.count(), " ms, expected 1 .. ", max.count()));
}

absl::StatusOr<Prepared> OnPrepare(Self* self, const Prepare& prepare) {
  TROUPE_RETURN_IF_ERROR(CheckTime("hold", prepare.hold, kHoldMax));
  const bool held = self->state.shard->HoldsFor(prepare.cut);
  TROUPE_TRY(Prepared prepared, self->state.shard->OnPrepare(prepare));
  if (!held) self->delayed_send(self, prepare.hold, HoldExpired{prepare.cut});
  return prepared;
}

void OnFreeze(Self* self, const Freeze& freeze, std::function<void(absl::StatusOr<Frozen>)> answer) {
  State& state = self->state;
  if (state.shard->HasView(freeze.cut)) {
    answer(Frozen{});
    return;
  }
  if (state.freezing && state.freezing->cut == freeze.cut) {   // it came twice
    state.freezing->answers.push_back(std::move(answer));
    return;
  }
  absl::Status status = CheckTime("wait", freeze.wait, kHoldMax);
  status.Update(CheckTime("lease", freeze.lease, kLeaseMax));
  if (status.ok()) status = state.shard->OnFreeze(freeze);
  if (!status.ok()) {
    answer(status);
    if (state.shard->HoldsFor(freeze.cut)) EndCut(self, freeze.cut);
    return;
  }
  state.freezing = State::Freezing{freeze.cut, freeze.lease, {std::move(answer)}};
  self->delayed_send(self, freeze.wait, FreezeExpired{freeze.cut});
  AnswerReadyPulls(self);
  TakeHeldSnapshot(self);
  TakeBeyond(self);
  FreezeIfReached(self);
}

// --- moves of ranges ---

void EndLeaving(Self* self, uint64_t cut) {
  State& state = self->state;
  if (!state.leaving || state.leaving->cut != cut) return;
  const auto leaving = *std::exchange(state.leaving, std::nullopt);
  for (const auto& answer : leaving.answers) answer(Unreached(state));
}

void AnswerStanding(Self* self, const absl::Status& status) {
  const auto answers = std::exchange(self->state.leaving->answers, {});
  for (const auto& answer : answers) answer(status.ok() ? absl::StatusOr<Standing>(Standing{}) : status);
}

/// Writes what leaves, once, when the shard stands where it is to stand.
void GiveIfReached(Self* self) {
  State& state = self->state;
  if (!state.leaving || state.leaving->written || !state.shard->StandsAt(state.leaving->cut)) return;
  state.leaving->written = true;
  auto sections = std::make_shared<std::vector<SnapshotSection>>(state.shard->SaveLeaving());
  if (sections->empty()) {
    AnswerStanding(self, absl::OkStatus());
    return;
  }
  state.system->compute().Submit(Compute::Priority::kStep,
                                 [system = state.system, to = caf::actor(self), uri = state.leaving->uri, cut = state.leaving->cut, sections] {
                                   System::Deliver(to, LeavingWritten{cut, WriteSnapshot(system->storage(), uri, *sections, false)});
                                 });
}

void OnLeavingWritten(Self* self, const LeavingWritten& written) {
  State& state = self->state;
  if (!state.leaving || state.leaving->cut != written.cut) return;
  AnswerStanding(self, written.status);
  if (!written.status.ok()) EndCut(self, written.cut);
}

void OnStand(Self* self, const Stand& stand, std::function<void(absl::StatusOr<Standing>)> answer) {
  State& state = self->state;
  if (state.leaving && state.leaving->cut == stand.cut) {   // it came twice
    const bool waits = !state.leaving->written || !state.leaving->answers.empty();
    waits ? state.leaving->answers.push_back(std::move(answer)) : answer(Standing{});
    return;
  }
  absl::Status status = CheckTime("wait", stand.wait, kHoldMax);
  status.Update(CheckTime("hold", stand.hold, kHoldMax));
  if (state.log != nullptr) status.Update(absl::FailedPreconditionError("ranges of a shard that logs its pushes do not move"));
  if (status.ok()) status = state.shard->OnStand(stand);
  if (!status.ok()) {
    answer(status);
    if (state.shard->HoldsFor(stand.cut)) EndCut(self, stand.cut);
    return;
  }
  state.leaving = State::Leaving{.cut = stand.cut, .uri = stand.uri, .until = self->clock().now() + stand.wait + stand.hold, .written = false, .answers = {}};
  state.leaving->answers.push_back(std::move(answer));
  self->delayed_send(self, stand.wait, FreezeExpired{stand.cut});
  self->delayed_send(self, stand.wait + stand.hold, HoldExpired{stand.cut});
  AnswerReadyPulls(self);
  TakeHeldSnapshot(self);
  TakeBeyond(self);
  FreezeIfReached(self);
}

/// A snapshot for the shard's replacement, begun after now, before the answers are given. There is none to be written where there is no replacement.
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
    if (status.ok()) {
      if (uri == state.options.snapshot_uri) state.version_saved = state.writing->version;
      state.shard->SetStable(state.writing->clocks);
    }
    tell(status);
  });
}

/// Those whose rows are in the last snapshot, or could not be written; for the others another one is begun.
void AnswerAssigned(Self* self, const Writing& written) {
  State& state = self->state;
  std::vector<State::KeptFrom> waiting;
  for (State::KeptFrom& each : std::exchange(state.unkept, {})) {
    if (state.version_saved >= each.version) {
      each.answer(absl::OkStatus());
    } else if (written.own && !written.status.ok()) {
      each.answer(absl::UnavailableError(written.status.message()));
    } else {
      waiting.push_back(std::move(each));
    }
  }
  state.unkept.insert(state.unkept.end(), std::make_move_iterator(waiting.begin()), std::make_move_iterator(waiting.end()));
  if (!state.unkept.empty()) SnapshotForRestart(self);
}

bool SameBytes(const Block& a, const Block& b) {
  return a.size() == b.size() && (a.size() == 0 || std::memcmp(a.data(), b.data(), a.size()) == 0);
}
bool ShareRows(const Assign& a, const Assign& b) {
  if (a.table != b.table) return false;
  const std::span<const Key> keys = a.keys.As<Key>(), others = b.keys.As<Key>();
  std::vector<Key> sorted(keys.begin(), keys.end());
  std::sort(sorted.begin(), sorted.end());
  return std::any_of(others.begin(), others.end(), [&](Key key) { return std::binary_search(sorted.begin(), sorted.end(), key); });
}

/// The version that has the rows, where they were assigned before and nothing has changed them since.
std::optional<uint64_t> AssignedIn(State& state, const Assign& assign) {
  if (state.shard->version() != state.assigned_through) state.assigned.clear();
  for (auto it = state.assigned.rbegin(); it != state.assigned.rend(); ++it) {
    if (it->assign.table == assign.table && SameBytes(it->assign.keys, assign.keys) && SameBytes(it->assign.values, assign.values)) return it->version;
    if (ShareRows(it->assign, assign)) return std::nullopt;
  }
  return std::nullopt;
}

/// Nobody holds assigned rows for a replacement, so `answer` is given when a snapshot has them. Asked again it waits for the same one.
void KeepAssigned(Self* self, const Assign& assign, std::function<void(const absl::Status&)> answer) {
  State& state = self->state;
  if (!state.disk.ok()) return answer(state.disk);
  std::optional<uint64_t> version = AssignedIn(state, assign);
  if (!version) {
    if (absl::Status status = state.shard->OnAssign(assign); !status.ok()) return answer(status);
    version = state.assigned_through = state.shard->version();
    state.assigned.push_back({assign, *version});
    if (state.assigned.size() > kAssignedMax) state.assigned.pop_front();
  }
  if (state.options.snapshot_uri.empty() || state.version_saved >= *version) return answer(absl::OkStatus());
  state.unkept.push_back({*version, std::move(answer)});
  SnapshotForRestart(self);   // if none is being written
}

void OnArrivingRead(Self* self, const ArrivingRead& read) {
  State& state = self->state;
  const absl::Status status = read.sections.ok() ? state.shard->OnTakeIn(read.cut, *read.sections) : read.sections.status();
  if (!status.ok()) {
    read.answer(status);
    return;
  }
  state.leaving.reset();
  state.unsaved.push_back([answer = read.answer](const absl::Status& saved) {
    answer(saved.ok() ? absl::StatusOr<TakenIn>(TakenIn{}) : absl::UnavailableError(saved.message()));   // a disk may have room again
  });
  SaveForAnswers(self);
}

void OnTakeIn(Self* self, const TakeIn& request, std::function<void(absl::StatusOr<TakenIn>)> answer) {
  State& state = self->state;
  if (state.shard->in_doubt() != request.cut && !state.shard->StandsAt(request.cut)) {
    answer(absl::UnavailableError(absl::StrCat("shard ", state.shard->options().shard, " does not stand at the cut of the move (any more)")));
    return;
  }
  state.system->compute().Submit(Compute::Priority::kStep, [system = state.system, to = caf::actor(self), request, answer = std::move(answer)] {
    ArrivingRead read{.cut = request.cut, .sections = std::vector<SnapshotSection>(), .answer = answer};
    for (const std::string& uri : request.uris) {
      auto sections = ReadSnapshot(system->storage(), uri);
      if (!sections.ok()) {
        read.sections = sections.status();
        break;
      }
      read.sections->insert(read.sections->end(), std::make_move_iterator(sections->begin()), std::make_move_iterator(sections->end()));
    }
    System::Deliver(to, std::move(read));
  });
}

/// Pulls by the old map are answered that there is another.
void AnswerMovedPulls(Self* self) {
  const std::map<PullKey, WaitingPull> pulls = std::exchange(self->state.pulls, {});
  for (const auto& [key, waiting] : pulls) waiting.answer(self->state.shard->OnPull(waiting.pull));
}

void OnSettle(Self* self, const Settle& settle, std::function<void(absl::StatusOr<Settled>)> answer) {
  State& state = self->state;
  const bool in_doubt = state.shard->in_doubt() != 0 && state.shard->in_doubt() == settle.cut;
  if (absl::Status status = state.shard->OnSettle(settle); !status.ok()) {
    answer(status);
    return;
  }
  if (in_doubt || settle.commit) {
    state.unsaved.push_back(
        [answer](const absl::Status& saved) { answer(saved.ok() ? absl::StatusOr<Settled>(Settled{}) : absl::UnavailableError(saved.message())); });
    SaveForAnswers(self);
  } else {   // it had not agreed: its snapshot says nothing of it
    answer(Settled{});
  }
  if (in_doubt && settle.commit) AnswerMovedPulls(self);
  EndCut(self, settle.cut);
}

/// The rows as they are now; a compute job writes them.
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
          if (self->state.log == nullptr) {
            KeepAssigned(self, assign,
                         [promise](const absl::Status& kept) mutable { Fulfil(promise, kept.ok() ? absl::StatusOr<Assigned>(Assigned{}) : kept); });
            return;
          }
          const absl::Status status = self->state.disk.ok() ? self->state.shard->OnAssign(assign) : self->state.disk;
          if (status.ok()) self->state.log->Append(Codec<Assign>::Encode(assign));
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
      [self](const HoldExpired& expired) {
        const auto& [freezing, leaving] = std::tie(self->state.freezing, self->state.leaving);   // they have limits of their own
        if (freezing && freezing->cut == expired.cut) return;
        if (leaving && leaving->cut == expired.cut && self->clock().now() < leaving->until) return;
        if (self->state.shard->HoldsFor(expired.cut)) EndCut(self, expired.cut);
      },
      [self](const FreezeExpired& expired) {
        const State& state = self->state;
        const bool gives = state.leaving && state.leaving->cut == expired.cut && !state.leaving->written;
        if (gives || (state.freezing && state.freezing->cut == expired.cut)) EndCut(self, expired.cut);
      },
      [self](const ViewExpired& expired) { self->state.shard->DropView(expired.cut); },
      [self](CallGoesOn) { GoOn(self); },
      [self](CatchUpExpired) {
        while (const CatchUp::Take take = self->state.catch_up ? self->state.catch_up->TakeFirst() : nullptr) take();
        self->state.catch_up.reset();
        AnswerReadyPulls(self);
      },
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
        AnswerAssigned(self, *written.writing);
        SaveForAnswers(self);
        TakeHeldSnapshot(self);
        StartReadyCall(self);
      },
      [self](const LogSynced& synced) { OnSynced(self, synced); },
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

std::string LogName(const ShardActorOptions& options) {
  return absl::StrCat("shard-", options.shard.shard);
}

/// Everything that the log knows beyond the snapshot, which is there from the first day: it also says what the tables are.
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

}   // namespace

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
    TROUPE_TRY(lock, PushLog::Lock(options.log_folder, LogName(options), options.log_patience));
  }
  std::shared_ptr<const SnapshotRecord> parts;
  if (options.state != nullptr) TROUPE_RETURN_IF_ERROR(shard.Load(*options.state));
  for (const std::string& uri : {options.snapshot_uri, options.restore_uri}) {
    if (uri.empty() || options.state != nullptr) continue;
    auto sections = ReadPlacedSnapshot(system.storage(), uri);
    if (absl::IsNotFound(sections.status()) && uri == options.snapshot_uri) continue;
    TROUPE_RETURN_IF_ERROR(sections.status());
    if (absl::Status status = shard.Load(*sections); !status.ok()) return WithContext(status, uri);
    if (uri == options.restore_uri) {
      TROUPE_TRY(SnapshotRecord record, RecordOf(system.storage(), uri, shard.tables()));
      parts = std::make_shared<const SnapshotRecord>(std::move(record));
    }
    for (const SnapshotSection& section : *sections) {
      if (section.name == kLogSection && section.bytes.size() == sizeof first_of_log) std::memcpy(&first_of_log, section.bytes.data(), sizeof first_of_log);
    }
    break;
  }
  std::shared_ptr<PushLog> log;
  if (!options.log_folder.empty()) {
    TROUPE_TRY(log, OpenLog(system.storage(), options, std::move(lock), first_of_log, shard));
  }
  auto held = std::make_shared<Shard>(std::move(shard));   // the actor begins later, on another thread
  auto actor = system.actors().spawn([&system, options, held, log, parts](Self* self) {
    self->state.system = &system;
    self->state.options = options;
    self->state.options.state = nullptr;   // it is loaded
    self->state.shard.emplace(std::move(*held));
    self->state.log = log;
    self->state.parts = parts;
    self->state.heard.assign(options.shard.writers, self->clock().now());
    return ShardBehavior(self);
  });
  return caf::actor_cast<ShardActor>(actor);
}

}   // namespace troupe
