// Event loop, hand-over, alarm and life cycle of the link thread.
#include "actors/internal/link_loop.h"

#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
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

/// KJ's loop asks its port for events when it has nothing to do; the port is where everything of ours gets its turn.
class LinkLoop::Port final : public kj::EventPort {
 public:
  explicit Port(LinkLoop& loop) : loop_(loop) {}
  kj::UnixEventPort& system() { return system_; }
  void Begin(kj::EventLoop& events, LinkSockets& sockets) { events_ = &events, sockets_ = &sockets; }

  bool wait() override {
    loop_.BeforeWaiting();
    if (events_->isRunnable()) return false;
    const LinkTime began = std::chrono::steady_clock::now();
    if (soon_ >= kSoonMin) {
      if (!Rests(Rest::kLooking)) return system_.poll();
      LinkTime now = began;
      for (int look = 0; now - began < kSpin; ++look, now = std::chrono::steady_clock::now()) {
        // The likeliest socket, which costs one call of the system, more often than all of them, which costs that and then the call that reads.
        bool woken = false;
        if (look % kLooksPerPoll == kLooksPerPoll - 1)
          woken = system_.poll();
        else
          sockets_->LookAtLatest();
        if (!woken && !events_->isRunnable() && now < loop_.alarm_at_ && !Called()) {   // wake and alarm tell poll only once
          ::sched_yield();                                                              // whoever has something to do on this processor goes first
          continue;
        }
        Awake();
        return woken;
      }
      soon_ = 0;
    }
    const bool alarmed = std::chrono::steady_clock::now() >= loop_.alarm_at_;   // it tells poll only once, and may just have done so
    if (!Rests(alarmed ? Rest::kNone : Rest::kAsleep)) return system_.poll();
    const bool woken = system_.wait();
    soon_ = std::chrono::steady_clock::now() - began < 2 * kSpin ? soon_ + 1 : 0;
    Awake();
    return woken;
  }
  bool poll() override {
    loop_.BeforeWaiting();
    return system_.poll();
  }

 private:
  /// False: it does not rest, for that is not wanted or there is work.
  bool Rests(Rest how) {
    std::lock_guard lock(loop_.inbox_mutex_);
    loop_.rest_ = loop_.inbox_.empty() ? how : Rest::kNone;
    return loop_.rest_ != Rest::kNone;
  }
  bool Called() {
    std::lock_guard lock(loop_.inbox_mutex_);
    return loop_.rest_ == Rest::kNone;
  }
  void Awake() {
    std::lock_guard lock(loop_.inbox_mutex_);
    loop_.rest_ = Rest::kNone;
  }

  // Waking a thread up takes the system longer than a small request takes. Where several waits in a row were short, the next event is looked for a while before
  // sleeping, until one of them does not come.
  static constexpr std::chrono::microseconds kSpin{100};
  static constexpr int kSoonMin = 8;
  static constexpr int kLooksPerPoll = 4;
  int soon_ = 0;   // short sleeps in a row

  LinkLoop& loop_;
  kj::UnixEventPort system_;
  kj::EventLoop* events_ = nullptr;
  LinkSockets* sockets_ = nullptr;
};

/// In the order of creation; what is declared later refers to what stands before it.
struct LinkLoop::State {
  explicit State(LinkLoop& loop) : port(loop), sockets(port.system()), events(port), scope(events) {
    port.Begin(events, sockets);
    auto pair = kj::newPromiseAndFulfiller<void>();
    stopped = kj::mv(pair.promise);
    stop = kj::mv(pair.fulfiller);
  }
  Port port;
  LinkSockets sockets;
  kj::EventLoop events;
  kj::WaitScope scope;
  kj::Promise<void> stopped = nullptr;
  kj::Own<kj::PromiseFulfiller<void>> stop;
  // Registers wake_fd_ and alarm_fd_: each write, and each alarm, ends a wait; nobody needs to read them.
  std::optional<kj::UnixEventPort::FdObserver> wake, alarm;
  std::unique_ptr<LinkServer> server;
  std::map<std::pair<NodeId, Network::Lane>, std::unique_ptr<LinkClient>> clients;
};

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
  // Signals are for other threads. KJ makes the process ignore SIGPIPE; nothing here needs that (all sends say MSG_NOSIGNAL), so it is taken back.
  sigset_t all, before;
  sigfillset(&all);
  struct sigaction pipe {};
  ::sigaction(SIGPIPE, nullptr, &pipe);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::promise<absl::Status> started;
  auto status = started.get_future();
  thread_ = std::thread([this, &started] { Main(started); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  absl::Status result = status.get();
  ::sigaction(SIGPIPE, &pipe, nullptr);
  if (!result.ok()) Stop();
  return result;
}

void LinkLoop::Stop() {
  TROUPE_CHECK(!OnLoopThread());
  Work stop = [this] { state_->stop->fulfill(); };
  Post(stop);
  if (thread_.joinable()) thread_.join();
  for (const ListeningSocket& socket : std::exchange(listening_, {})) StopListening(socket);
}

void LinkLoop::Main(std::promise<absl::Status>& started) {
  ::pthread_setname_np(::pthread_self(), "troupe-link");
  current_loop = this;
  LogCallback log(options_.log);
  bool running = false;
  auto end = absl::MakeCleanup([this] {
    std::lock_guard lock(inbox_mutex_);
    ended_ = true;
  });
  try {
    State state(*this);
    state.wake.emplace(state.port.system(), wake_fd_, kj::UnixEventPort::FdObserver::OBSERVE_READ);
    state.alarm.emplace(state.port.system(), alarm_fd_, kj::UnixEventPort::FdObserver::OBSERVE_READ);
    state_ = &state;
    if (!listening_.empty()) state.server = std::make_unique<LinkServer>(*this, listening_);
    running = true;
    started.set_value(absl::OkStatus());
    state.stopped.wait(state.scope);
    DrainInbox();
    state.scope.poll();   // answers that were given before the end still go out
    EndEverything();
  } catch (const kj::Exception& error) {
    if (!running)
      started.set_value(absl::UnavailableError(absl::StrCat("the link thread: ", Describe(error))));
    else
      Log(absl::StrCat("the link thread ended: ", Describe(error)));
  }
}

void LinkLoop::EndEverything() {
  stopping_ = true;
  for (auto& [name, client] : state_->clients) client->Fail(absl::CancelledError("the network is stopped"));
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

bool LinkLoop::OnLoopThread() const {
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
    wake = std::exchange(rest_, Rest::kNone) == Rest::kAsleep;
  }
  const uint64_t one = 1;
  if (wake && ::write(wake_fd_, &one, sizeof one) < 0) TROUPE_CHECK(errno == EAGAIN);
  return true;
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

// --------------------------------------------------------------------------------------------------------------------------------- the loop's thread

LinkSockets& LinkLoop::sockets() {
  return state_->sockets;
}
bool LinkLoop::idle() const {
  if (taken_left_ > 0) return false;
  std::lock_guard lock(inbox_mutex_);
  return inbox_.empty();
}
kj::Timer& LinkLoop::timer() {
  return state_->port.system().getTimer();
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
  Run([&] { reply(std::move(result)); });
}

void LinkLoop::Run(absl::FunctionRef<void()> calls) {
  if (run_depth_ > 0) return calls();
  ++run_depth_;
  options_.run([&calls] { calls(); });
  --run_depth_;
}

/// A descriptor and not KJ's timer, which would hand its time to each wait: a timer set and cleared for each message.
void LinkLoop::WakeAt(LinkTime time) {
  if (time >= alarm_at_) return;
  alarm_at_ = time;
  const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  itimerspec at{};
  at.it_value.tv_sec = since / 1'000'000'000;
  at.it_value.tv_nsec = std::max<int64_t>(since % 1'000'000'000, 1);   // a time of all zeros would be none
  TROUPE_CHECK(::timerfd_settime(alarm_fd_, TFD_TIMER_ABSTIME, &at, nullptr) == 0);
}

void LinkLoop::BeforeWaiting() {
  for (auto& [name, client] : state_->clients) client->Service();   // a lost connection takes along what was asked before it was known, and no more
  DrainInbox();
  dead_calls_.clear();   // before Flush: capnp's "finish" of an answered call leaves in one piece with the next call
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
  Run([this] {
    taken_left_ = taken_.size();
    for (Work& work : taken_) {
      --taken_left_;
      work();
    }
  });
  taken_.clear();
}

void LinkLoop::OnAlarm() {
  alarm_at_ = LinkTime::max();
  const LinkTime now = std::chrono::steady_clock::now();
  if (state_->server != nullptr) state_->server->Expire(now);
  // Replies may ask new nodes, which changes the map; its nodes stay where they are.
  for (auto& [name, client] : state_->clients) client->Expire(now);
}

}   // namespace troupe
