// How the messages of a group's members travel: a Codec each, from the schema group.capnp. Those of a shard are in wire.h.
#pragma once

#include "absl/status/statusor.h"
#include "actors/proxy.h"
#include "ps/group/messages.h"
#include "ps/wire.h"

namespace troupe {

TROUPE_CODEC(ReduceMessage, 0xa8b1f3b0c5d20201);
TROUPE_CODEC(ReduceTaken, 0xa8b1f3b0c5d20202);
TROUPE_CODEC(AssignCopy, 0xa8b1f3b0c5d20203);
TROUPE_CODEC(Greeting, 0xa8b1f3b0c5d20204);
TROUPE_CODEC(FetchState, 0xa8b1f3b0c5d20205);
TROUPE_CODEC(StatePiece, 0xa8b1f3b0c5d20206);

}   // namespace troupe
