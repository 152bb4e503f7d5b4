// Tables that worker processes keep: the model of the same run in one process, bit for bit, over both kinds of links and whoever is killed with -9.
// TROUPE_TEST_KILL_RUNS=20 TROUPE_TEST_SEED=7 runs more, with other times and victims.
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <random>

#include "tests/process/command.h"
#include "tests/support/seeds.h"

namespace troupe {
namespace {

using testing::Command;
using testing::Ended;
using testing::ModelText;
using testing::Number;
using testing::Run;
using testing::Scratch;

constexpr double kRows = 30'000;

unsigned FromEnvironment(const char* name, unsigned fallback) {
  const char* text = getenv(name);
  return text == nullptr ? fallback : static_cast<unsigned>(strtoul(text, nullptr, 10));
}

std::vector<std::string> Arguments(const std::string& model, const std::string& consistency, std::vector<std::string> more) {
  std::vector<std::string> arguments{"train",
                                     "--algorithm",
                                     "logistic_regression",
                                     "--data",
                                     "generate:dense?rows=30000&seed=5",
                                     "--label",
                                     "label",
                                     "--model",
                                     model,
                                     "--workers",
                                     "3",
                                     "--splits",
                                     "4",
                                     "--shards",
                                     "2",
                                     "--epochs",
                                     "6",
                                     "--param",
                                     "batch_size=100",
                                     "--param",
                                     "rule=adam",
                                     "--consistency",
                                     consistency,
                                     "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

void CheckEndedWell(const Ended& ended) {
  BOOST_TEST_REQUIRE(ended.code == 0, ended.err);
  BOOST_TEST(ended.err == "");
  BOOST_TEST(Number(ended.out, "rows") == kRows);
  BOOST_TEST(Number(ended.out, "read") > 0);
  BOOST_TEST(Number(ended.out, "read") == Number(ended.out, "applied"));
}

/// What one process makes of it.
std::string Expected(const Scratch& scratch, const std::string& consistency, const std::vector<std::string>& more = {}) {
  CheckEndedWell(Run(scratch, Arguments(scratch / "expected", consistency, more)));
  return ModelText(scratch, scratch / "expected");
}

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

BOOST_AUTO_TEST_SUITE(GroupSuite)

BOOST_AUTO_TEST_CASE(worker_processes_make_the_model_of_one_process_over_both_kinds_of_links) {
  const Scratch scratch;
  for (const std::string consistency : {"ring", "tree", "asp,w=ring"}) {
    const std::string expected = Expected(scratch, consistency);
    for (const std::string links : {"unix", "tcp"}) {
      BOOST_TEST_CONTEXT(consistency << ", " << links) {
        CheckEndedWell(Run(scratch, Arguments(scratch / "model", consistency, {"--processes", "--links", links})));
        BOOST_TEST((ModelText(scratch, scratch / "model") == expected));
        BOOST_TEST(testing::Names(scratch / "tmp").empty());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(whoever_is_killed_the_model_is_the_same) {
  const Scratch scratch;
  const unsigned runs = testing::KillRuns(6), seed = FromEnvironment("TROUPE_TEST_SEED", 3);
  std::mt19937 random(seed);
  const std::string ring = Expected(scratch, "ring"), tree = Expected(scratch, "tree");
  const auto begin = std::chrono::steady_clock::now();
  CheckEndedWell(Run(scratch, Arguments(scratch / "model", "ring", {"--processes"})));
  const double duration = Seconds(begin);
  unsigned restarts = 0;
  for (unsigned run = 0; run < runs; ++run) {
    std::vector<double> times(1 + random() % 4);
    for (double& time : times) time = std::uniform_real_distribution<double>(0, duration)(random);
    if (run % 3 == 0) times.front() = 0;
    if (run % 3 == 1) times.back() = 0.95 * duration;
    std::sort(times.begin(), times.end());
    const std::string links = run % 2 == 0 ? "unix" : "tcp", consistency = run / 2 % 2 == 0 ? "ring" : "tree";
    BOOST_TEST_CONTEXT("TROUPE_TEST_SEED=" << seed << " run " << run << ", " << consistency << ", " << links << ", " << times.size()
                                           << " kills, the first after " << times.front() << " s") {
      const auto start = std::chrono::steady_clock::now();
      Command command(scratch, {.arguments = Arguments(scratch / "model", consistency, {"--processes", "--links", links, "--snapshot-interval", "50ms"}),
                                .environment = {}});
      for (const double time : times) {
        testing::Sleep(std::max(0.0, time - Seconds(start)));
        if (!command.WaitForChildren(1)) break;
        const std::vector<pid_t> children = run % 4 == 3 ? command.children("worker 0") : command.children();
        if (!children.empty()) kill(children[random() % children.size()], SIGKILL);
      }
      const Ended ended = command.Wait();
      CheckEndedWell(ended);
      BOOST_TEST((ModelText(scratch, scratch / "model") == (consistency == "ring" ? ring : tree)));
      BOOST_TEST(testing::Names(scratch / "tmp").empty());
      restarts += static_cast<unsigned>(Number(ended.out, "restarts"));
    }
  }
  BOOST_TEST(restarts > 0u);
}

BOOST_AUTO_TEST_CASE(all_workers_killed_at_once_go_on_from_what_was_kept) {
  const Scratch scratch;
  const std::vector<std::string> longer{"--epochs", "40"};
  const std::string expected = Expected(scratch, "ring", longer);
  std::vector<std::string> more = longer;
  more.insert(more.end(), {"--processes", "--snapshot-interval", "50ms"});
  Command command(scratch, {.arguments = Arguments(scratch / "model", "ring", more), .environment = {}});
  for (int time = 0; time < 2; ++time) {
    BOOST_TEST_REQUIRE(command.WaitForChildren(5));
    testing::Sleep(0.5);
    size_t killed = 0;
    for (const pid_t worker : command.children("worker")) killed += kill(worker, SIGKILL) == 0;
    BOOST_TEST(killed == 3u);
  }
  const Ended ended = command.Wait();
  CheckEndedWell(ended);
  BOOST_TEST(Number(ended.out, "restarts") == 6);
  BOOST_TEST((ModelText(scratch, scratch / "model") == expected));
}

BOOST_AUTO_TEST_CASE(rows_that_were_assigned_outlive_whoever_is_killed) {
  const Scratch scratch;
  const auto arguments = [&](const std::string& model, std::vector<std::string> more) {
    std::vector<std::string> all{"train",
                                 "--algorithm",
                                 "k_means",
                                 "--data",
                                 "generate:clusters?rows=60000&seed=5",
                                 "--model",
                                 scratch / model,
                                 "--workers",
                                 "3",
                                 "--shards",
                                 "1",
                                 "--epochs",
                                 "30",
                                 "--param",
                                 "k=8",
                                 "--consistency",
                                 "ring",
                                 "--json"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const Ended calm = Run(scratch, arguments("expected", {}));
  BOOST_TEST_REQUIRE(calm.code == 0, calm.err);
  Command command(scratch, {.arguments = arguments("model", {"--processes"}), .environment = {}});
  unsigned kills = 0;
  for (int i = 0; i < 4 && command.WaitForChildren(4); ++i) {
    testing::Sleep(0.05 + 0.05 * i);
    for (const pid_t worker : command.children(i % 2 == 0 ? "worker 0" : "worker")) kills += kill(worker, SIGKILL) == 0;   // one, or all
  }
  const Ended ended = command.Wait();
  BOOST_TEST_REQUIRE(ended.code == 0, ended.err);
  BOOST_TEST(kills > 0u);
  BOOST_TEST((ModelText(scratch, scratch / "model") == ModelText(scratch, scratch / "expected")));
}

BOOST_AUTO_TEST_CASE(a_killed_train_is_taken_up_from_its_checkpoint) {
  const Scratch scratch;
  const std::string expected = Expected(scratch, "ring");
  const std::vector<std::string> keeping{"--processes", "--checkpoint", scratch / "kept", "--checkpoint-every", "0.05s"};
  {
    Command command(scratch, {.arguments = Arguments(scratch / "model", "ring", keeping), .environment = {}});
    while (command.running() && testing::NewestCheckpoint(scratch / "kept").empty()) testing::Sleep(0.002);
    BOOST_TEST_REQUIRE(command.running(), "ended before it was killed");
    const std::vector<pid_t> children = command.children();
    command.Signal(SIGKILL);
    BOOST_TEST(command.Wait().code == -SIGKILL);
    BOOST_TEST(testing::WaitUntilGone(children));
  }
  std::vector<std::string> resuming = keeping;
  resuming.push_back("--resume");
  CheckEndedWell(Run(scratch, Arguments(scratch / "model", "ring", resuming)));
  BOOST_TEST((ModelText(scratch, scratch / "model") == expected));
}

BOOST_AUTO_TEST_CASE(what_ends_a_group_is_told_in_one_line) {
  const Scratch scratch;
  const Ended ended = Run(scratch, Arguments(scratch / "model", "ring", {"--processes", "--param", "rule=sgd", "--param", "learning_rate=1e30"}));
  BOOST_TEST(ended.code != 0);
  BOOST_TEST(testing::Lines(ended.err) == 1u, ended.err);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
