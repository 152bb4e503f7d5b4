// Token files.
#include "actors/role.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "actors/text.h"

namespace troupe {
namespace {

constexpr Role kRoles[] = {Role::kRead, Role::kSubmit, Role::kAdmin};

std::optional<Role> ParseRole(std::string_view word) {
  for (const Role role : kRoles) {
    if (word == ToString(role)) return role;
  }
  return std::nullopt;
}

}   // namespace

const char* ToString(Role role) {
  switch (role) {
    case Role::kRead:
      return "read";
    case Role::kSubmit:
      return "submit";
    case Role::kAdmin:
      return "admin";
  }
  return "?";
}

absl::StatusOr<std::vector<RoleToken>> ParseTokens(std::string_view text, std::string_view file) {
  std::vector<RoleToken> tokens;
  bool bare = false;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    const auto wrong = [&](auto&&... what) { return absl::InvalidArgumentError(absl::StrCat(Absl(file), ":", number, ": ", what...)); };
    const std::vector<std::string> words = absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty() || words[0].starts_with('#')) continue;
    if (words.size() > 2) return wrong(words.size(), " words, expected ROLE TOKEN");
    RoleToken token{Role::kAdmin, words.back()};
    if (words.size() == 2) {
      const auto role = ParseRole(words[0]);
      if (!role) return wrong("an unknown role, expected read, submit or admin");   // the word may be half of a token
      token.role = *role;
    }
    if (bare || (words.size() == 1 && !tokens.empty())) return wrong("a second token, expected ROLE TOKEN in each line");
    bare = words.size() == 1;
    if (token.token.size() < kTokenCharactersMin) return wrong("a token of ", token.token.size(), " characters, expected at least ", kTokenCharactersMin);
    if (std::ranges::any_of(tokens, [&token](const RoleToken& other) { return other.token == token.token; }))
      return wrong("a token that stood in a line before");
    tokens.push_back(std::move(token));
  }
  if (tokens.empty()) return absl::InvalidArgumentError(absl::StrCat(Absl(file), ": no token in it"));
  return tokens;
}

}   // namespace troupe
