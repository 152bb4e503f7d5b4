// A cluster over several hosts, which are network namespaces with an address each: training across them, with a slow network, and with one that falls in two
// for a while. TROUPE_TEST_SPLIT_SECONDS=30: how long.
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <sstream>

#include "tests/integration/etcd_server.h"
#include "tests/integration/hosts.h"
#include "tests/process/cluster_fixture.h"
#include "tests/support/seeds.h"

namespace troupe {
namespace {

using testing::Await;
using testing::Command;
using testing::Daemon;
using testing::Ended;
using testing::Holds;
using testing::Hosts;
using testing::ModelText;
using testing::OnHost;
using testing::ReadText;
using testing::Scratch;
using testing::Words;
using testing::WriteText;
using testing::operator+;
using Side = Hosts::Side;

/// The bytes of a model's parts, one after the other.
std::string Parts(const std::string& model) {
  std::string bytes;
  for (const std::string& name : testing::Names(model)) {
    if (name.ends_with(".troupe")) bytes += name + "\n" + ReadText(model + "/" + name);
  }
  BOOST_REQUIRE(!bytes.empty());
  return bytes;
}

struct HostsFixture {
  const Scratch scratch;
  Hosts hosts;
  std::string head_place, from = "head";   // where commands are given
  std::unique_ptr<Daemon> head;
  std::map<std::string, std::unique_ptr<Daemon>> nodes;

  HostsFixture() {
    WriteText(scratch / "token", "a token that is long enough\n");
    BOOST_REQUIRE(testing::Run(scratch, {"certificate", scratch / "tls"}).code == 0);
  }
  /// A head on a host of that name.
  std::unique_ptr<Daemon> Head(const std::string& name, Side side, const Words& more = {}) {
    const std::string place = hosts.Add(name, side) + ":7460";
    head_place += (head_place.empty() ? "" : ",") + place;
    const OnHost on(Hosts::Name(name));
    auto started = std::make_unique<Daemon>(scratch, Words{"--head", "--listen", place, "--state", scratch / name} + more + Secret());
    started->place = place;
    return started;
  }
  void OneHead() {
    head = Head("head", Side::kLeft);
    head->AwaitPlace();
  }
  Words Secret() const { return {"--token-file", scratch / "token", "--tls", scratch / "tls"}; }
  void AddNode(const std::string& name, Side side, const Words& more = {}) {
    const std::string address = hosts.Add(name, side);
    {
      const OnHost on(Hosts::Name(name));
      nodes[name] = std::make_unique<Daemon>(
          scratch, Words{"--join", head_place, "--listen", address + ":0", "--name", name, "--cores", "2", "--state", scratch / name} + more + Secret());
    }
    AwaitNode(name, "up");
  }
  Words Flags(const std::string& model, const std::string& workers = "2") const {
    return Words{"train", "--algorithm", "naive_bayes", "--data", "generate:ctr?rows=1000000&seed=1", "--workers", workers} +
           Words{"--shards", "2", "--splits", "6", "--json", "--model", scratch / model};
  }
  std::unique_ptr<Command> Start(const Words& words) {
    const OnHost on(Hosts::Name(from));
    return std::make_unique<Command>(scratch, Command::Options{.arguments = words + Words{"--cluster", head_place} + Secret(), .environment = {}});
  }
  std::string Status() { return Start({"status", "--json"})->Wait().out; }
  static bool Is(const std::string& status, const std::string& node, const std::string& state) {
    return Holds(status, "{\"name\":\"" + node + "\",\"state\":\"" + state + "\"");
  }
  void AwaitNode(const std::string& name, const std::string& state) {
    Await(name + " is " + state, [&] { return Is(Status(), name, state); });
  }
  /// Of the node's life, as the head knows it.
  double IncarnationOf(const std::string& name) {
    const std::string status = Status();
    return testing::Number(status.substr(status.find("{\"name\":\"" + name + "\"")), "incarnation");
  }
  std::string Alone() {
    const Ended alone = testing::Run(scratch, Flags("alone"));
    BOOST_REQUIRE_MESSAGE(alone.code == 0, alone.err);
    return Parts(scratch / "alone");
  }
  /// Until so many processes of jobs run: two workers and two shards with their driver, or others.
  void AwaitRunning(size_t processes = 5) {
    Await("processes run", [&] {
      const std::string status = Status();
      size_t running = 0;
      for (size_t at = 0; (at = status.find("\"state\":\"running\",\"node\":", at)) != std::string::npos; ++at) ++running;
      return running >= processes;
    });
  }
  /// The network falls in two in the middle of a run, with the head and `here` on one side.
  void Split(const Words& here, const Words& there) {
    OneHead();
    for (const std::string& name : here) AddNode(name, Side::kLeft);
    for (const std::string& name : there) AddNode(name, Side::kRight);
    const std::string expected = Alone();
    const auto job = Start(Flags("split"));
    AwaitRunning();
    const std::string before = Status();
    hosts.Join(false);
    BOOST_TEST(job->running());
    size_t cut_off = 0;
    for (const std::string& name : there) cut_off += Holds(before, "\"node\":\"" + name + "\"");
    BOOST_TEST(cut_off > 0u, before);   // else nothing has to be replaced
    const auto began = std::chrono::steady_clock::now();
    for (const std::string& name : there) AwaitNode(name, "down");
    for (const std::string& name : here) BOOST_TEST(Is(Status(), name, "up"));
    const auto usual = 6 * std::min<uint64_t>(testing::Times(), 5);
    while (std::chrono::steady_clock::now() < began + std::chrono::seconds(testing::NumberFromEnvironment("TROUPE_TEST_SPLIT_SECONDS", usual)))
      testing::Sleep(0.1);
    hosts.Join(true);
    for (const std::string& name : there) {
      AwaitNode(name, "up");
      BOOST_TEST(IncarnationOf(name) == 2);
    }
    for (const std::string& name : here) BOOST_TEST(IncarnationOf(name) == 1);
    const Ended ended = job->Wait();
    BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err << Status());
    const std::string list = Start({"job", "list", "--json"})->Wait().out;
    BOOST_TEST_MESSAGE(cut_off << " hosts with processes of the job were cut off; " << testing::Number(ended.out, "restarts") << " restarts, driver "
                               << testing::Number(list, "attempt"));
    BOOST_TEST((testing::Number(ended.out, "restarts") > 0 || testing::Number(list, "attempt") > 1), ended.out << list);
    BOOST_TEST((Parts(scratch / "split") == expected));
    BOOST_TEST(Start({"submit", "/bin/true"})->Wait().code == 0);   // the cluster is whole
  }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(HostsSuite, HostsFixture)

BOOST_AUTO_TEST_CASE(training_across_five_hosts_makes_the_model_of_one_process) {
  OneHead();
  for (const char* name : {"n1", "n2", "n3", "n4"}) AddNode(name, Side::kLeft);
  const std::string expected = Alone();
  const auto job = Start(Flags("across"));
  AwaitRunning();
  const std::string status = Status();
  const Ended ended = job->Wait();
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST((Parts(scratch / "across") == expected));
  size_t used = 0;   // workers, and shards, are on different hosts
  for (const char* name : {"n1", "n2", "n3", "n4"}) used += Holds(status, "\"node\":\"" + std::string(name) + "\"");
  BOOST_TEST(used >= 2u, status);
}

BOOST_AUTO_TEST_CASE(behind_a_firewall_a_node_and_its_processes_listen_at_the_ports_that_it_lets_through) {
  OneHead();
  for (const char* name : {"n1", "n2"}) AddNode(name, Side::kLeft, {"--ports", "7500-7519"});
  const std::string expected = Alone();
  const auto job = Start(Flags("ports"));
  AwaitRunning();
  const auto listeners = [](const char* name) {
    const OnHost on(Hosts::Name(name));
    std::istringstream table(ReadText("/proc/thread-self/net/tcp"));
    std::string line;
    std::getline(table, line);
    size_t listening = 0;
    while (std::getline(table, line)) {   // "  0: 0200000A:1D4C 00000000:0000 0A ...": address, port, state in hexadecimal
      unsigned port = 0, state = 0;
      BOOST_REQUIRE(std::sscanf(line.c_str(), " %*d: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x", &port, &state) == 2);
      if (state != 0x0A) continue;
      ++listening;
      BOOST_TEST((port >= 7500 && port <= 7519), line);
    }
    return listening;
  };
  for (const char* name : {"n1", "n2"}) Await("the node and a process listen", [&] { return listeners(name) >= 2; });
  const Ended ended = job->Wait();
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST((Parts(scratch / "ports") == expected));
}

BOOST_AUTO_TEST_CASE(who_is_on_another_host_needs_a_certificate) {
  OneHead();
  const std::string stranger = hosts.Add("stranger", Side::kRight);
  const OnHost on(Hosts::Name("stranger"));
  const Ended refused = testing::Run(scratch, {"status", "--cluster", head_place, "--token-file", scratch / "token"});
  BOOST_TEST(refused.code == 2);
  BOOST_TEST(Holds(refused.err, "beyond this host links take certificates"), refused.err);
  const Ended node = testing::Run(scratch, {"node", "--join", head_place, "--listen", stranger + ":0", "--state", scratch / "stranger"});
  BOOST_TEST(node.code == 2);
  BOOST_TEST(Holds(node.err, "expected a token and certificates"), node.err);
}

BOOST_AUTO_TEST_CASE(a_split_that_leaves_the_head_the_smaller_side) {
  Split({"n1", "n2"}, {"n3", "n4", "n5"});
}

BOOST_AUTO_TEST_CASE(a_split_that_leaves_the_head_the_larger_side) {
  Split({"n1", "n2", "n3"}, {"n4", "n5"});
}

BOOST_AUTO_TEST_CASE(what_is_cut_off_from_its_driver_is_replaced_while_the_split_lasts) {
  OneHead();
  AddNode("n1", Side::kLeft);
  const std::string expected = Alone();
  const auto job = Start(Flags("split", "3"));
  AwaitRunning(1);   // the driver; there is no room for its workers yet
  for (const char* name : {"n2", "n3"}) AddNode(name, Side::kRight);
  AwaitRunning(6);
  hosts.Join(false);
  BOOST_TEST(job->running());
  AddNode("n4", Side::kLeft);
  const Ended ended = job->Wait();
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err << Status());
  BOOST_TEST(testing::Number(ended.out, "restarts") > 0,
             Start({"status"})->Wait().out << ReadText(nodes["n1"]->log) << ReadText(head->log) << testing::ReadText(scratch / "n1/jobs/1/driver.1.err"));
  BOOST_TEST(testing::Number(Start({"job", "list", "--json"})->Wait().out, "attempt") == 1);   // the driver has lived
  BOOST_TEST((Parts(scratch / "split") == expected));
  for (const char* name : {"n2", "n3"}) AwaitNode(name, "down");
  hosts.Join(true);
  for (const char* name : {"n2", "n3"}) {
    AwaitNode(name, "up");
    BOOST_TEST(IncarnationOf(name) == 2);
  }
}

BOOST_AUTO_TEST_CASE(a_leading_head_that_is_cut_off_is_replaced_by_the_one_beside_etcd_and_says_nothing_any_more) {
  if (std::system("command -v etcd >/dev/null") != 0) {
    BOOST_TEST_MESSAGE("skipped: there is no etcd");
    BOOST_TEST(true);
    return;
  }
  const std::string address = hosts.Add("etcd", Side::kRight);
  const OnHost beside_etcd(Hosts::Name("etcd"));
  const testing::EtcdServer etcd(address);
  const Words store{"--store", "etcd:" + etcd.place()};
  const auto first = Head("first", Side::kLeft, store);
  Await("the first leads", [&] { return Holds(first->command->Printed(), "leading, "); });
  const auto second = Head("second", Side::kRight, store);
  Await("the second stands by", [&] { return Holds(second->command->Printed(), "standby of " + first->place); });
  from = "second";
  for (const char* name : {"n1", "n2"}) AddNode(name, Side::kRight);
  const std::string expected = Alone();
  const auto job = Start(Flags("cut"));
  AwaitRunning();
  const double generation = testing::Number(Status(), "generation");
  hosts.Join(false);
  BOOST_TEST(job->running());
  Await("the second leads", [&] {
    const std::string status = Status();
    return testing::Number(status, "generation") > generation && Is(status, "n1", "up") && Is(status, "n2", "up");
  });
  const Ended gone = first->command->Wait(30);
  BOOST_TEST(gone.code == 1);
  BOOST_TEST(gone.err.starts_with("etcd: the lease of 3 s could not be kept: "), gone.err);
  const Ended ended = job->Wait();
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err << Status());
  BOOST_TEST((Parts(scratch / "cut") == expected));
  BOOST_TEST(testing::Number(Start({"job", "list", "--json"})->Wait().out, "attempt") == 1);   // it went on meanwhile
  hosts.Join(true);
  for (const char* name : {"n1", "n2"}) BOOST_TEST(IncarnationOf(name) == 1);
}

BOOST_AUTO_TEST_CASE(a_slow_network_changes_the_time_only) {
  OneHead();
  for (const char* name : {"n1", "n2"}) AddNode(name, Side::kLeft);
  if (!hosts.Delay("n1", "20ms 5ms")) {
    BOOST_TEST_MESSAGE("skipped: this kernel has no netem");
    BOOST_TEST(true);
    return;
  }
  BOOST_TEST((hosts.Delay("n2", "10ms") && hosts.Delay("head", "5ms")));
  const std::string expected = Alone();
  const Ended ended = Start(Flags("slow"))->Wait(300);
  BOOST_REQUIRE_MESSAGE(ended.code == 0, ended.err);
  BOOST_TEST((Parts(scratch / "slow") == expected));
  for (const char* name : {"n1", "n2"}) {
    BOOST_TEST(Is(Status(), name, "up"));
    BOOST_TEST(IncarnationOf(name) == 1);   // nobody was taken for dead
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
