#include "actors/role.h"

#include <boost/test/unit_test.hpp>

#include "actors/text.h"

namespace troupe {
namespace {

std::string ErrorOf(std::string_view text) {
  const auto tokens = ParseTokens(text, "FILE");
  if (tokens.ok()) return "OK";
  BOOST_TEST((tokens.status().code() == absl::StatusCode::kInvalidArgument));
  BOOST_TEST(Message(tokens.status()).find("0123456789") == std::string_view::npos);   // never a token
  return std::string(Message(tokens.status()));
}

}   // namespace

BOOST_AUTO_TEST_SUITE(RoleSuite)

BOOST_AUTO_TEST_CASE(one_bare_token_is_an_admins) {
  const std::vector<RoleToken> expected{{Role::kAdmin, "0123456789abcdef"}};
  for (const char* text : {"0123456789abcdef", "0123456789abcdef\n", "\n  0123456789abcdef \r\n\n", "# ours\n0123456789abcdef"}) {
    const auto tokens = ParseTokens(text, "FILE");
    BOOST_TEST_REQUIRE(tokens.ok());
    BOOST_TEST((*tokens == expected));
  }
}

BOOST_AUTO_TEST_CASE(a_line_each_with_its_role) {
  const auto tokens = ParseTokens("read 0123456789abcdef0\n# people\nsubmit\t0123456789abcdef1\n\nadmin 0123456789abcdef2\n", "FILE");
  BOOST_TEST_REQUIRE(tokens.ok());
  BOOST_TEST(
      (*tokens == std::vector<RoleToken>{{Role::kRead, "0123456789abcdef0"}, {Role::kSubmit, "0123456789abcdef1"}, {Role::kAdmin, "0123456789abcdef2"}}));
}

BOOST_AUTO_TEST_CASE(a_token_may_hold_spaces) {
  BOOST_TEST((ParseTokens("a token that is long enough\n", "FILE").value() == std::vector<RoleToken>{{Role::kAdmin, "a token that is long enough"}}));
  BOOST_TEST((ParseTokens("read  a token that is long enough", "FILE").value() == std::vector<RoleToken>{{Role::kRead, "a token that is long enough"}}));
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_said_with_its_line_and_without_the_token) {
  BOOST_TEST(ErrorOf("") == "FILE: no token in it");
  BOOST_TEST(ErrorOf("# 0123456789abcdef\n \n") == "FILE: no token in it");
  BOOST_TEST(ErrorOf("0123456789abcde") == "FILE:1: a token of 15 characters, expected at least 16");
  BOOST_TEST(ErrorOf("\nread 0123456789") == "FILE:2: a token of 10 characters, expected at least 16");
  BOOST_TEST(ErrorOf("read") == "FILE:1: a token of 0 characters, expected at least 16");
  BOOST_TEST(ErrorOf("read 0123456789abcdeg\nroot 0123456789abcdef") ==
             "FILE:2: a second token, expected ROLE TOKEN in each line, ROLE one of read, submit, admin");
  BOOST_TEST(ErrorOf("0123456789abcdef\n0123456789abcdeg") == "FILE:2: a second token, expected ROLE TOKEN in each line, ROLE one of read, submit, admin");
  BOOST_TEST(ErrorOf("0123456789abcdef\nread 0123456789abcdeg") == "FILE:2: a second token, expected ROLE TOKEN in each line, ROLE one of read, submit, admin");
  BOOST_TEST(ErrorOf("read 0123456789abcdef\n0123456789abcdeg") == "FILE:2: a second token, expected ROLE TOKEN in each line, ROLE one of read, submit, admin");
  BOOST_TEST(ErrorOf("admin 0123456789abcdef\nadmin 0123456789abcdeg") == "FILE:2: a second token for 'admin', expected one, which all members have");
  BOOST_TEST(ErrorOf("read 0123456789abcdef\nadmin 0123456789abcdef") == "FILE:2: a token that stood in a line before");
}

BOOST_AUTO_TEST_CASE(roles_have_an_order) {
  BOOST_TEST((Role::kRead < Role::kSubmit));
  BOOST_TEST((Role::kSubmit < Role::kAdmin));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
