// Who is meant: an actor that others may reach has an Address, never a CAF handle, on the wire.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace troupe {

/// A process of the job or cluster. 0 is the one that started the job.
enum class NodeId : uint32_t {};
/// Which life of that node: a replacement has a higher one. 0 in an Address means "whichever lives now".
enum class Incarnation : uint64_t {};
/// An actor within a node. Well-known: 0 the node's spawner.
enum class ActorId : uint32_t {};

struct Address {
  NodeId node{};
  Incarnation incarnation{};
  ActorId actor{};
  auto operator<=>(const Address&) const = default;
};

/// "node/incarnation/actor", for logs and errors.
std::string ToString(const Address& address);

}   // namespace troupe
