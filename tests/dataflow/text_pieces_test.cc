#include "dataflow/internal/text_pieces.h"

#include <boost/test/unit_test.hpp>

#include <string>
#include <thread>

#include "actors/random.h"
#include "tests/dataflow/data_folder.h"

namespace troupe::internal {
namespace {

std::vector<TextFile> Open(const std::vector<std::string>& paths) {
  auto files = OpenTextFiles(paths, {});
  BOOST_REQUIRE_MESSAGE(files.ok(), files.status());
  return *std::move(files);
}

// The pieces' texts, one after the other, "|" between those that are not empty. A missing newline at the end of a file is added.
std::string Cut(const std::vector<std::string>& paths, uint64_t piece_size) {
  const TextPieces pieces(Open(paths), piece_size);
  std::string all;
  uint64_t bytes = 0;
  uint64_t size = 0;
  for (const TextFile& file : pieces.files()) size += file.size;
  for (uint64_t i = 0; i < pieces.count(); ++i) {
    bytes += pieces.bytes(i);
    const auto text = pieces.Read(i);
    BOOST_REQUIRE_MESSAGE(text.ok(), text.status());
    if (text->begin < text->end) all += std::string(all.empty() ? "" : "|") + std::string(text->begin, text->end) + "\n";
    BOOST_TEST(*text->end == '\n');
  }
  BOOST_TEST(bytes == size);
  return all;
}

std::string Without(std::string text, char c) {
  std::erase(text, c);
  return text;
}

}   // namespace

BOOST_AUTO_TEST_SUITE(TextPiecesSuite)

BOOST_AUTO_TEST_CASE(a_piece_owns_the_lines_that_start_in_it) {
  const testing::DataFolder folder;
  const std::string path = folder.Write("a.txt", "aaa\nbb\ncccccc\nd\n");   // lines start at 0, 4, 7, 14
  BOOST_TEST(Cut({path}, 100) == "aaa\nbb\ncccccc\nd\n");
  BOOST_TEST(Cut({path}, 4) == "aaa\n|bb\ncccccc\n|d\n");
  BOOST_TEST(Cut({path}, 7) == "aaa\nbb\n|cccccc\n|d\n");
  BOOST_TEST(Cut({path}, 8) == "aaa\nbb\ncccccc\n|d\n");
  BOOST_TEST(Cut({path}, 1) == "aaa\n|bb\n|cccccc\n|d\n");
}

BOOST_AUTO_TEST_CASE(any_piece_size_gives_the_same_lines) {
  const testing::DataFolder folder;
  Random random(3);
  std::string text[2];
  for (std::string& file : text) {
    for (int line = 0; line < 300; ++line) {
      const uint64_t length = random.Below(20) == 0 ? 10000 + random.Below(3000) : 1 + random.Below(50);   // longer than the look-ahead, or short
      for (uint64_t i = 0; i < length; ++i) file += static_cast<char>('a' + random.Below(26));
      file += "\n";
    }
  }
  const std::string expected = text[0] + text[1];
  text[0].pop_back();   // the first file has no newline at its end
  const std::vector<std::string> paths = {folder.Write("a", text[0]), folder.Write("b", text[1])};
  for (const uint64_t size : {uint64_t{1} << 30, uint64_t{100000}, uint64_t{4096}, uint64_t{1000}, uint64_t{997}, uint64_t{64}}) {
    BOOST_TEST_CONTEXT("piece size " << size) BOOST_TEST((Without(Cut(paths, size), '|') == expected));
  }
}

BOOST_AUTO_TEST_CASE(compressed_files_are_cut_like_plain_ones) {
  const testing::DataFolder folder;
  const std::string text = "one\ntwo\nthree\n";
  for (const uint64_t size : {100u, 5u, 1u}) {
    const std::string plain = Cut({folder.Write("a", text)}, size);
    BOOST_TEST(Cut({folder.Write("a.gz", testing::Gzip(text))}, size) == plain);
    BOOST_TEST(Cut({folder.Write("b.gz", testing::Gzip("one\ntw") + testing::Gzip("") + testing::Gzip("o\nthree\n"))}, size) == plain);
    BOOST_TEST(Cut({folder.Write("a.zst", testing::Zstd(text))}, size) == plain);
    BOOST_TEST(Cut({folder.Write("b.zst", testing::Zstd("one\ntw") + testing::Zstd("") + testing::Zstd("o\nthree\n"))}, size) == plain);
  }
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_is_passed_over) {
  const testing::DataFolder folder;
  for (const uint64_t size : {100u, 3u, 2u, 1u}) BOOST_TEST(Without(Cut({folder.Write("a", "\xef\xbb\xbfone\ntwo\n")}, size), '|') == "one\ntwo\n");
}

BOOST_AUTO_TEST_CASE(piece_sizes_leave_every_split_eight_pieces) {
  BOOST_TEST(PieceSize(1000, 4) == 256u);
  BOOST_TEST(PieceSize(320000, 4) == 10000u);
  BOOST_TEST(PieceSize(1 << 30, 4) == 64u << 10);
  BOOST_TEST(PieceSize(320000, 0) == 40000u);
}

BOOST_AUTO_TEST_CASE(errors_name_the_line_in_the_decompressed_text) {
  const testing::DataFolder folder;
  const std::string path = folder.Write("a.gz", testing::Gzip("1\n2\n\n4\n5\n6\n"));
  const TextPieces pieces(Open({path}), 4);
  const auto text = pieces.Read(1);   // owns "", "4" and not "5", which starts at 7
  BOOST_REQUIRE(text.ok());
  BOOST_TEST(BadLineError(*text, {0, "is bad"}).message() == path + ":3: is bad");
  BOOST_TEST(BadLineError(*text, {1, "is bad"}).message() == path + ":4: is bad");
}

BOOST_AUTO_TEST_CASE(a_file_that_changes_under_us_is_an_error) {
  const testing::DataFolder folder;
  const std::string path = folder.Write("a", "1\n2\n");
  const TextPieces pieces(Open({path}), 100);
  folder.Write("a", "1\n");
  BOOST_TEST(pieces.Read(0).status().message() == path + ": file has changed: 2 bytes, expected 4");
  BOOST_TEST((pieces.Read(0).status().code() == absl::StatusCode::kFailedPrecondition));
}

BOOST_AUTO_TEST_CASE(threads_read_pieces_side_by_side) {
  const testing::DataFolder folder;
  std::string text;
  for (int i = 0; i < 20000; ++i) text += std::to_string(i) + "\n";
  const TextPieces pieces(Open({folder.Write("a.zst", testing::Zstd(text))}), 1000);
  std::vector<std::string> found(pieces.count());
  {
    std::vector<std::jthread> threads;
    for (uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (uint64_t i = t; i < pieces.count(); i += 4) {
          const auto piece = pieces.Read(i);
          if (piece.ok() && piece->begin < piece->end) found[i] = std::string(piece->begin, piece->end) + "\n";
        }
      });
    }
  }
  std::string all;
  for (const std::string& piece : found) all += piece;
  BOOST_TEST((all == text));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe::internal
