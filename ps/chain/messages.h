// What the members of a chain (chain_view.h) and its keeper send each other, one struct a message; to its clients a member is a shard (messages.h).
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "caf/allowed_unsafe_message_type.hpp"
#include "caf/typed_actor.hpp"
#include "ps/chain_view.h"
#include "ps/messages.h"

namespace troupe {

/// From the keeper: this is the chain now. Repeating it changes nothing; an older one than the member has changes nothing either.
struct Configure {
  ChainView view;
};
/// reply to Configure. The last member of a view in which somebody joins answers when that has the state, or another view has come.
struct Configured {
  bool joined = false;
};

/// In the order of the changes, and none itself: the receiver's rows of this range are to be those of the first member. Hashes (XXH3 64).
struct CompareRange {
  uint32_t table = 0, range = 0;
  uint64_t clocks = 0;   ///< of what is applied of whom: where it differs, somebody holds rounds back for a snapshot, and nothing is compared
  uint64_t rows = 0;
};

/// What changes a shard, in the order of the chain: `number` counts from 1 since the shard began. Answered when all behind have it. Unavailable: of another
/// epoch than the receiver's.
struct Forward {
  uint64_t epoch = 0;   ///< to a member that joins: the number of the view in which it does
  uint64_t number = 0;
  std::variant<Push, Assign, CompareRange, Freeze, Release> change;   ///< Freeze: all behind it stand at its clocks, and keep the view
};
/// reply to Forward
struct Forwarded {
  uint64_t through = 0;   ///< all up to here
};

/// To the next member, in a new epoch: all up to `number` has been acknowledged by somebody. Answered when the receiver has it, so that it may be read.
struct Align {
  uint64_t epoch = 0;
  uint64_t number = 0;
};
/// reply to Align
struct Aligned {};

/// A part of the state that a member which joins is given. Part 0 is behind change `number`: what a shard has but for its ranges; the others are slices of
/// ranges (Shard::SaveSlice), each right behind its change: no later one is forwarded before the part is in place.
struct StatePart {
  uint64_t view = 0;      ///< ChainView::number, of when it began to join
  uint64_t attempt = 0;   ///< rises when the state is begun anew
  uint32_t part = 0;
  bool more = false;   ///< parts follow
  uint64_t number = 0;
  bool operator==(const StatePart&) const = default;
};
/// A piece of it: bytes of one section.
struct Adopt {
  StatePart of;
  uint32_t piece = 0, pieces = 0;   ///< of all sections of the part
  uint32_t section = 0;
  std::string name;
  uint64_t size = 0, offset = 0;   ///< of the section; of `bytes` in it
  Block bytes;
};
/// reply to Adopt. The last one that comes is answered when the part is in place. Unavailable: another part comes first, or the receiver does not join any
/// more.
struct Adopted {};

/// A shard as clients see it is reachable under another id in each epoch, so that what is sent by an older route finds nobody.
inline ActorId ChainActorId(uint64_t epoch) {
  return ActorId{static_cast<uint32_t>(1024 + epoch)};
}

using ChainMemberActor = ShardActor::extend<caf::replies_to<Configure>::with<Configured>, caf::replies_to<Forward>::with<Forwarded>,
                                            caf::replies_to<Align>::with<Aligned>, caf::replies_to<Adopt>::with<Adopted>>;
inline constexpr ActorId kChainPeerActor{4};   ///< of a member's process: what other members and the keeper talk to
/// What they see of it.
using ChainPeerActor = caf::typed_actor<caf::replies_to<Configure>::with<Configured>, caf::replies_to<Forward>::with<Forwarded>,
                                        caf::replies_to<Align>::with<Aligned>, caf::replies_to<Adopt>::with<Adopted>>;

/// From the keeper to whoever uses the shards: where they are.
struct SetRoutes {
  std::vector<ChainRoute> routes;
};
/// reply to SetRoutes
struct RoutesSet {};
using ChainClientsActor = caf::typed_actor<caf::replies_to<SetRoutes>::with<RoutesSet>>;

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Configure)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Configured)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::CompareRange)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Forward)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Forwarded)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Align)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Aligned)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Adopt)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Adopted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::SetRoutes)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::RoutesSet)
