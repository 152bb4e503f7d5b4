// What parent and executor processes agree on.
#pragma once

#include <chrono>
#include <string>

#include "actors/system.h"

namespace troupe {

/// Of the running program: all processes of a job run the same bytes.
std::string BuildId();
/// Makes Spawn "shard" and Spawn "worker" known. `request_timeout`: of a worker's requests to shards.
void RegisterJobFactories(System& system, std::chrono::milliseconds request_timeout);

}   // namespace troupe
