// What `troupe train --explain` says.
#pragma once

#include <string>

#include "algorithms/run/plan_run.h"

namespace troupe {

/// One line:
/// {"shards","why","shard_bytes","utilisation","sample":{"rows","batches"},"tables":[{"name","shape","bytes","pulled","pushed","wire","busiest","advice":"..."}]}.
std::string PlanJson(const RunPlan& plan);
/// The same for people.
std::string PlanText(const RunPlan& plan);

}   // namespace troupe
