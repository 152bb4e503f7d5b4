// Guards, started by this test as a node starts them: how programs end, and that nothing of them is left. TROUPE_PROGRAM is the program that knows RunGuard.
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "actors/process_guard.h"
#include "actors/process_table.h"
#include "actors/process_tree.h"
#include "tests/process/command.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ReadText;

struct Fixture {
  const testing::Scratch scratch;
  ProcessTable table;

  struct Guarded {
    pid_t pid = 0;
    std::future<std::pair<GuardEnd, int>> ended;
    /// How it has ended, and the guard's own exit code.
    std::pair<GuardEnd, int> Wait() {
      BOOST_TEST_REQUIRE((ended.wait_for(seconds(30)) == std::future_status::ready), "it does not end");
      return ended.get();
    }
  };
  Guarded Start(GuardOptions options) {
    auto guard = Guard::Make(std::move(options));
    BOOST_TEST_REQUIRE(guard.ok());
    auto end = std::make_shared<std::promise<std::pair<GuardEnd, int>>>();
    Guarded guarded{.ended = end->get_future()};
    const auto pid = table.Start({.program = TROUPE_PROGRAM,
                                  .arguments = (*guard)->CommandLine(),
                                  .inherit = {(*guard)->descriptor()},
                                  .environment = (*guard)->Environment(),
                                  .group = true,
                                  .end_signal = kGuardEnd,
                                  .ended = [end, guard = *guard](int status) {
                                    end->set_value({guard->End(status), WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status)});
                                  }});
    BOOST_TEST_REQUIRE(pid.ok());
    guarded.pid = *pid;
    return guarded;
  }
  GuardOptions Shell(const std::string& script) const { return {.program = "/bin/sh", .arguments = {"sh", "-c", script}, .memory_max = 0, .cgroups = {}}; }
  std::string File(const std::string& name) const { return scratch / name; }
  pid_t AwaitPid(const std::string& name) const {
    for (int i = 0; i < 3000 && !ReadText(File(name)).ends_with("\n"); ++i) testing::Sleep(0.01);
    const pid_t pid = static_cast<pid_t>(std::atol(ReadText(File(name)).c_str()));
    BOOST_TEST_REQUIRE(pid > 0);
    return pid;
  }
  /// A script that leaves its session and its parents behind it, and says who it is in the file `name`.
  std::string Hidden(const std::string& name) const {
    return "setsid sh -c \"sh -c 'echo \\$\\$ > " + File(name + ".new") + "; mv " + File(name + ".new") + " " + File(name) +
           "; trap \\\"\\\" TERM HUP; while :; do sleep 1000; done' &\"";
  }
};

bool Is(const std::pair<GuardEnd, int>& end, GuardEnd::Kind kind, int value, int code) {
  BOOST_TEST_MESSAGE("kind " << static_cast<int>(end.first.kind) << ", value " << end.first.value << ", " << end.first.text << ", code " << end.second);
  return end.first.kind == kind && end.first.value == value && end.second == code;
}

using Kind = GuardEnd::Kind;
/// A limit, and programs beyond it that do no harm where it does not hold.
constexpr uint64_t kLimit = 64 << 20;
constexpr char kTakes[] = "ulimit -v 2000000; exec tail /dev/zero";   // all of it is one line
constexpr char kChildTakes[] = "ulimit -v 2000000; tail /dev/zero; sleep 1000";

BOOST_FIXTURE_TEST_SUITE(GuardSuite, Fixture)

BOOST_AUTO_TEST_CASE(exit_codes_signals_and_arguments_arrive) {
  for (const int code : {0, 1, 7, 255}) BOOST_TEST(Is(Start(Shell("exit " + std::to_string(code))).Wait(), Kind::kExit, code, code));
  BOOST_TEST(Is(Start(Shell("kill -9 $$")).Wait(), Kind::kSignal, SIGKILL, 128 + SIGKILL));
  BOOST_TEST(Is(Start(Shell("kill -15 $$")).Wait(), Kind::kSignal, SIGTERM, 128 + SIGTERM));
  BOOST_TEST(Is(Start({.program = "/bin/sh", .arguments = {"sh", "-c", "[ $# = 2 ] && [ \"$1\" = 'a b' ] && [ -z \"$2\" ]", "name", "a b", ""}}).Wait(),
                Kind::kExit, 0, 0));
}

BOOST_AUTO_TEST_CASE(a_program_knows_its_parent_and_hears_all_signals) {
  GuardOptions options = Shell("while read -r name value; do [ $name = SigBlk: ] && echo $value; done < /proc/$$/status > " + File("signals") +
                               "; [ $TROUPE_TEST_PARENT = $PPID ]");
  options.parent_variable = "TROUPE_TEST_PARENT";
  BOOST_TEST(Is(Start(std::move(options)).Wait(), Kind::kExit, 0, 0));
  BOOST_TEST(ReadText(File("signals")) == "0000000000000000\n");
  for (const auto& [name, signal] : {std::pair("PIPE", SIGPIPE), {"XFSZ", SIGXFSZ}, {"INT", SIGINT}}) {   // that its guard, or this program, ignores
    BOOST_TEST(Is(Start(Shell(std::string("kill -") + name + " $$")).Wait(), Kind::kSignal, signal, 128 + signal), name);
  }
}

BOOST_AUTO_TEST_CASE(variables_are_the_programs_alone) {
  BOOST_TEST_REQUIRE(setenv("TROUPE_TEST_KEPT", "old", 1) == 0);
  GuardOptions options = Shell("echo \"$TROUPE_TEST_NEW,$TROUPE_TEST_KEPT\" > " + File("seen") + "; env | grep GUARDED >> " + File("seen") +
                               "; tr '\\0' '\\n' < /proc/$PPID/environ | grep -c ^TROUPE_TEST_NEW >> " + File("seen"));
  options.environment = {"TROUPE_TEST_NEW=a  b=c", "TROUPE_TEST_KEPT=new"};
  Start(std::move(options)).Wait();
  unsetenv("TROUPE_TEST_KEPT");
  BOOST_TEST(ReadText(File("seen")) == "a  b=c,new\n0\n");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_started_is_said) {
  testing::WriteText(File("text"), "no program\n");
  const auto none = Start({.program = "/no/such/program", .arguments = {"x"}}).Wait(), text = Start({.program = File("text"), .arguments = {"x"}}).Wait();
  BOOST_TEST(Is(none, Kind::kCannotStart, 0, 127));
  BOOST_TEST(none.first.text == "cannot start /no/such/program: No such file or directory");
  BOOST_TEST(text.first.text == "cannot start " + File("text") + ": Permission denied");
  // A group that cannot be made is no reason: the guard looks itself.
  GuardOptions options = Shell("exit 3");
  options.memory_max = kLimit;
  options.cgroups = CgroupPlace{"/no/such/folder", 2};
  BOOST_TEST(Is(Start(std::move(options)).Wait(), Kind::kExit, 3, 3));
}

BOOST_AUTO_TEST_CASE(a_guard_that_nobody_has_started_starts_nothing) {
  const testing::Scratch other;
  const testing::Ended none = testing::Run(other, {"guard"});
  BOOST_TEST((none.code == 127 && none.out.empty()));
  const testing::Ended not_mine = testing::Run(other, {"guard", "1,2", "0", "0", "", "0", "", "/bin/sh", "sh", "-c", "echo no > " + File("no")});
  BOOST_TEST(not_mine.code == 127);
  const testing::Ended nonsense = testing::Run(other, {"guard", "x,2", "0", "0", "", "0", "", "/bin/sh", "sh", "-c", "echo no > " + File("no")});
  BOOST_TEST(nonsense.code == 127);
  BOOST_TEST(!std::filesystem::exists(File("no")));
}

BOOST_AUTO_TEST_CASE(whatever_a_program_has_started_ends_with_it) {
  Guarded guarded =
      Start(Shell(Hidden("a") + "; " + Hidden("b") + "; while [ ! -e " + File("b") + " ] || [ ! -e " + File("a") + " ]; do sleep 0.01; done; exit 5"));
  BOOST_TEST(Is(guarded.Wait(), Kind::kExit, 5, 5));
  BOOST_TEST(testing::WaitUntilGone({AwaitPid("a"), AwaitPid("b")}, 0));   // by then they have ended
}

BOOST_AUTO_TEST_CASE(a_daemon_ends_it_with_all_that_it_has_started) {
  Guarded guarded = Start(Shell(Hidden("a") + "; trap '' TERM; while :; do sleep 1000; done"));
  const pid_t hidden = AwaitPid("a");
  table.Kill(guarded.pid);
  BOOST_TEST(Is(guarded.Wait(), Kind::kSignal, SIGKILL, 128 + SIGKILL));
  BOOST_TEST(testing::WaitUntilGone({hidden}, 0));
}

BOOST_AUTO_TEST_CASE(a_guard_that_is_stopped_hears_its_daemon_all_the_same) {
  Guarded guarded = Start(Shell(Hidden("a") + "; sleep 1000"));
  const pid_t hidden = AwaitPid("a");
  kill(guarded.pid, SIGSTOP);
  table.Kill(guarded.pid);
  BOOST_TEST(Is(guarded.Wait(), Kind::kSignal, SIGKILL, 128 + SIGKILL));
  BOOST_TEST(testing::WaitUntilGone({hidden}, 0));
}

BOOST_AUTO_TEST_CASE(whoever_is_asked_to_stop_may_tidy_up_and_whoever_does_not_listen_is_ended) {
  GuardOptions options = Shell("trap 'echo tidy > " + File("tidy") + "; exit 4' TERM; echo $$ > " + File("pid") + "; while :; do sleep 0.01; done");
  options.grace = seconds(30);
  Guarded tidies = Start(std::move(options));
  AwaitPid("pid");
  table.Signal(tidies.pid, kGuardStop);
  BOOST_TEST(Is(tidies.Wait(), Kind::kExit, 4, 4));
  BOOST_TEST(ReadText(File("tidy")) == "tidy\n");
  for (const auto grace : {milliseconds(0), milliseconds(300)}) {
    std::filesystem::remove(File("pid"));
    GuardOptions deaf = Shell("trap '' TERM; echo $$ > " + File("pid") + "; while :; do sleep 1000; done");
    deaf.grace = grace;
    Guarded guarded = Start(std::move(deaf));
    AwaitPid("pid");
    table.Signal(guarded.pid, kGuardStop);
    BOOST_TEST(Is(guarded.Wait(), Kind::kSignal, SIGKILL, 128 + SIGKILL));
  }
}

BOOST_AUTO_TEST_CASE(nothing_outlives_a_guard_that_is_killed_where_orphans_come_to_its_daemon) {
  BOOST_TEST_REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  Guarded other = Start(Shell("echo $$ > " + File("other") + "; exec sleep 1000"));
  Guarded guarded = Start(Shell(Hidden("a") + "; echo $$ > " + File("pid") + "; exec sleep 1000"));
  const std::vector<pid_t> all{AwaitPid("pid"), AwaitPid("a")};
  kill(guarded.pid, SIGKILL);
  BOOST_TEST(Is(guarded.Wait(), Kind::kSignal, SIGKILL, -SIGKILL));
  BOOST_TEST(testing::WaitUntilGone(all, 0));
  BOOST_TEST(!testing::WaitUntilGone({AwaitPid("other")}, 0));   // another one's program
  table.Kill(other.pid);
  other.Wait();
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/// How it ends within a limit, in a control group or without one.
void CheckLimit(Fixture& fixture, const std::optional<CgroupPlace>& cgroups) {
  for (const char* script : {kTakes, kChildTakes}) {
    GuardOptions options = fixture.Shell(fixture.Hidden("a") + "; " + script);
    std::filesystem::remove(fixture.File("a"));
    options.memory_max = kLimit;
    options.cgroups = cgroups;
    Fixture::Guarded guarded = fixture.Start(std::move(options));
    BOOST_TEST(Is(guarded.Wait(), Kind::kMemory, 0, 137), script);
    if (std::filesystem::exists(fixture.File("a"))) BOOST_TEST(testing::WaitUntilGone({fixture.AwaitPid("a")}, 0));
  }
  GuardOptions within = fixture.Shell("head -c 20000000 /dev/zero | tail -c 1 > /dev/null; sleep 0.3; exit 6");
  within.memory_max = kLimit;
  within.cgroups = cgroups;
  BOOST_TEST(Is(fixture.Start(std::move(within)).Wait(), Kind::kExit, 6, 6));
  // Killed by somebody else it is no want of memory.
  GuardOptions killed = fixture.Shell("kill -9 $$");
  killed.memory_max = kLimit;
  killed.cgroups = cgroups;
  BOOST_TEST(Is(fixture.Start(std::move(killed)).Wait(), Kind::kSignal, SIGKILL, 128 + SIGKILL));
}

BOOST_AUTO_TEST_CASE(memory_is_limited_by_looking) {
  CheckLimit(*this, std::nullopt);
}

BOOST_AUTO_TEST_CASE(memory_is_limited_by_a_control_group_which_is_removed) {
  const absl::StatusOr<CgroupPlace> place = PrepareCgroups("");
  if (!place.ok()) {
    BOOST_TEST_MESSAGE("skipped: " << place.status());
    return;
  }
  BOOST_TEST(PrepareCgroups(place->folder)->folder == place->folder);   // by its name
  CheckLimit(*this, *place);
  for (const std::string& name : testing::Names(place->folder)) {
    const bool group = name.starts_with("troupe.") && !name.ends_with(".daemon");
    BOOST_TEST(!(group && ReadText(place->folder + "/" + name + "/cgroup.procs").empty()), name);
  }
}

BOOST_AUTO_TEST_CASE(what_processes_have_is_summed_and_what_they_share_is_counted_once) {
  // Each holds 40 MB of its own.
  Guarded guarded = Start(Shell("for i in 1 2; do (head -c 40000000 /dev/zero; sleep 1000) | tail > /dev/null & done; echo $$ > " + File("pid") + "; wait"));
  AwaitPid("pid");
  uint64_t bytes = 0;
  for (int i = 0; i < 3000 && bytes < 80'000'000; ++i) {
    testing::Sleep(0.01);
    bytes = ResidentBytes(DescendantsOf(guarded.pid), 0);
  }
  BOOST_TEST((bytes >= 80'000'000 && bytes < 140'000'000), bytes);
  BOOST_TEST(ResidentBytes(DescendantsOf(guarded.pid), UINT64_MAX) >= bytes / 2);
  BOOST_TEST(ResidentBytes({}, 0) == 0u);
  table.Kill(guarded.pid);
  guarded.Wait();
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
