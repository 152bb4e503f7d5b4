// Ports that processes of a host may listen at, where a firewall lets only these through.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace troupe {

struct PortRange {
  uint16_t first = 0, last = 0;   ///< 1 <= first <= last
};

/// Of "FIRST-LAST". Nothing: it is something else.
std::optional<PortRange> ParsePortRange(std::string_view text);

}   // namespace troupe
