// What is acknowledged is read again; what was cut is not; what is damaged is told.
#include "ps/push_log.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"

namespace troupe {
namespace {

struct Fixture {
  std::filesystem::path folder;
  Fixture() {
    std::string pattern = (std::filesystem::temp_directory_path() / "troupe_log_XXXXXX").string();
    BOOST_REQUIRE(mkdtemp(pattern.data()) != nullptr);
    folder = pattern;
  }
  ~Fixture() { std::filesystem::remove_all(folder); }

  std::vector<std::string> read;   // by the last Open
  absl::StatusOr<std::unique_ptr<PushLog>> Open(uint64_t from = 0) {
    read.clear();
    return PushLog::Open(folder.string(), "shard-0", from, [this](const Frame& frame) {
      std::string text = absl::StrCat(frame.type, ":");
      for (const Block* block : {&frame.head, frame.bulk.empty() ? nullptr : &frame.bulk.back()}) {
        if (block != nullptr) absl::StrAppend(&text, absl::string_view(reinterpret_cast<const char*>(block->data()), block->size()), ";");
      }
      read.push_back(text);
      return absl::OkStatus();
    });
  }
  std::filesystem::path File(int number) const { return folder / absl::StrCat("shard-0.", number, ".log"); }
  void Change(int number, std::streamoff at, char to) const {
    std::fstream file(File(number), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file.put(to);
  }
};

Frame Of(uint64_t type, std::string_view head, std::string_view bulk = "") {
  Frame frame{.type = type, .head = Block::Copy(head.data(), head.size()), .bulk = {}};
  if (!bulk.empty()) frame.bulk = {Block(), Block::Copy(bulk.data(), bulk.size())};
  return frame;
}
using Texts = std::vector<std::string>;

BOOST_FIXTURE_TEST_SUITE(PushLogTest, Fixture)

BOOST_AUTO_TEST_CASE(what_was_synced_is_read_in_order) {
  {
    auto log = *Open();
    log->Append(Of(1, "one"));
    log->Append(Of(2, "two", "rows"));
    BOOST_TEST(log->Sync().ok());
    log->Append(Of(3, ""));
    BOOST_TEST(log->Sync().ok());
    BOOST_TEST(log->Sync().ok());   // nothing to do
    log->Append(Of(4, "never synced"));
  }
  for (int again = 0; again < 2; ++again) {
    BOOST_REQUIRE(Open().ok());
    BOOST_TEST(read == (Texts{"1:one;", "2:two;rows;", "3:;"}), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(files_are_left_behind_and_dropped) {
  {
    auto log = *Open();
    log->Append(Of(1, "old"));
    BOOST_TEST(log->bytes() > 0u);
    const uint64_t second = log->Rotate();
    BOOST_TEST(second == 2u);
    BOOST_TEST(log->bytes() == 0u);
    log->Append(Of(2, "new"));
    BOOST_TEST(log->Sync().ok());
  }
  BOOST_REQUIRE(Open(2).ok());
  BOOST_TEST(read == (Texts{"2:new;"}), boost::test_tools::per_element());
  {
    auto log = *Open(0);
    BOOST_TEST(read == (Texts{"1:old;", "2:new;"}), boost::test_tools::per_element());
    log->Append(Of(3, "third"));
    BOOST_TEST(log->Sync().ok());
    BOOST_TEST(log->Drop(2).ok());
  }
  BOOST_TEST(!std::filesystem::exists(File(1)));
  BOOST_REQUIRE(Open().ok());
  BOOST_TEST(read == (Texts{"2:new;", "3:third;"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_cut_end_is_dropped_wherever_it_was_cut) {
  {
    auto log = *Open();
    log->Append(Of(1, "one"));
    log->Append(Of(2, "two", "rows"));
    BOOST_TEST(log->Sync().ok());
  }
  std::ifstream in(File(1), std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), {});
  size_t first = 0;
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    std::ofstream(File(1), std::ios::binary | std::ios::trunc) << whole.substr(0, bytes);
    const auto log = Open();
    BOOST_REQUIRE_MESSAGE(log.ok(), bytes << ": " << log.status().ToString());
    BOOST_TEST(read.size() < 2u);
    if (read.empty()) first = bytes + 1;
    const uintmax_t kept = read.empty() ? 0 : first;
    BOOST_TEST(std::filesystem::file_size(File(1)) == kept);
  }
  auto log = *Open();   // and the log goes on behind it
  log->Append(Of(3, "three"));
  BOOST_TEST(log->Sync().ok());
  log.reset();
  BOOST_REQUIRE(Open().ok());
  BOOST_TEST(read == (Texts{"1:one;", "3:three;"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(damage_before_the_end_is_told) {
  {
    auto log = *Open();
    log->Append(Of(1, "one"));
    BOOST_TEST(log->Sync().ok());
    log->Append(Of(2, "two"));
    BOOST_TEST(log->Sync().ok());
  }
  Change(1, 20, 'x');
  BOOST_TEST(std::string(Open().status().message()) == File(1).string() + ": damaged at byte 0");
  BOOST_TEST(absl::IsDataLoss(Open().status()));
  Change(1, 20, '\0');
  {
    auto log = *Open();
    log->Append(Of(3, "three"));
    BOOST_TEST(log->Sync().ok());
  }
  std::filesystem::resize_file(File(1), std::filesystem::file_size(File(1)) - 1);   // no end of the whole log
  BOOST_TEST(absl::IsDataLoss(Open().status()));
}

BOOST_AUTO_TEST_CASE(what_was_never_synced_may_be_there_in_part_in_any_order) {
  {
    auto log = *Open();
    log->Append(Of(1, "one"));
    BOOST_TEST(log->Sync().ok());
    log->Append(Of(2, "two"));
    log->Append(Of(3, "three"));
    BOOST_TEST(log->Sync().ok());
  }
  Change(1, static_cast<std::streamoff>(std::filesystem::file_size(File(1)) / 2), 'x');   // in the second record, of the last group
  BOOST_REQUIRE(Open().ok());
  BOOST_TEST(read == (Texts{"1:one;"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(one_at_a_time_has_a_log) {
  auto log = *Open();
  const auto second = PushLog::Open(
      folder.string(), "shard-0", 0, [](const Frame&) { return absl::OkStatus(); }, std::chrono::milliseconds(20));
  BOOST_TEST(second.status().message() == (folder / "shard-0.lock").string() + ": somebody has this lock");
  std::thread ending([&log] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    log.reset();
  });
  BOOST_TEST(Open().ok());
  ending.join();
}

BOOST_AUTO_TEST_CASE(an_error_of_the_reader_and_of_the_place_is_given_back) {
  {
    auto log = *Open();
    log->Append(Of(1, "one"));
    BOOST_TEST(log->Sync().ok());
  }
  const auto refuse = [](const Frame&) { return absl::InvalidArgumentError("no"); };
  BOOST_TEST(PushLog::Open(folder.string(), "shard-0", 0, refuse).status().message() == File(1).string() + ": byte 0: no");
  BOOST_TEST(absl::IsInvalidArgument(PushLog::Open("mem:/log", "shard-0", 0, refuse).status()));
  BOOST_TEST(!PushLog::Open(File(1).string(), "shard-0", 0, refuse).ok());
}

BOOST_AUTO_TEST_CASE(a_full_disk_ends_the_log_until_it_goes_on_in_another_file) {
  std::filesystem::create_symlink("/dev/full", File(1));
  auto log = *Open(5);   // older files are not read
  std::filesystem::create_symlink("/dev/full", File(5));
  log->Append(Of(1, "one"));
  BOOST_TEST(log->Sync().message() == File(5).string() + ": no space left on device");
  log->Append(Of(1, "two"));
  BOOST_TEST(absl::IsResourceExhausted(log->Sync()));
  log->Append(Of(1, "three"));
  BOOST_TEST(log->Rotate() == 6u);
  log->Append(Of(1, "four"));
  BOOST_TEST(absl::IsResourceExhausted(log->Sync()));   // nothing behind what is lost, as long as no snapshot has that
  log->Append(Of(1, "five"));
  log->Rotate();
  log->Append(Of(1, "six"));
  log->GoOn();
  BOOST_TEST(log->Sync().ok());
  log->Append(Of(1, "seven"));
  BOOST_TEST(log->Sync().ok());
  log.reset();
  BOOST_TEST(Open(6).ok());
  BOOST_TEST(read == (std::vector<std::string>{"1:six;", "1:seven;"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(appending_and_syncing_at_once_keeps_the_order) {
  {
    auto log = *Open();
    std::atomic<bool> over = false;
    std::thread syncing([&] {
      while (!over) BOOST_REQUIRE(log->Sync().ok());
    });
    for (int i = 0; i < 300; ++i) {
      log->Append(Of(7, absl::StrCat(i)));
      if (i % 100 == 99) log->Rotate();
    }
    over = true;
    syncing.join();
    BOOST_TEST(log->Sync().ok());
  }
  BOOST_REQUIRE(Open().ok());
  BOOST_REQUIRE(read.size() == 300u);
  for (int i = 0; i < 300; ++i) BOOST_REQUIRE(read[static_cast<size_t>(i)] == absl::StrCat("7:", i, ";"));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
