// Parquet: what is read, in pieces, in any order, by several threads; and every error with its place.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

#include "absl/status/status.h"
#include "actors/random.h"
#include "actors/text.h"
#include "dataflow/parquet_plugin.h"
#include "tests/dataflow/data_folder.h"
#include "tests/support/parquet_files.h"

namespace troupe {
namespace {

using testing::DataFolder;
using testing::kNull;
using testing::TestColumn;
using testing::TestFile;
using testing::WriteTestParquet;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct ParquetFixture : DataFolder {
  SourceOptions options;

  ParquetFixture() { options.label_kind = LabelKind::kNone; }

  std::string Make(const std::string& name, const TestFile& file) {
    WriteTestParquet(At(name), file);
    return At(name);
  }
  std::string Make(const std::vector<TestColumn>& columns) { return Make("a.parquet", {columns}); }
  std::shared_ptr<const Source> Open(const std::vector<std::string>& paths) {
    auto source = OpenParquetSource(options, paths);
    BOOST_REQUIRE_MESSAGE(source.ok(), source.status());
    return *source;
  }
  std::shared_ptr<const RowBlock> ReadOne(const std::string& path) {
    const auto source = Open({path});
    BOOST_REQUIRE(source->pieces() == 1);
    auto block = source->Read(0);
    BOOST_REQUIRE_MESSAGE(block.ok(), block.status());
    return *block;
  }
  /// The error of opening, or else of reading everything; without the folder's name.
  std::string Error(const std::vector<std::string>& paths, absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
    auto source = OpenParquetSource(options, paths);
    absl::Status status = source.status();
    for (uint64_t i = 0; status.ok() && i < (*source)->pieces(); ++i) status = (*source)->Read(i).status();
    BOOST_TEST((status.code() == code), status);
    std::string message(Message(status));
    for (size_t at; (at = message.find(path() + "/")) != message.npos;) message.erase(at, path().size() + 1);
    BOOST_TEST(message.find('\n') == message.npos);
    return message;
  }
};

std::vector<double> Counting(size_t n, double start = 0) {
  std::vector<double> values(n);
  std::iota(values.begin(), values.end(), start);
  return values;
}

}   // namespace

BOOST_FIXTURE_TEST_SUITE(ParquetSuite, ParquetFixture)

BOOST_AUTO_TEST_CASE(all_number_types_become_floats_in_the_order_of_the_schema) {
  const std::string path = Make({{"d", "double", {1.5, -2}},
                                 {"f", "float", {0.25, 7}},
                                 {"b", "bool", {1, 0}},
                                 {"i8", "int8", {-128, 127}},
                                 {"u8", "uint8", {255, 0}},
                                 {"i16", "int16", {-32768, 1}},
                                 {"u16", "uint16", {65535, 1}},
                                 {"i32", "int32", {-2147483648.0, 1}},
                                 {"u32", "uint32", {4294967295.0, 1}},
                                 {"i64", "int64", {-1099511627776.0, 1}},
                                 {"u64", "uint64", {9223372036854775808.0, 1}},
                                 {"h", "halffloat", {0.5, -3}}});
  const auto block = ReadOne(path);
  const std::vector<float> expected = {
      1.5f, 0.25f, 1, -128, 255, -32768, 65535, -2147483648.0f, 4294967295.0f, -1099511627776.0f, 9223372036854775808.0f, 0.5f, -2, 7, 0, 127, 0,
      1,    1,     1, 1,    1,   1,      -3};
  BOOST_TEST(block->columns == 12u);
  BOOST_TEST(block->rows == 2u);
  BOOST_TEST(block->dense == expected, boost::test_tools::per_element());
  BOOST_TEST(block->labels.empty());
}

BOOST_AUTO_TEST_CASE(the_label_is_no_feature_and_minus_one_is_zero) {
  options.label_kind = LabelKind::kBinary;
  const auto source = Open({Make({{"label", "int64", {-1, 0, 1}}, {"x", "float", {1, 2, 3}}})});
  BOOST_TEST(source->schema().label == "label");
  BOOST_TEST(source->schema().columns == std::vector<std::string>{"x"}, boost::test_tools::per_element());
  BOOST_TEST(source->schema().format == "parquet");
  const auto block = *source->Read(0);
  BOOST_TEST(block->labels == (std::vector<float>{0, 0, 1}), boost::test_tools::per_element());
  BOOST_TEST(block->dense == (std::vector<float>{1, 2, 3}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_real_label_of_another_name) {
  options.label_kind = LabelKind::kReal;
  options.label = "y";
  const auto block = ReadOne(Make({{"x", "float", {1, 2}}, {"y", "double", {-0.5, 1e6}}, {"label", "float", {8, 9}}}));
  BOOST_TEST(block->labels == (std::vector<float>{-0.5f, 1e6f}), boost::test_tools::per_element());
  BOOST_TEST(block->dense == (std::vector<float>{1, 8, 2, 9}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(without_labels_a_column_of_that_name_is_a_feature_unless_it_is_named) {
  const std::string path = Make({{"x", "float", {1, 2}}, {"label", "string", {kNull, kNull}}});
  BOOST_TEST(Error({path}) == "a.parquet: column 'label' is of type string, expected a number");
  options.label = "label";
  const auto block = ReadOne(path);
  BOOST_TEST(block->dense == (std::vector<float>{1, 2}), boost::test_tools::per_element());
  BOOST_TEST(block->labels.empty());
}

BOOST_AUTO_TEST_CASE(columns_of_a_model_are_found_by_name_and_others_ignored) {
  options.expected = Schema{.format = "parquet", .label = "y", .columns = {"b", "a"}};
  const std::string path = Make({{"city", "string", {kNull}}, {"a", "float", {1}}, {"y", "string", {kNull}}, {"b", "int32", {2}}});
  BOOST_TEST(ReadOne(path)->dense == (std::vector<float>{2, 1}), boost::test_tools::per_element());
  options.expected->columns.push_back("c");
  BOOST_TEST(Error({path}) == "a.parquet: no column 'c', expected one of: city, a, y, b");
  options.expected->columns = {"a", "city"};
  BOOST_TEST(Error({path}) == "a.parquet: column 'city' is of type string, expected a number");
}

BOOST_AUTO_TEST_CASE(pieces_read_in_any_order_and_by_any_number_of_threads_are_the_same_rows) {
  options.splits = 8;
  const size_t rows = 30000;
  for (const bool compressed : {true, false}) {
    const std::string path =
        Make(compressed ? "c.parquet" : "p.parquet",
             {.columns = {{"n", "int64", Counting(rows)}, {"x", "float", Counting(rows, 0.5)}, {"m", "int32", std::vector<double>(rows, 3)}},
              .group_rows = 12345,
              .page_rows = 700,
              .compressed = compressed});
    const auto source = Open({path});
    BOOST_TEST(source->pieces() >= 29u);
    BOOST_TEST(source->rows().value() == rows);
    std::vector<uint64_t> order(source->pieces());
    std::iota(order.begin(), order.end(), 0);
    Random(5).Shuffle<uint64_t>(order);
    std::vector<std::shared_ptr<const RowBlock>> blocks(order.size());
    {
      std::vector<std::jthread> threads;
      for (size_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
          for (size_t i = t; i < order.size(); i += 4) blocks[order[i]] = *source->Read(order[i]);
          for (size_t i = order.size() * t / 4; i < order.size() * (t + 1) / 4; ++i) (void)source->Read(i);   // in order too: readers that go on
        });
      }
    }
    uint64_t next = 0;
    for (size_t i = 0; i < blocks.size(); ++i) {
      BOOST_TEST(blocks[i]->piece == i);
      BOOST_TEST(blocks[i]->first_row == next);
      BOOST_TEST(blocks[i]->rows <= 1024u);
      for (size_t r = 0; r < blocks[i]->rows; ++r, ++next) {
        const auto row = blocks[i]->row_dense(r);
        if (row[0] != static_cast<float>(next) || row[1] != static_cast<float>(next) + 0.5f || row[2] != 3) BOOST_FAIL("row " << next << " of piece " << i);
      }
      const auto again = *source->Read(i);
      BOOST_TEST(again->dense == blocks[i]->dense);
    }
    BOOST_TEST(next == rows);
  }
}

BOOST_AUTO_TEST_CASE(wide_rows_and_several_tiles) {
  std::vector<TestColumn> columns;
  const size_t rows = 3000, width = 300;
  for (size_t c = 0; c < width; ++c)
    columns.push_back({"c" + std::to_string(c), c % 2 == 0 ? "float" : "double", Counting(rows, static_cast<double>(c) * 10000)});
  const auto source = Open({Make(columns)});
  uint64_t row = 0;
  for (uint64_t i = 0; i < source->pieces(); ++i) {
    const auto block = *source->Read(i);
    for (size_t r = 0; r < block->rows; ++r, ++row) {
      for (size_t c = 0; c < width; ++c) {
        if (block->row_dense(r)[c] != static_cast<float>(c * 10000 + row)) BOOST_FAIL("row " << row << " column " << c);
      }
    }
  }
  BOOST_TEST(row == rows);
}

BOOST_AUTO_TEST_CASE(several_files_follow_each_other_with_columns_in_any_order) {
  const auto a = Make("a.parquet", {{{"x", "float", {1}}, {"y", "float", {2}}}});
  const auto b = Make("b.parquet", {{{"y", "double", {4, 6}}, {"x", "int32", {3, 5}}}});
  const auto source = Open({a, b});
  BOOST_TEST(source->pieces() == 2u);
  BOOST_TEST(source->rows().value() == 3u);
  BOOST_TEST((*source->Read(1))->dense == (std::vector<float>{3, 4, 5, 6}), boost::test_tools::per_element());
  BOOST_TEST((*source->Read(1))->first_row == 0u);
  BOOST_TEST(source->piece_bytes(0) > 0u);
}

BOOST_AUTO_TEST_CASE(an_empty_file_among_others_is_no_error) {
  const auto a = Make("a.parquet", {{{"x", "float", {}}}});
  const auto b = Make("b.parquet", {{{"x", "float", {3}}}});
  BOOST_TEST(Open({a, b})->pieces() == 1u);
  BOOST_TEST(Error({a}) == "a.parquet: no rows, expected at least one");
}

BOOST_AUTO_TEST_CASE(files_of_other_columns_are_refused) {
  const auto a = Make("a.parquet", {{{"x", "float", {1}}, {"y", "float", {2}}}});
  const auto b = Make("b.parquet", {{{"x", "float", {1}}}});
  BOOST_TEST(Error({a, b}) == "b.parquet: no column 'y', expected the columns of a.parquet");
  BOOST_TEST(Error({b, a}) == "a.parquet: column 'y', expected the columns of b.parquet");
}

BOOST_AUTO_TEST_CASE(columns_that_are_no_numbers_are_named) {
  const auto error = [&](const std::string& type) { return Error({Make({{"x", "float", {1}}, {"city", type, {kNull}}})}); };
  BOOST_TEST(error("string") == "a.parquet: column 'city' is of type string, expected a number");
  BOOST_TEST(error("list") == "a.parquet: column 'city' is of type list<element: float>, expected a number");
  BOOST_TEST(error("timestamp") == "a.parquet: column 'city' is of type timestamp[ms], expected a number");
  BOOST_TEST(error("decimal") == "a.parquet: column 'city' is of type decimal128(5, 2), expected a number");
}

BOOST_AUTO_TEST_CASE(columns_that_are_missing_double_or_only_the_label_are_named) {
  options.label_kind = LabelKind::kBinary;
  BOOST_TEST(Error({Make({{"x", "float", {1}}, {"z", "float", {1}}})}) == "a.parquet: no column 'label', expected one of: x, z");
  BOOST_TEST(Error({Make({{"label", "float", {1}}})}) == "a.parquet: no columns besides the label, expected at least one");
  BOOST_TEST(Error({Make({{"label", "float", {1}}, {"x", "float", {1}}, {"x", "float", {1}}})}) == "a.parquet: two columns are named 'x'");
}

BOOST_AUTO_TEST_CASE(values_that_are_no_numbers_are_reported_with_row_and_column) {
  const auto error = [&](const std::string& type, double bad) {
    auto values = Counting(70);
    values[16] = bad;
    values[40] = bad;
    return Error({Make("a.parquet", {.columns = {{"w", "float", Counting(70)}, {"x", type, values}}, .page_rows = 64})});
  };
  BOOST_TEST(error("float", kNull) == "a.parquet: row 17: column 'x' is null, expected a number");
  BOOST_TEST(error("int8", kNull) == "a.parquet: row 17: column 'x' is null, expected a number");
  BOOST_TEST(error("bool", kNull) == "a.parquet: row 17: column 'x' is null, expected a number");
  BOOST_TEST(error("halffloat", kNull) == "a.parquet: row 17: column 'x' is null, expected a number");
  BOOST_TEST(error("float", NAN) == "a.parquet: row 17: column 'x' is nan, expected a number");
  BOOST_TEST(error("double", -kInfinity) == "a.parquet: row 17: column 'x' is -inf, expected a number");
  BOOST_TEST(error("halffloat", kInfinity) == "a.parquet: row 17: column 'x' is inf, expected a number");
  BOOST_TEST(error("double", 1e300) == "a.parquet: row 17: column 'x' is 1e+300, expected a number within +-3.4e38");
}

BOOST_AUTO_TEST_CASE(labels_are_checked) {
  options.label_kind = LabelKind::kBinary;
  const auto error = [&](double bad) { return Error({Make({{"x", "float", {1, 2, 3}}, {"label", "double", {1, bad, 5}}})}); };
  BOOST_TEST(error(2) == "a.parquet: row 2: label is 2, expected 0 or 1");
  BOOST_TEST(error(0.5) == "a.parquet: row 2: label is 0.5, expected 0 or 1");
  BOOST_TEST(error(kNull) == "a.parquet: row 2: column 'label' is null, expected a number");
  BOOST_TEST(error(NAN) == "a.parquet: row 2: column 'label' is nan, expected a number");
}

BOOST_AUTO_TEST_CASE(the_first_bad_row_is_reported_whatever_its_column) {
  auto late = Counting(40000), early = Counting(40000);
  late[39000] = kNull;
  early[38999] = NAN;
  options.splits = 100;
  BOOST_TEST(Error({Make({{"late", "float", late}, {"early", "float", early}})}) == "a.parquet: row 39000: column 'early' is nan, expected a number");
}

BOOST_AUTO_TEST_CASE(bad_rows_are_left_out_and_counted_where_that_is_asked_for) {
  options.label_kind = LabelKind::kBinary;
  options.skip_bad_rows = true;
  const auto block =
      ReadOne(Make({{"x", "float", {NAN, 2, 3, kNull, 5, 6}}, {"y", "double", {1, 1, kNull, kNull, 1e300, 1}}, {"label", "int32", {0, 1, 0, 0, 0, 7}}}));
  BOOST_TEST(block->rows == 1u);
  BOOST_TEST(block->bad_rows == 5u);
  BOOST_TEST(block->dense == (std::vector<float>{2, 1}), boost::test_tools::per_element());
  BOOST_TEST(block->labels == std::vector<float>{1}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(files_that_are_cut_or_garbage_or_not_there) {
  const std::string whole = Make("w.parquet", {.columns = {{"x", "float", Counting(5000)}}, .compressed = false});
  std::ifstream in(whole, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  const auto starts = [&](const std::string& path) { BOOST_TEST(Error({path}).starts_with("a.parquet: not a whole Parquet file: "), Error({path})); };
  for (const size_t size : {size_t{0}, size_t{3}, size_t{100}, bytes.str().size() - 1}) starts(Write("a.parquet", bytes.str().substr(0, size)));
  starts(Write("a.parquet", std::string(1000, 'x')));
  std::string broken = bytes.str();
  std::fill(broken.begin() + 4, broken.begin() + 2000, '\xee');   // the footer is whole, the first page is not
  starts(Write("a.parquet", broken));
  BOOST_TEST(Error({At("none.parquet")}, absl::StatusCode::kNotFound) == "none.parquet: no such file or directory");
}

BOOST_AUTO_TEST_CASE(any_broken_byte_gives_rows_or_an_error) {
  const std::string whole = Make("w.parquet", {.columns = {{"x", "float", Counting(300)}, {"n", "int32", Counting(300)}}, .page_rows = 100});
  std::ifstream in(whole, std::ios::binary);
  std::stringstream stream;
  stream << in.rdbuf();
  const std::string bytes = stream.str();
  Random random(1);
  for (int i = 0; i < 300; ++i) {
    std::string broken = bytes;
    for (uint64_t n = 1 + random.Below(3); n > 0; --n) broken[random.Below(broken.size())] = static_cast<char>(random.Next());
    auto source = OpenParquetSource(options, {Write("a.parquet", broken)});
    for (uint64_t p = 0; source.ok() && p < (*source)->pieces(); ++p) (void)(*source)->Read(p);
  }
}

BOOST_AUTO_TEST_CASE(what_the_writer_writes_is_read_back) {
  const std::string path = At("t.parquet");
  const size_t rows = 140000;   // more than a row group
  {
    auto file = *OutputFile::Open(path);
    auto writer = *OpenParquetWriter(file.get(), {{"id", ColumnSpec::Type::kInt32}, {"x", ColumnSpec::Type::kFloat}});
    std::vector<float> table;
    for (size_t r = 0; r < rows; ++r) {
      table.push_back(static_cast<float>(r % 1000));
      table.push_back(static_cast<float>(r) * 0.5f);
      if (table.size() < 2 * 999 && r + 1 < rows) continue;
      BOOST_REQUIRE(writer->Write(table).ok());
      table.clear();
    }
    BOOST_REQUIRE(writer->Finish().ok());
    BOOST_REQUIRE(file->Commit().ok());
  }
  const auto source = Open({path});
  uint64_t row = 0;
  for (uint64_t i = 0; i < source->pieces(); ++i) {
    const auto block = *source->Read(i);
    for (size_t r = 0; r < block->rows; ++r, ++row) {
      if (block->row_dense(r)[0] != static_cast<float>(row % 1000) || block->row_dense(r)[1] != static_cast<float>(row) * 0.5f) BOOST_FAIL("row " << row);
    }
  }
  BOOST_TEST(row == rows);
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_the_sinks_own_error) {
  auto file = *OutputFile::Open("/dev/full");
  auto writer = OpenParquetWriter(file.get(), {{"x", ColumnSpec::Type::kFloat}});
  absl::Status status = writer.status();   // the magic bytes may already be refused
  if (status.ok()) status = (*writer)->Finish();
  BOOST_TEST(Message(status) == "/dev/full: no space left on device");
  BOOST_TEST((status.code() == absl::StatusCode::kResourceExhausted));
}

BOOST_AUTO_TEST_CASE(a_plugin_that_is_missing_or_something_else_is_a_clear_error) {
  const auto error = [](const std::string& path) { return std::string(Message(LoadParquetPlugin(path).status())); };
  BOOST_TEST(error(At("libtroupe_arrow.so")).starts_with(At("libtroupe_arrow.so") + ": cannot be opened, expected Troupe's plugin for Parquet: "));
  BOOST_TEST(error(Write("garbage.so", "garbage")).find("cannot be opened, expected Troupe's plugin") != std::string::npos);
  BOOST_TEST(error("libz.so.1") == "libz.so.1: cannot be opened, expected Troupe's plugin for Parquet: no symbol TroupeParquetPlugin");
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
