// A request that has found nobody: all places of a node have been tried, and at none of them does anybody listen. Unlike a node that is there and silent, this
// is worth telling people at once. An error keeps no more than code and words on its way through actors, so it is known by its words.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace troupe {

inline constexpr char kUnreachable[] = " cannot be reached: ";

/// name: whom, "node 7"; why: of each place. DeadlineExceeded: it may come.
inline absl::Status Unreachable(const std::string& name, const std::string& why) {
  return absl::DeadlineExceededError(absl::StrCat(name, kUnreachable, why));
}
inline bool IsUnreachable(const absl::Status& status) {
  return absl::IsDeadlineExceeded(status) && absl::StrContains(status.message(), kUnreachable);
}
/// What was said of each place.
inline std::string WhyUnreachable(const absl::Status& status) {
  const std::string text(status.message());
  const size_t at = text.find(kUnreachable);
  return at == std::string::npos ? text : text.substr(at + sizeof kUnreachable - 1);
}

}   // namespace troupe
