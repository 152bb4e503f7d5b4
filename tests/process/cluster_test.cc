// A cluster of real processes on this machine: a head, nodes, jobs that are shell scripts; all of them killed, stopped and started again.
#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>

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
using testing::Scratch;
using testing::Words;
using testing::WriteText;
using testing::operator+;

}   // namespace

BOOST_FIXTURE_TEST_SUITE(ClusterSuite, Cluster)

BOOST_AUTO_TEST_CASE(a_script_runs_with_its_output_exit_code_arguments_and_environment_and_no_input) {
  const auto a = Node("a"), b = Node("b");
  const Ended good = Submit("echo out $1 \"$2\" $COLOUR; echo err >&2; cat; pwd", {"--env", "COLOUR=red"}, {"x", "y  z"})->Wait();
  BOOST_TEST(good.code == 0);
  BOOST_TEST(good.out == "out x y  z red\n" + std::filesystem::current_path().string() + "\n");
  BOOST_TEST(good.err == "err\n");
  const Ended bad = Submit("echo no >&2; exit 7")->Wait();
  BOOST_TEST(bad.code == 7);
  BOOST_TEST(bad.out == "");
  BOOST_TEST(bad.err == "no\n");
  const Ended long_output = Submit("seq 1 200000")->Wait();   // more than one part
  BOOST_TEST(Lines(long_output.out) == 200000u);
  BOOST_TEST(long_output.out.ends_with("\n199999\n200000\n"));
  const std::string list = Ask({"job", "list", "--json"}).out;
  BOOST_TEST(Holds(list, "\"state\":\"succeeded\""));
  BOOST_TEST(Holds(list, "\"state\":\"failed\",\"code\":7,\"reason\":\"its driver ended with exit code 7\""));
  BOOST_TEST(Holds(Ask({"job", "list"}).out, "succeeded"));
  BOOST_TEST(Holds(Ask({"status"}).out, "head: generation 1\n"));
}

BOOST_AUTO_TEST_CASE(a_detached_job_is_followed_and_its_output_read_again) {
  const auto a = Node("a");
  const Ended submitted = Submit("echo one; while [ ! -e " + scratch.path() + "/go ]; do sleep 0.05; done; echo two", {"--detach"})->Wait();
  BOOST_TEST(submitted.code == 0);
  BOOST_TEST(submitted.out == "job 1\n");
  Await("one", [&] { return Ask({"job", "logs", "1"}).out == "one\n"; });   // what there is
  const auto follow = Start({"job", "logs", "1", "--follow"});
  testing::Sleep(0.5);
  BOOST_TEST(follow->running());
  WriteText(scratch / "go", "");
  const Ended ended = follow->Wait(60);
  BOOST_TEST((ended.code == 0 && ended.out == "one\ntwo\n"));
  BOOST_TEST(Ask({"job", "logs", "1"}).out == "one\ntwo\n");
  const Ended missing = Ask({"job", "logs", "2"});
  BOOST_TEST((missing.code == 2 && Lines(missing.err) == 1 && Holds(missing.err, "there is no job 2")), missing.err);
}

BOOST_AUTO_TEST_CASE(a_job_is_stopped_with_all_that_it_has_started) {
  const auto a = Node("a");
  const auto submit = Submit("sleep 1000 & echo $! > " + scratch.path() + "/child; echo $$ > " + scratch.path() + "/pid; wait");
  AwaitFile(scratch / "pid");
  const std::vector<pid_t> processes{PidIn(scratch / "pid"), PidIn(scratch / "child")};
  BOOST_TEST(Ask({"job", "stop", "1"}).code == 0);
  const Ended ended = submit->Wait(60);
  BOOST_TEST(ended.code == 1);
  BOOST_TEST(ended.err == "job 1 stopped: stopped on request\n");
  BOOST_TEST(testing::WaitUntilGone(processes));
  BOOST_TEST(Ask({"job", "stop", "1"}).code == 0);   // it is
}

BOOST_AUTO_TEST_CASE(whoever_interrupts_submit_stops_the_job) {
  const auto a = Node("a");
  const auto submit = Submit("echo $$ > " + scratch.path() + "/pid; sleep 1000");
  AwaitFile(scratch / "pid");
  submit->Signal(SIGINT);
  const Ended ended = submit->Wait(60);
  BOOST_TEST((ended.code == 1 && ended.err == "stopped by a signal\n"));
  BOOST_TEST(testing::WaitUntilGone({PidIn(scratch / "pid")}));
}

BOOST_AUTO_TEST_CASE(a_time_limit_ends_a_job_and_its_leftovers_end_with_it) {
  const auto a = Node("a");
  const auto submit = Submit("sleep 1000 & echo $! > " + scratch.path() + "/pid; wait", {"--time-limit", "1s"});
  AwaitFile(scratch / "pid");
  const Ended ended = submit->Wait(60);
  BOOST_TEST(ended.code == 1);
  BOOST_TEST(ended.err == "job 1 failed: it has taken longer than its time limit, 1 s\n");
  BOOST_TEST(testing::WaitUntilGone({PidIn(scratch / "pid")}));
}

BOOST_AUTO_TEST_CASE(a_lost_node_s_job_runs_again_on_another_and_its_leftovers_end_when_it_comes_back) {
  auto a = Node("a");
  const auto submit = Submit("echo $$ >> " + scratch.path() + "/pids; echo attempt $TROUPE_JOB_ATTEMPT; [ $TROUPE_JOB_ATTEMPT = 2 ] || sleep 1000");
  AwaitFile(scratch / "pids");
  const auto b = Node("b");
  const pid_t first = PidIn(scratch / "pids");
  a->Kill();
  const Ended ended = submit->Wait(90);
  BOOST_TEST(ended.code == 0);
  BOOST_TEST(Holds(ended.out, "attempt 2\n"));
  BOOST_TEST(Lines(ReadText(scratch / "pids")) == 2u);
  a = Node("a");
  BOOST_TEST(testing::WaitUntilGone({first}));
}

BOOST_AUTO_TEST_CASE(a_job_that_was_lost_for_the_last_time_fails_and_does_not_wait_for_output_for_ever) {
  auto a = Node("a");
  const auto submit = Submit("echo $$ > " + scratch.path() + "/pid; sleep 1000", {"--attempts", "1"});
  AwaitFile(scratch / "pid");
  a->Kill();
  const Ended ended = submit->Wait(90);
  BOOST_TEST(ended.code == 1);
  BOOST_TEST(Holds(ended.err, "job 1 failed: its driver was lost 1 times, the last time: node a is down\n"), ended.err);
  kill(PidIn(scratch / "pid"), SIGKILL);
}

BOOST_AUTO_TEST_CASE(a_head_that_is_killed_and_started_again_goes_on_where_it_was) {
  const auto a = Node("a"), b = Node("b");
  const auto submit = Submit("echo $$ >> " + scratch.path() + "/pids; while [ ! -e " + scratch.path() + "/go ]; do sleep 0.05; done; echo done; exit 5");
  AwaitFile(scratch / "pids");
  for (int life = 2; life <= 3; ++life) {
    const std::string place = head->place;
    head->Kill();
    head = std::make_unique<Daemon>(scratch, HeadFlags(place));
    head->place = place;
    AwaitStatus("all is back", [&](const std::string& status) {
      return Holds(status, "\"generation\":" + std::to_string(life)) && Holds(status, "\"name\":\"a\",\"state\":\"up\"") &&
             Holds(status, "\"name\":\"b\",\"state\":\"up\"") && Holds(status, "\"name\":\"driver\",\"incarnation\":1,\"state\":\"running\"");
    });
  }
  const std::string place = head->place;
  head->Kill();
  WriteText(scratch / "go", "");   // it ends while nobody is there to hear of it
  testing::Sleep(0.5);
  head = std::make_unique<Daemon>(scratch, HeadFlags(place));
  head->place = place;
  const Ended ended = submit->Wait(90);
  BOOST_TEST(ended.code == 5);
  BOOST_TEST(ended.out == "done\n");
  BOOST_TEST(Lines(ReadText(scratch / "pids")) == 1u);   // started once
  BOOST_TEST(Holds(Ask({"job", "list", "--json"}).out, "\"state\":\"failed\",\"code\":5"));
}

BOOST_AUTO_TEST_CASE(a_head_that_stands_still_for_a_while_does_not_take_its_nodes_for_dead) {
  const auto a = Node("a");
  const auto submit = Submit("echo $$ >> " + scratch.path() + "/pids; while [ ! -e " + scratch.path() + "/go ]; do sleep 0.05; done");
  AwaitFile(scratch / "pids");
  head->command->Signal(SIGSTOP);
  testing::Sleep(6);
  head->command->Signal(SIGCONT);
  testing::Sleep(1);
  WriteText(scratch / "go", "");
  BOOST_TEST(submit->Wait(60).code == 0);
  BOOST_TEST(Lines(ReadText(scratch / "pids")) == 1u);
}

BOOST_AUTO_TEST_CASE(whoever_has_not_the_token_is_refused_with_one_line) {
  WriteText(scratch / "wrong", "a token that is another one\n");
  WriteText(scratch / "short", "short\n");
  for (const Words& token : {Words{}, Words{"--token-file", scratch / "wrong"}}) {
    for (const Words& words : {Words{"status"}, Words{"job", "list"}, Words{"submit", Script("true")}}) {
      const Ended refused = testing::Run(scratch, words + Words{"--cluster", head->place} + token);
      BOOST_TEST(refused.code == 1);
      BOOST_TEST(refused.out == "");
      BOOST_TEST(Lines(refused.err) == 1u, refused.err);
      BOOST_TEST(Holds(refused.err, "token"), refused.err);
    }
    Command node(scratch, {.arguments = Words{"node", "--join", head->place, "--name", "x"} + token, .environment = {}});
    const Ended refused = node.Wait(60);
    BOOST_TEST((refused.code == 1 && Lines(refused.err) == 1 && Holds(refused.err, "token")), refused.err);
  }
  const Ended too_short = testing::Run(scratch, {"status", "--cluster", head->place, "--token-file", scratch / "short"});
  BOOST_TEST((too_short.code == 2 && too_short.err == scratch / "short:1: a token of 5 characters, expected at least 16\n"));
}

BOOST_AUTO_TEST_CASE(a_node_leaves_when_it_is_drained_or_asked_to_stop) {
  const auto a = Node("a"), b = Node("b");
  BOOST_TEST(Ask({"drain", "a"}).code == 0);
  const Ended drained = a->command->Wait(60);
  BOOST_TEST((drained.code == 0 && drained.err == ""), drained.err);
  b->command->Signal(SIGTERM);
  const Ended stopped = b->command->Wait(60);
  BOOST_TEST((stopped.code == 0 && stopped.err == ""), stopped.err);
  const std::string status = Ask({"status", "--json"}).out;
  BOOST_TEST(Holds(status, "\"name\":\"a\",\"state\":\"left\",\"reason\":\"on request\""));
  BOOST_TEST(Holds(status, "\"name\":\"b\",\"state\":\"left\",\"reason\":\"it was asked to stop\""));
  const Ended again = Ask({"drain", "a"});
  BOOST_TEST((again.code == 2 && again.err == "node a is left, expected one that is up\n"));
  BOOST_TEST(Ask({"drain", "nobody"}).err == "there is no node named 'nobody'\n");
}

BOOST_AUTO_TEST_CASE(a_name_that_is_taken_is_refused_with_one_line) {
  const auto a = Node("a");
  Command other(scratch, {.arguments = {"node", "--join", head->place, "--name", "a", "--token-file", scratch / "token"}, .environment = {}});
  const Ended refused = other.Wait(60);
  BOOST_TEST(refused.code == 2);
  BOOST_TEST(refused.err == "a node named 'a' is a member already (up): choose another --name, or wait until that one is down\n");
}

BOOST_AUTO_TEST_CASE(a_node_whose_head_is_not_there_keeps_trying_and_says_so) {
  const std::string place = head->place;
  head->Kill();
  Daemon a(scratch, {"--join", place, "--name", "a", "--token-file", scratch / "token"});
  Await("a warning", [&] { return Holds(ReadText(a.log), "level=warning"); });
  testing::Sleep(1);
  BOOST_TEST(a.command->running());
  head = std::make_unique<Daemon>(scratch, HeadFlags(place));
  head->place = place;
  AwaitStatus("a is up", [](const std::string& status) { return Holds(status, "\"name\":\"a\",\"state\":\"up\""); });
  head->Kill();
  a.command->Signal(SIGKILL);
}

BOOST_AUTO_TEST_CASE(a_node_that_nobody_knows_yet_ends_at_once_when_asked) {
  Daemon a(scratch, {"--join", "127.0.0.1:1", "--name", "a"});
  Await("a warning", [&] { return Holds(ReadText(a.log), "level=warning"); });
  a.command->Signal(SIGTERM);
  BOOST_TEST(a.command->Wait(30).code == 0);
}

BOOST_AUTO_TEST_CASE(a_port_that_is_taken_and_a_state_that_is_none_are_errors_of_one_line) {
  const Ended taken = testing::Run(scratch, {"node", "--head", "--listen", head->place, "--state", scratch / "other"});
  BOOST_TEST((taken.code == 1 && taken.out == "" && Lines(taken.err) == 1 && Holds(taken.err, head->place)), taken.err);
  const Ended node_taken = testing::Run(scratch, {"node", "--join", head->place, "--listen", head->place});
  BOOST_TEST((node_taken.code == 1 && Lines(node_taken.err) == 1 && Holds(node_taken.err, head->place)), node_taken.err);
  mkdir((scratch / "bad").c_str(), 0700);
  WriteText(scratch / "bad/head.sqlite", std::string(5000, 'x'));
  const Ended bad = testing::Run(scratch, {"node", "--head", "--state", scratch / "bad"});
  BOOST_TEST((bad.code == 2 && bad.err == scratch / "bad/head.sqlite: file is not a database\n"), bad.err);
  WriteText(scratch / "bad/node", "x");
  const Ended node = testing::Run(scratch, {"node", "--join", head->place, "--state", scratch / "bad"});
  BOOST_TEST((node.code == 2 && node.err == scratch / "bad/node: expected a node's number and incarnation\n"), node.err);
}

BOOST_AUTO_TEST_CASE(garbage_on_the_head_s_port_does_no_harm) {
  const auto a = Node("a");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(head->place.substr(head->place.rfind(':') + 1).c_str())));
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  for (int i = 0; i < 30; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    BOOST_REQUIRE(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    const std::string bytes = i % 3 == 0 ? "GET / HTTP/1.1\r\n\r\n" : std::string(static_cast<size_t>(i) * 100, static_cast<char>(i * 37));
    send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    close(fd);
  }
  BOOST_TEST(head->command->running());
  BOOST_TEST(Submit("echo fine")->Wait(60).out == "fine\n");
}

BOOST_AUTO_TEST_CASE(a_program_that_one_node_cannot_start_runs_on_another_and_says_why_where_none_can) {
  // The node with more cores is asked first. Its folder of jobs is a file, so nothing starts there.
  const auto a = Node("a", {"--label", "zone=x"});
  std::filesystem::create_directories(scratch / "big");
  WriteText(scratch / "big/jobs", "not a folder");
  Daemon big(scratch, {"--join", head->place, "--name", "big", "--cores", "8", "--state", scratch / "big", "--token-file", scratch / "token"});
  AwaitStatus("big is up", [](const std::string& status) { return Holds(status, "{\"name\":\"big\",\"state\":\"up\""); });
  const Ended good = Submit("echo here")->Wait(60);
  BOOST_TEST((good.code == 0 && good.out == "here\n"), good.err);
  const std::string status = Ask({"status"}).out;
  BOOST_TEST(Holds(status, "job 1: driver cannot be started on node big: "), status);
  BOOST_TEST(Holds(status, "Not a directory; another node is tried"), status);
  // A job that may only go there.
  const Ended bad = Submit("echo here", {"--cores", "8"})->Wait(60);
  BOOST_TEST(bad.code == 127);
  BOOST_TEST((Lines(bad.err) == 1 && bad.err.starts_with("job 2 failed: its driver cannot be started on node big: ")), bad.err);
  const std::string list = Ask({"job", "list"}).out;
  BOOST_TEST(Holds(list, "its driver cannot be started on node big: "), list);
}

BOOST_AUTO_TEST_CASE(accelerators_disk_and_labels_are_asked_for_and_what_no_node_has_is_said_at_once) {
  const auto a = Node("a", {"--accelerator", "gpu=2", "--disk", "64M", "--memory", "128M"});
  const auto holder = Submit("while [ ! -e " + scratch.path() + "/go ]; do sleep 0.05; done",
                             {"--accelerator", "gpu=2", "--disk", "32M", "--memory", "32M", "--name", "holder", "--queue", "day"});
  AwaitStatus("gpus are taken", [](const std::string& status) {
    return Holds(status, "\"disk\":67108864,\"disk_used\":33554432,\"accelerators\":{\"gpu\":2},\"accelerators_used\":{\"gpu\":2}");
  });
  const auto waits = Submit("echo now", {"--accelerator", "gpu=1", "--priority", "3"});
  const auto never = Submit("echo never", {"--label", "zone=x", "--detach"});
  BOOST_TEST(never->Wait(60).out.starts_with("job "));
  AwaitStatus("both wait", [](const std::string& status) {
    return Holds(status, "driver needs 1 gpu, and no node has them free") && Holds(status, "driver needs label zone=x, and no node has label zone=x") &&
           Holds(status, "\"priority\":3,\"state\":\"queued\"");
  });
  const std::string status = Ask({"status"}).out;
  for (const char* part : {"32 of 64 MB", "2 of 2 gpu", "\ncluster\n  job 1 holder: running [queue day, attempt 1 of 3]\n    driver on a: running\n"}) {
    BOOST_TEST(Holds(status, part), part << " in " << status);
  }
  WriteText(scratch / "go", "");
  BOOST_TEST(holder->Wait(60).code == 0);
  BOOST_TEST(waits->Wait(60).out == "now\n");
}

BOOST_AUTO_TEST_CASE(flags_that_mean_nothing_or_make_no_sense_are_errors_of_one_line) {
  const auto check = [&](const Words& words, const std::string& error) {
    const Ended ended = testing::Run(scratch, words);
    BOOST_TEST((ended.code == 2 && ended.out == "" && ended.err == error + "\n"), ended.err);
  };
  check({"node", "--head", "--cores", "2"}, "--cores is for nodes: a head runs nothing itself");
  check({"node", "--head", "--accelerator", "gpu=1"}, "--accelerator is for nodes: a head runs nothing itself");
  check({"node", "--join", "127.0.0.1:1", "--queue", "day=2"}, "--queue is for heads: nodes know no queues");
  check({"node", "--head", "--state", scratch / "h", "--queue", "day"}, "--queue is 'day', expected NAME=WEIGHT, WEIGHT from 1 to 1000");
  check({"node", "--join", "127.0.0.1:1", "--accelerator", "gpu=0"}, "--accelerator is 'gpu=0', expected NAME=N, N from 1 to 65536");
  check({"node"}, "expected either --head or --join HOST:PORT");
  const Words submit{"submit", Script("true"), "--cluster", head->place};
  check(submit + Words{"--priority", "2000"}, "--priority is '2000', expected a whole number, -1000 to 1000");
  check(submit + Words{"--accelerator", "gpu"}, "--accelerator is 'gpu', expected NAME=N, N from 1 to 65536");
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
