#include "tools/troupe/head.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "actors/caf_status.h"
#include "actors/cluster/cluster_link.h"
#include "actors/cluster/head_actor.h"
#include "actors/cluster/standby_actor.h"
#include "actors/cluster/store.h"
#include "actors/status.h"
#include "actors/stop_actors.h"
#include "actors/storage/storage.h"
#include "actors/text.h"
#include "actors/this_process.h"

namespace troupe {
namespace {

constexpr std::chrono::milliseconds kLook{200};        // of a standby: does the one that leads still lead?
constexpr std::chrono::seconds kStoreMax{10};          // for the store to answer for the first time
constexpr std::chrono::milliseconds kCopyAgain{500};   // programs of the one that leads

absl::StatusOr<std::shared_ptr<Store>> OpenStore(const NodeFlags& flags, const std::string& state) {
  if (flags.store.empty()) return OpenSqliteStore(state + "/head.sqlite");
  std::string_view place = flags.store;
  if (!place.starts_with("etcd:")) return absl::InvalidArgumentError(absl::StrCat("--store is '", flags.store, "', expected etcd:HOST:PORT,...[/PREFIX]"));
  place.remove_prefix(5);
  const absl::StatusOr<EtcdStoreOptions> options = ParseEtcdStore(std::string(place));
  if (!options.ok()) return WithContext(options.status(), "--store");
  return OpenEtcdStore(*options);
}

/// Copies programs from the one that leads, on a thread of its own, until it ends.
class ProgramCopies {
 public:
  ProgramCopies(ClusterAddress leader, std::string folder, const Log& log)
      : thread_([this, leader = std::move(leader), folder = std::move(folder), &log] { Run(leader, folder, log); }) {}
  ~ProgramCopies() {
    stop_ = true;
    thread_.join();
  }

 private:
  void Run(const ClusterAddress& leader, const std::string& folder, const Log& log) {
    const auto link = ClusterLink::Open({.address = leader});
    if (!link.ok()) return log.Warning("standby", {{"error", Message(link.status())}});
    for (uint64_t seen = 0; !stop_;) {
      const absl::Status status = CopyPrograms(**link, folder, seen, [this] { return stop_.load(); });
      if (!status.ok() && !IsRetryable(status)) log.Warning("standby", {{"error", Message(status)}});
      for (auto waited = std::chrono::milliseconds(0); waited < kCopyAgain && !stop_; waited += kLook / 4) std::this_thread::sleep_for(kLook / 4);
    }
  }
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

/// Waits until this head leads, and gives its generation; 0: it was asked to stop before.
class Candidate {
 public:
  Candidate(ClusterLink& link, Store& store, const ClusterAddress& self, std::string programs, const Log& log)
      : link_(link), store_(store), self_(self), programs_(std::move(programs)), log_(log) {}
  ~Candidate() {
    if (actor_) StopAndWait(link_.system(), std::vector{actor_});
  }

  absl::StatusOr<uint64_t> Run() {
    const auto give_up = std::chrono::steady_clock::now() + kStoreMax;
    for (bool answered = false; !StopAsked(); std::this_thread::sleep_for(kLook)) {
      const absl::StatusOr<Store::Election> election = store_.Campaign(self_.head);
      if (!election.ok()) {
        const bool again = IsRetryable(election.status()) && (answered || std::chrono::steady_clock::now() < give_up);
        if (!again) return election.status();
        log_.Warning("store", {{"error", Message(election.status())}});
        continue;
      }
      answered = true;
      if (election->generation != 0) return election->generation;
      TROUPE_RETURN_IF_ERROR(StandBy(election->leader));
    }
    return 0;
  }

 private:
  absl::Status StandBy(const std::string& leader) {
    if (!actor_) {
      actor_ = SpawnStandby(link_.system(), [this] {
        std::lock_guard lock(mutex_);
        return leader_;
      });
      Expose(link_.system(), kHeadActor, actor_);
    }
    {
      std::lock_guard lock(mutex_);
      if (leader == std::exchange(leader_, leader) || leader.empty()) return absl::OkStatus();
    }
    copies_.reset();
    ClusterAddress address = self_;
    address.head = leader;
    if (leader != self_.head) copies_.emplace(std::move(address), programs_, log_);   // an earlier life of this one, whose lease is not over yet
    log_.Info("standby", {{"of", leader}});
    return SayLine(absl::StrCat("standby of ", leader));
  }

  ClusterLink& link_;
  Store& store_;
  const ClusterAddress self_;
  const std::string programs_;
  const Log& log_;
  HeadActor actor_;
  std::mutex mutex_;
  std::string leader_;
  std::optional<ProgramCopies> copies_;
};

absl::Status Lead(const NodeFlags& flags, const std::string& state, const std::string& programs, const std::shared_ptr<Store>& store, ClusterLink& link,
                  uint64_t generation, const Log& log) {
  HeadOptions options;
  TROUPE_TRY(options.queues, flags.Queues());
  const RealClock clock;
  Outcome outcome;
  TROUPE_TRY(const HeadActor head, SpawnHead(link.system(), {.head = options,
                                                             .store = store,
                                                             .generation = generation,
                                                             .program_folder = programs,
                                                             .clock = &clock,
                                                             .log = &log,
                                                             .ended = [&outcome](const absl::Status& status) { outcome.Set(status); }}));
  Expose(link.system(), kHeadActor, head);
  log.Info("head", {{"listening", link.place()}, {"state", state}, {"generation", generation}});
  const absl::Status said = !flags.store.empty() ? SayLine(absl::StrCat("leading, generation ", generation)) : absl::OkStatus();
  while (said.ok() && !StopAsked()) {
    if (outcome.WaitFor(std::chrono::milliseconds(100))) return outcome.status();
  }
  StopAndWait(link.system(), std::vector{head});
  store->Resign();
  return said;
}

}   // namespace

absl::Status BeHead(const NodeFlags& flags, NodeAccess access, const Log& log) {
  std::string state = flags.state;
  if (state.empty()) {
    const char* home = std::getenv("HOME");
    if (home == nullptr || *home == '\0') return absl::InvalidArgumentError("--state is missing, and $HOME is not set");
    state = absl::StrCat(home, "/.troupe");
  }
  TROUPE_RETURN_IF_ERROR(MakeLocalStorage()->MakeFolder(state));
  TROUPE_RETURN_IF_ERROR(LockState(state));
  TROUPE_TRY(const std::shared_ptr<Store> store, OpenStore(flags, state));
  TROUPE_TRY(const std::unique_ptr<ClusterLink> link, ClusterLink::Open({.address = {{}, access.token, access.tls},
                                                                         .node = kHeadNode,
                                                                         .listen = {flags.ListenAt()},
                                                                         .tokens = std::move(access.others),
                                                                         .log = [&log](const std::string& what) {
                                                                           log.Info("network", {{"what", what}});
                                                                         }}));
  TROUPE_RETURN_IF_ERROR(SayLine(absl::StrCat("listening on ", link->place())));
  const std::string programs = state + "/programs";
  uint64_t generation = 0;
  {
    Candidate candidate(*link, *store, {AdvertisedPlace(flags, link->place()), access.token, access.tls}, programs, log);
    TROUPE_TRY(generation, candidate.Run());
  }
  if (generation == 0) return absl::OkStatus();
  return Lead(flags, state, programs, store, *link, generation, log);
}

}   // namespace troupe
