// troupe generate: a data set of a known kind, the same for the same seed on every machine.
#include "dataflow/generator.h"

#include <algorithm>
#include <cstdio>

#include "actors/status.h"
#include "actors/text.h"
#include "actors/this_process.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/json.h"
#include "tools/troupe/options.h"

namespace troupe {
namespace {

constexpr char kExamples[] =
    "  troupe generate ctr --rows 1000000 --seed 1 --out clicks.svm\n"
    "  troupe generate ctr --rows 100000 --seed 1 --first 1000000 --out test.svm   (new rows of the same kind)\n"
    "  troupe generate clusters --rows 200000 --out clusters.parquet\n";

constexpr char kSummary[] =
    "Makes a data set. ctr: a sparse click log (.svm); dense: 30 numbers and a 0/1 label (.svm .csv .parquet); clusters: stretched groups\n"
    "(.csv .parquet); ratings: user, item, rating (.csv .parquet); text: lines of words (.txt). Text also as .gz or .zst.";

}   // namespace

absl::Status RunGenerate(const Arguments& arguments) {
  CommandLine line("generate", "KIND --rows N --out URI [FLAGS]", kSummary, kExamples);
  GenerateOptions options;
  std::string rows, first = "0";
  bool json = false;
  line.Argument("KIND", &options.kind, "ctr, dense, clusters, ratings or text");
  line.Value("--rows", "N", &rows, "rows to write", true);
  line.Value("--out", "URI", &options.uri, "file to write; its extension decides the format", true);
  line.Value("--first", "N", &first, "number of the first row (default 0)");
  line.Settings({"seed", "workers"});
  line.Switch("--json", &json, "the result as one line of JSON: {\"rows\",\"bytes\",\"nonzeros\",\"out\"}");
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  TROUPE_TRY(const Config config, line.LoadConfig(*MakeStorage()));
  constexpr uint64_t kRowsMax = uint64_t{1} << 48;
  TROUPE_RETURN_IF_ERROR(ParseWhole("--rows", rows, 1, kRowsMax, &options.rows));
  TROUPE_RETURN_IF_ERROR(ParseWhole("--first", first, 0, kRowsMax, &options.first));
  options.seed = static_cast<uint64_t>(config.Integer("seed"));
  options.threads = static_cast<int>(Workers(config));
  options.cancelled = &StopAsked();
  CatchStopSignals();
  TROUPE_TRY(const GenerateReport report, Generate(options));
  if (json) {
    const auto object = JsonObject().Whole("rows", report.rows).Whole("bytes", report.bytes).Whole("nonzeros", report.nonzeros).Text("out", options.uri);
    std::printf("%s\n", object.Line().c_str());
  } else {
    std::printf("%s rows, %s in %s\n", WithThousands(report.rows).c_str(), HumanBytes(report.bytes).c_str(), options.uri.c_str());
  }
  return absl::OkStatus();
}

}   // namespace troupe
