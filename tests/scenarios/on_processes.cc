// scenario_process: every *.scenario of this folder on real processes, a case of Boost.Test each.
//   TROUPE_TEST_SEED=17 scenario_process --run_test=Scenarios/mixed     that seed alone: the same faults, at the same shares of the run
//   TROUPE_TEST_KILL_RUNS=20 scenario_process                           so many seeds of each
#include <boost/test/unit_test.hpp>
#include <iostream>

#include "tests/scenarios/report.h"
#include "tests/support/scenario_processes.h"
#include "tests/support/seeds.h"

namespace troupe::testing {
namespace {

void RunAll(const Scenario& scenario) {
  ScenarioTally tally(scenario, World::kProcesses);
  ScenarioCluster cluster(scenario);
  const uint64_t one = NumberFromEnvironment("TROUPE_TEST_SEED", 0);
  const uint64_t first = one == 0 ? 1 : one, last = one == 0 ? KillRuns(1) : one;
  for (uint64_t seed = first; seed <= last; ++seed) {
    ScenarioOutcome outcome = cluster.Run(seed);
    const auto none = [&] { return outcome.happened.empty() && HasAny(World::kProcesses, outcome.plan); };
    for (int again = 0; again < 3 && none() && outcome.broken.empty(); ++again) outcome = cluster.Run(seed);   // it was over sooner than the undisturbed run
    tally.Add(outcome);
    BOOST_TEST(!none(), scenario.name << ", seed " << seed << ": nothing of the plan has happened\n" << Describe(outcome));
    BOOST_TEST(outcome.broken.empty(), "TROUPE_TEST_SEED=" << seed << " scenario_process --run_test=Scenarios/" << scenario.name << "\n" << Describe(outcome));
  }
  std::cout << tally.Line() << "; undisturbed " << cluster.calm_seconds() << " s" << std::endl;
}

BOOST_AUTO_TEST_SUITE(Scenarios)

[[maybe_unused]] const bool kRegistered = ForEachScenario(&RunAll);

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::testing
