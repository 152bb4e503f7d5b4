// Workers and shards killed with -9 at any moment: the run ends well, and with the model of an undisturbed one.
// TROUPE_TEST_KILL_RUNS=20 TROUPE_TEST_SEED=7 runs more, with other times and victims.
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <fstream>
#include <random>

#include "tests/process/command.h"
#include "tests/support/seeds.h"

namespace troupe {
namespace {

using testing::ClickLog;
using testing::Command;
using testing::Ended;
using testing::ModelText;
using testing::Number;
using testing::Scratch;

unsigned FromEnvironment(const char* name, unsigned fallback) {
  const char* text = getenv(name);
  return text == nullptr ? fallback : static_cast<unsigned>(strtoul(text, nullptr, 10));
}

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

struct Outcome {
  Ended ended;
  double seconds = 0;
  unsigned kills = 0;
};

/// Kills some child (or only a "shard") at each of `times` (seconds after the start; as soon as there is one, if there is none).
Outcome RunWithKills(const Scratch& scratch, const std::vector<std::string>& arguments, const std::vector<double>& times, std::mt19937& random,
                     const std::string& role = "") {
  const auto start = std::chrono::steady_clock::now();
  Command command(scratch, {.arguments = arguments, .environment = {}});
  Outcome outcome;
  for (const double time : times) {
    testing::Sleep(std::max(0.0, time - Seconds(start)));
    if (!command.WaitForChildren(1)) break;
    const std::vector<pid_t> children = role.empty() ? command.children() : command.children(role);
    if (children.empty()) continue;   // it is ending just now
    const pid_t victim = children[std::uniform_int_distribution<size_t>(0, children.size() - 1)(random)];
    outcome.kills += kill(victim, SIGKILL) == 0;
  }
  outcome.ended = command.Wait();
  outcome.seconds = Seconds(start);
  return outcome;
}

/// 1 to 5 moments; every third plan begins right after the first spawn, every third ends near the end.
std::vector<double> KillTimes(unsigned run, double duration, std::mt19937& random) {
  std::vector<double> times(1 + random() % 5);
  for (double& time : times) time = std::uniform_real_distribution<double>(0, duration)(random);
  if (run % 3 == 0) times.front() = 0;
  if (run % 3 == 1) times.back() = 0.95 * duration;
  std::sort(times.begin(), times.end());
  return times;
}

std::vector<std::string> TrainArguments(const std::string& algorithm, const std::string& model, std::vector<std::string> more) {
  std::vector<std::string> arguments{"train",       "--algorithm", algorithm, "--data",   ClickLog(), "--model", model,
                                     "--processes", "--workers",   "4",       "--shards", "2",        "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

void CheckEndedWell(const Outcome& outcome) {
  BOOST_TEST_REQUIRE(outcome.ended.code == 0, outcome.ended.err);
  BOOST_TEST(outcome.ended.err == "");
  BOOST_TEST(Number(outcome.ended.out, "rows") == 60000);
  BOOST_TEST(Number(outcome.ended.out, "read") > 0);
  BOOST_TEST(Number(outcome.ended.out, "read") == Number(outcome.ended.out, "applied"));
  BOOST_TEST(Number(outcome.ended.out, "restarts") <= outcome.kills);
}

BOOST_AUTO_TEST_SUITE(KillSuite)

BOOST_AUTO_TEST_CASE(naive_bayes_counts_everything_once_whoever_is_killed) {
  const Scratch scratch;
  const unsigned runs = testing::KillRuns(6), seed = FromEnvironment("TROUPE_TEST_SEED", 1);
  std::mt19937 random(seed);
  const Outcome calm = RunWithKills(scratch, TrainArguments("naive_bayes", scratch / "calm", {}), {}, random);
  CheckEndedWell(calm);
  BOOST_TEST(Number(calm.ended.out, "restarts") == 0);
  const std::string expected = ModelText(scratch, scratch / "calm");
  unsigned restarts = 0;
  for (unsigned run = 0; run < runs; ++run) {
    const std::vector<double> times = KillTimes(run, calm.seconds, random);
    BOOST_TEST_CONTEXT("TROUPE_TEST_SEED=" << seed << " run " << run << ", " << times.size() << " kills, the first after " << times.front() << " s") {
      const Outcome outcome =
          RunWithKills(scratch, TrainArguments("naive_bayes", scratch / "model", {"--replication", run % 2 == 0 ? "1" : "2"}), times, random);
      CheckEndedWell(outcome);
      BOOST_TEST((ModelText(scratch, scratch / "model") == expected));
      BOOST_TEST(testing::Names(scratch / "tmp").empty());
      restarts += static_cast<unsigned>(Number(outcome.ended.out, "restarts"));
    }
  }
  BOOST_TEST(restarts > 0u);
}

BOOST_AUTO_TEST_CASE(logistic_regression_learns_the_same_under_every_consistency) {
  const Scratch scratch;
  std::mt19937 random(FromEnvironment("TROUPE_TEST_SEED", 2));
  for (const auto& [consistency, replicas] :
       {std::pair<std::string, std::string>{"bsp", "0"}, {"ssp:2", "0"}, {"ssp:3", "4M"}, {"asp", "0"}, {"asp", "100K"}}) {
    BOOST_TEST_CONTEXT(consistency << ", replicas " << replicas) {
      // Copies that are older make two runs without any loss differ by 0.014.
      const std::vector<std::string> more{"--consistency", consistency, "--epochs", "3", "--replicas", replicas, "--replica-staleness", "2"};
      const Outcome calm = RunWithKills(scratch, TrainArguments("logistic_regression", scratch / "calm", more), {}, random);
      CheckEndedWell(calm);
      const std::vector<double> times{0, 0.3 * calm.seconds, 0.6 * calm.seconds, 0.9 * calm.seconds};
      const Outcome outcome = RunWithKills(scratch, TrainArguments("logistic_regression", scratch / "model", more), times, random);
      CheckEndedWell(outcome);
      BOOST_TEST(outcome.kills > 0u);
      BOOST_TEST(std::abs(Number(outcome.ended.out, "auc") - Number(calm.ended.out, "auc")) < 0.01);
      if (replicas != "0") BOOST_TEST(Number(calm.ended.out, "copied") > 0);
      if (consistency != "bsp") {
        // The workers hold every push, and a shard takes them in the order in which the lost one had: nothing of its loss is to be seen.
        const Outcome shards_only = RunWithKills(scratch, TrainArguments("logistic_regression", scratch / "model", more), times, random, "shard");
        CheckEndedWell(shards_only);
        BOOST_TEST(std::abs(Number(shards_only.ended.out, "auc") - Number(calm.ended.out, "auc")) < 0.004);
        continue;
      }
      // A worker that is replaced computes its round anew, from weights that other shards have moved on. Where only shards fall, the workers still hold every
      // push of a round as it was.
      for (const std::string replication : {"1", "2", "3"}) {
        std::vector<std::string> arguments = TrainArguments("logistic_regression", scratch / "model", more);
        arguments.insert(arguments.end(), {"--replication", replication});
        const Outcome shards_only = RunWithKills(scratch, arguments, times, random, "shard");
        BOOST_TEST_INFO("replication " << replication);
        CheckEndedWell(shards_only);
        BOOST_TEST((ModelText(scratch, scratch / "model") == ModelText(scratch, scratch / "calm")));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(ranges_that_move_count_everything_once_whoever_is_killed) {
  const Scratch scratch;
  const unsigned runs = testing::KillRuns(3), seed = FromEnvironment("TROUPE_TEST_SEED", 11);
  std::mt19937 random(seed);
  {
    std::ofstream rows(scratch / "few.svm");   // so few columns that one of four shards has three of them
    std::normal_distribution<double> normal;
    for (int i = 0; i < 60'000; ++i) {
      std::array<double, 7> x;
      for (double& value : x) value = normal(random);
      rows << (x[0] + x[1] / 2 - x[2] + normal(random) / 2 > 0 ? 1 : 0);
      for (size_t j = 0; j < x.size(); ++j) rows << ' ' << j + 1 << ':' << x[j];
      rows << '\n';
    }
  }
  const auto arguments = [&](const std::string& model, std::vector<std::string> more) {
    std::vector<std::string> all{
        "train", "--algorithm", "logistic_regression", "--data", scratch / "few.svm", "--model", scratch / model, "--workers", "2", "--shards", "4", "--epochs",
        "2",     "--param",     "batch_size=16",       "--json"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const std::vector<std::string> moving{"--processes", "--rebalance", "20ms"};
  CheckEndedWell(RunWithKills(scratch, arguments("stay", {}), {}, random));
  const std::string expected = ModelText(scratch, scratch / "stay");
  const Outcome calm = RunWithKills(scratch, arguments("calm", moving), {}, random);
  CheckEndedWell(calm);
  BOOST_TEST((ModelText(scratch, scratch / "calm") == expected));
  BOOST_TEST(Number(calm.ended.out, "ranges") > 0);
  for (unsigned run = 0; run < runs; ++run) {
    const std::vector<double> times = KillTimes(run, calm.seconds, random);
    BOOST_TEST_CONTEXT("TROUPE_TEST_SEED=" << seed << " run " << run << ", " << times.size() << " kills, the first after " << times.front() << " s") {
      const Outcome outcome = RunWithKills(scratch, arguments("model", moving), times, random, "shard");   // workers hold what they have pushed
      CheckEndedWell(outcome);
      BOOST_TEST((ModelText(scratch, scratch / "model") == expected));
      BOOST_TEST(testing::Names(scratch / "tmp").empty());
    }
  }
}

BOOST_AUTO_TEST_CASE(over_tcp_everything_is_counted_once_too) {
  const Scratch scratch;
  std::mt19937 random(FromEnvironment("TROUPE_TEST_SEED", 5));
  const std::vector<std::string> tcp{"--links", "tcp"};
  const Outcome calm = RunWithKills(scratch, TrainArguments("naive_bayes", scratch / "calm", {}), {}, random);   // over Unix sockets
  CheckEndedWell(calm);
  const std::string expected = ModelText(scratch, scratch / "calm");
  const Outcome calm_tcp = RunWithKills(scratch, TrainArguments("naive_bayes", scratch / "model", tcp), {}, random);
  CheckEndedWell(calm_tcp);
  BOOST_TEST((ModelText(scratch, scratch / "model") == expected));
  for (const std::string role : {"shard", "worker"}) {
    BOOST_TEST_CONTEXT(role) {
      const std::vector<double> times{0, 0.3 * calm_tcp.seconds, 0.6 * calm_tcp.seconds};
      const Outcome outcome = RunWithKills(scratch, TrainArguments("naive_bayes", scratch / "model", tcp), times, random, role);
      CheckEndedWell(outcome);
      BOOST_TEST(outcome.kills > 0u);
      BOOST_TEST((ModelText(scratch, scratch / "model") == expected));
      BOOST_TEST(testing::Names(scratch / "tmp").empty());
    }
  }
  Command command(scratch, {.arguments = TrainArguments("naive_bayes", scratch / "model", tcp), .environment = {}});
  BOOST_TEST_REQUIRE(command.WaitForChildren(6));
  for (const pid_t child : command.children()) {
    std::string line;
    for (int look = 0; look < 500; ++look, testing::Sleep(0.01)) {   // just after the fork it is its parent's
      line = testing::ReadText("/proc/" + std::to_string(child) + "/cmdline");
      if (line.find("--links") == std::string::npos) break;
    }
    BOOST_TEST((line.empty() || line.find("tcp:127.0.0.1:") != std::string::npos), line);   // empty: it has ended
  }
  CheckEndedWell({.ended = command.Wait(), .seconds = 0, .kills = 0});
}

BOOST_AUTO_TEST_CASE(a_shard_that_stands_still_hangs_nobody) {
  const Scratch scratch;
  for (const std::string links : {"unix", "tcp"}) {
    BOOST_TEST_CONTEXT(links) {
      Command command(scratch,
                      {.arguments = TrainArguments("logistic_regression", scratch / "model", {"--epochs", "5", "--links", links, "--request-timeout", "200ms"}),
                       .environment = {}});
      BOOST_TEST_REQUIRE(command.WaitForChildren(6));
      for (const double after : {0.0, 0.3}) {   // perhaps before it listens; in the middle
        testing::Sleep(after);
        const std::vector<pid_t> shard = command.children("shard 1");
        if (shard.empty()) break;   // it is ending just now
        kill(shard[0], SIGSTOP);
        testing::Sleep(0.7);
        BOOST_TEST(command.running());
        kill(shard[0], SIGCONT);
      }
      CheckEndedWell({.ended = command.Wait(), .seconds = 0, .kills = 0});
    }
  }
}

BOOST_AUTO_TEST_CASE(all_children_killed_at_once) {
  const Scratch scratch;
  std::mt19937 random(3);
  const Outcome calm = RunWithKills(scratch, TrainArguments("naive_bayes", scratch / "calm", {}), {}, random);
  CheckEndedWell(calm);
  Command command(scratch, {.arguments = TrainArguments("naive_bayes", scratch / "model", {}), .environment = {}});
  BOOST_TEST_REQUIRE(command.WaitForChildren(6));
  testing::Sleep(calm.seconds / 2);
  unsigned kills = 0;
  for (const pid_t child : command.children()) kills += kill(child, SIGKILL) == 0;
  CheckEndedWell({.ended = command.Wait(), .seconds = 0, .kills = kills});
  BOOST_TEST((ModelText(scratch, scratch / "model") == ModelText(scratch, scratch / "calm")));
}

BOOST_AUTO_TEST_CASE(k_means_comes_back_too) {
  const Scratch scratch;
  std::mt19937 random(4);
  const std::string points = scratch / "points.csv";
  BOOST_TEST_REQUIRE(testing::Run(scratch, {"generate", "clusters", "--rows", "30000", "--seed", "2", "--out", points}).code == 0);
  const auto arguments = [&](const std::string& model) {
    return std::vector<std::string>{"train", "--algorithm", "k_means", "--data",   points, "--model", model, "--processes", "--workers",
                                    "2",     "--shards",    "2",       "--epochs", "8",    "--param", "k=8", "--json"};
  };
  const Outcome calm = RunWithKills(scratch, arguments(scratch / "calm"), {}, random);
  BOOST_TEST_REQUIRE(calm.ended.code == 0, calm.ended.err);
  const Outcome outcome = RunWithKills(scratch, arguments(scratch / "model"), {0, 0.4 * calm.seconds, 0.7 * calm.seconds}, random);
  BOOST_TEST_REQUIRE(outcome.ended.code == 0, outcome.ended.err);
  BOOST_TEST((ModelText(scratch, scratch / "model") == ModelText(scratch, scratch / "calm")));
}

BOOST_AUTO_TEST_CASE(a_child_that_dies_again_and_again_ends_the_run) {
  const Scratch scratch;
  for (const std::string victim : {"worker 0", "shard 1"}) {
    BOOST_TEST_CONTEXT(victim) {
      Command command(scratch, {.arguments = TrainArguments("logistic_regression", scratch / "model", {"--epochs", "1000"}),
                                .environment = {"TROUPE_RESTART_INTENSITY=2"}});
      BOOST_TEST_REQUIRE(command.WaitForChildren(6));
      const std::vector<pid_t> children = command.children();
      for (pid_t last = 0; command.running(); testing::Sleep(0.002)) {
        for (const pid_t child : command.children(victim)) {
          if (std::exchange(last, child) != child) kill(child, SIGKILL);
        }
      }
      const Ended ended = command.Wait();
      BOOST_TEST(ended.code == 1);
      BOOST_TEST(testing::Lines(ended.err) == 1u, ended.err);
      BOOST_TEST(ended.err.find("restarts used up") != std::string::npos, ended.err);
      BOOST_TEST(testing::WaitUntilGone(children));
      BOOST_TEST(testing::Names(scratch / "tmp").empty());
      BOOST_TEST((testing::Names(scratch.path()) == std::vector<std::string>{"out", "tmp"}));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
