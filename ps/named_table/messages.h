// What the users of a named table and its driver say to each other, in the network of the table's own job. Rows travel between users and shards
// (ps/messages.h).
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "actors/address.h"
#include "actors/block.h"
#include "ps/chain_view.h"
#include "ps/types.h"

namespace troupe {

inline constexpr ActorId kTableActor{6};   ///< of the driver
/// What all processes of a named table's network, its users among them, have as their build: they need not be the same bytes.
inline constexpr char kTableProtocol[] = "named table 2";

/// From a user, every second: it is there, and may write. FailedPrecondition: the table is being dropped. ResourceExhausted: it has as many writers as it can.
struct OpenTable {
  uint64_t user = 0;   ///< a number of its own, neither 0 nor the highest
};
/// reply to OpenTable
struct TableOpened {
  WriterId writer{};   ///< nobody else is it, until `lease` after the last question
  std::chrono::milliseconds lease{0};
  Block shard;   ///< ShardActorOptions of shard 0 (EncodeShardJob): the table, the number of shards
  struct Place {
    NodeId node{};
    ActorId actor{};
    std::vector<std::string> places;   ///< none: it is not there (yet)
  };
  std::vector<Place> shards;        ///< of shard i the i-th; where they have replicas, all their processes
  uint32_t replication = 1;         ///< processes that hold each shard
  std::vector<ChainRoute> routes;   ///< where they have replicas, of those that are there
};
/// From a user at its end: another one may be the writer that it was.
struct CloseTable {
  uint64_t user = 0;
};
struct TableClosed {};
/// The table is to end, with its rows and files. Answered when that is certain, before it is done.
struct DropTable {};
struct TableDropping {};

}   // namespace troupe
