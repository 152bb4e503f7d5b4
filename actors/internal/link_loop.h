// The event loop of an RpcNetwork, what is handed to it, its alarm, and what must wait until no event is being handled. One thread at a time has the loop: its
// own, the link thread, or one that asks for something or waits for an answer and does the work itself (progress.h).
//
// turn_ says who has it. The link thread waits for events without it (LinkPort::WaitOutside), and takes it when some have come. Whoever else finds it free
// takes it, for what it asks (Run), or while it waits (Until), when the link thread hears of nothing.
#pragma once

#include <kj/async.h>

#include <atomic>
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
#include "actors/progress.h"
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

class LinkLoop final : public Progress, public std::enable_shared_from_this<LinkLoop> {
 public:
  using Work = absl::AnyInvocable<void()>;

  /// `tls`: of TCP connections; null: none.
  LinkLoop(RpcNetwork::Options options, std::shared_ptr<const TlsContext> tls);
  ~LinkLoop() override;
  absl::Status Start();
  void Stop();

  // ------------------------------------------------------------------------------------------------------------------------------ any thread
  /// Runs `work` in the loop, waking whoever sleeps there. False, and `work` is not taken, when the loop has ended or `queue_max` works wait.
  bool Post(Work& work, size_t queue_max = SIZE_MAX);
  void Run(absl::FunctionRef<void()> calls) override;
  void Until(absl::FunctionRef<bool()> over, Time end) override;
  void Wake() override;
  /// This thread has the loop.
  bool Here() const;
  bool ended() const;
  void Serve(ActorId actor, std::shared_ptr<const Network::Handler> handler);   // null: withdraw
  std::shared_ptr<const Network::Handler> HandlerOf(ActorId actor) const;
  const RpcNetwork::Options& options() const { return options_; }
  /// Null: there are no certificates.
  const std::shared_ptr<const TlsContext>& tls() const { return tls_; }
  /// Where it listens, since Start.
  std::vector<std::string> places() const;

  // --------------------------------------------------------------------------------------------------------------------------- whoever has the loop
  /// No work waits.
  bool idle() const;
  /// Takes the one call in `call`.
  void Submit(LinkCalls& call);
  void Locate(NodeId node, const std::vector<std::string>& places);
  /// On a thread of its own; `found` is called in the loop, unless it has ended by then.
  void LookUp(Place place, absl::AnyInvocable<void(absl::StatusOr<std::vector<SocketAddress>>)> found);
  /// Removes `call` from `list` and calls its reply.
  void Finish(LinkCalls& list, LinkCalls::iterator call, absl::StatusOr<Frame> result);
  /// Callbacks of users, inside options().run.
  void CallOut(absl::FunctionRef<void()> calls);
  /// Destroys `thing` when no event is being handled: promises and connections must not be destroyed from their own events.
  void Bury(std::shared_ptr<void> thing) { dead_.push_back(std::move(thing)); }
  /// Service and Expire are called at `time` at the latest.
  void WakeAt(LinkTime time);
  LinkSockets& sockets();
  bool stopping() const { return stopping_; }
  void Log(std::string line) { options_.log(std::move(line)); }

 private:
  struct State;   // what exists while the thread runs
  class Inside;   // a thread is

  /// How many waits in a row have been short, so that looking for the next event beats sleeping.
  struct Haste {
    int short_waits = 0;
    void Waited(LinkTime::duration how_long);
    bool worthwhile() const;
  };

  void Main(std::promise<absl::Status>& started);
  /// What the link thread does, most of it without its turn.
  void RunLinkThread(std::unique_lock<std::mutex>& turn);
  LinkClient& ClientOf(NodeId node, Network::Lane lane);
  /// Handles all that has come, and all that comes of it. `leave`: asked between two events; true: no new ones are looked for.
  void Advance(absl::FunctionRef<bool()> leave);
  /// Everything that is due when no event is being handled.
  void BetweenEvents();
  /// Looks for an event for a moment. False: none has come, or `leave`.
  bool Look(Haste& haste, absl::FunctionRef<bool()> leave);
  /// What the thread that has the loop does when it has nothing to do: it looks at inbox_ again and again, or it waits, or is about to, and must be woken.
  enum class Rest : uint8_t { kNone, kLooking, kAsleep };
  /// False: it does not rest, since there is something to do.
  bool Rests(Rest how);
  void Awake();
  /// Of the link thread: another one wants the loop, which it gives back without delay where it only looks.
  bool Displaced();
  void WriteWake() const;
  /// Of a thread that has its turn and is not the link thread: `work` in the loop. False, and it is not called: the thread is in a loop of its own.
  bool Enter(absl::FunctionRef<void()> work);
  void Leave();
  /// Exceptions of KJ's end the loop, which cannot go on.
  void Guarded(absl::FunctionRef<void()> work);
  void DrainInbox();
  void OnAlarm();
  void EndEverything();

  RpcNetwork::Options options_;
  const std::shared_ptr<const TlsContext> tls_;
  std::vector<ListeningSocket> listening_;
  int wake_fd_ = -1;
  int alarm_fd_ = -1;
  std::thread thread_;

  std::mutex turn_;
  std::atomic<bool> wanted_ = false;       // by a thread that has found the loop taken
  std::atomic<bool> link_waits_ = false;   // the link thread, for its turn

  mutable std::mutex inbox_mutex_;
  std::vector<Work> inbox_;
  std::atomic<Rest> rest_ = Rest::kNone;   // changed with the mutex alone
  bool ended_ = false;

  mutable std::mutex handlers_mutex_;
  std::unordered_map<uint32_t, std::shared_ptr<const Network::Handler>> handlers_;

  // Of whoever has the loop.
  State* state_ = nullptr;
  std::vector<Work> taken_;   // inbox_'s other half
  size_t taken_left_ = 0;     // of them, not begun
  bool stop_ = false;         // wanted
  bool stopping_ = false;
  std::optional<std::string> fault_;   // of the loop: it cannot go on
  unsigned run_depth_ = 0;
  LinkCalls dead_calls_;
  std::vector<std::shared_ptr<void>> dead_;
  LinkTime alarm_at_ = LinkTime::max();
  Haste link_haste_, callers_haste_;
};

}   // namespace troupe
