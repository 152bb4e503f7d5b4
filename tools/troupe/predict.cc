// troupe predict: one number a row, in the input's order, as a file that is whole or not there.
#include <cstdio>

#include "actors/status.h"
#include "actors/text.h"
#include "actors/this_process.h"
#include "algorithms/run/scorer.h"
#include "dataflow/prediction_writer.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/json.h"
#include "tools/troupe/model_data.h"

namespace troupe {
namespace {

constexpr char kExamples[] =
    "  troupe predict --model model --data new.svm --out predictions.txt\n"
    "  troupe predict --model model --data new.parquet --out predictions.csv.gz\n";

}   // namespace

absl::Status RunPredict(const Arguments& arguments) {
  CommandLine line("predict", "--model DIR --data URI --out URI [FLAGS]",
                   "Writes one prediction a row, in the input's order: the probability of label 1, the value, or the number of the cluster.", kExamples);
  ModelData data;
  std::string out;
  bool json = false;
  data.Declare(line);
  line.Value("--out", "URI", &out, ".csv and .parquet: a column named prediction; anything else: one number a line; text also as .gz or .zst", true);
  line.Settings({"workers"});
  line.Switch("--json", &json, "the result as one line of JSON: {\"rows\",\"out\"}");
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  TROUPE_RETURN_IF_ERROR(data.Load());
  TROUPE_TRY(const Config config, line.LoadConfig(*data.storage));
  TROUPE_RETURN_IF_ERROR(data.Open(LabelKind::kNone, false));
  CatchStopSignals();
  TROUPE_TRY(const std::unique_ptr<PredictionWriter> writer, PredictionWriter::Open(out));
  ScoreOptions options{.source = data.source, .threads = static_cast<int>(Workers(config)), .predictions = {}};
  options.predictions = [&writer](std::span<const float> predictions) { return StopAsked() ? Stopped() : writer->Write(predictions); };
  TROUPE_RETURN_IF_ERROR(Score(data.model->predictor(), data.model->algorithm().task(), options).status());
  TROUPE_RETURN_IF_ERROR(writer->Finish());
  if (json)
    std::printf("%s\n", JsonObject().Whole("rows", writer->rows()).Text("out", out).Line().c_str());
  else
    std::printf("%s predictions in %s\n", WithThousands(writer->rows()).c_str(), out.c_str());
  return absl::OkStatus();
}

}   // namespace troupe
