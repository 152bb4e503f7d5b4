#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/stop_actors.h"
#include "actors/storage/scratch_folder.h"
#include "actors/supervisor_actor.h"
#include "algorithms/run/cluster.h"
#include "ps/group_member_actor.h"

namespace troupe {
namespace {

class LocalCluster final : public Cluster {
 public:
  LocalCluster(System& system, const std::atomic<bool>* cancelled) : system_(system), cancelled_(cancelled) {}
  ~LocalCluster() override {
    if (supervisor_) system_.Stop(supervisor_);
    StopAndWait(system_, workers_);
    StopAndWait(system_, members_);
    StopAndWait(system_, copies_);
    StopAndWait(system_, shards_);
  }

  absl::Status Start(const ClusterOptions& options) {
    if (std::any_of(options.tables.begin(), options.tables.end(), [](const TableSpec& spec) { return spec.limits.memory_max > 0; })) {
      TROUPE_TRY(folder_, ScratchFolder::Make());
    }
    for (uint32_t i = 0; i < options.shards; ++i) {
      ShardActorOptions shard = ShardOptionsOf(options, i);
      if (!folder_.path().empty()) shard.tier_folder = absl::StrCat(folder_.path(), "/shard-", i, ".rows");
      shard.shard.stable_when_applied = true;
      TROUPE_TRY(ShardActor actor, SpawnShard(system_, shard));
      shards_.push_back(std::move(actor));
    }
    TROUPE_RETURN_IF_ERROR(StartGroup(options));
    for (uint32_t i = 0; i < options.workers; ++i) {
      std::vector<ShardActor> places = shards_;
      if (!members_.empty()) places.push_back(members_[i]);
      WorkerOptions worker = options.worker;
      if (!options.ranges_move) worker.held_bytes = 0;   // what is applied is stable
      TROUPE_TRY(WorkerActor actor, SpawnWorker(system_, worker, std::move(places)));
      workers_.push_back(std::move(actor));
    }
    places_ = shards_;
    if (!members_.empty()) places_.push_back(members_[0]);
    // Nothing of this process can be replaced by itself, but what ends must not leave the others waiting.
    std::vector<SupervisedChild> children;
    for (size_t i = 0; i < shards_.size(); ++i) children.push_back(Watched(absl::StrCat("shard ", i), shards_[i]));
    for (size_t i = 0; i < members_.size(); ++i) children.push_back(Watched(absl::StrCat("tables of worker ", i), members_[i]));
    for (size_t i = 0; i < workers_.size(); ++i) children.push_back(Watched(absl::StrCat("worker ", i), workers_[i]));
    supervisor_ =
        SpawnSupervisor(system_, {.intensity = 0}, std::move(children), {.restarted = nullptr, .gave_up = [failure = failure_](const std::string& reason) {
                                                                           std::lock_guard lock(failure->mutex);
                                                                           failure->status.Update(absl::InternalError(reason));
                                                                         }});
    return absl::OkStatus();
  }

  System& system() override { return system_; }
  const std::vector<WorkerActor>& workers() const override { return workers_; }
  const std::vector<ShardActor>& shards() const override { return places_; }
  std::string move_folder() const override { return move_folder_; }
  uint64_t restarts() const override { return 0; }   // an actor of this process can only fall with it
  absl::Status Await(Ending& ending) override {
    do {   // before the first wait as well: phases may be shorter than it
      if (cancelled_ != nullptr && *cancelled_) return absl::CancelledError("stopped by a signal");
      std::lock_guard lock(failure_->mutex);
      TROUPE_RETURN_IF_ERROR(failure_->status);
    } while (!ending.WaitFor(std::chrono::milliseconds(50)));
    return absl::OkStatus();
  }

 private:
  struct Failure {
    std::mutex mutex;
    absl::Status status;
  };
  template <class Handle>
  static SupervisedChild Watched(std::string name, const Handle& actor) {
    return {.spec = {.id = std::move(name), .restart = Restart::kPermanent},
            .start = [handle = caf::actor_cast<caf::actor>(actor)]() -> absl::StatusOr<caf::actor> { return handle; }};
  }

  /// What keeps the tables that the workers keep: a member of the group for each worker.
  absl::Status StartGroup(const ClusterOptions& options) {
    if (PlacesOf(options.tables, options.shards) == options.shards) return absl::OkStatus();
    for (uint32_t i = 0; i < options.workers; ++i) {
      GroupMemberActorOptions member;
      member.member = {
          .tables = options.tables, .shards = options.shards, .member = i, .members = options.workers, .writers = SplitsOf(i, options.workers, options.splits)};
      member.copy = ShardOptionsOf(options, options.shards);   // the same state in each
      member.copy.shard.stable_when_applied = true;
      member.failed = [failure = failure_](const absl::Status& status) {
        std::lock_guard lock(failure->mutex);
        failure->status.Update(status);
      };
      TROUPE_TRY(SpawnedMember spawned, SpawnGroupMember(system_, member));
      members_.push_back(std::move(spawned.member));
      copies_.push_back(std::move(spawned.copy));
    }
    JoinMembers(members_);
    return absl::OkStatus();
  }

  System& system_;
  const std::atomic<bool>* cancelled_;
  static inline std::atomic<uint64_t> clusters_ = 0;
  const std::string move_folder_ = absl::StrCat("mem:/moves-", ++clusters_);   // others may use the same system
  ScratchFolder folder_;                                                       // outlives the shards
  std::vector<ShardActor> shards_, copies_, places_;
  std::vector<GroupMemberActor> members_;
  std::vector<WorkerActor> workers_;
  caf::actor supervisor_;
  std::shared_ptr<Failure> failure_ = std::make_shared<Failure>();
};

}   // namespace

std::vector<uint32_t> SplitsOf(uint32_t worker, uint32_t workers, uint32_t splits) {
  std::vector<uint32_t> mine;
  for (uint32_t split = worker; split < splits; split += workers) mine.push_back(split);
  return mine;
}

ShardActorOptions ShardOptionsOf(const ClusterOptions& options, uint32_t shard) {
  ShardActorOptions result;
  result.shard = {.tables = options.tables, .shard = shard, .shards = options.shards, .writers = options.splits, .consistency = options.consistency};
  if (!options.log_folder.empty()) {
    result.log_folder = options.log_folder;
    result.snapshot_uri = absl::StrCat(options.log_folder, "/shard-", shard, ".snapshot");   // one life at a time has the log, and this
    result.shard.writers_go_on = true;
  }
  if (shard < options.restore_uris.size()) result.restore_uri = options.restore_uris[shard];
  return result;
}

absl::StatusOr<std::unique_ptr<Cluster>> MakeLocalCluster(System& system, const ClusterOptions& options) {
  auto cluster = std::make_unique<LocalCluster>(system, options.cancelled);
  TROUPE_RETURN_IF_ERROR(cluster->Start(options));
  return cluster;
}

}   // namespace troupe
