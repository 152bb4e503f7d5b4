// The Network of production: Cap'n Proto RPC over Unix sockets and TCP, a link for control and one for bulk to each node that is asked, a loop that has
// them all. On one host a link is a Unix socket, big blocks lie in memory that both processes map, and only references to them are sent. Between hosts it is
// TCP, for bulk over several connections; blocks are sent from where they lie and are views into the received message on the other side. Both may outlive the
// network.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/certificates.h"
#include "actors/network.h"
#include "actors/role.h"

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
    /// Other tokens that get in, with what they are good for; `token` is an admin's. Where there are none and `token` is empty, everybody is an admin.
    std::vector<RoleToken> tokens = {};
    /// The role that a request of this type to this actor takes; with less it is answered with Unauthenticated.
    std::function<Role(ActorId, uint64_t type)> least_role = [](ActorId, uint64_t) { return Role::kAdmin; };
    /// TLS 1.3 on every TCP connection, in and out: each end shows its certificate, and is refused where it is not of the other's authority, or expired.
    /// Certificates are looked at when a connection is made. Unix sockets are their owner's alone, and need none.
    std::optional<TlsCertificates> tls = {};
    /// Where others reach this node, none: nobody does. "unix:/path", at most 83 bytes of path: a process that listens there already loses the place.
    /// "tcp:HOST:PORT", HOST a name, an IPv4 or a [bracketed IPv6] address of this host; port 0: one that is free; "tcp:HOST:A-B": one of these. Where other
    /// hosts can connect, a token and certificates must be given.
    std::vector<std::string> listen;
    /// Served from the first connection on; whoever waits for this node to listen would find an actor that is served later missing (Unavailable).
    std::vector<std::pair<ActorId, Handler>> handlers = {};
    /// How long a peer may take for its Hello, the handshake of TLS included.
    Duration connect_timeout{2000};
    /// Between two attempts to connect to a node; doubled after each that fails.
    Duration backoff_min{5};
    Duration backoff_max{500};
    /// Credit: bytes of unanswered requests a connection. More wait, in order, here; a receiver reads no further beyond twice this.
    size_t in_flight_bytes_max = 64 << 20;
    /// Lend big blocks to processes of this host instead of sending their bytes (actors/internal/shared_memory.h), where the other end does so too.
    bool share_memory = true;
    /// TCP connections that carry the bulk lane to a node, at least 1. Big frames take turns on them; order holds as on one.
    size_t bulk_connections = 4;
    /// A TCP peer whose host has acknowledged nothing for so long is lost. Whole seconds, at least 3.
    Duration silence_max{20'000};
    /// Requests of other threads that the link thread has not taken yet.
    size_t queued_requests_max = 1 << 16;
    /// Handlers and replies are called on the link thread, or on one that helps it (progress.h), one at a time, and only inside run(...), which must call its
    /// argument once before it returns; so is what Progress::Run is given, on whatever thread. A system
    /// sets its execution context here and runs the actors that became ready, so that these need no other thread.
    std::function<void(const std::function<void()>&)> run = [](const std::function<void()>& calls) { calls(); };
    /// One line for each connection that was ended because of what the peer sent, and for faults of the listening socket. Called where handlers are.
    std::function<void(std::string)> log = [](std::string) {};
  };

  /// Listens, and starts the thread. Looking up a name to listen at may take a while.
  /// InvalidArgument: a place is none, or lies open to other hosts without a token or without certificates; `tokens` without a `token`; certificates that are
  /// none, or whose key does not fit. Unavailable: the system refused the socket.
  static absl::StatusOr<std::unique_ptr<RpcNetwork>> Start(Options options);
  /// Stops the thread; replies still awaited are called with Cancelled. Not to be called in a handler or a reply.
  ~RpcNetwork() override;

  /// Where it listens, as in Options::listen, with the ports that were chosen.
  std::vector<std::string> places() const;

  /// At every attempt to connect Unix places are tried first, then the others in their order, each for connect_timeout; a name is looked up without anybody
  /// waiting. A place where another node answers, or nobody, is passed over; without certificates so is one beyond loopback, which would see the token.
  void Locate(NodeId node, std::vector<std::string> places) override;
  /// In a handler, a reply or Progress::Run the request goes out without any hand-over, unless requests of other threads wait: then behind them, so that
  /// the requests of one actor keep their order on whatever threads it runs. `reply` is called as Options::run says, never inside this
  /// call, except by other threads when the network is stopping (Cancelled) or queued_requests_max is reached (Unavailable).
  void Request(const Address& to, Frame frame, Lane lane, Duration timeout, Reply reply) override;
  void Serve(ActorId actor, Handler handler) override;
  /// A handler that runs at this moment may still run when this returns.
  void Withdraw(ActorId actor) override;
  std::shared_ptr<Progress> progress() override;

 private:
  explicit RpcNetwork(std::shared_ptr<LinkLoop> loop);
  std::shared_ptr<LinkLoop> loop_;
};

}   // namespace troupe
