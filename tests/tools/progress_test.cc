#include "tools/troupe/progress.h"

#include <boost/test/unit_test.hpp>

namespace troupe {

BOOST_AUTO_TEST_SUITE(ProgressOfTraining)

BOOST_AUTO_TEST_CASE(a_line_says_where_the_run_is_and_how_long_it_will_take) {
  const TrainProgress progress{.phase = "step", .epoch = 3, .epochs = 20, .rows = 1'000'000, .share = 0.25, .loss = 0.32514, .restarts = 1};
  BOOST_TEST(ProgressLine(progress, 2, 200) == "epoch 3/20  step  25 %  500,000 rows/s  loss 0.3251  1 restart  6.0 s left");
}

BOOST_AUTO_TEST_CASE(what_is_not_known_is_left_out) {
  BOOST_TEST(ProgressLine({.phase = "step", .epoch = 1, .epochs = 1, .loss = {}}, 0, 200) == "step  0 %");
}

BOOST_AUTO_TEST_CASE(a_narrow_terminal_gets_a_short_line) {
  BOOST_TEST(ProgressLine({.phase = "a_long_phase", .epoch = 1, .epochs = 1, .loss = {}}, 0, 8) == "a_long_p");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
