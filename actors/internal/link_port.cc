// epoll in epoll: the inner one has the descriptors, and is told from by whoever has the loop; the outer one has the inner one, and is where others wait.
#include "actors/internal/link_port.h"

#include <kj/debug.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "actors/check.h"

namespace troupe {
namespace {

constexpr int kToldAtOnce = 32;

kj::AutoCloseFd MakeEpoll() {
  int fd;
  KJ_SYSCALL(fd = ::epoll_create1(EPOLL_CLOEXEC));
  return kj::AutoCloseFd(fd);
}

/// Rounded up: who sleeps too short looks again and again.
int MillisecondsUntil(LinkPort::Time end) {
  const auto now = std::chrono::steady_clock::now();
  if (end <= now) return 0;
  return static_cast<int>(std::min<int64_t>(std::chrono::ceil<std::chrono::milliseconds>(end - now).count(), 60'000));   // longer ones wait again
}

}   // namespace

LinkPort::LinkPort() : epoll_(MakeEpoll()), outer_(MakeEpoll()) {
  epoll_event event{};
  event.events = EPOLLIN;
  KJ_SYSCALL(::epoll_ctl(outer_, EPOLL_CTL_ADD, epoll_, &event));
}

void LinkPort::Watch(int fd, uint32_t events, Observer* observer) {
  epoll_event event{};
  event.events = events | EPOLLET;
  event.data.ptr = observer;
  KJ_SYSCALL(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event));
}

void LinkPort::WakeBy(int fd) {
  Watch(fd, EPOLLIN, nullptr);
}

bool LinkPort::Take(Time end) {
  epoll_event events[kToldAtOnce];
  const int count = ::epoll_wait(epoll_, events, kToldAtOnce, end == Time::min() ? 0 : MillisecondsUntil(end));
  if (count < 0 && errno != EINTR) KJ_FAIL_SYSCALL("epoll_wait", errno);
  for (int i = 0; i < count; ++i) {
    if (events[i].data.ptr != nullptr) static_cast<Observer*>(events[i].data.ptr)->Tell(events[i].events);
  }
  return count > 0;
}

void LinkPort::WaitOutside() {
  epoll_event event;
  TROUPE_CHECK(::epoll_wait(outer_, &event, 1, -1) >= 0 || errno == EINTR);
}

void LinkPort::Disarm() {
  epoll_event event{};
  KJ_SYSCALL(::epoll_ctl(outer_, EPOLL_CTL_MOD, epoll_, &event));
}

void LinkPort::Arm() {
  epoll_event event{};
  event.events = EPOLLIN;
  TROUPE_CHECK(::epoll_ctl(outer_, EPOLL_CTL_MOD, epoll_, &event) == 0);   // else nobody would hear of anything again
}

LinkPort::Observer::Observer(LinkPort& port, int fd, What what, std::function<void()> ready) : port_(port), fd_(fd), what_(what), ready_(std::move(ready)) {
  port_.Watch(fd_, what == What::kReading ? uint32_t{EPOLLIN | EPOLLRDHUP} : uint32_t{EPOLLOUT}, this);
}

LinkPort::Observer::~Observer() {
  ::epoll_ctl(port_.epoll_, EPOLL_CTL_DEL, fd_, nullptr);
}

void LinkPort::Observer::Tell(uint32_t events) {
  at_end_ = what_ == What::kReading && (events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) != 0;
  ready_();
}

}   // namespace troupe
