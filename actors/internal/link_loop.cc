// Hand-over, turns, alarm and life cycle of the link's loop.
#include "actors/internal/link_loop.h"

#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "actors/internal/kj_error.h"
#include "actors/internal/link_client.h"
#include "actors/internal/link_server.h"

namespace troupe {
namespace {

thread_local const LinkLoop* current_loop = nullptr;

// Waking a thread up takes the system longer than a small request takes. Where several waits in a row were short, the next event is looked for a while before
// sleeping, until one of them does not come.
constexpr std::chrono::microseconds kLookMax{100};
constexpr int kShortWaits = 8;
constexpr int kLooksPerTake = 4;
constexpr kj::uint kEventsAtOnce = 256;   // handled before everything else gets its turn
constexpr std::chrono::milliseconds kHeldMax{10};

/// This thread has an event loop of its own, and so cannot enter another one. Asking costs KJ an exception.
thread_local bool in_another_loop = false;

/// What KJ would print to stderr, where the user reads our own errors.
class LogCallback final : public kj::ExceptionCallback {
 public:
  explicit LogCallback(const std::function<void(std::string)>& log) : log_(log) {}
  void logMessage(kj::LogSeverity severity, const char*, int, int, kj::String&& text) override {
    if (severity < kj::LogSeverity::ERROR) return;
    std::string line = text.cStr();
    for (char& letter : line) {
      if (letter == '\n') letter = ' ';
    }
    log_(std::move(line));
  }

 private:
  const std::function<void(std::string)>& log_;
};

}   // namespace

absl::Status CheckFrame(const Frame& frame) {
  if (frame.bulk.size() > kFrameBlocksMax) {
    return absl::InvalidArgumentError(absl::StrCat("a frame of ", frame.bulk.size(), " blocks, at most ", kFrameBlocksMax));
  }
  if (frame.size() > kFrameBytesMax) return absl::InvalidArgumentError(absl::StrCat("a frame of ", frame.size(), " bytes, at most ", kFrameBytesMax));
  return absl::OkStatus();
}

/// In the order of creation; what is declared later refers to what stands before it.
struct LinkLoop::State {
  LinkPort port;
  LinkSockets sockets{port};
  kj::EventLoop events;
  std::unique_ptr<LinkServer> server;
  std::map<std::pair<NodeId, Network::Lane>, std::unique_ptr<LinkClient>> clients;
};

/// A thread in the loop; it has turn_. Throws kj::Exception where it is in a loop of its own.
class LinkLoop::Inside {
 public:
  explicit Inside(LinkLoop& loop) : log_(loop.options_.log), scope_(loop.state_->events) { current_loop = &loop; }
  ~Inside() { current_loop = nullptr; }
  KJ_DISALLOW_COPY(Inside);

 private:
  LogCallback log_;
  kj::WaitScope scope_;
};

void LinkLoop::Haste::Waited(LinkTime::duration how_long) {
  short_waits = how_long < 2 * kLookMax ? std::min(short_waits + 1, kShortWaits) : 0;
}
bool LinkLoop::Haste::worthwhile() const {
  return short_waits == kShortWaits;
}

LinkLoop::LinkLoop(RpcNetwork::Options options, std::shared_ptr<const TlsContext> tls) : options_(std::move(options)), tls_(std::move(tls)) {
  if (options_.share_memory) SharedMemory::OfProcess().Use();
}

LinkLoop::~LinkLoop() {
  if (options_.share_memory) SharedMemory::OfProcess().Disuse();
  if (wake_fd_ >= 0) ::close(wake_fd_);
  if (alarm_fd_ >= 0) ::close(alarm_fd_);
}

absl::Status LinkLoop::Start() {
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  alarm_fd_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (wake_fd_ < 0 || alarm_fd_ < 0) return absl::UnavailableError(absl::StrCat("eventfd, timerfd: ", std::strerror(errno)));
  const char* missing = !options_.token.empty() ? tls_ != nullptr ? "" : "TLS" : tls_ != nullptr ? "token" : "token and no TLS";
  for (const std::string& place : options_.listen) {
    auto listening = ListenAt(place, missing);
    if (!listening.ok()) {
      Stop();
      return listening.status();
    }
    listening_.push_back(*std::move(listening));
  }
  // Signals are for other threads.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::promise<absl::Status> started;
  auto status = started.get_future();
  thread_ = std::thread([this, &started] { Main(started); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  absl::Status result = status.get();
  if (!result.ok()) Stop();
  return result;
}

void LinkLoop::Stop() {
  TROUPE_CHECK(!Here());
  Work stop = [this] { stop_ = true; };
  Post(stop);
  if (thread_.joinable()) thread_.join();
  decltype(handlers_) handlers;   // of actors, which may wait for these to end
  {
    std::lock_guard lock(handlers_mutex_);
    handlers.swap(handlers_);
  }
  for (const ListeningSocket& socket : std::exchange(listening_, {})) StopListening(socket);
}

void LinkLoop::Main(std::promise<absl::Status>& started) {
  ::pthread_setname_np(::pthread_self(), "troupe-link");
  std::unique_lock turn(turn_);
  std::optional<State> state;
  Guarded([&] {
    state.emplace();
    state->port.WakeBy(wake_fd_);
    state->port.WakeBy(alarm_fd_);
    state_ = &*state;
    const Inside inside(*this);
    if (!listening_.empty()) state->server = std::make_unique<LinkServer>(*this, listening_);
  });
  if (fault_) {
    started.set_value(absl::UnavailableError(absl::StrCat("the link thread: ", *fault_)));
  } else {
    started.set_value(absl::OkStatus());
    RunLinkThread(turn);
    if (fault_) Log(absl::StrCat("the link thread ended: ", *fault_));
  }
  if (state_ != nullptr) {
    const Inside inside(*this);   // also for what is destroyed
    EndEverything();
  }
  state_ = nullptr;
  std::lock_guard lock(inbox_mutex_);
  ended_ = true;
}

void LinkLoop::RunLinkThread(std::unique_lock<std::mutex>& turn) {
  const auto stops = [this] { return stop_; };
  while (!stop_ && !fault_) {
    Guarded([&] {
      const Inside inside(*this);
      do Advance(stops);
      while (!stop_ && Look(link_haste_, [this] { return Displaced(); }));
      state_->sockets.FlushHeld();
    });
    const LinkTime began = std::chrono::steady_clock::now();
    if (stop_ || fault_ || !Rests(began < alarm_at_ ? Rest::kAsleep : Rest::kNone)) continue;   // the alarm tells once, and may just have done so
    turn.unlock();
    state_->port.WaitOutside();
    link_waits_ = true;
    turn.lock();
    link_waits_ = false;
    Awake();
    link_haste_.Waited(std::chrono::steady_clock::now() - began);
  }
  if (fault_) return;
  Guarded([&] {
    const Inside inside(*this);
    Advance([] { return false; });   // answers that were given before the end still go out
  });
}

void LinkLoop::Guarded(absl::FunctionRef<void()> work) {
  try {
    work();
  } catch (const kj::Exception& error) {
    fault_ = Describe(error);
  }
}

void LinkLoop::EndEverything() {
  stopping_ = true;
  const absl::Status status =
      fault_ ? absl::UnavailableError(absl::StrCat("the network has failed: ", *fault_)) : absl::CancelledError("the network is stopped");
  for (auto& [name, client] : state_->clients) client->Fail(status);
  bool empty = false;
  while (!empty) {   // callbacks may ask again; they are answered at once
    DrainInbox();
    dead_calls_.clear();
    std::lock_guard lock(inbox_mutex_);
    ended_ = empty = inbox_.empty();
  }
  state_->clients.clear();
  state_->server.reset();
  dead_.clear();
}

// --------------------------------------------------------------------------------------------------------------------------------------- any thread

bool LinkLoop::Here() const {
  return current_loop == this;
}

bool LinkLoop::ended() const {
  std::lock_guard lock(inbox_mutex_);
  return ended_;
}

bool LinkLoop::Post(Work& work, size_t queue_max) {
  bool wake;
  {
    std::lock_guard lock(inbox_mutex_);
    if (ended_ || inbox_.size() >= queue_max) return false;
    inbox_.push_back(std::move(work));
    wake = rest_.exchange(Rest::kNone) == Rest::kAsleep;
  }
  if (wake) WriteWake();
  return true;
}

void LinkLoop::WriteWake() const {
  const uint64_t one = 1;
  if (::write(wake_fd_, &one, sizeof one) < 0) TROUPE_CHECK(errno == EAGAIN);
}

void LinkLoop::Wake() {
  if (Here()) return;   // between two events it asks anyway
  bool wake;
  {
    std::lock_guard lock(inbox_mutex_);
    wake = !ended_ && rest_.exchange(Rest::kNone) == Rest::kAsleep;
  }
  if (wake) WriteWake();
}

void LinkLoop::Run(absl::FunctionRef<void()> calls) {
  const auto directly = [&] { options_.run([&calls] { calls(); }); };
  if (current_loop != nullptr || in_another_loop || link_waits_) return directly();
  std::unique_lock turn(turn_, std::try_to_lock);
  if (!turn.owns_lock()) {
    wanted_ = true;
    return directly();
  }
  if (state_ == nullptr || stop_ || fault_ || !idle()) {   // what waits, and goes before, may take long: the link thread has been woken for it
    turn.unlock();
    return directly();
  }
  const bool entered = Enter([&] {
    CallOut(calls);
    Advance([] { return true; });
  });
  turn.unlock();
  if (!entered) directly();
}

bool LinkLoop::Enter(absl::FunctionRef<void()> work) {
  const auto leave = absl::MakeCleanup([this] { Leave(); });
  bool inside = false;
  Guarded([&] {
    in_another_loop = true;
    const Inside here(*this);
    in_another_loop = false;
    inside = true;
    Awake();
    work();
  });
  if (!inside) fault_.reset();
  return inside;
}

void LinkLoop::Until(absl::FunctionRef<bool()> over, Time end) {
  if (current_loop != nullptr || in_another_loop) return;
  const std::unique_lock turn(turn_, std::try_to_lock);
  if (!turn.owns_lock()) {
    wanted_ = true;
    return;
  }
  if (state_ == nullptr || stop_ || fault_) return;
  Enter([&] {
    state_->port.Disarm();
    const auto arm_again = absl::MakeCleanup([this] { state_->port.Arm(); });
    const auto leave = [&] { return stop_ || over() || std::chrono::steady_clock::now() >= end; };
    for (;;) {
      Advance(leave);
      if (leave()) break;
      if (Look(callers_haste_, leave)) continue;
      state_->sockets.FlushHeld();
      const LinkTime began = std::chrono::steady_clock::now();
      if (!Rests(began < alarm_at_ ? Rest::kAsleep : Rest::kNone)) continue;
      if (!leave()) {   // asked again: who calls Wake sees that this sleeps, or this sees what they have changed
        state_->port.Take(end);
        callers_haste_.Waited(std::chrono::steady_clock::now() - began);
      }
      Awake();
    }
  });
}

void LinkLoop::Leave() {
  const LinkTime now = std::chrono::steady_clock::now();
  if (!state_->sockets.held.empty()) WakeAt(now + kHeldMax);
  const bool due = stop_ || fault_ || state_->events.isRunnable() || now >= alarm_at_;
  if (due || !Rests(Rest::kAsleep)) WriteWake();
}

std::vector<std::string> LinkLoop::places() const {
  std::vector<std::string> places;
  for (const ListeningSocket& socket : listening_) places.push_back(socket.place.text);
  return places;
}

void LinkLoop::Serve(ActorId actor, std::shared_ptr<const Network::Handler> handler) {
  std::lock_guard lock(handlers_mutex_);
  if (handler == nullptr) {
    handlers_.erase(static_cast<uint32_t>(actor));
  } else {
    handlers_[static_cast<uint32_t>(actor)].swap(handler);
  }
}

std::shared_ptr<const Network::Handler> LinkLoop::HandlerOf(ActorId actor) const {
  std::lock_guard lock(handlers_mutex_);
  const auto found = handlers_.find(static_cast<uint32_t>(actor));
  return found == handlers_.end() ? nullptr : found->second;
}

// -------------------------------------------------------------------------------------------------------------------------------- whoever has the loop

LinkSockets& LinkLoop::sockets() {
  return state_->sockets;
}
bool LinkLoop::idle() const {
  if (taken_left_ > 0) return false;
  std::lock_guard lock(inbox_mutex_);
  return inbox_.empty();
}
LinkClient& LinkLoop::ClientOf(NodeId node, Network::Lane lane) {
  auto& client = state_->clients[{node, lane}];
  if (client == nullptr) client = std::make_unique<LinkClient>(*this, node, lane);
  return *client;
}

void LinkLoop::Submit(LinkCalls& call) {
  LinkCall& it = call.front();
  absl::Status status = stopping_ ? absl::CancelledError("the network is stopped") : CheckFrame(it.frame);
  if (status.ok()) {
    WakeAt(it.deadline);
    return ClientOf(it.to.node, it.lane).Submit(call);
  }
  auto failed = std::make_shared<LinkCalls>(std::move(call));   // later, never inside Request
  Work work = [this, failed, status] { Finish(*failed, failed->begin(), status); };
  TROUPE_CHECK(Post(work));
}

void LinkLoop::Locate(NodeId node, const std::vector<std::string>& places) {
  if (stopping_) return;
  for (const auto lane : {Network::Lane::kControl, Network::Lane::kBulk}) ClientOf(node, lane).Locate(places);
}

void LinkLoop::LookUp(Place place, absl::AnyInvocable<void(absl::StatusOr<std::vector<SocketAddress>>)> found) {
  // Nobody waits for this thread: name servers that do not answer take longer than a network may take to stop.
  std::thread([loop = weak_from_this(), place = std::move(place), found = std::move(found)]() mutable {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    auto addresses = troupe::LookUp(place);
    const auto alive = loop.lock();
    if (alive == nullptr) return;
    Work work = [found = std::move(found), addresses = std::move(addresses)]() mutable { found(std::move(addresses)); };
    alive->Post(work);
  }).detach();
}

void LinkLoop::Finish(LinkCalls& list, LinkCalls::iterator call, absl::StatusOr<Frame> result) {
  dead_calls_.splice(dead_calls_.end(), list, call);
  const Network::Reply reply = std::move(call->reply);
  CallOut([&] { reply(std::move(result)); });
}

void LinkLoop::CallOut(absl::FunctionRef<void()> calls) {
  if (run_depth_ > 0) return calls();
  ++run_depth_;
  const auto less = absl::MakeCleanup([this] { --run_depth_; });
  options_.run([&calls] { calls(); });
}

/// A descriptor, which wakes whoever waits, and not a time that each wait would be given: that takes a timer set and cleared for each message.
void LinkLoop::WakeAt(LinkTime time) {
  if (time >= alarm_at_) return;
  alarm_at_ = time;
  const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  itimerspec at{};
  at.it_value.tv_sec = since / 1'000'000'000;
  at.it_value.tv_nsec = std::max<int64_t>(since % 1'000'000'000, 1);   // a time of all zeros would be none
  TROUPE_CHECK(::timerfd_settime(alarm_fd_, TFD_TIMER_ABSTIME, &at, nullptr) == 0);
}

void LinkLoop::Advance(absl::FunctionRef<bool()> leave) {
  for (;;) {
    state_->sockets.holds_finish = true;   // of calls that are answered now, not of those that are given up
    state_->events.run(kEventsAtOnce);
    state_->sockets.holds_finish = false;
    BetweenEvents();
    if (leave()) return;
    if (!state_->events.isRunnable() && !state_->port.Take() && !state_->events.isRunnable()) return;
  }
}

bool LinkLoop::Look(Haste& haste, absl::FunctionRef<bool()> leave) {
  if (!haste.worthwhile()) return false;
  if (!Rests(Rest::kLooking)) return true;
  const LinkTime began = std::chrono::steady_clock::now();
  LinkTime now = began;
  for (int look = 1; now - began < kLookMax; ++look, now = std::chrono::steady_clock::now()) {
    // The likeliest socket, which costs one call of the system, more often than all of them, which costs that and then the call that reads.
    const bool taken = look % kLooksPerTake == 0 && state_->port.Take();
    if (!taken) state_->sockets.LookAtLatest();
    if (taken || state_->events.isRunnable() || now >= alarm_at_ || rest_.load(std::memory_order_relaxed) == Rest::kNone) {   // the alarm tells Take only once
      Awake();
      return true;
    }
    if (leave()) return false;
    if (look % kLooksPerTake == 0) ::sched_yield();   // whoever has something to do on this processor goes first
  }
  haste.short_waits = 0;
  return false;
}

bool LinkLoop::Displaced() {
  if (!wanted_.exchange(false)) return false;
  link_haste_.short_waits = 0;
  return true;
}

bool LinkLoop::Rests(Rest how) {
  std::lock_guard lock(inbox_mutex_);
  rest_ = inbox_.empty() ? how : Rest::kNone;
  return rest_ != Rest::kNone;
}
void LinkLoop::Awake() {
  std::lock_guard lock(inbox_mutex_);
  rest_ = Rest::kNone;
}

void LinkLoop::BetweenEvents() {
  for (auto& [name, client] : state_->clients) client->Service();   // a lost connection takes along what was asked before it was known, and no more
  DrainInbox();
  dead_calls_.clear();
  for (auto& [name, client] : state_->clients) client->Service();
  if (state_->server != nullptr) state_->server->Service();
  if (alarm_at_ != LinkTime::max() && std::chrono::steady_clock::now() >= alarm_at_) OnAlarm();
  dead_calls_.clear();
  dead_.clear();
  state_->sockets.Flush();
}

void LinkLoop::DrainInbox() {
  {
    std::lock_guard lock(inbox_mutex_);
    if (inbox_.empty()) return;
    inbox_.swap(taken_);
  }
  const auto put_back = absl::MakeCleanup([this] {   // those that an exception has left
    if (taken_left_ > 0) {
      std::lock_guard lock(inbox_mutex_);
      inbox_.insert(inbox_.begin(), std::make_move_iterator(taken_.end() - static_cast<std::ptrdiff_t>(std::exchange(taken_left_, 0))),
                    std::make_move_iterator(taken_.end()));
    }
    taken_.clear();
  });
  CallOut([this] {
    taken_left_ = taken_.size();
    for (Work& work : taken_) {
      --taken_left_;
      work();
    }
  });
}

void LinkLoop::OnAlarm() {
  alarm_at_ = LinkTime::max();
  state_->sockets.FlushHeld();
  const LinkTime now = std::chrono::steady_clock::now();
  if (state_->server != nullptr) state_->server->Expire(now);
  // Replies may ask new nodes, which changes the map; its nodes stay where they are.
  for (auto& [name, client] : state_->clients) client->Expire(now);
}

}   // namespace troupe
