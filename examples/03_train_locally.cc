// Train locally: generated data, a training run in this process, its metrics; the saved model is loaded again and scores rows that it has not seen.
#include <cstdio>
#include <string>

#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/system.h"
#include "algorithms/model.h"
#include "algorithms/run/scorer.h"
#include "algorithms/run/trainer.h"

using namespace troupe;   // an example may

namespace {

/// What `troupe train` does. Rows 0 .. 19,999 of a made-up click log, a kind of data for which no file is needed; a path works as well.
absl::Status TrainModel(System& system, const std::string& model_uri) {
  TrainOptions options;
  options.algorithm = "logistic_regression";   // `troupe algorithms` lists them, with their parameters
  options.params = {{"learning_rate", "0.1"}};
  options.data.uri = "generate:ctr?rows=20000&seed=1";
  options.epochs = 3;
  options.workers = 2;   // partition actors: each reads, parses and learns from its splits
  options.shards = 2;    // parameter shards: each owns half of the weights
  options.model_uri = model_uri;
  const ClusterFactory here = [&system](const ClusterOptions& cluster) { return MakeLocalCluster(system, cluster); };   // or MakeProcessCluster
  TROUPE_TRY(TrainReport report, Train(options, system.storage(), here, {}));
  std::printf("trained on %llu rows, %d epochs\n", static_cast<unsigned long long>(report.rows), report.epochs);
  for (const auto& [epoch, loss] : report.losses) std::printf("  epoch %d: %s %.2f\n", epoch, report.loss_name.c_str(), loss);
  for (const auto& [name, value] : report.metrics) std::printf("  %s %.2f\n", name.c_str(), value);
  std::printf("  ledger: read - applied = %lld\n", static_cast<long long>(report.ledger_read - report.ledger_applied));
  return absl::OkStatus();
}

/// What `troupe predict` and `troupe evaluate` do, in one.
absl::Status UseModel(Storage& storage, const std::string& model_uri) {
  TROUPE_TRY(const std::unique_ptr<const Model> model, LoadModel(storage, model_uri));
  SourceOptions data;
  data.uri = "generate:ctr?rows=5000&seed=1&first=20000";
  data.expected = model->manifest().schema;
  TROUPE_TRY(const std::shared_ptr<const Source> source, OpenSource(data));
  size_t clicks_expected = 0, rows = 0;
  ScoreOptions options{.source = source, .threads = 2, .predictions = {}};
  options.predictions = [&](std::span<const float> predictions) {   // in the order of the rows
    for (const float probability : predictions) clicks_expected += probability > 0.5F ? 1 : 0;
    rows += predictions.size();
    return absl::OkStatus();
  };
  TROUPE_TRY(const ScoreResult score, Score(model->predictor(), model->algorithm().task(), options));
  std::printf("predicted %zu new rows, some of them clicks: %s\n", rows, clicks_expected > 0 && clicks_expected < rows ? "yes" : "no");
  for (const auto& [name, value] : score.metrics) std::printf("  %s %.2f\n", name.c_str(), value);
  return absl::OkStatus();
}

absl::Status Run() {
  System system({.compute_threads = 2});
  TROUPE_RETURN_IF_ERROR(TrainModel(system, "mem:model"));   // mem: lives as long as the system; a path is a folder on the disk
  return UseModel(system.storage(), "mem:model");
}

}   // namespace

int main() {
  const absl::Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return troupe::ExitCode(status);
}
