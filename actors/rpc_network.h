// The Network of production: Cap'n Proto RPC over Unix sockets, two connections (control, bulk) to each node that is asked, one thread that owns them all.
// Big blocks lie in memory that both processes map, and only references to them are sent; others are sent from where they lie and are views into the received
// message on the other side. Both may outlive the network.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/network.h"

namespace troupe {

class LinkLoop;

class RpcNetwork final : public Network {
 public:
  struct Options {
    NodeId node{};
    Incarnation incarnation{};
    /// The three that both ends of a connection must agree on: the job, its secret, and the bytes that all its processes run.
    std::string cluster_id;
    std::string token;
    std::string build_id;
    /// Where others reach this node: "unix:/path", at most 83 bytes of path; empty: nobody does. A process that listens there already loses the place.
    std::string listen;
    /// Served from the first connection on; whoever waits for this node to listen would find an actor that is served later missing (Unavailable).
    std::vector<std::pair<ActorId, Handler>> handlers = {};
    /// How long a peer may take for its Hello.
    Duration connect_timeout{2000};
    /// Between two attempts to connect to a node; doubled after each that fails.
    Duration backoff_min{5};
    Duration backoff_max{500};
    /// Credit: bytes of unanswered requests a connection. More wait, in order, here; a receiver reads no further beyond twice this.
    size_t in_flight_bytes_max = 64 << 20;
    /// Lend big blocks to processes of this host instead of sending their bytes (actors/internal/shared_memory.h), where the other end does so too.
    bool share_memory = true;
    /// Requests of other threads that the link thread has not taken yet.
    size_t queued_requests_max = 1 << 16;
    /// Handlers and replies are called on the link thread, and only inside run(...), which must call its argument once before it returns. A system
    /// sets its execution context here and runs the actors that became ready, so that these need no other thread.
    std::function<void(const std::function<void()>&)> run = [](const std::function<void()>& calls) { calls(); };
    /// One line for each connection that was ended because of what the peer sent, and for faults of the listening socket. Called on the link thread.
    std::function<void(std::string)> log = [](std::string) {};
  };

  /// Listens, and starts the thread. InvalidArgument: the place is none. Unavailable: the system refused the socket.
  static absl::StatusOr<std::unique_ptr<RpcNetwork>> Start(Options options);
  /// Stops the thread; replies still awaited are called with Cancelled. Not to be called on the link thread.
  ~RpcNetwork() override;

  void Locate(NodeId node, std::string place) override;
  /// On the link thread (in a handler or a reply) the request goes out without any hand-over. `reply` is called on the link thread, never inside this
  /// call, except by other threads when the network is stopping (Cancelled) or queued_requests_max is reached (Unavailable).
  void Request(const Address& to, Frame frame, Lane lane, Duration timeout, Reply reply) override;
  void Serve(ActorId actor, Handler handler) override;
  /// A handler that runs at this moment may still run when this returns.
  void Withdraw(ActorId actor) override;

 private:
  explicit RpcNetwork(std::shared_ptr<LinkLoop> loop);
  std::shared_ptr<LinkLoop> loop_;
};

}   // namespace troupe
