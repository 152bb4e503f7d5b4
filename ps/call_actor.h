// A call to all shards, from any actor or none: asks each, again where it must, and merges what they answer.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/gather.h"
#include "ps/function_call.h"
#include "ps/messages.h"
#include "ps/table_spec.h"

namespace troupe {

/// `at`: see Call. done: called once, in some actor's context. Errors as MakeFunction; those of a shard; Unavailable or DeadlineExceeded when patience ends.
/// Returns what asks, as Gather does.
caf::actor CallShards(System& system, const std::vector<ShardActor>& shards, const std::vector<TableSpec>& tables, const FunctionCall& call, Round at,
                      const GatherOptions& options, std::function<void(absl::StatusOr<FunctionValue>)> done);

}   // namespace troupe
