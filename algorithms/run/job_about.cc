#include "algorithms/run/job_about.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "actors/text.h"

namespace troupe {
namespace {

using Fields = std::vector<std::string>;

std::optional<AboutTable> ReadTable(const Fields& fields) {
  AboutTable table;
  uint64_t rows = 0;
  if (fields.size() != 7 || fields[1].empty() || !absl::SimpleAtoi(fields[2], &table.width) || !absl::SimpleAtoi(fields[3], &rows) ||
      !absl::SimpleAtoi(fields[4], &table.shards) || !absl::SimpleAtoi(fields[5], &table.replicas)) {
    return std::nullopt;
  }
  table.name = fields[1];
  if (rows > 0) table.rows = rows;
  table.rule = fields[6];
  return table;
}

std::optional<AboutSplit> ReadSplit(const Fields& fields) {
  AboutSplit split;
  if (fields.size() != 7 || !absl::SimpleAtoi(fields[1], &split.split) || !absl::SimpleAtoi(fields[2], &split.worker) ||
      !absl::SimpleAtoi(fields[4], &split.percent) || !absl::SimpleAtoi(fields[5], &split.batches) || !absl::SimpleAtoi(fields[6], &split.rows) ||
      (fields[3] != "done" && fields[3] != "running")) {
    return std::nullopt;
  }
  split.done = fields[3] == "done";
  return split;
}

}   // namespace

std::vector<AboutTable> AboutTables(std::span<const TableSpec> tables, uint32_t shards, uint32_t replicas) {
  std::vector<AboutTable> all;
  for (const TableSpec& spec : tables) {
    const bool kept = spec.kept_by != KeptBy::kShards;
    all.push_back({spec.name, spec.width, spec.rows, kept ? 0 : shards, kept ? 1 : replicas, spec.rule});
  }
  return all;
}

std::string WriteAbout(const AboutJob& about) {
  std::string text;
  for (const AboutTable& table : about.tables) {
    absl::StrAppend(&text, "table\t", table.name, "\t", table.width, "\t", table.rows.value_or(0), "\t", table.shards, "\t", table.replicas, "\t", table.rule,
                    "\n");
  }
  if (!about.data.empty()) absl::StrAppend(&text, "data\t", about.data, "\t", about.splits_all, "\t", about.splits_done, "\n");
  for (const AboutSplit& split : about.splits) {
    absl::StrAppend(&text, "split\t", split.split, "\t", split.worker, "\t", split.done ? "done" : "running", "\t", split.percent, "\t", split.batches, "\t",
                    split.rows, "\n");
  }
  return text;
}

AboutJob ReadAbout(std::string_view text) {
  AboutJob about;
  for (const absl::string_view line : absl::StrSplit(Absl(text), '\n')) {
    const Fields fields = absl::StrSplit(line, '\t');
    if (fields[0] == "table") {
      if (auto table = ReadTable(fields)) about.tables.push_back(*std::move(table));
    } else if (fields[0] == "split") {
      if (const auto split = ReadSplit(fields)) about.splits.push_back(*split);
    } else if (uint64_t all = 0, done = 0;
               fields[0] == "data" && fields.size() == 4 && absl::SimpleAtoi(fields[2], &all) && absl::SimpleAtoi(fields[3], &done) && done <= all) {
      about.data = fields[1];
      about.splits_all = all;
      about.splits_done = done;
    }
  }
  return about;
}

}   // namespace troupe
