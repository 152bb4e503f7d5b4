// What a job's driver says of its tables to whoever asks the head (Endpoint::about), for people: troupe table list.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ps/table_spec.h"

namespace troupe {

struct AboutTable {
  std::string name;
  uint32_t width = 1;
  std::optional<uint64_t> rows;   ///< of a dense table
  uint32_t shards = 1, replicas = 1;
  std::string rule;
  bool operator==(const AboutTable&) const = default;
};

/// A line a table. Those that workers keep have no shards.
std::string AboutTables(std::span<const TableSpec> tables, uint32_t shards, uint32_t replicas);
/// Lines that are none are left out: they come from another process, perhaps of a later build.
std::vector<AboutTable> ReadAboutTables(std::string_view text);

}   // namespace troupe
