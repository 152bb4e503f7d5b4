// A head with up to 1,000 nodes in virtual time: how many messages that takes, that nobody is suspected, and that what happens to one is heard by those whom it
// concerns. What it costs in time: tests/bench/measure_head.cc.
#include <boost/test/unit_test.hpp>

#include "tests/actors/cluster/crowd.h"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using testing::Crowd;

size_t CountStates(const Inspected& all, NodeState state) {
  return static_cast<size_t>(std::count_if(all.nodes.begin(), all.nodes.end(), [&](const NodeStatus& node) { return node.state == state; }));
}

/// A job whose driver this test plays.
struct Played {
  Played(Crowd& crowd, JobId job, uint32_t workers) : crowd(crowd), job(job) {
    for (uint32_t i = 0; i < workers; ++i) Want(i, 1);
  }
  void Want(uint32_t worker, uint64_t life) {
    const std::string name = "worker " + std::to_string(worker);
    wanted[name] = {.id = {job, name, life}, .needs = {.cores = 2, .apart = {"worker"}}, .program = "", .arguments = {}, .environment = {}, .folder = ""};
  }
  Claimed Ask() {
    Claim claim{.job = job, .attempt = 1, .wanted = {}, .seen = seen, .number = ++number};
    for (const auto& [name, order] : wanted) claim.wanted.push_back(order);
    const auto claimed = crowd.Ask<Claimed>(claim);
    BOOST_REQUIRE_MESSAGE(claimed.ok(), claimed.status().ToString());
    seen = claimed->version;
    return *claimed;
  }
  Crowd& crowd;
  const JobId job;
  std::map<std::string, ProcessOrder> wanted;
  uint64_t seen = 0, number = 0;
};

}   // namespace

BOOST_AUTO_TEST_SUITE(HeadScaleSuite)

BOOST_AUTO_TEST_CASE(idle_nodes_send_four_reports_a_second_at_most_and_all_of_them_a_thousand) {
  for (const uint32_t nodes : {10U, 100U, 1000U}) {
    BOOST_TEST_CONTEXT(nodes << " nodes") {
      Crowd crowd(nodes);
      crowd.Begin(2s);
      crowd.Run(3s);
      crowd.counts = {};
      crowd.Run(10s);
      const double per_node = static_cast<double>(crowd.counts.reports) / nodes / 10;
      BOOST_TEST((per_node > 0.85 && per_node <= 4.05), per_node << " reports a node and second");
      BOOST_TEST(per_node * nodes < 1050, per_node * nodes << " reports a second");
      BOOST_TEST((crowd.counts.errors == 0 && crowd.counts.news == 0));
      const auto all = crowd.Ask<Inspected>(Inspect{});
      BOOST_REQUIRE(all.ok());
      BOOST_TEST(CountStates(*all, NodeState::kUp) == nodes);
      for (const std::string& event : all->events) BOOST_TEST(event.find("suspect") == std::string::npos, event);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_node_that_dies_among_a_thousand_is_down_within_three_seconds_and_nobody_else_is_suspected) {
  Crowd crowd(1000);
  crowd.Begin(1s);
  crowd.Run(5s);
  crowd.Kill(17);
  crowd.Run(1900ms);
  BOOST_TEST(CountStates(*crowd.Ask<Inspected>(Inspect{}), NodeState::kDown) == 0u);   // no sooner than the lease
  crowd.Run(1100ms);
  const Inspected all = *crowd.Ask<Inspected>(Inspect{});
  BOOST_TEST((CountStates(all, NodeState::kDown) == 1 && CountStates(all, NodeState::kUp) == 999));
  for (const NodeStatus& node : all.nodes) BOOST_TEST((node.state == NodeState::kUp || node.name == "n18"));
  crowd.Run(5s);
  BOOST_TEST(CountStates(*crowd.Ask<Inspected>(Inspect{}), NodeState::kUp) == 999u);
}

BOOST_AUTO_TEST_CASE(a_thousand_workers_are_spread_over_a_thousand_nodes_and_what_happens_to_one_is_news_for_few) {
  Crowd crowd(1000);
  crowd.Begin(1s);
  crowd.Run(2s);
  JobSpec spec;
  spec.program = crowd.PutProgram();
  const auto submitted = crowd.Ask<Submitted>(Submit{"r", spec});
  BOOST_REQUIRE_MESSAGE(submitted.ok(), submitted.status().ToString());
  crowd.Run(1s);
  crowd.counts = {};
  Played driver(crowd, submitted->job, 1000);
  driver.Ask();
  crowd.Run(2s);
  for (const testing::Member& member : crowd.members()) {
    const auto workers = std::count_if(member.processes.begin(), member.processes.end(), [](const auto& entry) { return entry.first.name != kDriverName; });
    BOOST_TEST(workers == 1);
  }
  // Each node is told of its own worker, and when that runs nobody else hears of it.
  BOOST_TEST((crowd.counts.news >= 1000 && crowd.counts.news < 1100), crowd.counts.news);
  for (const ClaimedProcess& process : driver.Ask().processes) BOOST_TEST(ToString(process.state) == std::string("running"));

  crowd.counts = {};
  testing::Member& victim = crowd.members()[500];
  const ProcessId lost =
      std::find_if(victim.processes.begin(), victim.processes.end(), [](const auto& entry) { return entry.first.name != kDriverName; })->first;
  victim.End(lost, -9);
  crowd.Run(1200ms);
  for (const ClaimedProcess& process : driver.Ask().processes) {
    BOOST_TEST((process.id == lost ? process.state == ProcessState::kEnded : process.state == ProcessState::kRunning));
  }
  driver.Want(static_cast<uint32_t>(std::stoul(lost.name.substr(7))), 2);
  driver.Ask();
  crowd.Run(1s);
  BOOST_TEST(victim.Runs({lost.job, lost.name, 2}));   // nobody else has none of this job
  BOOST_TEST((crowd.counts.news > 0 && crowd.counts.news < 10), crowd.counts.news);
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
