// Ranges that move between shards, at a cut: what leaves is written when the shard stands there, what comes is read, and both are kept before anybody is told.
#include "ps/shard_actor/parts.h"

#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"

namespace troupe::shard_actor {
namespace {

void AnswerStanding(Self* self, const absl::Status& status) {
  const auto answers = std::exchange(self->state.leaving->answers, {});
  for (const auto& answer : answers) answer(status.ok() ? absl::StatusOr<Standing>(Standing{}) : status);
}

/// Pulls by the old map are answered that there is another.
void AnswerMovedPulls(Self* self) {
  const std::map<PullKey, WaitingPull> pulls = std::exchange(self->state.pulls, {});
  for (const auto& [key, waiting] : pulls) waiting.answer(self->state.shard->OnPull(waiting.pull));
}

}   // namespace

void EndLeaving(Self* self, uint64_t cut) {
  State& state = self->state;
  if (!state.leaving || state.leaving->cut != cut) return;
  const auto leaving = *std::exchange(state.leaving, std::nullopt);
  for (const auto& answer : leaving.answers) answer(Unreached(state));
}

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

}   // namespace troupe::shard_actor
