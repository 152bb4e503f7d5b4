// ProcessTable over /bin/sh, /bin/sleep and the like: how children start, what they inherit, how they end.
#include "actors/process_table.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "actors/status.h"
#include "tests/process/command.h"

namespace troupe {
namespace {

using std::chrono::seconds;

/// How a child ended, once it has.
struct End {
  std::promise<int> status;
  std::future<int> future = status.get_future();
  std::atomic<int> calls{0};
  std::thread::id thread;
};

struct Fixture {
  ProcessTable table;
  std::vector<std::shared_ptr<End>> ends;

  ProcessTable::Launch Make(std::vector<std::string> arguments, std::vector<int> inherit = {}) {
    auto end = ends.emplace_back(std::make_shared<End>());
    return {.program = arguments[0], .arguments = std::move(arguments), .inherit = std::move(inherit), .ended = [end](int status) {
              end->thread = std::this_thread::get_id();
              if (++end->calls == 1) end->status.set_value(status);
            }};
  }
  pid_t Start(std::vector<std::string> arguments, std::vector<int> inherit = {}) {
    const auto pid = table.Start(Make(std::move(arguments), std::move(inherit)));
    BOOST_TEST_REQUIRE(pid.ok(), pid.status().ToString());
    return *pid;
  }
  pid_t Shell(const std::string& script, std::vector<int> inherit = {}) { return Start({"/bin/sh", "-c", script}, std::move(inherit)); }
  /// The wait status of the child started `which`-th; the test fails where it does not end.
  int Wait(size_t which) {
    BOOST_TEST_REQUIRE((ends.at(which)->future.wait_for(seconds(20)) == std::future_status::ready), "child " << which << " does not end");
    return ends[which]->future.get();
  }
  /// The exit code of a script, started now.
  int Run(const std::string& script, std::vector<int> inherit = {}) {
    Shell(script, std::move(inherit));
    const int status = Wait(ends.size() - 1);
    BOOST_TEST_REQUIRE(WIFEXITED(status));
    return WEXITSTATUS(status);
  }
};

/// Both ends of a pipe, closed on exec.
struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int fds[2];
    BOOST_TEST_REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    read = fds[0];
    write = fds[1];
  }
  ~Pipe() {
    close(read);
    close(write);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
};

std::string Is(bool open, int fd) {
  return std::string(open ? "[ -e" : "[ ! -e") + " /proc/self/fd/" + std::to_string(fd) + " ]";   // [ is the shell itself
}

BOOST_FIXTURE_TEST_SUITE(ProcessTableSuite, Fixture)

BOOST_AUTO_TEST_CASE(the_end_of_a_child_is_told_once_with_its_status_on_a_thread_of_the_table) {
  const pid_t pid = Start({"/bin/true"});
  BOOST_TEST(pid > 0);
  const int status = Wait(0);
  BOOST_TEST(WIFEXITED(status));
  BOOST_TEST(WEXITSTATUS(status) == 0);
  BOOST_TEST((ends[0]->thread != std::this_thread::get_id()));
  BOOST_TEST(testing::WaitUntilGone({pid}));
  table.KillAll();
  BOOST_TEST(ends[0]->calls == 1);
}

BOOST_AUTO_TEST_CASE(exit_codes_and_arguments_arrive) {
  for (const int code : {0, 1, 7, 255}) BOOST_TEST(Run("exit " + std::to_string(code)) == code);
  Start({"/bin/sh", "-c", "[ $# = 2 ] && [ \"$1\" = 'a b' ] && [ -z \"$2\" ]", "name", "a b", ""});
  BOOST_TEST(Wait(ends.size() - 1) == 0);
}

BOOST_AUTO_TEST_CASE(a_killed_child_ends_with_the_signal_and_the_others_go_on) {
  const pid_t a = Start({"/bin/sleep", "1000"}), b = Start({"/bin/sleep", "1000"});
  table.Kill(a);
  const int status = Wait(0);
  BOOST_TEST(WIFSIGNALED(status));
  BOOST_TEST(WTERMSIG(status) == SIGKILL);
  BOOST_TEST(testing::WaitUntilGone({a}));
  BOOST_TEST(ends[1]->calls == 0);
  BOOST_TEST(kill(b, 0) == 0);
}

BOOST_AUTO_TEST_CASE(only_its_own_living_children_are_killed) {
  ProcessTable other;
  const pid_t mine = Start({"/bin/sleep", "1000"}), ended = Start({"/bin/true"});
  Wait(1);
  other.Kill(mine);
  other.Kill(getpid());
  table.Kill(ended);
  BOOST_TEST(ends[0]->calls == 0);
  BOOST_TEST(kill(mine, 0) == 0);
}

BOOST_AUTO_TEST_CASE(kill_all_waits_for_all_ends_and_nothing_starts_after_it) {
  std::vector<pid_t> pids;
  for (int i = 0; i < 5; ++i) pids.push_back(Start({"/bin/sleep", "1000"}));
  pids.push_back(Shell("trap '' TERM INT HUP; exec /bin/sleep 1000"));
  table.KillAll();
  for (const auto& end : ends) BOOST_TEST(end->calls == 1);
  BOOST_TEST(testing::WaitUntilGone(pids));
  const auto late = table.Start(Make({"/bin/true"}));
  BOOST_TEST(absl::IsUnavailable(late.status()));
  BOOST_TEST(ends.back()->calls == 0);
  table.KillAll();
}

BOOST_AUTO_TEST_CASE(a_table_takes_its_children_with_it) {
  pid_t pid = 0;
  auto end = std::make_shared<End>();
  {
    ProcessTable short_lived;
    pid = *short_lived.Start({.program = "/bin/sleep", .arguments = {"sleep", "1000"}, .inherit = {}, .ended = [end](int) { ++end->calls; }});
  }
  BOOST_TEST(end->calls == 1);
  BOOST_TEST(testing::WaitUntilGone({pid}));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_started_is_said_and_never_ends) {
  const testing::Scratch scratch;
  testing::WriteText(scratch / "text", "no program\n");
  const auto none = table.Start(Make({"/no/such/program"})), text = table.Start(Make({scratch / "text"}));
  BOOST_TEST(none.status().ToString() == "UNAVAILABLE: cannot start /no/such/program: No such file or directory");
  BOOST_TEST(text.status().ToString() == "UNAVAILABLE: cannot start " + (scratch / "text") + ": Permission denied");
  BOOST_TEST(absl::IsUnavailable(table.Start(Make({"/bin/true"}, {9999})).status()));   // a descriptor that is not open
  BOOST_TEST(Run("exit 0") == 0);
  table.KillAll();
  for (size_t i = 0; i < 3; ++i) BOOST_TEST(ends[i]->calls == 0);
}

BOOST_AUTO_TEST_CASE(inherited_descriptors_have_the_same_number_and_the_others_are_closed) {
  const Pipe given, kept;
  BOOST_TEST(Run("echo hello > /proc/self/fd/" + std::to_string(given.write) + " && " + Is(false, given.read) + " && " + Is(false, kept.read) + " && " +
                     Is(false, kept.write),
                 {given.write}) == 0);
  char text[16] = {};
  BOOST_TEST(read(given.read, text, sizeof text) == 6);
  BOOST_TEST(std::string(text) == "hello\n");
  BOOST_TEST(fcntl(given.write, F_GETFD) == FD_CLOEXEC);   // here nothing has changed
  BOOST_TEST(Run(Is(false, given.write)) == 0);            // nor for the next child
  BOOST_TEST(Run(Is(true, given.write) + " && " + Is(true, given.read) + " && " + Is(true, kept.read), {given.write, given.read, kept.read}) == 0);
}

BOOST_AUTO_TEST_CASE(the_environment_is_the_parents) {
  BOOST_TEST(setenv("TROUPE_TEST_TABLE", "a b=c", 1) == 0);
  BOOST_TEST(Run("[ \"$TROUPE_TEST_TABLE\" = 'a b=c' ] && [ \"$PATH\" = '" + std::string(getenv("PATH")) + "' ]") == 0);
  unsetenv("TROUPE_TEST_TABLE");
  BOOST_TEST(Run("[ -z \"${TROUPE_TEST_TABLE+set}\" ]") == 0);
}

BOOST_AUTO_TEST_CASE(a_child_hears_signals_that_its_parent_blocks_or_ignores) {
  sigset_t term, before;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  BOOST_TEST_REQUIRE(pthread_sigmask(SIG_BLOCK, &term, &before) == 0);
  const auto old = signal(SIGHUP, SIG_IGN);
  const pid_t a = Start({"/bin/sleep", "1000"}), b = Start({"/bin/sleep", "1000"});
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  signal(SIGHUP, old);
  kill(a, SIGTERM);
  kill(b, SIGHUP);
  BOOST_TEST(WTERMSIG(Wait(0)) == SIGTERM);
  BOOST_TEST(WTERMSIG(Wait(1)) == SIGHUP);
}

BOOST_AUTO_TEST_CASE(many_children_at_once_started_and_killed_from_several_threads) {
  constexpr size_t kThreads = 4, kEach = 20;
  std::atomic<size_t> ended{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t)
    threads.emplace_back([this, &ended, t] {
      for (size_t i = 0; i < kEach; ++i) {
        const bool sleeps = (t + i) % 2 == 0;
        const std::vector<std::string> arguments = sleeps ? std::vector<std::string>{"/bin/sleep", "1000"} : std::vector<std::string>{"/bin/true"};
        const auto pid = table.Start({.program = arguments[0], .arguments = arguments, .inherit = {}, .ended = [&ended](int) { ++ended; }});
        if (pid.ok() && i % 4 == 0) table.Kill(*pid);
      }
    });
  for (std::thread& thread : threads) thread.join();
  table.KillAll();
  BOOST_TEST(ended == kThreads * kEach);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
