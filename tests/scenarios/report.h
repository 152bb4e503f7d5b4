// The scenarios of this folder as cases of Boost.Test, and what came of them in words. Nothing is passed over: what a world cannot do is counted and named.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/scenario.h"
#include "tests/support/scenario_simulation.h"

namespace troupe::testing {

/// TROUPE_SCENARIOS/*.scenario. Ends the program where one is wrong.
const std::vector<Scenario>& AllScenarios();
/// A case NAME each, in the suite that is open. For a static variable.
bool ForEachScenario(void (*run)(const Scenario&));

/// Can the world do any of these?
bool HasAny(World world, const std::vector<TimedFault>& plan);

/// The plan, what of it has happened, and what does not hold, a line each.
std::string Describe(const ScenarioOutcome& outcome);

/// Over the seeds of a scenario.
class ScenarioTally {
 public:
  ScenarioTally(const Scenario& scenario, World world) : scenario_(scenario), world_(world) {}
  void Add(const ScenarioOutcome& outcome);
  /// "mixed: 40 seeds, 0 failed; faults: 97 happened, 3 came too late, 12 not here (kill head: processes only)".
  std::string Line() const;
  /// Lines `fault` that this world could do and that have happened for no seed: the scenario would say nothing. As "kill worker (line 7)".
  std::vector<std::string> NeverHappened() const;

 private:
  const Scenario& scenario_;
  const World world_;
  uint64_t seeds_ = 0, failed_ = 0, happened_ = 0, late_ = 0, not_here_ = 0, disk_full_ = 0, restarts_ = 0;
  std::vector<std::pair<FaultKind, FaultTarget>> seen_;
};

}   // namespace troupe::testing
