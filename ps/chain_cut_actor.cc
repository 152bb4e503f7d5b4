#include "ps/chain_cut_actor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/system.h"

namespace troupe {
namespace {

constexpr size_t kHeldMax = 4096;   // pushes: a cut is given up when there are more

absl::Status Unreached() {
  return absl::DeadlineExceededError("the cut was not reached: some of its pushes have not come");
}

}   // namespace

void ChainCut::After(std::chrono::milliseconds time, std::function<void()> what) {
  self_->delayed_send(self_, time, Thunk{std::move(what)});
}

void ChainCut::OnPrepare(const Prepare& prepare, Answer<Prepared> answer) {
  if (absl::Status status = CheckTime("hold", prepare.hold, kHoldMax); !status.ok()) return answer(status);
  if (prepare.cut == 0) return answer(absl::InvalidArgumentError("cut is 0, expected a number"));
  if (gate_.holds(prepare.cut)) return answer(Prepared{Block::Copy(std::span<const Round>(gate_.clocks())), 0});
  if (asking_ == prepare.cut) return preparing_.push_back(std::move(answer));
  if (asking_ != 0 || gate_.cut() != 0 || views_under_way_ > 0) return answer(absl::UnavailableError("another cut is being made"));
  if (views_.size() + 1 >= Shard::kViewsMax)   // others may count more: leases end by each member's own clock
    return answer(absl::UnavailableError(absl::StrCat("there are ", views_.size(), " views already")));
  asking_ = prepare.cut;
  preparing_.push_back(std::move(answer));
  After(prepare.hold, [this, cut = prepare.cut] {
    if (!freezing_ || freezing_->freeze.cut != cut) End(cut);   // that has a limit of its own
  });
  chain_.clocks([this, cut = prepare.cut](absl::StatusOr<ShardClocks> clocks) { OnClocks(cut, std::move(clocks)); });
}

void ChainCut::OnClocks(uint64_t cut, absl::StatusOr<ShardClocks> clocks) {
  if (asking_ != cut) return;   // it has been given up
  asking_ = 0;
  absl::Status status = clocks.status();
  if (status.ok()) status = gate_.Hold(cut, clocks->begun);
  if (status.ok()) applied_ = std::move(clocks->applied);
  for (const auto& answer : std::exchange(preparing_, {}))
    status.ok() ? answer(Prepared{Block::Copy(std::span<const Round>(gate_.clocks())), 0}) : answer(status);
  TakeHeld();
}

void ChainCut::OnFreeze(const Freeze& freeze, Answer<Frozen> answer) {
  if (freezing_ && freezing_->freeze.cut == freeze.cut) return freezing_->answers.push_back(std::move(answer));
  absl::Status status = CheckTime("wait", freeze.wait, kHoldMax);
  status.Update(CheckTime("lease", freeze.lease, kLeaseMax));
  if (status.ok() && !freeze.clocks.IsArrayOf<Round>()) status = absl::InvalidArgumentError("freeze: clocks are cut or not aligned");
  if (status.ok()) {
    const std::span<const Round> clocks = freeze.clocks.As<Round>();
    status = gate_.Aim(freeze.cut, {clocks.begin(), clocks.end()});
  }
  if (!status.ok()) {
    answer(status);
    return End(freeze.cut);
  }
  freezing_ = Freezing{freeze, {std::move(answer)}};
  After(freeze.wait, [this, cut = freeze.cut] {
    if (freezing_ && freezing_->freeze.cut == cut) End(cut);
  });
  TakeHeld();
  FreezeIfReached();
}

void ChainCut::OnView(const Freeze& freeze) {
  views_.insert(freeze.cut);
  After(freeze.lease, [this, cut = freeze.cut] { views_.erase(cut); });
}

void ChainCut::FreezeIfReached() {
  if (!freezing_ || !gate_.Reached(applied_)) return;
  auto [freeze, answers] = *std::exchange(freezing_, std::nullopt);
  OnView(freeze);
  ++views_under_way_;
  chain_.keep_view(freeze, [this, answers = std::move(answers)](const absl::StatusOr<Frozen>& frozen) {
    --views_under_way_;
    for (const auto& answer : answers) answer(frozen);
  });
  End(freeze.cut);   // what was held back comes behind the view
}

void ChainCut::End(uint64_t cut) {
  if (asking_ == cut && cut != 0) {
    asking_ = 0;
    for (const auto& answer : std::exchange(preparing_, {})) answer(absl::UnavailableError("the cut is over"));
  }
  gate_.End(cut);
  if (freezing_ && freezing_->freeze.cut == cut) AnswerFreezing(Unreached());
  TakeHeld();
}

void ChainCut::AnswerFreezing(const absl::Status& why) {
  const Freezing freezing = *std::exchange(freezing_, std::nullopt);
  for (const auto& answer : freezing.answers) answer(why);
}

void ChainCut::Leave(const absl::Status& why) {
  for (const auto& answer : std::exchange(preparing_, {})) answer(why);
  if (freezing_) AnswerFreezing(why);
  asking_ = 0;
  gate_ = CutGate();
  for (const Held& held : std::exchange(held_, {})) held.refuse(why);
}

bool ChainCut::Passes(const Push& push) const {
  if (asking_ != 0) return false;
  const auto writer = static_cast<uint32_t>(push.writer);
  return gate_.cut() == 0 || writer >= gate_.clocks().size() || gate_.Passes(writer, push.round);
}

void ChainCut::Keep(const Push& push, std::function<void()> take, std::function<void(const absl::Status&)> refuse) {
  held_.push_back({push, std::move(take), std::move(refuse)});
  if (held_.size() > kHeldMax) End(asking_ != 0 ? asking_ : gate_.cut());
}

/// In the order in which they came; those that do not pass stay.
void ChainCut::TakeHeld() {
  std::deque<Held> stay;
  for (Held& held : std::exchange(held_, {})) Passes(held.push) ? held.take() : stay.push_back(std::move(held));
  held_.insert(held_.begin(), std::make_move_iterator(stay.begin()), std::make_move_iterator(stay.end()));
}

void ChainCut::OnPushed(WriterId writer, Round clock) {
  if (gate_.cut() == 0 || static_cast<uint32_t>(writer) >= applied_.size()) return;
  Round& applied = applied_[static_cast<uint32_t>(writer)];
  applied = std::max(applied, clock);
  FreezeIfReached();
}

}   // namespace troupe
