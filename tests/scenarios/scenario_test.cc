// The format of scenarios, and what a seed makes of one.
#include "tests/support/scenario.h"

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "actors/text.h"

namespace troupe::testing {
namespace {

const std::string kWhole = R"(# all there is
scenario whole
about    What it is for,   in one line.
workload algorithm=logistic_regression rows=400/60000 workers=3 splits=6 shards=2 replication=2 nodes=4 epochs=3 consistency=ssp:2 checkpoint=yes
param    batch_size=10 l2=0.1
fault    kill worker at=30%
fault    kill head   within=10%..50.5% for=1s..2s times=1..3
fault    stop shard:1 at=0% for=300ms   # its second
fault    cut node    within=5%..90% for=300ms
fault    drop driver at=10% for=1s probability=0.25
fault    delay shard at=10% for=1s by=20ms..50ms
fault    disk_full shard at=50% for=200ms
fault    disk_full worker at=50% write=3
fault    clock node  at=50% by=-1h..30m times=0..2
expect   model
expect   nothing_lost
expect   nothing_twice
expect   end 60s
expect   restarts 1
expect   or_disk_full
)";

std::string Error(const std::string& text) {
  const auto parsed = ParseScenario("x.scenario", text);
  BOOST_TEST((parsed.ok() || absl::IsInvalidArgument(parsed.status())));
  return parsed.ok() ? "none" : std::string(Message(parsed.status()));
}
/// With one line put in the place of the line of that number, from 1.
std::string ErrorWith(int number, const std::string& line) {
  std::istringstream lines(kWhole);
  std::string text;
  int at = 0;
  for (std::string old; std::getline(lines, old);) text += (++at == number ? line : old) + "\n";
  return Error(text);
}

Scenario Parsed(const std::string& text) {
  auto parsed = ParseScenario("x.scenario", text);
  BOOST_REQUIRE_MESSAGE(parsed.ok(), parsed.status().ToString());
  return *std::move(parsed);
}
Scenario WithFaults(const std::string& faults) {
  return Parsed("scenario s\nabout a\nworkload algorithm=naive_bayes rows=1/2\n" + faults + "\nexpect end 1s\n");
}

}   // namespace

BOOST_AUTO_TEST_SUITE(ScenarioSuite)

BOOST_AUTO_TEST_CASE(everything_is_read) {
  const Scenario scenario = Parsed(kWhole);
  BOOST_TEST(scenario.name == "whole");
  BOOST_TEST(scenario.about == "What it is for, in one line.");
  Workload workload{.algorithm = "logistic_regression",
                    .params = {{"batch_size", "10"}, {"l2", "0.1"}},
                    .rows = 400,
                    .rows_of_processes = 60'000,
                    .workers = 3,
                    .splits = 6,
                    .shards = 2,
                    .replication = 2,
                    .nodes = 4,
                    .epochs = 3,
                    .consistency = Consistency{.kind = Consistency::Kind::kSsp, .staleness = 2},
                    .checkpoint = true};
  BOOST_TEST((scenario.workload == workload));
  BOOST_TEST_REQUIRE(scenario.faults.size() == 9u);
  BOOST_TEST((scenario.faults[0] == FaultRule{.kind = FaultKind::kKill, .target = FaultTarget::kWorker, .within = {300, 300}, .line = 6}));
  BOOST_TEST((scenario.faults[1] ==
              FaultRule{.kind = FaultKind::kKill, .target = FaultTarget::kHead, .times = {1, 3}, .within = {100, 505}, .lasts_ms = {1'000, 2'000}, .line = 7}));
  BOOST_TEST((scenario.faults[2] ==
              FaultRule{.kind = FaultKind::kStop, .target = FaultTarget::kShard, .index = 1, .within = {0, 0}, .lasts_ms = {300, 300}, .line = 8}));
  BOOST_TEST((scenario.faults[3].kind == FaultKind::kCut && scenario.faults[3].target == FaultTarget::kNode));
  BOOST_TEST((scenario.faults[4].target == FaultTarget::kDriver && scenario.faults[4].probability == 0.25));
  BOOST_TEST((scenario.faults[5].by_ms == Span{20, 50}));
  BOOST_TEST((scenario.faults[6].lasts_ms == Span{200, 200} && !scenario.faults[6].at_write));
  BOOST_TEST((scenario.faults[7].at_write == 3u));
  BOOST_TEST((scenario.faults[8].by_ms == Span{-3'600'000, 1'800'000} && scenario.faults[8].times == Span{0, 2}));
  const Expectations all{.model = true, .nothing_lost = true, .nothing_twice = true, .end_ms = 60'000, .restarts_of_each = 1, .or_disk_full = true};
  BOOST_TEST((scenario.expect == all));
}

BOOST_AUTO_TEST_CASE(what_is_not_said_has_its_default) {
  const Scenario scenario = WithFaults("fault kill worker at=30%");
  BOOST_TEST((scenario.workload == Workload{.algorithm = "naive_bayes", .rows = 1, .rows_of_processes = 2}));
  BOOST_TEST((scenario.expect == Expectations{.end_ms = 1'000}));
  BOOST_TEST(Parsed("scenario s\nabout a\nworkload algorithm=x rows=1/2 workers=3\nfault kill worker at=3%\nexpect end 1s").workload.splits == 3u);
}

BOOST_AUTO_TEST_CASE(whatever_is_wrong_is_told_with_its_line) {
  BOOST_TEST(ErrorWith(2, "scenery whole") == "x.scenario:2: unknown directive 'scenery'; known: scenario, about, workload, param, fault, expect");
  BOOST_TEST(ErrorWith(2, "scenario") == "x.scenario:2: expected: scenario NAME");
  BOOST_TEST(ErrorWith(2, "scenario two words") == "x.scenario:2: expected: scenario NAME");
  BOOST_TEST(ErrorWith(3, "about") == "x.scenario:3: expected: about TEXT");
  BOOST_TEST(ErrorWith(3, "scenario again") == "x.scenario:3: scenario is there twice");
  BOOST_TEST(ErrorWith(4, "workload rows=1/2") == "x.scenario:4: workload has no algorithm=");
  BOOST_TEST(ErrorWith(4, "workload algorithm=x") == "x.scenario:4: workload has no rows=");
  BOOST_TEST(ErrorWith(4, "workload algorithm=x rows=400") == "x.scenario:4: rows is '400', expected ROWS_OF_THE_SIMULATION/ROWS_OF_PROCESSES");
  BOOST_TEST(ErrorWith(4, "workload algorithm=x rows=0/1") == "x.scenario:4: rows is '0', expected a whole number of [1, 10000000]");
  BOOST_TEST(ErrorWith(4, "workload algorithm=x rows=1/x") == "x.scenario:4: rows is 'x', expected a whole number of [1, 10000000]");
  BOOST_TEST(ErrorWith(4, "workload algorithm=x rows=1/2 workers=3 splits=2") == "x.scenario:4: splits is '2', expected workers (3) or more");
  BOOST_TEST(ErrorWith(4, "workload algorithm=x rows=1/2 shards=65") == "x.scenario:4: shards is '65', expected a whole number of [1, 64]");
  BOOST_TEST(ErrorWith(4, "workload algorithm=x rows=1/2 shards=1 shards=2") == "x.scenario:4: shards is there twice");
  BOOST_TEST(ErrorWith(4, "workload algorithm=x rows=1/2 shard=1") == "x.scenario:4: unknown key 'shard'; did you mean 'shards'?");
  BOOST_TEST(ErrorWith(4, "workload algorithm=x rows=1/2 fast") == "x.scenario:4: a word is 'fast', expected KEY=VALUE");
  BOOST_TEST(ErrorWith(4, "workload algorithm=x rows=1/2 checkpoint=maybe") == "x.scenario:4: checkpoint is 'maybe', expected yes or no");
  BOOST_TEST(ErrorWith(4, "workload algorithm=x rows=1/2 consistency=odd").starts_with("x.scenario:4: consistency is 'odd', expected bsp"));
  for (const char* key : {"nodes", "replication", "epochs", "workers", "splits"})
    BOOST_TEST(ErrorWith(4, "workload algorithm=x rows=1/2 " + std::string(key) + "=0").starts_with("x.scenario:4: " + std::string(key) + " is '0', expected"));
  BOOST_TEST(ErrorWith(5, "param a=1 a=2") == "x.scenario:5: a is there twice");
  BOOST_TEST(ErrorWith(6, "param l2=3") == "x.scenario:6: param l2 is there twice");
  BOOST_TEST(ErrorWith(6, "fault kill") == "x.scenario:6: expected: fault KIND TARGET KEY=VALUE ...");
  BOOST_TEST(ErrorWith(6, "fault kil worker at=1%") == "x.scenario:6: unknown fault 'kil'; did you mean 'kill'?");
  BOOST_TEST(ErrorWith(6, "fault kill server at=1%") == "x.scenario:6: unknown target 'server'; known: head, node, driver, worker, shard");
  BOOST_TEST(ErrorWith(6, "fault kill worker:x at=1%") == "x.scenario:6: worker is 'x', expected a whole number of [0, 999]");
  BOOST_TEST(ErrorWith(6, "fault kill worker") == "x.scenario:6: expected either at= or within=");
  BOOST_TEST(ErrorWith(6, "fault kill worker at=1% within=1%..2%") == "x.scenario:6: expected either at= or within=");
  BOOST_TEST(ErrorWith(6, "fault kill worker at=1%..2%") == "x.scenario:6: at is '1%..2%', expected one moment, as 30%");
  BOOST_TEST(ErrorWith(6, "fault kill worker within=2%..1%") == "x.scenario:6: within is '2%..1%', expected a share of an undisturbed run, as 30%, or A..B");
  BOOST_TEST(ErrorWith(6, "fault kill worker at=0.5") == "x.scenario:6: at is '0.5', expected a share of an undisturbed run, as 30%, or A..B");
  BOOST_TEST(ErrorWith(6, "fault kill worker at=-1%").starts_with("x.scenario:6: at is '-1%', expected"));
  BOOST_TEST(ErrorWith(6, "fault kill worker at=1% times=101") == "x.scenario:6: times is '101', expected a whole number of [0, 100], or A..B");
  BOOST_TEST(ErrorWith(6, "fault kill worker at=1% by=1s") == "x.scenario:6: kill has no key 'by'");
  BOOST_TEST(ErrorWith(6, "fault stop worker at=1%") == "x.scenario:6: stop has no for=");
  BOOST_TEST(ErrorWith(6, "fault stop worker at=1% for=5") == "x.scenario:6: for is '5', expected a time, as 300ms, or A..B");
  BOOST_TEST(ErrorWith(6, "fault stop worker at=1% for=0s").starts_with("x.scenario:6: for is '0s', expected"));
  BOOST_TEST(ErrorWith(6, "fault stop worker at=1% for=-1s").starts_with("x.scenario:6: for is '-1s', expected"));
  BOOST_TEST(ErrorWith(6, "fault drop worker at=1% for=1s") == "x.scenario:6: drop has no probability=");
  BOOST_TEST(ErrorWith(6, "fault drop worker at=1% for=1s probability=0") == "x.scenario:6: probability is '0', expected a number of (0, 1]");
  BOOST_TEST(ErrorWith(6, "fault drop worker at=1% for=1s probability=nan") == "x.scenario:6: probability is 'nan', expected a number of (0, 1]");
  BOOST_TEST(ErrorWith(6, "fault delay worker at=1% for=1s") == "x.scenario:6: delay has no by=");
  BOOST_TEST(ErrorWith(6, "fault disk_full worker at=1%") == "x.scenario:6: disk_full: expected either for= or write=");
  BOOST_TEST(ErrorWith(6, "fault disk_full worker at=1% for=1s write=1") == "x.scenario:6: disk_full: expected either for= or write=");
  BOOST_TEST(ErrorWith(6, "fault disk_full worker at=1% write=0") == "x.scenario:6: write is '0', expected a whole number of [1, 1000000]");
  BOOST_TEST(ErrorWith(6, "fault clock node at=1%") == "x.scenario:6: clock has no by=");
  BOOST_TEST(ErrorWith(6, "fault clock node at=1% by=3") == "x.scenario:6: by is '3', expected a time, as -30s, or A..B");
  BOOST_TEST(ErrorWith(15, "expect") == "x.scenario:15: expected: expect WHAT, expect end TIME, or expect restarts N");
  BOOST_TEST(ErrorWith(15, "expect model now") == "x.scenario:15: expected: expect WHAT, expect end TIME, or expect restarts N");
  BOOST_TEST(ErrorWith(15, "expect modell") == "x.scenario:15: unknown expectation 'modell'; did you mean 'model'?");
  BOOST_TEST(ErrorWith(16, "expect model") == "x.scenario:16: model is there twice");
  BOOST_TEST(ErrorWith(15, "expect end 1s") == "x.scenario:18: end is there twice");
  BOOST_TEST(ErrorWith(18, "expect end soon") == "x.scenario:18: end is 'soon', expected a time, as 60s");
  BOOST_TEST(ErrorWith(19, "expect restarts -1") == "x.scenario:19: restarts is '-1', expected a whole number of [0, 1000]");
  BOOST_TEST(ErrorWith(18, "") == "x.scenario:20: there is no 'expect end'");
  BOOST_TEST(ErrorWith(4, "") == "x.scenario:20: there is no workload");
  BOOST_TEST(Error("scenario s\nabout a\nworkload algorithm=x rows=1/2\nexpect end 1s\n") == "x.scenario:4: there is no fault");
  BOOST_TEST(Error("") == "x.scenario:0: there is no scenario");
}

BOOST_AUTO_TEST_CASE(a_folder_is_read_by_name_and_names_are_those_of_files) {
  const auto folder = std::filesystem::temp_directory_path() / ("troupe_scenarios_" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  BOOST_TEST((absl::IsNotFound(ReadScenarios(folder.string()).status())));
  const std::string rest = "\nabout a\nworkload algorithm=x rows=1/2\nfault kill worker at=1%\nexpect end 1s\n";
  std::ofstream(folder / "b.scenario") << "scenario b" << rest;
  std::ofstream(folder / "a.scenario") << "scenario a" << rest;
  std::ofstream(folder / "a.txt") << "no scenario";
  const auto both = ReadScenarios(folder.string());
  BOOST_TEST_REQUIRE(both.ok(), both.status().ToString());
  BOOST_TEST((both->size() == 2u && (*both)[0].name == "a" && (*both)[1].name == "b"));
  std::ofstream(folder / "c.scenario") << "scenario d" << rest;
  BOOST_TEST(Message(ReadScenarios(folder.string()).status()) == (folder / "c.scenario").string() + ": scenario is 'd', expected the file's name");
  std::ofstream(folder / "c.scenario") << "nothing";
  BOOST_TEST(std::string(Message(ReadScenarios(folder.string()).status())).starts_with((folder / "c.scenario").string() + ":1: unknown directive"));
  std::filesystem::remove_all(folder);
}

BOOST_AUTO_TEST_CASE(a_plan_is_a_function_of_the_seed_and_keeps_to_the_lines) {
  const Scenario scenario = Parsed(kWhole);
  std::set<size_t> sizes;
  std::set<int64_t> moments;
  std::set<uint64_t> choices;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const std::vector<TimedFault> plan = PlanFaults(scenario, seed);
    BOOST_TEST((plan == PlanFaults(scenario, seed)));
    BOOST_TEST((plan.size() >= 8u && plan.size() <= 12u));   // 7 once, the head 1 to 3 times, clocks 0 to 2 times
    sizes.insert(plan.size());
    int64_t before = 0;
    for (const TimedFault& fault : plan) {
      BOOST_TEST(fault.at >= before);
      before = fault.at;
      if (fault.kind == FaultKind::kKill && fault.target == FaultTarget::kHead) {
        BOOST_TEST((fault.at >= 100 && fault.at <= 505 && fault.lasts_ms >= 1'000 && fault.lasts_ms <= 2'000));
        moments.insert(fault.at);
        choices.insert(fault.choice);
      }
      if (fault.kind == FaultKind::kStop) BOOST_TEST((fault.choice == 1u && fault.at == 0 && fault.lasts_ms == 300));
      if (fault.kind == FaultKind::kDrop) BOOST_TEST(fault.probability == 0.25);
      if (fault.kind == FaultKind::kDelay) BOOST_TEST((fault.by_ms >= 20 && fault.by_ms <= 50));
      if (fault.kind == FaultKind::kClockStep) BOOST_TEST((fault.by_ms >= -3'600'000 && fault.by_ms <= 1'800'000));
      if (fault.kind == FaultKind::kDiskFull) BOOST_TEST((fault.at_write.has_value() == (fault.target == FaultTarget::kWorker)));
    }
  }
  BOOST_TEST(sizes.size() == 5u);
  BOOST_TEST(moments.size() > 100u);
  BOOST_TEST(choices.size() > 100u);
}

BOOST_AUTO_TEST_CASE(another_line_does_not_change_what_a_line_draws) {
  const std::string first = "fault stop worker within=0%..90% for=1s..9s times=3";
  const std::vector<TimedFault> alone = PlanFaults(WithFaults(first), 7);
  std::vector<TimedFault> both = PlanFaults(WithFaults(first + "\nfault kill shard within=0%..90% times=5"), 7);
  BOOST_TEST(both.size() == 8u);
  std::erase_if(both, [](const TimedFault& fault) { return fault.kind == FaultKind::kKill; });
  BOOST_TEST((both == alone));
}

BOOST_AUTO_TEST_CASE(a_fault_in_words) {
  const Scenario scenario = WithFaults("fault cut shard:0 at=5% for=300ms");
  BOOST_TEST(ToString(PlanFaults(scenario, 1)[0]) == "cut shard at 5.0% for 300 ms");
  BOOST_TEST(ToString(TimedFault{.kind = FaultKind::kDrop, .target = FaultTarget::kNode, .at = 312, .lasts_ms = 5, .probability = 0.5}) ==
             "drop node at 31.2% for 5 ms with probability 0.5");
  BOOST_TEST(ToString(TimedFault{.kind = FaultKind::kClockStep, .target = FaultTarget::kHead, .at = 1'000, .by_ms = -7}) == "clock head at 100.0% by -7 ms");
  BOOST_TEST(ToString(TimedFault{.kind = FaultKind::kDiskFull, .target = FaultTarget::kShard, .at_write = 2}) == "disk_full shard at 0.0% at write 2");
}

BOOST_AUTO_TEST_CASE(each_world_says_what_it_has_not) {
  const auto in = [](World world, const std::string& fault) { return WhyNot(world, WithFaults("fault " + fault)); };
  using Texts = std::vector<std::string>;
  BOOST_TEST((in(World::kSimulation, "kill head at=1%") == Texts{"kill head: processes only"}));
  BOOST_TEST((in(World::kSimulation, "clock node at=1% by=-1s..1s") == Texts{"clock node: processes only (back)"}));
  for (const std::string fault : {"kill node at=1% for=1s", "stop driver at=1% for=1s", "cut shard at=1% for=1s", "drop worker at=1% for=1s probability=1",
                                  "delay node at=1% for=1s by=1s", "disk_full shard at=1% write=3", "clock worker at=1% by=1s"})
    BOOST_TEST((in(World::kSimulation, fault) == Texts()));
  BOOST_TEST((in(World::kProcesses, "cut shard at=1% for=1s") == Texts{"cut shard: simulation only"}));
  BOOST_TEST((in(World::kProcesses, "drop worker at=1% for=1s probability=1") == Texts{"drop worker: simulation only"}));
  BOOST_TEST((in(World::kProcesses, "delay driver at=1% for=1s by=1s") == Texts{"delay driver: simulation only"}));
  BOOST_TEST((in(World::kProcesses, "clock worker at=1% by=1s") == Texts{"clock worker: simulation only"}));
  BOOST_TEST((in(World::kProcesses, "kill shard at=1% for=1s") == Texts{"kill shard: simulation only (for a while)"}));
  BOOST_TEST((in(World::kProcesses, "disk_full shard at=1% write=3") == Texts{"disk_full shard: simulation only (at a write)"}));
  for (const std::string fault : {"kill head at=1% for=1s", "stop node at=1% for=1s", "cut node at=1% for=1s", "drop head at=1% for=1s probability=1",
                                  "disk_full shard at=1% for=1s", "clock node at=1% by=-1s..1s", "kill worker at=1%"})
    BOOST_TEST((in(World::kProcesses, fault) == Texts()));
  const Texts twice = WhyNot(World::kProcesses, WithFaults("fault cut shard at=1% for=1s\nfault cut shard at=2% for=1s\nfault cut worker at=2% for=1s"));
  BOOST_TEST((twice == Texts{"cut shard: simulation only", "cut worker: simulation only"}));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe::testing
