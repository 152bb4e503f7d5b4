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
    const absl::string_view all = absl::StripAsciiWhitespace(line);
    if (all.empty() || all.front() == '#') continue;
    const size_t word = std::min(all.find_first_of(" \t"), all.size());
    const auto role = ParseRole(Std(all.substr(0, word)));
    const RoleToken token{role.value_or(Role::kAdmin), std::string(role ? absl::StripLeadingAsciiWhitespace(all.substr(word)) : all)};
    if (bare || (!role && !tokens.empty())) return wrong("a second token, expected ROLE TOKEN in each line, ROLE one of read, submit, admin");
    bare = !role;
    if (token.token.size() < kTokenCharactersMin) return wrong("a token of ", token.token.size(), " characters, expected at least ", kTokenCharactersMin);
    if (std::ranges::any_of(tokens, [&token](const RoleToken& other) { return other.token == token.token; }))
      return wrong("a token that stood in a line before");
    if (token.role == Role::kAdmin && std::ranges::any_of(tokens, [](const RoleToken& other) { return other.role == Role::kAdmin; })) {
      return wrong("a second token for 'admin', expected one, which all members have");
    }
    tokens.push_back(token);
  }
  if (tokens.empty()) return absl::InvalidArgumentError(absl::StrCat(Absl(file), ": no token in it"));
  return tokens;
}

}   // namespace troupe
