#include "actors/patience.h"

#include <boost/test/unit_test.hpp>

namespace troupe {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kLimit(120);
const Patience::Time kStart(std::chrono::hours(1));

}   // namespace

BOOST_AUTO_TEST_SUITE(PatienceSuite)

BOOST_AUTO_TEST_CASE(it_is_over_when_failures_have_gone_on_for_longer_than_the_limit) {
  Patience patience;
  for (int s = 0; s <= 120; ++s) BOOST_TEST(!patience.IsOver(kStart + seconds(s), kLimit));
  BOOST_TEST(patience.IsOver(kStart + seconds(120) + milliseconds(1), kLimit));
  BOOST_TEST(patience.IsOver(kStart + seconds(121), kLimit));
}

BOOST_AUTO_TEST_CASE(failures_that_are_a_quarter_of_the_limit_apart_count_whole) {
  Patience patience;
  for (int s = 0; s <= 120; s += 30) BOOST_TEST(!patience.IsOver(kStart + seconds(s), kLimit));
  BOOST_TEST(patience.IsOver(kStart + seconds(150), kLimit));
}

BOOST_AUTO_TEST_CASE(standing_still_counts_for_a_quarter_at_most) {
  Patience patience;
  BOOST_TEST(!patience.IsOver(kStart, kLimit));
  BOOST_TEST(!patience.IsOver(kStart + std::chrono::hours(1), kLimit));
  for (int s = 1; s <= 90; ++s) BOOST_TEST(!patience.IsOver(kStart + std::chrono::hours(1) + seconds(s), kLimit));
  BOOST_TEST(patience.IsOver(kStart + std::chrono::hours(1) + seconds(91), kLimit));
}

BOOST_AUTO_TEST_CASE(what_works_again_begins_anew) {
  Patience patience;
  for (int s = 0; s <= 121; ++s) (void)patience.IsOver(kStart + seconds(s), kLimit);
  patience.Reset();
  BOOST_TEST(!patience.IsOver(kStart + seconds(122), kLimit));
  BOOST_TEST(!patience.IsOver(kStart + seconds(123), kLimit));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
