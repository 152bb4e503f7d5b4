#include "actors/printable.h"

#include <boost/test/unit_test.hpp>
#include <string>

namespace troupe {

BOOST_AUTO_TEST_SUITE(PrintableSuite)

BOOST_AUTO_TEST_CASE(what_terminals_would_obey_is_refused_and_shown_escaped) {
  BOOST_TEST(CheckPrintable("a name", "").ok());
  BOOST_TEST(CheckPrintable("a name", "night-2 \"x'; \xc3\xb6 \xe2\x82\xac").ok());
  BOOST_TEST(CheckPrintable("a name", "cut in a character \xc2").ok());
  BOOST_TEST(CheckPrintable("a name", "a\nb").message() == "a name is 'a\\nb', expected no control characters");
  for (const std::string bad : {"\x1b[31m", "\t", "\x7f",
                                "\xc2\x9b"
                                "31m"}) {
    BOOST_TEST(absl::IsInvalidArgument(CheckPrintable("a name", bad)), bad);
  }
  BOOST_TEST(absl::IsInvalidArgument(CheckPrintable("a name", std::string(1, '\0'))));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
