#include "algorithms/run/process_cluster.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/compute_pool.h"
#include "actors/rpc_network.h"
#include "actors/spawner_actor.h"
#include "actors/status.h"
#include "actors/stop_actors.h"
#include "actors/supervisor_actor.h"
#include "actors/system.h"
#include "actors/text.h"
#include "algorithms/run/executor.h"
#include "algorithms/run/hand_over.h"
#include "algorithms/run/job_about.h"
#include "algorithms/run/split_dealer.h"
#include "algorithms/run/start_worker.h"
#include "algorithms/run/wire.h"
#include "caf/event_based_actor.hpp"
#include "caf/stateful_actor.hpp"
#include "ps/chain_client_actor.h"
#include "ps/chain_keeper_actor.h"
#include "ps/partition.h"
#include "ps/wire.h"

namespace troupe {
namespace {

struct ProcessEnded {
  bool normally;
};

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ProcessEnded)

namespace troupe {
namespace {

constexpr std::chrono::milliseconds kLeaveMax{500};
constexpr std::chrono::milliseconds kCatchUpMax{1'000};   // a writer that holds what is not stable looks after its shards four times in it
constexpr std::chrono::milliseconds kGoMax{
    5'000};   // of a process of a drained node: to end by itself. What is killed is certain to have ended only after its lease
constexpr std::chrono::milliseconds kLookEvery{500}, kSilenceMax{5'000};   // of processes of nodes, which attach four times a lease

// What the head is told of the splits: so often, and the less often the more processes there are; of so many.
constexpr std::chrono::milliseconds kPublishEvery{500}, kPublishEveryOf{10};
constexpr size_t kSplitsTold = 1024;

std::atomic<uint64_t> runs_of_nodes{0};   // that this process has driven

std::string RandomHex() {
  std::random_device device;
  std::string hex;
  for (int i = 0; i < 4; ++i) absl::StrAppend(&hex, absl::Hex(device(), absl::kZeroPad8));
  return hex;
}

/// When a process of a node was heard last, as far as it says so itself.
struct Heard {
  using Clock = std::chrono::steady_clock;
  std::atomic<Clock::rep> at{0};   // 0: it has said nothing yet
  void Now() { at = Clock::now().time_since_epoch().count(); }
};

/// Looks again and again whether the process is silent: stopped, or cut off. A driver that did not run itself for a while has heard nobody.
void WatchSilence(caf::event_based_actor* self, const std::shared_ptr<Heard>& heard, Heard::Clock::time_point looked, std::function<void()> silent) {
  const auto now = Heard::Clock::now();
  const Heard::Clock::time_point last{Heard::Clock::duration(heard->at.load())};
  if (heard->at != 0 && now - looked > 2 * kLookEvery) heard->Now();
  if (heard->at != 0 && now - looked <= 2 * kLookEvery && now - last > kSilenceMax) {
    silent();
    self->quit(caf::exit_reason::unhandled_exception);
    return;
  }
  self->delayed_send(self, kLookEvery, Thunk{[self, heard, now, silent = std::move(silent)] { WatchSilence(self, heard, now, silent); }});
}

/// An actor that lives as long as its process: what a supervisor watches. `heard` may be null.
caf::behavior ProcessActor(caf::event_based_actor* self, std::function<void()> kill, std::shared_ptr<Heard> heard, std::function<void()> silent) {
  if (heard != nullptr) WatchSilence(self, heard, Heard::Clock::now(), std::move(silent));
  self->set_exit_handler([self, kill](const caf::exit_msg& exit) {
    kill();
    self->quit(exit.reason);
  });
  return {[](const Thunk& thunk) { thunk.run(); },
          [self](const ProcessEnded& ended) { self->quit(ended.normally ? caf::exit_reason::normal : caf::exit_reason::unhandled_exception); }};
}

class ProcessCluster final : public Cluster {
 public:
  ProcessCluster(ProcessOptions options, ClusterOptions cluster) : options_(std::move(options)), cluster_(std::move(cluster)) {}
  /// The supervisor's end kills its children: on nodes the head would hear that they are wanted no more, each in its turn. Faster, and without a head, they are
  /// told to leave; then the launcher wants nothing. What either of them still says of ends goes to actors that are stopped, and nobody is replaced.
  ~ProcessCluster() override {
    closing_ = true;
    if (supervisor_) StopAndWait(*system_, std::vector{supervisor_});   // starts nothing any more
    supervisor_ = nullptr;
    EndHandOvers();
    if (chains_ != nullptr) StopAndWait(*system_, std::vector{chains_->actor()});
    if (!own_place_.empty()) SendLeave();
    if (launcher_ != nullptr) launcher_->KillAll();
    if (system_ != nullptr) StopAndWait(*system_, TakeHeirs());
    if (system_ != nullptr) {
      StopAndWait(*system_, workers_);
      StopAndWait(*system_, places_of_rows_);
    }
    workers_.clear();
    places_of_rows_.clear();
    chains_ = nullptr;
    system_ = nullptr;
    launcher_ = nullptr;   // with the job's folder
  }

  absl::Status Start() {
    job_ = options_.network ? options_.network->name : RandomHex();
    token_ = options_.network ? options_.network->token : RandomHex();
    TROUPE_TRY(launcher_, MakeLauncher());
    system_ = std::make_unique<System>(System::Options{.node = NodeId{0}, .incarnation = Incarnation{1}, .compute_threads = 1});
    std::optional<TlsCertificates> tls;
    if (options_.nodes && !options_.nodes->head.tls.empty()) {
      TROUPE_TRY(tls, ReadTlsFolder(options_.nodes->head.tls));
    }
    std::vector<std::pair<ActorId, Network::Handler>> handlers = {
        {kDirectoryActor, [this](const Frame& frame, const Network::Reply& reply) { OnAttach(frame, reply); }}};
    if (options_.serve) {
      for (auto& served : options_.serve([this] { return WhereShardsAre(); })) handlers.push_back(std::move(served));
    }
    TROUPE_TRY(std::unique_ptr<RpcNetwork> network,
               RpcNetwork::Start({.node = NodeId{0},
                                  .incarnation = Incarnation{1},
                                  .cluster_id = job_,
                                  .token = token_,
                                  .build_id = options_.network ? options_.network->build : BuildId(),
                                  .tls = std::move(tls),
                                  .listen = launcher_->listen(),
                                  .handlers = std::move(handlers),
                                  .run = [system = system_.get()](const std::function<void()>& calls) { system->RunOnLink(calls); },
                                  .log =
                                      [this](const std::string& line) {
                                        if (options_.log) options_.log(line);
                                      }}));
    if (!launcher_->listen().empty()) own_place_ = network->places().front();
    system_->SetNetwork(std::move(network));
    about_ = {.tables = AboutTables(cluster_.tables, cluster_.shards, cluster_.replication), .data = cluster_.worker.source.uri, .splits = {}};
    Publish();
    if (cluster_.replication > 1) StartChains();
    std::vector<SupervisedChild> children;
    hand_overs_.emplace(Processes(), Idle());
    if (Idle() > 0) hand_over_thread_ = MakeComputePool(system_->actors(), 1);
    for (uint32_t i = 0; i < Processes() + Idle(); ++i) {
      children_.push_back(Describe(i));
      if (i >= Processes()) continue;
      Child& child = *children_.back();
      if (!child.places.empty()) system_->network().Locate(child.node, child.places);
      const ProxyOptions proxy{.to = {child.node, Incarnation{0}, kJobActor}, .timeout = options_.request_timeout};
      if (child.role == "worker") {
        workers_.push_back(SpawnProxy<WorkerActor>(*system_, proxy));
      } else if (chains_ == nullptr) {
        places_of_rows_.push_back(SpawnProxy<ShardActor>(*system_, proxy));
      }
      children.push_back({.spec = {.id = child.name, .restart = Restart::kPermanent},
                          .start = [this, i] { return StartPlace(i); },
                          .planned = [this, i] { return WasToEnd(i); }});
    }
    described_ = true;
    if (Keeps()) {
      const Address tables{NodeOf(0), Incarnation{0}, kMemberActor};
      places_of_rows_.push_back(SpawnProxy<ShardActor>(*system_, {.to = tables, .timeout = options_.request_timeout}));
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
  bool splits_move() const override { return !Keeps(); }
  std::vector<uint32_t> leaving() const override {
    std::vector<uint32_t> all;
    for (uint32_t worker = 0; worker < cluster_.workers; ++worker) {
      const Child& child = WorkerChild(worker);
      if (child.leaves > 0 && child.leaves == child.incarnation) all.push_back(worker);
    }
    return all;
  }
  void LetGo(uint32_t worker) override {
    Child& child = WorkerChild(worker);
    const uint64_t incarnation = child.leaves;
    if (incarnation > 0 && incarnation == child.incarnation && child.to_end != incarnation) End(child, incarnation);
  }
  void OnSplits(const SplitDealer& dealer) override {
    const auto now = std::chrono::steady_clock::now();
    const bool ends = dealer.done() && about_.splits_done < about_.splits_all;   // what was told before is true no more for longer than a moment
    if (!options_.nodes || (now < publish_at_ && !ends)) return;
    publish_at_ = now + kPublishEvery + Processes() * kPublishEveryOf;
    about_.splits.clear();
    about_.splits_all = dealer.reports().size();
    about_.splits_done = static_cast<uint64_t>(std::ranges::count_if(dealer.reports(), &SplitReport::has_ended));
    for (const SplitReport& report : std::span(dealer.reports()).first(std::min(dealer.reports().size(), kSplitsTold))) {
      const uint64_t bytes = report.has_ended() ? report.bytes_total : std::min(report.bytes, report.bytes_total);
      about_.splits.push_back({.split = report.split,
                               .worker = dealer.WorkerOf(report.split),
                               .done = report.has_ended(),
                               .percent = report.bytes_total == 0 ? 0 : static_cast<uint32_t>(100 * bytes / report.bytes_total),
                               .batches = report.batches,
                               .rows = report.rows});
    }
    Publish();
  }
  const std::vector<ShardActor>& shards() const override { return places_of_rows_; }
  std::string move_folder() const override { return launcher_->folder(); }
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
    std::string name;   // "shard 1", "shard 1/2": the second that holds it
    std::string role, index;
    NodeId node{};
    uint32_t number = 0;   // of the worker, or of the shard
    std::function<Spawn(uint64_t incarnation)> spawn;
    std::vector<int> inherit;
    std::vector<std::string> places;   // where it listens, as far as it is known
    std::atomic<uint64_t> incarnation{0};
    std::atomic<std::shared_ptr<Heard>> heard{};
    std::atomic<uint64_t> attached{0};   // the last life that has said where it listens
    uint64_t spawned = 0;                // and the last that was told what it is
    std::atomic<uint64_t> leaves{0};     // of a worker: the last life whose node is drained
    std::atomic<uint64_t> to_end{0};     // the last life that was told to end: others have its place, or its splits
  };

  /// One life of a child, about to be started.
  struct Begun {
    Child* child;
    uint64_t incarnation;
    caf::actor actor;
  };

  /// To the head.
  void Publish() {
    launcher_->Publish({.place = options_.network ? own_place_ : "",
                        .network = options_.network ? job_ : "",
                        .token = options_.network ? token_ : "",
                        .about = WriteAbout(about_)});
  }
  absl::StatusOr<std::unique_ptr<Launcher>> MakeLauncher() {
    if (options_.nodes) return MakeNodeLauncher(*options_.nodes, [this](const absl::Status& status) { Fail(status); });
    return MakeLocalLauncher(options_, Processes());
  }
  /// Shards, workers, and behind them what else holds shards.
  uint32_t Processes() const { return cluster_.shards * cluster_.replication + cluster_.workers; }
  /// And behind all of these, one more for each shard (hand_over.h): nodes may be drained.
  uint32_t Idle() const { return options_.nodes && cluster_.replication > 1 ? cluster_.shards : 0; }

  void StartChains() {
    for (uint32_t i = 0; i < cluster_.shards; ++i) {
      places_of_rows_.push_back(SpawnChainClient(
          *system_, {.shard = i, .request_timeout = options_.request_timeout, .cuts_at_first = CutsAtFirst(cluster_.tables, cluster_.consistency)}));
    }
    chains_ = std::make_unique<ChainKeepers>(*system_, ChainKeepersOptions{.shards = cluster_.shards,
                                                                           .epochs_after = options_.epochs_after,
                                                                           .request_timeout = options_.request_timeout,
                                                                           .routed =
                                                                               [this, clients = places_of_rows_](const ChainRoute& route) {
                                                                                 SetRoute(clients[route.shard], route);
                                                                                 const std::lock_guard lock(mutex_);
                                                                                 routes_[route.shard] = route;
                                                                               },
                                                                           .changed = [this](uint32_t shard, const ChainView& view) { OnChain(shard, view); },
                                                                           .failed = [this](const absl::Status& status) { Fail(status); },
                                                                           .log =
                                                                               [this](const std::string& line) {
                                                                                 if (options_.log) options_.log(line);
                                                                               }});
  }
  static ChainMember MemberOf(const Child& child, uint64_t incarnation) { return {child.node, Incarnation{incarnation}}; }
  /// A life of the child has ended, or is given up.
  void LeaveChains(const Child& child, uint64_t incarnation, bool certain) {
    if (chains_ == nullptr) return;
    const ChainMember process = MemberOf(child, incarnation);
    if (child.role == "worker") {
      chains_->Forget(process);
    } else {
      certain ? chains_->Gone(child.number, process) : chains_->Lost(child.number, process);
    }
  }
  std::vector<ShardPlace> Places() const {
    std::vector<ShardPlace> all;
    for (uint32_t i = 0; i < Processes() + Idle(); ++i) all.push_back({NodeId{i + 1}, PlacesOfNode(NodeId{i + 1}), kJobActor});
    return all;
  }
  /// Nothing, where it is not known before the process has started.
  std::vector<std::string> PlacesOfNode(NodeId node) const {
    std::string place = launcher_->PlaceOf(node);
    return place.empty() ? std::vector<std::string>() : std::vector{std::move(place)};
  }
  /// On the link thread.
  ProcessOptions::ShardsAt WhereShardsAre() const {
    ProcessOptions::ShardsAt at;
    const auto place = [this](uint32_t i) {
      const bool there = described_ && children_[i]->attached > 0 && children_[i]->attached == children_[i]->incarnation;
      return ShardPlace{NodeId{i + 1}, there ? children_[i]->places : std::vector<std::string>(), kJobActor};
    };
    for (uint32_t i = 0; i < cluster_.shards; ++i) at.processes.push_back(place(i));
    if (cluster_.replication == 1) return at;
    for (uint32_t i = cluster_.shards + cluster_.workers; i < Processes() + Idle(); ++i) at.processes.push_back(place(i));
    const std::lock_guard lock(mutex_);
    for (const auto& [shard, route] : routes_) at.routes.push_back(route);
    return at;
  }
  NodeId NodeOf(uint32_t worker) const { return NodeId{cluster_.shards + worker + 1}; }
  /// Do the workers keep tables?
  bool Keeps() const { return PlacesOf(cluster_.tables, cluster_.shards) > cluster_.shards; }

  // --- nodes that are drained: hand_over.h ---

  /// The process of a place, or its replacement. In the supervisor's context.
  absl::StatusOr<caf::actor> StartPlace(uint32_t place) {
    uint32_t holder = 0;
    caf::actor heir;
    std::optional<Begun> next;
    {
      const std::lock_guard lock(hand_over_mutex_);
      const Child& before = *children_[hand_overs_->HolderOf(place)];
      if (before.role == "shard" && Idle() > 0) {
        const HandOvers::Replaced replaced = hand_overs_->Replace(place, before.number, before.incarnation);
        if (replaced.heir) heir = std::exchange(heirs_[before.number], caf::actor());
        next = BeginHeir(replaced.begins);
      }
      holder = hand_overs_->HolderOf(place);
    }
    RunHeir(next);
    if (heir) return heir;
    return StartChild(*children_[holder]);
  }
  void OnLeaves(Child& child, uint64_t incarnation) {
    if (options_.log) options_.log(absl::StrCat(child.name, " leaves its node: another process takes its place elsewhere"));
    if (child.role == "worker") {
      child.leaves = incarnation;
      return;
    }
    BeginHeirOf([this, &child, incarnation] { return hand_overs_->Leaves(child.number, LifeOf(child, incarnation)); });
  }
  void EndHandOvers() {
    std::unique_ptr<Compute> thread;
    const std::lock_guard lock(hand_over_mutex_);
    thread.swap(hand_over_thread_);
  }
  bool WasToEnd(uint32_t place) {
    const std::lock_guard lock(hand_over_mutex_);
    const Child& child = *children_[hand_overs_->HolderOf(place)];
    return child.to_end > 0 && child.to_end == child.incarnation;
  }
  void OnEnded(const Child& child, uint64_t incarnation) {
    if (child.role != "shard" || Idle() == 0) return;
    BeginHeirOf([this, &child, incarnation] { return hand_overs_->Ended(child.number, LifeOf(child, incarnation)); });
  }
  /// By a thread of its own: an actor that a launcher's thread spawned would keep our actor system from ending as long as that thread lives, for CAF notes
  /// whose thread it is. And nothing else is to be waited for.
  void BeginHeirOf(std::function<std::optional<uint32_t>()> decide) {
    const std::lock_guard lock(hand_over_mutex_);
    if (hand_over_thread_ == nullptr) return;
    hand_over_thread_->Submit(Compute::Priority::kStep, [this, decide = std::move(decide)] {
      std::optional<Begun> begun;
      {
        const std::lock_guard lock(hand_over_mutex_);
        begun = BeginHeir(decide());
      }
      RunHeir(begun);
    });
  }
  /// In the keeper's context.
  void OnChain(uint32_t shard, const ChainView& view) {
    if (Idle() == 0) return;
    std::optional<HandOvers::Life> ends;
    {
      const std::lock_guard lock(hand_over_mutex_);
      ends = hand_overs_->ChainChanged(shard, [&](const HandOvers::Life& life) {
        return std::ranges::find(view.members, MemberOf(*children_[life.process], life.incarnation)) != view.members.end();
      });
    }
    if (ends) End(*children_[ends->process], ends->incarnation);
  }
  /// A life that is wanted no more ends by itself, as its node will say; where it cannot hear, it is ended.
  void End(Child& child, uint64_t incarnation) {
    if (closing_) return;
    child.to_end = incarnation;
    system_->network().Request({child.node, Incarnation{incarnation}, kDirectoryActor}, Codec<Leave>::Encode({}), Network::Lane::kControl, kGoMax,
                               [this, name = child.name, incarnation](const absl::StatusOr<Frame>& answer) {
                                 if (!closing_ && absl::IsDeadlineExceeded(answer.status())) launcher_->Kill(name, incarnation);
                               });
  }
  Child& WorkerChild(uint32_t worker) const { return *children_[cluster_.shards + worker]; }
  /// In a run whose splits may move, a worker hands them over before it ends.
  bool HandsOverSplits(const Child& child) const { return child.role == "worker" && options_.nodes && splits_move() && !cluster_.ranges_move; }
  /// With the mutex held; RunHeir follows, without.
  std::optional<Begun> BeginHeir(std::optional<uint32_t> process) {
    if (!process || closing_) return std::nullopt;
    Child& child = *children_[*process];
    Begun begun = BeginLife(child);
    hand_overs_->Starts(child.number, begun.incarnation);
    heirs_[child.number] = begun.actor;
    return begun;
  }
  void RunHeir(const std::optional<Begun>& begun) {
    if (!begun) return;
    if (!RunLife(*begun).ok()) OnEnded(*begun->child, begun->incarnation);
  }
  std::vector<caf::actor> TakeHeirs() {
    const std::lock_guard lock(hand_over_mutex_);
    std::vector<caf::actor> all;
    for (auto& [shard, heir] : heirs_) {
      if (heir) all.push_back(std::move(heir));
    }
    heirs_.clear();
    return all;
  }
  static HandOvers::Life LifeOf(const Child& child, uint64_t incarnation) { return {static_cast<uint32_t>(child.node) - 1, incarnation}; }

  /// Nodes: 0 this process, then the shards, then the workers, then the second process of each shard, and so on.
  std::unique_ptr<Child> Describe(uint32_t i) {
    auto child = std::make_unique<Child>();
    child->node = NodeId{i + 1};
    child->places = PlacesOfNode(child->node);
    child->incarnation = LivesBefore();
    const uint32_t others = cluster_.shards + cluster_.workers;
    const bool shard = i < cluster_.shards || i >= others;
    const uint32_t index = i < cluster_.shards ? i : i < others ? i - cluster_.shards : (i - others) % cluster_.shards;
    child->number = index;
    child->role = shard ? "shard" : "worker";
    child->index = absl::StrCat(index);
    if (i >= others) absl::StrAppend(&child->index, "/", (i - others) / cluster_.shards + 2);
    child->name = absl::StrCat(child->role, " ", child->index);
    if (shard && chains_ != nullptr) {
      child->spawn = [this, index, node = child->node](uint64_t incarnation) { return SpawnOfReplica(index, node, incarnation); };
    } else if (shard) {
      child->spawn = [this, index](uint64_t incarnation) { return SpawnOfShard(index, incarnation); };
    } else {
      child->inherit = options_.nodes ? std::vector<int>() : cluster_.worker.source.spool_fds;
      child->spawn = [this, index](uint64_t incarnation) { return SpawnOfWorker(index, incarnation); };
    }
    return child;
  }

  /// Lives in other runs have other numbers, of drivers before this one and of this one.
  uint64_t LivesBefore() const { return options_.nodes ? (options_.nodes->attempt - 1) * kLivesOfAttempt + run_ * kLivesOfRun : 0; }

  /// Where this life of what is called `what` keeps its state, and which state it begins with.
  void KeepIn(const std::string& what, uint64_t incarnation, ShardActorOptions& options) const {
    const std::string file = absl::StrCat(launcher_->folder(), "/", what, ".snapshot");
    options.snapshot_uri = file;
    if (!launcher_->lives_overlap()) return;
    options.snapshot_uri = absl::StrCat(file, ".", incarnation);
    for (uint64_t life = incarnation - 1; life > LivesBefore(); --life) {   // the newest of the lives before it that has left something
      std::error_code ignored;
      std::string earlier = absl::StrCat(file, ".", life);
      if (!std::filesystem::exists(earlier, ignored)) continue;
      options.restore_uri = std::move(earlier);
      return;
    }
  }

  Spawn SpawnOfShard(uint32_t index, uint64_t incarnation) const {
    ShardActorOptions shard = ShardOptionsOf(cluster_, index);
    if (shard.log_folder.empty()) KeepIn(absl::StrCat("shard-", index), incarnation, shard);
    shard.tier_folder = absl::StrCat(launcher_->folder(), "/shard-", index, ".rows", launcher_->lives_overlap() ? absl::StrCat(".", incarnation) : "");
    shard.snapshot_interval = options_.snapshot_interval;
    shard.pull_wait_max = options_.request_timeout * 4 / 5;
    if (shard.log_folder.empty() && incarnation > LivesBefore() + 1) shard.catch_up_max = kCatchUpMax;
    return {.factory = "shard", .actor = kJobActor, .arguments = EncodeShardJob(shard)};
  }

  /// Its files are its chain's, and whatever it keeps on its own disk its life's.
  Spawn SpawnOfReplica(uint32_t index, NodeId node, uint64_t incarnation) const {
    ReplicaJob job{.shard = ShardOptionsOf(cluster_, index), .places = Places()};
    if (job.shard.log_folder.empty()) job.shard.snapshot_uri = absl::StrCat(launcher_->folder(), "/shard-", index, ".snapshot");
    job.shard.tier_folder = absl::StrCat(launcher_->folder(), "/shard-", index, ".rows.", static_cast<uint32_t>(node), ".", incarnation);
    job.shard.snapshot_interval = options_.snapshot_interval;
    job.shard.pull_wait_max = options_.request_timeout * 4 / 5;
    job.shard.catch_up_max = kCatchUpMax;
    return {.factory = "replica", .actor = kJobActor, .arguments = EncodeReplicaJob(job)};
  }

  Spawn SpawnOfWorker(uint32_t index, uint64_t incarnation) const {
    WorkerJob job{.options = cluster_.worker, .shards = {}};
    if (options_.nodes) job.options.source.spool_fds.clear();   // they are this machine's
    if (chains_ != nullptr) job.chains = Places();
    for (uint32_t s = 0; s < cluster_.shards; ++s) job.shards.push_back({NodeId{s + 1}, PlacesOfNode(NodeId{s + 1}), kJobActor});
    std::vector<ShardPlace> workers;
    for (uint32_t w = 0; w < cluster_.workers; ++w) workers.push_back({NodeOf(w), PlacesOfNode(NodeOf(w)), kJobActor});
    job.group = GroupJobOf(cluster_, index, std::move(workers));
    if (job.group && index == 0) {   // what a group goes on from that has lost all its members
      KeepIn("tables-of-workers", incarnation, job.group->copy);
      job.group->copy.snapshot_interval = options_.snapshot_interval;
    }
    return {.factory = "worker", .actor = kJobActor, .arguments = EncodeWorkerJob(job)};
  }

  /// A worker that others do without begins when there is room for it alone.
  Placing PlacingOf(const Child& child) const {
    if (child.role == "worker" && child.number >= cluster_.workers - cluster_.spare) return Placing::kSpare;
    return child.incarnation > LivesBefore() + 1 ? Placing::kAlone : Placing::kTogether;
  }

  /// In the supervisor's context.
  absl::StatusOr<caf::actor> StartChild(Child& child) {
    if (closing_) return absl::CancelledError("closing");
    const Begun begun = BeginLife(child);
    TROUPE_RETURN_IF_ERROR(RunLife(begun));
    return begun.actor;
  }

  /// The actor of the child's next life, which does not run yet.
  Begun BeginLife(Child& child) {
    const uint64_t incarnation = ++child.incarnation;
    child.heard = own_place_.empty() ? nullptr : std::make_shared<Heard>();
    caf::actor actor = system_->actors().spawn<caf::hidden>(
        ProcessActor, std::function<void()>([launcher = launcher_.get(), name = child.name, incarnation] { launcher->Kill(name, incarnation); }),
        child.heard.load(), std::function<void()>([this, &child, incarnation] {
          if (options_.log) options_.log(absl::StrCat(child.name, " is given up: it has not been heard for ", kSilenceMax.count() / 1000, " s"));
          LeaveChains(child, incarnation, false);
          ForgetPlace(child, incarnation);
          launcher_->Kill(child.name, incarnation);
        }));
    return {&child, incarnation, std::move(actor)};
  }
  absl::Status RunLife(const Begun& begun) {
    Child& child = *begun.child;
    const uint64_t incarnation = begun.incarnation;
    std::vector<std::string> flags = {"--node",
                                      absl::StrCat(static_cast<uint32_t>(child.node)),
                                      "--incarnation",
                                      absl::StrCat(incarnation),
                                      "--job",
                                      job_,
                                      "--folder",
                                      launcher_->folder(),
                                      "--request-timeout-ms",
                                      absl::StrCat(options_.request_timeout.count())};
    if (!own_place_.empty()) flags.insert(flags.end(), {"--driver", own_place_});
    if (options_.network) flags.insert(flags.end(), {"--build", options_.network->build});
    Launch launch{.role = child.role,
                  .index = child.index,
                  .node = child.node,
                  .incarnation = incarnation,
                  .flags = std::move(flags),
                  .inherit = child.inherit,
                  .placing = PlacingOf(child),
                  .ended = [this, actor = begun.actor, &child, incarnation](const Launch::End& end) {
                    if (options_.log) options_.log(absl::StrCat(child.name, " ended: ", end.how));
                    LeaveChains(child, incarnation, end.certain);
                    ForgetPlace(child, incarnation);
                    OnEnded(child, incarnation);
                    System::Deliver(actor, ProcessEnded{end.normally});
                  }};
    if ((child.role == "shard" && Idle() > 0) || HandsOverSplits(child)) launch.leaves = [this, &child, incarnation] { OnLeaves(child, incarnation); };
    TROUPE_RETURN_IF_ERROR(launcher_->Start(std::move(launch), token_));
    if (own_place_.empty()) SendSpawn(child, incarnation, child.spawn(incarnation));
    return absl::OkStatus();
  }

  /// Nobody waits for answers of a life that is given up: where its host is cut off or stopped, its connections stand for long. Before the next life begins.
  void ForgetPlace(const Child& child, uint64_t incarnation) {
    if (closing_) return;   // then they are told to leave
    if (!own_place_.empty() && child.incarnation == incarnation) system_->network().Locate(child.node, {});
  }

  /// A process of a node says where it listens; again and again, so that it knows that it is wanted.
  void OnAttach(const Frame& frame, const Network::Reply& reply) {
    const absl::StatusOr<Attach> attach = Codec<Attach>::Decode(frame);
    if (!attach.ok()) return reply(attach.status());
    if (closing_) return reply(absl::UnavailableError("the job is at its end"));
    const auto index = static_cast<size_t>(static_cast<uint32_t>(attach->node)) - 1;
    if (index >= children_.size() || children_[index]->incarnation != static_cast<uint64_t>(attach->incarnation)) {
      return reply(absl::FailedPreconditionError("the job has replaced this process"));
    }
    Child& child = *children_[index];
    if (const std::shared_ptr<Heard> heard = child.heard.load()) heard->Now();
    if (chains_ != nullptr && child.role == "shard") {
      chains_->Grant(child.number, {attach->node, attach->incarnation}, kShardLease, [reply](bool granted) {
        granted ? reply(Codec<Attached>::Encode({})) : reply(absl::FailedPreconditionError("the job has given this process up"));
      });
    } else {
      reply(Codec<Attached>::Encode({}));
    }
    if (child.attached == static_cast<uint64_t>(attach->incarnation)) return;
    child.attached = static_cast<uint64_t>(attach->incarnation);
    child.places = attach->places;
    system_->network().Locate(child.node, child.places);
    for (const auto& other : children_) {
      if (other->attached > 0 && other->attached == other->incarnation) SendLocations(*other, other->attached);
    }
    for (const auto& other : children_) {
      const bool ready = other->role == "shard" || chains_ != nullptr ||
                         std::all_of(children_.begin(), children_.begin() + cluster_.shards, [](const auto& shard) { return shard->attached > 0; });
      if (!ready || other->attached == 0 || other->attached != other->incarnation || other->spawned == other->attached) continue;
      other->spawned = other->attached;
      SendSpawn(*other, other->attached, other->spawn(other->attached));
    }
  }

  /// Ends the processes of nodes without the head, which may be away: what they would still write is in the job's folder.
  void SendLeave() {
    auto open = std::make_shared<std::atomic<size_t>>(0);
    auto none = std::make_shared<Ending>();
    std::vector<Address> all;
    for (const auto& child : children_) {
      if (child->attached > 0) all.push_back({child->node, Incarnation{child->attached.load()}, kDirectoryActor});
    }
    *open = all.size();
    for (const Address& to : all) {
      system_->network().Request(to, Codec<Leave>::Encode({}), Network::Lane::kControl, kLeaveMax, [open, none](const absl::StatusOr<Frame>&) {
        if (--*open == 0) none->Set();
      });
    }
    if (!all.empty()) none->WaitFor(kLeaveMax);
  }

  /// Where everybody is, to one that may not know; until it is answered, or the process has been replaced.
  void SendLocations(Child& child, uint64_t incarnation) {
    if (closing_ || child.incarnation != incarnation) return;
    Locations all;
    for (const auto& other : children_) {
      if (!other->places.empty()) all.nodes.push_back({other->node, other->places, kJobActor});
    }
    system_->network().Request({child.node, Incarnation{incarnation}, kDirectoryActor}, Codec<Locations>::Encode(all), Network::Lane::kControl,
                               options_.request_timeout, [this, &child, incarnation](const absl::StatusOr<Frame>& answer) {
                                 if (!answer.ok() && !closing_ && IsRetryable(answer.status()) && !absl::IsCancelled(answer.status())) {
                                   SendLocations(child, incarnation);
                                 }
                               });
  }

  /// Until it is answered, or the process has been replaced.
  void SendSpawn(Child& child, uint64_t incarnation, const Spawn& spawn) {
    if (closing_ || child.incarnation != incarnation) return;
    system_->network().Request({child.node, Incarnation{incarnation}, kSpawner}, Codec<Spawn>::Encode(spawn), Network::Lane::kControl, options_.request_timeout,
                               [this, &child, incarnation, spawn](const absl::StatusOr<Frame>& answer) {
                                 if (closing_ || absl::IsCancelled(answer.status())) return;
                                 if (answer.ok()) {
                                   JoinChains(child, incarnation);
                                 } else if (IsRetryable(answer.status())) {
                                   SendSpawn(child, incarnation, spawn);
                                 } else {
                                   Fail(answer.status());
                                 }
                               });
  }

  /// A life of the child is what it is to be.
  void JoinChains(const Child& child, uint64_t incarnation) {
    if (chains_ == nullptr || child.incarnation != incarnation) return;
    const ChainMember process = MemberOf(child, incarnation);
    child.role == "worker" ? chains_->Listen(process) : chains_->Ready(child.number, process);
  }

  void Fail(const absl::Status& status) {
    std::lock_guard lock(mutex_);
    if (failure_.ok()) failure_ = status;
  }

  const ProcessOptions options_;
  const ClusterOptions cluster_;
  const uint64_t run_ = options_.nodes ? runs_of_nodes++ : 0;   // of this process
  std::string job_, token_;
  std::string own_place_;   // where processes of nodes attach; empty: they are children of this one
  std::unique_ptr<Launcher> launcher_;
  std::unique_ptr<System> system_;
  std::vector<std::unique_ptr<Child>> children_;
  caf::actor supervisor_;
  std::mutex hand_over_mutex_;             // never held while something is started or ended, which may call back at once
  std::optional<HandOvers> hand_overs_;    // set before anything is started
  std::map<uint32_t, caf::actor> heirs_;   // by shard: of the process that has no place yet
  std::unique_ptr<Compute> hand_over_thread_;
  std::unique_ptr<ChainKeepers> chains_;     // null: each shard is one process
  std::vector<ShardActor> places_of_rows_;   // the shards, and the tables of worker 0
  std::vector<WorkerActor> workers_;
  AboutJob about_;   // of Start, then of the phases' actors, one after the other
  std::chrono::steady_clock::time_point publish_at_{};
  std::atomic<uint64_t> restarts_{0};
  std::atomic<bool> closing_{false}, described_{false};   // the latter: all of children_ are there
  mutable std::mutex mutex_;
  absl::Status failure_;
  std::map<uint32_t, ChainRoute> routes_;   // by shard
};

}   // namespace

absl::StatusOr<std::unique_ptr<Cluster>> MakeProcessCluster(const ProcessOptions& options, const ClusterOptions& cluster) {
  auto made = std::make_unique<ProcessCluster>(options, cluster);
  TROUPE_RETURN_IF_ERROR(made->Start());
  return made;
}

}   // namespace troupe
