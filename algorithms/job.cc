#include "algorithms/job.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "actors/process_table.h"
#include "actors/status.h"
#include "actors/this_process.h"
#include "algorithms/run/cluster_job.h"
#include "algorithms/run/process_cluster.h"

namespace troupe {

Job::Job(std::vector<std::string> arguments, std::optional<NodeJob> node)
    : arguments_(std::move(arguments)),
      node_(node ? std::make_unique<NodeJob>(*std::move(node)) : nullptr),
      storage_(on_cluster() ? MakeStorage() : nullptr),
      system_(on_cluster() ? nullptr : std::make_unique<System>(System::Options{.compute_threads = Cores()})) {}
Job::~Job() = default;

uint64_t Job::attempt() const {
  return node_ == nullptr ? 1 : node_->attempt;
}

absl::StatusOr<TrainReport> Job::Train(TrainOptions options, const TrainEvents& events) {
  if (training_.exchange(true)) return absl::FailedPreconditionError("two runs of a job at once: expected one after the other");
  const absl::Cleanup over = [this] { training_ = false; };
  if (!options.checkpoint_uri.empty() && !checkpoints_.insert(options.checkpoint_uri).second) {
    return absl::InvalidArgumentError(absl::StrCat(options.checkpoint_uri, ": is the checkpoint of an earlier run of this job, expected one for each run"));
  }
  if (options.cancelled == nullptr) options.cancelled = &StopAsked();
  if (on_cluster()) return TrainOnNodes(std::move(options), events);
  if (options.workers == 0) {
    options.workers = std::min(static_cast<uint32_t>(Cores()), options.splits.value_or(UINT32_MAX));
    options.threads = Cores();
  }
  return troupe::Train(
      options, storage(), [this](const ClusterOptions& cluster) { return MakeLocalCluster(*system_, cluster); }, events);
}

absl::StatusOr<TrainReport> Job::TrainOnNodes(TrainOptions options, const TrainEvents& events) {
  TROUPE_RETURN_IF_ERROR(CheckModelOfJob(options.model_uri));
  TROUPE_TRY(const ClusterShare share, ShareOf(*node_));
  const uint32_t given = options.workers;
  const bool chooses_splits = !options.splits;
  if (given == 0) {
    const uint32_t most = std::min(options.workers_max == 0 ? UINT32_MAX : options.workers_max, options.splits.value_or(UINT32_MAX));
    options.workers = std::min(share.cores, most);
    if (chooses_splits) options.splits = options.workers_max == 0 ? 2 * options.workers : options.workers_max;
    options.workers_max = std::min(options.workers_max == 0 ? *options.splits : options.workers_max, *options.splits);
    options.threads = Cores();
  }
  options.replication_default = std::min(2u, share.nodes);
  if (attempt() > 1 && !options.checkpoint_uri.empty()) options.resume = true;   // its driver before was lost
  if (options.resume && chooses_splits) KeepSplits(given, storage(), options);
  ProcessOptions processes;
  processes.nodes = *node_;
  processes.nodes->folder = JobFolderOf(*node_, options.model_uri);
  processes.log = events.log;
  auto report = troupe::Train(
      options, storage(), [&](const ClusterOptions& cluster) { return MakeProcessCluster(processes, cluster); }, events);
  RemoveEarlierFolders(*node_, options.model_uri);   // now that nobody writes there any more
  return report;
}

int RunJobProgram(int argc, char** argv, JobFunction function) {
  IgnoreWriteSignals();
  const std::string_view word = argc > 1 ? argv[1] : "";
  std::optional<NodeJob> node = JobOfThisProcess();
  const bool executor = (word == "worker" || word == "shard") && !node && ::getenv(kJobTokenVariable) != nullptr;   // else they are the program's own words
  if (executor) return RunExecutor(argc, argv);
  if (node) EndWithParent(::getppid());   // with its node: the job is then begun again elsewhere
  CatchStopSignals();
  absl::Status status;
  {
    Job job(std::vector<std::string>(argv + std::min(argc, 1), argv + argc), std::move(node));
    status = function(job);
  }
  status.Update(FlushOutput());
  if (!status.ok()) std::fprintf(stderr, "%s\n", absl::StrReplaceAll(status.message(), {{"\n", " "}}).c_str());
  return ExitCode(status);
}

}   // namespace troupe
