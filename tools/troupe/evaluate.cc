// troupe evaluate: a model's metrics on a data set.
#include <cstdio>

#include "actors/status.h"
#include "actors/text.h"
#include "algorithms/run/scorer.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/json.h"
#include "tools/troupe/model_data.h"
#include "tools/troupe/table.h"

namespace troupe {
namespace {

constexpr char kExamples[] =
    "  troupe evaluate --model model --data test.svm\n"
    "  troupe evaluate --model model --data test.csv --label clicked --json\n";

void Print(const ScoreResult& result, bool json) {
  if (json) {
    const auto object = JsonObject().Whole("rows", result.rows).Whole("bad_rows", result.bad_rows).Object("metrics", MetricsObject(result.metrics));
    std::printf("%s\n", object.Line().c_str());
    return;
  }
  TextTable table;
  table.Row({"rows", WithThousands(result.rows)});
  if (result.bad_rows != 0) table.Row({"bad rows left out", WithThousands(result.bad_rows)});
  for (const auto& [name, value] : result.metrics) table.Row({name, Exact(static_cast<float>(value))});
  std::fputs(table.Text().c_str(), stdout);
}

}   // namespace

absl::Status RunEvaluate(const Arguments& arguments) {
  CommandLine line("evaluate", "--model DIR --data URI [FLAGS]",
                   "Measures a model: AUC, log loss and accuracy (0/1 labels), RMSE and R2 (numbers), or inertia (clusters).", kExamples);
  ModelData data;
  bool json = false;
  data.Declare(line);
  line.Value("--label", "COL", &data.label, "label column of CSV and Parquet (default: the model's)");
  line.Settings({"workers", "on_bad_row"});
  line.Switch("--json", &json, "the result as one line of JSON: {\"rows\",\"bad_rows\",\"metrics\":{..}}");
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  TROUPE_RETURN_IF_ERROR(data.Load());
  TROUPE_TRY(const Config config, line.LoadConfig(*data.storage));
  TROUPE_RETURN_IF_ERROR(data.Open(data.model->manifest().labels, config.Text("on_bad_row") == "skip"));
  const ScoreOptions options{.source = data.source, .threads = static_cast<int>(Workers(config)), .predictions = {}};
  TROUPE_TRY(const ScoreResult result, Score(data.model->predictor(), data.model->algorithm().task(), options));
  Print(result, json);
  return absl::OkStatus();
}

}   // namespace troupe
