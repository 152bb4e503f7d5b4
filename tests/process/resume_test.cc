// train itself killed with -9: nothing of it stays but its checkpoint, and from there it goes on to the model of an undisturbed run.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>

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

constexpr char kEpochs[] = "30";

std::vector<std::string> Arguments(const Scratch& scratch, const std::string& model, bool processes, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments{"train",
                                     "--algorithm",
                                     "logistic_regression",
                                     "--data",
                                     ClickLog(),
                                     "--model",
                                     scratch / model,
                                     "--workers",
                                     "2",
                                     "--splits",
                                     "4",
                                     "--shards",
                                     "2",
                                     "--json",
                                     "--epochs",
                                     kEpochs};
  if (processes) arguments.push_back("--processes");
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}
std::vector<std::string> Keeping(const Scratch& scratch, std::vector<std::string> more = {}) {
  more.insert(more.end(), {"--checkpoint", scratch / "kept", "--checkpoint-every", "0.1s"});
  return more;
}

/// Runs until there is a checkpoint, a little more, and kills train. What is left: the checkpoint, and nothing else.
void RunUntilKilled(const Scratch& scratch, bool processes, const std::vector<std::string>& arguments) {
  Command command(scratch, {.arguments = arguments, .environment = {}});
  const std::string before = testing::NewestCheckpoint(scratch / "kept");
  while (command.running() && testing::NewestCheckpoint(scratch / "kept") == before) testing::Sleep(0.002);
  testing::Sleep(0.1);
  std::vector<pid_t> children;   // /proc may leave some out of a list that changes
  for (int look = 0; look < 100 && children.size() != (processes ? 4u : 0u); ++look) {
    if (look > 0) testing::Sleep(0.01);
    children = command.children();
  }
  BOOST_TEST_REQUIRE(command.running(), "ended before it was killed");
  command.Signal(SIGKILL);
  BOOST_TEST(command.Wait().code == -SIGKILL);
  BOOST_TEST(children.size() == (processes ? 4u : 0u));
  BOOST_TEST(testing::WaitUntilGone(children));
  BOOST_TEST(Names(scratch / "tmp").empty());
}

BOOST_AUTO_TEST_SUITE(ResumeSuite)

BOOST_AUTO_TEST_CASE(a_killed_train_leaves_no_children_and_nothing_on_disk) {
  const Scratch scratch;
  for (const double after_s : {0.0, 0.05, 0.3}) {
    BOOST_TEST_CONTEXT(after_s << " s after the first child") {
      Command command(scratch, {.arguments = Arguments(scratch, "model", true, {"--epochs", "1000", "--snapshot-interval", "50ms"}), .environment = {}});
      BOOST_TEST_REQUIRE(command.WaitForChildren(1));
      testing::Sleep(after_s);
      command.Signal(SIGSTOP);   // no child is started between the look and the kill
      testing::Sleep(0.02);
      const std::vector<pid_t> children = command.children();
      BOOST_TEST(children.size() >= 1u);
      command.Signal(SIGKILL);
      BOOST_TEST(command.Wait().code == -SIGKILL);
      BOOST_TEST(testing::WaitUntilGone(children));
      BOOST_TEST(Names(scratch / "tmp").empty());
      BOOST_TEST((Names(scratch.path()) == std::vector<std::string>{"out", "tmp"}));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_resumed_run_ends_with_the_model_of_an_uninterrupted_one) {
  for (const bool processes : {false, true}) {
    BOOST_TEST_CONTEXT((processes ? "with --processes" : "in one process")) {
      const Scratch scratch;
      const Ended calm = testing::Run(scratch, Arguments(scratch, "calm", processes));
      BOOST_TEST_REQUIRE(calm.code == 0, calm.err);
      RunUntilKilled(scratch, processes, Arguments(scratch, "model", processes, Keeping(scratch)));
      RunUntilKilled(scratch, processes, Arguments(scratch, "model", processes, Keeping(scratch, {"--resume"})));
      const Ended ended = testing::Run(scratch, Arguments(scratch, "model", processes, Keeping(scratch, {"--resume"})));
      BOOST_TEST_REQUIRE(ended.code == 0, ended.err);
      BOOST_TEST(Number(ended.out, "rows") == 60000);
      BOOST_TEST(Number(ended.out, "read") == Number(ended.out, "applied"));
      BOOST_TEST(Number(ended.out, "read") == Number(calm.out, "read"));
      BOOST_TEST((ModelText(scratch, scratch / "model") == ModelText(scratch, scratch / "calm")));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_run_in_one_process_goes_on_in_several_under_asp) {
  const Scratch scratch;
  RunUntilKilled(scratch, false, Arguments(scratch, "model", false, Keeping(scratch, {"--consistency", "asp"})));
  const Ended ended = testing::Run(scratch, Arguments(scratch, "model", true, Keeping(scratch, {"--consistency", "asp", "--resume"})));
  BOOST_TEST_REQUIRE(ended.code == 0, ended.err);
  BOOST_TEST(Number(ended.out, "read") == Number(ended.out, "applied"));
}

BOOST_AUTO_TEST_CASE(a_run_goes_on_with_other_numbers_of_shards_and_workers) {
  for (const bool processes : {false, true}) {
    BOOST_TEST_CONTEXT((processes ? "with --processes" : "in one process")) {
      const Scratch scratch;
      const auto with = [&](const std::string& model, const char* shards, const char* workers, std::vector<std::string> more) {
        std::vector<std::string> arguments = Arguments(scratch, model, processes, std::move(more));
        *(std::ranges::find(arguments, "--shards") + 1) = shards;
        *(std::ranges::find(arguments, "--workers") + 1) = workers;
        return arguments;
      };
      const Ended calm = testing::Run(scratch, Arguments(scratch, "calm", false));
      BOOST_TEST_REQUIRE(calm.code == 0, calm.err);
      RunUntilKilled(scratch, processes, Arguments(scratch, "model", processes, Keeping(scratch)));
      RunUntilKilled(scratch, processes, with("model", "1", "3", Keeping(scratch, {"--resume"})));
      const Ended ended = testing::Run(scratch, with("model", "3", "1", Keeping(scratch, {"--resume"})));
      BOOST_TEST_REQUIRE(ended.code == 0, ended.err);
      BOOST_TEST(Number(ended.out, "read") == Number(ended.out, "applied"));
      BOOST_TEST(Number(ended.out, "read") == Number(calm.out, "read"));
      BOOST_TEST((ModelText(scratch, scratch / "model") == ModelText(scratch, scratch / "calm")));
    }
  }
}

BOOST_AUTO_TEST_CASE(resuming_what_was_never_begun_begins_it) {
  const Scratch scratch;
  const Ended ended = testing::Run(scratch, Arguments(scratch, "model", false, Keeping(scratch, {"--resume", "--epochs", "1"})));
  BOOST_TEST(ended.code == 0, ended.err);
}

BOOST_AUTO_TEST_CASE(a_resumed_run_keeps_its_shards_whatever_a_plan_would_say_now) {
  const Scratch scratch;
  RunUntilKilled(scratch, false, Arguments(scratch, "model", false, Keeping(scratch)));   // on two
  const Ended ended = testing::Run(scratch, Arguments(scratch, "model", false, Keeping(scratch, {"--resume", "--shards", "0"})));
  BOOST_TEST(ended.code == 0, ended.err);
  BOOST_TEST(ended.out.find("shards: ") == std::string::npos, ended.out);   // nothing was planned
}

BOOST_AUTO_TEST_CASE(without_a_number_of_shards_a_plan_is_made_and_told) {
  const Scratch scratch;
  const Ended planned = testing::Run(scratch, Arguments(scratch, "model", false, {"--shards", "0", "--epochs", "1"}));
  BOOST_TEST(planned.code == 0, planned.err);
  BOOST_TEST(planned.out.find("shards: ") == 0u, planned.out);
  std::string rows = "x\n";   // so long that a megabyte of them are too few for the algorithm
  for (int i = 0; i < 200; ++i) rows += std::to_string(i) + "." + std::string(10'000, '0') + "\n";
  testing::WriteText(scratch / "wide.csv", rows);
  const Ended small = testing::Run(scratch, {"train", "--algorithm", "k_means", "--data", scratch / "wide.csv", "--param", "k=190", "--epochs", "1", "--shards",
                                             "0", "--model", scratch / "model"});
  BOOST_TEST(small.code == 0, small.err);
  BOOST_TEST(small.out.find("shards: 1, for no plan was found: a sample of the data: k is 190") == 0u, small.out);
}

BOOST_AUTO_TEST_CASE(another_run_s_checkpoint_and_a_damaged_one_are_refused) {
  const Scratch scratch;
  RunUntilKilled(scratch, false, Arguments(scratch, "model", false, Keeping(scratch)));
  const auto refused = [&](std::vector<std::string> more, const std::string& what) {
    more.push_back("--resume");
    const Ended ended = testing::Run(scratch, Arguments(scratch, "model", false, Keeping(scratch, more)));
    BOOST_TEST(Lines(ended.err) == 1u, ended.err);
    BOOST_TEST(ended.err.find(what) != std::string::npos, ended.err);
    BOOST_TEST(Names(scratch.path()) == (std::vector<std::string>{"kept", "out", "tmp"}), boost::test_tools::per_element());
    return ended.code;
  };
  BOOST_TEST(refused({"--seed", "2"}, "seed is 1, expected 2") == 2);
  BOOST_TEST(refused({"--param", "learning_rate=0.5"}, "learning_rate") == 2);
  BOOST_TEST(refused({"--splits", "8"}, "splits is 4, expected 8") == 2);
  BOOST_TEST(refused({"--consistency", "asp"}, "consistency is bsp, expected asp") == 2);
  const std::string newest = testing::NewestCheckpoint(scratch / "kept"), id = newest.substr(newest.find('.'), newest.rfind('.') - newest.find('.') + 1);
  uint64_t files = 0;
  for (const std::string& name : Names(scratch / "kept")) {
    if (name.find(id) == std::string::npos) continue;   // of the one before
    ++files;
    BOOST_TEST_CONTEXT(name) {
      const std::string path = scratch / "kept/" + name, whole = testing::ReadText(path);
      testing::WriteText(path, whole.substr(0, whole.size() / 2));
      BOOST_TEST(refused({}, path) == 2);
      std::string edited = whole;
      edited[edited.size() / 2] = static_cast<char>(edited[edited.size() / 2] ^ 4);
      testing::WriteText(path, edited);
      BOOST_TEST(refused({}, path) == 2);
      std::filesystem::remove(path);
      if (name != newest) BOOST_TEST(refused({}, path) == 2);
      testing::WriteText(path, whole);
    }
  }
  BOOST_TEST(files == 3u);
}

BOOST_AUTO_TEST_CASE(a_run_whose_last_checkpoint_is_damaged_goes_back_when_it_is_told_to) {
  const Scratch scratch;
  const Ended calm = testing::Run(scratch, Arguments(scratch, "calm", false));
  BOOST_TEST_REQUIRE(calm.code == 0, calm.err);
  RunUntilKilled(scratch, false, Arguments(scratch, "model", false, Keeping(scratch, {"--checkpoints", "3"})));
  RunUntilKilled(scratch, false, Arguments(scratch, "model", false, Keeping(scratch, {"--checkpoints", "3", "--resume"})));
  const std::string newest = testing::NewestCheckpoint(scratch / "kept"), id = newest.substr(newest.find('.'), newest.rfind('.') - newest.find('.'));
  std::filesystem::remove(scratch / ("kept/shard-1" + id + ".snapshot"));
  const Ended refused = testing::Run(scratch, Arguments(scratch, "model", false, Keeping(scratch, {"--resume"})));
  BOOST_TEST(refused.code == 2);
  BOOST_TEST(refused.err.find("kept/shard-1" + id + ".snapshot: no such file") != std::string::npos, refused.err);
  const Ended ended = testing::Run(scratch, Arguments(scratch, "model", false, Keeping(scratch, {"--resume", "--accept-loss"})));
  BOOST_TEST_REQUIRE(ended.code == 0, ended.err);
  BOOST_TEST(ended.err.find(" is not whole (") != std::string::npos, ended.err);
  BOOST_TEST(ended.err.find(" is lost") != std::string::npos, ended.err);
  BOOST_TEST(Number(ended.out, "read") == Number(ended.out, "applied"));
  BOOST_TEST((ModelText(scratch, scratch / "model") == ModelText(scratch, scratch / "calm")));   // the lost part was computed again
  BOOST_TEST(!std::filesystem::exists(scratch / ("kept/" + newest)));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
