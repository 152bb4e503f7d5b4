// A program that is not the command, as a job: examples/04_train_on_a_cluster.cc, by hand and on a cluster of real processes.
#include <signal.h>
#include <stdlib.h>

#include <boost/test/unit_test.hpp>
#include <map>

#include "tests/process/cluster_fixture.h"

namespace troupe {
namespace {

using testing::Command;
using testing::Daemon;
using testing::Ended;
using testing::Holds;
using testing::Names;
using testing::ReadText;
using testing::Words;
using testing::operator+;

struct Program : testing::Cluster {
  Ended ByHand(const Words& arguments) {
    Command::Options options{.arguments = arguments, .environment = {}};
    options.program = TROUPE_JOB_PROGRAM;
    return Command(scratch, std::move(options)).Wait();
  }
  std::unique_ptr<Command> Submitted(const std::string& models, const Words& more = {}) {
    return std::make_unique<Command>(scratch,
                                     Command::Options{.arguments = Words{"submit", TROUPE_JOB_PROGRAM} + At() + Words{"--", models} + more, .environment = {}});
  }
  std::string Model(const std::string& path) {
    const Ended shown = testing::Run(scratch, {"model", "show", path, "--csv"});
    BOOST_REQUIRE_MESSAGE(shown.code == 0, shown.err);
    return shown.out;
  }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(JobProgramSuite, Program)

BOOST_AUTO_TEST_CASE(it_trains_by_hand_and_says_what_is_wrong_in_one_line) {
  const Ended ended = ByHand({scratch / "models"});
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST(Holds(ended.out, "the better model, trained in this process: " + scratch / "models/rate-0.1\n"), ended.out);
  BOOST_TEST(!Model(scratch / "models/rate-0.1").empty());
  testing::WriteText(scratch / "file", "");
  const Ended refused = ByHand({scratch / "file"});
  BOOST_TEST(refused.code != 0);
  BOOST_TEST((testing::Lines(refused.err) == 1 && Holds(refused.err, scratch / "file")), refused.err);
  Command::Options in_scratch{.arguments = {"-c", "cd " + scratch.path() + " && exec " TROUPE_JOB_PROGRAM " worker"}, .environment = {}};
  in_scratch.program = "/bin/sh";
  BOOST_TEST(Command(scratch, std::move(in_scratch)).Wait().code == 0);   // a word like another one, where nobody has started it as a job's process
  BOOST_TEST(!Model(scratch / "worker/rate-0.1").empty());
}

BOOST_AUTO_TEST_CASE(submitted_it_drives_its_runs_on_the_nodes_one_after_the_other) {
  std::vector<std::unique_ptr<Daemon>> nodes;
  for (const char* name : {"a", "b"}) nodes.push_back(Node(name));
  const auto job = Submitted(scratch / "there");
  testing::Await("workers of the same program", [&] { return InRole("worker").size() >= 2 || !job->running(); });
  std::error_code error;
  for (const pid_t worker : InRole("worker")) {
    const std::string path = std::filesystem::read_symlink("/proc/" + std::to_string(worker) + "/exe", error).string();
    if (!error) BOOST_TEST((path.starts_with(scratch.path()) && Holds(path, "/programs/")), path);   // the node's copy of it
  }
  const Ended ended = job->Wait();
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST(Holds(ended.out, "learning rate 0.0001: 20000 rows, auc "), ended.out);
  BOOST_TEST(Holds(ended.out, "learning rate 0.1: 20000 rows, auc "), ended.out);
  BOOST_TEST(Holds(ended.out, "the better model, trained on the cluster: " + scratch / "there/rate-0.1\n"), ended.out);
  for (const char* model : {"/rate-0.0001", "/rate-0.1"}) BOOST_TEST(!Model(scratch / "there" + model).empty());
  BOOST_TEST(Names(scratch / "there").size() == 2u);   // and no job's folder
  const Ended listed = Ask({"job", "list", "--json"});
  BOOST_TEST(Holds(listed.out, "\"state\":\"succeeded\",\"code\":0,\"reason\":\"\",\"attempt\":1"), listed.out);
  testing::Await("its processes have ended", [&] { return InRole("worker").empty() && InRole("shard").empty(); });
}

BOOST_AUTO_TEST_CASE(a_lost_driver_is_followed_by_another_one_which_begins_it_again) {
  std::vector<std::unique_ptr<Daemon>> nodes;
  for (const char* name : {"a", "b"}) nodes.push_back(Node(name));
  const auto job = Submitted(scratch / "there");
  testing::Await("workers", [&] { return InRole("worker").size() >= 2 || !job->running(); });
  const std::vector<pid_t> driver = InRole(scratch / "there");   // its first word
  BOOST_REQUIRE(driver.size() == 1u);
  kill(driver[0], SIGKILL);
  const Ended ended = job->Wait();
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST(Holds(ended.out, "the better model, trained on the cluster: " + scratch / "there/rate-0.1\n"), ended.out);
  BOOST_TEST(Holds(Ask({"job", "list", "--json"}).out, "\"attempt\":2"));
  BOOST_TEST(Names(scratch / "there").size() == 2u);
}

BOOST_AUTO_TEST_CASE(with_checkpoints_it_goes_on_though_the_cluster_has_fewer_cores_than_before) {
  std::map<std::string, std::unique_ptr<Daemon>> nodes;
  for (const char* name : {"a", "b", "c"}) nodes[name] = Node(name);
  const auto job = Submitted(scratch / "there", {scratch / "states"});
  std::string driver;
  testing::Await("a checkpoint", [&] {
    if (std::filesystem::exists(scratch / "states/rate-0.0001") && !testing::NewestCheckpoint(scratch / "states/rate-0.0001").empty()) {
      const std::string status = Ask({"status", "--json"}).out;
      const size_t at = status.find("{\"name\":\"driver\""), node = status.find("\"node\":\"", at);
      if (at != std::string::npos) driver = status.substr(node + 8, 1);
    }
    return !driver.empty() || !job->running();
  });
  if (nodes.contains(driver)) nodes[driver]->Kill();   // with two of the six cores
  const Ended ended = job->Wait();
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST(Holds(ended.out, "the better model, trained on the cluster: " + scratch / "there/rate-0.1\n"), ended.out);
  BOOST_TEST_MESSAGE("killed: node '" << driver << "'; " << Ask({"job", "list", "--json"}).out);
}

BOOST_AUTO_TEST_CASE(on_a_cluster_a_model_that_is_no_path_is_refused) {
  const auto node = Node("a");
  const auto job = Submitted("mem:models");
  const Ended ended = job->Wait();
  BOOST_TEST(ended.code == 2);
  BOOST_TEST(Holds(ended.err, "the model of a job of a cluster is a path, and the job's folder is beside it"), ended.err);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
