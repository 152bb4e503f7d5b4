// What is wrong with a line of text: the parsers' way of reporting it, to which the source adds path and line number.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace troupe::internal {

struct BadLine {
  size_t offset = 0;   ///< of the line's first byte within the parsed text
  std::string what;    ///< what, value, expected: "index is 0, expected >= 1"
};

/// `text` in single quotes as it may stand in a message: at most 40 characters, bytes that are not printable ASCII as \xNN (valid UTF-8 is kept).
std::string Quoted(std::string_view text);

/// Position of the first byte that is not part of valid UTF-8, or npos.
size_t FindInvalidUtf8(std::string_view text);

}   // namespace troupe::internal
