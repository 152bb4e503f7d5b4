// The head, by hand in virtual time: what starts a job, keeps it and ends it.
#include "actors/cluster/head.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "actors/cluster/records.h"
#include "tests/actors/cluster/head_fixture.h"

namespace troupe {

using namespace testing;

BOOST_FIXTURE_TEST_SUITE(HeadJobsSuite, HeadFixture)

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
  for (std::string* name : {&spec.name, &spec.queue, &spec.needs.labels["zone"]}) {
    const std::string before = std::exchange(*name, "a\n\x1b[31m");
    const absl::Status refused = head->OnSubmit({"r", spec}, now, 0).status();
    BOOST_TEST((absl::IsInvalidArgument(refused) && absl::EndsWith(refused.message(), "a\\n\\033[31m', expected no control characters")), refused.ToString());
    *name = before;
  }
  spec.needs.labels.clear();
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
  const absl::Status gone = head->OutputOf(Driver(job, 1)).status();
  BOOST_TEST((absl::IsNotFound(gone) && absl::EndsWith(gone.message(), "what it has printed is on node n1, which is down")), gone.ToString());
  BOOST_TEST((head->OutputOf(Driver(job, 2)).value() == b.node));
  Run(1s, {&a, &b});   // comes back, and has to end what it had
  BOOST_TEST(a.processes.empty());
  BOOST_TEST((head->OutputOf(Driver(job, 1)).value() == a.node));
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
  Run(300ms, {&a, &b});
  a.End(Worker(job, 0, 2), 3);
  Run(300ms, {&a, &b});
  BOOST_TEST(Claim(job, {}).ok());   // as drivers do: nothing that has ended, then the next life
  BOOST_TEST(Claim(job, {Wants(Worker(job, 0, 3), 4)}).ok());
  BOOST_TEST(Process(job, "worker 0").before == "exit code 3 on node n1");
  (a.Runs(Driver(job)) ? a : b).End(Driver(job), -15);
  Run(300ms, {&a, &b});
  BOOST_TEST(Process(job, kDriverName).id.incarnation == 2u);
  BOOST_TEST(Process(job, kDriverName).before.starts_with("killed by signal 15 on node n"));
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

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
