// What a member of a chain is told to change, by clients where it is the first, else by the member before: to its shard, to the next member, and acknowledged
// when the last one has it. Cuts are changes too.
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "ps/chain/wire.h"
#include "ps/chain_member_actor/member.h"

namespace troupe::chain_member {

namespace {

constexpr size_t kEarlyMax = 4096;   // changes that came before others

}   // namespace

void Member::WhenAcknowledged(uint64_t number, Told told) {
  if (left_) {
    told(Unavailable("it has left the chain"));
  } else if (Place() < 0) {   // joins
    told(absl::OkStatus());
  } else if (!MayServe()) {
    told(NoLease());
  } else if (!log_.failed().ok()) {
    told(log_.failed());
  } else if ((AnswersAtOnce() && number <= Logged()) || number <= acknowledged_) {
    told(absl::OkStatus());
  } else {
    waiting_.emplace(number, std::move(told));
  }
}

void Member::Acknowledge(uint64_t through) {
  acknowledged_ = std::max(acknowledged_, through);
  while (!waiting_.empty() && waiting_.begin()->first <= acknowledged_) {
    const Told told = std::move(waiting_.begin()->second);
    waiting_.erase(waiting_.begin());
    told(MayServe() ? absl::OkStatus() : NoLease());
  }
}

void Member::RefuseAll(const absl::Status& why) {
  for (const auto& [number, told] : std::exchange(waiting_, {})) told(why);
}

template <class Answer>
void Member::SayStable(Answer& answer) const {
  if (view_.members.size() > 1 || log_.on()) {
    answer.stable = answer.clock;
  } else if (next_.active()) {
    answer.stable = 0;
  }
}

template <class Reply, class Message, class Has, class Refused>
void Member::TellShard(uint64_t number, const Message& message, Has has, Refused refused) {
  log_.Tell(number);
  self_->request(caf::actor_cast<caf::actor>(shard_), caf::infinite, message)
      .then(
          [this, number, has, shard = log_.shard()](Reply& reply) mutable {
            log_.OnTold(number, shard);
            has(reply);
            FollowLog();
          },
          [this, number, refused, shard = log_.shard(), log = log_.epoch()](const caf::error& error) mutable {
            absl::Status status = FromError(error);
            const bool of_disk = OfThisHost(status) || absl::IsInternal(status);
            const bool of_log = of_disk && log_.kept() && log == log_.epoch();
            if (of_disk && log != 0 && !of_log) status = absl::UnavailableError(status.message());   // of one that is not kept any more: others have it
            of_log ? FailLog(status) : log_.OnTold(number, shard);                                   // what is not in the log is not acknowledged
            refused(status);
            FollowLog();
          });
}

template <class Reply, class Message, class Answer, class Applied>
void Member::Submit(const Change& change, const Message& message, Answer answer, Applied applied) {
  const uint64_t number = ++last_;
  next_.Add(number, change);
  TellShard<Reply>(
      number, message,
      [this, answer, applied, number](Reply& reply) mutable {
        applied(reply);
        if (AnswersAtOnce() && number <= Logged()) {   // the common case of a single member, without a copy
          answer(MayServe() ? absl::StatusOr<Reply>(std::move(reply)) : NoLease());
          return;
        }
        WhenAcknowledged(number,
                         [answer, reply](const absl::Status& status) mutable { answer(status.ok() ? absl::StatusOr<Reply>(std::move(reply)) : status); });
      },
      [this, answer, number](const absl::Status& refused) mutable {   // a refusal is as much the state's as an answer
        if (OfThisHost(refused) && view_.members.size() > 1) {        // the next member has it
          answer(absl::UnavailableError(refused.message()));
          return Fail(std::string(refused.message()));
        }
        WhenAcknowledged(number, [answer, refused](const absl::Status& status) mutable { answer(status.ok() ? refused : status); });
      });
}

template <class Reply, class Message, class Answer>
void Member::Submit(const Change& change, const Message& message, Answer answer) {
  Submit<Reply>(change, message, std::move(answer), [](const Reply&) {});
}

template <class Reply, class Take>
void Member::WhenItPasses(const Push& push, caf::typed_response_promise<Reply> promise, Take take) {
  if (cut_.Passes(push)) return take(push);
  cut_.Keep(
      push,
      [this, push, promise, take = std::move(take)]() mutable {
        const absl::Status status = MayChange();
        status.ok() ? take(push) : void(promise.deliver(ToError(status)));
      },
      [promise](const absl::Status& why) mutable { promise.deliver(ToError(why)); });
}

void Member::SubmitView(const Freeze& freeze, ChainCut::Answer<Frozen> answer) {
  Submit<Frozen>(freeze, KeepView{freeze.cut, freeze.clocks, freeze.lease}, std::move(answer));
}

caf::result<Pushed> Member::OnPush(const Push& push) {
  if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
  if (push.keys_kept) return Pushed{.outcome = Pushed::Outcome::kNeedKeys};   // other members would not know them
  auto promise = self_->make_response_promise<caf::typed_response_promise<Pushed>>();
  WhenItPasses(push, promise, [this, writer = push.writer, promise](const Push& passed) {
    Submit<Pushed>(
        passed, passed,
        [this, writer, promise](absl::StatusOr<Pushed> pushed) mutable {
          if (pushed.ok()) SayStable(*pushed);
          Deliver(promise, std::move(pushed));
        },
        [this, writer](const Pushed& pushed) { cut_.OnPushed(writer, pushed.clock); });
  });
  return promise;
}

caf::result<PushPulled> Member::OnPushPull(const PushPull& both) {
  if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
  if (view_.members.size() > 1) return ToError(Unavailable("it is not read here"));
  if (both.push.keys_kept) return PushPulled{.pushed = {.outcome = Pushed::Outcome::kNeedKeys}, .pulled = {}};
  auto promise = self_->make_response_promise<caf::typed_response_promise<PushPulled>>();
  WhenItPasses(both.push, promise, [this, pull = both.pull, promise](const Push& passed) mutable {
    if (view_.members.size() > 1) return void(promise.deliver(ToError(Unavailable("it is not read here"))));
    Submit<PushPulled>(
        passed, PushPull{passed, pull},
        [this, promise](absl::StatusOr<PushPulled> answer) mutable {
          if (answer.ok()) SayStable(answer->pushed);
          Deliver(promise, std::move(answer));
        },
        [this, writer = passed.writer](const PushPulled& answer) { cut_.OnPushed(writer, answer.pushed.clock); });
  });
  return promise;
}

caf::result<Assigned> Member::OnAssign(const Assign& assign) {
  if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
  auto promise = self_->make_response_promise<caf::typed_response_promise<Assigned>>();
  Submit<Assigned>(assign, assign, [promise](absl::StatusOr<Assigned> assigned) mutable { Deliver(promise, std::move(assigned)); });
  return promise;
}

caf::result<Opened> Member::OnOpen(const Open& open) {
  if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
  auto promise = self_->make_response_promise<caf::typed_response_promise<Opened>>();
  self_->request(shard_, caf::infinite, open)
      .then(
          [this, promise, number = last_](const Opened& opened) mutable {
            WhenAcknowledged(number, [this, promise, opened = Opened(opened)](const absl::Status& status) mutable {
              SayStable(opened);
              status.ok() ? promise.deliver(opened) : promise.deliver(ToError(status));
            });
          },
          [promise](const caf::error& error) mutable { promise.deliver(error); });
  return promise;
}

caf::result<Prepared> Member::OnPrepare(const Prepare& prepare) {
  if (by_rounds_) return Read<Prepared>(prepare);
  if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
  auto promise = self_->make_response_promise<caf::typed_response_promise<Prepared>>();
  cut_.OnPrepare(prepare, [promise](absl::StatusOr<Prepared> prepared) mutable { Deliver(promise, std::move(prepared)); });
  return promise;
}

caf::result<Frozen> Member::OnFreeze(const Freeze& freeze) {
  if (by_rounds_) return Read<Frozen>(freeze);
  if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
  auto promise = self_->make_response_promise<caf::typed_response_promise<Frozen>>();
  cut_.OnFreeze(freeze, [promise](absl::StatusOr<Frozen> frozen) mutable { Deliver(promise, std::move(frozen)); });
  return promise;
}

caf::result<Released> Member::OnRelease(const Release& release) {
  if (by_rounds_) return Read<Released>(release);
  if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
  cut_.End(release.cut);
  if (!cut_.TakeView(release.cut)) return Released{};
  auto promise = self_->make_response_promise<caf::typed_response_promise<Released>>();
  Submit<Released>(release, release, [promise](absl::StatusOr<Released> released) mutable { Deliver(promise, std::move(released)); });
  return promise;
}

caf::result<Forwarded> Member::OnForward(const Forward& forward) {
  const bool joins = Place() < 0 && !left_ && shard_ && forward.epoch == taken_.view;
  if (!joins && (Place() <= 0 || forward.epoch != view_.epoch)) return ToError(Unavailable("it is not next in this chain"));
  if (!shard_) return ToError(Unavailable("it has no state yet"));
  auto promise = self_->make_response_promise<caf::typed_response_promise<Forwarded>>();
  if (forward.number > last_ + kEarlyMax) {
    promise.deliver(ToError(Unavailable("it is far behind")));
  } else if (forward.number > last_ + 1) {
    Early& early = early_[forward.number];
    early.change = forward.change;
    early.promises.push_back(promise);
  } else {
    if (forward.number == last_ + 1) TakeForwarded(forward.change);
    AnswerForward(forward.number, promise);
    for (auto next = early_.begin(); next != early_.end() && next->first <= last_ + 1; next = early_.erase(next)) {
      if (next->first == last_ + 1) TakeForwarded(next->second.change);
      for (auto& waiting : next->second.promises) AnswerForward(next->first, waiting);
    }
  }
  return promise;
}

void Member::TakeForwarded(const Change& change) {
  next_.Add(++last_, change);
  if (const auto* compare = std::get_if<CompareRange>(&change)) return Compare(*compare);
  const uint64_t number = last_;
  // The first member's answer counts.
  const auto refused = [this](const absl::Status& status) {
    if (OfThisHost(status) || absl::IsInternal(status)) Fail(std::string(status.message()));
  };
  if (const auto* push = std::get_if<Push>(&change)) {
    TellShard<Pushed>(
        number, *push, [](const Pushed&) {}, refused);
  } else if (const auto* assign = std::get_if<Assign>(&change)) {
    TellShard<Assigned>(
        number, *assign, [](const Assigned&) {}, refused);
  } else if (const auto* freeze = std::get_if<Freeze>(&change)) {
    if (!whole_) return;   // nobody is to read what is not all there
    cut_.OnView(*freeze);
    TellShard<Frozen>(
        number, KeepView{freeze->cut, freeze->clocks, freeze->lease}, [](const Frozen&) {}, refused);
  } else if (const auto* release = std::get_if<Release>(&change)) {
    cut_.TakeView(release->cut);
    TellShard<Released>(
        number, *release, [](const Released&) {}, refused);
  }
}

void Member::AnswerForward(uint64_t number, caf::typed_response_promise<Forwarded> promise) {
  WhenAcknowledged(
      number, [promise, number](const absl::Status& status) mutable { status.ok() ? promise.deliver(Forwarded{number}) : promise.deliver(ToError(status)); });
}

}   // namespace troupe::chain_member
