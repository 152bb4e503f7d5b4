// The head, by hand in virtual time: nodes that are drained, and processes that move to nodes that come.
#include "actors/cluster/head.h"

#include <map>
#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "tests/actors/cluster/head_fixture.h"

namespace troupe {

using namespace testing;

BOOST_FIXTURE_TEST_SUITE(HeadDrainingSuite, HeadFixture)

BOOST_AUTO_TEST_CASE(a_drained_node_loses_workers_keeps_its_driver_takes_nothing_new_and_leaves) {
  Member a(1, 2), b(2, 8);
  Run(1s, {&a});
  const JobId job = Submit(1);
  Run(300ms, {&a});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0))}).ok());
  Run(300ms, {&a, &b});
  BOOST_TEST((a.Runs(Driver(job)) && a.Runs(Worker(job, 0))));
  BOOST_TEST(head->OnDrain({"n1"}, now, Wall()).ok());
  Run(300ms, {&a, &b});
  CheckState(a, NodeState::kDraining);
  BOOST_TEST((a.Runs(Driver(job)) && !a.processes.contains(Worker(job, 0))));
  BOOST_TEST(Process(job, "worker 0").reason == "node n1 is drained");
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0, 2))}).ok());
  Run(300ms, {&a, &b});
  BOOST_TEST(b.Runs(Worker(job, 0, 2)));
  BOOST_TEST(!a.left);
  a.End(Driver(job), 0);
  Run(100ms, {&a});
  CheckJob(job, JobState::kSucceeded);
  Run(100ms, {&a});
  BOOST_TEST(a.left);
  CheckState(a, NodeState::kLeft);
  BOOST_TEST((head->OutputOf(Driver(job)).value() == a.node));   // until its process ends
  BOOST_TEST(absl::EndsWith(head->OutputOf(Driver(job), true).status().message(), "on node n1, which has left"));
  BOOST_TEST(absl::IsFailedPrecondition(head->OnDrain({"n1"}, now, Wall())));
  BOOST_TEST(absl::IsNotFound(head->OnDrain({"n9"}, now, Wall())));
  a.StartAgain();
  Run(300ms, {&a});
  CheckState(a, NodeState::kUp);
}

BOOST_AUTO_TEST_CASE(a_driver_that_may_be_lost_as_often_as_it_wants_leaves_a_drained_node_and_begins_elsewhere) {
  Member a(1, 2), b(2, 8);
  Run(1s, {&a});
  const JobId job = Submit(1, "default", UINT32_MAX);
  Run(300ms, {&a});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0))}).ok());
  Run(300ms, {&a, &b});
  BOOST_TEST((a.Runs(Driver(job)) && a.Runs(Worker(job, 0))));
  BOOST_TEST(head->OnDrain({"n1"}, now, Wall()).ok());
  Run(1s, {&a, &b});
  BOOST_TEST(a.left);
  CheckState(a, NodeState::kLeft);
  BOOST_TEST(b.Runs(Driver(job, 2)));
  CheckJob(job, JobState::kRunning);
  BOOST_TEST(Job(job).attempt == 2u);
}

BOOST_AUTO_TEST_CASE(the_last_node_is_drained_only_when_nothing_waits_for_it_or_by_force) {
  Member a(1, 2), b(2, 2);
  Run(1s, {&a, &b});
  const JobId job = Submit();
  Run(300ms, {&a, &b});
  BOOST_TEST(head->OnDrain({"n2"}, now, Wall()).ok());   // there is another one
  const absl::Status last = head->OnDrain({"n1"}, now, Wall());
  BOOST_TEST(absl::IsFailedPrecondition(last));
  BOOST_TEST(std::string(last.message()) ==
             "node n1 is the only one that is up, and there are jobs that are not over, which would wait for another one (--force)");
  CheckState(a, NodeState::kUp);
  BOOST_TEST(head->OnDrain({"n1", true}, now, Wall()).ok());
  CheckState(a, NodeState::kDraining);
  a.End(Driver(job), 0);
  Run(300ms, {&a});
  CheckState(a, NodeState::kLeft);
  a.StartAgain();
  Run(300ms, {&a});
  BOOST_TEST(head->OnDrain({"n1"}, now, Wall()).ok());   // no job is left
}

/// As the processes of a shard do: their driver has another one join before.
BOOST_AUTO_TEST_CASE(a_process_of_a_drained_node_that_hands_over_ends_when_its_driver_wants_it_no_more_or_its_time_is_over) {
  for (const bool in_time : {true, false}) {
    Restart();
    Member a(in_time ? 1 : 3, 2), b(in_time ? 2 : 4, 8);
    Run(1s, {&b});
    const JobId job = Submit(1);
    Run(300ms, {&b});
    ProcessOrder first = Wants(Worker(job, 0)), heir = Wants(Worker(job, 1));
    first.hand_over_max = heir.hand_over_max = 5s;
    b.capacity.cores = 1;   // no room there as yet
    Run(300ms, {&a, &b});
    BOOST_TEST(Claim(job, {first}).ok());
    Run(300ms, {&a, &b});
    BOOST_TEST((b.Runs(Driver(job)) && a.Runs(Worker(job, 0))));
    BOOST_TEST(!Process(job, "worker 0").leaves);
    b.capacity.cores = 8;
    Run(300ms, {&a, &b});
    const uint64_t version = head->VersionOf(job);
    BOOST_TEST(head->OnDrain({a.name}, now, Wall()).ok());
    Run(2s, {&a, &b});
    BOOST_TEST(head->VersionOf(job) > version);   // its driver is told
    BOOST_TEST(head->ClaimedOf(job, 1)->processes.at(0).leaves);
    BOOST_TEST(a.Runs(Worker(job, 0)));
    CheckState(a, NodeState::kDraining);
    if (in_time) {
      BOOST_TEST(Claim(job, {first, heir}).ok());
      Run(1s, {&a, &b});
      BOOST_TEST((a.Runs(Worker(job, 0)) && b.Runs(Worker(job, 1))));
      a.End(Worker(job, 0), 0);   // its driver has told it to
      Run(200ms, {&a, &b});
      BOOST_TEST(!Process(job, "worker 0").leaves);
      BOOST_TEST(Claim(job, {heir}).ok());
    } else {
      Run(2s, {&a, &b});
      BOOST_TEST(a.Runs(Worker(job, 0)));
      Run(2s, {&a, &b});
      BOOST_TEST(!a.Runs(Worker(job, 0)));
      BOOST_TEST(Process(job, "worker 0").reason == "node " + a.name + " is drained");
      BOOST_TEST(Claim(job, {Wants(Worker(job, 0, 2))}).ok());
    }
    Run(300ms, {&a, &b});
    BOOST_TEST(a.left);
    BOOST_TEST(head->OnStop({job}, now, Wall()).ok());
    Run(300ms, {&b});
    BOOST_TEST(head->OnDrain({b.name}, now, Wall()).ok());
    Run(300ms, {&b});
  }
}

namespace {

/// A job on two nodes whose two shards have two processes each, "shard 0", "shard 0/2" and so on; its driver has a fifth begun for one that leaves.
struct Spreading : HeadFixture {
  Spreading() {
    options.spread_max = 5s;
    Restart();
    Run(1s, {&a, &b});
    job = Submit(1);
    Run(300ms, {&a, &b});
    for (const char* name : {"shard 0", "shard 1", "shard 0/2", "shard 1/2"}) wanted.push_back(Shard(name));
    BOOST_TEST(Claim(job, wanted).ok());
    Run(300ms, {&a, &b});
  }
  ProcessOrder Shard(const std::string& name, uint64_t life = 1) const {
    ProcessOrder order = Wants({job, name, life}, 0, {name.substr(0, 7), "shard"});
    order.hand_over_max = 5s;
    return order;
  }
  std::string Leaving() {
    std::string all;
    const Claimed claimed = *head->ClaimedOf(job, 1);
    for (const ClaimedProcess& process : claimed.processes) all += process.leaves ? process.id.name + "," : "";
    return all;
  }
  std::map<std::string, int> Counts() {
    std::map<std::string, int> counts;
    for (const ClaimedProcess& process : Job(job).processes) counts[process.node] += process.id.name.starts_with("shard");
    return counts;
  }
  /// As a driver does: another one begins, and when it runs the one that leaves ends and is wanted no more.
  void HandOver(const std::string& name, const std::string& heir, const std::vector<Member*>& nodes) {
    wanted.push_back(Shard(heir));
    BOOST_TEST(Claim(job, wanted).ok());
    Run(300ms, nodes);
    BOOST_TEST(ToString(Process(job, heir).state) == ToString(ProcessState::kRunning));
    std::erase_if(wanted, [&](const ProcessOrder& order) { return order.id.name == name; });
    BOOST_TEST(Claim(job, wanted).ok());
    Run(300ms, nodes);
  }

  Member a{1, 4}, b{2, 4}, c{3, 4}, d{4, 4};
  JobId job = 0;
  std::vector<ProcessOrder> wanted;
};

}   // namespace

BOOST_FIXTURE_TEST_CASE(nodes_that_join_take_processes_that_can_be_handed_over_one_after_the_other_until_all_are_even, Spreading) {
  BOOST_TEST((Counts() == std::map<std::string, int>{{"n1", 2}, {"n2", 2}}));
  Run(3s, {&a, &b});
  BOOST_TEST(Leaving() == "");
  Run(600ms, {&a, &b, &c, &d});
  BOOST_TEST(Leaving() == "");   // who comes may go again
  Run(1s, {&a, &b, &c, &d});
  BOOST_TEST(Leaving() == "shard 0,");
  Run(2s, {&a, &b, &c, &d});
  BOOST_TEST(Leaving() == "shard 0,");   // one at a time
  const std::string from = Process(job, "shard 0").node;
  HandOver("shard 0", "shard 0/3", {&a, &b, &c, &d});
  BOOST_TEST(Process(job, "shard 0/3").node == "n3");
  Run(500ms, {&a, &b, &c, &d});
  const std::string next = Leaving();
  BOOST_TEST(next.size() > 1);
  HandOver(next.substr(0, next.size() - 1), next.starts_with("shard 0") ? "shard 0/4" : "shard 1/3", {&a, &b, &c, &d});
  Run(10s, {&a, &b, &c, &d});
  BOOST_TEST(Leaving() == "");
  BOOST_TEST((Counts() == std::map<std::string, int>{{"n1", 1}, {"n2", 1}, {"n3", 1}, {"n4", 1}}));
  for (const char* shard : {"shard 0", "shard 1"}) {
    std::set<std::string> nodes;
    for (const ClaimedProcess& process : Job(job).processes) {
      if (process.id.name.starts_with(shard)) BOOST_TEST(nodes.insert(process.node).second);
    }
  }
}

BOOST_FIXTURE_TEST_CASE(a_process_that_nobody_follows_in_time_stays_where_it_is_until_its_node_is_drained, Spreading) {
  Run(2s, {&a, &b, &c});
  BOOST_TEST(Leaving() == "shard 0,");
  Run(6s, {&a, &b, &c});
  BOOST_TEST(Leaving() != "shard 0,");   // it is the next one's turn
  const std::string node = Process(job, "shard 0").node;
  BOOST_TEST(ToString(Process(job, "shard 0").state) == ToString(ProcessState::kRunning));
  Run(30s, {&a, &b, &c});
  BOOST_TEST(Leaving() == "");
  BOOST_TEST(head->OnDrain({node}, now, Wall()).ok());
  Run(3s, {&a, &b, &c});
  BOOST_TEST(Process(job, "shard 0").leaves);
  Run(3s, {&a, &b, &c});
  BOOST_TEST(ToString(Process(job, "shard 0").state) == ToString(ProcessState::kEnded));   // its time is over, and there it had to go
}

BOOST_FIXTURE_TEST_CASE(a_process_that_leaves_for_a_node_that_came_and_whose_own_is_drained_meanwhile_has_all_its_time, Spreading) {
  Run(5s, {&a, &b, &c});
  BOOST_TEST(Leaving() == "shard 0,");
  const std::string node = Process(job, "shard 0").node;
  BOOST_TEST(head->OnDrain({node}, now, Wall()).ok());
  Run(4s, {&a, &b, &c});
  BOOST_TEST(Process(job, "shard 0").leaves);
  HandOver("shard 0", "shard 0/3", {&a, &b, &c});
  BOOST_TEST(Process(job, "shard 0/3").node == "n3");
}

BOOST_FIXTURE_TEST_CASE(a_process_that_ends_while_it_leaves_for_a_node_that_came_is_done_with, Spreading) {
  Run(2s, {&a, &b, &c});
  BOOST_TEST(Leaving() == "shard 0,");
  wanted.front() = Shard("shard 0", 2);
  BOOST_TEST(Claim(job, wanted).ok());
  Run(1s, {&a, &b, &c});
  BOOST_TEST(Process(job, "shard 0").node == "n3");   // its next life begins there anyway
  Run(20s, {&a, &b, &c});
  BOOST_TEST(Leaving() == "");
}

BOOST_FIXTURE_TEST_CASE(processes_with_cores_or_that_cannot_be_handed_over_stay_where_they_are, Spreading) {
  const JobId other = Submit(0);
  Run(300ms, {&a, &b});
  std::vector<ProcessOrder> all;
  for (int i = 0; i < 4; ++i) all.push_back(Wants(Worker(other, i), i < 2 ? 1 : 0, {"worker"}));
  all[0].hand_over_max = all[1].hand_over_max = 5s;
  BOOST_TEST(Claim(other, all).ok());
  Run(300ms, {&a, &b});
  Run(5s, {&a, &b, &c, &d});
  const Claimed claimed = *head->ClaimedOf(other, 1);
  for (const ClaimedProcess& process : claimed.processes) BOOST_TEST(!process.leaves);
}

BOOST_FIXTURE_TEST_CASE(a_head_that_starts_again_spreads_when_all_have_come_back, Spreading) {
  Run(500ms, {&a, &b, &c});
  Restart();
  Run(3s, {&a, &b});
  BOOST_TEST(Leaving() == "");   // c may come back
  BOOST_TEST(Claim(job, wanted).ok());
  Run(2s, {&a, &b, &c});
  BOOST_TEST(Leaving() == "shard 0,");
}

BOOST_AUTO_TEST_CASE(a_node_that_is_asked_to_stop_is_drained_and_one_with_nothing_leaves_at_once) {
  Member a(1, 2);
  Run(1s, {&a});
  a.leaving = true;
  Run(100ms, {&a});
  BOOST_TEST(a.left);
  BOOST_TEST(Node(a).reason == "it was asked to stop");
}

BOOST_AUTO_TEST_CASE(a_node_that_dies_while_it_is_drained_is_down) {
  Member a(1, 2), b(2, 2);
  Run(1s, {&a});
  const JobId job = Submit();
  Run(300ms, {&a, &b});
  BOOST_TEST(head->OnDrain({"n1"}, now, Wall()).ok());
  Run(10s, {&b});
  CheckState(a, NodeState::kDown);
  BOOST_TEST(b.Runs(Driver(job, 2)));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
