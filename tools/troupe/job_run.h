// A job from a command line that waits for it: submitted, watched, its output passed on, its exit code taken over.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/cluster/cluster_link.h"

namespace troupe {

/// Sends the program's bytes where the head has not got them, and the job. The answer's number. `request`: whoever submits with the same one, however often,
/// submits one job; empty: nobody else does.
absl::StatusOr<JobId> SubmitJob(ClusterLink& link, const std::string& program, JobSpec spec, std::string request = "");

/// Copies what the job's driver prints to our stdout and stderr until the job is over, or, without `follow`, what is there now. Then how the job stands.
/// `process`: another process than the driver, of its last life.
absl::StatusOr<JobStatus> PassOutput(ClusterLink& link, JobId job, const std::string& process, bool follow);

/// Submits, follows, and gives the driver's exit code as this process'. Cancelled: SIGINT or SIGTERM, after the job was stopped.
absl::Status RunJob(ClusterLink& link, const std::string& program, JobSpec spec);

}   // namespace troupe
