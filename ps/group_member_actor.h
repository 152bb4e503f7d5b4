// The actor around a GroupMember. To its worker, and to the trainer, it looks like one more shard: pushes go into the all-reduce, everything else is about the
// copy of the tables, a shard actor of its own. All members of a group live in one process.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/system.h"
#include "ps/group_member.h"
#include "ps/shard_actor.h"

namespace troupe {

/// reply to ReduceMessage
struct ReduceTaken {};
/// Assign, for one copy only: what a member that is asked to Assign tells the others.
struct AssignCopy {
  Assign assign;
};

using GroupMemberActor = ShardActor::extend<caf::replies_to<ReduceMessage>::with<ReduceTaken>, caf::replies_to<AssignCopy>::with<Assigned>>;

/// Who is in the group, by member. To be told to all of them before any of their writers pushes.
struct JoinGroup {
  std::vector<GroupMemberActor> members;
};

struct GroupMemberActorOptions {
  GroupMemberOptions member;
  ShardActorOptions copy;   ///< its tables, where its state comes from; shard, shards and writers are set here
  /// A round that makes no progress for so long is given up.
  std::chrono::milliseconds patience{600'000};
  /// Told in the actor's context why the group cannot go on, before the actor ends.
  std::function<void(const absl::Status&)> failed = nullptr;
};

struct SpawnedMember {
  GroupMemberActor member;
  ShardActor copy;   ///< ends with it; to be waited for by whoever takes the system down
};

/// Errors as GroupMember::Make and SpawnShard. The member does nothing before it is told JoinGroup.
absl::StatusOr<SpawnedMember> SpawnGroupMember(System& system, const GroupMemberActorOptions& options);
/// Tells every member of the others.
void JoinMembers(const std::vector<GroupMemberActor>& members);

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ReduceMessage)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ReduceTaken)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::AssignCopy)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::JoinGroup)
