// What the link's event loop hears from the system: which descriptors have become ready. Unlike kj::UnixEventPort it can be waited at from outside of the loop,
// so that one thread may wait for events while another one runs the loop.
#pragma once

#include <kj/common.h>
#include <kj/io.h>

#include <chrono>
#include <cstdint>
#include <functional>

namespace troupe {

/// Belongs to whoever has the loop, except WaitOutside.
class LinkPort {
 public:
  class Observer;
  using Time = std::chrono::steady_clock::time_point;

  /// Throws kj::Exception where the system has no descriptors left.
  LinkPort();

  /// Descriptors on which each event ends a wait, and means nothing else. Edge-triggered: nobody needs to read them.
  void WakeBy(int fd);
  /// Tells observers what has come; waits for something until `end` at the latest. False: nothing has come.
  bool Take(Time end);
  bool Take() { return Take(Time::min()); }

  /// Returns when something has come that Take would tell. Of one thread, which has not got the loop; it waits in vain between Disarm and Arm.
  void WaitOutside();
  void Disarm();
  void Arm();

 private:
  void Watch(int fd, uint32_t events, Observer* observer);

  kj::AutoCloseFd epoll_;
  kj::AutoCloseFd outer_;   // watches epoll_, or nothing while disarmed
};

/// One descriptor, edge-triggered.
class LinkPort::Observer {
 public:
  enum class What : uint8_t { kReading, kWriting };
  /// `ready` is called by Take each time that epoll tells of it, and must not destroy observers.
  Observer(LinkPort& port, int fd, What what, std::function<void()> ready);
  ~Observer();
  KJ_DISALLOW_COPY(Observer);

  /// Of what was told last: there was the end of the file, or an error. Reading only.
  bool at_end() const { return at_end_; }

 private:
  friend class LinkPort;
  void Tell(uint32_t events);

  LinkPort& port_;
  const int fd_;
  const What what_;
  const std::function<void()> ready_;
  bool at_end_ = false;
};

}   // namespace troupe
