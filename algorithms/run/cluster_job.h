// What the driver of a training job takes from its cluster, and where its files lie: the same for the command `troupe train` and for programs of one's own.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "actors/storage/storage.h"
#include "algorithms/run/launcher.h"
#include "algorithms/run/trainer.h"

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

/// Splits are those of the run that is resumed, however many cores there are now. `workers_given`: 0, or as many as it was told to have; more of them than
/// splits are left to be refused. Where there is no checkpoint nothing changes.
void KeepSplits(uint32_t workers_given, Storage& storage, TrainOptions& options);

}   // namespace troupe
