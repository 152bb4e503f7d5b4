// The head, by hand in virtual time: what a head that starts again knows.
#include "actors/cluster/head.h"

#include "actors/cluster/records.h"
#include "tests/actors/cluster/head_fixture.h"

namespace troupe {

using namespace testing;
using Records = std::map<std::string, std::string>;

BOOST_FIXTURE_TEST_SUITE(HeadRestartSuite, HeadFixture)

BOOST_AUTO_TEST_CASE(bad_records_are_data_loss) {
  BOOST_TEST(absl::IsDataLoss(Head::Make({}, 1, {{"job/1", "x"}}, now, 0).status()));
  BOOST_TEST(absl::IsDataLoss(Head::Make({}, 1, {{"node/1", ""}}, now, 0).status()));
  BOOST_TEST(Head::Make({}, 1, {{"generation", "1"}, {"other", "x"}}, now, 0).ok());
  for (const auto& [key, value] : Records{{LifeKey(1, "w"), "x"}, {"life/1", "1"}, {"life/x/w", "1"}, {LifeKey(1, ""), "1"}}) {
    BOOST_TEST(absl::IsDataLoss(Head::Make({}, 1, {{key, value}}, now, 0).status()), key);
  }
  BOOST_TEST(Head::Make({}, 1, {{LifeKey(7, "of a job that is gone"), "1"}}, now, 0).ok());
}

namespace {

/// A job with its driver on one node and two workers on others, and a head that starts again.
struct Running : HeadFixture {
  Running() {
    Run(1s, {&a});
    job = Submit(1);
    Run(300ms, {&a, &b, &c});
    BOOST_REQUIRE(Claim(job, {Wants(Worker(job, 0), 4), Wants(Worker(job, 1), 4)}).ok());
    Run(500ms, {&a, &b, &c});
    BOOST_REQUIRE(a.Runs(Driver(job)));
    BOOST_REQUIRE((b.Runs(Worker(job, 0)) && c.Runs(Worker(job, 1))));
    queued = Submit(64);
  }
  absl::Status ClaimBoth() { return Claim(job, {Wants(Worker(job, 0), 4), Wants(Worker(job, 1), 4)}); }
  void CheckAllAsBefore() {
    CheckJob(job, JobState::kRunning);
    BOOST_TEST((a.Runs(Driver(job)) && b.Runs(Worker(job, 0)) && c.Runs(Worker(job, 1))));
    for (Member* member : {&a, &b, &c}) {
      for (const auto& [id, times] : member->started) BOOST_TEST(times == 1, ToString(id) << " was started " << times << " times");
    }
    BOOST_TEST((a.started.size() == 1 && b.started.size() == 1 && c.started.size() == 1));
    BOOST_TEST(Job(job).attempt == 1u);
    BOOST_TEST(Job(job).processes.size() == 3u);
    for (const ClaimedProcess& process : Job(job).processes) BOOST_TEST(ToString(process.state) == std::string("running"), ToString(process.id));
    BOOST_TEST((Node(a).cores_used == 1 && Node(b).cores_used == 4 && Node(c).cores_used == 4));
    BOOST_TEST(ToString(Job(queued).state) == std::string("queued"));
  }
  Member a{1, 1}, b{2, 4}, c{3, 4};
  JobId job = 0, queued = 0;
};

}   // namespace

BOOST_FIXTURE_TEST_CASE(where_a_driver_is_is_known_as_long_as_it_says_so, Running) {
  const auto find = [&](JobId of) { return head->OnFindEndpoint({of}); };
  BOOST_TEST(std::string(find(99).status().message()) == "there is no job 99");
  BOOST_TEST(absl::IsUnavailable(find(job).status()));      // it has said nothing
  BOOST_TEST(absl::IsUnavailable(find(queued).status()));   // nor is there one
  const Endpoint there{.place = "tcp:a:1", .network = "n", .token = "a secret", .about = "w"};
  troupe::Claim claim{.job = job, .attempt = 1, .wanted = {Wants(Worker(job, 0), 4), Wants(Worker(job, 1), 4)}, .seen = 0, .number = 100, .endpoint = there};
  BOOST_TEST(head->OnClaim(claim, now, Wall()).ok());
  BOOST_TEST((find(job).value() == there));
  claim.number = 99;   // overtaken
  claim.endpoint = {};
  BOOST_TEST(head->OnClaim(claim, now, Wall()).ok());
  BOOST_TEST((find(job).value() == there));
  claim.number = 101;   // as before
  claim.same_endpoint = true;
  BOOST_TEST(head->OnClaim(claim, now, Wall()).ok());
  BOOST_TEST((find(job).value() == there));
  Commit();
  for (const auto& [key, value] : records) BOOST_TEST(value.find("a secret") == std::string::npos, key);   // it is kept nowhere
  Restart();
  claim.number = 102;
  BOOST_TEST(head->OnClaim(claim, now, Wall()).ToString() == absl::StrCat("UNAVAILABLE: job ", job, ": its driver has not said where it is"));
  BOOST_TEST(absl::IsUnavailable(find(job).status()));   // until the driver says it again
  claim.number = 103;
  claim.same_endpoint = false;
  claim.endpoint = there;
  BOOST_TEST(head->OnClaim(claim, now, Wall()).ok());
  BOOST_TEST((find(job).value() == there));
  BOOST_TEST(head->OnStop({job}, now, Wall()).ok());
  BOOST_TEST(std::string(find(job).status().message()) == absl::StrCat("job ", job, " is over: stopped"));
}

BOOST_FIXTURE_TEST_CASE(the_next_driver_of_a_job_says_where_it_is_itself, Running) {
  troupe::Claim claim{
      .job = job, .attempt = 1, .wanted = {Wants(Worker(job, 0), 4)}, .seen = 0, .number = 100, .endpoint = {.place = "tcp:a:1", .network = "n"}};
  BOOST_TEST(head->OnClaim(claim, now, Wall()).ok());
  BOOST_TEST(head->OnFindEndpoint({job})->place == "tcp:a:1");
  a.End(Driver(job), -9);
  Run(1s, {&a, &b, &c});
  BOOST_TEST(Job(job).attempt == 2u);
  BOOST_TEST(absl::IsUnavailable(head->OnFindEndpoint({job}).status()));
}

BOOST_FIXTURE_TEST_CASE(a_head_that_starts_again_finds_all_as_it_was_whoever_comes_back_first, Running) {
  std::vector<int> order{0, 1, 2, 3};   // three nodes and the driver's claim
  do {
    for (const bool slowly : {false, true}) {
      Restart();
      for (const int who : order) {
        if (who == 3)
          BOOST_TEST(ClaimBoth().ok());
        else
          BOOST_TEST(Send(*std::vector{&a, &b, &c}[static_cast<size_t>(who)]).ok());
        if (slowly) Run(500ms, {});
      }
      BOOST_TEST(ClaimBoth().ok());
      Run(500ms, {&a, &b, &c});
      CheckAllAsBefore();
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

BOOST_FIXTURE_TEST_CASE(a_driver_that_had_not_heard_of_the_placement_does_not_start_it_twice, Running) {
  std::vector<int> order{0, 1, 2, 3};
  do {
    Restart();
    for (const int who : order) {
      if (who == 3)
        BOOST_TEST(Claim(job, {Wants(Worker(job, 0), 4), Wants(Worker(job, 1), 4)}).ok());
      else
        BOOST_TEST(Send(*std::vector{&a, &b, &c}[static_cast<size_t>(who)]).ok());
    }
    BOOST_TEST(Claim(job, {Wants(Worker(job, 0), 4), Wants(Worker(job, 1), 4)}).ok());
    Run(500ms, {&a, &b, &c});
    CheckAllAsBefore();
  } while (std::next_permutation(order.begin(), order.end()));
}

BOOST_FIXTURE_TEST_CASE(what_ended_while_the_head_was_away_is_told_with_its_code, Running) {
  Restart();
  b.End(Worker(job, 0), 9);
  BOOST_TEST(Send(b).ok());
  Run(300ms, {&a, &c});
  BOOST_TEST(ClaimBoth().ok());
  BOOST_TEST(Process(job, "worker 0").code == 9);
  Restart();
  a.End(Driver(job), 4);
  Run(300ms, {&a, &b, &c});
  CheckJob(job, JobState::kFailed, "its driver ended with exit code 4");
  BOOST_TEST((a.processes.empty() && b.processes.empty() && c.processes.empty()));
}

BOOST_FIXTURE_TEST_CASE(what_ended_before_the_head_fell_is_known_to_the_next_one_until_the_driver_has_heard, Running) {
  b.End(Worker(job, 0), 9);
  Run(300ms, {&a, &b, &c});
  Restart();
  Run(300ms, {&a, &b, &c});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0), 4), Wants(Worker(job, 1), 4)}).ok());   // it has not even heard that they were placed
  Run(300ms, {&a, &b, &c});
  BOOST_TEST(Process(job, "worker 0").code == 9);
  BOOST_TEST(b.started[Worker(job, 0)] == 1);
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0, 2), 4), Wants(Worker(job, 1), 4)}).ok());
  Run(300ms, {&a, &b, &c});
  BOOST_TEST((b.Runs(Worker(job, 0, 2)) && b.processes.size() == 1));
}

BOOST_FIXTURE_TEST_CASE(a_worker_whose_node_never_comes_back_is_lost_not_started_again_under_its_number, Running) {
  Restart();
  Run(1s, {&a, &c});
  BOOST_TEST(ClaimBoth().ok());
  BOOST_TEST(head->ClaimedOf(job, 1)->processes.size() == 1u);   // not decided yet
  Run(15s, {&a, &c});
  CheckState(b, NodeState::kDown);
  BOOST_TEST(ClaimBoth().ok());
  BOOST_TEST(ToString(Process(job, "worker 0").state) == std::string("ended"));
  BOOST_TEST(Process(job, "worker 0").reason == "lost while the head was away");
  BOOST_TEST((a.started.size() == 1 && c.started.size() == 1));
  Run(1s, {&a, &b, &c});
  BOOST_TEST((b.incarnation == Incarnation{2} && b.processes.empty()));   // too late
}

BOOST_FIXTURE_TEST_CASE(a_driver_whose_node_never_comes_back_starts_again, Running) {
  Restart();
  Run(5s, {&b, &c});
  CheckJob(job, JobState::kRunning);
  BOOST_TEST(Job(job).attempt == 1u);
  Run(10s, {&b, &c});
  BOOST_TEST((b.processes.contains(Driver(job, 2)) || c.processes.contains(Driver(job, 2))));
  BOOST_TEST((!b.processes.contains(Worker(job, 0)) && !c.processes.contains(Worker(job, 1))));   // of the driver that was lost
}

BOOST_FIXTURE_TEST_CASE(a_driver_whose_node_was_started_again_too_starts_again, Running) {
  Restart();
  a.StartAgain();
  Run(1s, {&a, &b, &c});
  BOOST_TEST((a.Runs(Driver(job, 2)) || b.Runs(Driver(job, 2)) || c.Runs(Driver(job, 2))));
  BOOST_TEST(Job(job).attempt == 2u);
  BOOST_TEST((!b.processes.contains(Worker(job, 0)) && !c.processes.contains(Worker(job, 1))));
}

BOOST_FIXTURE_TEST_CASE(workers_of_a_driver_that_was_lost_are_not_taken_for_those_of_the_next, Running) {
  Restart();
  a.StartAgain();
  Run(300ms, {&a, &c});   // b comes later than the next driver
  BOOST_TEST(Job(job).attempt == 2u);
  Run(300ms, {&a, &b, &c});
  BOOST_TEST(!b.processes.contains(Worker(job, 0)));
}

void CheckTwoLives(Running& cluster, bool older_first) {
  Member &a = cluster.a, &b = cluster.b, &c = cluster.c;
  const JobId job = cluster.job;
  Member d(4, 8);
  std::vector<ProcessOrder> wanted{Wants(Worker(job, 0, 2), 6), Wants(Worker(job, 1), 4)};
  cluster.Run(300ms, {&a, &b, &c, &d});
  BOOST_TEST(cluster.Claim(job, wanted).ok());
  cluster.Run(300ms, {&a, &c, &d});   // b does not hear that its worker was replaced
  BOOST_TEST((d.Runs(Worker(job, 0, 2)) && b.Runs(Worker(job, 0, 1))));
  cluster.Restart();
  for (Member* member : older_first ? std::vector{&b, &d} : std::vector{&d, &b}) BOOST_TEST(cluster.Send(*member).ok());
  for (int i = 0; i < 2; ++i) {
    BOOST_TEST(cluster.Claim(job, wanted).ok());
    cluster.Run(300ms, {&a, &b, &c, &d});
  }
  BOOST_TEST((d.Runs(Worker(job, 0, 2)) && d.started[Worker(job, 0, 2)] == 1));
  BOOST_TEST(b.processes.empty());
  BOOST_TEST(b.started.size() == 1u);
}
BOOST_FIXTURE_TEST_CASE(of_two_lives_of_a_worker_the_newer_one_stays_when_it_is_reported_first, Running) {
  CheckTwoLives(*this, false);
}
BOOST_FIXTURE_TEST_CASE(of_two_lives_of_a_worker_the_newer_one_stays_when_it_is_reported_last, Running) {
  CheckTwoLives(*this, true);
}
BOOST_FIXTURE_TEST_CASE(a_life_that_only_an_older_one_is_known_of_is_waited_for, Running) {
  Member d(4, 8);
  std::vector<ProcessOrder> wanted{Wants(Worker(job, 0, 2), 6), Wants(Worker(job, 1), 4)};
  Run(300ms, {&a, &b, &c, &d});
  BOOST_TEST(Claim(job, wanted).ok());
  Run(300ms, {&a, &c, &d});
  Restart();
  BOOST_TEST(Send(b).ok());
  BOOST_TEST(Claim(job, wanted).ok());   // before d has come back
  Run(300ms, {&a, &b, &c, &d});
  BOOST_TEST(Claim(job, wanted).ok());
  Run(300ms, {&a, &b, &c, &d});
  BOOST_TEST((d.Runs(Worker(job, 0, 2)) && d.started[Worker(job, 0, 2)] == 1));
  BOOST_TEST((b.processes.empty() && b.started.size() == 1));
}

BOOST_FIXTURE_TEST_CASE(a_node_that_is_drained_before_it_came_back_keeps_its_driver, Running) {
  Restart();
  BOOST_TEST(head->OnDrain({"n1"}, now, Wall()).ok());
  Run(1s, {&a, &b, &c});
  CheckState(a, NodeState::kDraining);
  BOOST_TEST((a.Runs(Driver(job)) && !a.left));
  BOOST_TEST(Job(job).attempt == 1u);
}

/// What its processes hand over their driver says, which is heard later.
BOOST_AUTO_TEST_CASE(a_node_that_is_drained_before_drivers_were_heard_ends_nothing) {
  Member a(1, 2), b(2, 1);
  Run(1s, {&b});
  const JobId job = Submit(1);
  Run(300ms, {&a, &b});
  ProcessOrder order = Wants(Worker(job, 0));
  order.hand_over_max = 5s;
  BOOST_TEST(Claim(job, {order}).ok());
  Run(300ms, {&a, &b});
  BOOST_TEST((b.Runs(Driver(job)) && a.Runs(Worker(job, 0))));
  BOOST_TEST(head->OnDrain({"n1"}, now, Wall()).ok());
  Run(200ms, {&a, &b});
  Restart();
  Run(1s, {&a, &b});
  BOOST_TEST(a.Runs(Worker(job, 0)));
  BOOST_TEST(Claim(job, {order}).ok());
  Run(1s, {&a, &b});
  BOOST_TEST(a.Runs(Worker(job, 0)));
  BOOST_TEST(head->ClaimedOf(job, 1)->processes.at(0).leaves);
  Run(5s, {&a, &b});
  BOOST_TEST(!a.Runs(Worker(job, 0)));
}

BOOST_FIXTURE_TEST_CASE(nothing_is_placed_on_a_node_that_has_not_come_back_yet, Running) {
  BOOST_TEST(head->OnStop({queued}, now, Wall()).ok());
  Commit();
  Restart();
  const JobId next = Submit(4);
  Run(1s, {&a});
  CheckJob(next, JobState::kQueued, "driver needs 4 cores, and no node has so many cores: the most is 1");
  Run(1s, {&a, &b, &c});
  BOOST_TEST((Node(b).cores_used == 4 && Node(c).cores_used == 4));
  BOOST_TEST(ToString(Job(next).state) == std::string("queued"));
}

BOOST_AUTO_TEST_CASE(a_driver_whose_orders_had_not_arrived_costs_no_attempt) {
  Member a(1, 4);
  Run(1s, {&a});
  const JobId job = Submit(1, "default", 1);   // placed and kept, but nobody has told the node
  CheckJob(job, JobState::kRunning);
  Restart();
  Run(500ms, {&a});
  BOOST_TEST(a.Runs(Driver(job)));
  BOOST_TEST(Job(job).attempt == 1u);
}

BOOST_AUTO_TEST_CASE(a_driver_whose_program_is_being_fetched_stays_where_it_is) {
  Member a(1, 4);
  Run(1s, {&a});
  const JobId job = Submit(1, "default", 1);
  Run(200ms, {&a});
  a.processes[Driver(job)].state = ProcessState::kPlaced;
  Restart();
  Run(500ms, {&a});
  BOOST_TEST(a.processes.contains(Driver(job)));
  a.processes[Driver(job)].state = ProcessState::kRunning;
  Run(500ms, {&a});
  CheckJob(job, JobState::kRunning);
  BOOST_TEST(ToString(Process(job, kDriverName).state) == std::string("running"));
  BOOST_TEST(a.started[Driver(job)] == 1);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
