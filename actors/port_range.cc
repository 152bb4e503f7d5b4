#include "actors/port_range.h"

#include <charconv>

namespace troupe {

std::optional<PortRange> ParsePortRange(std::string_view text) {
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  PortRange range;
  const char *middle = text.data() + dash, *end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), middle, range.first), last = std::from_chars(middle + 1, end, range.last);
  const bool whole = first.ec == std::errc() && first.ptr == middle && last.ec == std::errc() && last.ptr == end;
  return whole && range.first > 0 && range.first <= range.last ? std::optional(range) : std::nullopt;
}

}   // namespace troupe
