// Values from broken files, made fit for one line of a terminal.
#include "dataflow/internal/bad_text.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace troupe::internal {
namespace {

// Length of the well-formed UTF-8 character at the start of `text`, or 0. Table 3-7 of the Unicode Standard, 15.0.
size_t CharacterLength(std::string_view text) {
  const auto byte = [text](size_t i) -> unsigned { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool overlong = first == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = first == 0xed && byte(1) > 0x9f;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool overlong = first == 0xf0 && byte(1) < 0x90;
    const bool too_large = first == 0xf4 && byte(1) > 0x8f;
    return continues(1) && continues(2) && continues(3) && !overlong && !too_large ? 4 : 0;
  }
  return 0;
}

}   // namespace

std::string Quoted(std::string_view text) {
  constexpr size_t kCharactersMax = 40;
  std::string quoted = "'";
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++characters) {
    if (characters == kCharactersMax) {
      quoted += "...";
      break;
    }
    const size_t length = CharacterLength(text.substr(i));
    const auto byte = static_cast<unsigned char>(text[i]);
    // C1 control characters (U+0080 to U+009F) move a terminal's cursor like the C0 ones.
    const bool control = byte < 0x20 || byte == 0x7f || (byte == 0xc2 && length == 2 && static_cast<unsigned char>(text[i + 1]) < 0xa0);
    if (length == 0 || control) {
      absl::StrAppend(&quoted, "\\x", absl::Hex(byte, absl::kZeroPad2));
      ++i;
    } else {
      quoted.append(text.substr(i, length));
      i += length;
    }
  }
  return quoted + "'";
}

size_t FindInvalidUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t length = CharacterLength(text.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return std::string_view::npos;
}

}   // namespace troupe::internal
