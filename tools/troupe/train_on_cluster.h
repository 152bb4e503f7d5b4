// troupe train as a job of a cluster: how a client hands it over, and what its driver does besides.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "actors/config.h"
#include "algorithms/run/launcher.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/train_flags.h"

namespace troupe {

/// The same command as a job: `arguments` without the flags that say which cluster, and the settings of this environment. Errors as RunJob.
absl::Status TrainOnCluster(const TrainFlags& flags, const Arguments& arguments);

/// What a run gets of its job's cluster unless someone says otherwise: a worker for each core, and two processes for each shard where there are two nodes.
struct ClusterShare {
  uint32_t cores = 1, nodes = 1;
};
absl::StatusOr<ClusterShare> ShareOf(const NodeJob& job);

/// A hidden folder beside the model, where every node can reach it; another one for each driver of the job.
std::string JobFolderOf(const NodeJob& job, const std::string& model);
/// Those of the drivers before this one.
void RemoveEarlierFolders(const NodeJob& job, const std::string& model);

}   // namespace troupe
