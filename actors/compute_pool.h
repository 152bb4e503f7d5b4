// Compute on threads of its own.
#pragma once

#include <memory>

#include "actors/compute.h"

namespace caf {
class actor_system;
}

namespace troupe {

/// `threads` >= 1. Destroying it finishes the running jobs and drops the waiting ones.
std::unique_ptr<Compute> MakeComputePool(caf::actor_system& system, int threads);

}   // namespace troupe
