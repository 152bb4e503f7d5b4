// How the messages of a chain travel: a Codec each, from the schema chain.capnp. Those of a shard are in wire.h.
#pragma once

#include "absl/status/statusor.h"
#include "actors/proxy.h"
#include "ps/chain/messages.h"
#include "ps/wire.h"

namespace troupe {

TROUPE_CODEC(Configure, 0xa8b1f3b0c5d20301);
TROUPE_CODEC(Configured, 0xa8b1f3b0c5d20302);
TROUPE_CODEC(Forward, 0xa8b1f3b0c5d20303);
TROUPE_CODEC(Forwarded, 0xa8b1f3b0c5d20304);
TROUPE_CODEC(Align, 0xa8b1f3b0c5d20305);
TROUPE_CODEC(Aligned, 0xa8b1f3b0c5d20306);
TROUPE_CODEC(Adopt, 0xa8b1f3b0c5d20307);
TROUPE_CODEC(Adopted, 0xa8b1f3b0c5d20308);
TROUPE_CODEC(SetRoutes, 0xa8b1f3b0c5d20309);
TROUPE_CODEC(RoutesSet, 0xa8b1f3b0c5d2030a);
TROUPE_CODEC(CompareRange, 0xa8b1f3b0c5d2030b);

}   // namespace troupe
