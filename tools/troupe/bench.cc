// troupe bench: what parameter tables, links and reading cost here, each beside the machine's own limit for the same work.
#include <cstdio>

#include "absl/strings/str_format.h"
#include "actors/bench_link.h"
#include "actors/status.h"
#include "actors/text.h"
#include "dataflow/bench.h"
#include "ps/bench.h"
#include "ps/bench_actor.h"
#include "ps/bench_all_reduce.h"
#include "ps/bench_encoding.h"
#include "ps/bench_group.h"
#include "ps/bench_processes.h"
#include "ps/bench_rules.h"
#include "tools/troupe/child_roles.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/json.h"
#include "tools/troupe/options.h"
#include "tools/troupe/table.h"

namespace troupe {
namespace {

constexpr char kSummary[] =
    "Measures this machine. ps: pushes to parameter tables; link: pushes to another process and their acknowledgement; dataflow: text and Parquet\n"
    "into batches. Beside each: the limit, a plain loop or a bare socket for the same work in the same run. Ratio 1 = at the limit, more is better.";

absl::StatusOr<std::vector<BenchRow>> Measure(const std::string& what, bool full) {
  if (what == "ps") {
    TROUPE_TRY(std::vector<BenchRow> rows, BenchShard());
    TROUPE_TRY(std::vector<BenchRow> processes, BenchProcesses(BenchProcessesPeerCommand()));
    for (BenchRow& row : processes) rows.push_back(std::move(row));
    for (BenchRow& row : BenchRules(full)) rows.push_back(std::move(row));
    for (BenchRow& row : BenchAllReduce()) rows.push_back(std::move(row));
    TROUPE_TRY(std::vector<BenchRow> group, BenchGroup(BenchGroupPeerCommand()));
    for (BenchRow& row : group) rows.push_back(std::move(row));
    for (BenchRow& row : BenchTables(full)) rows.push_back(std::move(row));
    if (full) {
      for (BenchRow& row : BenchEncodings()) rows.push_back(std::move(row));
    }
    return rows;
  }
  if (what == "link") return BenchLink(BenchLinkPeerCommand(), full);
  if (what == "dataflow") return BenchDataflow(full);
  return absl::InvalidArgumentError(UnknownName("bench", what, std::vector<std::string>{"ps", "link", "dataflow"}));
}

void PrintJson(const std::string& what, const std::vector<BenchRow>& rows) {
  std::vector<JsonObject> list;
  for (const BenchRow& row : rows) {
    list.push_back(JsonObject().Text("name", row.name).Number("value", row.value).Text("unit", row.unit).Number("limit", row.limit).Number("ratio", row.ratio));
  }
  std::printf("%s\n", JsonObject().Text("bench", what).List("rows", list).Line().c_str());
}

void PrintTable(const std::vector<BenchRow>& rows) {
  TextTable table;
  for (const size_t column : {1, 3, 4}) table.AlignRight(column);
  table.Row({"name", "value", "unit", "limit", "ratio"});
  for (const BenchRow& row : rows) {
    table.Row({row.name, absl::StrFormat("%.4g", row.value), row.unit, absl::StrFormat("%.4g", row.limit), absl::StrFormat("%.2f", row.ratio)});
  }
  std::fputs(table.Text().c_str(), stdout);
}

}   // namespace

absl::Status RunBench(const Arguments& arguments) {
  CommandLine line("bench", "ps|link|dataflow [--full] [--json]", kSummary, "  troupe bench ps\n  troupe bench link --json\n");
  std::string what;
  bool full = false, json = false;
  line.Argument("WHAT", &what, "ps, link or dataflow");
  line.Switch("--full", &full, "the long rows too");
  line.Switch("--json", &json, "one line of JSON: {\"bench\",\"rows\":[{\"name\",\"value\",\"unit\",\"limit\",\"ratio\"}]}");
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  TROUPE_TRY(const std::vector<BenchRow> rows, Measure(what, full));
  if (json)
    PrintJson(what, rows);
  else
    PrintTable(rows);
  return absl::OkStatus();
}

}   // namespace troupe
