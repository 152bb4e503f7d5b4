#include "tools/troupe/plan_report.h"

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "actors/text.h"
#include "tools/troupe/json.h"
#include "tools/troupe/table.h"

namespace troupe {

std::string PlanJson(const RunPlan& plan) {
  std::vector<JsonObject> tables;
  for (const TablePlan& table : plan.layout.tables) {
    tables.push_back(JsonObject()
                         .Text("name", table.name)
                         .Text("shape", table.shape)
                         .Number("bytes", table.bytes)
                         .Number("pulled", table.pulled)
                         .Number("pushed", table.pushed)
                         .Number("wire", table.wire)
                         .Number("busiest", table.busiest)
                         .Text("advice", absl::StrJoin(table.advice, "; ")));
  }
  return JsonObject()
      .Whole("shards", plan.layout.shards)
      .Text("why", plan.layout.why)
      .Number("shard_bytes", plan.layout.bytes)
      .Number("utilisation", plan.layout.utilisation)
      .Object("sample", JsonObject().Whole("rows", plan.rows).Whole("batches", plan.batches))
      .List("tables", tables)
      .Line();
}

std::string PlanText(const RunPlan& plan) {
  TextTable summary;
  summary.Row({"sample", absl::StrCat(WithThousands(plan.rows), " rows in ", WithThousands(plan.batches), " batches, ", absl::StrFormat("1/%.3g", plan.growth),
                                      " of the data")});
  summary.Row({"shards", absl::StrCat(plan.layout.shards, ": ", plan.layout.why)});
  summary.Row({"a shard", absl::StrFormat("%s of rows, busy for %.0f %% of the time while workers never wait",
                                          HumanBytes(static_cast<uint64_t>(plan.layout.bytes)), 100 * plan.layout.utilisation)});
  std::string text = summary.Text();
  for (const TablePlan& table : plan.layout.tables) {
    text += absl::StrCat("\ntable ", table.name, ": ", table.shape, "\n");
    TextTable rows(2);
    rows.Row({"memory", HumanBytes(static_cast<uint64_t>(table.bytes))});
    rows.Row({"a batch",
              absl::StrFormat("pulls %.0f rows, pushes %.0f, %s on the wire", table.pulled, table.pushed, HumanBytes(static_cast<uint64_t>(table.wire)))});
    if (plan.layout.shards > 1 && table.busiest > 0) rows.Row({"busiest shard", absl::StrFormat("%.2f times the mean", table.busiest)});
    for (const std::string& advice : table.advice) rows.Row({"note", advice});
    text += rows.Text();
  }
  return text;
}

}   // namespace troupe
