// How those messages travel: a Codec each, from the schema named_table.capnp.
#pragma once

#include "absl/status/statusor.h"
#include "actors/proxy.h"
#include "ps/named_table/messages.h"
#include "ps/wire.h"

namespace troupe {

TROUPE_CODEC(OpenTable, 0xa8b1f3b0c5d20401);
TROUPE_CODEC(TableOpened, 0xa8b1f3b0c5d20402);
TROUPE_CODEC(CloseTable, 0xa8b1f3b0c5d20403);
TROUPE_CODEC(TableClosed, 0xa8b1f3b0c5d20404);
TROUPE_CODEC(DropTable, 0xa8b1f3b0c5d20405);
TROUPE_CODEC(TableDropping, 0xa8b1f3b0c5d20406);

}   // namespace troupe
