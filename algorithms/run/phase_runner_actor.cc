#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/caf_status.h"
#include "actors/status.h"
#include "actors/text.h"
#include "algorithms/run/phase_runner.h"
#include "caf/event_based_actor.hpp"
#include "caf/sec.hpp"

namespace troupe {
namespace {

using Time = SplitDealer::Time;

constexpr std::chrono::milliseconds kLook{100}, kStoodStill{1'000};
/// A worker that is done is asked on, so that it notices what a shard has lost: so often, and when only the phase's end is waited for.
constexpr std::chrono::milliseconds kHoldWait{200}, kEndWait{20};
/// One that could not answer is asked again: soon, and when it has been away for a second not quite so soon.
constexpr std::chrono::milliseconds kRetry{20}, kRetryAway{200}, kAway{1'000};
/// One that says nothing at all for this long is given up: longer than any request's time-out of its own.
constexpr std::chrono::milliseconds kSilence{120'000};

struct Asked {
  uint64_t share = 0;   // the number of the share that it was told last
  uint32_t open = 0;    // requests
  bool retrying = false;
  std::optional<Time> away_since;
  absl::Status error;
};

class PhaseAsker : public std::enable_shared_from_this<PhaseAsker> {
 public:
  PhaseAsker(std::vector<WorkerActor> workers, const PhaseRunnerOptions& options, std::shared_ptr<SplitDealer> dealer, RunPhase message, PhaseEvents events)
      : workers_(std::move(workers)), options_(options), dealer_(std::move(dealer)), message_(std::move(message)), events_(std::move(events)) {
    asked_.resize(workers_.size());
  }

  void Begin(caf::event_based_actor* self, bool again) {
    self_ = self;
    again ? dealer_->BeginAgain(Now()) : dealer_->Begin(message_.current.phase.pushes, Now());
    TellNotes();
    for (size_t worker = 0; worker < workers_.size(); ++worker) Ask(worker);
    Look();
  }

 private:
  Time Now() const { return self_->clock().now(); }

  void Ask(size_t worker) {
    Asked& asked = asked_[worker];
    const auto index = static_cast<uint32_t>(worker);
    RunPhase ask = message_;
    ask.share = dealer_->ShareOf(index);
    ask.share_number = asked.share = dealer_->NumberOf(index);
    ask.hold = dealer_->DoneOf(index);
    if (ask.hold) ask.wait = dealer_->done() ? kEndWait : kHoldWait;
    ++asked.open;
    const std::weak_ptr<PhaseAsker> weak = weak_from_this();   // whoever stops the actor is rid of the phase
    self_->request(workers_[worker], kSilence, std::move(ask))
        .then(
            [weak, worker](const PhaseReport& report) {
              if (const auto phase = weak.lock()) phase->OnReport(worker, report);
            },
            [weak, worker](const caf::error& error) {
              if (const auto phase = weak.lock()) phase->OnError(worker, error);
            });
  }

  void OnReport(size_t worker, const PhaseReport& report) {
    if (over_) return;
    Asked& asked = asked_[worker];
    --asked.open;
    asked.away_since.reset();
    if (report.run == message_.run) dealer_->OnReport(static_cast<uint32_t>(worker), report, Now());
    events_.progress(*dealer_);
    if (dealer_->done() && events_.may_end()) {
      Finish(dealer_->reports());
      return;
    }
    TellNotes();
    AskChanged();
    if (asked.open == 0) Ask(worker);
  }

  /// Tells whose share has changed; at most one request more than it has.
  void AskChanged() {
    for (size_t worker = 0; worker < workers_.size(); ++worker) {
      const Asked& asked = asked_[worker];
      if (asked.share != dealer_->NumberOf(static_cast<uint32_t>(worker)) && asked.open < 2 && !asked.retrying) Ask(worker);
    }
  }

  void OnError(size_t worker, const caf::error& error) {
    if (over_) return;
    Asked& asked = asked_[worker];
    --asked.open;
    const absl::Status status = FromError(error);
    if (error != caf::sec::request_timeout && !IsRetryable(status)) {
      Finish(status);
      return;
    }
    if (asked.open > 0 || asked.retrying) return;   // another one is under way
    dealer_->OnError(static_cast<uint32_t>(worker), Now());
    if (!asked.away_since) asked.away_since = Now();
    asked.error = status;
    asked.retrying = true;
    self_->delayed_send(self_, Now() - *asked.away_since > kAway ? kRetryAway : kRetry, Thunk{[weak = weak_from_this(), worker] {
                          const auto phase = weak.lock();
                          if (phase == nullptr || phase->over_) return;
                          phase->asked_[worker].retrying = false;
                          phase->Ask(worker);
                        }});
  }

  void Look() {
    const Time now = Now();
    if (looked_ && now - *looked_ > kStoodStill) {
      dealer_->Excuse(now);
      for (Asked& asked : asked_) {
        if (asked.away_since) asked.away_since = now;
      }
    }
    looked_ = now;
    const std::vector<uint32_t> leaving = events_.leaving();
    for (uint32_t worker = 0; worker < workers_.size(); ++worker) dealer_->SetLeaving(worker, std::ranges::binary_search(leaving, worker));
    dealer_->Look(now);
    TellNotes();
    AskChanged();
    for (const uint32_t worker : leaving) {
      if (dealer_->MayLeave(worker, now)) events_.left(worker);
    }
    for (const SplitReport& report : dealer_->reports()) {
      const Asked& asked = asked_[dealer_->WorkerOf(report.split)];
      if (asked.away_since && Now() - *asked.away_since > options_.patience) {
        Finish(WithContext(asked.error, absl::StrCat("worker ", dealer_->WorkerOf(report.split), " does not answer")));
        return;
      }
    }
    self_->delayed_send(self_, kLook, Thunk{[weak = weak_from_this()] {
                          const auto phase = weak.lock();
                          if (phase != nullptr && !phase->over_) phase->Look();
                        }});
  }

  void TellNotes() {
    for (const std::string& note : dealer_->TakeNotes()) {
      if (options_.log) options_.log(note);
    }
  }

  void Finish(absl::StatusOr<std::vector<SplitReport>> result) {
    if (std::exchange(over_, true)) return;
    events_.done(std::move(result));
    self_->quit();
  }

  const std::vector<WorkerActor> workers_;
  const PhaseRunnerOptions options_;
  const std::shared_ptr<SplitDealer> dealer_;
  const RunPhase message_;
  const PhaseEvents events_;
  caf::event_based_actor* self_ = nullptr;
  std::vector<Asked> asked_;
  std::optional<Time> looked_;
  bool over_ = false;
};

}   // namespace

PhaseRunner::PhaseRunner(System& system, std::vector<WorkerActor> workers, PhaseRunnerOptions options)
    : system_(system),
      workers_(std::move(workers)),
      options_(std::move(options)),
      dealer_(std::make_shared<SplitDealer>(options_.dealer, system.actors().clock().now())) {}

caf::actor PhaseRunner::Run(RunPhase message, bool again, PhaseEvents events) {
  auto phase = std::make_shared<PhaseAsker>(workers_, options_, dealer_, std::move(message), std::move(events));
  return system_.actors().spawn<caf::hidden>([phase, again](caf::event_based_actor* self) -> caf::behavior {
    phase->Begin(self, again);
    return {[phase](const Thunk& thunk) { thunk.run(); }};   // holds the phase as long as the actor lives
  });
}

}   // namespace troupe
