// Text between the standard library, Abseil and people. Debian's Abseil has its own absl::string_view, so public headers use std:: types and convert here.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace troupe {

inline absl::string_view Absl(std::string_view text) {
  return {text.data(), text.size()};
}
inline std::string_view Std(absl::string_view text) {
  return {text.data(), text.size()};
}
inline std::string_view Message(const absl::Status& status) {
  return Std(status.message());
}

/// The same kind of error, with `prefix` and ": " before its message. Context is added once, at a layer's boundary.
absl::Status WithContext(const absl::Status& status, std::string_view prefix);

/// The candidate nearest to `word` by edit distance, if near enough for a slip of the hand (distance <= max(1, 1/3 of the longer)); else one it starts.
std::optional<std::string> NearestName(std::string_view word, std::span<const std::string> candidates);

/// "unknown KIND 'WORD'; did you mean 'NEAREST'?" or "unknown KIND 'WORD'; known: a, b, c".
std::string UnknownName(std::string_view kind, std::string_view word, std::span<const std::string> candidates);

/// "256M", "1.5G", "4096" (bytes), binary multiples K M G T, optional trailing B/iB. InvalidArgument names the text.
absl::Status ParseBytes(std::string_view text, uint64_t* bytes);
/// "200ms", "5s", "2m", "1h", or a plain number of seconds; finite, >= 0. InvalidArgument names the text.
absl::Status ParseDuration(std::string_view text, double* seconds);

/// "1,234,567"
std::string WithThousands(uint64_t number);
/// "350 MB", "1.2 GB" (decimal units, as disks and networks are sold).
std::string HumanBytes(uint64_t bytes);
/// "0.83 s", "12 s", "3 m 20 s", "2 h 05 m".
std::string HumanSeconds(double seconds);

/// The shortest text that reads back as the same float (std::to_chars).
std::string Exact(float value);
std::string Exact(double value);

}   // namespace troupe
