// One lane to one node: connects when it is asked, says Hello, sends in order within its credit, and tells every caller what became of its request.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/internal/link_loop.h"
#include "actors/link.capnp.h"

namespace troupe {

/// Of whoever has the loop.
class LinkClient {
 public:
  LinkClient(LinkLoop& loop, NodeId node, Network::Lane lane);
  ~LinkClient();

  /// Tried in this order at each attempt, after those that are on this host.
  void Locate(const std::vector<std::string>& places);
  void Submit(LinkCalls& call);
  /// Notices a lost connection; sends what waits for credit.
  void Service();
  /// Ends calls whose deadline is over, connects again where it is time, and says when it wants to be called next.
  void Expire(LinkTime now);
  /// Ends every call.
  void Fail(const absl::Status& status);

 private:
  struct Connection;
  struct Link;

  // An attempt goes through the places and their addresses until one is the node that is meant.
  void Connect();
  void TryNext();
  void Resolve(const Place& place);
  void Open(const Place& place, const SocketAddress& address);
  void SayHello(Link& link, Connection& connection);
  void OnHello(Link& link, Connection& connection, wire::Hello::Reader theirs);
  /// The place or address at hand is no good.
  void Missed(const absl::Status& why, bool refused);
  void TryLater(const std::string& error);
  void Send();
  void Drop();
  void Forget();
  bool ready() const;
  bool connecting() const { return link_ != nullptr || looking_up_; }
  std::string Name() const;

  LinkLoop& loop_;
  const NodeId node_;
  const Network::Lane lane_;
  std::vector<std::string> located_;
  std::vector<Place> places_;   // local ones first
  std::string no_places_;       // what is wrong with the others
  std::shared_ptr<Link> link_;

  size_t next_place_ = 0;                 // of the attempt
  std::deque<SocketAddress> addresses_;   // of the place before it, not yet tried
  bool looking_up_ = false;
  uint64_t lookup_ = 0;   // what comes of an earlier one is ignored
  std::string errors_;
  bool all_refused_ = true;   // by processes that are there: trying again would not help
  std::optional<absl::Status> refusal_;

  LinkTime retry_at_{};
  Network::Duration backoff_{0};
  std::string last_error_;   // why there is no connection
  LinkCalls waiting_;        // for a connection or for credit, in order
  LinkCalls sent_;
};

}   // namespace troupe
