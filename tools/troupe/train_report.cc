// One report, twice.
#include "tools/troupe/train_report.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "actors/text.h"
#include "tools/troupe/json.h"
#include "tools/troupe/table.h"

namespace troupe {
namespace {

double RowsPerSecond(const TrainReport& report, double seconds) {
  return seconds > 0 ? static_cast<double>(report.rows) * report.epochs / seconds : 0;
}

struct Moves {
  uint64_t ranges = 0;
  double pause_ms = 0, pause_ms_max = 0;   // of all together; the longest
};
Moves MovesOf(const TrainReport& report) {
  Moves all;
  for (const TrainReport::Move& move : report.moves) {
    all.ranges += move.ranges;
    all.pause_ms += move.pause_ms;
    all.pause_ms_max = std::max(all.pause_ms_max, move.pause_ms);
  }
  return all;
}

}   // namespace

std::string TrainJson(const TrainOptions& options, const TrainReport& report, double seconds) {
  JsonObject ledger, json;
  ledger.Whole("read", report.ledger_read).Whole("applied", report.ledger_applied);
  if (options.consistency.all.backup > 0) ledger.Whole("late", report.ledger_late);   // what is in neither of them was left out
  json.Text("algorithm", options.algorithm)
      .Whole("rows", report.rows)
      .Number("seconds", seconds)
      .Number("rows_per_second", RowsPerSecond(report, seconds))
      .Whole("epochs", static_cast<uint64_t>(report.epochs))
      .Whole("restarts", report.restarts)
      .Object("metrics", MetricsObject(report.metrics))
      .Text("model", options.model_uri)
      .Object("ledger", ledger)
      .Whole("bad_rows", report.bad_rows);
  if (options.replicas.bytes_max > 0) json.Object("pulls", JsonObject().Whole("asked", report.rows_pulled).Whole("copied", report.rows_copied));
  if (report.splits_moved + report.splits_taken > 0) {
    json.Object("splits", JsonObject().Whole("moved", report.splits_moved).Whole("taken", report.splits_taken));
  }
  if (options.rebalance_every_s >= 0) {
    const Moves moves = MovesOf(report);
    json.Object("moves", JsonObject()
                             .Whole("ranges", moves.ranges)
                             .Whole("times", report.moves.size())
                             .Whole("failed", report.moves_failed)
                             .Number("pause_ms", moves.pause_ms)
                             .Number("pause_ms_max", moves.pause_ms_max));
  }
  if (report.dropped > 0 || report.evicted > 0) json.Object("limits", JsonObject().Whole("dropped", report.dropped).Whole("evicted", report.evicted));
  return json.Line();
}

std::string TrainTable(const TrainOptions& options, const TrainReport& report, double seconds) {
  TextTable table;
  table.Row({"algorithm", options.algorithm});
  table.Row({"rows", absl::StrCat(WithThousands(report.rows), report.epochs == 1 ? "" : absl::StrCat(" x ", report.epochs, " epochs"))});
  if (report.bad_rows > 0)
    table.Row({"bad rows left out", WithThousands(report.bad_rows) + (report.first_bad.empty() ? "" : ", the first: " + report.first_bad)});
  table.Row({"time", absl::StrCat(HumanSeconds(seconds), ", ", WithThousands(static_cast<uint64_t>(RowsPerSecond(report, seconds))), " rows/s")});
  if (!report.losses.empty() && report.loss_name != "rows")
    table.Row({report.loss_name + ", last epoch", absl::StrFormat("%.6g", report.losses.back().second)});
  for (const auto& [name, value] : report.metrics) table.Row({name + (options.valid ? "" : ", training data"), absl::StrFormat("%.6g", value)});
  table.Row({"restarts", WithThousands(report.restarts)});
  table.Row({"ledger", absl::StrCat(WithThousands(report.ledger_read), " non-zeros read, ", WithThousands(report.ledger_applied), " applied",
                                    report.ledger_late == 0 ? "" : absl::StrCat(", ", WithThousands(report.ledger_late), " too late"))});
  if (options.replicas.bytes_max > 0)
    table.Row({"rows pulled", absl::StrCat(WithThousands(report.rows_pulled), " from shards, ", WithThousands(report.rows_copied), " from copies")});
  if (options.rebalance_every_s >= 0) {
    const Moves moves = MovesOf(report);
    table.Row({"ranges moved",
               absl::StrCat(WithThousands(moves.ranges), " in ", report.moves.size(), " moves",
                            report.moves.empty() ? "" : absl::StrFormat(", pushes waited %.0f ms, at most %.0f ms a move", moves.pause_ms, moves.pause_ms_max),
                            report.moves_failed == 0 ? "" : absl::StrCat("; ", report.moves_failed, " came to nothing"))});
  }
  if (report.dropped > 0) table.Row({"not admitted", WithThousands(report.dropped) + " rows of gradients"});
  if (report.evicted > 0) table.Row({"evicted", WithThousands(report.evicted) + " rows"});
  table.Row({"model", options.model_uri});
  return table.Text();
}

}   // namespace troupe
