// The thread of an RpcNetwork: its event loop, what other threads hand to it, its alarm, and what must wait until no event is being handled.
#pragma once

#include <kj/async-unix.h>

#include <chrono>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "actors/internal/link_socket.h"
#include "actors/internal/place.h"
#include "actors/rpc_network.h"

namespace troupe {

class LinkClient;
class LinkServer;

using LinkTime = std::chrono::steady_clock::time_point;

/// One request of ours, from Request() to its reply.
struct LinkCall {
  Address to;
  Frame frame;   // until it is sent
  Network::Lane lane{};
  Network::Duration timeout{};
  LinkTime deadline;
  Network::Reply reply;
  size_t bytes = 0;
  std::shared_ptr<const void> credit;
  kj::Promise<void> answer = nullptr;
};
using LinkCalls = std::list<LinkCall>;   // moved from list to list without allocation

/// InvalidArgument where a frame is over the limits of network.h.
absl::Status CheckFrame(const Frame& frame);

class LinkLoop : public std::enable_shared_from_this<LinkLoop> {
 public:
  using Work = absl::AnyInvocable<void()>;

  /// `tls`: of TCP connections; null: none.
  LinkLoop(RpcNetwork::Options options, std::shared_ptr<const TlsContext> tls);
  ~LinkLoop();
  absl::Status Start();
  void Stop();

  // ------------------------------------------------------------------------------------------------------------------------------ any thread
  /// Runs `work` on the loop's thread, waking it where it sleeps. False, and `work` is not taken, when the loop has ended or `queue_max` works wait.
  bool Post(Work& work, size_t queue_max = SIZE_MAX);
  bool OnLoopThread() const;
  bool ended() const;
  void Serve(ActorId actor, std::shared_ptr<const Network::Handler> handler);   // null: withdraw
  std::shared_ptr<const Network::Handler> HandlerOf(ActorId actor) const;
  const RpcNetwork::Options& options() const { return options_; }
  /// Null: there are no certificates.
  const std::shared_ptr<const TlsContext>& tls() const { return tls_; }
  /// Where it listens, since Start.
  std::vector<std::string> places() const;

  // --------------------------------------------------------------------------------------------------------------------------- the loop's thread
  /// No work waits.
  bool idle() const;
  /// Takes the one call in `call`.
  void Submit(LinkCalls& call);
  void Locate(NodeId node, const std::vector<std::string>& places);
  /// On a thread of its own; `found` is called on this one, unless the loop has ended by then.
  void LookUp(Place place, absl::AnyInvocable<void(absl::StatusOr<std::vector<SocketAddress>>)> found);
  /// Removes `call` from `list` and calls its reply.
  void Finish(LinkCalls& list, LinkCalls::iterator call, absl::StatusOr<Frame> result);
  /// Callbacks of users, inside options().run.
  void Run(absl::FunctionRef<void()> calls);
  /// Destroys `thing` when no event is being handled: promises and connections must not be destroyed from their own events.
  void Bury(std::shared_ptr<void> thing) { dead_.push_back(std::move(thing)); }
  /// Service and Expire are called at `time` at the latest.
  void WakeAt(LinkTime time);
  LinkSockets& sockets();
  kj::Timer& timer();
  bool stopping() const { return stopping_; }
  void Log(std::string line) { options_.log(std::move(line)); }

 private:
  class Port;
  struct State;   // what exists while the thread runs

  void Main(std::promise<absl::Status>& started);
  LinkClient& ClientOf(NodeId node, Network::Lane lane);
  /// Everything that is due before the thread waits for its sockets.
  void BeforeWaiting();
  void DrainInbox();
  void OnAlarm();
  void EndEverything();

  RpcNetwork::Options options_;
  const std::shared_ptr<const TlsContext> tls_;
  std::vector<ListeningSocket> listening_;
  int wake_fd_ = -1;
  int alarm_fd_ = -1;
  std::thread thread_;

  mutable std::mutex inbox_mutex_;
  std::vector<Work> inbox_;
  /// What the thread does when it has nothing to do: it looks at inbox_ again and again, or it waits, or is about to, and must be woken.
  enum class Rest : uint8_t { kNone, kLooking, kAsleep } rest_ = Rest::kNone;
  bool ended_ = false;

  mutable std::mutex handlers_mutex_;
  std::unordered_map<uint32_t, std::shared_ptr<const Network::Handler>> handlers_;

  // Of the loop's thread.
  State* state_ = nullptr;
  std::vector<Work> taken_;   // inbox_'s other half
  size_t taken_left_ = 0;     // of them, not begun
  bool stopping_ = false;
  unsigned run_depth_ = 0;
  LinkCalls dead_calls_;
  std::vector<std::shared_ptr<void>> dead_;
  LinkTime alarm_at_ = LinkTime::max();
};

}   // namespace troupe
