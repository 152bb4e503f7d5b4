// Two heads on a real etcd: who leads, who stands by, and what becomes of jobs, nodes and commands when the one that leads is killed, stopped, or cut off from
// its etcd. TROUPE_TEST_KILL_RUNS=20 kills the head in the middle of more training runs, TROUPE_TEST_SEED=7 at other times.
#include <signal.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <memory>
#include <random>

#include "tests/integration/etcd_server.h"
#include "tests/process/cluster_fixture.h"
#include "tests/support/seeds.h"

namespace troupe {
namespace {

using testing::Await;
using testing::ClickLog;
using testing::Command;
using testing::Daemon;
using testing::Ended;
using testing::EtcdServer;
using testing::Holds;
using testing::Lines;
using testing::ModelText;
using testing::NumberFromEnvironment;
using testing::PidIn;
using testing::ReadText;
using testing::Words;
using testing::WriteText;
using testing::operator+;

/// Heads "a" and "b", of which the one that is started first leads.
struct Heads : testing::Cluster {
  explicit Heads(size_t members = 1) : testing::Cluster(nullptr), etcd("127.0.0.1", members) {
    a = Head("a", "127.0.0.1:0");
    AwaitLeading(*a);
    b = Head("b", "127.0.0.1:0");
    AwaitStandby(*b, *a);
    places = a->place + "," + b->place;
  }
  Words Flags(const std::string& name, const std::string& listen) const {
    return {"--head", "--listen", listen, "--state", scratch / ("head_" + name), "--store", "etcd:" + etcd.places(), "--token-file", scratch / "token"};
  }
  std::unique_ptr<Daemon> Head(const std::string& name, const std::string& listen) { return std::make_unique<Daemon>(scratch, Flags(name, listen)); }
  static void AwaitLeading(Daemon& head) { head.AwaitPlace(); }
  static void AwaitStandby(Daemon& head, const Daemon& leader) {
    Await("standby", [&] { return Holds(head.command->Printed(), "standby of " + leader.place + "\n"); });
    const std::string text = head.command->Printed();
    BOOST_REQUIRE(text.starts_with("listening on "));
    head.place = text.substr(13, text.find('\n') - 13);
  }
  uint64_t Generation() {
    const Ended status = Ask({"status", "--json"});
    return status.code == 0 ? static_cast<uint64_t>(testing::Number(status.out, "generation")) : 0;
  }
  /// As their unit does. A head that leads ends where etcd elects for longer than its lease, and one that begins meanwhile ends as well.
  void RestartEnded() {
    for (auto* head : {&a, &b}) {
      if ((*head)->command->running()) continue;
      const Ended ended = (*head)->command->Wait();
      BOOST_TEST((ended.code == 1 && Lines(ended.err) == 1 && Holds(ended.err, "etcd")), ended.err);
      const std::string place = (*head)->place;
      *head = Head(head == &a ? "a" : "b", place);
      (*head)->place = place;
    }
  }
  EtcdServer etcd;
  std::unique_ptr<Daemon> a, b;
};
struct HeadsOnThree : Heads {
  HeadsOnThree() : Heads(3) {}
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(HeadsSuite, Heads)

BOOST_AUTO_TEST_CASE(a_standby_takes_over_from_a_head_that_is_killed_and_jobs_and_nodes_stay) {
  const auto n = Node("n"), m = Node("m");
  const uint64_t first = Generation();
  const auto submit = Submit("echo $$ >> " + scratch.path() + "/pids; while [ ! -e " + scratch.path() + "/go ]; do sleep 0.05; done; echo done; exit 5");
  AwaitFile(scratch / "pids");
  const std::string program = Ask({"job", "list", "--json"}).out;
  Await("the standby has the program", [&] { return !testing::Names(scratch / "head_b/programs").empty(); });
  const auto killed = std::chrono::steady_clock::now();
  a->Kill();
  AwaitStatus("all is back", [&](const std::string& status) {
    return Holds(status, "\"name\":\"n\",\"state\":\"up\"") && Holds(status, "\"name\":\"m\",\"state\":\"up\"") &&
           Holds(status, "\"name\":\"driver\",\"incarnation\":1,\"state\":\"running\"");
  });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - killed;
  BOOST_TEST_MESSAGE("status is right again " << took.count() << " s after the head's death, with a lease of 3 s");
  BOOST_TEST(Generation() > first);
  BOOST_TEST(Holds(b->command->Printed(), "leading, generation "));
  a = Head("a", a->place);   // comes back, and is the standby now
  AwaitStandby(*a, *b);
  WriteText(scratch / "go", "");
  const Ended ended = submit->Wait(90);
  BOOST_TEST((ended.code == 5 && ended.out == "done\n"), ended.err);
  BOOST_TEST(Lines(ReadText(scratch / "pids")) == 1u);   // started once
  BOOST_TEST(Holds(Ask({"job", "list", "--json"}).out, "\"state\":\"failed\",\"code\":5"));
  BOOST_TEST(Ask({"submit", Script("true")}).code == 0);
}

BOOST_AUTO_TEST_CASE(a_job_that_waits_is_started_by_the_standby_with_the_program_that_it_has_copied) {
  BOOST_TEST(Submit("echo begun", {"--detach"})->Wait().code == 0);   // there is no node
  Await("the standby has the program", [&] { return testing::Names(scratch / "head_b/programs").size() == 1; });
  a->Kill();
  const auto n = Node("n");
  Await("it has run", [&] { return Ask({"job", "logs", "1"}).out == "begun\n"; });
}

BOOST_AUTO_TEST_CASE(a_head_that_stops_in_peace_is_followed_at_once_and_its_standby_likewise) {
  const uint64_t first = Generation();
  a->command->Signal(SIGTERM);
  const Ended stopped = a->command->Wait(30);
  BOOST_TEST((stopped.code == 0 && stopped.err == ""), stopped.err);
  Await("the standby leads", [&] { return Generation() > first; });
  a = Head("a", a->place);
  AwaitStandby(*a, *b);
  a->command->Signal(SIGTERM);
  BOOST_TEST(a->command->Wait(30).code == 0);
  BOOST_TEST(Generation() > first);   // b goes on
}

BOOST_AUTO_TEST_CASE(a_head_that_is_started_again_alone_leads_when_the_lease_of_its_life_before_is_over) {
  const auto n = Node("n");
  const uint64_t first = Generation();
  b->command->Signal(SIGTERM);
  BOOST_TEST(b->command->Wait(30).code == 0);
  const std::string place = a->place;
  a->Kill();
  a = Head("a", place);
  Await("it waits for itself", [&] { return Holds(a->command->Printed(), "standby of " + place + "\n"); });
  a->place = place;
  AwaitStatus("it leads", [&](const std::string& status) {
    return testing::Number(status, "generation") > static_cast<double>(first) && Holds(status, "\"name\":\"n\",\"state\":\"up\"");
  });
}

BOOST_AUTO_TEST_CASE(a_standby_says_that_it_does_not_lead) {
  const Ended refused = testing::Run(scratch, {"status", "--cluster", b->place, "--token-file", scratch / "token"});
  BOOST_TEST((refused.code == 1 && refused.err == "not the leader: " + a->place + "\n"), refused.err);
}

BOOST_AUTO_TEST_CASE(a_head_that_stood_still_longer_than_its_lease_says_nothing_any_more_and_ends_with_one_line) {
  const auto n = Node("n");
  const uint64_t first = Generation();
  a->command->Signal(SIGSTOP);
  AwaitStatus("the standby leads", [&](const std::string& status) {
    return testing::Number(status, "generation") > static_cast<double>(first) && Holds(status, "\"name\":\"n\",\"state\":\"up\"");
  });
  a->command->Signal(SIGCONT);
  const Ended ended = a->command->Wait(30);
  BOOST_TEST(ended.code == 1);
  BOOST_TEST(Lines(ended.err) == 1u, ended.err);
  BOOST_TEST(ended.err.starts_with("etcd: "), ended.err);
  BOOST_TEST(n->command->running());
}

BOOST_AUTO_TEST_CASE(an_etcd_that_is_killed_and_back_within_the_lease_is_no_matter) {
  const auto n = Node("n");
  const uint64_t first = Generation();
  etcd.Kill();
  testing::Sleep(0.5);
  etcd.Start();
  const Ended ran = Ask({"submit", Script("echo on")});
  BOOST_TEST((ran.code == 0 && ran.out == "on\n"), ran.err);
  BOOST_TEST(Generation() == first);
  BOOST_TEST((a->command->running() && b->command->running()));
}

BOOST_AUTO_TEST_CASE(without_etcd_the_head_ends_and_the_standby_leads_when_it_is_back) {
  const auto n = Node("n");
  const auto submit = Submit("while [ ! -e " + scratch.path() + "/go ]; do sleep 0.05; done; echo done");
  Await("it runs", [&] { return Holds(Ask({"status", "--json"}).out, "\"name\":\"driver\",\"incarnation\":1,\"state\":\"running\""); });
  etcd.Kill();
  const Ended ended = a->command->Wait(30);
  BOOST_TEST(ended.code == 1);
  BOOST_TEST((Lines(ended.err) == 1 && Holds(ended.err, "etcd: the lease of 3 s could not be kept: etcd at " + etcd.place())), ended.err);
  testing::Sleep(1);
  BOOST_TEST(b->command->running());
  etcd.Start();
  AwaitStatus("the standby leads", [](const std::string& status) { return Holds(status, "\"name\":\"n\",\"state\":\"up\""); });
  WriteText(scratch / "go", "");
  const Ended done = submit->Wait(90);
  BOOST_TEST((done.code == 0 && done.out == "done\n"), done.err);
}

BOOST_FIXTURE_TEST_CASE(of_an_etcd_of_three_members_each_may_be_lost_in_turn, HeadsOnThree) {
  const auto n = Node("n");
  const uint64_t first = Generation();
  for (size_t member = 0; member < 3; ++member) {
    etcd.Kill(member);
    for (int i = 0; i < 3; ++i) {
      const Ended ran = Ask({"submit", Script("echo on")});
      BOOST_TEST((ran.code == 0 && ran.out == "on\n"), "without member " << member << ": " << ran.err);
    }
    etcd.Start();
    RestartEnded();
  }
  if (Generation() != first) BOOST_TEST_MESSAGE("etcd elected for longer than the lease");
  const Ended ran = Ask({"submit", Script("echo on")});
  BOOST_TEST((ran.code == 0 && ran.out == "on\n"), ran.err);
}

BOOST_AUTO_TEST_CASE(a_store_that_is_none_and_one_that_never_answers_end_a_head_with_one_line) {
  const Words head{"node", "--head", "--state", scratch / "x"};
  const Ended file = testing::Run(scratch, head + Words{"--store", "file:x"});
  BOOST_TEST((file.code == 2 && file.err == "--store is 'file:x', expected etcd:HOST:PORT,...[/PREFIX]\n"), file.err);
  const Ended place = testing::Run(scratch, head + Words{"--store", "etcd:nowhere"});
  BOOST_TEST((place.code == 2 && place.err == "--store: etcd: 'nowhere', expected HOST:PORT\n"), place.err);
  const Ended nobody = testing::Run(scratch, head + Words{"--store", "etcd:127.0.0.1:1"});
  BOOST_TEST((nobody.code == 1 && Lines(nobody.err) == 1 && Holds(nobody.err, "etcd at 127.0.0.1:1: ")), nobody.err);
  const Ended node = testing::Run(scratch, {"node", "--join", a->place, "--store", "etcd:127.0.0.1:1"});
  BOOST_TEST((node.code == 2 && node.err == "--store is for heads: nodes keep nothing there\n"), node.err);
  const Ended cores = testing::Run(scratch, head + Words{"--cores", "2"});
  BOOST_TEST((cores.code == 2 && cores.err == "--cores is for nodes: a head runs nothing itself\n"), cores.err);
}

BOOST_AUTO_TEST_CASE(training_makes_the_model_of_one_process_though_the_head_is_killed_in_its_middle) {
  const Words flags{"train", "--algorithm", "naive_bayes", "--data", ClickLog(), "--workers", "3", "--shards", "2", "--json"};
  BOOST_REQUIRE(testing::Run(scratch, flags + Words{"--model", scratch / "here"}).code == 0);
  const std::string expected = ModelText(scratch, scratch / "here");
  std::vector<std::unique_ptr<Daemon>> nodes;
  for (const char* name : {"n", "m", "o"}) nodes.push_back(Node(name));
  std::mt19937 random(static_cast<unsigned>(NumberFromEnvironment("TROUPE_TEST_SEED", 1)));
  for (unsigned run = 0, runs = testing::KillRuns(2); run < runs; ++run) {
    const auto job = Start(flags + Words{"--model", scratch / "there"});
    testing::Sleep(std::uniform_real_distribution<double>(0.05, 0.4)(random));
    const bool in_its_middle = job->running();
    a->Kill();
    const Ended ended = job->Wait();
    BOOST_REQUIRE_MESSAGE(ended.code == 0, "run " << run << ": " << ended.err);
    BOOST_TEST(in_its_middle);
    BOOST_TEST((ModelText(scratch, scratch / "there") == expected), "run " << run);
    const std::string place = a->place;
    std::swap(a, b);   // which leads now, and the other comes back
    b = Head(run % 2 == 0 ? "a" : "b", place);
    AwaitStandby(*b, *a);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
