// What troupe status prints of a cluster with everything in it.
#include "tools/troupe/status_view.h"

#include <boost/test/unit_test.hpp>

#include "algorithms/run/job_about.h"

namespace troupe {
namespace {

void Add(JobStatus& job, const std::string& name, uint64_t incarnation, ProcessState state, const std::string& reason, const std::string& node,
         const std::string& before) {
  ClaimedProcess process;
  process.id = ProcessId{job.job, name, incarnation};
  process.state = state;
  process.reason = reason;
  process.node = node;
  process.before = before;
  job.processes.push_back(process);
}

Inspected Everything() {
  Inspected all{.version = 9, .generation = 2};
  all.nodes.push_back({.node = NodeId{1},
                       .incarnation = Incarnation{3},
                       .name = "a",
                       .host = "10.0.0.1",
                       .state = NodeState::kUp,
                       .reason = "",
                       .capacity = {4, 8 << 20, 16 << 20, {{"zone", "x"}}, {{"gpu", 2}, {"tpu", 1}}},
                       .cores_used = 3,
                       .memory_used = 2 << 20,
                       .processes = 4,
                       .disk_used = 1 << 20,
                       .accelerators_used = {{"gpu", 1}},
                       .since_ms = 60'000});
  all.nodes.push_back({.node = NodeId{2},
                       .incarnation = Incarnation{1},
                       .name = "b",
                       .host = "10.0.0.2",
                       .state = NodeState::kDown,
                       .reason = "silent for 2100 ms",
                       .capacity = {}});
  all.queues = {{"day", 1, 3, 1, 0}, {"night", 2, 0, 0, 1}};
  JobStatus train;
  train.job = 1;
  train.spec.name = "train";
  train.spec.queue = "day";
  train.state = JobState::kRunning;
  train.attempt = 2;
  train.started_ms = 120'000;
  const uint64_t second = kLivesOfAttempt;
  Add(train, "driver", 2, ProcessState::kRunning, "", "a", "node b is down");
  for (const char* name : {"shard 0/2", "shard 10", "shard 0", "shard 9"}) Add(train, name, second + 1, ProcessState::kRunning, "", "a", "");
  Add(train, "worker 0", second + 1, ProcessState::kRunning, "", "a", "");
  Add(train, "worker 10", second + 3, ProcessState::kWaiting, "worker 10 needs 1 core", "", "killed by signal 9 on node b");
  Add(train, "worker 2", second + 2, ProcessState::kRunning, "", "a", "node b is down");
  Add(train, "scribe", second + 1, ProcessState::kPlaced, "", "a", "cannot be started on node b: no folder");
  train.about = WriteAbout({.tables = {{"w", 1, {}, 11, 2, "sgd"}},
                            .data = "clicks.svm",
                            .splits_all = 2,
                            .splits_done = 1,
                            .splits = {{.split = 0, .worker = 2, .done = true, .percent = 100, .batches = 1'200, .rows = 12'000},
                                       {.split = 1, .worker = 0, .done = false, .percent = 43, .batches = 1, .rows = 1}}});
  JobStatus nightly;
  nightly.job = 2;
  nightly.spec.name = "nightly";
  nightly.spec.queue = "night";
  nightly.spec.priority = -3;
  nightly.reason = "driver needs 1 core, label zone=y, and no node has label zone=y";
  all.jobs = {train, nightly};
  for (JobId id = 3; id < 15; ++id) {
    JobStatus over;
    over.job = id;
    over.spec.name = "old";
    over.state = id == 14 ? JobState::kFailed : JobState::kSucceeded;
    over.reason = id == 14 ? "its driver ended with exit code 3" : "";
    all.jobs.push_back(over);
  }
  for (int i = 0; i < 12; ++i) all.events.push_back("event " + std::to_string(i));
  return all;
}

}   // namespace

BOOST_AUTO_TEST_SUITE(StatusView)

BOOST_AUTO_TEST_CASE(an_empty_cluster_is_its_head_and_an_empty_table) {
  BOOST_TEST(StatusText({.version = 1, .generation = 7}) ==
             "head: generation 7\n  node   state   host   cores   memory   disk   accelerators   processes   labels\n");
  BOOST_TEST(StatusJson({.version = 1, .generation = 7}) == R"({"generation":7,"nodes":[],"queues":[],"jobs":[],"tree":[],"events":[]})");
}

BOOST_AUTO_TEST_CASE(the_tree_goes_from_the_cluster_to_every_process_with_its_restarts) {
  const std::string text = StatusText(Everything());
  const size_t tree = text.find("\ncluster\n");
  BOOST_REQUIRE(tree != std::string::npos);
  BOOST_TEST(text.substr(tree) == R"(
cluster
  job 1 train: running [queue day, attempt 2 of 3]
    driver on a: running; 1 restart: node b is down
      workers: 1 waiting, 2 running
        worker 0 on a: running
        worker 2 on a: running; 1 restart: node b is down
        worker 10: waiting: worker 10 needs 1 core; 2 restarts, the last: killed by signal 9 on node b
      tables: 4 running
        shard 0 on a: running
        shard 0/2 on a: running
        shard 9 on a: running
        shard 10 on a: running
      others: 1 placed
        scribe on a: placed; before: cannot be started on node b: no folder
      data clicks.svm: 2 splits: 1 running, 1 done
        split 0 at worker 2: done, 100 % read, 1,200 batches, 12,000 rows
        split 1 at worker 0: running, 43 % read, 1 batch, 1 row
  job 2 nightly: queued: driver needs 1 core, label zone=y, and no node has label zone=y [queue night, priority -3, attempt 1 of 3]
  2 older jobs are over: troupe job list
  job 5 old: succeeded
  job 6 old: succeeded
  job 7 old: succeeded
  job 8 old: succeeded
  job 9 old: succeeded
  job 10 old: succeeded
  job 11 old: succeeded
  job 12 old: succeeded
  job 13 old: succeeded
  job 14 old: failed: its driver ended with exit code 3

last events:
  event 2
  event 3
  event 4
  event 5
  event 6
  event 7
  event 8
  event 9
  event 10
  event 11
)");
  for (const char* part : {"3 of 4", "2 of 8 MB", "1 of 16 MB", "1 of 2 gpu 0 of 1 tpu", "zone=x", "down: silent for 2100 ms"}) {
    BOOST_TEST(text.find(part) < tree, part);
  }
  BOOST_TEST(
      text.find(
          "\n  queue   weight   share   running   waiting\n  day          1       3         1         0\n  night        2       0         0         1\n") <
      tree);
}

BOOST_AUTO_TEST_CASE(scripts_get_the_same_as_json) {
  const std::string json = StatusJson(Everything());
  for (
      const char* part :
      {R"("since":"1970-01-01T00:01:00Z")",
       R"("disk":16777216,"disk_used":1048576,"accelerators":{"gpu":2,"tpu":1},"accelerators_used":{"gpu":1},"processes":4)",
       R"("queues":[{"name":"day","weight":1,"share":3,"running":1,"waiting":0},{"name":"night","weight":2,)",
       R"("queue":"night","priority":-3,"state":"queued","code":0,"reason":"driver needs 1 core, label zone=y, and no node has label zone=y")",
       R"("tree":[{"job":1,"name":"train","state":"running","driver":{"name":"driver","incarnation":2,"state":"running","node":"a","reason":"","restarts":1,)",
       R"("before":"node b is down","workers":[{"name":"worker 0",)", R"("tables":[{"name":"shard 0",)",
       R"("data":{"uri":"clicks.svm","splits_all":2,"splits_done":1,"splits":[{"split":0,"worker":"worker 2","state":"done","percent":100,"batches":1200,"rows":12000},{"split":1,)",
       R"(},{"job":2,"name":"nightly","state":"queued"}])"}) {
    BOOST_TEST(json.find(part) != std::string::npos, part << " in " << json);
  }
  BOOST_TEST(JobsJson(Everything().jobs).starts_with(R"({"jobs":[{"job":1,"name":"train",)"));
  BOOST_TEST(JobsText(Everything().jobs).find("nightly") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(of_very_many_splits_people_see_the_first_and_their_sum) {
  JobStatus job;
  job.job = 1;
  job.state = JobState::kRunning;
  Add(job, "driver", 1, ProcessState::kRunning, "", "a", "");
  AboutJob about{.tables = {}, .data = "d", .splits_all = 2'000, .splits_done = 500, .splits = {}};
  for (uint32_t i = 0; i < 40; ++i) about.splits.push_back({.split = i, .worker = 0});
  job.about = WriteAbout(about);
  const std::string text = StatusText({.version = 1, .generation = 1, .nodes = {}, .jobs = {job}});
  BOOST_TEST(text.find("data d: 2000 splits: 1500 running, 500 done\n") != std::string::npos, text);
  BOOST_TEST(text.find("        split 31 at worker 0: running, 0 % read, 0 batches, 0 rows\n        1968 more: --json\n") != std::string::npos, text);
  BOOST_TEST(text.find("split 32") == std::string::npos, text);
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
