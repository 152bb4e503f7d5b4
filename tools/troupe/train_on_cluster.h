// troupe train as a job of a cluster: how a client hands it over.
#pragma once

#include "absl/status/status.h"
#include "actors/config.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/train_flags.h"

namespace troupe {

/// The same command as a job: `arguments` without the flags that say which cluster, and the settings of this environment. Errors as RunJob.
absl::Status TrainOnCluster(const TrainFlags& flags, const Arguments& arguments);

}   // namespace troupe
