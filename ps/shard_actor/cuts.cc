// Cuts through a shard: pushes beyond the cut wait until it is reached, and a view of the rows at it is read while the shard goes on.
#include "ps/shard_actor/parts.h"

#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"

namespace troupe::shard_actor {

absl::Status Unreached(const State& state) {
  return absl::DeadlineExceededError(absl::StrCat("shard ", state.shard->options().shard, " has not reached the cut: some of its pushes have not come"));
}

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

absl::Status OnKeepView(Self* self, const KeepView& keep) {
  TROUPE_RETURN_IF_ERROR(CheckTime("lease", keep.lease, kLeaseMax));
  const bool there = self->state.shard->HasView(keep.cut);
  TROUPE_RETURN_IF_ERROR(self->state.shard->KeepView(keep.cut, keep.clocks));
  if (!there) self->delayed_send(self, keep.lease, ViewExpired{keep.cut});
  return absl::OkStatus();
}

void OnHoldExpired(Self* self, const HoldExpired& expired) {
  const auto& [freezing, leaving] = std::tie(self->state.freezing, self->state.leaving);   // they have limits of their own
  if (freezing && freezing->cut == expired.cut) return;
  if (leaving && leaving->cut == expired.cut && self->clock().now() < leaving->until) return;
  if (self->state.shard->HoldsFor(expired.cut)) EndCut(self, expired.cut);
}

void OnFreezeExpired(Self* self, const FreezeExpired& expired) {
  const State& state = self->state;
  const bool gives = state.leaving && state.leaving->cut == expired.cut && !state.leaving->written;
  if (gives || (state.freezing && state.freezing->cut == expired.cut)) EndCut(self, expired.cut);
}

}   // namespace troupe::shard_actor
