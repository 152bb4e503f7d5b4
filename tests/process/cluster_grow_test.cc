// A run on a cluster that grows and shrinks under it, by an algorithm that sleeps in each batch: nodes that join get a share, a node that is lost gives its own
// to the others, and the model is that of one process.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <sstream>

#include "tests/process/cluster_fixture.h"

namespace troupe {
namespace {

using testing::Command;
using testing::Daemon;
using testing::Ended;
using testing::Number;
using testing::ReadText;
using testing::Words;
using testing::operator+;

struct Growing : testing::Cluster {
  Growing() : Cluster(nullptr) {
    head = std::make_unique<Daemon>(scratch, HeadFlags("127.0.0.1:0"), Environment(), TROUPE_SLOW_PROGRAM);
    head->AwaitPlace();
    places = head->place;
  }
  Words Environment() const { return {"SLOW_TIMES=" + scratch / "times"}; }
  Command::Options Slow() const {
    Command::Options options{.arguments = {}, .environment = Environment()};
    options.program = TROUPE_SLOW_PROGRAM;
    return options;
  }
  /// One core: one worker.
  std::unique_ptr<Daemon> Small(const std::string& name) {
    auto node =
        std::make_unique<Daemon>(scratch, Words{"--join", places, "--name", name, "--cores", "1", "--state", scratch / name, "--token-file", scratch / "token"},
                                 Environment(), TROUPE_SLOW_PROGRAM);
    AwaitStatus(name + " is up", [&](const std::string& status) { return testing::Holds(status, "{\"name\":\"" + name + "\",\"state\":\"up\""); });
    return node;
  }
  Words Flags(const std::string& model, const std::string& rows, const Words& more) const {
    return Words{"train",
                 "--algorithm",
                 "slow_regression",
                 "--data",
                 "generate:dense?rows=" + rows + "&seed=5",
                 "--param",
                 "batch_size=20",
                 "--splits",
                 "8",
                 "--replication",
                 "1",
                 "--json",
                 "--model",
                 scratch / model} +
           more;
  }
  std::unique_ptr<Command> Begin(const Words& words) {
    Command::Options options = Slow();
    options.arguments = words;
    return std::make_unique<Command>(scratch, std::move(options));
  }
  /// Ends of batches, in milliseconds.
  std::vector<long> Times() const {
    std::vector<long> times;
    std::istringstream text(ReadText(scratch / "times"));
    for (long time = 0; text >> time;) times.push_back(time);
    std::ranges::sort(times);
    return times;
  }
  std::string Model(const std::string& name) {
    Command::Options options = Slow();
    options.arguments = {"model", "show", scratch / name, "--csv"};
    const Ended shown = Command(scratch, std::move(options)).Wait();
    BOOST_REQUIRE_MESSAGE(shown.code == 0, shown.err);
    return shown.out;
  }
  /// One that has neither the driver nor the shard.
  std::string NodeOfWorkersAlone(const std::map<std::string, std::unique_ptr<Daemon>>& nodes) {
    const Ended status = Ask({"status", "--json"});
    std::string found;
    for (const auto& [name, node] : nodes) {
      const std::string on = "\"node\":\"" + name + "\"";
      const auto has = [&](const std::string& process) {
        const size_t at = status.out.find("\"" + process + "\"");
        return at != std::string::npos && status.out.find(on, at) < status.out.find('}', at);
      };
      if (!has("driver") && !has("shard 0")) found = name;
    }
    BOOST_REQUIRE_MESSAGE(!found.empty(), status.out);
    return found;
  }
  static long LongestPause(const std::vector<long>& times) {
    long pause = 0;
    for (size_t i = 1; i < times.size(); ++i) pause = std::max(pause, times[i] - times[i - 1]);
    return pause;
  }
  /// What one process makes of it, without sleep.
  std::string Alone(const std::string& rows) {
    const auto alone = Begin(Flags("here", rows, {"--param", "sleep_ms=0", "--workers", "1"}));
    const Ended ended = alone->Wait();
    BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
    std::filesystem::remove(scratch / "times");
    return Model("here");
  }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(ClusterGrowSuite, Growing)

BOOST_AUTO_TEST_CASE(nodes_that_join_get_a_share_of_what_runs) {
  const std::string model = Alone("24000");
  std::vector<std::unique_ptr<Daemon>> nodes;
  for (const char* name : {"a", "b"}) nodes.push_back(Small(name));
  const auto job = Begin(Flags("there", "24000", Words{"--param", "sleep_ms=20"} + At()));
  testing::Await("two seconds of batches", [&] {
    const auto times = Times();
    return times.size() > 1 && times.back() - times.front() > 2'000;
  });
  AwaitStatus("the tree has the job's data", [](const std::string& status) {
    const size_t data =
        status.find("\"data\":{\"uri\":\"generate:dense?rows=24000&seed=5\",\"splits_all\":8,\"splits_done\":0,\"splits\":[{\"split\":0,\"worker\":\"worker ");
    const size_t last = status.find("{\"split\":7,", data), batches = status.find("\"batches\":", last);
    return batches != std::string::npos && status.compare(batches, 12, "\"batches\":0,") != 0;
  });
  const long joined = Times().back();
  for (const char* name : {"c", "d"}) nodes.push_back(Small(name));
  const Ended ended = job->Wait();
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST(Number(ended.out, "moved") >= 4);
  BOOST_TEST((Model("there") == model));
  const std::vector<long> times = Times();
  BOOST_TEST(times.size() >= 1'200U);
  const auto rate = [&](long from, long to) {
    return static_cast<double>(std::ranges::count_if(times, [&](long time) { return time >= from && time < to; })) * 1e3 / static_cast<double>(to - from);
  };
  const double before = rate(times.front() + 200, joined), after = rate(times.back() - 2'500, times.back() - 500);
  BOOST_TEST_MESSAGE("batches a second with two workers " << before << ", with four " << after << ": " << after / before << "; longest pause "
                                                          << LongestPause(times) << " ms");
}

BOOST_AUTO_TEST_CASE(nodes_that_join_take_processes_of_chains) {
  const std::string model = Alone("24000");
  std::map<std::string, std::unique_ptr<Daemon>> nodes;
  for (const char* name : {"a", "b"}) nodes[name] = Small(name);
  Words flags = Flags("there", "24000", Words{"--param", "sleep_ms=20", "--shards", "2", "--log", scratch / "log"} + At());
  *(std::ranges::find(flags, "--replication") + 1) = "2";
  const auto job = Begin(flags);
  testing::Await("a second of batches", [&] {
    const auto times = Times();
    return times.size() > 1 && times.back() - times.front() > 1'000;
  });
  for (const char* name : {"c", "d"}) nodes[name] = Small(name);
  // Each node has one of the four in the end, and nobody leaves any more.
  AwaitStatus("each node has a process of a shard", [&](const std::string& all) {
    const std::string status = all.substr(0, all.find("\"tree\":"));   // which has them once more
    std::map<std::string, int> counts;
    const std::string shard = "{\"name\":\"shard ", node = "\"node\":\"";
    for (size_t at = status.find(shard); at != std::string::npos; at = status.find(shard, at + 1)) {
      const size_t name = status.find(node, at) + node.size();
      ++counts[status.substr(name, status.find('"', name) - name)];
    }
    return counts == std::map<std::string, int>{{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}};
  });
  const size_t by_then = Times().size();
  const Ended ended = job->Wait();
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST(by_then < 1'200U);   // while it ran
  BOOST_TEST((Model("there") == model));
  BOOST_TEST(Number(ended.out, "restarts") == 0);   // nothing was lost
  const std::string log = ReadText(scratch / "log");
  size_t moves = 0;
  for (size_t at = log.find("leaves its node"); at != std::string::npos; at = log.find("leaves its node", at + 1)) ++moves;
  BOOST_TEST(moves == 2U);   // and then nobody moves any more
  BOOST_TEST_MESSAGE("spread after " << by_then << " of 1,200 batches; longest pause " << LongestPause(Times()) << " ms");
}

BOOST_AUTO_TEST_CASE(what_a_lost_node_worked_on_others_go_on_with_and_nobody_waits_for_another_node) {
  const std::string model = Alone("9600");
  std::map<std::string, std::unique_ptr<Daemon>> nodes;
  for (const char* name : {"a", "b", "c"}) nodes[name] = Small(name);
  const auto job = Begin(Flags("there", "9600", Words{"--param", "sleep_ms=20", "--shards", "1", "--log", scratch / "log"} + At()));
  testing::Await("batches", [&] { return Times().size() > 100; });
  const std::string victim = NodeOfWorkersAlone(nodes);
  nodes[victim]->Kill();
  const Ended ended = job->Wait();
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST(Number(ended.out, "taken") >= 1);
  BOOST_TEST((Model("there") == model));
}

BOOST_AUTO_TEST_CASE(a_node_that_stands_still_with_all_it_runs_is_given_up_when_the_head_says_so) {
  const std::string model = Alone("9600");
  std::map<std::string, std::unique_ptr<Daemon>> nodes;
  for (const char* name : {"a", "b", "c"}) nodes[name] = Small(name);
  const auto job = Begin(Flags("there", "9600", Words{"--param", "sleep_ms=20", "--shards", "1", "--log", scratch / "log"} + At()));
  testing::Await("batches", [&] { return Times().size() > 100; });
  const Command& victim = *nodes[NodeOfWorkersAlone(nodes)]->command;
  const std::vector<pid_t> all = victim.descendants();
  victim.Signal(SIGSTOP);
  for (const pid_t pid : all) kill(pid, SIGSTOP);   // its connections stand, and nobody answers
  const Ended ended = job->Wait();
  for (const pid_t pid : all) kill(pid, SIGKILL);
  victim.Signal(SIGKILL);
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST(Number(ended.out, "taken") >= 1);
  const std::string log = ReadText(scratch / "log");
  BOOST_TEST(testing::Holds(log, "cannot be reached"), log);   // instead of the ten seconds for those who may only be short of processors
  BOOST_TEST(!testing::Holds(log, "has not answered"), log);
  BOOST_TEST((Model("there") == model));
  BOOST_TEST_MESSAGE("longest pause " << LongestPause(Times()) << " ms");
}

BOOST_AUTO_TEST_CASE(a_node_that_is_drained_hands_its_splits_over_before_its_worker_ends) {
  const std::string model = Alone("9600");
  std::map<std::string, std::unique_ptr<Daemon>> nodes;
  for (const char* name : {"a", "b", "c"}) nodes[name] = Small(name);
  const auto job = Begin(Flags("there", "9600", Words{"--param", "sleep_ms=20", "--shards", "1", "--log", scratch / "log"} + At()));
  testing::Await("batches", [&] { return Times().size() > 100; });
  const std::string leaves = NodeOfWorkersAlone(nodes);
  const Ended drained = Ask({"drain", leaves});
  BOOST_TEST(drained.code == 0, drained.err);
  const size_t by_then = Times().size();
  BOOST_TEST(by_then < 480U);   // the job goes on without it
  const Ended ended = job->Wait();
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST(Number(ended.out, "moved") >= 2);
  BOOST_TEST(Number(ended.out, "taken") == 0, ReadText(scratch / "log"));
  BOOST_TEST((Model("there") == model));
  BOOST_TEST_MESSAGE("drained after " << by_then << " of 480 batches; longest pause " << LongestPause(Times()) << " ms");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
