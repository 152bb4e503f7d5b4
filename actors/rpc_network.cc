// The Network interface over the link thread.
#include "actors/rpc_network.h"

#include <algorithm>
#include <utility>

#include "actors/internal/link_loop.h"
#include "actors/status.h"

namespace troupe {

absl::StatusOr<std::unique_ptr<RpcNetwork>> RpcNetwork::Start(Options options) {
  if (options.bulk_connections == 0) return absl::InvalidArgumentError("bulk_connections is 0, expected at least 1");
  if (options.token.empty() && !options.tokens.empty()) return absl::InvalidArgumentError("tokens with roles, but none of this process's own (an admin's)");
  std::shared_ptr<const TlsContext> tls;
  if (options.tls) {
    TROUPE_TRY(tls, TlsContext::Make(*options.tls));
    options.tls.reset();   // the key lies in one place
  }
  auto handlers = std::exchange(options.handlers, {});
  auto loop = std::make_shared<LinkLoop>(std::move(options), std::move(tls));
  for (auto& [actor, handler] : handlers) loop->Serve(actor, std::make_shared<const Handler>(std::move(handler)));
  if (absl::Status status = loop->Start(); !status.ok()) return status;
  return std::unique_ptr<RpcNetwork>(new RpcNetwork(std::move(loop)));
}

RpcNetwork::RpcNetwork(std::shared_ptr<LinkLoop> loop) : loop_(std::move(loop)) {}
RpcNetwork::~RpcNetwork() {
  loop_->Stop();
}

std::vector<std::string> RpcNetwork::places() const {
  return loop_->places();
}

void RpcNetwork::Locate(NodeId node, std::vector<std::string> places) {
  LinkLoop::Work work = [loop = loop_.get(), node, places = std::move(places)] { loop->Locate(node, places); };
  loop_->Post(work);
}

void RpcNetwork::Request(const Address& to, Frame frame, Lane lane, Duration timeout, Reply reply) {
  timeout = std::clamp<Duration>(timeout, Duration(0), std::chrono::hours(24 * 365));
  LinkCalls call;
  LinkCall& it = call.emplace_back();
  it.to = to;
  it.frame = std::move(frame);
  it.lane = lane;
  it.timeout = timeout;
  it.deadline = std::chrono::steady_clock::now() + timeout;
  it.reply = std::move(reply);
  const bool here = loop_->Here();
  if (here && loop_->idle()) return loop_->Submit(call);   // what its asker has asked before on another thread goes first
  auto shared = std::make_shared<LinkCalls>(std::move(call));
  LinkLoop::Work work = [loop = loop_.get(), shared] { loop->Submit(*shared); };
  if (loop_->Post(work, here ? SIZE_MAX : loop_->options().queued_requests_max)) return;   // nobody else would empty the queue
  shared->front().reply(loop_->ended() ? absl::CancelledError("the network is stopped") : absl::UnavailableError("more requests wait than the network queues"));
}

void RpcNetwork::Serve(ActorId actor, Handler handler) {
  loop_->Serve(actor, std::make_shared<const Handler>(std::move(handler)));
}
void RpcNetwork::Withdraw(ActorId actor) {
  loop_->Serve(actor, nullptr);
}
std::shared_ptr<Progress> RpcNetwork::progress() {
  return loop_;
}

}   // namespace troupe
