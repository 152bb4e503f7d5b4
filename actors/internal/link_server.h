// The called side of a link: accepts connections, checks their Hello, and takes requests to handlers and answers back.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <tuple>

#include "actors/internal/connection_rate.h"
#include "actors/internal/link_loop.h"

namespace troupe {

/// Of whoever has the loop.
class LinkServer {
 public:
  /// The sockets stay the caller's.
  LinkServer(LinkLoop& loop, std::span<const ListeningSocket> sockets);
  ~LinkServer();

  /// Ends sessions whose connection is closed.
  void Service();
  /// Ends connections that have not said Hello in time.
  void Expire(LinkTime now);

  struct Session;
  struct Group;
  /// Node, incarnation and the caller's own name for its link.
  using GroupName = std::tuple<uint32_t, uint64_t, uint64_t>;

 private:
  struct Listener;
  void Accept(Listener& listener);
  void Open(int fd, bool local, uint64_t source);
  /// Connections refused for one reason: a line a second at most, so that a flood fills no log and one reason hides no other.
  struct Refusals {
    LinkTime said_at{};
    size_t unsaid = 0;
  };
  void LogRefused(Refusals& refusals, const std::string& why);
  /// Of connections that are one link.
  std::shared_ptr<Group> Join(const GroupName& name, Session& session);

  LinkLoop& loop_;
  std::map<GroupName, std::weak_ptr<Group>> groups_;
  std::list<std::shared_ptr<Session>> sessions_;
  size_t strangers_ = 0;   // of sessions_: no Hello yet
  bool some_closed_ = false;
  ConnectionRate rate_;   // of TCP
  Refusals too_many_, too_many_from_one_;
  std::list<Listener> listeners_;
};

}   // namespace troupe
