// A shard with replicas as its clients see it: one actor that sends what changes to the first member of the chain and what reads to the last, wherever the
// keeper says they are. In between it answers Unavailable, and its clients ask again.
#pragma once

#include <chrono>
#include <vector>

#include "actors/system.h"
#include "ps/chain/messages.h"

namespace troupe {

inline constexpr ActorId kChainClientsActor{5};   ///< takes SetRoutes, in each process that uses shards with replicas

/// For shard `shard`, of which it knows no route yet.
ShardActor SpawnChainClient(System& system, uint32_t shard, std::chrono::milliseconds request_timeout);
/// Older routes than it has it ignores.
void SetRoute(const ShardActor& client, const ChainRoute& route);
/// Makes this process take the keeper's routes; route.shard is an index into `clients`.
void ServeRoutes(System& system, std::vector<ShardActor> clients);

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ChainRoute)
