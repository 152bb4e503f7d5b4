// Signals to train, and input that turns bad in the middle: a clean end, one line, nothing left.
#include <signal.h>

#include <boost/test/unit_test.hpp>

#include "tests/process/command.h"

namespace troupe {
namespace {

using testing::ClickLog;
using testing::Command;
using testing::Ended;
using testing::Lines;
using testing::ModelText;
using testing::Names;
using testing::Number;
using testing::Scratch;

std::vector<std::string> Arguments(const std::string& data, const std::string& model, bool processes, std::vector<std::string> more) {
  std::vector<std::string> arguments{"train", "--algorithm", "logistic_regression", "--data", data, "--model", model, "--workers", "2", "--shards",
                                     "2",     "--json"};
  if (processes) arguments.push_back("--processes");
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

BOOST_AUTO_TEST_SUITE(StopSuite)

BOOST_AUTO_TEST_CASE(term_and_int_stop_the_run_and_leave_nothing) {
  for (const bool processes : {false, true})
    for (const int signal : {SIGTERM, SIGINT})
      for (const double after_s : {0.02, 0.4}) {
        BOOST_TEST_CONTEXT("signal " << signal << " after " << after_s << " s" << (processes ? " with --processes" : "")) {
          const Scratch scratch;
          Command command(scratch, {.arguments = Arguments(ClickLog(), scratch / "model", processes, {"--epochs", "1000"}), .environment = {}});
          if (processes) BOOST_TEST_REQUIRE(command.WaitForChildren(1));
          BOOST_TEST_REQUIRE(command.WaitUntilHandles(signal));
          testing::Sleep(after_s);
          const std::vector<pid_t> children = command.children();
          BOOST_TEST(children.empty() != processes);
          command.Signal(signal);
          const Ended ended = command.Wait(20);
          BOOST_TEST(ended.code == 1);
          BOOST_TEST(ended.err == "stopped by a signal\n");
          BOOST_TEST(ended.out == "");
          BOOST_TEST(testing::WaitUntilGone(children));
          BOOST_TEST(Names(scratch / "tmp").empty());
          BOOST_TEST((Names(scratch.path()) == std::vector<std::string>{"out", "tmp"}));
        }
      }
}

BOOST_AUTO_TEST_CASE(a_bad_row_in_the_middle_is_named_once_and_the_old_model_stays) {
  const Scratch scratch;
  BOOST_TEST_REQUIRE(testing::Run(scratch, Arguments(ClickLog(), scratch / "model", false, {})).code == 0);
  const std::string before = ModelText(scratch, scratch / "model");
  std::string text = testing::ReadText(ClickLog());
  size_t at = 0;
  for (int line = 1; line < 40'000; ++line) at = text.find('\n', at) + 1;
  text.insert(at, "1 7:x\n");   // line 40,000
  const std::string bad = scratch / "bad.svm";
  testing::WriteText(bad, text);
  for (const bool processes : {false, true}) {
    const Ended ended = testing::Run(scratch, Arguments(bad, scratch / "model", processes, {}));
    BOOST_TEST(ended.code == 2);
    BOOST_TEST(Lines(ended.err) == 1u, ended.err);
    BOOST_TEST(ended.err.starts_with(bad + ":40000: "), ended.err);
    BOOST_TEST((ModelText(scratch, scratch / "model") == before));
    BOOST_TEST((Names(scratch.path()) == std::vector<std::string>{"bad.svm", "model", "out", "tmp"}));
    BOOST_TEST(Names(scratch / "tmp").empty());
  }
  const Ended skipped = testing::Run(scratch, Arguments(bad, scratch / "model", true, {"--on-bad-row", "skip"}));
  BOOST_TEST(skipped.code == 0, skipped.err);
  BOOST_TEST(Number(skipped.out, "bad_rows") == 1);
  BOOST_TEST(Number(skipped.out, "rows") == 60000);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
