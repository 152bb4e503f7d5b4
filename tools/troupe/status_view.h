// How a cluster is shown to people and scripts: nodes, queues, and the supervision tree level by level, cluster -> job -> driver -> workers, tables
// and data. Pure.
#pragma once

#include <string>
#include <vector>

#include "actors/cluster/messages.h"
#include "tools/troupe/json.h"

namespace troupe {

/// What runs on a node, or is to run there: "job 3: driver, worker 1; job 4: driver".
std::string ProcessesOn(const std::string& node, const std::vector<JobStatus>& jobs);
/// What `troupe status` prints.
std::string StatusText(const Inspected& all);
/// What `troupe status --json` prints, without its line's end.
std::string StatusJson(const Inspected& all);
/// Likewise for `troupe job list`.
std::string JobsText(const std::vector<JobStatus>& jobs);
std::string JobsJson(const std::vector<JobStatus>& jobs);

}   // namespace troupe
