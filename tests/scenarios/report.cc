#include "tests/scenarios/report.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/text.h"

namespace troupe::testing {

const std::vector<Scenario>& AllScenarios() {
  static const std::vector<Scenario> all = [] {
    auto read = ReadScenarios(TROUPE_SCENARIOS);
    if (!read.ok()) {
      std::cerr << read.status().message() << std::endl;
      std::exit(1);
    }
    return *std::move(read);
  }();
  return all;
}

bool ForEachScenario(void (*run)(const Scenario&)) {
  for (const Scenario& scenario : AllScenarios()) {
    boost::unit_test::framework::current_auto_test_suite().add(
        boost::unit_test::make_test_case([run, &scenario] { run(scenario); }, scenario.name, TROUPE_SCENARIOS, 0));
  }
  return true;
}

bool HasAny(World world, const std::vector<TimedFault>& plan) {
  return std::any_of(plan.begin(), plan.end(), [world](const TimedFault& fault) { return !WhyNot(world, fault).has_value(); });
}

std::string Describe(const ScenarioOutcome& outcome) {
  std::string text;
  for (const std::string& what : outcome.broken) absl::StrAppend(&text, "  ", what, "\n");
  std::vector<TimedFault> left = outcome.happened;
  for (const TimedFault& fault : outcome.plan) {
    const auto found = std::find(left.begin(), left.end(), fault);
    absl::StrAppend(&text, "  ", ToString(fault), found == left.end() ? " (has not happened)" : "", "\n");
    if (found != left.end()) left.erase(found);
  }
  return text;
}

void ScenarioTally::Add(const ScenarioOutcome& outcome) {
  ++seeds_;
  failed_ += !outcome.broken.empty();
  disk_full_ += outcome.disk_full;
  restarts_ += outcome.restarts;
  happened_ += outcome.happened.size();
  for (const TimedFault& fault : outcome.happened) seen_.emplace_back(fault.kind, fault.target);
  const auto here = static_cast<uint64_t>(
      std::count_if(outcome.plan.begin(), outcome.plan.end(), [this](const TimedFault& fault) { return !WhyNot(world_, fault).has_value(); }));
  not_here_ += outcome.plan.size() - here;
  late_ += here - outcome.happened.size();
}

std::string ScenarioTally::Line() const {
  std::string line = absl::StrCat(scenario_.name, ": ", seeds_, " seeds, ", failed_, " failed; faults: ", happened_, " happened, ", late_, " came too late, ",
                                  not_here_, " not here");
  std::vector<std::string> reasons = WhyNot(world_, scenario_);
  if (world_ == World::kSimulation && scenario_.expect.restarts_of_each)
    reasons.push_back("expect restarts: processes only");   // nobody replaces what is simulated
  if (!reasons.empty()) absl::StrAppend(&line, " (", absl::StrJoin(reasons, ", "), ")");
  absl::StrAppend(&line, "; ", restarts_, " restarts");
  if (scenario_.expect.or_disk_full) absl::StrAppend(&line, "; ", disk_full_, " ended by a full disk");
  return line;
}

std::vector<std::string> ScenarioTally::NeverHappened() const {
  std::vector<std::string> never;
  for (const FaultRule& rule : scenario_.faults) {
    const TimedFault example{.kind = rule.kind, .target = rule.target, .lasts_ms = rule.lasts_ms.high, .by_ms = rule.by_ms.high, .at_write = rule.at_write};
    if (WhyNot(world_, example) || std::find(seen_.begin(), seen_.end(), std::pair(rule.kind, rule.target)) != seen_.end()) continue;
    never.push_back(absl::StrCat(Absl(ToString(rule.kind)), " ", Absl(ToString(rule.target)), " (line ", rule.line, ")"));
  }
  return never;
}

}   // namespace troupe::testing
