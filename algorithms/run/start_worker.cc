#include "algorithms/run/start_worker.h"

#include <utility>

#include "actors/cluster/messages.h"
#include "actors/proxy.h"
#include "actors/status.h"
#include "ps/chain_client_actor.h"
#include "ps/group/wire.h"
#include "ps/group_member_actor.h"
#include "ps/partition.h"

namespace troupe {
namespace {

template <class Handle>
Handle ProxyAt(System& system, const ShardPlace& place, std::chrono::milliseconds timeout) {
  if (!place.places.empty()) system.network().Locate(place.node, place.places);
  return SpawnProxy<Handle>(system, {.to = {place.node, Incarnation{0}, place.actor}, .timeout = timeout});
}

}   // namespace

std::optional<GroupJob> GroupJobOf(const ClusterOptions& options, uint32_t worker, std::vector<ShardPlace> workers) {
  if (PlacesOf(options.tables, options.shards) == options.shards) return std::nullopt;
  GroupJob group{.member = worker, .members = std::move(workers), .copy = ShardOptionsOf(options, options.shards)};
  for (ShardPlace& member : group.members) member.actor = kMemberActor;
  group.copy.shard.stable_when_applied = true;   // what has been applied the group has
  return group;
}

absl::StatusOr<std::vector<caf::actor>> StartWorker(System& system, ActorId id, const WorkerJob& job, std::chrono::milliseconds request_timeout) {
  std::vector<caf::actor> actors(1);
  std::vector<ShardActor> shards;
  for (const ShardPlace& shard : job.shards) {
    const auto number = static_cast<uint32_t>(shards.size());
    shards.push_back(job.chains ? SpawnChainClient(system, {.shard = number, .request_timeout = request_timeout})   // workers make no cuts
                                : ProxyAt<ShardActor>(system, shard, request_timeout));
    actors.push_back(caf::actor_cast<caf::actor>(shards.back()));
  }
  if (job.chains) {
    for (const ShardPlace& place : *job.chains) {
      if (!place.places.empty()) system.network().Locate(place.node, place.places);
    }
    ServeRoutes(system, shards);
  }
  if (job.group) {
    const auto members = static_cast<uint32_t>(job.group->members.size());
    GroupMemberActorOptions options;
    options.member = {.tables = job.group->copy.shard.tables,
                      .shards = job.options.shards,
                      .member = job.group->member,
                      .members = members,
                      .writers = SplitsOf(job.group->member, members, job.options.splits_total)};
    options.incarnation = LifeOf(static_cast<uint64_t>(system.incarnation()));
    options.copy = job.group->copy;
    TROUPE_TRY(const SpawnedMember spawned, SpawnGroupMember(system, options));
    actors.push_back(caf::actor_cast<caf::actor>(spawned.member));
    std::vector<GroupMemberActor> group;
    for (uint32_t i = 0; i < members; ++i) {
      if (i == job.group->member) {
        group.push_back(spawned.member);
      } else {
        group.push_back(ProxyAt<GroupMemberActor>(system, job.group->members[i], request_timeout));
        actors.push_back(caf::actor_cast<caf::actor>(group.back()));
      }
    }
    System::Deliver(spawned.member, JoinGroup{group});
    Expose(system, kMemberActor, spawned.member);
    shards.push_back(caf::actor_cast<ShardActor>(spawned.member));
  }
  TROUPE_TRY(const WorkerActor worker, SpawnWorker(system, job.options, std::move(shards)));
  Expose(system, id, worker);
  actors[0] = caf::actor_cast<caf::actor>(worker);
  return actors;
}

}   // namespace troupe
