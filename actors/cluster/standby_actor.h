// A head that does not lead: it names the one that does, and keeps copies of the programs that this one has.
#pragma once

#include <functional>
#include <string>

#include "actors/cluster/cluster_link.h"
#include "actors/cluster/messages.h"
#include "actors/system.h"

namespace troupe {

/// Answers everything with NotTheLeader(leader()). `leader` is called in the actor's context.
HeadActor SpawnStandby(System& system, std::function<std::string()> leader);

/// Copies the programs of all jobs that are not over and are not in `folder` yet from the head at the other end of `leader`, until `stop()`, which is asked
/// between parts. `seen`: of what the leader has said already; 0 at the beginning. The leader's errors; the disk's.
absl::Status CopyPrograms(ClusterLink& leader, const std::string& folder, uint64_t& seen, const std::function<bool()>& stop);

}   // namespace troupe
