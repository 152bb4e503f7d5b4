// Named tables of a cluster of real processes: what goes in comes out, whoever is killed meanwhile; and what is wrong is told in one line.
// TROUPE_TEST_KILL_RUNS=100 TROUPE_TEST_SEED=7 runs more, with other times and victims.
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "ps/named_table.h"
#include "tests/process/cluster_fixture.h"
#include "tests/support/seeds.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Await;
using testing::Cluster;
using testing::Command;
using testing::Daemon;
using testing::Ended;
using testing::Holds;
using testing::Lines;
using testing::Names;
using testing::Number;
using testing::ReadText;
using testing::Words;
using testing::WriteText;
using testing::operator+;

struct Tables : Cluster {
  Tables() {
    // A token for each role; those who are not told otherwise take the strongest.
    WriteText(scratch / "token", "admin 0123456789abcdef-admin\nsubmit 0123456789abcdef-submit\nread 0123456789abcdef-read\n");
    head->Kill();
    head = std::make_unique<Daemon>(scratch, HeadFlags(head->place));
    head->AwaitPlace();
    for (const char* name : {"a", "b"}) nodes[name] = Node(name);
  }
  /// Begins it, where it is not there.
  Ended Import(const std::string& name, const std::string& file, const Words& more = {}) {
    return Ask(Words{"table", "import", name, file, "--folder", scratch / "tables"} + more);
  }
  std::string File(const std::string& name, const std::string& text) const {
    WriteText(scratch / name, text);
    return scratch / name;
  }
  /// `rows` rows of two numbers, by rising key, as an export has them.
  std::string Csv(size_t rows) const {
    std::string text = "key,v0,v1\n";
    for (size_t i = 0; i < rows; ++i) text += std::to_string(i * 7919) + "," + std::to_string(i % 1000) + ".5,-0.1\n";
    return text;
  }
  void Kill(const std::string& kind, std::mt19937& random) {
    if (kind == "head") {
      head->Kill();
      head = std::make_unique<Daemon>(scratch, HeadFlags(head->place));
      head->AwaitPlace();
    } else if (kind == "node") {
      auto victim = nodes.begin();
      std::advance(victim, random() % nodes.size());
      victim->second->Kill();
      victim->second = Node(victim->first);
    } else {
      std::vector<pid_t> all;
      Await(kind, [&] { return !(all = InRole(kind)).empty(); });
      kill(all[random() % all.size()], SIGKILL);
    }
  }
  ClusterAddress Address() const { return {.head = places, .token = "0123456789abcdef-submit"}; }
  std::unique_ptr<NamedTable> Connect(const std::string& name) const {
    auto table = NamedTable::Connect({.cluster = Address(), .name = name});
    BOOST_REQUIRE_MESSAGE(table.ok(), table.status().ToString());
    return std::move(*table);
  }
  std::map<std::string, std::unique_ptr<Daemon>> nodes;
};

bool Refused(const Ended& ended, const std::string& why, int code = 2) {
  BOOST_TEST_INFO(ended.code << " " << ended.err);
  return ended.code == code && Lines(ended.err) == 1 && Holds(ended.err, why);
}
unsigned Seed() {
  const char* text = getenv("TROUPE_TEST_SEED");
  return text == nullptr ? 1 : static_cast<unsigned>(strtoul(text, nullptr, 10));
}

/// Of a table whose shards have so many processes each.
void EveryAcknowledgedPushCountsOnce(Tables& tables, const char* replication) {
  const unsigned runs = testing::KillRuns(4);
  const std::vector<std::string> kinds = {"shard", "table-driver", "head", "node"};
  BOOST_REQUIRE(tables.Import("w", tables.File("in.csv", "key,v0\n"), {"--shards", "2", "--replication", replication}).code == 0);
  std::mt19937 random(Seed());
  std::atomic<bool> stop{false};
  uint64_t acknowledged = 0, failed = 0;
  std::string why;
  std::vector<Key> keys;
  for (Key key = 0; key < 50; ++key) keys.push_back(key);
  const auto table = tables.Connect("w");
  std::thread pushes([&] {
    while (!stop) {
      const absl::Status status = table->ref().Push(keys, std::vector<float>(keys.size(), 1)).Wait(seconds(90));
      status.ok() ? ++acknowledged : ++failed;
      if (!status.ok()) why = status.ToString();
    }
  });
  for (unsigned run = 0; run < runs; ++run) {
    testing::Sleep(std::uniform_real_distribution<double>(0.2, 0.6)(random));
    tables.Kill(kinds[run % kinds.size()], random);
    const auto reader = tables.Connect("w");   // it is there again
    BOOST_TEST(reader->ReadAll().ok());
  }
  stop = true;
  pushes.join();
  BOOST_TEST(failed == 0u, why);
  BOOST_TEST(acknowledged > 0u);
  const Rows rows = *tables.Connect("w")->ReadAll();
  BOOST_REQUIRE(rows.keys.size() == keys.size());
  for (const float value : rows.values) BOOST_TEST(value == static_cast<float>(acknowledged));
}

}   // namespace

BOOST_FIXTURE_TEST_SUITE(TablesSuite, Tables)

BOOST_AUTO_TEST_CASE(what_is_imported_is_exported_byte_for_byte_and_goes_when_it_is_dropped) {
  const std::string csv = Csv(3000), file = File("in.csv", csv);
  const Ended made = Import("w", file, {"--shards", "2", "--rule", "adagrad", "--param", "learning_rate=0.5"});
  BOOST_REQUIRE_MESSAGE(made.code == 0, made.err);
  BOOST_TEST(made.out == "table 'w': 3,000 rows of 2 set\n");
  BOOST_TEST((Ask({"table", "export", "w"}).out == csv));
  BOOST_TEST(Ask({"table", "export", "w", scratch / "out.parquet"}).code == 0);
  BOOST_TEST(Import("v", scratch / "out.parquet", {"--json"}).out == "{\"table\":\"v\",\"rows\":3000,\"width\":2}\n");
  BOOST_TEST(Ask({"table", "export", "v", scratch / "out.csv.gz"}).code == 0);
  BOOST_TEST(Import("w", scratch / "out.csv.gz").code == 0);   // the same rows, again
  BOOST_TEST(Ask({"table", "export", "w", scratch / "out.csv"}).code == 0);
  BOOST_TEST((ReadText(scratch / "out.csv") == csv));
  const std::string list = Ask({"table", "list", "--json"}).out;
  BOOST_TEST(Holds(list, "{\"name\":\"v\",\"owner\":\"job 2\",\"state\":\"running\",\"kind\":\"sparse\",\"rule\":\"add\",\"rows\":3000,\"width\":2,\"bytes\":"),
             list);
  BOOST_TEST(Holds(list, "{\"name\":\"w\",\"owner\":\"job 1\",\"state\":\"running\",\"kind\":\"sparse\",\"rule\":\"adagrad\",\"rows\":3000,\"width\":2,"),
             list);
  BOOST_TEST(Holds(list, "\"shards\":2,\"replicas\":2}"), list);   // two nodes
  BOOST_TEST(Holds(Ask({"table", "list"}).out, "3,000"));
  BOOST_TEST(Ask({"table", "drop", "v"}).code == 0);
  BOOST_TEST((Names(scratch / "tables") == std::vector<std::string>{"w"}));
  BOOST_TEST(Refused(Ask({"table", "export", "v"}), "there is no table 'v'"));
  BOOST_TEST(!Holds(Ask({"table", "list", "--json"}).out, "\"v\""));
  BOOST_TEST(Import("v", file).code == 0);   // another one
  BOOST_TEST(Ask({"table", "drop", "v"}).code == 0);
  BOOST_TEST(Ask({"table", "drop", "w"}).code == 0);
  Await("the tables' processes have ended", [&] { return InRole("shard").empty() && InRole("table-driver").empty(); });
}

BOOST_AUTO_TEST_CASE(a_dense_table_has_all_its_rows_from_the_start) {
  BOOST_TEST(Import("d", File("in.csv", "key,v0\n3,1.5\n0,-2\n"), {"--dense", "5", "--shards", "2"}).code == 0);
  BOOST_TEST(Ask({"table", "export", "d"}).out == "key,v0\n0,-2\n1,0\n2,0\n3,1.5\n4,0\n");
  BOOST_TEST(Refused(Import("d", File("far.csv", "key,v0\n5,1\n")), "far.csv: key is 5, expected < 5: table 'd' is dense"));
  BOOST_TEST(Holds(Ask({"table", "list", "--json"}).out, "\"kind\":\"dense\",\"rule\":\"add\",\"rows\":5,\"width\":1"));
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_told_in_one_line) {
  const std::string good = File("good.csv", "key,v0\n1,2\n");
  const Words import = {"table", "import", "w"};
  BOOST_TEST(Refused(Ask(import + Words{good}), "there is no table 'w' yet, and --folder is missing"));
  BOOST_TEST(Refused(Import("w", scratch / "none.csv"), "none.csv: no such file or directory"));
  BOOST_TEST(Refused(Import("w", File("bad.csv", "key,v0\n1,nan\n")), "bad.csv:2: v0 is 'nan', expected a finite number"));
  BOOST_TEST(Refused(Import("w", File("twice.csv", "key,v0\n1,2\n1,3\n")), "twice.csv:3: key 1 is there twice, first in line 2"));
  BOOST_TEST(Refused(Import("../w", good), "table's name is '../w'"));
  BOOST_TEST(Refused(Import("w", good, {"--rule", "no"}), "unknown"));
  BOOST_TEST(Refused(Import("w", good, {"--rule", "sgd", "--param", "x=1"}), "x"));
  BOOST_TEST(Refused(Import("w", good, {"--param", "x"}), "--param is 'x', expected NAME=NUMBER"));
  BOOST_TEST(Refused(Import("w", good, {"--shards", "0"}), "--shards is '0', expected a whole number from 1 to 1024"));
  BOOST_TEST(Refused(Import("w", good, {"--replication", "9"}), "--replication is '9', expected a whole number from 1 to 8"));
  BOOST_TEST(Refused(Ask({"table", "export", "w"}), "there is no table 'w'"));
  BOOST_TEST(Refused(Ask({"table", "drop", "w"}), "there is no table 'w'"));
  BOOST_REQUIRE(Import("w", good).code == 0);
  BOOST_TEST(Refused(Import("w", good, {"--replication", "1"}), "--replication is 1, and table 'w' has 2"));
  BOOST_TEST(Refused(Import("w", File("wide.csv", "key,v0,v1\n1,2,3\n")), "wide.csv: 2 values a row, and table 'w' has width 1"));
  BOOST_TEST(Refused(Import("w", good, {"--dense", "5"}), "--dense is 5, and table 'w' is sparse"));
  BOOST_TEST(Refused(Import("w", good, {"--rule", "sgd"}), "--rule is 'sgd', and table 'w' has add"));
  BOOST_TEST(Refused(Ask({"table", "export", "w", scratch / "out.txt"}), "expected a .csv"));
  BOOST_TEST(Refused(Ask({"submit", "/bin/true", "--name", "table x"}), "--name is 'table x'"));
  BOOST_TEST(Refused(testing::Run(scratch, {"table", "list"}), "--cluster is missing"));
  BOOST_TEST(Refused(testing::Run(scratch, {"table", "list", "--cluster", "127.0.0.1:1"}), "", 1));
  WriteText(scratch / "wrong", "another token, which is long enough\n");
  const Words wrong = {"--cluster", places, "--token-file", scratch / "wrong"};
  BOOST_TEST(Refused(testing::Run(scratch, Words{"table", "export", "w"} + wrong), "token is wrong", 1));
  const Ended stopped = Ask({"job", "stop", "1"});   // its files stay, and say what they are
  BOOST_TEST(stopped.code == 0, stopped.err << Ask({"job", "logs", "1"}).out);
  const Ended other = Import("w", good, {"--shards", "2"});
  BOOST_TEST(
      Refused(other,
              "tables/w holds a table of width 1, sparse, rule add, 1 shard of 2 processes, and not of width 1, sparse, rule add, 2 shards of 2 processes"),
      other.err);
  BOOST_TEST(Refused(Import("w", good, {"--replication", "1"}), "1 shard of 2 processes, and not of width 1, sparse, rule add, 1 shard"));
  BOOST_TEST(Import("w", good).code == 0);
  BOOST_TEST(Ask({"table", "export", "w"}).out == "key,v0\n1,2\n");
}

BOOST_AUTO_TEST_CASE(a_token_is_good_for_its_role) {
  BOOST_REQUIRE(Import("w", File("good.csv", "key,v0\n1,2\n")).code == 0);
  const auto with = [&](const std::string& role) { return Words{"--cluster", places, "--token-file", File(role, role + " 0123456789abcdef-" + role)}; };
  BOOST_TEST(testing::Run(scratch, Words{"table", "export", "w"} + with("submit")).out == "key,v0\n1,2\n");
  const std::string refusal = "a token for 'read' is not enough for this, which takes one for 'submit'";
  BOOST_TEST(Refused(testing::Run(scratch, Words{"table", "export", "w"} + with("read")), refusal, 1));
  BOOST_TEST(Refused(testing::Run(scratch, Words{"table", "drop", "w"} + with("read")), refusal, 1));
  BOOST_TEST(Refused(testing::Run(scratch, Words{"table", "import", "w", scratch / "good.csv"} + with("read")), refusal, 1));
  BOOST_TEST(testing::Run(scratch, Words{"table", "list", "--json"} + with("read")).out ==
             "{\"tables\":[{\"name\":\"w\",\"owner\":\"job 1\",\"state\":\"running\"}]}\n");
  // The secret of the table's network is nowhere to be seen.
  const std::string secret = ReadText(scratch / "tables/w/secret");
  BOOST_REQUIRE(secret.size() > 64);
  const std::string token = secret.substr(secret.find(' ') + 1);
  for (const Words& words : {Words{"status", "--json"}, {"job", "list", "--json"}, {"job", "logs", "1"}, {"table", "list", "--json"}})
    BOOST_TEST(!Holds(Ask(words).out, token), words[0]);
  for (const Daemon* daemon : {head.get(), nodes.at("a").get(), nodes.at("b").get()}) BOOST_TEST(!Holds(ReadText(daemon->log), token));
  struct stat status {};
  BOOST_TEST((stat((scratch / "tables/w/secret").c_str(), &status) == 0 && (status.st_mode & 0777) == 0600));
}

BOOST_AUTO_TEST_CASE(a_command_that_is_killed_leaves_the_rows_that_it_has_set) {
  const std::string csv = Csv(300'000), file = File("in.csv", csv);
  BOOST_REQUIRE(Import("w", File("none.csv", "key,v0,v1\n"), {"--shards", "2"}).code == 0);
  const auto import = Start({"table", "import", "w", file});
  const auto reader = Connect("w");
  Await("some rows", [&] { return reader->MeasureSize()->rows > 0 || !import->running(); });
  import->Signal(SIGKILL);
  import->Wait();
  const Ended some = Ask({"table", "export", "w", scratch / "some.csv"});   // it may wait for the lease of who was killed
  BOOST_REQUIRE_MESSAGE(some.code == 0, some.err);
  const std::string rows = ReadText(scratch / "some.csv");
  BOOST_TEST(Lines(rows) > 1u);
  std::set<std::string> lines;
  for (size_t at = 0, end; (end = csv.find('\n', at)) != std::string::npos; at = end + 1) lines.insert(csv.substr(at, end - at));
  for (size_t at = 0, end; (end = rows.find('\n', at)) != std::string::npos; at = end + 1) BOOST_REQUIRE(lines.contains(rows.substr(at, end - at)));
  BOOST_TEST(Import("w", file).code == 0);
  BOOST_TEST((Ask({"table", "export", "w"}).out == csv));
}

BOOST_AUTO_TEST_CASE(a_user_that_ends_in_the_middle_of_a_push_keeps_nobody_waiting_for_long) {
  BOOST_REQUIRE(Import("w", File("in.csv", "key,v0\n"), {"--shards", "2"}).code == 0);
  std::vector<Key> keys;
  for (Key key = 0; key < 200'000; ++key) keys.push_back(key);
  for (int i = 0; i < 10; ++i) {
    const auto table = Connect("w");
    table->ref().Push(keys, std::vector<float>(keys.size(), 1));
    testing::Sleep(0.002 * i);
  }   // goes without a flush
  const auto rows = Connect("w")->ReadAll();
  BOOST_TEST(rows.ok(), rows.status().ToString());
}

BOOST_AUTO_TEST_CASE(tables_of_jobs_that_run_are_listed) {
  const auto job = Start({"train", "--algorithm", "logistic_regression", "--data", "generate:ctr?rows=60000&seed=5", "--workers", "1", "--shards", "2",
                          "--replication", "1", "--epochs", "1000", "--model", scratch / "model"});
  Await("a table", [&] {
    return Holds(Ask({"table", "list", "--json"}).out, "{\"name\":\"w\",\"owner\":\"job 1: train logistic_regression\",\"state\":\"running\"");
  });
  BOOST_TEST(Holds(Ask({"table", "list", "--json"}).out, "\"shards\":2,\"replicas\":1"));
  BOOST_TEST(Refused(Ask({"table", "export", "w"}), "there is no table 'w'"));   // they are the job's own
  BOOST_TEST(Ask({"job", "stop", "1"}).code == 0);
  job->Wait();
}

BOOST_AUTO_TEST_CASE(users_push_and_pull_and_a_cut_has_each_push_whole) {
  BOOST_REQUIRE(Import("w", File("in.csv", "key,v0\n"), {"--shards", "3"}).code == 0);
  constexpr uint32_t kUsers = 3, kKeys = 40;
  std::atomic<bool> stop{false};
  std::vector<uint64_t> pushed(kUsers, 0);
  std::vector<std::string> wrong(kUsers);   // by user: Boost.Test is for one thread
  std::vector<std::unique_ptr<NamedTable>> tables;
  for (uint32_t user = 0; user < kUsers; ++user) tables.push_back(Connect("w"));
  std::vector<std::thread> threads;
  for (uint32_t user = 0; user < kUsers; ++user) {
    threads.emplace_back([&, user] {
      const TableRef ref = tables[user]->ref();
      std::vector<Key> keys;
      for (Key key = 0; key < kKeys; ++key) keys.push_back(key * kUsers + user);
      while (!stop && wrong[user].empty()) {
        const Pushing pushing = ref.Push(keys, std::vector<float>(kKeys, 1));
        const auto rows = ref.Pull({user});
        const absl::Status done = pushing.Wait(seconds(60));
        if (!rows.ok() || !done.ok()) {
          wrong[user] = rows.status().ToString() + ", " + done.ToString();
        } else if (rows->values[0] != static_cast<float>(++pushed[user])) {   // its own pushes are in it
          wrong[user] = "pulled " + std::to_string(rows->values[0]) + " behind push " + std::to_string(pushed[user]);
        }
      }
      if (const absl::Status status = tables[user]->Flush(); !status.ok()) wrong[user] += status.ToString();
    });
  }
  const auto reader = Connect("w");
  Await("rows of all", [&] { return reader->ReadAll()->keys.size() == kUsers * kKeys; });
  for (int i = 0; i < 20; ++i) {
    const auto rows = reader->ReadAll();
    BOOST_REQUIRE_MESSAGE(rows.ok(), rows.status().ToString());
    BOOST_REQUIRE(rows->keys.size() == kUsers * kKeys);
    for (uint32_t row = kUsers; row < rows->keys.size(); ++row) BOOST_REQUIRE(rows->values[row] == rows->values[row % kUsers]);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (const std::string& what : wrong) BOOST_TEST(what == "");
  const Rows rows = *reader->ReadAll();
  for (uint32_t user = 0; user < kUsers; ++user) BOOST_TEST(rows.values[user] == static_cast<float>(pushed[user]));
}

BOOST_AUTO_TEST_CASE(whoever_is_killed_while_rows_are_imported_they_all_are_there) {
  const unsigned runs = testing::KillRuns(8);
  const std::vector<std::string> kinds = {"shard", "table-driver", "head", "node"};
  const std::string csv = Csv(300'000), file = File("in.csv", csv);
  std::mt19937 random(Seed());
  for (unsigned run = 0; run < runs; ++run) {
    const std::string& kind = kinds[run % kinds.size()];
    BOOST_TEST_CONTEXT("run " << run << ", killed: " << kind) {
      const std::string replication = std::to_string(1 + run / kinds.size() % 2);
      const auto import = Start({"table", "import", "w", file, "--folder", scratch / "tables", "--shards", "2", "--replication", replication});
      Await("shards", [&] { return !InRole("shard").empty(); });
      testing::Sleep(std::uniform_real_distribution<double>(0, 0.8)(random));
      Kill(kind, random);
      const Ended ended = import->Wait(180);
      BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
      const Ended exported = Ask({"table", "export", "w"});
      BOOST_TEST(exported.code == 0, exported.err);
      BOOST_TEST((exported.out == csv));
      const Ended dropped = Ask({"table", "drop", "w"});
      BOOST_REQUIRE_MESSAGE(dropped.code == 0, dropped.err);
    }
  }
}

BOOST_AUTO_TEST_CASE(whoever_is_killed_every_acknowledged_push_counts_once) {
  EveryAcknowledgedPushCountsOnce(*this, "1");
}

BOOST_AUTO_TEST_CASE(whoever_is_killed_every_acknowledged_push_to_replicas_counts_once) {
  EveryAcknowledgedPushCountsOnce(*this, "2");
}

/// Also the one with the table's driver, which is never at its end.
BOOST_AUTO_TEST_CASE(any_node_of_a_table_may_be_drained) {
  const std::string csv = Csv(20'000);
  BOOST_REQUIRE(Import("w", File("in.csv", csv), {"--shards", "2"}).code == 0);
  for (const char* name : {"a", "b"}) {
    const Ended drained = Ask({"drain", name, "--timeout", "60s"});
    BOOST_TEST(drained.code == 0, drained.err);
    BOOST_TEST(nodes[name]->command->Wait(60).code == 0);
    nodes[name] = Node(name);
    const Ended exported = Ask({"table", "export", "w"});
    BOOST_TEST(exported.code == 0, exported.err);
    BOOST_TEST((exported.out == csv));
  }
}

BOOST_AUTO_TEST_CASE(a_cluster_that_loses_all_its_processes_at_once_has_its_tables_when_it_is_back) {
  const std::string csv = Csv(20'000);
  BOOST_REQUIRE(Import("w", File("in.csv", csv), {"--shards", "2"}).code == 0);
  std::vector<pid_t> all = InRole("shard");
  for (const pid_t pid : InRole("table-driver")) all.push_back(pid);
  for (const pid_t pid : all) kill(pid, SIGKILL);
  for (auto& [name, node] : nodes) node->Kill();
  head->Kill();
  BOOST_TEST(testing::WaitUntilGone(all));
  head = std::make_unique<Daemon>(scratch, HeadFlags(head->place));
  head->AwaitPlace();
  for (auto& [name, node] : nodes) node = Node(name);
  const Ended exported = Ask({"table", "export", "w"});
  BOOST_TEST(exported.code == 0, exported.err);
  BOOST_TEST((exported.out == csv));
  // And where the head has forgotten everything, the folder has the rows.
  BOOST_TEST(Ask({"job", "stop", "1"}).code == 0);
  BOOST_TEST(Import("w", File("one.csv", "key,v0,v1\n1,2,3\n"), {"--shards", "2"}).code == 0);
  BOOST_TEST(Lines(Ask({"table", "export", "w"}).out) == Lines(csv) + 1);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
