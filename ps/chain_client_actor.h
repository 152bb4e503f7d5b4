// A shard with replicas as its clients see it: one actor that sends what changes to the first member of the chain and what reads to the last, wherever the
// keeper says they are. In between it answers Unavailable, and its clients ask again.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <vector>

#include "actors/system.h"
#include "ps/chain/messages.h"
#include "ps/consistency.h"
#include "ps/table_spec.h"

namespace troupe {

inline constexpr ActorId kChainClientsActor{5};   ///< takes SetRoutes, in each process that uses shards with replicas

struct ChainClientOptions {
  uint32_t shard = 0;
  std::chrono::milliseconds request_timeout{10'000};
  /// Who makes cuts (chain_member_actor.h): CutsAtFirst of its tables.
  bool cuts_at_first = false;
  /// Called in the actor's context: the route may be old. Null: the keeper tells routes by itself (ServeRoutes).
  std::function<void()> lost = nullptr;
};
bool CutsAtFirst(std::span<const TableSpec> tables, const Consistencies& consistency);

/// It knows no route yet.
ShardActor SpawnChainClient(System& system, const ChainClientOptions& options);
/// Older routes than it has it ignores.
void SetRoute(const ShardActor& client, const ChainRoute& route);
/// Makes this process take the keeper's routes; route.shard is an index into `clients`.
void ServeRoutes(System& system, std::vector<ShardActor> clients);

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ChainRoute)
