#include "ps/schedule.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <string>

#include "actors/text.h"

namespace troupe {
namespace {

double At(const char* text, double step) {
  const auto schedule = ParseSchedule(text);
  BOOST_REQUIRE_MESSAGE(schedule.ok(), schedule.status().ToString());
  return schedule->At(step);
}

BOOST_AUTO_TEST_SUITE(ScheduleTest)

BOOST_AUTO_TEST_CASE(each_kind_follows_its_formula) {
  const auto near = boost::test_tools::tolerance(1e-12);
  BOOST_TEST(At("constant", 1e9) == 1.0);
  BOOST_TEST(At("linear:10", 5) == 0.5, near);
  BOOST_TEST(At("linear:10", 11) == 0.0);
  BOOST_TEST(At("cosine:10", 0) == 1.0, near);
  BOOST_TEST(At("cosine:10", 5) == 0.5, near);
  BOOST_TEST(At("cosine:10", 100) == 0.0);
  BOOST_TEST(At("step:10:0.5", 9) == 1.0, near);
  BOOST_TEST(At("step:10:0.5", 25) == 0.25, near);
  BOOST_TEST(At("exponential:10:0.5", 5) == std::sqrt(0.5), near);
  BOOST_TEST(At("inverse:10", 30) == 0.25, near);
  BOOST_TEST(At("inverse_root:10", 30) == 0.5, near);
}

BOOST_AUTO_TEST_CASE(warmup_rises_in_a_line_and_then_the_rest_begins) {
  const auto near = boost::test_tools::tolerance(1e-12);
  BOOST_TEST(At("warmup:4", 0) == 0.2, near);
  BOOST_TEST(At("warmup:4", 3) == 0.8, near);
  BOOST_TEST(At("warmup:4", 4) == 1.0, near);
  BOOST_TEST(At("warmup:4,linear:10", 9) == 0.5, near);
}

BOOST_AUTO_TEST_CASE(text_and_back) {
  for (const char* text : {"constant", "linear:10", "cosine:1000", "step:10:0.5", "exponential:7:0.25", "inverse:3", "inverse_root:9", "warmup:4,cosine:100"}) {
    BOOST_TEST(ToString(*ParseSchedule(text)) == text);
    BOOST_TEST((*ParseSchedule(ToString(*ParseSchedule(text))) == *ParseSchedule(text)));
  }
}

BOOST_AUTO_TEST_CASE(anything_else_is_refused) {
  for (const char* text : {"", "cosin:10", "linear", "linear:", "linear:0", "linear:x", "linear:10:0.5", "step:10", "step:10:0", "step:10:2", "warmup:x",
                           "warmup:-1", "warmup:4,", "linear:nan", "constant:1", "linear:1e99"}) {
    const auto schedule = ParseSchedule(text);
    BOOST_TEST(!schedule.ok(), text);
    if (!schedule.ok()) BOOST_TEST(Message(schedule.status()).starts_with("schedule is '" + std::string(text) + "', expected constant, linear:STEPS"));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
