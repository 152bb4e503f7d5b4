#include "tools/troupe/table.h"

#include <boost/test/unit_test.hpp>

namespace troupe {

BOOST_AUTO_TEST_SUITE(Table)

BOOST_AUTO_TEST_CASE(columns_are_aligned_and_lines_end_without_blanks) {
  TextTable table(2);
  table.AlignRight(1);
  table.Row({"name", "ms", "note"});
  table.Row({"a", "10.5", ""});
  table.Row({"\xc3\xa9t\xc3\xa9", "7"});   // three characters, five bytes
  BOOST_TEST(table.Text() == "  name     ms   note\n  a      10.5\n  \xc3\xa9t\xc3\xa9       7\n");
}

BOOST_AUTO_TEST_CASE(a_long_last_cell_goes_on_below_itself) {
  TextTable table;
  std::string words;
  for (int i = 0; i < 40; ++i) words += "word" + std::to_string(i) + " ";
  table.Row({"flag", words + "end"});
  const std::string text = table.Text();
  std::string rest = text;
  int lines = 0;
  while (!rest.empty()) {
    const std::string line = rest.substr(0, rest.find('\n'));
    BOOST_TEST(line.size() <= 160U);
    if (lines++ > 0) BOOST_TEST(line.substr(0, 11) == "       word");
    rest.erase(0, line.size() + 1);
  }
  BOOST_TEST(lines == 2);
  BOOST_TEST(text.find("word39 end\n") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(no_rows_are_no_text) {
  BOOST_TEST(TextTable().Text() == "");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
