// What a token lets its holder do in a cluster, and the file that tokens are kept in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace troupe {

/// Each may do what those before it may.
enum class Role : uint8_t {
  kRead,     ///< look at what is there
  kSubmit,   ///< run jobs and end them
  kAdmin,    ///< everything: nodes, and the processes of jobs
};
const char* ToString(Role role);   ///< "read", "submit", "admin"

struct RoleToken {
  Role role = Role::kAdmin;
  std::string token;
  bool operator==(const RoleToken&) const = default;
};

/// A token shorter than this could be guessed.
inline constexpr size_t kTokenCharactersMin = 16;

/// The tokens of a file's text: one "ROLE TOKEN" a line, or one bare token in the whole file, which is an admin's. Tokens may hold spaces. Empty lines and
/// those that begin with # are passed over.
///
/// InvalidArgument: "FILE:3: ..." a token that is too short or comes twice, more than one for admins; "FILE: ..." no token at all.
/// Messages never hold a token.
absl::StatusOr<std::vector<RoleToken>> ParseTokens(std::string_view text, std::string_view file);

}   // namespace troupe
