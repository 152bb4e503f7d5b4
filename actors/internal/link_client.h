// One lane to one node: connects when it is asked, says Hello, sends in order within its credit, and tells every caller what became of its request.
#pragma once

#include <memory>
#include <string>

#include "actors/internal/link_loop.h"

namespace troupe {

/// Of the loop's thread.
class LinkClient {
 public:
  LinkClient(LinkLoop& loop, NodeId node, Network::Lane lane);
  ~LinkClient();

  void Locate(const std::string& place);
  void Submit(LinkCalls& call);
  /// Notices a lost connection; sends what waits for credit.
  void Service();
  /// Ends calls whose deadline is over, connects again where it is time, and says when it wants to be called next.
  void Expire(LinkTime now);
  /// Ends every call.
  void Fail(const absl::Status& status);

 private:
  struct Connection;

  void Connect();
  void SayHello();
  void TryLater(const std::string& error);
  void Refused(const absl::Status& status);
  void Send();
  void Drop();
  bool ready() const;
  std::string Name() const;

  LinkLoop& loop_;
  const NodeId node_;
  const Network::Lane lane_;
  std::string place_;
  std::shared_ptr<Connection> connection_;
  LinkTime retry_at_{};
  Network::Duration backoff_{0};
  std::string last_error_;   // why there is no connection
  LinkCalls waiting_;        // for a connection or for credit, in order
  LinkCalls sent_;
};

}   // namespace troupe
