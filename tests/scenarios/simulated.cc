// scenario_sim: every *.scenario of this folder in the simulation, a case of Boost.Test each.
//   TROUPE_SIM_SEED=17 scenario_sim --run_test=Scenarios/mixed     that seed alone: the same run, message by message
//   TROUPE_SIM_SEEDS=2000 scenario_sim                             so many of each
#include <boost/test/unit_test.hpp>
#include <iostream>

#include "tests/scenarios/report.h"
#include "tests/support/scenario_simulation.h"
#include "tests/support/seeds.h"

namespace troupe::testing {
namespace {

void RunAll(const Scenario& scenario) {
  ScenarioTally tally(scenario, World::kSimulation);
  const std::vector<uint64_t> seeds = Seeds(40);
  for (const uint64_t seed : seeds) {
    const ScenarioOutcome outcome = Simulate(scenario, seed);
    tally.Add(outcome);
    BOOST_TEST(outcome.broken.empty(), "TROUPE_SIM_SEED=" << seed << " scenario_sim --run_test=Scenarios/" << scenario.name << "\n" << Describe(outcome));
  }
  std::cout << tally.Line() << std::endl;
  for (const std::string& line : tally.NeverHappened()) BOOST_TEST(seeds.size() == 1, scenario.name << ": " << line << " has happened for no seed");
}

BOOST_AUTO_TEST_SUITE(Scenarios)

[[maybe_unused]] const bool kRegistered = ForEachScenario(&RunAll);

BOOST_AUTO_TEST_CASE(the_same_seed_gives_the_same_run) {
  for (const Scenario& scenario : AllScenarios()) {
    for (const uint64_t seed : Seeds(2)) {
      const ScenarioOutcome once = Simulate(scenario, seed), again = Simulate(scenario, seed);
      BOOST_TEST(once.trace == again.trace, scenario.name << ", seed " << seed);
      BOOST_TEST((once.happened == again.happened), scenario.name << ", seed " << seed);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::testing
