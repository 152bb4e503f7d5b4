// Calls of functions at a shard: one at a time, a slice of rows between two looks into the mailbox; what would change the rows waits.
#include "ps/shard_actor/parts.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace troupe::shard_actor {
namespace {

constexpr size_t kCallsMax = 64;             // waiting at once
constexpr uint64_t kSliceFloats = 1 << 18;   // of a call, between two looks into the mailbox

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

}   // namespace

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

void OnCallExpired(Self* self, const CallExpired& expired) {
  std::deque<WaitingCall>& calls = self->state.calls;
  const auto it = std::find_if(calls.begin(), calls.end(), [&](const WaitingCall& waiting) { return waiting.number == expired.number; });
  if (it == calls.end()) return;
  const auto answer = std::move(it->answer);
  calls.erase(it);
  answer(absl::DeadlineExceededError("other writers are behind"));
}

}   // namespace troupe::shard_actor
