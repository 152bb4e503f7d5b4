// The calling side of a link.
#include "actors/internal/link_client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/internal/kj_error.h"
#include "actors/internal/link_frame.h"

namespace troupe {
namespace {

/// Bytes of requests that are neither answered nor given up, or whose message still waits to be sent.
struct Credit {
  std::shared_ptr<size_t> in_flight;
  size_t bytes;
  Credit(std::shared_ptr<size_t> total, size_t size) : in_flight(std::move(total)), bytes(size) { *in_flight += bytes; }
  ~Credit() { *in_flight -= bytes; }
};

absl::Status ToStatus(const kj::Exception& error, const std::string& name) {
  using Type = kj::Exception::Type;
  if (error.getType() == Type::DISCONNECTED) return absl::UnavailableError(absl::StrCat("lost the connection to ", name));
  if (error.getType() == Type::OVERLOADED) return absl::UnavailableError(absl::StrCat(name, ": ", Describe(error)));
  return absl::InternalError(absl::StrCat(name, ": ", Describe(error)));
}

}   // namespace

struct LinkClient::Connection {
  Connection(LinkLoop& loop, int fd)
      : socket(loop.sockets(), kj::AutoCloseFd(fd), capnp::rpc::twoparty::Side::CLIENT, kHelloBytesMax, [this] { closed = true; }),
        rpc(capnp::makeRpcClient(socket)),
        link(nullptr) {
    capnp::word scratch[8] = {};
    capnp::MallocMessageBuilder message(kj::arrayPtr(scratch, 8));
    auto id = message.initRoot<capnp::rpc::twoparty::VatId>();
    id.setSide(capnp::rpc::twoparty::Side::SERVER);
    link = rpc.bootstrap(id).castAs<wire::Link>();
  }
  bool closed = false;
  bool greeted = false;
  Incarnation incarnation{};
  std::shared_ptr<size_t> in_flight = std::make_shared<size_t>(0);
  LinkSocket socket;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  wire::Link::Client link;
  kj::Promise<void> hello = nullptr;
};

LinkClient::LinkClient(LinkLoop& loop, NodeId node, Network::Lane lane) : loop_(loop), node_(node), lane_(lane) {}
LinkClient::~LinkClient() = default;

std::string LinkClient::Name() const {
  return absl::StrCat("node ", static_cast<uint32_t>(node_));
}
bool LinkClient::ready() const {
  return connection_ != nullptr && connection_->greeted && !connection_->closed;
}

void LinkClient::Locate(const std::string& place) {
  if (place != std::exchange(place_, place)) Drop();
  backoff_ = Network::Duration(0);
  retry_at_ = std::min(retry_at_, std::chrono::steady_clock::now());
  if (connection_ == nullptr && !waiting_.empty()) Connect();
}

void LinkClient::Submit(LinkCalls& call) {
  call.front().bytes = call.front().frame.size();
  waiting_.splice(waiting_.end(), call);
  if (ready()) return Service();
  if (connection_ != nullptr || place_.empty()) return;
  if (std::chrono::steady_clock::now() >= retry_at_) return Connect();
  loop_.WakeAt(retry_at_);
}

void LinkClient::Service() {
  if (connection_ != nullptr && connection_->closed) {
    if (connection_->greeted) {
      if (!connection_->socket.reason().empty()) loop_.Log(absl::StrCat(Name(), ": ", connection_->socket.reason()));
      retry_at_ += loop_.options().backoff_min;
      last_error_ = "lost the connection";
      Drop();
    } else {
      TryLater("the connection was closed before Hello");
    }
  }
  while (ready() && !waiting_.empty()) {
    const size_t in_flight = *connection_->in_flight;
    if (in_flight > 0 && in_flight + waiting_.front().bytes > loop_.options().in_flight_bytes_max) return;
    Send();
  }
}

void LinkClient::Drop() {
  if (connection_ == nullptr) return;
  if (connection_->socket.has_lent()) SharedMemory::OfProcess().ForgetLent();
  loop_.Bury(std::exchange(connection_, nullptr));
  Fail(absl::UnavailableError(absl::StrCat("lost the connection to ", Name())));
}

void LinkClient::Fail(const absl::Status& status) {
  LinkCalls calls;
  calls.splice(calls.end(), sent_);
  calls.splice(calls.end(), waiting_);
  while (!calls.empty()) loop_.Finish(calls, calls.begin(), status);
}

// --------------------------------------------------------------------------------------------------------------------------------------- connecting

void LinkClient::Connect() {
  retry_at_ = std::chrono::steady_clock::now();
  auto fd = ConnectTo(place_);
  if (!fd.ok()) return TryLater(std::string(fd.status().message()));
  try {
    connection_ = std::make_shared<Connection>(loop_, *fd);
    SayHello();
  } catch (const kj::Exception& error) {
    TryLater(Describe(error));
  }
}

void LinkClient::TryLater(const std::string& error) {
  if (connection_ != nullptr) loop_.Bury(std::exchange(connection_, nullptr));
  last_error_ = error;
  const auto& options = loop_.options();
  backoff_ = std::clamp(2 * backoff_, options.backoff_min, options.backoff_max);
  retry_at_ = std::chrono::steady_clock::now() + backoff_;
  if (!waiting_.empty()) loop_.WakeAt(retry_at_);
}

void LinkClient::Refused(const absl::Status& status) {
  TryLater(std::string(status.message()));
  Fail(status);
}

void LinkClient::SayHello() {
  const auto& options = loop_.options();
  auto request = connection_->link.helloRequest();
  auto hello = request.initHello();
  hello.setProtocol(kProtocol);
  hello.setClusterId(options.cluster_id);
  hello.setNode(static_cast<uint32_t>(options.node));
  hello.setIncarnation(static_cast<uint64_t>(options.incarnation));
  hello.setToken(options.token);
  hello.setBuildId(options.build_id);
  hello.setLane(static_cast<uint8_t>(lane_));
  hello.setShares(options.share_memory);
  auto answer = loop_.timer().timeoutAfter(options.connect_timeout.count() * kj::MILLISECONDS, request.send().dropPipeline());
  connection_->hello = answer
                           .then([this](capnp::Response<wire::Link::HelloResults>&& results) {
                             if (results.getCode() != 0)
                               return Refused(absl::Status(static_cast<absl::StatusCode>(results.getCode()), results.getMessage().cStr()));
                             const auto theirs = results.getHello();
                             if (theirs.getNode() != static_cast<uint32_t>(node_)) {
                               return Refused(absl::FailedPreconditionError(absl::StrCat(place_, " is node ", theirs.getNode(), ", expected ", Name())));
                             }
                             connection_->incarnation = Incarnation{theirs.getIncarnation()};
                             connection_->greeted = true;
                             connection_->socket.LimitMessages(kMessageBytesMax);
                             if (loop_.options().share_memory && theirs.getShares()) connection_->socket.ShareMemory();
                             backoff_ = Network::Duration(0);
                             Service();
                           })
                           .eagerlyEvaluate([this](kj::Exception&& error) {
                             TryLater(error.getType() == kj::Exception::Type::OVERLOADED ? "no Hello in time" : absl::StrCat("Hello: ", Describe(error)));
                           });
}

// ------------------------------------------------------------------------------------------------------------------------------------------ requests

void LinkClient::Send() {
  const auto call = waiting_.begin();
  if (call->to.incarnation != Incarnation{} && call->to.incarnation != connection_->incarnation) {
    return loop_.Finish(waiting_, call,
                        absl::UnavailableError(absl::StrCat(Name(), " is incarnation ", static_cast<uint64_t>(connection_->incarnation), ", expected ",
                                                            static_cast<uint64_t>(call->to.incarnation))));
  }
  sent_.splice(sent_.end(), waiting_, call);
  auto credit = std::make_shared<Credit>(connection_->in_flight, call->bytes);
  connection_->socket.ForgetLastMessage();
  auto request = connection_->link.requestRequest(SizeHint(call->frame));
  request.setActor(static_cast<uint32_t>(call->to.actor));
  request.setIncarnation(static_cast<uint64_t>(call->to.incarnation));
  PutFrame<wire::Link::RequestParams::Builder>(call->frame, request, &connection_->socket);
  if (OutgoingMessage* message = connection_->socket.last_message()) message->Hold(credit);
  call->credit = std::move(credit);
  call->frame = Frame();
  call->answer = request.send()
                     .dropPipeline()
                     .then([this, call](capnp::Response<wire::Link::RequestResults>&& results) {
                       try {
                         if (results.getCode() == 0)
                           return loop_.Finish(sent_, call, TakeFrame<wire::Link::RequestResults::Reader>(connection_->socket, results));
                         loop_.Finish(sent_, call, absl::Status(static_cast<absl::StatusCode>(results.getCode()), results.getMessage().cStr()));
                       } catch (const kj::Exception& error) {
                         loop_.Finish(sent_, call, absl::InternalError(absl::StrCat(Name(), ": a reply that cannot be read: ", Describe(error))));
                       }
                     })
                     .eagerlyEvaluate([this, call](kj::Exception&& error) { loop_.Finish(sent_, call, ToStatus(error, Name())); });
}

void LinkClient::Expire(LinkTime now) {
  LinkCalls expired;
  LinkTime next = LinkTime::max();
  for (LinkCalls* list : {&sent_, &waiting_}) {
    for (auto call = list->begin(); call != list->end();) {
      const auto it = call++;
      if (it->deadline <= now)
        expired.splice(expired.end(), *list, it);
      else
        next = std::min(next, it->deadline);
    }
  }
  if (connection_ == nullptr && !waiting_.empty() && !place_.empty()) {
    if (now >= retry_at_) Connect();
    if (connection_ == nullptr) next = std::min(next, retry_at_);
  }
  loop_.WakeAt(next);
  while (!expired.empty()) {
    const LinkCall& call = expired.front();
    std::string error = absl::StrCat(Name(), " gave no answer within ", call.timeout.count(), " ms");
    if (!ready()) absl::StrAppend(&error, ": ", place_.empty() ? "nobody has said where it is" : connection_ != nullptr ? "no Hello yet" : last_error_);
    loop_.Finish(expired, expired.begin(), absl::DeadlineExceededError(error));
  }
}

}   // namespace troupe
