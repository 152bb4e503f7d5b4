// Rows by key as files: exact both ways, and what is wrong with one is said with its place.
#include "dataflow/keyed_rows.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "actors/random.h"
#include "tests/support/parquet_files.h"

namespace troupe {
namespace {

struct Fixture {
  std::filesystem::path folder;
  Fixture() {
    std::string pattern = (std::filesystem::temp_directory_path() / "troupe_keyed_XXXXXX").string();
    BOOST_REQUIRE(mkdtemp(pattern.data()) != nullptr);
    folder = pattern;
  }
  ~Fixture() { std::filesystem::remove_all(folder); }
  std::string File(const std::string& name) const { return (folder / name).string(); }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(File(name), std::ios::binary) << text;
    return File(name);
  }
};

/// Any floats there are, among them the odd ones, and any keys.
KeyedRows Some(size_t n, uint32_t width) {
  Random random(7);
  KeyedRows rows{.width = width, .keys = {}, .values = {}};
  for (size_t i = 0; i < n; ++i) {
    rows.keys.push_back(random.Next());
    for (uint32_t j = 0; j < width; ++j) {
      const auto bits = static_cast<uint32_t>(random.Next());
      float value;
      std::memcpy(&value, &bits, sizeof value);
      rows.values.push_back(std::isfinite(value) ? value : 0.1f);
    }
  }
  const float odd[] = {0, -0.f, std::numeric_limits<float>::denorm_min(), -std::numeric_limits<float>::max(), 1.f / 3, 16'777'217.f};
  for (size_t i = 0; i < std::min(std::size(odd), rows.values.size()); ++i) rows.values[i] = odd[i];
  if (n > 2) rows.keys[0] = ~uint64_t{0}, rows.keys[1] = 0;
  return rows;
}
void CheckSame(const KeyedRows& a, const KeyedRows& b) {
  BOOST_TEST(a.width == b.width);
  BOOST_TEST((a.keys == b.keys));
  BOOST_REQUIRE(a.values.size() == b.values.size());
  BOOST_TEST((a.values.empty() || std::memcmp(a.values.data(), b.values.data(), a.values.size() * sizeof(float)) == 0));
}
std::string ErrorOf(const std::string& text) {
  const auto rows = ParseKeyedRows(text, "f");
  return rows.ok() ? "" : std::string(rows.status().message());
}

}   // namespace

BOOST_FIXTURE_TEST_SUITE(KeyedRowsTest, Fixture)

BOOST_AUTO_TEST_CASE(what_is_written_is_read_bit_for_bit) {
  for (const KeyedRows& rows : {Some(3000, 3), Some(1, 1), Some(0, 4)}) {
    for (const char* name : {"a.csv", "a.csv.gz", "a.csv.zst", "a.parquet"}) {
      BOOST_TEST_INFO(name);
      const absl::Status written = WriteKeyedRows(rows, File(name));
      BOOST_REQUIRE_MESSAGE(written.ok(), written.ToString());
      const auto read = ReadKeyedRows(File(name));
      BOOST_REQUIRE_MESSAGE(read.ok(), read.status().ToString());
      CheckSame(rows, *read);
    }
  }
  BOOST_TEST(KeyedRowsCsv({.width = 2, .keys = {7, 1}, .values = {0.1f, -2, 1e30f, 0}}) == "key,v0,v1\n7,0.1,-2\n1,1e+30,0\n");
}

BOOST_AUTO_TEST_CASE(a_file_of_more_than_a_row_group_is_read_whole) {
  const KeyedRows rows = Some(300'000, 1);
  BOOST_TEST(WriteKeyedRows(rows, File("a.parquet")).ok());
  CheckSame(rows, *ReadKeyedRows("file:" + File("a.parquet")));
}

BOOST_AUTO_TEST_CASE(csv_is_taken_as_people_write_it) {
  const auto rows = ParseKeyedRows("key,v0\r\n3,1.50\r\n\r\n18446744073709551615,-2e-3", "f");
  BOOST_REQUIRE_MESSAGE(rows.ok(), rows.status().ToString());
  CheckSame(*rows, {.width = 1, .keys = {3, ~uint64_t{0}}, .values = {1.5f, -0.002f}});
  CheckSame(*ReadKeyedRows(Write("bom.csv", "\xef\xbb\xbfkey,v0\n1,2\n")), {.width = 1, .keys = {1}, .values = {2}});
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_csv_is_said_with_its_line) {
  BOOST_TEST(ErrorOf("") == "f: file is empty, expected the header key,v0,v1,...");
  BOOST_TEST(ErrorOf("id,x\n") == "f:1: header is 'id,x', expected key,v0,v1,... with 1 to 65536 values");
  BOOST_TEST(ErrorOf("key\n1\n") == "f:1: header is 'key', expected key,v0,v1,... with 1 to 65536 values");
  BOOST_TEST(ErrorOf("key,v0,v2\n") == "f:1: header is 'key,v0,v2', expected key,v0,v1,... with 1 to 65536 values");
  BOOST_TEST(ErrorOf("key,v0\n1,2\n1,2,3\n") == "f:3: 3 fields, expected 2");
  BOOST_TEST(ErrorOf("key,v0\n1\n") == "f:2: 1 fields, expected 2");
  BOOST_TEST(ErrorOf("key,v0\n\n-1,2\n") == "f:3: key is '-1', expected a whole number below 2^64");
  BOOST_TEST(ErrorOf("key,v0\n18446744073709551616,2\n") == "f:2: key is '18446744073709551616', expected a whole number below 2^64");
  BOOST_TEST(ErrorOf("key,v0\n1.5,2\n") == "f:2: key is '1.5', expected a whole number below 2^64");
  BOOST_TEST(ErrorOf("key,v0\n,2\n") == "f:2: key is '', expected a whole number below 2^64");
  for (const std::string value : {"nan", "inf", "-inf", "1e39", "", "x", "1 ", "0x1"}) {
    BOOST_TEST(ErrorOf("key,v0,v1\n1,2," + value + "\n") == "f:2: v1 is '" + value + "', expected a finite number");
  }
  BOOST_TEST(ErrorOf("key,v0\n7,1\n\n8,1\n8,1\n7,2\n") == "f:5: key 8 is there twice, first in line 4, expected distinct keys");
}

BOOST_AUTO_TEST_CASE(files_that_are_none_are_refused) {
  BOOST_TEST(absl::IsNotFound(ReadKeyedRows(File("none.csv")).status()));
  BOOST_TEST(absl::IsNotFound(ReadKeyedRows(File("none.parquet")).status()));
  const std::string expected = ": expected a .csv (or .csv.gz, .csv.zst) or .parquet file";
  for (const char* name : {"a.txt", "a", "a.parquet.gz"}) {
    BOOST_TEST(std::string(ReadKeyedRows(name).status().message()) == name + expected);
    BOOST_TEST(std::string(WriteKeyedRows({}, name).message()) == name + expected);
  }
  const auto broken = ReadKeyedRows(Write("broken.parquet", "PAR1 and no more"));
  BOOST_TEST(absl::IsInvalidArgument(broken.status()));
  BOOST_TEST(broken.status().message().find("not a whole Parquet file") != absl::string_view::npos);
  BOOST_TEST(std::string(ReadKeyedRows(Write("bad.csv", "key,v0\nx,1\n")).status().message()) ==
             File("bad.csv") + ":2: key is 'x', expected a whole number below 2^64");
}

BOOST_AUTO_TEST_CASE(parquet_of_others_is_taken_where_it_is_exact) {
  using testing::TestColumn;
  const auto read = [&](std::vector<TestColumn> columns) {
    testing::WriteTestParquet(File("t.parquet"), {.columns = std::move(columns), .group_rows = 2});
    return ReadKeyedRows(File("t.parquet"));
  };
  const auto error = [&](std::vector<TestColumn> columns) {
    const std::string message(read(std::move(columns)).status().message());
    BOOST_TEST(message.starts_with(File("t.parquet") + ": "), message);
    return message.substr(std::min(message.size(), File("t.parquet").size() + 2));
  };
  for (const char* type : {"int64", "uint64", "int32", "uint32"}) {
    const auto rows = read({{"key", type, {5, 3, 9}}, {"v0", "float", {1, 2, 0.5}}, {"v1", "double", {0.25, 0, -8}}});
    BOOST_REQUIRE_MESSAGE(rows.ok(), type << ": " << rows.status().ToString());
    CheckSame(*rows, {.width = 2, .keys = {5, 3, 9}, .values = {1, 0.25, 2, 0, 0.5, -8}});
  }
  BOOST_TEST(error({{"key", "int64", {1, 2, -3}}, {"v0", "float", {1, 2, 3}}}) == "row 3: key is -3, expected a whole number of at least 0");
  BOOST_TEST(error({{"key", "int64", {1, 2, 1}}, {"v0", "float", {1, 2, 3}}}) == "row 3: key 1 is there twice, first in row 1, expected distinct keys");
  BOOST_TEST(error({{"key", "int64", {1, testing::kNull}}, {"v0", "float", {1, 2}}}) == "row 2: key is null, expected a number");
  BOOST_TEST(error({{"key", "int64", {1, 2, 3}}, {"v0", "double", {1, 2, 0.1}}}) == "row 3: v0 is 0.1, expected a number that is a float");
  BOOST_TEST(error({{"key", "int64", {1}}, {"v0", "float", {std::nan("")}}}).starts_with("row 1: v0 is"));
  BOOST_TEST(error({{"key", "double", {1}}, {"v0", "float", {1}}}) == "column 'key' is of type double, expected whole numbers of 32 or 64 bits");
  BOOST_TEST(error({{"key", "int64", {1}}, {"v0", "int32", {1}}}) == "column 'v0' is of type int32, expected float or double");
  BOOST_TEST(error({{"id", "int64", {1}}, {"v0", "float", {1}}}) == "column 1 is 'id', expected 'key'");
  BOOST_TEST(error({{"key", "int64", {1}}}) == "0 columns besides the key, expected 1 to 65536");
}

BOOST_AUTO_TEST_CASE(a_key_that_is_there_twice_is_found_where_it_comes_again) {
  BOOST_TEST((FindTwice({}) == std::pair<size_t, size_t>{0, 0}));
  BOOST_TEST((FindTwice({3, 1, 2}) == std::pair<size_t, size_t>{3, 3}));
  BOOST_TEST((FindTwice({3, 1, 3, 1, 3}) == std::pair<size_t, size_t>{2, 0}));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
