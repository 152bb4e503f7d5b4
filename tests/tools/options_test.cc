#include "tools/troupe/options.h"

#include <boost/test/unit_test.hpp>
#include "absl/strings/str_cat.h"

#include "actors/text.h"

namespace troupe {
namespace {

struct Given {
  std::string data, name;
  std::vector<std::string> params;
  bool json = false;
  absl::StatusOr<bool> Parse(const std::vector<std::string>& arguments) {
    line.Value("--data", "URI", &data, "", true);
    line.Values("--param", "K=V", &params, "");
    line.Switch("--json", &json, "");
    line.Argument("NAME", &name, "", false);
    line.Settings({"workers", "on_bad_row"});
    return line.Parse(arguments);
  }
  std::string Error(const std::vector<std::string>& arguments) { return std::string(Message(Parse(arguments).status())); }
  CommandLine line{"test", "", ""};
};

}   // namespace

BOOST_AUTO_TEST_SUITE(Options)

BOOST_AUTO_TEST_CASE(values_follow_their_flag_with_a_blank_or_an_equals_sign) {
  Given given;
  BOOST_TEST(*given.Parse({"--data=a=b", "--param", "k=1", "kind", "--json", "--param=l=2"}));
  BOOST_TEST(given.data == "a=b");
  BOOST_TEST(given.name == "kind");
  BOOST_TEST(given.json);
  BOOST_TEST(given.params == (std::vector<std::string>{"k=1", "l=2"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_last_of_two_values_counts) {
  Given given;
  BOOST_TEST(*given.Parse({"--data", "a", "--data", "b"}));
  BOOST_TEST(given.data == "b");
}

BOOST_AUTO_TEST_CASE(a_value_may_begin_with_a_minus_sign) {
  Given given;
  BOOST_TEST(*given.Parse({"--data", "-1"}));
  BOOST_TEST(given.data == "-1");
}

BOOST_AUTO_TEST_CASE(settings_given_as_flags_reach_the_configuration) {
  Given given;
  BOOST_TEST(*given.Parse({"--data", "a", "--workers", "3", "--on-bad-row=skip"}));
  const auto storage = MakeMemoryStorage();
  const auto config = given.line.LoadConfig(*storage);
  BOOST_REQUIRE(config.ok());
  BOOST_TEST(config->Integer("workers") == 3);
  BOOST_TEST(config->Text("on_bad_row") == "skip");
  BOOST_TEST(!config->IsSet("seed"));
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_said_in_one_line) {
  BOOST_TEST(Given().Error({"--data", "a", "--jason"}) == "unknown flag '--jason'; did you mean '--json'? (troupe test --help)");
  BOOST_TEST(Given().Error({"--data", "a", "--on-bad-rows=skip"}) == "unknown flag '--on-bad-rows'; did you mean '--on-bad-row'? (troupe test --help)");
  BOOST_TEST(Given().Error({"--data", "a", "-x"}) == "unknown flag '-x' (troupe test --help)");
  BOOST_TEST(Given().Error({"--json"}) == "--data URI is missing (troupe test --help)");
  BOOST_TEST(Given().Error({"--json", "--data"}) == "--data: value is missing (troupe test --help)");
  BOOST_TEST(Given().Error({"--data", "--json"}) == "--data: value is missing (troupe test --help)");
  BOOST_TEST(Given().Error({"--data", "a", "kind", "more"}) == "argument 'more' is one too many (troupe test --help)");
  BOOST_TEST(Given().Error({"--data", ""}) == "an argument is empty (troupe test --help)");
}

BOOST_AUTO_TEST_CASE(whole_numbers_are_checked_against_their_range) {
  uint64_t value = 0;
  BOOST_TEST(ParseWhole("--rows", "10", 1, 10, &value).ok());
  BOOST_TEST(value == 10U);
  BOOST_TEST(Message(ParseWhole("--rows", "11", 1, 10, &value)) == "--rows is '11', expected a whole number from 1 to 10");
  for (const char* text : {"", "x", "1x", "-1", "1.5", "99999999999999999999"}) BOOST_TEST(!ParseWhole("--rows", text, 0, UINT64_MAX, &value).ok());
}

BOOST_AUTO_TEST_CASE(counts_by_name_are_parsed_or_refused_with_what_was_expected) {
  std::map<std::string, uint32_t> counts;
  for (const char* text : {"gpu=2", "a=b=1", "gpu=3"}) BOOST_TEST(ParseCount("--x", text, "N", 1, 3, &counts).ok());
  BOOST_TEST((counts == std::map<std::string, uint32_t>{{"gpu", 3}, {"a=b", 1}}));
  for (const char* text : {"", "gpu", "=1", "gpu=", "gpu=0", "gpu=4", "gpu=x", "gpu=1 "}) {
    const absl::Status status = ParseCount("--x", text, "N", 1, 3, &counts);
    BOOST_TEST((absl::IsInvalidArgument(status) && status.message() == absl::StrCat("--x is '", text, "', expected NAME=N, N from 1 to 3")), status.ToString());
  }
  BOOST_TEST(counts.size() == 2u);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
