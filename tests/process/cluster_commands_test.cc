// What the commands of a cluster say and how soon: where nobody answers, where somebody waits, and when they are interrupted. And programs that are replaced.
#include <signal.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
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
using testing::Words;
using testing::WriteText;
using testing::operator+;

}   // namespace

BOOST_FIXTURE_TEST_SUITE(ClusterCommandsSuite, Cluster)

BOOST_AUTO_TEST_CASE(a_head_that_is_nowhere_is_an_error_of_one_line) {
  const auto check = [&](const Words& words, const std::string& place) {
    const Ended nowhere = testing::Run(scratch, words + Words{"--cluster", place});
    BOOST_TEST((nowhere.code == 1 && nowhere.out.empty() && Lines(nowhere.err) == 1), nowhere.err);
    BOOST_TEST(nowhere.err.starts_with("the head cannot be reached: tcp:" + place.substr(0, place.find(','))), nowhere.err);
  };
  for (const std::string place : {"127.0.0.1:1", "no-such-host.invalid:7460", "127.0.0.1:1,127.0.0.1:2"}) check({"status"}, place);
  for (const Words& words : {Words{"job", "logs", "1"}, Words{"submit", Script("true")}, Words{"drain", "a"}}) check(words, "127.0.0.1:1");
}

BOOST_AUTO_TEST_CASE(a_node_says_where_it_finds_no_head_that_it_goes_on_trying_and_that_others_refuse_it) {
  Command node(scratch, {.arguments = {"node", "--join", "127.0.0.1:1", "--name", "a"}, .environment = {}});
  Await("a line", [&] { return Lines(node.Errors()) >= 1; });
  BOOST_TEST(node.running());
  node.Signal(SIGTERM);
  const Ended ended = node.Wait(30);
  BOOST_TEST(ended.code == 0);
  BOOST_TEST(Lines(ended.err) == 1u);   // and again after half a minute
  BOOST_TEST(ended.err.starts_with("no answer of the head at 127.0.0.1:1, this node goes on trying: tcp:127.0.0.1:1: "), ended.err);
  BOOST_TEST(Holds(ended.err, "Connection refused"), ended.err);
  // One that answers, and speaks TLS: that will not change.
  BOOST_TEST_REQUIRE(testing::Run(scratch, {"certificate", scratch / "tls"}).code == 0);
  Daemon secret(scratch, {"--head", "--listen", "127.0.0.1:0", "--state", scratch / "secret", "--token-file", scratch / "token", "--tls", scratch / "tls"});
  secret.AwaitPlace();
  Command plain(scratch, {.arguments = {"node", "--join", secret.place, "--name", "a", "--token-file", scratch / "token"}, .environment = {}});
  const Ended refused = plain.Wait(60);
  BOOST_TEST((refused.code == 2 && Lines(refused.err) == 1 && Holds(refused.err, "this process has no certificates (--tls)")), refused.err);
  Command open(scratch,
               {.arguments = {"node", "--join", head->place, "--name", "a", "--token-file", scratch / "token", "--tls", scratch / "tls"}, .environment = {}});
  const Ended no_tls = open.Wait(60);
  BOOST_TEST((no_tls.code == 2 && Lines(no_tls.err) == 1 && Holds(no_tls.err, "it may have no certificates (--tls)")), no_tls.err);
}

BOOST_AUTO_TEST_CASE(a_drain_says_what_it_waits_for_and_no_longer_than_it_may) {
  const auto a = Node("a");
  const auto submit = Submit("echo $$ > " + scratch / "pid" + "; while [ ! -e " + scratch / "go" + " ]; do sleep 0.05; done; echo last words");
  AwaitFile(scratch / "pid");
  const Ended last = Ask({"drain", "a"});
  BOOST_TEST(last.code == 2);
  BOOST_TEST(last.err == "node a is the only one that is up, and there are jobs that are not over, which would wait for another one (--force)\n");
  BOOST_TEST(Ask({"drain", "a", "--timeout", "soon"}).err == "--timeout: 'soon' is not a duration; expected a number and ms, s, m or h, as in 200ms or 5s\n");
  const Ended late = Ask({"drain", "a", "--force", "--timeout", "1s"});
  BOOST_TEST(late.code == 1);
  BOOST_TEST(late.err == "node a waits for job 1: driver\nnode a has not left within 1s, and goes on draining: it waits for job 1: driver\n");
  const auto b = Node("b");
  const auto waits = Start({"drain", "a"});
  Await("a line", [&] { return Lines(waits->Errors()) >= 1; });
  BOOST_TEST(waits->running());
  WriteText(scratch / "go", "");
  const Ended over = submit->Wait(60);
  BOOST_TEST((over.code == 0 && over.out == "last words\n"), over.out << over.err);   // read before the node has left
  const Ended drained = waits->Wait(60);
  BOOST_TEST(drained.code == 0);
  BOOST_TEST(drained.err == "node a waits for job 1: driver\n");
  BOOST_TEST(a->command->Wait(60).code == 0);
  BOOST_TEST(Ask({"drain", "nobody"}).err == "there is no node named 'nobody'\n");
}

BOOST_AUTO_TEST_CASE(interrupted_commands_end_while_the_head_stands_still) {
  const auto a = Node("a");
  const auto submit = Submit("echo $$ > " + scratch / "pid" + "; sleep 1000");
  AwaitFile(scratch / "pid");
  const auto logs = Start({"job", "logs", "1", "--follow"}), drain = Start({"drain", "a", "--force"});
  Await("it drains", [&] { return Lines(drain->Errors()) >= 1; });
  testing::Sleep(0.5);
  head->command->Signal(SIGSTOP);
  testing::Sleep(0.5);
  for (const auto& command : {logs.get(), drain.get()}) {
    command->Signal(SIGINT);
    const Ended ended = command->Wait(20);
    BOOST_TEST(ended.code == 1);
    BOOST_TEST(ended.err.ends_with("stopped by a signal\n"), ended.err);
  }
  submit->Signal(SIGINT);   // it is not only to end
  Await("it says what it waits for", [&] { return Holds(submit->Errors(), "job 1 is not stopped yet: the head does not answer; trying for 10 s"); });
  head->command->Signal(SIGCONT);
  BOOST_TEST(submit->Wait(60).code == 1);
  BOOST_TEST(testing::WaitUntilGone({PidIn(scratch / "pid")}));
}

BOOST_AUTO_TEST_CASE(a_node_runs_the_program_that_it_is_and_not_what_has_taken_its_place) {
  const std::string copy = scratch / "troupe";
  std::filesystem::copy_file(TROUPE_PROGRAM, copy);
  Command node(scratch, {.arguments = Words{"node", "--join", head->place, "--name", "a", "--cores", "2", "--token-file", scratch / "token"},
                         .environment = {},
                         .program = copy});
  AwaitStatus("a is up", [](const std::string& status) { return Holds(status, "{\"name\":\"a\",\"state\":\"up\""); });
  WriteText(scratch / "other", "#!/bin/sh\necho replaced\n");
  BOOST_REQUIRE(chmod((scratch / "other").c_str(), 0755) == 0);
  std::filesystem::rename(scratch / "other", copy);
  // This very program, which the node has: it is not fetched.
  const Ended version = testing::Run(scratch, Words{"submit", TROUPE_PROGRAM} + At() + Words{"--", "version"});
  BOOST_TEST((version.code == 0 && version.out.starts_with("troupe ")), version.out << version.err);
  std::filesystem::remove(copy);
  const Ended again = testing::Run(scratch, Words{"submit", TROUPE_PROGRAM} + At() + Words{"--", "version"});
  BOOST_TEST((again.code == 0 && again.out == version.out), again.err);
}

BOOST_AUTO_TEST_CASE(a_training_job_that_is_stopped_leaves_nothing_beside_its_model_and_its_workers_words_are_kept) {
  auto a = Node("a");
  const std::string folder = scratch / "models";
  std::filesystem::create_directory(folder);
  const auto train = Start({"train", "--algorithm", "logistic_regression", "--data", testing::ClickLog(), "--model", folder + "/model", "--workers", "2",
                            "--shards", "2", "--epochs", "100000"});
  Await("its folder is there", [&] { return testing::Names(folder) == Words{".model.job-1.1"}; });
  AwaitStatus("its workers run", [](const std::string& status) { return Holds(status, "\"name\":\"worker 1\",\"incarnation\":1,\"state\":\"running\""); });
  BOOST_TEST(Ask({"job", "stop", "1"}).code == 0);
  BOOST_TEST(train->Wait(60).code == 1);
  Await("nothing is left beside it", [&] { return testing::Names(folder).empty(); });
  const std::string place = head->place;
  for (int life = 0; life < 2; ++life) {
    const Ended logs = Ask({"job", "logs", "1", "--process", "worker 1"});
    BOOST_TEST(logs.code == 0, logs.err);
    const Ended none = Ask({"job", "logs", "1", "--process", "worker 7"});
    BOOST_TEST((none.code == 2 && none.err == "job 1 has no process 'worker 7' whose output is known\n"), none.err);
    head->Kill();
    head = std::make_unique<Daemon>(scratch, HeadFlags(place));
    head->place = place;
    AwaitStatus("a is back", [](const std::string& status) { return Holds(status, "\"name\":\"a\",\"state\":\"up\""); });
  }
}

BOOST_AUTO_TEST_CASE(a_command_whose_head_is_gone_for_a_minute_says_which_job_goes_on) {
  const auto a = Node("a");
  const auto submit = Submit("echo $$ > " + scratch / "pid" + "; while [ ! -e " + scratch / "go" + " ]; do sleep 0.05; done; echo last words");
  AwaitFile(scratch / "pid");
  const std::string place = head->place;
  head->Kill();
  const Ended lost = submit->Wait(120);
  BOOST_TEST(lost.code == 1);
  BOOST_TEST((Lines(lost.err) == 1 && lost.err.starts_with("job 1 goes on, and this command has lost sight of it (troupe job logs 1 --follow): the head ")),
             lost.err);
  head = std::make_unique<Daemon>(scratch, HeadFlags(place));
  head->place = place;
  AwaitStatus("a is back", [](const std::string& status) { return Holds(status, "\"name\":\"a\",\"state\":\"up\""); });
  WriteText(scratch / "go", "");
  const Ended logs = Ask({"job", "logs", "1", "--follow"});
  BOOST_TEST((logs.code == 0 && logs.out == "last words\n"), logs.out << logs.err);
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
