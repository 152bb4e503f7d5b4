// Rows of a range as a model part: exact, sorted, and refused when changed.
#include "ps/export.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <limits>

#include "actors/text.h"

namespace troupe {
namespace {

Table Make(const std::string& rule, uint32_t width, std::optional<uint64_t> rows) {
  TableSpec spec;
  spec.rule = rule;
  spec.width = width;
  spec.rows = rows;
  spec.ranges = 1;
  return std::move(*Table::Make(spec, 0, 1));
}

ExportedRows Sample(bool wide) {
  ExportedRows rows;
  rows.width = 2;
  rows.wide = wide;
  rows.keys = {0, 7, ~Key{0}};
  if (wide) rows.wide_values = {1, 2, 3, 1e300, -5, 16777217};
  if (!wide) rows.values = {1, 2, 3, 0.1f, -5, 6};
  return rows;
}

}   // namespace

BOOST_AUTO_TEST_SUITE(ExportTest)

BOOST_AUTO_TEST_CASE(encoded_rows_decode_to_the_same) {
  for (const bool wide : {false, true}) {
    const ExportedRows rows = Sample(wide);
    const auto decoded = DecodeRows(EncodeRows(rows));
    BOOST_REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
    BOOST_TEST(decoded->width == 2u);
    BOOST_TEST(decoded->wide == wide);
    BOOST_TEST(decoded->keys == rows.keys);
    BOOST_TEST(decoded->values == rows.values);
    BOOST_TEST(decoded->wide_values == rows.wide_values);
    BOOST_TEST(decoded->Value(1, 0) == 3);
  }
  BOOST_TEST(DecodeRows(EncodeRows(ExportedRows{})).ok());
}

BOOST_AUTO_TEST_CASE(every_cut_and_every_changed_byte_is_refused) {
  const Block block = EncodeRows(Sample(true));
  const std::string bytes(reinterpret_cast<const char*>(block.data()), block.size());
  for (size_t size = 0; size < bytes.size(); ++size) BOOST_REQUIRE(DecodeRows(block.Slice(0, size)).status().code() == absl::StatusCode::kDataLoss);
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      BOOST_REQUIRE(DecodeRows(Block::Copy(changed.data(), changed.size())).status().code() == absl::StatusCode::kDataLoss);
    }
  }
}

BOOST_AUTO_TEST_CASE(rows_that_make_no_sense_are_refused) {
  const auto message = [](const ExportedRows& rows) { return std::string(Message(DecodeRows(EncodeRows(rows)).status())); };
  ExportedRows rows = Sample(false);
  rows.keys[1] = 0;
  BOOST_TEST(message(rows) == "model part: keys do not rise");
  rows = Sample(false);
  rows.values[3] = std::numeric_limits<float>::quiet_NaN();
  BOOST_TEST(message(rows) == "model part: a value is not finite");
  rows = Sample(true);
  rows.wide_values[5] = std::numeric_limits<double>::infinity();
  BOOST_TEST(message(rows) == "model part: a value is not finite");
  rows = ExportedRows{};
  rows.width = 0;
  BOOST_TEST(message(rows) == "model part: width outside 1 .. 65536");
}

BOOST_AUTO_TEST_CASE(counts_are_exported_exactly_and_zero_rows_left_out) {
  Table table = Make("add", 1, {});
  const Key keys[] = {9, 2, 0, 5};
  for (int i = 0; i < 3; ++i) {
    const float gradient[] = {16777216, 1, 3, 0};
    BOOST_REQUIRE(table.Apply(0, keys, gradient).ok());
  }
  const float one[] = {1, 0, 0, 0};
  BOOST_REQUIRE(table.Apply(0, keys, one).ok());
  const auto rows = DecodeRows(ExportRange(table, 0));
  BOOST_REQUIRE(rows.ok());
  const std::vector<Key> expected_keys{0, 2, 9};
  const std::vector<double> expected{9, 3, 3.0 * 16777216 + 1};
  BOOST_TEST(rows->wide);
  BOOST_TEST(rows->keys == expected_keys);
  BOOST_TEST(rows->wide_values == expected);
}

BOOST_AUTO_TEST_CASE(dense_ranges_are_complete) {
  Table table = Make("sgd", 2, 4);
  const Key keys[] = {2};
  const float gradient[] = {-10, 0};
  BOOST_REQUIRE(table.Apply(0, keys, gradient).ok());
  const ExportedRows rows = RowsOf(table, 0);
  const std::vector<Key> expected_keys{0, 1, 2, 3};
  const std::vector<float> expected{0, 0, 0, 0, 1, 0, 0, 0};
  BOOST_TEST(!rows.wide);
  BOOST_TEST(rows.keys == expected_keys);
  BOOST_TEST(rows.values == expected);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
