// Everything that runs in one process: CAF's actors, the compute pool, the link to other processes, storage. Nothing is global; a simulation has many.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "actors/address.h"
#include "actors/caf_status.h"
#include "actors/compute.h"
#include "actors/network.h"
#include "actors/run_queue.h"
#include "actors/storage/storage.h"
#include "caf/actor.hpp"
#include "caf/actor_cast.hpp"
#include "caf/actor_system.hpp"
#include "caf/actor_system_config.hpp"
#include "caf/allowed_unsafe_message_type.hpp"

namespace troupe {

/// A piece of work that an actor does in its own context: how a reply of the network reaches its proxy.
struct Thunk {
  std::function<void()> run;
};

class System {
 public:
  struct Options {
    NodeId node{};
    Incarnation incarnation{1};
    int compute_threads = 1;
    /// CAF's testing scheduler, and no threads at all: the simulation drives it and supplies Compute.
    bool simulated = false;
  };

  explicit System(Options options);
  /// Stops the network, the pool, then every actor.
  ~System();
  System(const System&) = delete;
  System& operator=(const System&) = delete;

  NodeId node() const { return options_.node; }
  Incarnation incarnation() const { return options_.incarnation; }
  caf::actor_system& actors() { return *actors_; }
  Compute& compute() { return *compute_; }
  Storage& storage() { return *storage_; }
  bool has_network() const { return network_ != nullptr; }
  Network& network() { return *network_; }

  void SetNetwork(std::unique_ptr<Network> network);
  void SetCompute(std::unique_ptr<Compute> compute) { compute_ = std::move(compute); }
  void SetStorage(std::unique_ptr<Storage> storage) { storage_ = std::move(storage); }

  /// Calls `callback` so that the light actors which it wakes run on this thread right after it: the link thread's hook.
  void RunOnLink(const std::function<void()>& callback);

  /// Sends `message` without a sender; the receiver runs on this thread after the current job where the thread has a RunQueue.
  template <class Handle, class Message>
  static void Deliver(const Handle& to, Message&& message) {
    auto* actor = caf::actor_cast<caf::abstract_actor*>(to);
    RunQueue* queue = RunQueue::Current();
    if (queue != nullptr && &queue->system() != &actor->home_system()) queue = nullptr;   // a thread of one system never runs actors of another
    actor->eq_impl(caf::make_message_id(), nullptr, queue, std::forward<Message>(message));
  }

  /// Ends an actor.
  template <class Handle>
  void Stop(const Handle& actor) {
    StopActor(caf::actor_cast<caf::actor>(actor));
  }

  /// A Gateway (gateway.h), for proxy.h.
  const caf::actor& gateway() const { return gateway_; }

  /// Remote spawn: what a request Spawn{factory, arguments} makes here. A factory spawns its actor and makes it reachable under `id`.
  using Factory = std::function<absl::Status(System&, ActorId id, const Block& arguments)>;
  void RegisterFactory(std::string name, Factory factory) { factories_[std::move(name)] = std::move(factory); }
  const std::map<std::string, Factory>& factories() const { return factories_; }

 private:
  static void StopActor(const caf::actor& actor);
  Options options_;
  const uint64_t number_;   // no other System of the process has or had it
  caf::actor_system_config config_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<caf::actor_system> actors_;
  caf::actor gateway_;
  std::map<std::string, Factory> factories_;
  std::unique_ptr<Compute> compute_;
  std::unique_ptr<Network> network_;
};

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Thunk)
