// The actor around a GroupMember. To its worker, and to the trainer, it looks like one more shard: pushes go into the all-reduce, everything else is about the
// copy of the tables, a shard actor of its own in the same process.
//
// Members of other processes are reached through proxies. What is lost on the way is sent again, and known where it comes twice. A member that falls is
// replaced by another of the next incarnation, with nothing or with an old state: it greets the others, all of them stop (group_view.h), it takes the state of
// one that is furthest, and the round begins anew.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/system.h"
#include "ps/group/messages.h"
#include "ps/group_member.h"
#include "ps/shard_actor.h"

namespace troupe {

/// Who is in the group, by member. To be told to all of them before any of their writers pushes.
struct JoinGroup {
  std::vector<GroupMemberActor> members;
};

struct GroupMemberActorOptions {
  GroupMemberOptions member;
  uint64_t incarnation = 1;   ///< which life of this member; the first ones of all members begin with the same state
  /// Its tables, where its state comes from; shard, shards and writers are set here. Where it has a snapshot_uri, it is where a group goes on from that has
  /// lost all its members, and rows that are assigned are there before the assignment is answered: one member's is enough.
  ShardActorOptions copy;
  /// After a fault a message is sent again after this time.
  std::chrono::milliseconds retry{20};
  /// A group that makes no progress for so long is given up.
  std::chrono::milliseconds patience{600'000};
  /// May be empty. Told in the actor's context why the group cannot go on; whoever asks the member is told as well from then on.
  std::function<void(const absl::Status&)> failed = nullptr;
};

struct SpawnedMember {
  GroupMemberActor member;
  /// Ends with the member, as any that takes its place; to be waited for by whoever takes down a system in which no member is ever replaced.
  ShardActor copy;
};

/// Errors as GroupMember::Make, GroupView::Make and SpawnShard. The member does nothing before it is told JoinGroup.
absl::StatusOr<SpawnedMember> SpawnGroupMember(System& system, const GroupMemberActorOptions& options);
/// Tells every member of the others.
void JoinMembers(const std::vector<GroupMemberActor>& members);

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::JoinGroup)
