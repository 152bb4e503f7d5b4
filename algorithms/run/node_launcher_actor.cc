#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "actors/cluster/node_actor.h"
#include "actors/status.h"
#include "actors/stop_actors.h"
#include "actors/storage/remote_storage.h"
#include "algorithms/run/cluster.h"
#include "algorithms/run/launcher.h"
#include "caf/event_based_actor.hpp"

namespace troupe {
namespace {

constexpr std::chrono::milliseconds kAgain{100}, kGather{5};

/// Processes of one shard ("shard 3", "shard 3/2") share no node where they need not; then all of a role are spread.
std::vector<std::string> ApartOf(const Launch& launch) {
  if (launch.role != "shard") return {launch.role};
  return {absl::StrCat(launch.role, " ", launch.index.substr(0, launch.index.find('/'))), launch.role};
}

/// A driver's claims are numbered through all of its runs: to the head they are one driver's.
std::atomic<uint64_t> claims{0};

/// Tells the head which processes are to run, again and again, and hears what has become of them. Everything happens in its actor's context.
class Claimer : public std::enable_shared_from_this<Claimer> {
 public:
  Claimer(HeadActor head, const NodeJob& job, std::function<void(const absl::Status&)> lost)
      : head_(std::move(head)), job_(job.job), attempt_(job.attempt), lost_(std::move(lost)) {}

  /// With the next claim: there is always one under way, which is answered soon.
  void Publish(Endpoint endpoint) {
    endpoint_ = std::move(endpoint);
    said_ = false;
    said_in_ = 0;
    if (number_ == 0) Send();
  }
  /// Nothing is to run any more, and there is nothing to be said of it.
  void WantNothing() {
    wanted_.clear();
    endpoint_ = {};
    said_ = false;
    Send();
  }

  /// The actor that it belongs to; before everything else.
  void Begin(caf::event_based_actor* self) { self_ = self; }

  void Want(ProcessOrder order, std::function<void(const Launch::End&)> ended, std::function<void()> leaves) {
    const std::string name = order.id.name;
    wanted_[name] = {std::move(order), std::move(ended), std::move(leaves), false};
    if (std::exchange(gathering_, true)) return;
    self_->delayed_send(self_, kGather, Thunk{[me = weak_from_this()] {   // what is wanted together is placed together
                          const auto claimer = me.lock();
                          if (claimer == nullptr) return;
                          claimer->gathering_ = false;
                          claimer->Send();
                        }});
  }
  void Drop(const std::string& name, uint64_t incarnation) {
    const auto it = wanted_.find(name);
    if (it == wanted_.end() || it->second.order.id.incarnation != incarnation) return;
    End(it, {.normally = false, .certain = false, .how = "ended on request"});
    Send();
  }
  /// After the actor's end.
  void Forget() { wanted_.clear(); }

 private:
  struct Wanted {
    ProcessOrder order;
    std::function<void(const Launch::End&)> ended;
    std::function<void()> leaves;   // may be null
    bool told;                      // it was called, and is to leave still
  };

  void End(std::map<std::string, Wanted>::iterator it, const Launch::End& end) {
    const auto ended = std::move(it->second.ended);
    wanted_.erase(it);
    ended(end);
  }

  void Send() {
    Claim claim{.job = job_, .attempt = attempt_, .wanted = {}, .seen = seen_, .number = ++claims, .endpoint = {}, .same_endpoint = said_};
    if (!said_) {
      claim.endpoint = endpoint_;
      said_in_ = claim.number;
    }
    for (const auto& [name, wanted] : wanted_) claim.wanted.push_back(wanted.order);
    const uint64_t number = number_ = claim.number;
    auto me = weak_from_this();
    self_->request(head_, caf::infinite, std::move(claim))
        .then(
            [me, number](const Claimed& claimed) {
              const auto claimer = me.lock();
              if (claimer != nullptr && claimer->number_ == number) claimer->OnClaimed(claimed);
            },
            [me, number](const caf::error& error) {
              const auto claimer = me.lock();
              if (claimer != nullptr && claimer->number_ == number) claimer->OnError(FromError(error));
            });
  }

  void OnClaimed(const Claimed& claimed) {
    seen_ = claimed.version;
    said_ = said_ || (number_ == said_in_ && endpoint_ != Endpoint{});
    for (const ClaimedProcess& process : claimed.processes) {
      const auto it = wanted_.find(process.id.name);
      if (it == wanted_.end() || it->second.order.id.incarnation != process.id.incarnation) continue;
      if (process.state == ProcessState::kEnded) {
        End(it, {.normally = process.code == 0, .certain = process.code != kLostCode, .how = process.reason});
      } else if (std::exchange(it->second.told, process.leaves) != process.leaves && process.leaves) {
        if (const auto leaves = it->second.leaves) leaves();
      }
    }
    Send();
  }

  void OnError(const absl::Status& status) {
    if (!IsRetryable(status)) {
      if (lost_) std::exchange(lost_, nullptr)(status);
      return;
    }
    seen_ = 0;
    said_ = false;   // it may be another head
    self_->delayed_send(self_, kAgain, Thunk{[me = weak_from_this(), number = number_] {
                          const auto claimer = me.lock();
                          if (claimer != nullptr && claimer->number_ == number) claimer->Send();
                        }});
  }

  caf::event_based_actor* self_ = nullptr;
  const HeadActor head_;
  const JobId job_;
  const uint64_t attempt_;
  std::function<void(const absl::Status&)> lost_;
  std::map<std::string, Wanted> wanted_;
  Endpoint endpoint_;
  bool said_ = false;      // the head has it
  uint64_t said_in_ = 0;   // the last claim that says it
  uint64_t number_ = 0, seen_ = 0;
  bool gathering_ = false;
};

class NodeLauncher final : public Launcher {
 public:
  explicit NodeLauncher(NodeJob job) : job_(std::move(job)) {}
  ~NodeLauncher() override {
    KillAll();
    std::error_code ignored;
    std::filesystem::remove_all(job_.folder, ignored);
  }

  absl::Status Open(std::function<void(const absl::Status&)> lost) {
    std::error_code error;
    std::filesystem::remove_all(job_.folder, error);   // another cluster's job may have had this number
    std::filesystem::create_directories(job_.folder, error);
    if (error) return absl::InternalError(absl::StrCat(job_.folder, ": ", error.message()));
    TROUPE_TRY(link_, ClusterLink::Open({.address = job_.head}));
    claimer_ = std::make_shared<Claimer>(link_->head(), job_, std::move(lost));
    actor_ = link_->system().actors().spawn<caf::hidden>([claimer = claimer_](caf::event_based_actor* self) -> caf::behavior {
      claimer->Begin(self);
      return {[](const Thunk& thunk) { thunk.run(); }};
    });
    return absl::OkStatus();
  }

  const std::string& folder() const override { return job_.folder; }
  std::vector<std::string> listen() const override { return {absl::StrCat("tcp:", job_.host, ":", job_.ports)}; }
  std::string PlaceOf(NodeId) const override { return {}; }
  bool lives_overlap() const override { return true; }   // a node that is cut off is given up, and may live

  absl::Status Start(Launch launch, const std::string& token) override {
    ProcessOrder order;
    order.id = {job_.job, launch.name(), launch.incarnation};
    order.arguments = {launch.role, launch.index};
    order.arguments.insert(order.arguments.end(), launch.flags.begin(), launch.flags.end());
    order.environment = {absl::StrCat(kJobTokenVariable, "=", token)};
    for (const char* name : kS3Places) {
      if (const char* value = ::getenv(name)) order.environment.push_back(absl::StrCat(name, "=", value));
    }
    order.needs = {.cores = launch.role == "worker" ? 1u : 0u, .memory = 0, .labels = {}, .apart = ApartOf(launch)};
    order.placing = launch.placing;
    std::error_code ignored;
    order.folder = std::filesystem::current_path(ignored).string();
    if (launch.leaves != nullptr) order.hand_over_max = kHandOverMax;
    Tell([claimer = claimer_, order = std::move(order), ended = std::move(launch.ended), leaves = std::move(launch.leaves)] {
      claimer->Want(order, ended, leaves);
    });
    return absl::OkStatus();
  }
  void Publish(const Endpoint& endpoint) override {
    Tell([claimer = claimer_, endpoint] { claimer->Publish(endpoint); });
  }
  void Kill(const std::string& name, uint64_t incarnation) override {
    Tell([claimer = claimer_, name, incarnation] { claimer->Drop(name, incarnation); });
  }
  void KillAll() override {
    if (!actor_) return;
    const auto said = std::make_shared<Ending>();
    Tell([claimer = claimer_, said] {
      claimer->WantNothing();
      said->Set();
    });
    said->WaitFor(kGather * 100);
    StopAndWait(link_->system(), std::vector{std::exchange(actor_, nullptr)});
    claimer_->Forget();   // what it would tell of ends holds actors of a system that is about to end
  }

 private:
  void Tell(std::function<void()> what) {
    if (actor_) System::Deliver(actor_, Thunk{std::move(what)});
  }

  const NodeJob job_;
  std::unique_ptr<ClusterLink> link_;
  std::shared_ptr<Claimer> claimer_;
  caf::actor actor_;
};

}   // namespace

std::optional<NodeJob> JobOfThisProcess() {
  const auto text = [](const char* name) {
    const char* value = ::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  NodeJob job;
  pid_t parent = 0;   // programs that a driver starts have its environment, and are no drivers
  if (!absl::SimpleAtoi(text(kEnvParent), &parent) || parent != ::getppid()) return std::nullopt;
  if (!absl::SimpleAtoi(text(kEnvJob), &job.job) || !absl::SimpleAtoi(text(kEnvAttempt), &job.attempt)) return std::nullopt;
  job.head = {text(kEnvHead), text(kEnvClusterToken), text(kEnvTls)};
  job.host = text(kEnvHost);
  job.ports = text(kEnvPorts).empty() ? "0" : text(kEnvPorts);
  return job;
}

absl::StatusOr<std::unique_ptr<Launcher>> MakeNodeLauncher(NodeJob job, std::function<void(const absl::Status&)> lost) {
  auto launcher = std::make_unique<NodeLauncher>(std::move(job));
  TROUPE_RETURN_IF_ERROR(launcher->Open(std::move(lost)));
  return launcher;
}

}   // namespace troupe
