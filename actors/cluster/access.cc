// Roles by message.
#include "actors/cluster/access.h"

#include "actors/cluster/messages.h"
#include "actors/cluster/wire.h"

namespace troupe {

Role LeastRole(ActorId actor, uint64_t type) {
  if (actor != kHeadActor) return Role::kAdmin;
  switch (type) {
    case Codec<Inspect>::kType:
    case Codec<ReadOutput>::kType:
      return Role::kRead;
    case Codec<PutProgram>::kType:
    case Codec<Submit>::kType:
    case Codec<StopJob>::kType:
    case Codec<FindEndpoint>::kType:   // it holds the secret of the job's network
      return Role::kSubmit;
    default:
      return Role::kAdmin;   // Report, Claim, DrainNode, GetProgram
  }
}

}   // namespace troupe
