#include "ps/consistency.h"

#include <charconv>

#include "absl/strings/str_cat.h"
#include "actors/text.h"

namespace troupe {

absl::StatusOr<Consistency> ParseConsistency(std::string_view text) {
  if (text == "bsp") return Consistency{};
  if (text == "asp") return Consistency{.kind = Consistency::Kind::kAsp};
  if (text.starts_with("ssp:")) {
    const std::string_view number = text.substr(4);
    uint32_t staleness = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), staleness);
    if (error == std::errc() && end == number.data() + number.size() && staleness <= 1'000'000) {
      return Consistency{.kind = Consistency::Kind::kSsp, .staleness = staleness};
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("consistency is '", Absl(text), "', expected bsp, ssp:K or asp"));
}

std::string ToString(const Consistency& consistency) {
  switch (consistency.kind) {
    case Consistency::Kind::kBsp:
      return "bsp";
    case Consistency::Kind::kSsp:
      return absl::StrCat("ssp:", consistency.staleness);
    case Consistency::Kind::kAsp:
      return "asp";
  }
  return "";
}

}   // namespace troupe
