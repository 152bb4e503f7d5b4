// The called side of a link: accepts connections, checks their Hello, and takes requests to handlers and answers back.
#pragma once

#include <list>
#include <memory>

#include "actors/internal/link_loop.h"

namespace troupe {

/// Of the loop's thread.
class LinkServer {
 public:
  /// `listener`: a listening socket, non-blocking; it stays the caller's.
  LinkServer(LinkLoop& loop, int listener);
  ~LinkServer();

  /// Ends sessions whose connection is closed.
  void Service();
  /// Ends connections that have not said Hello in time.
  void Expire(LinkTime now);

  struct Session;

 private:
  kj::Promise<void> Accept();
  void Open(int fd);

  LinkLoop& loop_;
  const int listener_;
  kj::UnixEventPort::FdObserver observer_;
  std::list<std::shared_ptr<Session>> sessions_;
  bool some_closed_ = false;
  kj::Promise<void> accepting_;
};

}   // namespace troupe
