// Params and the registry: what is said, what is refused, and in which words.
#include "algorithms/params.h"

#include <boost/test/unit_test.hpp>

#include "actors/text.h"
#include "algorithms/registry.h"

namespace troupe {
namespace {

const std::vector<ParamSpec> kSpecs = {
    {.name = "rate", .default_value = 0.1, .min = 0, .min_exclusive = true, .doc = "step"},
    {.name = "share", .default_value = 0.5, .min = 0, .max = 1, .doc = "share"},
    {.name = "k", .default_value = int64_t{8}, .min = 1, .doc = "clusters"},
    {.name = "intercept", .default_value = true, .doc = "constant"},
    {.name = "rule", .default_value = std::string("sgd"), .choices = {"sgd", "adam"}, .doc = "rule"},
    {.name = "init", .default_value = std::string("random"), .doc = "start"},
};

std::string Refusal(const std::map<std::string, std::string>& given) {
  const auto params = Params::Parse(kSpecs, given);
  return params.ok() ? "" : std::string(Message(params.status()));
}

BOOST_AUTO_TEST_SUITE(ParamsSuite)

BOOST_AUTO_TEST_CASE(what_is_not_given_has_its_default) {
  const Params params = *Params::Parse(kSpecs, {});
  BOOST_TEST(params.Real("rate") == 0.1);
  BOOST_TEST(params.Int("k") == 8);
  BOOST_TEST(params.Bool("intercept"));
  BOOST_TEST(params.Text("rule") == "sgd");
}

BOOST_AUTO_TEST_CASE(text_and_values_turn_into_each_other_exactly) {
  const Params params =
      *Params::Parse(kSpecs, {{"rate", "0.30000000000000004"}, {"k", "9007199254740993"}, {"intercept", "0"}, {"rule", "adam"}, {"init", "file:a b"}});
  BOOST_TEST(params.Real("rate") == 0.30000000000000004);
  BOOST_TEST(params.Int("k") == 9007199254740993);
  BOOST_TEST(!params.Bool("intercept"));
  const Params again = *Params::Parse(kSpecs, params.ToText());
  BOOST_TEST(again.ToText() == params.ToText());
  BOOST_TEST(again.Real("rate") == params.Real("rate"));
}

BOOST_AUTO_TEST_CASE(refusals_say_what_the_value_is_and_what_was_expected) {
  BOOST_TEST(Refusal({{"rate", "-1"}}) == "rate is -1, expected a number > 0");
  BOOST_TEST(Refusal({{"rate", "0"}}) == "rate is 0, expected a number > 0");
  BOOST_TEST(Refusal({{"rate", "nan"}}) == "rate is nan, expected a number > 0");
  BOOST_TEST(Refusal({{"rate", "inf"}}) == "rate is inf, expected a number > 0");
  BOOST_TEST(Refusal({{"rate", "1e999"}}) == "rate is 1e999, expected a number > 0");
  BOOST_TEST(Refusal({{"rate", "0.1x"}}) == "rate is 0.1x, expected a number > 0");
  BOOST_TEST(Refusal({{"rate", ""}}) == "rate is empty, expected a number > 0");
  BOOST_TEST(Refusal({{"share", "1.5"}}) == "share is 1.5, expected a number from 0 to 1");
  BOOST_TEST(Refusal({{"k", "0"}}) == "k is 0, expected a whole number >= 1");
  BOOST_TEST(Refusal({{"k", "2.5"}}) == "k is 2.5, expected a whole number >= 1");
  BOOST_TEST(Refusal({{"k", "99999999999999999999"}}) == "k is 99999999999999999999, expected a whole number >= 1");
  BOOST_TEST(Refusal({{"intercept", "yes"}}) == "intercept is yes, expected true or false");
  BOOST_TEST(Refusal({{"rule", "adagard"}}) == "rule is adagard, expected one of sgd, adam");
}

BOOST_AUTO_TEST_CASE(an_unknown_name_gets_the_nearest_one) {
  const auto params = Params::Parse(kSpecs, {{"rat", "1"}});
  BOOST_TEST(absl::IsNotFound(params.status()));
  BOOST_TEST(Message(params.status()) == "unknown parameter 'rat'; did you mean 'rate'?");
}

BOOST_AUTO_TEST_CASE(an_unknown_algorithm_gets_the_nearest_one) {
  const auto algorithm = MakeAlgorithm("logistic_regresion");
  BOOST_TEST(absl::IsNotFound(algorithm.status()));
  BOOST_TEST(Message(algorithm.status()) == "unknown algorithm 'logistic_regresion'; did you mean 'logistic_regression'?");
}

BOOST_AUTO_TEST_CASE(every_algorithm_file_is_in_the_link) {
  const std::vector<std::string> expected = {"k_means", "linear_regression", "logistic_regression", "naive_bayes"};
  const std::vector<std::string> names = AlgorithmNames();
  for (const std::string& name : expected) BOOST_TEST((std::find(names.begin(), names.end(), name) != names.end()), name);
  BOOST_TEST(std::is_sorted(names.begin(), names.end()));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
