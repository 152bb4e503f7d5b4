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

/// All cores of the job's cluster: how many workers there are unless someone says otherwise.
absl::Status ChooseWorkers(const NodeJob& job, Config& config);

/// A hidden folder beside the model, where every node can reach it; another one for each driver of the job.
std::string JobFolderOf(const NodeJob& job, const std::string& model);
/// Those of the drivers before this one.
void RemoveEarlierFolders(const NodeJob& job, const std::string& model);

}   // namespace troupe
