// Log: the text of a line, levels, and what cannot be written.
#include "actors/log.h"

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "actors/text.h"

namespace troupe {
namespace {

struct LogFile {
  LogFile() {
    std::string name = (std::filesystem::temp_directory_path() / "troupe-log-XXXXXX").string();
    BOOST_REQUIRE(mkdtemp(name.data()) != nullptr);
    folder = name;
  }
  ~LogFile() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  std::string path() const { return folder + "/log"; }
  std::string Text() const {
    std::ifstream file(path());
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string folder;
};

}   // namespace

BOOST_AUTO_TEST_SUITE(LogSuite)

BOOST_AUTO_TEST_CASE(a_line_holds_time_level_process_event_and_fields) {
  const LogFile file;
  ManualClock clock(Clock::WallTime(std::chrono::milliseconds(1769860800123)));
  auto log = Log::Open(file.path(), Log::Level::kInfo, "shard 1", &clock);
  BOOST_REQUIRE(log.ok());
  log->Info("restored", {{"rows", 12}, {"from", std::string("a b")}, {"rate", 0.5}, {"ok", true}, {"bytes", uint64_t{1} << 63}});
  clock.Advance(std::chrono::seconds(1));
  log->Debug("not this");
  log->Error("lost", {{"text", "say \"a=b\\c\"\n\x01"}, {"empty", ""}, {"word", "caf\xc3\xa9"}});
  log->Warning("w");
  BOOST_TEST(file.Text() ==
             "time=2026-01-31T12:00:00.123Z level=info process=\"shard 1\" event=restored rows=12 from=\"a b\" rate=0.5 ok=true bytes=9223372036854775808\n"
             "time=2026-01-31T12:00:01.123Z level=error process=\"shard 1\" event=lost text=\"say \\\"a=b\\\\c\\\"\\n\\x01\" empty=\"\" word=caf\xc3\xa9\n"
             "time=2026-01-31T12:00:01.123Z level=warning process=\"shard 1\" event=w\n");
}

BOOST_AUTO_TEST_CASE(two_logs_of_one_file_append) {
  const LogFile file;
  const ManualClock clock;
  auto first = Log::Open(file.path(), Log::Level::kDebug, "", &clock);
  auto second = Log::Open(file.path(), Log::Level::kDebug, "worker 0", &clock);
  BOOST_REQUIRE((first.ok() && second.ok()));
  first->Debug("a");
  second->Debug("b");
  first->Debug("c");
  BOOST_TEST(file.Text() ==
             "time=1970-01-01T00:00:00.000Z level=debug event=a\n"
             "time=1970-01-01T00:00:00.000Z level=debug process=\"worker 0\" event=b\n"
             "time=1970-01-01T00:00:00.000Z level=debug event=c\n");
}

BOOST_AUTO_TEST_CASE(without_a_file_nothing_is_written) {
  Log log;
  BOOST_TEST(!log.Enabled(Log::Level::kError));
  log.Error("nowhere");
}

BOOST_AUTO_TEST_CASE(a_full_disk_loses_lines_only) {
  if (!std::filesystem::exists("/dev/full")) return;
  const ManualClock clock;
  auto log = Log::Open("/dev/full", Log::Level::kDebug, "", &clock);
  BOOST_REQUIRE(log.ok());
  log->Error("lost");
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_opened_is_named) {
  const LogFile folder;
  const ManualClock clock;
  const absl::Status status = Log::Open(folder.folder, Log::Level::kInfo, "", &clock).status();
  BOOST_TEST(absl::IsInternal(status));
  BOOST_TEST(Message(status) == folder.folder + ": cannot write the log: is a directory");
}

BOOST_AUTO_TEST_CASE(levels_have_names) {
  BOOST_TEST((Log::ParseLevel("warning").value() == Log::Level::kWarning));
  BOOST_TEST((Log::ParseLevel("off").value() == Log::Level::kOff));
  BOOST_TEST(Message(Log::ParseLevel("warn").status()) == "unknown log level 'warn'; did you mean 'warning'?");
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
