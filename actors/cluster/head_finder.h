// Several processes may be the head of a cluster, one at a time: a network that asks the one that leads. Of all that is asked of the head, whatever fails in a
// way that is worth another try makes the next attempt go elsewhere: to the head that a standby names, else to the next one.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "actors/network.h"

namespace troupe {

/// What a head that does not lead answers to everything: Unavailable. `leader`: HOST:PORT; empty: nobody leads at this moment.
absl::Status NotTheLeader(const std::string& leader);

/// Thread-safe.
class HeadFinder final : public Network {
 public:
  /// places: of the heads, "tcp:HOST:PORT", at least one; the first is asked first.
  HeadFinder(std::unique_ptr<Network> network, std::vector<std::string> places);

  void Locate(NodeId node, std::vector<std::string> places) override { network_->Locate(node, std::move(places)); }
  void Request(const Address& to, Frame frame, Lane lane, Duration timeout, Reply reply) override;
  void Serve(ActorId actor, Handler handler) override { network_->Serve(actor, std::move(handler)); }
  void Withdraw(ActorId actor) override { network_->Withdraw(actor); }

 private:
  /// Somebody who asked in `turn` has had no luck.
  void Next(uint64_t turn, const absl::Status& why);

  std::mutex mutex_;
  std::vector<std::string> places_;   // the one that is asked, then the others
  uint64_t turn_ = 0;
  std::unique_ptr<Network> network_;   // ends first: it calls replies
};

}   // namespace troupe
