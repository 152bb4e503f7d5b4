// The head, by hand in virtual time: what is placed where and when, and what waits.
#include "actors/cluster/head.h"

#include <map>

#include "tests/actors/cluster/head_fixture.h"

namespace troupe {

using namespace testing;

BOOST_FIXTURE_TEST_SUITE(HeadPlacementSuite, HeadFixture)

BOOST_AUTO_TEST_CASE(a_gang_waits_together_and_starts_together) {
  Member a(1, 2), b(2, 2);
  Run(1s, {&a});
  const JobId job = Submit(0);
  Run(300ms, {&a});
  std::vector<ProcessOrder> gang{Wants(Worker(job, 0)), Wants(Worker(job, 1)), Wants(Worker(job, 2))};
  BOOST_TEST(Claim(job, gang).ok());
  Run(1s, {&a});
  for (int i = 0; i < 3; ++i) {
    BOOST_TEST(ToString(Process(job, "worker " + std::to_string(i)).state) == std::string("waiting"));
    BOOST_TEST(Process(job, "worker " + std::to_string(i)).reason == "the 4 processes of the job need more than the 1 nodes have, even with nobody else there");
  }
  BOOST_TEST(Node(a).cores_used == 0u);   // nothing is held for it
  Run(1s, {&a, &b});
  for (int i = 0; i < 3; ++i) BOOST_TEST(ToString(Process(job, "worker " + std::to_string(i)).state) == std::string("running"));
  BOOST_TEST(Node(a).cores_used + Node(b).cores_used == 3u);
  const Claimed claimed = head->ClaimedOf(job, 1).value();
  BOOST_TEST(claimed.processes.size() == 3u);   // without the driver
  BOOST_TEST(claimed.version == head->VersionOf(job));
}

BOOST_AUTO_TEST_CASE(replacements_go_before_new_jobs_and_the_first_that_waits_stops_the_rest) {
  Member a(1, 4), b(2, 4);
  Run(1s, {&a, &b});
  const JobId job = Submit(0);
  Run(300ms, {&a, &b});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0), 4), Wants(Worker(job, 1), 4)}).ok());
  Run(300ms, {&a, &b});
  const JobId big = Submit(4), small = Submit(1);
  Run(300ms, {&a, &b});
  CheckJob(big, JobState::kQueued, "driver needs 4 cores, and no node has them free; 0 cores are free on 2 nodes");
  (a.Runs(Worker(job, 1)) ? a : b).End(Worker(job, 1), -9);
  BOOST_TEST(Send(a).ok());
  BOOST_TEST(Send(b).ok());
  // The lost worker's room goes to `big`, that came first; what is asked for afterwards goes before all that is new.
  CheckJob(big, JobState::kRunning);
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0), 4), Wants(Worker(job, 1, 2), 4)}).ok());
  Run(300ms, {&a, &b});
  BOOST_TEST(ToString(Process(job, "worker 1").state) == std::string("waiting"));
  (a.Runs(Driver(big)) ? a : b).End(Driver(big), 0);
  Run(300ms, {&a, &b});
  BOOST_TEST(ToString(Process(job, "worker 1").state) == std::string("running"));
  BOOST_TEST(ToString(Job(small).state) == std::string("queued"));
}

BOOST_AUTO_TEST_CASE(queues_share_alike) {
  Member a(1, 4);
  Run(1s, {&a});
  std::vector<JobId> day, night;
  for (int i = 0; i < 6; ++i) day.push_back(Submit(1, "day"));
  for (int i = 0; i < 2; ++i) night.push_back(Submit(1, "night"));
  Run(300ms, {&a});
  // The first four took all when they came; as they end, it is the other queue's turn.
  for (int i = 0; i < 2; ++i) a.End(Driver(day[static_cast<size_t>(i)]), 0);
  Run(300ms, {&a});
  for (const JobId job : night) CheckJob(job, JobState::kRunning);
  BOOST_TEST(ToString(Job(day[4]).state) == std::string("queued"));
  a.End(Driver(night[0]), 0);
  Run(300ms, {&a});
  BOOST_TEST(ToString(Job(day[4]).state) == std::string("running"));
}

BOOST_AUTO_TEST_CASE(queues_share_by_their_weights) {
  options.queues = {{"day", 2}, {"night", 1}};
  Restart();
  Member a(1, 6);
  Run(1s, {&a});
  const JobId all = Submit(6);
  Run(300ms, {&a});
  std::vector<JobId> jobs;
  for (int i = 0; i < 12; ++i) jobs.push_back(Submit(1, i % 2 == 0 ? "night" : "day"));
  a.End(Driver(all), 0);
  Run(300ms, {&a});
  std::map<std::string, int> running;
  for (const JobId job : jobs) running[Job(job).spec.queue] += Job(job).state == JobState::kRunning;
  BOOST_TEST((running == std::map<std::string, int>{{"day", 4}, {"night", 2}}));
  Submit(1, "other");
  const std::vector<QueueStatus> queues = head->OnInspect({})->queues;
  BOOST_REQUIRE(queues.size() == 3u);   // the default one has no job any more, and no weight of its own
  BOOST_TEST((queues[0].name == "day" && queues[0].weight == 2 && queues[0].cores == 4 && queues[0].running == 4 && queues[0].waiting == 2));
  BOOST_TEST((queues[1].name == "night" && queues[1].weight == 1 && queues[1].cores == 2 && queues[1].running == 2 && queues[1].waiting == 4));
  BOOST_TEST((queues[2].name == "other" && queues[2].weight == 1 && queues[2].cores == 0 && queues[2].running == 0 && queues[2].waiting == 1));
  for (int i = 0; i < 12; ++i) {   // whatever ends, the shares stay as long as both wait
    for (const JobId job : jobs) {
      if (Job(job).state != JobState::kRunning) continue;
      a.End(Driver(job), 0);
      break;
    }
    Run(300ms, {&a});
    const auto shares = head->OnInspect({})->queues;
    if (shares[0].waiting > 0 && shares[1].waiting > 0) BOOST_TEST((shares[0].cores + shares[1].cores + shares[2].cores == 6));
  }
}

BOOST_AUTO_TEST_CASE(within_a_queue_the_higher_priority_begins_first_then_the_older_job) {
  Member a(1, 1);
  Run(1s, {&a});
  JobSpec spec;
  spec.needs.cores = 1;
  const JobId first = SubmitSpec(spec);
  Run(300ms, {&a});
  std::vector<JobId> jobs;
  for (const int32_t priority : {0, -1, 5, 0, 5}) {
    spec.priority = priority;
    jobs.push_back(SubmitSpec(spec));
  }
  Restart();   // priorities are kept
  JobId before = first;
  for (const size_t next : {2, 4, 0, 3, 1}) {
    Run(300ms, {&a});
    a.End(Driver(before), 0);
    Run(300ms, {&a});
    BOOST_TEST(ToString(Job(jobs[next]).state) == std::string("running"), next);
    before = jobs[next];
  }
}

BOOST_AUTO_TEST_CASE(disk_and_accelerators_are_promised_like_cores) {
  Member a(1, 8), b(2, 8);
  a.capacity.disk = 100;
  b.capacity.disk = 1000;
  b.capacity.accelerators = {{"gpu", 2}};
  Run(1s, {&a, &b});
  JobSpec spec;
  spec.needs = {.cores = 0, .disk = 600};
  const JobId disk = SubmitSpec(spec), more_disk = SubmitSpec(spec);
  spec.needs = {.cores = 0, .accelerators = {{"gpu", 2}}};
  spec.queue = "other";
  const JobId gpu = SubmitSpec(spec), more_gpu = SubmitSpec(spec);
  Run(300ms, {&a, &b});
  CheckJob(disk, JobState::kRunning);
  CheckJob(more_disk, JobState::kQueued, "driver needs 600 bytes of disk, and no node has them free; 16 cores are free on 2 nodes");
  b.End(Driver(disk), 0);
  Run(300ms, {&a, &b});
  CheckJob(more_disk, JobState::kRunning);
  CheckJob(gpu, JobState::kRunning);
  CheckJob(more_gpu, JobState::kQueued, "driver needs 2 gpu, and no node has them free; 16 cores are free on 2 nodes");
  BOOST_TEST((Node(b).disk_used == 600 && Node(b).accelerators_used == std::map<std::string, uint32_t>{{"gpu", 2}}));
  b.End(Driver(gpu), 0);
  Run(300ms, {&a, &b});
  CheckJob(more_gpu, JobState::kRunning);
  b.End(Driver(more_gpu), 0);
  b.End(Driver(more_disk), 0);
  Run(300ms, {&a, &b});
  BOOST_TEST((Node(b).disk_used == 0 && Node(b).accelerators_used.empty()));
}

BOOST_AUTO_TEST_CASE(what_no_node_has_is_said_at_once_also_behind_others_and_begins_when_a_node_has_it) {
  const JobId nowhere = Submit(1);
  CheckJob(nowhere, JobState::kQueued, "driver needs 1 core, and no node is up");
  Member a(1, 1);
  Run(300ms, {&a});
  CheckJob(nowhere, JobState::kRunning);
  const JobId blocked = Submit(1);
  JobSpec spec;
  spec.needs = {.cores = 1, .labels = {{"zone", "x"}}};
  const JobId labelled = SubmitSpec(spec);
  const std::string why = "driver needs 1 core, label zone=x, and no node has label zone=x";
  CheckJob(labelled, JobState::kQueued, why);
  Run(300ms, {&a});
  Restart();
  Run(300ms, {&a});
  CheckJob(labelled, JobState::kQueued, why);
  Member b(2, 1, {{"zone", "y"}}), c(3, 1, {{"zone", "x"}});
  Run(300ms, {&a, &b});
  CheckJob(blocked, JobState::kRunning);
  CheckJob(labelled, JobState::kQueued, why);
  Run(300ms, {&a, &b, &c});
  CheckJob(labelled, JobState::kRunning);
  BOOST_TEST(c.Runs(Driver(labelled)));
}

BOOST_AUTO_TEST_CASE(a_job_that_is_stopped_while_no_node_has_what_it_wants_is_over) {
  Member a(1, 1);
  Run(300ms, {&a});
  const JobId job = Submit(2);
  BOOST_TEST(head->OnStop({job}, now, Wall()).ok());
  Member b(2, 2);
  Run(300ms, {&a, &b});
  CheckJob(job, JobState::kStopped, "stopped on request");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_started_on_one_node_is_tried_on_another_under_the_same_number) {
  Member a(1, 8), b(2, 4);
  a.cannot_start = true;
  Run(1s, {&a, &b});
  const JobId job = Submit(1, "default", 1);
  Run(500ms, {&a, &b});
  CheckJob(job, JobState::kRunning);
  BOOST_TEST((b.Runs(Driver(job)) && a.processes.empty() && a.refused == 1));
  BOOST_TEST(Process(job, kDriverName).before == "cannot be started on node n1: no such folder");
  BOOST_TEST((head->OutputOf(Driver(job)).ok() && *head->OutputOf(Driver(job)) == b.node));
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0))}).ok());
  Run(500ms, {&a, &b});
  BOOST_TEST((b.Runs(Worker(job, 0)) && a.processes.empty() && a.refused == 2));
  Restart();
  Run(500ms, {&a, &b});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0))}).ok());
  BOOST_TEST((b.Runs(Driver(job)) && b.Runs(Worker(job, 0)) && b.started[Worker(job, 0)] == 1));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_started_anywhere_is_tried_three_times_at_most_and_says_why) {
  std::vector<Member> members;
  for (uint32_t i = 1; i <= 5; ++i) members.emplace_back(i, 4);
  std::vector<Member*> all;
  for (Member& member : members) {
    member.cannot_start = true;
    all.push_back(&member);
  }
  Run(1s, all);
  const JobId job = Submit(1);
  Run(2s, all);
  CheckJob(job, JobState::kFailed, "its driver cannot be started on node n3: no such folder");
  BOOST_TEST(Job(job).code == 127);
  int refused = 0;
  for (const Member& member : members) refused += member.refused;
  BOOST_TEST(refused == 3);
  for (const Member& member : members) BOOST_TEST(member.processes.empty());
  members[4].cannot_start = false;
  const JobId other = Submit(4);   // only one node, the last, can
  for (Member& member : members) member.capacity.cores = member.node == NodeId{5} ? 4 : 1;
  Run(1s, all);
  BOOST_TEST((members[4].Runs(Driver(other)) || Job(other).state != JobState::kRunning));
}

BOOST_AUTO_TEST_CASE(a_worker_that_the_only_node_cannot_start_is_told_to_its_driver) {
  Member a(1, 4);
  Run(1s, {&a});
  const JobId job = Submit(1);
  Run(500ms, {&a});
  a.cannot_start = true;
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0))}).ok());
  Run(500ms, {&a});
  BOOST_TEST((ToString(Process(job, "worker 0").state) == std::string("ended") && Process(job, "worker 0").code == 127));
  BOOST_TEST(Process(job, "worker 0").reason == "cannot be started on node n1: no such folder");
  Restart();
  Run(500ms, {&a});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0))}).ok());   // it has not heard: this life was placed, and is not placed again
  BOOST_TEST(ToString(Process(job, "worker 0").state) == std::string("ended"));
  BOOST_TEST(a.refused == 1);
  a.cannot_start = false;
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0, 2))}).ok());
  Run(500ms, {&a});
  BOOST_TEST(a.Runs(Worker(job, 0, 2)));
  BOOST_TEST(Process(job, "worker 0").before == "lost while the head was away");
}

BOOST_AUTO_TEST_CASE(a_job_that_wants_more_than_there_is_keeps_nobody_waiting) {
  Member a(1, 4);
  Run(1s, {&a});
  const JobId large = Submit(5), small = Submit(1);
  Run(300ms, {&a});
  BOOST_TEST(ToString(Job(large).state) == std::string("queued"));
  BOOST_TEST(Job(large).reason == "driver needs 5 cores, and no node has so many cores: the most is 4");
  CheckJob(small, JobState::kRunning);
  Member b(2, 8);   // now there is as much
  Run(1s, {&a, &b});
  CheckJob(large, JobState::kRunning);
}

BOOST_AUTO_TEST_CASE(what_is_placed_alone_does_not_wait_for_others) {
  Member a(1, 2);
  BOOST_TEST(Send(a).ok());
  const JobId job = Submit();
  Run(200ms, {&a});
  ProcessOrder alone = Wants(Worker(job, 1));
  alone.placing = Placing::kAlone;
  BOOST_TEST(Claim(job, {alone, Wants(Worker(job, 2), 2), Wants(Worker(job, 3), 0)}).ok());
  Run(200ms, {&a});
  BOOST_TEST((Process(job, "worker 1").state == ProcessState::kRunning));
  BOOST_TEST((Process(job, "worker 2").state == ProcessState::kWaiting));
  BOOST_TEST((Process(job, "worker 3").state == ProcessState::kWaiting));   // these two go together
}

BOOST_AUTO_TEST_CASE(what_is_spare_begins_when_nobody_else_waits_and_gives_way) {
  Member a(1, 2), b(2, 2);
  BOOST_TEST(Send(a).ok());
  const JobId job = Submit();
  Run(200ms, {&a});
  std::vector<ProcessOrder> wanted{Wants(Worker(job, 1)), Wants(Worker(job, 2)), Wants(Worker(job, 3)), Wants(Worker(job, 4))};
  for (ProcessOrder& order : wanted) order.placing = Placing::kSpare;
  BOOST_TEST(Claim(job, wanted).ok());
  Run(200ms, {&a});
  BOOST_TEST((Process(job, "worker 1").state == ProcessState::kRunning));
  BOOST_TEST((Process(job, "worker 2").state == ProcessState::kWaiting));   // the driver has the other core
  BOOST_TEST(Process(job, "worker 2").reason == "it is spare: it begins when there is room and nobody else waits");
  CheckJob(job, JobState::kRunning);
  BOOST_TEST(Send(b).ok());
  Run(300ms, {&a, &b});
  BOOST_TEST((Process(job, "worker 3").state == ProcessState::kRunning));
  BOOST_TEST((Process(job, "worker 4").state == ProcessState::kWaiting));

  const JobId other = Submit(2);   // has a whole node: two of them go, the last ones
  Run(2s, {&a, &b});
  CheckJob(other, JobState::kRunning);
  BOOST_TEST((Process(job, "worker 1").state == ProcessState::kRunning));
  BOOST_TEST((Process(job, "worker 3").state == ProcessState::kEnded));
  BOOST_TEST(Process(job, "worker 3").reason == "node " + b.name + ": it gives way to others that wait");
  const JobId third = Submit(2);   // would not have room if all went
  Run(1s, {&a, &b});
  BOOST_TEST((Process(job, "worker 1").state == ProcessState::kRunning));
  CheckJob(third, JobState::kQueued, Job(third).reason);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
