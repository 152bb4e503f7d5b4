// What the driver of a training job takes from its cluster, and where its files lie: the same for the command `troupe train` and for programs of one's own.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "algorithms/run/launcher.h"

namespace troupe {

/// What a run gets of its job's cluster unless someone says otherwise: a worker for each core, and two processes for each shard where there are two nodes.
struct ClusterShare {
  uint32_t cores = 1, nodes = 1;
};
/// Of the nodes that are up, at least one of each. Errors: no head within a minute, a wrong token.
absl::StatusOr<ClusterShare> ShareOf(const NodeJob& job);

/// A hidden folder beside the model, where every node can reach it; another one for each driver of the job.
std::string JobFolderOf(const NodeJob& job, const std::string& model);
/// Those of the drivers before this one.
void RemoveEarlierFolders(const NodeJob& job, const std::string& model);
/// InvalidArgument: the model is no path, beside which the job's folder would be.
absl::Status CheckModelOfJob(const std::string& model);

}   // namespace troupe
