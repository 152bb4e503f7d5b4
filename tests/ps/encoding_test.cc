#include "ps/encoding.h"

#include <boost/test/unit_test.hpp>
#include <string>

#include "actors/text.h"
#include "ps/table_spec.h"

namespace troupe {
namespace {

BOOST_AUTO_TEST_SUITE(EncodingTest)

BOOST_AUTO_TEST_CASE(text_and_back) {
  for (const char* text : {"none", "float16", "bfloat16", "int8", "onebit", "pull_float16", "pull_bfloat16", "top_k:0.1", "random_k:1", "threshold:0.001",
                           "kkt:0", "delta", "cache", "int8+pull_float16+top_k:0.25+feedback+delta+cache"}) {
    const auto encoding = ParseEncoding(text);
    BOOST_REQUIRE_MESSAGE(encoding.ok(), encoding.status().ToString());
    BOOST_TEST(ToString(*encoding) == text);
    BOOST_TEST((*ParseEncoding(ToString(*encoding)) == *encoding));
  }
  BOOST_TEST(ToString(*ParseEncoding("cache+feedback+int8")) == "int8+feedback+cache");   // any order
}

BOOST_AUTO_TEST_CASE(anything_else_is_refused_with_what_was_expected) {
  const auto refused = [](const char* text, const std::string& why) {
    const auto encoding = ParseEncoding(text);
    BOOST_TEST(absl::IsInvalidArgument(encoding.status()));
    BOOST_TEST(Message(encoding.status()) == "encoding is '" + std::string(text) + "': " + why);
  };
  refused("int7", "unknown word 'int7'; did you mean 'int8'?");
  refused("int8+dleta", "unknown word 'dleta'; did you mean 'delta'?");
  refused("int8+float16", "'float16' is the second of its kind");
  refused("top_k:0.1+kkt:0", "'kkt:0' is the second of its kind");
  refused("delta+delta", "'delta' is the second of its kind");
  refused("top_k", "expected top_k:SHARE with a share in (0, 1]");
  refused("top_k:0", "expected top_k:SHARE with a share in (0, 1]");
  refused("random_k:1.5", "expected random_k:SHARE with a share in (0, 1]");
  refused("threshold:x", "expected threshold:X with 0 <= X <= 1e30");
  refused("threshold:nan", "expected threshold:X with 0 <= X <= 1e30");
  refused("delta+feedback", "feedback needs something that a push loses");
  for (const char* text : {"", "+", "int8+", "none+delta", "int8:1"}) BOOST_TEST(!ParseEncoding(text).ok(), text);
}

BOOST_AUTO_TEST_CASE(exact_sums_lose_nothing_and_kkt_needs_a_penalty) {
  TableSpec spec{.name = "w", .rows = {}, .rule_options = {}};
  for (const char* text : {"delta", "cache", "delta+cache"}) {
    spec.encoding = *ParseEncoding(text);
    BOOST_TEST(Validate(spec).ok());
  }
  for (const char* text : {"float16", "pull_bfloat16", "top_k:0.5", "int8+feedback"}) {
    spec.encoding = *ParseEncoding(text);
    BOOST_TEST(Message(Validate(spec)) == "table 'w': encoding is '" + std::string(text) + "', but sums of the rule add are exact: expected delta or cache");
  }
  spec.rule = "sgd";
  spec.rule_options = {{"learning_rate", 0.1}};
  BOOST_TEST(Validate(spec).ok());
  spec.encoding = *ParseEncoding("kkt:0.5");
  spec.l1 = 0.5;
  BOOST_TEST(Message(Validate(spec)) == "table 'w': encoding is 'kkt:0.5', expected a number below l1, 0.5");
  spec.l1 = 1;
  BOOST_TEST(Validate(spec).ok());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
