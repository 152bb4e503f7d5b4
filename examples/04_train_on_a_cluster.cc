// A program of your own as a job: it trains two models and keeps the better one. Run by hand it works in this process; the same program, as it is, runs on a
// cluster, where each worker and each shard is a process on some node, which is replaced when it or its node is lost:
//
//   troupe node --head --token-file token                                      # prints where it listens
//   troupe node --join 127.0.0.1:7460 --token-file token                       # on each host
//   troupe submit --cluster 127.0.0.1:7460 --token-file token build/release/bin/04_train_on_a_cluster -- /shared/models /shared/checkpoints
#include <cstdio>
#include <string>

#include "actors/status.h"
#include "algorithms/job.h"

using namespace troupe;   // an example may

namespace {

/// The metric of this name on rows that the run has not seen.
double MetricOf(const TrainReport& report, const std::string& name) {
  for (const auto& [metric, value] : report.metrics) {
    if (metric == name) return value;
  }
  return 0;
}

absl::Status BestOfTwo(Job& job) {
  const std::string folder = job.arguments().empty() ? "mem:" : job.arguments()[0] + "/";   // on a cluster a path that all nodes reach
  TrainOptions options;
  options.algorithm = "logistic_regression";
  options.data.uri = "generate:ctr?rows=20000&seed=1";   // data that need no file; a path works as well
  options.valid = options.data;
  options.valid->uri = "generate:ctr?rows=5000&seed=1&first=20000";
  options.workers = 0;   // one for each core: of this machine, or of all nodes
  options.checkpoint_every_s = 0.2;
  std::string best;
  double best_auc = 0;
  for (const std::string rate : {"0.0001", "0.1"}) {
    options.params = {{"learning_rate", rate}};
    options.model_uri = folder + "rate-" + rate;
    if (job.arguments().size() > 1) options.checkpoint_uri = job.arguments()[1] + "/rate-" + rate;   // where a lost driver's successor goes on
    TROUPE_TRY(const TrainReport report, job.Train(options));
    const double auc = MetricOf(report, "auc");
    std::printf("learning rate %s: %llu rows, auc %.2f\n", rate.c_str(), static_cast<unsigned long long>(report.rows), auc);
    if (auc > best_auc) {
      best_auc = auc;
      best = options.model_uri;
    }
  }
  std::printf("the better model, trained %s: %s\n", job.on_cluster() ? "on the cluster" : "in this process", best.c_str());
  return absl::OkStatus();
}

}   // namespace

TROUPE_JOB(BestOfTwo);
