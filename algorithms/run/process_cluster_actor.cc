#include "algorithms/run/process_cluster.h"

#include <stdlib.h>
#include <unistd.h>

#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/process_table.h"
#include "actors/reserved_port.h"
#include "actors/rpc_network.h"
#include "actors/spawner_actor.h"
#include "actors/status.h"
#include "actors/stop_actors.h"
#include "actors/storage/scratch_folder.h"
#include "actors/supervisor_actor.h"
#include "actors/system.h"
#include "actors/text.h"
#include "algorithms/run/executor.h"
#include "algorithms/run/wire.h"
#include "caf/event_based_actor.hpp"
#include "caf/stateful_actor.hpp"
#include "ps/wire.h"

namespace troupe {
namespace {

struct ProcessEnded {
  int status;
};

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ProcessEnded)

namespace troupe {
namespace {

std::string RandomHex() {
  std::random_device device;
  std::string hex;
  for (int i = 0; i < 4; ++i) absl::StrAppend(&hex, absl::Hex(device(), absl::kZeroPad8));
  return hex;
}

/// An actor that lives as long as its process: what a supervisor watches.
caf::behavior ProcessActor(caf::event_based_actor* self, std::shared_ptr<ProcessTable> table, std::shared_ptr<pid_t> pid) {
  self->set_exit_handler([self, table, pid](const caf::exit_msg& exit) {
    table->Kill(*pid);
    self->quit(exit.reason);
  });
  return {[self](const ProcessEnded& ended) { self->quit(ended.status == 0 ? caf::exit_reason::normal : caf::exit_reason::unhandled_exception); }};
}

class ProcessCluster final : public Cluster {
 public:
  ProcessCluster(ProcessOptions options, ClusterOptions cluster) : options_(std::move(options)), cluster_(std::move(cluster)) {}
  ~ProcessCluster() override {
    closing_ = true;
    if (supervisor_) StopAndWait(*system_, std::vector{supervisor_});   // starts nothing any more
    supervisor_ = nullptr;
    processes_->KillAll();
    if (system_ != nullptr) {
      StopAndWait(*system_, workers_);
      StopAndWait(*system_, shards_);
    }
    workers_.clear();
    shards_.clear();
    system_ = nullptr;
    folder_.Remove();
  }

  absl::Status Start() {
    TROUPE_RETURN_IF_ERROR(MakeFolder());
    TROUPE_RETURN_IF_ERROR(ChoosePlaces());
    system_ = std::make_unique<System>(System::Options{.node = NodeId{0}, .incarnation = Incarnation{1}, .compute_threads = 1});
    TROUPE_TRY(std::unique_ptr<RpcNetwork> network,
               RpcNetwork::Start({.node = NodeId{0},
                                  .incarnation = Incarnation{1},
                                  .cluster_id = job_,
                                  .token = token_,
                                  .build_id = BuildId(),
                                  .listen = {},
                                  .run = [system = system_.get()](const std::function<void()>& calls) { system->RunOnLink(calls); },
                                  .log =
                                      [this](const std::string& line) {
                                        if (options_.log) options_.log(line);
                                      }}));
    system_->SetNetwork(std::move(network));
    std::vector<SupervisedChild> children;
    for (uint32_t i = 0; i < cluster_.shards + cluster_.workers; ++i) {
      children_.push_back(std::make_unique<Child>(Describe(i)));
      Child& child = *children_.back();
      system_->network().Locate(child.node, {PlaceOf(child.node)});
      const ProxyOptions proxy{.to = {child.node, Incarnation{0}, kJobActor}, .timeout = options_.request_timeout};
      if (i < cluster_.shards) {
        shards_.push_back(SpawnProxy<ShardActor>(*system_, proxy));
      } else {
        workers_.push_back(SpawnProxy<WorkerActor>(*system_, proxy));
      }
      children.push_back({.spec = {.id = child.name, .restart = Restart::kPermanent}, .start = [this, &child] { return StartChild(child); }});
    }
    supervisor_ = SpawnSupervisor(*system_, options_.restart, std::move(children),
                                  {.restarted =
                                       [this](const std::string& child) {
                                         ++restarts_;
                                         if (options_.restarted) options_.restarted(child);
                                       },
                                   .gave_up = [this](const std::string& reason) { Fail(absl::UnavailableError(absl::StrCat("restarts used up: ", reason))); }});
    return absl::OkStatus();
  }

  System& system() override { return *system_; }
  const std::vector<WorkerActor>& workers() const override { return workers_; }
  const std::vector<ShardActor>& shards() const override { return shards_; }
  std::string move_folder() const override { return folder_.path(); }
  uint64_t restarts() const override { return restarts_; }
  absl::Status Await(Ending& ending) override {
    do {   // before the first wait as well: phases may be shorter than it
      if (cluster_.cancelled != nullptr && *cluster_.cancelled) return absl::CancelledError("stopped by a signal");
      std::lock_guard lock(mutex_);
      TROUPE_RETURN_IF_ERROR(failure_);
    } while (!ending.WaitFor(std::chrono::milliseconds(20)));
    return absl::OkStatus();
  }

 private:
  struct Child {
    std::string name;   // "shard 1"
    std::string role, index;
    NodeId node{};
    Spawn spawn;
    std::vector<int> inherit;
    std::atomic<uint64_t> incarnation{0};
    Child(std::string n, std::string r, std::string i, NodeId id, Spawn s, std::vector<int> fds)
        : name(std::move(n)), role(std::move(r)), index(std::move(i)), node(id), spawn(std::move(s)), inherit(std::move(fds)) {}
    Child(Child&& other) noexcept
        : name(std::move(other.name)),
          role(std::move(other.role)),
          index(std::move(other.index)),
          node(other.node),
          spawn(std::move(other.spawn)),
          inherit(std::move(other.inherit)) {}
  };

  absl::Status MakeFolder() {
    TROUPE_TRY(folder_, ScratchFolder::Make(options_.tmp));
    job_ = RandomHex();
    token_ = RandomHex();
    setenv("TROUPE_JOB_TOKEN", token_.c_str(), 1);   // not on a command line, which others can read
    return absl::OkStatus();
  }

  /// A child listens at one place in all its lives, so that the others need not be told of a replacement.
  absl::Status ChoosePlaces() {
    for (uint32_t i = 0; i < cluster_.shards + cluster_.workers; ++i) {
      if (options_.links == Links::kUnix) {
        places_.push_back(absl::StrCat("unix:", folder_.path(), "/node-", i + 1, ".sock"));
      } else {
        TROUPE_TRY(ReservedPort port, ReservedPort::Take());
        places_.push_back(port.place());
        ports_.push_back(std::move(port));
      }
    }
    return absl::OkStatus();
  }
  const std::string& PlaceOf(NodeId node) const { return places_[static_cast<uint32_t>(node) - 1]; }

  /// Nodes: 0 this process, then the shards, then the workers.
  Child Describe(uint32_t i) {
    const NodeId node{i + 1};
    if (i < cluster_.shards) {
      ShardActorOptions shard = ShardOptionsOf(cluster_, i);
      shard.snapshot_uri = absl::StrCat(folder_.path(), "/shard-", i, ".snapshot");
      shard.tier_folder = absl::StrCat(folder_.path(), "/shard-", i, ".rows");
      shard.snapshot_interval = options_.snapshot_interval;
      shard.pull_wait_max = options_.request_timeout * 4 / 5;
      return {absl::StrCat("shard ", i), "shard", absl::StrCat(i), node, Spawn{.factory = "shard", .actor = kJobActor, .arguments = EncodeShardJob(shard)}, {}};
    }
    const uint32_t worker = i - cluster_.shards;
    WorkerJob job{.options = cluster_.worker, .shards = {}};
    job.options.splits = SplitsOf(worker, cluster_.workers, cluster_.splits);
    for (uint32_t s = 0; s < cluster_.shards; ++s) job.shards.push_back({NodeId{s + 1}, {PlaceOf(NodeId{s + 1})}, kJobActor});
    return {absl::StrCat("worker ", worker),
            "worker",
            absl::StrCat(worker),
            node,
            Spawn{.factory = "worker", .actor = kJobActor, .arguments = EncodeWorkerJob(job)},
            cluster_.worker.source.spool_fds};
  }

  /// In the supervisor's context.
  absl::StatusOr<caf::actor> StartChild(Child& child) {
    if (closing_) return absl::CancelledError("closing");
    const uint64_t incarnation = ++child.incarnation;
    auto pid = std::make_shared<pid_t>(0);
    caf::actor actor = system_->actors().spawn<caf::hidden>(ProcessActor, processes_, pid);
    auto started =
        processes_->Start({.program = options_.program,
                           .arguments = {"troupe", child.role, child.index, "--node", absl::StrCat(static_cast<uint32_t>(child.node)), "--incarnation",
                                         absl::StrCat(incarnation), "--job", job_, "--folder", folder_.path(), "--listen", PlaceOf(child.node), "--parent",
                                         absl::StrCat(getpid()), "--request-timeout-ms", absl::StrCat(options_.request_timeout.count())},
                           .inherit = child.inherit,
                           .ended = [actor](int status) { System::Deliver(actor, ProcessEnded{status}); }});
    TROUPE_RETURN_IF_ERROR(started.status());
    *pid = *started;
    SendSpawn(child, incarnation);
    return actor;
  }

  /// Until it is answered, or the process has been replaced.
  void SendSpawn(Child& child, uint64_t incarnation) {
    if (closing_ || child.incarnation != incarnation) return;
    system_->network().Request({child.node, Incarnation{incarnation}, kSpawner}, Codec<Spawn>::Encode(child.spawn), Network::Lane::kControl,
                               options_.request_timeout, [this, &child, incarnation](const absl::StatusOr<Frame>& answer) {
                                 if (answer.ok() || closing_ || absl::IsCancelled(answer.status())) return;
                                 if (IsRetryable(answer.status())) {
                                   SendSpawn(child, incarnation);
                                 } else {
                                   Fail(answer.status());
                                 }
                               });
  }

  void Fail(const absl::Status& status) {
    std::lock_guard lock(mutex_);
    if (failure_.ok()) failure_ = status;
  }

  const ProcessOptions options_;
  const ClusterOptions cluster_;
  ScratchFolder folder_;
  std::string job_, token_;
  std::vector<std::string> places_;
  std::vector<ReservedPort> ports_;   // with TCP
  std::unique_ptr<System> system_;
  std::shared_ptr<ProcessTable> processes_ = std::make_shared<ProcessTable>();
  std::vector<std::unique_ptr<Child>> children_;
  caf::actor supervisor_;
  std::vector<ShardActor> shards_;
  std::vector<WorkerActor> workers_;
  std::atomic<uint64_t> restarts_{0};
  std::atomic<bool> closing_{false};
  std::mutex mutex_;
  absl::Status failure_;
};

}   // namespace

absl::StatusOr<std::unique_ptr<Cluster>> MakeProcessCluster(const ProcessOptions& options, const ClusterOptions& cluster) {
  for (const TableSpec& table : cluster.tables) {
    if (table.kept_by == KeptBy::kShards) continue;
    return absl::UnimplementedError(absl::StrCat("consistency of table '", table.name, "' is '", ToString(cluster.consistency.Of(table.name)),
                                                 "', which works in one process only: leave --processes away, or choose bsp"));
  }
  auto made = std::make_unique<ProcessCluster>(options, cluster);
  TROUPE_RETURN_IF_ERROR(made->Start());
  return made;
}

}   // namespace troupe
