// Runs phases on the workers of a job: asks each for its share until all splits are done, and deals them anew where workers come, are lost or fall behind
// (split_dealer.h). The asking happens in an actor of its own for each phase.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/system.h"
#include "algorithms/run/messages.h"
#include "algorithms/run/split_dealer.h"

namespace troupe {

struct PhaseRunnerOptions {
  SplitDealerOptions dealer;
  /// Where nobody answers who could have a split, the last error is final after this time.
  std::chrono::milliseconds patience{120'000};
  /// What was decided about splits. May be empty.
  std::function<void(const std::string&)> log = nullptr;
};

/// Called in the phase's actor.
struct PhaseEvents {
  /// After each answer of a worker: what is known of the splits, and who has them.
  std::function<void(const SplitDealer&)> progress;
  /// All splits are done: is the phase? Workers are asked on until it is.
  std::function<bool()> may_end;
  /// Workers whose nodes are drained, rising; asked ten times a second.
  std::function<std::vector<uint32_t>()> leaving;
  /// One of them has nothing left to do, and may end.
  std::function<void(uint32_t)> left;
  /// Called once: the reports by split, or the first final error.
  std::function<void(absl::StatusOr<std::vector<SplitReport>>)> done;
};

class PhaseRunner {
 public:
  PhaseRunner(System& system, std::vector<WorkerActor> workers, PhaseRunnerOptions options);

  /// One phase at a time. `again`: it has been run and done before. Returns at once, with what is to be stopped by whoever does not want its end any more.
  caf::actor Run(RunPhase message, bool again, PhaseEvents events);

  /// Splits that were let go by one worker for another so far, and that were taken from lost or stuck ones.
  uint64_t moved() const { return dealer_->moved(); }
  uint64_t taken() const { return dealer_->taken(); }

 private:
  System& system_;
  const std::vector<WorkerActor> workers_;
  const PhaseRunnerOptions options_;
  std::shared_ptr<SplitDealer> dealer_;   // of the phase's actor, while there is one
};

}   // namespace troupe
