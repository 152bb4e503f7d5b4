#include "tools/troupe/train_on_cluster.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "actors/cluster/cluster_link.h"
#include "actors/status.h"
#include "actors/storage/remote_storage.h"
#include "actors/storage/storage.h"
#include "actors/text.h"
#include "tools/troupe/job_run.h"

namespace troupe {

absl::Status TrainOnCluster(const TrainFlags& flags, const Arguments& arguments) {
  if (flags.processes) return absl::InvalidArgumentError("--processes and --cluster: expected one of them (on a cluster each worker and shard is a process)");
  if (const absl::StatusOr<std::string> path = LocalPath(flags.model); !path.ok()) {
    return WithContext(path.status(), "--model (on a cluster a path, and the job's folder is beside it)");
  }
  JobSpec spec;
  spec.name = absl::StrCat("train ", flags.algorithm);
  spec.queue = flags.queue;
  spec.arguments = {"train"};
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string word = arguments[i].substr(0, arguments[i].find('='));
    const bool ours = word == "--cluster" || word == "--token-file" || word == "--tls" || word == "--queue";
    if (!ours) spec.arguments.push_back(arguments[i]);
    if (ours && word == arguments[i]) ++i;   // its value
  }
  for (const auto& [name, value] : ProcessEnvironment()) {   // settings hold there as they do here
    if (name.starts_with("TROUPE_") && !name.starts_with("TROUPE_JOB") && name != "TROUPE_CLUSTER" && name != "TROUPE_TOKEN_FILE" && name != "TROUPE_TLS")
      spec.environment.push_back(absl::StrCat(name, "=", value));
    if (std::ranges::find(kS3Places, name) != std::end(kS3Places)) {
      spec.environment.push_back(absl::StrCat(name, "=", value));
    }
  }
  std::error_code error;
  spec.folder = std::filesystem::current_path(error).string();
  if (error) return absl::InvalidArgumentError(absl::StrCat("this folder: ", error.message()));
  TROUPE_TRY(const std::unique_ptr<ClusterLink> link, flags.cluster.Open());
  return RunJob(*link, "/proc/self/exe", std::move(spec));
}

}   // namespace troupe
