// Training as a job of a cluster of real processes: it makes the model of one process. Who of the cluster may be killed meanwhile: tests/scenarios/.
#include <stdlib.h>

#include <boost/test/unit_test.hpp>
#include <map>

#include "tests/process/cluster_fixture.h"

namespace troupe {
namespace {

using testing::ClickLog;
using testing::Cluster;
using testing::Command;
using testing::Daemon;
using testing::Ended;
using testing::Holds;
using testing::ModelText;
using testing::Names;
using testing::Number;
using testing::ReadText;
using testing::Words;
using testing::operator+;

struct Training : Cluster {
  Training() {
    for (const char* name : {"a", "b", "c", "d"}) nodes[name] = Node(name);
  }
  Words Flags(const std::string& algorithm, const std::string& model, const Words& more = {}) const {
    return Words{"train", "--algorithm", algorithm, "--data", ClickLog(), "--workers", "3", "--shards", "2", "--json", "--model", model} + more;
  }
  Words OnRing(const std::string& model) const {
    return {"train",
            "--algorithm",
            "logistic_regression",
            "--data",
            "generate:dense?rows=60000&seed=5",
            "--workers",
            "3",
            "--epochs",
            "3",
            "--consistency",
            "ring",
            "--json",
            "--model",
            model};
  }
  /// Hidden folders of jobs beside the models.
  bool HasJobFolders() const {
    for (const std::string& name : Names(scratch.path())) {
      if (Holds(name, ".job-")) return true;
    }
    return false;
  }
  std::map<std::string, std::unique_ptr<Daemon>> nodes;
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(ClusterTrainSuite, Training)

BOOST_AUTO_TEST_CASE(a_job_makes_the_model_of_one_process_and_leaves_nothing_behind) {
  for (const bool ring : {false, true}) {
    const auto flags = [&](const std::string& model) { return ring ? OnRing(scratch / model) : Flags("naive_bayes", scratch / model); };
    const Ended alone = testing::Run(scratch, flags("here")), job = Ask(flags("there"));
    BOOST_REQUIRE_MESSAGE(alone.code == 0, alone.err);
    BOOST_REQUIRE_MESSAGE(job.code == 0, job.err);
    BOOST_TEST(Number(job.out, "rows") == 60'000);
    BOOST_TEST((ModelText(scratch, scratch / "there") == ModelText(scratch, scratch / "here")), "ring: " << ring);
  }
  BOOST_TEST(!HasJobFolders());
  testing::Await("the job's processes have ended", [&] { return InRole("worker").empty() && InRole("shard").empty() && InRole("train").empty(); });
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_told_as_in_one_process) {
  const Words missing = {"train", "--algorithm", "naive_bayes", "--data", scratch / "none.svm", "--model", scratch / "model"};
  const Ended here = testing::Run(scratch, missing), there = Ask(missing);
  BOOST_TEST(there.code == 2);
  BOOST_TEST(there.err == here.err);
  const Ended both = Ask(Flags("naive_bayes", scratch / "model", {"--processes"}));
  BOOST_TEST(both.code == 2);
  BOOST_TEST(both.err == "--processes and --cluster: expected one of them (on a cluster each worker and shard is a process)\n");
}

BOOST_AUTO_TEST_CASE(a_lost_driver_goes_on_from_its_checkpoint) {
  const Words flags = Flags("logistic_regression", scratch / "model", {"--epochs", "40", "--checkpoint", scratch / "state", "--checkpoint-every", "100ms"});
  const std::unique_ptr<Command> job = Start(flags);
  testing::Await("a checkpoint", [&] { return !testing::NewestCheckpoint(scratch / "state").empty(); });
  const std::vector<pid_t> driver = InRole("train");
  BOOST_REQUIRE(driver.size() == 1u);
  kill(driver[0], SIGKILL);
  const Ended ended = job->Wait();
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST(Number(ended.out, "auc") > 0.8);
  BOOST_TEST(Holds(Ask({"job", "list", "--json"}).out, "\"attempt\":2"));
}

BOOST_AUTO_TEST_CASE(a_run_whose_head_is_away_at_its_end_ends_its_processes_itself) {
  const std::unique_ptr<Command> job = Start(Flags("logistic_regression", scratch / "model", {"--epochs", "10"}));
  testing::Await("the run", [&] { return InRole("worker").size() == 3 && !InRole("shard").empty(); });
  head->command->Signal(SIGSTOP);
  testing::Await("the driver has ended", [&] { return InRole("train").empty(); });
  testing::Await("its processes have ended", [&] { return InRole("worker").empty() && InRole("shard").empty(); });   // alone they would for a minute not
  head->command->Signal(SIGCONT);
  const Ended ended = job->Wait();
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST(!HasJobFolders());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
