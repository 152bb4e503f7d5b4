#include "algorithms/run/about_tables.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "actors/text.h"

namespace troupe {

std::string AboutTables(std::span<const TableSpec> tables, uint32_t shards, uint32_t replicas) {
  std::string text;
  for (const TableSpec& spec : tables) {
    const bool kept = spec.kept_by != KeptBy::kShards;
    absl::StrAppend(&text, spec.name, "\t", spec.width, "\t", spec.rows.value_or(0), "\t", kept ? 0 : shards, "\t", kept ? 1 : replicas, "\t", spec.rule, "\n");
  }
  return text;
}

std::vector<AboutTable> ReadAboutTables(std::string_view text) {
  std::vector<AboutTable> tables;
  for (const absl::string_view line : absl::StrSplit(Absl(text), '\n')) {
    const std::vector<std::string> fields = absl::StrSplit(line, '\t');
    AboutTable table;
    uint64_t rows = 0;
    if (fields.size() != 6 || fields[0].empty() || !absl::SimpleAtoi(fields[1], &table.width) || !absl::SimpleAtoi(fields[2], &rows) ||
        !absl::SimpleAtoi(fields[3], &table.shards) || !absl::SimpleAtoi(fields[4], &table.replicas)) {
      continue;
    }
    table.name = fields[0];
    if (rows > 0) table.rows = rows;
    table.rule = fields[5];
    tables.push_back(std::move(table));
  }
  return tables;
}

}   // namespace troupe
