#include "algorithms/run/cluster_job.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "actors/cluster/cluster_link.h"
#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/text.h"
#include "algorithms/run/checkpoint.h"

namespace troupe {
namespace {

std::string FolderOfAttempt(const NodeJob& job, const std::string& model, uint64_t attempt) {
  std::filesystem::path path = std::filesystem::absolute(LocalPath(model).value_or(model)).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return (path.parent_path() / absl::StrCat(".", path.filename().string(), ".job-", job.job, ".", attempt)).string();
}

}   // namespace

std::string JobFolderOf(const NodeJob& job, const std::string& model) {
  return FolderOfAttempt(job, model, job.attempt);
}
void RemoveEarlierFolders(const NodeJob& job, const std::string& model) {
  std::error_code ignored;
  for (uint64_t attempt = 1; attempt < job.attempt; ++attempt) std::filesystem::remove_all(FolderOfAttempt(job, model, attempt), ignored);
}

void KeepSplits(uint32_t workers_given, Storage& storage, TrainOptions& options) {
  const absl::StatusOr<Checkpoint> checkpoint = ReadCheckpoint(storage, options.checkpoint_uri);
  uint32_t splits = 0;
  if (!checkpoint.ok() || !checkpoint->identity.contains("splits") || !absl::SimpleAtoi(checkpoint->identity.at("splits"), &splits) || splits == 0) return;
  if (workers_given > splits) return;
  options.splits = splits;
  options.workers = std::min(options.workers, splits);
  options.workers_max = std::min(std::max(options.workers_max, options.workers), splits);
}

absl::Status CheckModelOfJob(const std::string& model) {
  return WithContext(LocalPath(model).status(), "the model of a job of a cluster is a path, and the job's folder is beside it");
}

absl::StatusOr<ClusterShare> ShareOf(const NodeJob& job) {
  TROUPE_TRY(const std::unique_ptr<ClusterLink> link, ClusterLink::Open({.address = job.head}));
  TROUPE_TRY(const Inspected cluster, link->AskHead<Inspected>(Inspect{}, std::chrono::seconds(60)));
  ClusterShare share{.cores = 0, .nodes = 0};
  for (const NodeStatus& node : cluster.nodes) {
    if (node.state != NodeState::kUp) continue;
    share.cores += node.capacity.cores;
    ++share.nodes;
  }
  return ClusterShare{.cores = std::max(1u, share.cores), .nodes = std::max(1u, share.nodes)};
}

}   // namespace troupe
