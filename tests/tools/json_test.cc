#include "tools/troupe/json.h"

#include <limits>

#include <boost/test/unit_test.hpp>

namespace troupe {

BOOST_AUTO_TEST_SUITE(Json)

BOOST_AUTO_TEST_CASE(fields_keep_the_order_of_the_calls) {
  const auto object = JsonObject()
                          .Text("b", "x")
                          .Whole("a", 18446744073709551615U)
                          .Number("c", 0.1)
                          .Object("d", JsonObject())
                          .List("e", {JsonObject().Whole("f", 1), JsonObject()});
  BOOST_TEST(object.Line() == R"({"b":"x","a":18446744073709551615,"c":0.1,"d":{},"e":[{"f":1},{}]})");
}

BOOST_AUTO_TEST_CASE(text_is_quoted_and_stays_on_one_line) {
  BOOST_TEST(JsonObject().Text("a\"b", "c\\d\n\x01 \xc3\xa9").Line() == "{\"a\\\"b\":\"c\\\\d\\u000a\\u0001 \xc3\xa9\"}");
}

BOOST_AUTO_TEST_CASE(what_is_not_finite_is_null) {
  BOOST_TEST(MetricsObject({{"a", std::numeric_limits<double>::quiet_NaN()}, {"b", -std::numeric_limits<double>::infinity()}, {"c", 1e300}}).Line() ==
             R"({"a":null,"b":null,"c":1e+300})");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
