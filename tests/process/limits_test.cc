// What a cluster's jobs may take, on a real cluster: memory, with control groups and without; and that nothing of a job outlives it, or its node's daemon.
#include <signal.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <memory>

#include "actors/cgroup.h"
#include "tests/process/cluster_fixture.h"

namespace troupe {
namespace {

using testing::Await;
using testing::Cluster;
using testing::Command;
using testing::Daemon;
using testing::Ended;
using testing::Holds;
using testing::Lines;
using testing::PidIn;
using testing::ReadText;
using testing::Words;
using testing::WriteText;
using testing::operator+;

struct Limits : Cluster {
  /// A script that leaves its session and its parents, ignores SIGTERM, and says who it is in a file.
  std::string Hidden(const std::string& name) const {
    return "setsid sh -c \"sh -c 'trap \\\"\\\" TERM HUP; echo \\$\\$ > " + scratch / name + "; while :; do sleep 1000; done' &\"\n";
  }
  /// Groups of guards that are empty and still there, where a node makes groups at all.
  size_t GroupsLeft(const Daemon& node) const {
    const std::string text = ReadText(node.log), key = " folder=";
    const size_t at = text.find(key);
    if (at == std::string::npos) return 0;
    const std::string folder = text.substr(at + key.size(), text.find_first_of(" \n", at + key.size()) - at - key.size());
    size_t left = 0;
    for (const std::string& name : testing::Names(folder)) {
      const bool group = name.starts_with("troupe.") && !name.ends_with(".daemon");
      left += group && ReadText(folder + "/" + name + "/cgroup.procs").empty();
    }
    return left;
  }
  /// Is `by` what limits memory there? Says that it is skipped where not.
  bool KeptBy(const std::string& by) {
    const bool kept = Holds(Ask({"status", "--json"}).out, "\"memory_kept_by\":\"" + by);
    if (!kept) BOOST_TEST_MESSAGE("skipped: this machine lets nobody make control groups");
    return kept;
  }
  void CheckMemory(const Daemon& node) {
    const std::string hidden = scratch / "hidden";
    const Ended takes =
        Submit(Hidden("hidden") + "while [ ! -s " + hidden + " ]; do sleep 0.01; done; ulimit -v 2000000; exec tail /dev/zero", {"--memory", "64M"})->Wait(60);
    BOOST_TEST(takes.code == 137);
    BOOST_TEST(takes.err == "job 1 failed: out of memory: limit 64 MB (--memory)\n");
    BOOST_TEST(testing::WaitUntilGone({PidIn(hidden)}));
    const Ended child = Submit("ulimit -v 2000000; tail /dev/zero; sleep 1000", {"--memory", "65537K"})->Wait(60);
    BOOST_TEST(child.code == 137);
    BOOST_TEST(child.err.ends_with("job 2 failed: out of memory: limit 65537 KB (--memory)\n"), child.err);   // its shell may have said that it was killed
    const std::string list = Ask({"job", "list", "--json"}).out;
    BOOST_TEST(Holds(list, "\"state\":\"failed\",\"code\":137,\"reason\":\"out of memory: limit 64 MB (--memory)\""), list);
    BOOST_TEST(Holds(list, "\"attempt\":1"), list);   // more of it would do no better
    const std::string status = Ask({"status"}).out;
    BOOST_TEST(Holds(status, "job 1: driver ended on node a: out of memory: limit 64 MB (--memory)"), status);
    BOOST_TEST(Holds(ReadText(node.log), "out of memory: limit 64 MB (--memory)"));
    // Within its limit, and killed by somebody else.
    const Ended within = Submit("head -c 20000000 /dev/zero | tail -c 1 > /dev/null; echo fine", {"--memory", "64M"})->Wait(60);
    BOOST_TEST((within.code == 0 && within.out == "fine\n"), within.err);
    const Ended killed = Submit("kill -9 $$", {"--memory", "64M", "--attempts", "2"})->Wait(60);
    BOOST_TEST(killed.err == "job 4 failed: its driver was lost 2 times, the last time: killed by signal 9 (Killed)\n");
    BOOST_TEST(GroupsLeft(node) == 0u);
  }
};

BOOST_FIXTURE_TEST_SUITE(LimitsSuite, Limits)

BOOST_AUTO_TEST_CASE(a_job_beyond_its_memory_ends_as_such_where_control_groups_are) {
  const auto a = Node("a");
  if (KeptBy("cgroup")) CheckMemory(*a);
}

BOOST_AUTO_TEST_CASE(a_job_beyond_its_memory_ends_as_such_where_the_node_looks_itself) {
  const auto a = Node("a", {"--cgroup", "none"});
  BOOST_TEST_REQUIRE(KeptBy("watching"));
  CheckMemory(*a);
  BOOST_TEST(Holds(Ask({"status"}).out, " MB, watching"));
}

BOOST_AUTO_TEST_CASE(a_group_that_is_none_is_an_error_of_one_line) {
  const Ended none = testing::Run(scratch, {"node", "--join", head->place, "--cgroup", "/no/such/group"});
  BOOST_TEST((none.code == 1 && Lines(none.err) == 1 && none.err.starts_with("--cgroup: /no/such/group/troupe.")), none.err);
  BOOST_TEST(testing::Run(scratch, {"node", "--head", "--cgroup", "none"}).err == "--cgroup is for nodes: a head runs nothing itself\n");
}

BOOST_AUTO_TEST_CASE(nothing_of_a_job_that_is_stopped_or_ends_is_left_however_it_hides) {
  const auto a = Node("a");
  const auto stopped = Submit(Hidden("x") + "trap '' TERM; echo $$ > " + scratch / "pid" + "; while :; do sleep 1000; done", {"--memory", "64M"});
  AwaitFile(scratch / "pid");
  AwaitFile(scratch / "x");
  BOOST_TEST(Ask({"job", "stop", "1"}).code == 0);
  BOOST_TEST(stopped->Wait(60).code == 1);
  BOOST_TEST(testing::WaitUntilGone({PidIn(scratch / "pid"), PidIn(scratch / "x")}));
  const Ended ended = Submit(Hidden("y") + "while [ ! -s " + scratch / "y" + " ]; do sleep 0.01; done; echo over")->Wait(60);
  BOOST_TEST((ended.code == 0 && ended.out == "over\n"));
  BOOST_TEST(testing::WaitUntilGone({PidIn(scratch / "y")}, 0));   // by the time it is over
  Await("no group is left", [&] { return GroupsLeft(*a) == 0; });
}

BOOST_AUTO_TEST_CASE(a_program_that_is_stopped_hears_of_it_and_may_tidy_up) {
  const auto a = Node("a");
  const auto submit = Submit("trap 'echo tidy > " + scratch / "tidy" + "; exit 0' TERM; echo $$ > " + scratch / "pid" + "; while :; do sleep 0.01; done");
  AwaitFile(scratch / "pid");
  BOOST_TEST(Ask({"job", "stop", "1"}).code == 0);
  submit->Wait(60);
  AwaitFile(scratch / "tidy");
}

BOOST_AUTO_TEST_CASE(programs_end_with_a_daemon_that_is_killed_so_that_none_runs_twice) {
  auto a = Node("a");
  const auto submit =
      Submit(Hidden("x$TROUPE_JOB_ATTEMPT") + "echo $$ >> " + scratch / "pids" + "; [ $TROUPE_JOB_ATTEMPT = 2 ] || sleep 1000", {"--memory", "64M"});
  AwaitFile(scratch / "pids");
  AwaitFile(scratch / "x1");
  a->Kill();
  BOOST_TEST(testing::WaitUntilGone({PidIn(scratch / "pids"), PidIn(scratch / "x1")}));   // nobody else has ended them: no node is there
  a = Node("a");
  BOOST_TEST(submit->Wait(90).code == 0);
  BOOST_TEST(Lines(ReadText(scratch / "pids")) == 2u);
  Await("no group is left", [&] { return GroupsLeft(*a) == 0; });
}

BOOST_AUTO_TEST_CASE(what_a_daemon_and_its_guards_have_left_is_ended_by_the_next_one) {
  auto a = Node("a");
  if (!KeptBy("cgroup")) return;
  const auto submit = Submit(Hidden("x") + "echo $$ > " + scratch / "pid" + "; sleep 1000", {"--memory", "64M", "--attempts", "1"});
  AwaitFile(scratch / "pid");
  AwaitFile(scratch / "x");
  const std::vector<pid_t> guards = a->command->children("guard");
  BOOST_TEST_REQUIRE(guards.size() == 1u);
  a->command->Signal(SIGSTOP);   // so that it does not see what happens to its guard
  kill(guards[0], SIGKILL);
  BOOST_TEST(testing::WaitUntilGone({PidIn(scratch / "pid")}));
  BOOST_TEST(!testing::WaitUntilGone({PidIn(scratch / "x")}, 0));   // nobody's child any more
  a->Kill();
  a = Node("a");
  BOOST_TEST(testing::WaitUntilGone({PidIn(scratch / "x")}));
  Await("no group is left", [&] { return GroupsLeft(*a) == 0; });
  submit->Wait(90);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
