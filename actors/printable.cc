#include "actors/printable.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "actors/text.h"

namespace troupe {

absl::Status CheckPrintable(std::string_view what, std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool above_ascii = byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;   // U+0080 .. U+009F
    if (byte >= 0x20 && byte != 0x7f && !above_ascii) continue;
    return absl::InvalidArgumentError(absl::StrCat(Absl(what), " is '", absl::Utf8SafeCEscape(Absl(text)), "', expected no control characters"));
  }
  return absl::OkStatus();
}

}   // namespace troupe
