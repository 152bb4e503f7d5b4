// Head, by hand in virtual time: who is a member, what is placed where and when, what ends a job, and what a head that starts again knows.
#include "actors/cluster/head.h"

#include <boost/test/unit_test.hpp>
#include <set>

#include "actors/cluster/records.h"
#include "tests/actors/cluster/member.h"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using testing::Member;
using Names = std::vector<std::string>;
using Records = std::map<std::string, std::string>;

ProcessId Driver(JobId job, uint64_t attempt = 1) {
  return {job, kDriverName, attempt};
}
ProcessId Worker(JobId job, int worker, uint64_t life = 1) {
  return {job, "worker " + std::to_string(worker), life};
}
ProcessOrder Wants(const ProcessId& id, uint32_t cores = 1, std::vector<std::string> apart = {}) {
  return {.id = id, .needs = {cores, 0, {}, std::move(apart)}, .program = "", .arguments = {}, .environment = {}, .folder = ""};
}

/// A head with its store and its clock.
struct Fixture {
  Fixture() { Restart(); }

  void Restart() {
    auto made = Head::Make(options, ++generation, records, now, Wall());
    BOOST_REQUIRE_MESSAGE(made.ok(), made.status().ToString());
    head.emplace(*std::move(made));
    claims.clear();
  }
  void Commit() {
    for (const Store::Change& change : head->TakeChanges()) {
      if (change.value)
        records[change.key] = *change.value;
      else
        records.erase(change.key);
    }
  }
  int64_t Wall() const { return now.time_since_epoch() / 1ms + wall_ahead; }
  absl::Status Send(Member& member) {
    const Report report = member.MakeReport();
    const absl::Status status = head->OnReport(report, now, Wall());
    if (!status.ok()) return status;
    Commit();
    member.Obey(head->OrdersFor(member.node, report.incarnation, report.seen));
    return status;
  }
  /// Everybody reports, again and again, for that long.
  void Run(Clock::Duration time, const std::vector<Member*>& members) {
    for (const Clock::Time end = now + time; now < end; now += 100ms) {
      for (Member* member : members) BOOST_TEST(Send(*member).ok());
      head->Tick(now, Wall());
      Commit();
    }
  }
  JobId SubmitSpec(JobSpec spec) {
    spec.program = "p";
    const auto submitted = head->OnSubmit({"request " + std::to_string(++requests), spec}, now, Wall());
    BOOST_REQUIRE_MESSAGE(submitted.ok(), submitted.status().ToString());
    Commit();
    return submitted->job;
  }
  JobId Submit(uint32_t cores = 1, const std::string& queue = "default", uint32_t attempts = 3, std::chrono::milliseconds time_limit = 0ms) {
    JobSpec spec;
    spec.queue = queue;
    spec.needs.cores = cores;
    spec.attempts = attempts;
    spec.time_limit = time_limit;
    return SubmitSpec(spec);
  }
  absl::Status Claim(JobId job, std::vector<ProcessOrder> wanted, uint64_t attempt = 1) {
    const absl::Status status = head->OnClaim({.job = job, .attempt = attempt, .wanted = std::move(wanted), .seen = 0, .number = ++claims[job]}, now, Wall());
    Commit();
    return status;
  }
  JobStatus Job(JobId job) {
    const auto inspected = head->OnInspect({job, 0});
    BOOST_REQUIRE_MESSAGE(inspected.ok(), inspected.status().ToString());
    return inspected->jobs.at(0);
  }
  NodeStatus Node(const Member& member) {
    const Inspected all = *head->OnInspect({});
    for (const NodeStatus& node : all.nodes) {
      if (node.node == member.node) return node;
    }
    BOOST_FAIL("no node " << member.name);
    return {};
  }
  ClaimedProcess Process(JobId job, const std::string& name) {
    for (const ClaimedProcess& process : Job(job).processes) {
      if (process.id.name == name) return process;
    }
    return {};
  }
  void CheckState(const Member& member, NodeState state) {
    BOOST_TEST(ToString(Node(member).state) == ToString(state), member.name << " is " << ToString(Node(member).state));
  }
  void CheckJob(JobId job, JobState state, const std::string& reason = "") {
    BOOST_TEST(ToString(Job(job).state) == std::string(ToString(state)));
    BOOST_TEST(Job(job).reason == reason);
  }

  HeadOptions options;
  uint64_t generation = 0;
  std::map<std::string, std::string> records;
  Clock::Time now{1000h};
  int64_t wall_ahead = 0;   // ms
  std::optional<Head> head;
  int requests = 0;
  std::map<JobId, uint64_t> claims;
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(HeadSuite, Fixture)

BOOST_AUTO_TEST_CASE(a_node_that_reports_is_up_and_one_without_a_name_is_refused) {
  Member a(1, 4);
  BOOST_TEST(Send(a).ok());
  CheckState(a, NodeState::kUp);
  BOOST_TEST((Node(a).capacity == a.capacity));
  BOOST_TEST(head->PlacesOf(a.node) == (Names{"tcp:host:1"}), boost::test_tools::per_element());
  BOOST_TEST(head->PlacesOf(NodeId{77}).empty());
  Report report = a.MakeReport();
  report.name.clear();
  BOOST_TEST(absl::IsInvalidArgument(head->OnReport(report, now, 0)));
  report = a.MakeReport();
  report.node = kHeadNode;
  BOOST_TEST(absl::IsInvalidArgument(head->OnReport(report, now, 0)));
  report = a.MakeReport();
  report.incarnation = Incarnation{};
  BOOST_TEST(absl::IsInvalidArgument(head->OnReport(report, now, 0)));
}

BOOST_AUTO_TEST_CASE(a_name_that_is_taken_is_refused_until_its_node_is_down) {
  Member a(1, 4), other(2, 4);
  other.name = a.name;
  BOOST_TEST(Send(a).ok());
  const absl::Status taken = Send(other);
  BOOST_TEST(absl::IsAlreadyExists(taken));
  BOOST_TEST(taken.message() == "a node named 'n1' is a member already (up): choose another --name, or wait until that one is down");
  Run(10s, {});
  CheckState(a, NodeState::kDown);
  BOOST_TEST(Send(other).ok());
  CheckState(other, NodeState::kUp);
  BOOST_TEST(head->OnInspect({})->nodes.size() == 1u);
  BOOST_TEST(absl::IsAlreadyExists(Send(a)));   // the first one is a stranger now
  BOOST_TEST(records.size() == 1u);
}

BOOST_AUTO_TEST_CASE(silence_makes_a_node_suspect_then_down_and_its_life_is_over) {
  Member a(1, 4), b(2, 4);
  Run(5s, {&a, &b});
  Run(300ms, {&b});
  CheckState(a, NodeState::kUp);
  Run(700ms, {&b});
  CheckState(a, NodeState::kSuspect);
  Run(100ms, {&a, &b});
  CheckState(a, NodeState::kUp);   // it was only late
  Run(10s, {&b});
  CheckState(a, NodeState::kDown);
  CheckState(b, NodeState::kUp);
  const Report late = a.MakeReport();
  BOOST_TEST(head->OnReport(late, now, Wall()).ok());
  CheckState(a, NodeState::kDown);   // quarantined
  BOOST_TEST((head->OrdersFor(a.node, late.incarnation, late.seen).verdict == Orders::Verdict::kRejoin));
  BOOST_TEST(Send(a).ok());
  BOOST_TEST((a.incarnation == Incarnation{2}));
  BOOST_TEST(Send(a).ok());
  CheckState(a, NodeState::kUp);
}

BOOST_AUTO_TEST_CASE(an_older_life_is_told_to_come_back_as_a_newer_one_and_changes_nothing) {
  Member a(1, 4);
  a.incarnation = Incarnation{5};
  BOOST_TEST(Send(a).ok());
  Member ghost(1, 64);
  ghost.incarnation = Incarnation{4};
  const Report report = ghost.MakeReport();
  BOOST_TEST(head->OnReport(report, now, 0).ok());
  BOOST_TEST(Node(a).capacity.cores == 4u);
  BOOST_TEST(head->HasOrders(a.node, report.incarnation, 0));
  const Orders orders = head->OrdersFor(a.node, report.incarnation, 0);
  BOOST_TEST((orders.verdict == Orders::Verdict::kRejoin && orders.incarnation == Incarnation{5}));
  BOOST_TEST((head->OrdersFor(NodeId{9}, Incarnation{1}, 0).verdict == Orders::Verdict::kRejoin));   // nobody knows it
}

BOOST_AUTO_TEST_CASE(a_head_that_was_asleep_does_not_take_its_own_silence_for_that_of_nodes) {
  Member a(1, 4);
  Run(5s, {&a});
  const JobId job = Submit();
  Run(1s, {&a});
  now += 60s;   // stopped by a signal, a machine asleep, a disk that took long: reports are still to be read
  head->Tick(now, Wall());
  CheckState(a, NodeState::kUp);
  Run(1s, {&a});
  BOOST_TEST(a.started[Driver(job)] == 1);
  Run(10s, {});
  CheckState(a, NodeState::kDown);   // and is not deaf now
}

BOOST_AUTO_TEST_CASE(a_node_that_has_obeyed_a_later_head_is_not_this_head_s) {
  const Report report{.node = NodeId{7},
                      .incarnation = Incarnation{1},
                      .number = 1,
                      .name = "late",
                      .host = "h",
                      .places = {},
                      .capacity = {},
                      .generation = head->generation() + 1};
  BOOST_TEST(absl::IsUnavailable(head->OnReport(report, now, Wall())));
  BOOST_TEST(head->OnInspect({})->nodes.empty());
}

BOOST_AUTO_TEST_CASE(a_report_that_was_overtaken_says_nothing) {
  Member a(1, 4);
  Run(1s, {&a});
  const JobId job = Submit();
  const Report before = a.MakeReport();   // without the driver
  Run(500ms, {&a});
  BOOST_TEST(a.Runs(Driver(job)));
  BOOST_TEST(head->OnReport(before, now, Wall()).ok());
  BOOST_TEST(ToString(Process(job, kDriverName).state) == std::string("running"));
}

BOOST_AUTO_TEST_CASE(a_job_runs_and_ends_as_its_driver_ends) {
  Member a(1, 4);
  Run(1s, {&a});
  for (const auto& [code, state, reason] : {std::tuple(0, JobState::kSucceeded, ""), {3, JobState::kFailed, "its driver ended with exit code 3"}}) {
    const JobId job = Submit();
    Run(300ms, {&a});
    CheckJob(job, JobState::kRunning);
    BOOST_TEST(Job(job).started_ms > 0);
    BOOST_TEST(a.Runs(Driver(job)));
    BOOST_TEST(Node(a).cores_used == 1u);
    BOOST_TEST((head->OutputOf(Driver(job)).value() == a.node));
    a.End(Driver(job), code);
    Run(300ms, {&a});
    CheckJob(job, state, reason);
    BOOST_TEST(Job(job).code == code);
    BOOST_TEST(Job(job).ended_ms >= Job(job).started_ms);
    BOOST_TEST(a.processes.empty());
    BOOST_TEST(Node(a).cores_used == 0u);
    BOOST_TEST((head->OutputOf(Driver(job)).value() == a.node));   // still to be read
  }
  BOOST_TEST(absl::IsNotFound(head->OutputOf(Driver(99)).status()));
  BOOST_TEST(absl::IsNotFound(head->OutputOf(Driver(1, 2)).status()));
  BOOST_TEST(absl::IsNotFound(head->OutputOf(Driver(1, 0)).status()));
  BOOST_TEST(absl::IsNotFound(head->OutputOf(Worker(1, 0)).status()));
  BOOST_TEST(absl::IsNotFound(head->OnInspect({99, 0}).status()));
}

BOOST_AUTO_TEST_CASE(a_submission_that_comes_twice_is_one_job_and_a_bad_one_none) {
  JobSpec spec;
  BOOST_TEST(absl::IsInvalidArgument(head->OnSubmit({"r", spec}, now, 0).status()));   // no program
  spec.program = "p";
  BOOST_TEST(absl::IsInvalidArgument(head->OnSubmit({"", spec}, now, 0).status()));
  spec.attempts = 0;
  BOOST_TEST(absl::IsInvalidArgument(head->OnSubmit({"r", spec}, now, 0).status()));
  spec.attempts = 1;
  BOOST_TEST(head->OnSubmit({"r", spec}, now, 0)->job == 1u);
  BOOST_TEST(head->OnSubmit({"r", spec}, now, 0)->job == 1u);
  Commit();
  Restart();
  BOOST_TEST(head->OnSubmit({"r", spec}, now, 0)->job == 1u);
  BOOST_TEST(head->OnSubmit({"s", spec}, now, 0)->job == 2u);
}

BOOST_AUTO_TEST_CASE(a_driver_that_is_lost_starts_again_elsewhere_as_often_as_it_may) {
  Member a(1, 4), b(2, 2);
  Run(1s, {&a, &b});
  const JobId job = Submit(1, "default", 2);
  Run(1s, {&a, &b});
  BOOST_TEST(a.Runs(Driver(job)));
  Run(10s, {&b});
  BOOST_TEST(b.Runs(Driver(job, 2)));
  CheckJob(job, JobState::kRunning);
  BOOST_TEST((head->OutputOf(Driver(job, 1)).value() == a.node));
  BOOST_TEST((head->OutputOf(Driver(job, 2)).value() == b.node));
  Run(1s, {&a, &b});   // comes back, and has to end what it had
  BOOST_TEST(a.processes.empty());
  b.End(Driver(job, 2), -9);
  Run(1s, {&a, &b});
  CheckJob(job, JobState::kFailed, "its driver was lost 2 times, the last time: killed by signal 9");
  BOOST_TEST((a.processes.empty() && b.processes.empty()));
}

BOOST_AUTO_TEST_CASE(a_process_that_a_node_no_longer_has_is_lost) {
  Member a(1, 4);
  Run(1s, {&a});
  const JobId job = Submit(1, "default", 1);
  Run(500ms, {&a});
  a.processes.clear();
  Run(500ms, {&a});
  CheckJob(job, JobState::kFailed, "its driver was lost 1 times, the last time: node n1 has lost it");
}

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

BOOST_AUTO_TEST_CASE(a_claim_replaces_lives_drops_what_it_does_not_want_and_is_refused_where_it_is_wrong) {
  Member a(1, 8);
  Run(1s, {&a});
  const JobId job = Submit(0);
  Run(300ms, {&a});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0)), Wants(Worker(job, 1))}).ok());
  Run(300ms, {&a});
  a.End(Worker(job, 0), 7);
  Run(300ms, {&a});
  BOOST_TEST(Process(job, "worker 0").code == 7);
  BOOST_TEST(Process(job, "worker 0").reason == "exit code 7");
  CheckJob(job, JobState::kRunning);   // the driver's business
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0, 2))}).ok());
  Run(300ms, {&a});
  BOOST_TEST((a.Runs(Worker(job, 0, 2)) && !a.processes.contains(Worker(job, 0, 1)) && !a.processes.contains(Worker(job, 1))));
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0, 1))}).ok());   // an older life
  Run(300ms, {&a});
  BOOST_TEST(a.Runs(Worker(job, 0, 2)));

  BOOST_TEST(absl::IsInvalidArgument(Claim(job, {Wants(Worker(job, 5)), Wants(Worker(job + 1, 0))})));
  BOOST_TEST(absl::IsInvalidArgument(Claim(job, {Wants(Worker(job, 5)), Wants(Driver(job))})));
  BOOST_TEST(absl::IsInvalidArgument(Claim(job, {Wants(Worker(job, 5)), Wants({job, "", 1})})));
  BOOST_TEST(Process(job, "worker 5").id.job == 0u);   // all or nothing
  BOOST_TEST(absl::IsNotFound(Claim(job, {}, 2)));
  BOOST_TEST(absl::IsNotFound(Claim(99, {})));
  BOOST_TEST(absl::IsNotFound(head->ClaimedOf(job, 2).status()));
  BOOST_TEST(absl::IsNotFound(head->ClaimedOf(99, 1).status()));
}

BOOST_AUTO_TEST_CASE(a_claim_that_was_overtaken_changes_nothing) {
  Member a(1, 8);
  Run(1s, {&a});
  const JobId job = Submit(0);
  Run(300ms, {&a});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0))}).ok());
  Run(300ms, {&a});
  BOOST_TEST(Claim(job, {}).ok());
  Run(300ms, {&a});
  BOOST_TEST(head->OnClaim({.job = job, .attempt = 1, .wanted = {Wants(Worker(job, 0))}, .seen = 0, .number = 1}, now, Wall()).ok());
  Run(300ms, {&a});
  BOOST_TEST(a.started[Worker(job, 0)] == 1);   // not a second time under the same incarnation
  BOOST_TEST(!a.Runs(Worker(job, 0)));
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
  CheckJob(more_disk, JobState::kQueued, "driver needs 0 cores, 600 bytes of disk, and no node has them free; 16 cores are free on 2 nodes");
  b.End(Driver(disk), 0);
  Run(300ms, {&a, &b});
  CheckJob(more_disk, JobState::kRunning);
  CheckJob(gpu, JobState::kRunning);
  CheckJob(more_gpu, JobState::kQueued, "driver needs 0 cores, 2 gpu, and no node has them free; 16 cores are free on 2 nodes");
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

BOOST_AUTO_TEST_CASE(a_driver_that_was_refused_while_the_head_fell_is_tried_again) {
  Member a(1, 8), b(2, 4);
  a.cannot_start = true;
  Run(1s, {&a, &b});
  const JobId job = Submit(1, "default", 1);
  BOOST_TEST(Send(a).ok());   // it is told to start it, and cannot
  BOOST_TEST(a.refused == 1);
  Restart();
  Run(1s, {&a, &b});
  CheckJob(job, JobState::kRunning);
  BOOST_TEST((b.Runs(Driver(job)) && Job(job).attempt == 1));
}

BOOST_AUTO_TEST_CASE(restarts_are_shown_with_the_end_of_the_life_before) {
  Member a(1, 4), b(2, 2);
  Run(1s, {&a, &b});
  const JobId job = Submit(0);
  Run(300ms, {&a, &b});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0), 4)}).ok());
  Run(300ms, {&a, &b});
  a.End(Worker(job, 0), -9);
  Run(300ms, {&a, &b});
  BOOST_TEST(Process(job, "worker 0").before == "");
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0, 2), 4)}).ok());
  BOOST_TEST(Process(job, "worker 0").before == "killed by signal 9 on node n1");
  (a.Runs(Driver(job)) ? a : b).End(Driver(job), -15);
  Run(300ms, {&a, &b});
  BOOST_TEST(Process(job, kDriverName).id.incarnation == 2u);
  BOOST_TEST(Process(job, kDriverName).before.starts_with("killed by signal 15 on node n"));
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

BOOST_AUTO_TEST_CASE(a_time_limit_ends_a_job_from_its_first_start_on) {
  Member a(1, 4), b(2, 2);
  Run(1s, {&a, &b});
  const JobId job = Submit(1, "default", 3, 20s), other = Submit();
  Run(15s, {&b});   // lost, and started again
  CheckJob(job, JobState::kRunning);
  BOOST_TEST(Job(job).attempt == 2u);
  Run(6s, {&b});
  CheckJob(job, JobState::kFailed, "it has taken longer than its time limit, 20 s");
  BOOST_TEST(!b.Runs(Driver(job, 2)));
  CheckJob(other, JobState::kRunning);
}

BOOST_AUTO_TEST_CASE(a_time_limit_goes_on_while_the_head_is_away_whatever_the_wall_clock_does) {
  Member a(1, 8);
  Run(1s, {&a});
  const JobId job = Submit(1, "default", 3, 20s), other = Submit(1, "default", 3, 1000s);
  Run(8s, {&a});
  now += 5s;   // nobody is there
  Restart();
  Run(6s, {&a});
  CheckJob(job, JobState::kRunning);
  Run(1500ms, {&a});
  CheckJob(job, JobState::kFailed, "it has taken longer than its time limit, 20 s");
  CheckJob(other, JobState::kRunning);
  wall_ahead = -3'600'000;   // set back by an hour: the limit begins anew, and no sooner
  Restart();
  Run(999s, {&a});
  CheckJob(other, JobState::kRunning);
  Run(2s, {&a});
  CheckJob(other, JobState::kFailed, "it has taken longer than its time limit, 1000 s");
  const JobId late = Submit(1, "default", 3, 20s);
  Run(1s, {&a});
  wall_ahead = 3'600'000;   // and forward: it has run for longer than it may
  Restart();
  Run(300ms, {&a});
  CheckJob(late, JobState::kFailed, "it has taken longer than its time limit, 20 s");
}

BOOST_AUTO_TEST_CASE(a_node_that_has_been_gone_for_a_day_is_forgotten) {
  Member a(1, 1), b(2, 1), c(3, 1);
  Run(1s, {&a, &b, &c});
  BOOST_TEST(head->OnDrain({"n2"}, now, Wall()).ok());
  Run(5s, {&b, &c});   // a is down, b has left
  CheckState(a, NodeState::kDown);
  CheckState(b, NodeState::kLeft);
  wall_ahead += 12 * 3'600'000;
  Run(1s, {&c});
  Restart();
  Run(1s, {&c});
  BOOST_TEST(head->OnInspect({})->nodes.size() == 3u);
  wall_ahead += 12 * 3'600'000;
  Run(1s, {&c});
  BOOST_TEST(head->OnInspect({})->nodes.size() == 1u);
  BOOST_TEST(records.size() == 1u);
  CheckState(c, NodeState::kUp);
  Run(1s, {&a, &c});   // it comes back as one that nobody knows
  CheckState(a, NodeState::kUp);
}

BOOST_AUTO_TEST_CASE(suspicion_is_not_kept_but_what_a_node_has_is) {
  Member a(1, 4);
  Run(2s, {&a});
  const auto before = records;
  now += 900ms;
  head->Tick(now, Wall());
  CheckState(a, NodeState::kSuspect);
  Run(300ms, {&a});
  CheckState(a, NodeState::kUp);
  Commit();
  BOOST_TEST((records == before));
  a.capacity.accelerators["gpu"] = 1;
  Run(300ms, {&a});
  BOOST_TEST((records != before));
}

BOOST_AUTO_TEST_CASE(a_life_that_was_placed_is_kept_until_its_driver_s_end) {
  Member a(1, 8);
  Run(1s, {&a});
  const JobId job = Submit(1);
  Run(300ms, {&a});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0)), Wants(Worker(job, 1))}).ok());
  const auto lives = [&] { return std::count_if(records.begin(), records.end(), [](const auto& record) { return record.first.starts_with("life/"); }); };
  BOOST_TEST(lives() == 2);
  BOOST_TEST(records[LifeKey(job, "worker 1")] == "1");
  a.StartAgain();   // with the worker, before its driver has heard that it was placed
  Restart();
  Member b(2, 8);
  Run(500ms, {&a, &b});
  BOOST_TEST(Job(job).attempt == 2u);   // the driver was lost as well
  BOOST_TEST(lives() == 0);
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0))}, 2).ok());
  BOOST_TEST(lives() == 1);
  BOOST_TEST(head->OnStop({job}, now, Wall()).ok());
  Commit();
  BOOST_TEST(lives() == 0);
}

BOOST_AUTO_TEST_CASE(a_life_whose_placement_nobody_has_heard_of_is_not_placed_a_second_time) {
  Member a(1, 1), b(2, 4);
  Run(1s, {&a});
  const JobId job = Submit(1);
  Run(300ms, {&a});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0), 2)}).ok());
  Run(300ms, {&a, &b});
  BOOST_TEST(b.Runs(Worker(job, 0)));   // which its driver has not heard
  b.StartAgain();                       // and of which nobody tells the next head
  Restart();
  Run(300ms, {&a, &b});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0), 2)}).ok());
  Run(300ms, {&a, &b});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0), 2)}).ok());
  BOOST_TEST(b.started[Worker(job, 0)] == 1);
  BOOST_TEST(Process(job, "worker 0").reason == "lost while the head was away");
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0, 2), 2)}).ok());
  Run(300ms, {&a, &b});
  BOOST_TEST(b.Runs(Worker(job, 0, 2)));
}

BOOST_AUTO_TEST_CASE(programs_of_jobs_that_are_not_over_are_needed) {
  BOOST_TEST(head->ProgramsNeeded().empty());
  Member a(1, 8);
  Run(1s, {&a});
  const JobId job = Submit(1);
  BOOST_TEST((head->ProgramsNeeded() == std::set<std::string>{"p"}));
  Run(300ms, {&a});
  ProcessOrder own = Wants(Worker(job, 0));
  own.program = "q";
  BOOST_TEST(Claim(job, {own}).ok());
  BOOST_TEST((head->ProgramsNeeded() == std::set<std::string>{"p", "q"}));
  BOOST_TEST(head->OnStop({job}, now, Wall()).ok());
  BOOST_TEST(head->ProgramsNeeded().empty());
}

BOOST_AUTO_TEST_CASE(the_hold_of_reports_grows_with_the_nodes_between_its_limits) {
  BOOST_TEST((head->report_hold() == 250ms));
  for (uint32_t i = 1; i <= 300; ++i) {
    Member member(i, 1);
    BOOST_TEST(Send(member).ok());
  }
  BOOST_TEST((head->report_hold() == 300ms));
  BOOST_TEST((ReportHold(250) == 250ms && ReportHold(251) == 251ms && ReportHold(5000) == 1s && ReportHold(5000) * 2 <= kHeadTimeout));
  now += 10s;
  head->Tick(now, Wall());   // a head that was away: nobody is suspected
  now += 500ms;
  for (int i = 0; i < 60; ++i) head->Tick(now += 100ms, Wall());
  BOOST_TEST((head->report_hold() == 250ms));   // all are down
}

BOOST_AUTO_TEST_CASE(a_job_is_stopped_wherever_it_is) {
  Member a(1, 1);
  Run(1s, {&a});
  const JobId running = Submit(), queued = Submit();
  Run(300ms, {&a});
  for (const JobId job : {queued, running}) {
    BOOST_TEST(head->OnStop({job}, now, Wall()).ok());
    CheckJob(job, JobState::kStopped, "stopped on request");
    BOOST_TEST(head->OnStop({job}, now, Wall()).ok());   // asked again, where the first answer was late
    CheckJob(job, JobState::kStopped, "stopped on request");
  }
  Run(300ms, {&a});
  BOOST_TEST(a.processes.empty());
  const JobId done = Submit();
  Run(300ms, {&a});
  a.End(Driver(done), 0);
  Run(300ms, {&a});
  const absl::Status over = head->OnStop({done}, now, Wall());
  BOOST_TEST(absl::IsFailedPrecondition(over));
  BOOST_TEST(over.message() == "job " + std::to_string(done) + " is over: succeeded");
  BOOST_TEST(absl::IsNotFound(head->OnStop({99}, now, Wall())));
  BOOST_TEST(absl::IsNotFound(Claim(running, {})));
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

BOOST_AUTO_TEST_CASE(the_last_lives_of_a_job_that_is_over_are_remembered_and_by_the_next_head_too) {
  Member a(1, 4), b(2, 4);
  Run(1s, {&a});
  const JobId job = Submit();
  Run(300ms, {&a});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0)), Wants(Worker(job, 1))}).ok());
  Run(300ms, {&a});
  a.End(Worker(job, 1), -9);
  Run(300ms, {&a, &b});
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0)), Wants(Worker(job, 1, 2))}).ok());
  Run(300ms, {&a, &b});
  Member& second = a.Runs(Worker(job, 1, 2)) ? a : b;
  BOOST_TEST(second.Runs(Worker(job, 1, 2)));
  a.End(Driver(job), 0);
  Run(300ms, {&a, &b});
  for (int life = 0; life < 2; ++life) {
    CheckJob(job, JobState::kSucceeded);
    BOOST_TEST(Job(job).processes.size() == 2u);
    BOOST_TEST((Process(job, "worker 1").id == Worker(job, 1, 2)));
    BOOST_TEST((Process(job, "worker 1").state == ProcessState::kEnded));
    BOOST_TEST(Process(job, "worker 1").node == second.name);
    BOOST_TEST((head->OutputOf(Worker(job, 1, 2)).value() == second.node));
    BOOST_TEST((head->OutputOf(Worker(job, 0)).value() == a.node));
    BOOST_TEST(absl::IsNotFound(head->OutputOf(Worker(job, 2)).status()));
    BOOST_TEST(head->OnInspect({})->jobs.at(0).processes.empty());   // nobody asks for all of them
    Restart();
    Run(300ms, {&a, &b});
  }
}

BOOST_AUTO_TEST_CASE(a_driver_that_ends_for_want_of_memory_is_not_started_again) {
  Member a(1, 4);
  Run(1s, {&a});
  const JobId job = Submit();
  Run(300ms, {&a});
  a.End(Driver(job), 137, "out of memory: limit 512 MB (--memory)");
  Run(300ms, {&a});
  CheckJob(job, JobState::kFailed, "out of memory: limit 512 MB (--memory)");
  BOOST_TEST(Job(job).code == 137);
  BOOST_TEST(Job(job).attempt == 1u);
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

/// A job on two nodes whose two shards have two processes each, "shard 0", "shard 0/2" and so on; its driver has a fifth begun for one that leaves.
struct Spreading : Fixture {
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
  void HandOver(const std::string& name, const std::string& heir, const std::vector<testing::Member*>& nodes) {
    wanted.push_back(Shard(heir));
    BOOST_TEST(Claim(job, wanted).ok());
    Run(300ms, nodes);
    BOOST_TEST(ToString(Process(job, heir).state) == ToString(ProcessState::kRunning));
    std::erase_if(wanted, [&](const ProcessOrder& order) { return order.id.name == name; });
    BOOST_TEST(Claim(job, wanted).ok());
    Run(300ms, nodes);
  }

  testing::Member a{1, 4}, b{2, 4}, c{3, 4}, d{4, 4};
  JobId job = 0;
  std::vector<ProcessOrder> wanted;
};

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

BOOST_AUTO_TEST_CASE(jobs_that_are_over_are_forgotten_the_ones_that_ended_first) {
  options.jobs_over_max = 3;
  Restart();
  Member a(1, 64);
  Run(1s, {&a});
  const JobId patient = Submit(1, "default", 3, 100s);
  std::vector<JobId> jobs;
  for (int i = 0; i < 6; ++i) {
    jobs.push_back(Submit());
    Run(200ms, {&a});
    a.End(Driver(jobs.back()), 0);
    Run(200ms, {&a});
  }
  const JobId newest = Submit();
  Run(200ms, {&a});
  for (const JobId job : {jobs[0], jobs[1], jobs[2]}) BOOST_TEST(absl::IsNotFound(head->OnInspect({job, 0}).status()));
  for (const JobId job : {jobs[3], jobs[4], jobs[5]}) CheckJob(job, JobState::kSucceeded);
  Run(100s, {&a});
  CheckJob(patient, JobState::kFailed, "it has taken longer than its time limit, 100 s");   // the oldest, but it ended last
  CheckJob(newest, JobState::kRunning);
  BOOST_TEST(records.size() == 5u);   // a node, three that are over, one that runs
  a.End(Driver(newest), 0);
  Run(300ms, {&a});
  for (int i = 0; i < 5; ++i) {
    const JobId job = Submit();
    Run(200ms, {&a});
    a.End(Driver(job), 0);
    Run(200ms, {&a});
    Restart();
    Run(200ms, {&a});
    BOOST_TEST(job == newest + static_cast<JobId>(i) + 1);   // no number is given twice
  }
}

BOOST_AUTO_TEST_CASE(bad_records_are_data_loss) {
  BOOST_TEST(absl::IsDataLoss(Head::Make({}, 1, {{"job/1", "x"}}, now, 0).status()));
  BOOST_TEST(absl::IsDataLoss(Head::Make({}, 1, {{"node/1", ""}}, now, 0).status()));
  BOOST_TEST(Head::Make({}, 1, {{"generation", "1"}, {"other", "x"}}, now, 0).ok());
  for (const auto& [key, value] : Records{{LifeKey(1, "w"), "x"}, {"life/1", "1"}, {"life/x/w", "1"}, {LifeKey(1, ""), "1"}}) {
    BOOST_TEST(absl::IsDataLoss(Head::Make({}, 1, {{key, value}}, now, 0).status()), key);
  }
  BOOST_TEST(Head::Make({}, 1, {{LifeKey(7, "of a job that is gone"), "1"}}, now, 0).ok());
}

/// A job with its driver on one node and two workers on others, and a head that starts again.
struct Running : Fixture {
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

BOOST_AUTO_TEST_CASE(versions_go_up_with_what_is_shown_and_are_never_zero_for_what_there_is) {
  Member a(1, 4);
  Run(1s, {&a});
  uint64_t before = head->version();
  const JobId job = Submit();
  BOOST_TEST(head->version() > before);
  Run(500ms, {&a});
  before = head->version();
  Run(5s, {&a});
  BOOST_TEST(head->version() == before);   // nothing happens
  BOOST_TEST(head->OrdersFor(a.node, a.incarnation, a.seen).unchanged);
  BOOST_TEST(!head->HasOrders(a.node, a.incarnation, a.seen));
  a.End(Driver(job), 0);
  Run(200ms, {&a});
  BOOST_TEST(head->version() > before);
  Restart();
  BOOST_TEST(head->VersionOf(job) != 0u);
  BOOST_TEST(head->VersionOf(99) == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
