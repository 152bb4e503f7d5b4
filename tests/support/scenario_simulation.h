// A scenario in the simulation: workers and shards on nodes of their own, faults in virtual time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/scenario.h"

namespace troupe::testing {

/// What came of a run of a scenario, in either world.
struct ScenarioOutcome {
  std::vector<std::string> broken;    ///< expectations that do not hold, each as a sentence
  std::vector<TimedFault> plan;       ///< of the seed
  std::vector<TimedFault> happened;   ///< of these: had a victim. The others came too late, or nobody was there
  bool disk_full = false;             ///< it ended with the error of a full disk, as it may
  uint64_t trace = 0, restarts = 0;
};

/// The same for the same seed. TROUPE_CHECKs that the undisturbed run and the oracle are well: else the file is wrong.
ScenarioOutcome Simulate(const Scenario& scenario, uint64_t seed);

}   // namespace troupe::testing
