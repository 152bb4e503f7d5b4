#include "dataflow/sources/libsvm_parser.h"

#include <boost/test/unit_test.hpp>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <string>

#include "actors/random.h"
#include "actors/text.h"
#include "dataflow/internal/blanks.h"
#include "dataflow/internal/number.h"

namespace troupe::internal {
namespace {

struct Parsed {
  std::optional<BadLine> bad;
  RowBlock block;
};

Parsed Parse(std::string text, LabelKind kind = LabelKind::kBinary, bool skip = false) {
  const size_t size = text.size();
  text.append(kTextPadding, '\n');
  Parsed parsed;
  parsed.bad = ParseLibsvm(text.data(), text.data() + size, {kind, skip}, &parsed.block);
  return parsed;
}

std::string ErrorOf(const std::string& text, LabelKind kind = LabelKind::kBinary) {
  const Parsed parsed = Parse(text, kind);
  return parsed.bad ? std::to_string(parsed.bad->offset) + " " + parsed.bad->what : "none";
}

// Rows as text, one way of writing only: "1 3:0.5\n".
std::string RowsOf(const RowBlock& block) {
  std::string text;
  for (size_t r = 0; r < block.rows; ++r) {
    text += block.labels.empty() ? "-" : Exact(block.labels[r]);
    const SparseRow row = block.sparse.row(r);
    for (size_t i = 0; i < row.size(); ++i) text += " " + std::to_string(row.feature(i)) + ":" + Exact(row.value(i));
    text += "\n";
  }
  return text;
}

std::string RowsOf(const std::string& text, LabelKind kind = LabelKind::kBinary) {
  const Parsed parsed = Parse(text, kind);
  return parsed.bad ? parsed.bad->what : RowsOf(parsed.block);
}

}   // namespace

BOOST_AUTO_TEST_SUITE(LibsvmParser)

BOOST_AUTO_TEST_CASE(rows_become_labels_and_entries) {
  const Parsed parsed = Parse("1 1:1.5 4632:1 175087:-0.25\n0\n-1 7:2\n");
  BOOST_TEST(!parsed.bad);
  const RowBlock& block = parsed.block;
  BOOST_TEST(block.rows == 3u);
  BOOST_TEST(block.labels == (std::vector<float>{1, 0, 0}), boost::test_tools::per_element());
  BOOST_TEST(RowsOf(block) == "1 1:1.5 4632:1 175087:-0.25\n0\n0 7:2\n");
  BOOST_TEST(!block.is_dense());
}

BOOST_AUTO_TEST_CASE(unusual_spelling_gives_the_same_rows) {
  const std::string rows = "1 3:0.5 12:-2\n0 1:1\n";
  BOOST_TEST(RowsOf("1 3:0.5 12:-2\n0 1:1\n") == rows);
  BOOST_TEST(RowsOf("1 3:0.5 12:-2\n0 1:1") == rows);               // no newline at the end
  BOOST_TEST(RowsOf("1 3:0.5 12:-2\r\n0 1:1\r\n") == rows);         // CRLF
  BOOST_TEST(RowsOf("1 3:0.5 12:-2 \r\n0 1:1 \r\n\r\n") == rows);   // and spaces before it
  BOOST_TEST(RowsOf("1 3:0.5 12:-2\r\n0 1:1\r") == rows);
  BOOST_TEST(RowsOf("+1  3:.5 12:-2. \n\n \t\n-1\t1:1\t\n") == rows);   // blank lines, tabs, points without digits
  BOOST_TEST(RowsOf("1.0 3:5e-1 12:-0.2E+1 # comment\n# only a comment\n0.0 1:+1#x\n") == rows);
  BOOST_TEST(RowsOf("1 03:0.500000000000000000000 012:-2.0000000\n-1.0 0000000001:1.0") == rows);
}

BOOST_AUTO_TEST_CASE(carriage_returns_end_lines_only) {
  BOOST_TEST(ErrorOf("1 1:1\r2:1\n") == "0 value is '1\\x0d2:1', expected a finite number");
  BOOST_TEST(ErrorOf("1 1:1\r 2:1\n") == "0 value is '1\\x0d', expected a finite number");
  BOOST_TEST(ErrorOf("1\r1:1\n") == "0 label is '1\\x0d1:1', expected 0 or 1");
}

BOOST_AUTO_TEST_CASE(every_blank_of_a_text_is_found) {
  Random random(3);
  for (size_t n = 1; n < 200; ++n) {
    std::string text(n + kBlanksStep, 'x');
    for (char& c : text) c = static_cast<char>(random.Below(3) == 0 ? random.Below(256) : random.Below(40));
    std::vector<uint32_t> blanks(n + 2 * kBlanksStep), expected;
    blanks.resize(FindBlanks(text.data(), n, blanks.data()));
    for (uint32_t i = 0; i < (n + kBlanksStep - 1) / kBlanksStep * kBlanksStep; ++i)
      if (static_cast<unsigned char>(text[i]) <= ' ') expected.push_back(i);
    BOOST_TEST(blanks == expected);
  }
}

BOOST_AUTO_TEST_CASE(digits_join_to_numbers_or_are_none) {
  Random random(4);
  for (int i = 0; i < 2000; ++i) {
    uint64_t digits[4] = {}, joined[4];
    std::vector<uint64_t> expected;
    for (uint64_t& word : digits) {
      for (int byte = 0; byte < 8; ++byte) word |= random.Below(10) << (8 * byte);
      expected.push_back(JoinDigits(word));
    }
    const size_t n = 1 + random.Below(4);
    BOOST_REQUIRE(JoinDigits(digits, n, joined));
    BOOST_TEST(std::equal(joined, joined + n, expected.begin()));
    digits[random.Below(n)] |= (10 + random.Below(246)) << (8 * random.Below(8)) | 10;
    BOOST_TEST(!JoinDigits(digits, n, joined));
  }
}

BOOST_AUTO_TEST_CASE(indices_reach_up_to_64_bits) {
  BOOST_TEST(RowsOf("1 1234567:1 12345678:1 123456789:1 9999999999999999999:1 10000000000000000000:1 18446744073709551615:1") ==
             "1 1234567:1 12345678:1 123456789:1 9999999999999999999:1 10000000000000000000:1 18446744073709551615:1\n");
  BOOST_TEST(ErrorOf("1 18446744073709551616:1") == "0 index is '18446744073709551616', expected at most 18446744073709551615");
}

BOOST_AUTO_TEST_CASE(labels_are_taken_as_their_kind_says) {
  BOOST_TEST(RowsOf("2.5 1:1\n-3e2 1:1\n7\n", LabelKind::kReal) == "2.5 1:1\n-300 1:1\n7\n");
  BOOST_TEST(RowsOf("2.5 1:1\n7\n4:2 5:1\n", LabelKind::kNone) == "- 1:1\n-\n- 4:2 5:1\n");
  BOOST_TEST(ErrorOf("1 1:1\n2 1:1\n") == "6 label is '2', expected 0 or 1");
  BOOST_TEST(ErrorOf("nan 1:1\n") == "0 label is 'nan', expected 0 or 1");
  BOOST_TEST(ErrorOf("1:1 2:1\n") == "0 label is '1:1', expected 0 or 1");
  BOOST_TEST(ErrorOf("-0.5 2:1\n") == "0 label is '-0.5', expected 0 or 1");
  BOOST_TEST(ErrorOf("inf 2:1\n", LabelKind::kReal) == "0 label is 'inf', expected a finite number");
  BOOST_TEST(ErrorOf("yes 2:1\n", LabelKind::kReal) == "0 label is 'yes', expected a number");
  BOOST_TEST(ErrorOf("yes\n", LabelKind::kNone) == "0 label is 'yes', expected a number");
}

BOOST_AUTO_TEST_CASE(every_error_says_what_was_found_and_what_was_expected) {
  BOOST_TEST(ErrorOf("1 0:1\n") == "0 index is 0, expected >= 1");
  BOOST_TEST(ErrorOf("1 7:1 5:1\n") == "0 index 5 follows 7, expected rising indices");
  BOOST_TEST(ErrorOf("1 7:1 7:1\n") == "0 index 7 follows 7, expected rising indices");
  BOOST_TEST(ErrorOf("1 2:nan\n") == "0 value is 'nan', expected a finite number");
  BOOST_TEST(ErrorOf("1 2:-inf\n") == "0 value is '-inf', expected a finite number");
  BOOST_TEST(ErrorOf("1 2:1e39\n") == "0 value is '1e39', expected a finite number");
  BOOST_TEST(ErrorOf("1 2:1e999\n") == "0 value is '1e999', expected a finite number");
  BOOST_TEST(ErrorOf("1 2:1.5x\n") == "0 value is '1.5x', expected a finite number");
  BOOST_TEST(ErrorOf("1 2:1:3\n") == "0 value is '1:3', expected a finite number");
  BOOST_TEST(ErrorOf("1 2:--1\n") == "0 value is '--1', expected a finite number");
  BOOST_TEST(ErrorOf("1 2:+-1\n") == "0 value is '+-1', expected a finite number");
  BOOST_TEST(ErrorOf("1 abc\n") == "0 'abc' is not INDEX:VALUE");
  BOOST_TEST(ErrorOf("1 qid:3 1:1\n") == "0 'qid:3' is not INDEX:VALUE");
  BOOST_TEST(ErrorOf("1 -1:3\n") == "0 '-1:3' is not INDEX:VALUE");
  BOOST_TEST(ErrorOf("1 :3\n") == "0 ':3' is not INDEX:VALUE");
  BOOST_TEST(ErrorOf("1 1: 3\n") == "0 '1:' is not INDEX:VALUE");
  BOOST_TEST(ErrorOf(std::string("1 \0:1\n", 6)) == "0 '\\x00:1' is not INDEX:VALUE");
}

BOOST_AUTO_TEST_CASE(a_cut_last_line_is_an_error) {
  BOOST_TEST(ErrorOf("1 1:1\n0 2:1 3:") == "6 '3:' is not INDEX:VALUE");
  BOOST_TEST(ErrorOf("1 1:1\n0 2:1 3") == "6 '3' is not INDEX:VALUE");
  BOOST_TEST(ErrorOf("1 1:1\n-") == "6 label is '-', expected 0 or 1");
}

BOOST_AUTO_TEST_CASE(skipped_rows_are_counted_and_leave_nothing_behind) {
  const Parsed parsed = Parse("1 1:1\n0 1:1 2:1 2:1\n5 1:1\n\n0 3:1\nx", LabelKind::kBinary, true);
  BOOST_TEST(!parsed.bad);
  BOOST_TEST(parsed.block.bad_rows == 3u);
  BOOST_TEST(RowsOf(parsed.block) == "1 1:1\n0 3:1\n");
}

BOOST_AUTO_TEST_CASE(nothing_gives_no_rows) {
  BOOST_TEST(Parse("").block.rows == 0u);
  BOOST_TEST(Parse("\n\n# x\n").block.rows == 0u);
  BOOST_TEST(Parse("").block.sparse.rows() == 0u);
}

BOOST_AUTO_TEST_CASE(long_values_in_messages_are_clipped_and_escaped) {
  BOOST_TEST(ErrorOf("1 " + std::string(100, 'a')) == "0 '" + std::string(40, 'a') + "...' is not INDEX:VALUE");
  BOOST_TEST(ErrorOf("1 \x1b[31m\xe9\n") == "0 '\\x1b[31m\\xe9' is not INDEX:VALUE");
  BOOST_TEST(ErrorOf("1 \xc3\xa9\xc2\x9b\n") == "0 '\xc3\xa9\\xc2\\x9b' is not INDEX:VALUE");
}

// Numbers as any program may write them, against the C library.
BOOST_AUTO_TEST_CASE(values_are_those_of_strtod_rounded_to_float) {
  Random random(7);
  for (int i = 0; i < 200000; ++i) {
    char number[64];
    const double value = (random.Uniform() - 0.5) * std::pow(10.0, static_cast<double>(random.Below(20)) - 10);
    const char* formats[] = {"%.*f", "%.*g", "%.*e", "%+.*f"};
    std::snprintf(number, sizeof number, formats[random.Below(4)], static_cast<int>(random.Below(19)), value);
    const Parsed parsed = Parse("1 1:" + std::string(number));
    BOOST_REQUIRE_MESSAGE(!parsed.bad, number);
    BOOST_REQUIRE_MESSAGE(parsed.block.sparse.row(0).value(0) == static_cast<float>(std::strtod(number, nullptr)), number);
  }
}

BOOST_AUTO_TEST_CASE(too_small_a_value_is_zero) {
  BOOST_TEST(RowsOf("1 1:1e-400 2:-1e-50 3:0.0000000000000000000000000000000000000000000000000001\n") == "1 1:0 2:-0 3:0\n");
}

// The same rows by the plainest means there are.
namespace {

bool SlowNumber(const std::string& word, float* value) {
  if (word.empty() || word.find_first_not_of("0123456789+-.eE") != word.npos) return false;   // what the text below can hold
  char* end = nullptr;
  *value = static_cast<float>(std::strtod(word.c_str(), &end));
  return *end == '\0' && std::isfinite(*value);
}

bool SlowRow(std::string line, std::string* row) {
  line = line.substr(0, line.find('#'));
  if (!line.empty() && line.back() == '\r') line.pop_back();
  std::vector<std::string> words;
  for (size_t i = 0; i < line.size();) {
    const size_t begin = line.find_first_not_of(" \t", i);
    if (begin == line.npos) break;
    i = std::min(line.find_first_of(" \t", begin), line.size());
    words.push_back(line.substr(begin, i - begin));
  }
  row->clear();
  if (words.empty()) return true;
  float number = 0;
  if (!SlowNumber(words[0], &number) || (number != 0 && number != 1 && number != -1)) return false;
  *row = number == 1 ? "1" : "0";
  uint64_t previous = 0;
  for (size_t w = 1; w < words.size(); ++w) {
    const size_t colon = words[w].find(':');
    if (colon == words[w].npos || colon == 0 || words[w].find_first_not_of("0123456789") != colon) return false;
    errno = 0;
    const uint64_t index = std::strtoull(words[w].c_str(), nullptr, 10);
    if (errno != 0 || index <= previous || !SlowNumber(words[w].substr(colon + 1), &number)) return false;
    previous = index;
    *row += " " + std::to_string(index) + ":" + Exact(number);
  }
  *row += "\n";
  return true;
}

}   // namespace

BOOST_AUTO_TEST_CASE(random_text_is_parsed_as_a_slow_parser_does) {
  Random random(20);
  const auto pick = [&](std::initializer_list<const char*> texts) { return std::string(texts.begin()[random.Below(texts.size())]); };
  size_t good = 0;
  size_t bad = 0;
  for (int i = 0; i < 30000; ++i) {
    std::string line = pick({"1", "0", "-1", "+1", "1", "0", "1.0", "2", ""});
    uint64_t index = 0;
    for (uint64_t entries = random.Below(random.Below(40) == 0 ? 300 : 6); entries > 0; --entries) {   // parsed 64 at a time
      index = random.Below(40) == 0 ? random.Below(10) : index + 1 + random.Below(uint64_t{1} << random.Below(40));
      line += (random.Below(8) != 0 || i % 40 == 0 ? " " : pick({" ", "  ", "\t", "", "\r"})) + std::to_string(index) +
              (random.Below(16) != 0 || i % 40 == 0 ? ":" : "");
      line += pick({"1", "1", "0.5", "-2.25", "17.125", "1e3", "1.", ".5", "+3", "123456789", "0.333333333333333333333", "-0", "12345678", "1234567",
                    "0.123456", "1234.567", i % 40 == 0 ? "7" : "x"});
    }
    line += pick({"", "", "", " ", " # c", "#", "\r"});
    std::string expected;
    const bool fine = SlowRow(line, &expected);
    const Parsed parsed = Parse(line + pick({"", "\n"}));
    BOOST_REQUIRE_MESSAGE(parsed.bad.has_value() == !fine, line << " | " << (parsed.bad ? parsed.bad->what : ""));
    if (fine) BOOST_REQUIRE_MESSAGE(RowsOf(parsed.block) == expected, line << " -> " << RowsOf(parsed.block) << " expected " << expected);
    ++(fine ? good : bad);
  }
  BOOST_TEST(good > 5000u);
  BOOST_TEST(bad > 2000u);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe::internal
