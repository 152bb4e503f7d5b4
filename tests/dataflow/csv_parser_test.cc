#include "dataflow/sources/csv_parser.h"

#include <boost/test/unit_test.hpp>

#include <string>

#include "actors/text.h"
#include "dataflow/internal/number.h"

namespace troupe::internal {
namespace {

// Columns a and b are features, y is the label, note is ignored.
CsvRules Rules(LabelKind kind = LabelKind::kBinary, bool skip = false) {
  using Use = CsvColumn::Use;
  return {{{"a", Use::kFeature, 0}, {"y", kind == LabelKind::kNone ? Use::kIgnored : Use::kLabel, 0}, {"note", Use::kIgnored, 0}, {"b", Use::kFeature, 1}},
          2,
          kind,
          skip};
}

struct Parsed {
  std::optional<BadLine> bad;
  RowBlock block;
};

Parsed Parse(std::string text, const CsvRules& rules = Rules()) {
  const size_t size = text.size();
  text.append(kTextPadding, '\n');
  Parsed parsed;
  parsed.bad = ParseCsv(text.data(), text.data() + size, rules, &parsed.block);
  return parsed;
}

std::string RowsOf(const RowBlock& block) {
  std::string text;
  for (size_t r = 0; r < block.rows; ++r) {
    text += block.labels.empty() ? "-" : Exact(block.labels[r]);
    for (const float value : block.row_dense(r)) text += " " + Exact(value);
    text += "\n";
  }
  return text;
}

std::string RowsOf(const std::string& text, const CsvRules& rules = Rules()) {
  const Parsed parsed = Parse(text, rules);
  return parsed.bad ? std::to_string(parsed.bad->offset) + " " + parsed.bad->what : RowsOf(parsed.block);
}

std::string HeaderOf(const std::string& line) {
  std::vector<std::string> names;
  const std::string what = ParseCsvHeader(line, &names);
  if (!what.empty()) return what;
  std::string all;
  for (const std::string& name : names) all += "[" + name + "]";
  return all;
}

}   // namespace

BOOST_AUTO_TEST_SUITE(CsvParser)

BOOST_AUTO_TEST_CASE(rows_become_labels_and_a_dense_matrix) {
  const Parsed parsed = Parse("1.5,1,hello,2\n-0.25,0,,123456789.5\n");
  BOOST_TEST(!parsed.bad);
  BOOST_TEST(parsed.block.rows == 2u);
  BOOST_TEST(parsed.block.columns == 2u);
  BOOST_TEST(parsed.block.labels == (std::vector<float>{1, 0}), boost::test_tools::per_element());
  BOOST_TEST(parsed.block.dense == (std::vector<float>{1.5f, 2, -0.25f, 123456789.5f}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(unusual_spelling_gives_the_same_rows) {
  const std::string rows = "1 1.5 2\n0 3 4\n";
  BOOST_TEST(RowsOf("1.5,1,x,2\n3,0,y,4\n") == rows);
  BOOST_TEST(RowsOf("1.5,1,x,2\n3,0,y,4") == rows);
  BOOST_TEST(RowsOf("1.5,1,x,2\r\n3,0,y,4\r\n") == rows);
  BOOST_TEST(RowsOf("1.5,1,x,2\r\n\r\n3,-1,y,4\r") == rows);
  BOOST_TEST(RowsOf("\n \n1.5,1,\"x, \"\"y\"\"\",2\n3,0,Zürich,4\n\n") == rows);
  BOOST_TEST(RowsOf("\"1.5\",\"+1\",\"\",\"2\"\n\"3\",\"0\",,\"4.0\"\n") == rows);
  BOOST_TEST(RowsOf(" 1.5 , 1 , 5\" disk , +2\n\t3e0,0,,.4e1\n") == rows);
}

BOOST_AUTO_TEST_CASE(labels_are_taken_as_their_kind_says) {
  BOOST_TEST(RowsOf("1,2.5,,2\n", Rules(LabelKind::kReal)) == "2.5 1 2\n");
  BOOST_TEST(RowsOf("1,what,,2\n", Rules(LabelKind::kNone)) == "- 1 2\n");
  BOOST_TEST(RowsOf("1,1,,2\n1,2,,2\n") == "7 label is '2', expected 0 or 1");
  BOOST_TEST(RowsOf("1,,,2\n") == "0 label is empty, expected 0 or 1");
  BOOST_TEST(RowsOf("1,nan,,2\n") == "0 label is 'nan', expected 0 or 1");
  BOOST_TEST(RowsOf("1,yes,,2\n", Rules(LabelKind::kReal)) == "0 label is 'yes', expected a number");
  BOOST_TEST(RowsOf("1,,,2\n", Rules(LabelKind::kReal)) == "0 label is empty, expected a number");
  BOOST_TEST(RowsOf("1,inf,,2\n", Rules(LabelKind::kReal)) == "0 label is 'inf', expected a finite number");
}

BOOST_AUTO_TEST_CASE(every_error_says_what_was_found_and_what_was_expected) {
  BOOST_TEST(RowsOf("1,1,x,2\nParis,1,x,2\n") == "8 column 'a' is 'Paris', expected a number");
  BOOST_TEST(RowsOf("1,1,x,\"Paris\"\n") == "0 column 'b' is 'Paris', expected a number");
  BOOST_TEST(RowsOf("1,1,x,2 3\n") == "0 column 'b' is '2 3', expected a number");
  BOOST_TEST(RowsOf("1,1,x,\n") == "0 column 'b' is empty, expected a number");
  BOOST_TEST(RowsOf("\"\",1,x,1\n") == "0 column 'a' is empty, expected a number");
  BOOST_TEST(RowsOf("NaN,1,x,1\n") == "0 column 'a' is 'NaN', expected a finite number");
  BOOST_TEST(RowsOf("1,1,x,-Infinity\n") == "0 column 'b' is '-Infinity', expected a finite number");
  BOOST_TEST(RowsOf("1,1,x,1e40\n") == "0 column 'b' is '1e40', expected a finite number");
  BOOST_TEST(RowsOf("1,1,x\n") == "0 has 3 fields, expected 4");
  BOOST_TEST(RowsOf("1,1,x,2,3\n") == "0 has 5 fields, expected 4");
  BOOST_TEST(RowsOf("1,1,x,2,\n") == "0 has 5 fields, expected 4");
  BOOST_TEST(RowsOf("1\n") == "0 has 1 field, expected 4");
  BOOST_TEST(RowsOf("1,1,\"x,2\n1,1,y\",2\n") == "0 quote is left open");
  BOOST_TEST(RowsOf("1,1,\"x\"\"\n") == "0 quote is left open");
  BOOST_TEST(RowsOf("1,1,\"x\"y,2\n") == "0 'y' follows a closing quote, expected a comma");
  BOOST_TEST(RowsOf("1,1,caf\xe9,2\n") == "0 byte 0xE9 is not UTF-8");
  BOOST_TEST(RowsOf("1,1,\xc3,2\n") == "0 byte 0xC3 is not UTF-8");
  BOOST_TEST(RowsOf("caf\xe9,1,x,2\n") == "0 byte 0xE9 is not UTF-8");
}

BOOST_AUTO_TEST_CASE(skipped_rows_are_counted_and_leave_nothing_behind) {
  const Parsed parsed = Parse("1,1,x,2\n1,2,x,2\nx,1,,1\n5,0,y\n3,0,y,4\n\"", Rules(LabelKind::kBinary, true));
  BOOST_TEST(!parsed.bad);
  BOOST_TEST(parsed.block.bad_rows == 4u);
  BOOST_TEST(RowsOf(parsed.block) == "1 1 2\n0 3 4\n");
}

BOOST_AUTO_TEST_CASE(a_short_row_of_a_wide_file_stays_within_bounds) {
  CsvRules rules{{}, 1000, LabelKind::kNone, false};
  for (uint32_t c = 0; c < 1000; ++c) rules.columns.push_back({"c", CsvColumn::Use::kFeature, 999 - c});   // the first field goes to the last place
  BOOST_TEST(RowsOf("1\n", rules) == "0 has 1 field, expected 1000");
  BOOST_TEST(RowsOf("1", rules) == "0 has 1 field, expected 1000");
}

BOOST_AUTO_TEST_CASE(a_header_gives_the_names) {
  BOOST_TEST(HeaderOf("a,b,c") == "[a][b][c]");
  BOOST_TEST(HeaderOf("a, b ,\"c, \"\"d\"\"\"\r") == "[a][b][c, \"d\"]");
  BOOST_TEST(HeaderOf("größe") == "[größe]");
}

BOOST_AUTO_TEST_CASE(a_bad_header_is_refused) {
  BOOST_TEST(HeaderOf(" \r") == "header is empty, expected column names");
  BOOST_TEST(HeaderOf("a,,c") == "column 2 has no name");
  BOOST_TEST(HeaderOf("a,b,") == "column 3 has no name");
  BOOST_TEST(HeaderOf("a,b,a") == "column 'a' stands twice");
  BOOST_TEST(HeaderOf("a,\"b") == "quote is left open");
  BOOST_TEST(HeaderOf("a,b\xe9") == "byte 0xE9 is not UTF-8");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe::internal
