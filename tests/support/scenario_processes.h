// A scenario on real processes: a head and nodes on this machine, a training job on them, and its faults by signals, relays, limits of files and clocks of our
// own. What it cannot do is named (WhyNot).
#pragma once

#include <cstdint>
#include <memory>

#include "tests/support/scenario.h"
#include "tests/support/scenario_simulation.h"

namespace troupe::testing {

/// The cluster of a scenario, for several seeds one after the other. Takes TROUPE_PROGRAM.
class ScenarioCluster {
 public:
  /// Starts head and nodes, and runs the job undisturbed: in one process, which is the oracle, and there, which says how long it takes.
  /// What goes wrong with that is an error of Boost.Test. `scenario` must outlive it.
  explicit ScenarioCluster(const Scenario& scenario);
  ~ScenarioCluster();
  ScenarioCluster(const ScenarioCluster&) = delete;
  ScenarioCluster& operator=(const ScenarioCluster&) = delete;

  /// The job with the faults of a seed. Whatever they have left behind is over when it returns.
  ScenarioOutcome Run(uint64_t seed);
  double calm_seconds() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}   // namespace troupe::testing
