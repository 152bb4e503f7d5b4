// What members of a group that keeps tables (group_member.h) send each other, one struct a message; to its worker a member is one more shard (messages.h).
#pragma once

#include "caf/allowed_unsafe_message_type.hpp"
#include "caf/typed_actor.hpp"
#include "ps/all_reduce.h"
#include "ps/group_view.h"
#include "ps/messages.h"

namespace troupe {

/// reply to ReduceMessage
struct ReduceTaken {
  bool taken = true;   ///< false: the members are not (or not yet) in the same view; it is wanted again if they come to be
};

/// Assign, for one copy only: what a member that is asked to Assign tells the others. Unavailable: the copy is not in step in this view.
struct AssignCopy {
  uint64_t group = 0;   ///< GroupView::number
  Assign assign;
};

/// The next piece of the member's state, a snapshot's bytes (snapshot.h): rows, rule state, ledger. Unavailable: it is being written, or another view holds.
struct FetchState {
  uint64_t group = 0;   ///< GroupView::number
  uint64_t at = 0;      ///< bytes before it
};
/// reply to FetchState
struct StatePiece {
  Round over = 0;
  uint64_t total = 0;   ///< bytes
  Block bytes;
};

/// A Greeting is answered with the other's own.
using GroupMemberActor = ShardActor::extend<caf::replies_to<ReduceMessage>::with<ReduceTaken>, caf::replies_to<AssignCopy>::with<Assigned>,
                                            caf::replies_to<Greeting>::with<Greeting>, caf::replies_to<FetchState>::with<StatePiece>>;

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ReduceMessage)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ReduceTaken)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::AssignCopy)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Greeting)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::FetchState)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::StatePiece)
