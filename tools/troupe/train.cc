// troupe train: from text file to saved model, in this process or in several.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "actors/log.h"
#include "actors/process_table.h"
#include "actors/status.h"
#include "actors/system.h"
#include "actors/text.h"
#include "actors/this_process.h"
#include "algorithms/registry.h"
#include "algorithms/run/checkpoint.h"
#include "algorithms/run/cluster_job.h"
#include "algorithms/run/plan_run.h"
#include "algorithms/run/process_cluster.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/plan_report.h"
#include "tools/troupe/progress.h"
#include "tools/troupe/train_flags.h"
#include "tools/troupe/train_on_cluster.h"
#include "tools/troupe/train_report.h"

namespace troupe {
namespace {

constexpr char kSummary[] =
    "Trains a model: workers read splits of the data, shards hold the model's tables. Settings may also come from a file and the environment\n"
    "(troupe config explain). After an error the model folder is as it was. On a cluster all nodes must reach data, model and checkpoint under the paths\n"
    "given; the job goes on when this command is killed, and is stopped when it is interrupted.";
constexpr char kExamples[] =
    "  troupe train --algorithm logistic_regression --data clicks.svm --valid test.svm --model model\n"
    "  troupe train --algorithm logistic_regression --data clicks.csv.gz --label clicked --epochs 5 --param learning_rate=0.05 --model model\n"
    "  troupe train --algorithm naive_bayes --data clicks.svm --processes --workers 4 --shards 2 --model model\n"
    "  troupe train --algorithm logistic_regression --data /shared/clicks.svm --model /shared/model --cluster 127.0.0.1:7460 --token-file token\n"
    "  troupe train --algorithm k_means --data points.parquet --param k=8 --epochs 20 --model model --json\n";

absl::StatusOr<Log> OpenLog(const std::string& path, const Config& config, const Clock* clock) {
  if (path.empty()) return Log();
  TROUPE_TRY(const Log::Level level, Log::ParseLevel(config.Text("log_level")));
  return Log::Open(path, level, "train", clock);
}

/// Shows progress to people, and notes epochs and restarts in the log. Calls come one at a time, from threads of the run.
class Watch {
 public:
  explicit Watch(const Log& log) : log_(log) {}
  void See(const TrainProgress& now) {
    progress_.Show(now);
    if (now.epoch != epoch_) log_.Info("epoch", {{"epoch", now.epoch}, {"phase", now.phase}, {"rows", now.rows}});
    if (now.restarts != restarts_) log_.Warning("restart", {{"restarts", now.restarts}, {"rows", now.rows}});
    epoch_ = now.epoch;
    restarts_ = now.restarts;
  }

 private:
  const Log& log_;
  Progress progress_;
  int epoch_ = -1;
  uint64_t restarts_ = 0;
};

ProcessOptions ProcessOptionsOf(const Config& config, const Log& log) {
  ProcessOptions options;
  options.tmp = config.Text("tmp");
  options.snapshot_interval = std::chrono::duration_cast<std::chrono::milliseconds>(config.Duration("snapshot_interval"));
  options.request_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(config.Duration("request_timeout"));
  options.links = config.Text("links") == "tcp" ? Links::kTcp : Links::kUnix;
  options.restart.intensity = static_cast<uint32_t>(config.Integer("restart_intensity"));
  options.restart.period = config.Duration("restart_period");
  options.restarted = [&log](const std::string& child) { log.Warning("replaced", {{"child", child}}); };
  options.log = [&log](const std::string& what) { log.Info("network", {{"what", what}}); };
  return options;
}

/// How the tables would be laid out; `options` then hold as many shards, and the data, which are open.
absl::StatusOr<RunPlan> MakePlan(TrainOptions& options, bool processes) {
  TROUPE_TRY(const std::unique_ptr<Algorithm> algorithm, MakeAlgorithm(options.algorithm));
  TROUPE_TRY(options.opened, OpenSource(TrainingData(options, *algorithm)));
  TROUPE_TRY(RunPlan plan, PlanRun(options, options.opened, processes, static_cast<uint32_t>(Cores())));
  options.shards = plan.layout.shards;
  return plan;
}

/// As many as the run has that is resumed, else as a plan finds; one, where the data cannot be planned with: what is wrong with them training will say.
void ChooseShards(TrainOptions& options, bool processes, Storage& storage, const Log& log) {
  if (options.resume) {
    const auto found = CheckpointFolder(storage, options.checkpoint_uri, 1).Find(options.accept_loss);
    if (found.ok() && *found && (*found)->checkpoint.shards > 0) {
      options.shards = (*found)->checkpoint.shards;
      return;
    }
  }
  const absl::StatusOr<RunPlan> plan = MakePlan(options, processes);
  options.shards = plan.ok() ? plan->layout.shards : 1;
  const std::string why = plan.ok() ? plan->layout.why : "no plan was found: " + std::string(Message(plan.status()));
  log.Info("plan", {{"shards", options.shards}, {"why", why}});
  std::printf("shards: %u, for %s\n", options.shards, why.c_str());
}

absl::StatusOr<TrainReport> RunTraining(const TrainOptions& options, bool processes, const std::optional<NodeJob>& job, const Config& config, Storage& storage,
                                        const Log& log) {
  Watch watch(log);
  std::optional<System> system;   // outlives the cluster, which Train owns
  const ClusterFactory make_cluster = [&](const ClusterOptions& cluster) -> absl::StatusOr<std::unique_ptr<Cluster>> {
    if (job) {
      ProcessOptions on_nodes = ProcessOptionsOf(config, log);
      on_nodes.nodes = job;
      on_nodes.nodes->folder = JobFolderOf(*job, options.model_uri);
      return MakeProcessCluster(on_nodes, cluster);
    }
    if (processes) return MakeProcessCluster(ProcessOptionsOf(config, log), cluster);
    system.emplace(System::Options{.compute_threads = Cores()});
    return MakeLocalCluster(*system, cluster);
  };
  return Train(options, storage, make_cluster,
               {.progress = [&watch](const TrainProgress& progress) { watch.See(progress); },
                .log =
                    [&log](std::string what) {
                      log.Info("run", {{"what", what}});
                    },
                .warn =
                    [&log](std::string what) {
                      log.Warning("checkpoint", {{"what", what}});
                      std::fprintf(stderr, "%s\n", what.c_str());
                    }});
}

}   // namespace

absl::Status RunTrain(const Arguments& arguments) {
  CommandLine line("train", "--algorithm NAME --data URI --model DIR [FLAGS]", kSummary, kExamples);
  TrainFlags flags;
  flags.Declare(line);
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  const std::unique_ptr<Storage> storage = MakeStorage();
  TROUPE_TRY(Config config, line.LoadConfig(*storage));
  const std::optional<NodeJob> job = JobOfThisProcess();
  if (!job && flags.OnCluster() && !flags.explain) {
    TROUPE_RETURN_IF_ERROR(flags.ToOptions(config).status());   // what is wrong with the flags is known at once
    return TrainOnCluster(flags, arguments);
  }
  ClusterShare share;
  if (job) {
    EndWithParent(::getppid());   // with its node: the job is then begun again elsewhere
    TROUPE_TRY(share, ShareOf(*job));
  }
  TROUPE_TRY(TrainOptions options, flags.ToOptions(config, job ? share.cores : 0));
  options.replication_default = std::min(2u, share.nodes);
  if (job && job->attempt > 1 && !options.checkpoint_uri.empty()) options.resume = true;   // its driver before was lost
  if (options.resume && config.Integer("splits") == 0) KeepSplits(static_cast<uint32_t>(config.Integer("workers")), *storage, options);
  const RealClock clock;
  TROUPE_TRY(const Log log, OpenLog(flags.log, config, &clock));
  if (!config.Text("tmp").empty()) ::setenv("TMPDIR", config.Text("tmp").c_str(), 1);   // decompressed text lies there too
  if (flags.explain) {
    if (!config.IsSet("shards")) options.shards = 0;
    TROUPE_TRY(const RunPlan plan, MakePlan(options, flags.processes));
    std::fputs((flags.json ? PlanJson(plan) + "\n" : PlanText(plan)).c_str(), stdout);
    return absl::OkStatus();
  }
  if (options.shards == 0) ChooseShards(options, flags.processes, *storage, log);
  options.cancelled = &StopAsked();
  CatchStopSignals();
  log.Info(
      "start",
      {{"algorithm", options.algorithm}, {"data", options.data.uri}, {"workers", options.workers}, {"shards", options.shards}, {"processes", flags.processes}});
  const absl::StatusOr<TrainReport> report = RunTraining(options, flags.processes, job, config, *storage, log);
  if (job) RemoveEarlierFolders(*job, options.model_uri);   // now that nobody writes there any more
  if (!report.ok()) {
    log.Error("failed", {{"error", Message(report.status())}});
    return report.status();
  }
  const double seconds = std::round(SecondsSinceStart() * 1000) / 1000;
  log.Info("done", {{"rows", report->rows}, {"bad_rows", report->bad_rows}, {"restarts", report->restarts}, {"seconds", seconds}});
  if (flags.json)
    std::printf("%s\n", TrainJson(options, *report, seconds).c_str());
  else
    std::fputs(TrainTable(options, *report, seconds).c_str(), stdout);
  return absl::OkStatus();
}

}   // namespace troupe
