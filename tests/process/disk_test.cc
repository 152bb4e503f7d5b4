// A disk that is full (a limit on the size of files stands for it), and memory that is bounded.
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
using testing::Scratch;

constexpr rlim_t kFull = 40'000;         // smaller than a part of the model
constexpr rlim_t kFullOfRows = 16'000;   // and than a file of rows that do not fit in memory

std::vector<std::string> Arguments(const Scratch& scratch, std::vector<std::string> more, const char* shards = "2") {
  std::vector<std::string> arguments{
      "train", "--algorithm", "logistic_regression", "--data", ClickLog(), "--model", scratch / "model", "--workers", "2", "--shards", shards, "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

BOOST_AUTO_TEST_SUITE(DiskSuite)

BOOST_AUTO_TEST_CASE(a_full_disk_is_one_line_and_the_old_model_stays) {
  const Scratch scratch;
  BOOST_TEST_REQUIRE(testing::Run(scratch, Arguments(scratch, {})).code == 0);
  const std::string before = ModelText(scratch, scratch / "model");
  const std::vector<std::vector<std::string>> cases{{},
                                                    {"--processes", "--snapshot-interval", "1h"},                        // saving
                                                    {"--processes", "--snapshot-interval", "50ms", "--epochs", "200"},   // snapshots
                                                    {"--checkpoint", scratch / "kept", "--checkpoint-every", "0.05s", "--epochs", "200"}};
  for (const std::vector<std::string>& more : cases) {
    BOOST_TEST_CONTEXT((more.empty() ? "" : more[0] + " " + more.back())) {
      Command command(scratch, {.arguments = Arguments(scratch, more), .environment = {}, .file_bytes_max = kFull});
      BOOST_TEST_REQUIRE((command.WaitForChildren(4) || more.empty() || more[0] != "--processes"));
      const std::vector<pid_t> children = command.children();
      const Ended ended = command.Wait();
      BOOST_TEST(ended.code == 1);
      BOOST_TEST(Lines(ended.err) == 1u, ended.err);
      BOOST_TEST(ended.err.find("file too large") != std::string::npos, ended.err);
      BOOST_TEST(testing::WaitUntilGone(children));
      BOOST_TEST(Names(scratch / "tmp").empty());
      std::vector<std::string> names = Names(scratch.path());
      std::erase(names, "kept");
      BOOST_TEST((names == std::vector<std::string>{"model", "out", "tmp"}));
      BOOST_TEST((ModelText(scratch, scratch / "model") == before));
    }
  }
}

BOOST_AUTO_TEST_CASE(weights_beyond_memory_lie_on_the_disk_and_the_model_is_the_same) {
  const Scratch scratch;
  BOOST_TEST_REQUIRE(testing::Run(scratch, Arguments(scratch, {}, "1")).code == 0);
  const std::string plain = ModelText(scratch, scratch / "model");
  for (const bool processes : {false, true}) {
    std::vector<std::string> more{"--param", "memory_max=1M"};
    if (processes) more.insert(more.end(), {"--processes", "--snapshot-interval", "50ms"});
    Command command(scratch, {.arguments = Arguments(scratch, more, "1"), .environment = {}});
    bool seen = false;
    while (command.running() && !seen) {
      for (const std::string& name : Names(scratch / "tmp")) {
        for (const std::string& below : Names(scratch / ("tmp/" + name))) seen |= below == "shard-0.rows";
      }
      testing::Sleep(0.01);
    }
    const Ended ended = command.Wait();
    BOOST_TEST_REQUIRE(ended.code == 0, ended.err);
    BOOST_TEST(seen);
    BOOST_TEST(Names(scratch / "tmp").empty());
    BOOST_TEST((ModelText(scratch, scratch / "model") == plain));
  }
}

BOOST_AUTO_TEST_CASE(a_full_disk_under_weights_beyond_memory_is_one_line_and_the_old_model_stays) {
  const Scratch scratch;
  BOOST_TEST_REQUIRE(testing::Run(scratch, Arguments(scratch, {})).code == 0);
  const std::string before = ModelText(scratch, scratch / "model");
  for (const bool processes : {false, true}) {
    std::vector<std::string> more{"--param", "memory_max=1M", "--epochs", "3"};
    if (processes) more.insert(more.end(), {"--processes", "--snapshot-interval", "1h"});
    const Ended ended = Command(scratch, {.arguments = Arguments(scratch, more, "1"), .environment = {}, .file_bytes_max = kFullOfRows}).Wait();
    BOOST_TEST(ended.code == 1);
    BOOST_TEST(Lines(ended.err) == 1U, ended.err);
    BOOST_TEST(ended.err.find("table 'w': no new rows are taken, for range ") != std::string::npos, ended.err);
    BOOST_TEST(ended.err.find("File too large") != std::string::npos, ended.err);
    BOOST_TEST(Names(scratch / "tmp").empty());
    BOOST_TEST((ModelText(scratch, scratch / "model") == before));
  }
}

BOOST_AUTO_TEST_CASE(a_folder_that_is_no_model_is_not_touched) {
  const Scratch scratch;
  const Ended ended = testing::Run(scratch, {"train", "--algorithm", "naive_bayes", "--data", ClickLog(), "--model", scratch / "out", "--processes"});
  BOOST_TEST(ended.code == 2);
  BOOST_TEST(Lines(ended.err) == 1u, ended.err);
}

BOOST_AUTO_TEST_CASE(memory_stays_within_its_bound_on_a_log_that_is_larger) {
  const Scratch scratch;
  const std::string log = scratch / "big.svm";
  BOOST_TEST_REQUIRE(testing::Run(scratch, {"generate", "ctr", "--rows", "300000", "--seed", "3", "--out", log}).code == 0);
  const Ended ended = testing::Run(scratch, {"train", "--algorithm", "logistic_regression", "--data", log, "--model", scratch / "model", "--workers", "2",
                                             "--memory", "64M", "--epochs", "2", "--json"});
  BOOST_TEST_REQUIRE(ended.code == 0, ended.err);
#ifndef __SANITIZE_ADDRESS__   // which keeps what is freed for a while
  BOOST_TEST(ended.peak_kib <= (64 + 100) * 1024);
#endif
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
