// What a token of each role may ask of a cluster.
#pragma once

#include <cstdint>

#include "actors/address.h"
#include "actors/role.h"

namespace troupe {

/// The least role for a message of this type (Codec::kType) to the head. read: Inspect, ReadOutput. submit: also PutProgram, Submit, StopJob. admin: all else,
/// and all of other actors.
Role LeastRole(ActorId actor, uint64_t type);

}   // namespace troupe
