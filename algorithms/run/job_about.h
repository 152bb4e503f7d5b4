// What a job's driver says of its tables and its data to whoever asks the head (Endpoint::about), for people: troupe status, troupe table list.
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

/// A partition of the data, in the phase that runs.
struct AboutSplit {
  uint32_t split = 0, worker = 0;
  bool done = false;
  uint32_t percent = 0;   ///< of its bytes that are read
  uint64_t batches = 0, rows = 0;
  bool operator==(const AboutSplit&) const = default;
};

struct AboutJob {
  std::vector<AboutTable> tables;
  std::string data;   ///< URI; empty: it reads none
  uint64_t splits_all = 0, splits_done = 0;
  std::vector<AboutSplit> splits;   ///< the first of them
  bool operator==(const AboutJob&) const = default;
};

/// Tables that workers keep have no shards.
std::vector<AboutTable> AboutTables(std::span<const TableSpec> tables, uint32_t shards, uint32_t replicas);
/// A line a table and a line a split.
std::string WriteAbout(const AboutJob& about);
/// Lines that are none are left out: they come from another process, perhaps of another build.
AboutJob ReadAbout(std::string_view text);

}   // namespace troupe
