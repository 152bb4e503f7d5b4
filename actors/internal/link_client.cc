// The calling side of a link.
#include "actors/internal/link_client.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "actors/internal/kj_error.h"
#include "actors/internal/link_frame.h"
#include "actors/unreachable.h"

namespace troupe {
namespace {

/// Bytes of requests that are neither answered nor given up, or whose message still waits to be sent.
struct InFlight {
  size_t all = 0;
  std::vector<size_t> each;   // by connection
};

struct Credit {
  std::shared_ptr<InFlight> in_flight;
  size_t connection, bytes;
  Credit(std::shared_ptr<InFlight> total, size_t which, size_t size) : in_flight(std::move(total)), connection(which), bytes(size) {
    in_flight->all += bytes;
    in_flight->each[connection] += bytes;
  }
  ~Credit() {
    in_flight->all -= bytes;
    in_flight->each[connection] -= bytes;
  }
};

uint64_t RandomId() {
  std::random_device device;
  return uint64_t{device()} << 32 | device() | 1;
}

absl::Status ToStatus(const kj::Exception& error, const std::string& name) {
  using Type = kj::Exception::Type;
  if (error.getType() == Type::DISCONNECTED) return absl::UnavailableError(absl::StrCat("lost the connection to ", name));
  if (error.getType() == Type::OVERLOADED) return absl::UnavailableError(absl::StrCat(name, ": ", Describe(error)));
  return absl::InternalError(absl::StrCat(name, ": ", Describe(error)));
}

}   // namespace

struct LinkClient::Connection {
  Connection(LinkLoop& loop, int fd, bool local, size_t number)
      : index(number),
        socket(
            loop.sockets(), kj::AutoCloseFd(fd), capnp::rpc::twoparty::Side::CLIENT, kHelloBytesMax, [this] { closed = true; }, local ? nullptr : loop.tls()),
        rpc(capnp::makeRpcClient(socket)),
        link(nullptr) {
    capnp::word scratch[8] = {};
    capnp::MallocMessageBuilder message(kj::arrayPtr(scratch, 8));
    auto id = message.initRoot<capnp::rpc::twoparty::VatId>();
    id.setSide(capnp::rpc::twoparty::Side::SERVER);
    link = rpc.bootstrap(id).castAs<wire::Link>();
  }
  const size_t index;
  bool closed = false;
  LinkSocket socket;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  wire::Link::Client link;
  kj::Promise<void> hello = nullptr;
};

/// The connections that carry this lane, and live and end together: one, or several where one TCP connection would not fill the way.
struct LinkClient::Link {
  explicit Link(Place at) : place(std::move(at)) {}
  const Place place;
  std::vector<std::unique_ptr<Connection>> connections;
  LinkTime greet_by = LinkTime::max();
  size_t wanted = 1, greeted = 0;
  uint64_t id = 0;        // of several
  uint64_t ordered = 0;   // requests sent by several
  Incarnation incarnation{};
  std::shared_ptr<InFlight> in_flight = std::make_shared<InFlight>();

  bool ready() const { return greeted == wanted; }
  const Connection* Closed() const {
    for (const auto& connection : connections) {
      if (connection->closed) return connection.get();
    }
    return nullptr;
  }
  /// The one with the least to do, in turn.
  Connection& Next() {
    size_t best = ordered % connections.size();
    for (size_t i = 0; i < connections.size(); ++i) {
      if (in_flight->each[i] < in_flight->each[best]) best = i;
    }
    return *connections[best];
  }
};

LinkClient::LinkClient(LinkLoop& loop, NodeId node, Network::Lane lane) : loop_(loop), node_(node), lane_(lane) {}
LinkClient::~LinkClient() = default;

std::string LinkClient::Name() const {
  return absl::StrCat("node ", static_cast<uint32_t>(node_));
}
bool LinkClient::ready() const {
  return link_ != nullptr && link_->ready() && link_->Closed() == nullptr;
}

void LinkClient::Locate(const std::vector<std::string>& places) {
  if (places != std::exchange(located_, places)) {
    Drop();
    looking_up_ = false;
    ++lookup_;
    places_.clear();
    no_places_.clear();
    for (const std::string& text : places) {
      auto place = ParsePlace(text);
      if (place.ok())
        places_.push_back(*std::move(place));
      else
        absl::StrAppend(&no_places_, no_places_.empty() ? "" : "; ", place.status().message());
    }
    std::stable_partition(places_.begin(), places_.end(), [](const Place& place) { return place.local(); });
  }
  backoff_ = Network::Duration(0);
  retry_at_ = std::min(retry_at_, std::chrono::steady_clock::now());
  if (!connecting() && !waiting_.empty()) Connect();
}

void LinkClient::Submit(LinkCalls& call) {
  call.front().bytes = call.front().frame.size();
  waiting_.splice(waiting_.end(), call);
  if (ready()) return Service();
  if (connecting() || located_.empty()) return;
  if (std::chrono::steady_clock::now() >= retry_at_) return Connect();
  loop_.WakeAt(retry_at_);
}

void LinkClient::Service() {
  if (const Connection* closed = link_ == nullptr ? nullptr : link_->Closed()) {
    const std::string& reason = closed->socket.reason();
    if (link_->ready()) {
      if (!reason.empty()) loop_.Log(absl::StrCat(Name(), ": ", reason));
      retry_at_ += loop_.options().backoff_min;
      last_error_ = "lost the connection";
      Drop();
    } else {
      const absl::StatusCode code = closed->socket.reason_code();
      Missed(absl::Status(code, absl::StrCat(link_->place.text, ": ", reason.empty() ? "the connection was closed before Hello" : reason)),
             code != absl::StatusCode::kUnavailable);
    }
  }
  while (ready() && !waiting_.empty()) {
    const size_t in_flight = link_->in_flight->all;
    if (in_flight > 0 && in_flight + waiting_.front().bytes > loop_.options().in_flight_bytes_max) return;
    Send();
  }
}

void LinkClient::Forget() {
  if (link_ == nullptr) return;
  bool lent = false;
  for (const auto& connection : link_->connections) lent |= connection->socket.has_lent();
  if (lent) SharedMemory::OfProcess().ForgetLent();
  loop_.Bury(std::exchange(link_, nullptr));
}

void LinkClient::Drop() {
  if (link_ == nullptr) return;
  Forget();
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
  next_place_ = 0;
  addresses_.clear();
  errors_ = no_places_;
  all_refused_ = no_places_.empty();
  refusal_.reset();
  TryNext();
}

void LinkClient::TryNext() {
  if (addresses_.empty()) {
    if (next_place_ == places_.size()) {
      TryLater(errors_);
      if (all_refused_ && refusal_) Fail(*refusal_);
      return;
    }
    const Place& place = places_[next_place_++];
    const auto address = AddressOf(place);
    if (!address.ok()) return Missed(address.status(), false);
    if (!*address) return Resolve(place);
    addresses_.push_back(**address);
  }
  const SocketAddress address = addresses_.front();
  addresses_.pop_front();
  Open(places_[next_place_ - 1], address);
}

void LinkClient::Missed(const absl::Status& why, bool refused) {
  Forget();
  absl::StrAppend(&errors_, errors_.empty() ? "" : "; ", why.message());
  all_refused_ &= refused;
  if (refused) refusal_ = why;
  TryNext();
}

void LinkClient::Resolve(const Place& place) {
  looking_up_ = true;
  last_error_ = absl::StrCat(place.text, ": the name is being looked up");
  loop_.LookUp(place, [this, lookup = ++lookup_](absl::StatusOr<std::vector<SocketAddress>> found) {
    if (lookup != lookup_) return;
    looking_up_ = false;
    if (!found.ok()) return Missed(found.status(), false);
    addresses_.assign(found->begin(), found->end());
    TryNext();
  });
}

void LinkClient::Open(const Place& place, const SocketAddress& address) {
  const auto& options = loop_.options();
  if (!address.loopback() && loop_.tls() == nullptr) {
    return Missed(absl::FailedPreconditionError(absl::StrCat(place.text, ": beyond this host links take certificates, and this process has none (--tls)")),
                  true);
  }
  auto link = std::make_shared<Link>(place);
  if (lane_ == Network::Lane::kBulk && !place.local()) link->wanted = options.bulk_connections;
  if (link->wanted > 1) link->id = RandomId();
  link->in_flight->each.resize(link->wanted);
  link->greet_by = std::chrono::steady_clock::now() + options.connect_timeout;
  loop_.WakeAt(link->greet_by);
  link_ = link;
  try {
    for (size_t i = 0; i < link->wanted; ++i) {
      auto fd = ConnectTo(place, address, options.silence_max);
      if (!fd.ok()) return Missed(fd.status(), false);
      link->connections.push_back(std::make_unique<Connection>(loop_, *fd, place.local(), i));
    }
    for (const auto& connection : link->connections) SayHello(*link, *connection);
  } catch (const kj::Exception& error) {
    Missed(absl::UnavailableError(absl::StrCat(place.text, ": ", Describe(error))), false);
  }
}

void LinkClient::TryLater(const std::string& error) {
  last_error_ = error;
  const auto& options = loop_.options();
  backoff_ = std::clamp(2 * backoff_, options.backoff_min, options.backoff_max);
  retry_at_ = std::chrono::steady_clock::now() + backoff_;
  if (!waiting_.empty()) loop_.WakeAt(retry_at_);
}

void LinkClient::SayHello(Link& link, Connection& connection) {
  const auto& options = loop_.options();
  auto request = connection.link.helloRequest();
  auto hello = request.initHello();
  hello.setProtocol(kProtocol);
  hello.setClusterId(options.cluster_id);
  hello.setNode(static_cast<uint32_t>(options.node));
  hello.setIncarnation(static_cast<uint64_t>(options.incarnation));
  hello.setToken(options.token);
  hello.setBuildId(options.build_id);
  hello.setLane(static_cast<uint8_t>(lane_));
  hello.setShares(options.share_memory && link.place.local());
  hello.setLink(link.id);
  connection.hello = request.send()
                         .dropPipeline()
                         .then([this, &link, &connection](capnp::Response<wire::Link::HelloResults>&& results) {
                           if (link_.get() != &link) return;
                           if (results.getCode() == 0) return OnHello(link, connection, results.getHello());
                           Missed(absl::Status(static_cast<absl::StatusCode>(results.getCode()), results.getMessage().cStr()), true);
                         })
                         .eagerlyEvaluate([this, &link, &connection](kj::Exception&& error) {
                           if (link_.get() != &link) return;
                           const std::string& reason = connection.socket.reason();
                           const std::string why = reason.empty() ? absl::StrCat("Hello: ", Describe(error)) : reason;
                           const absl::StatusCode code = connection.socket.reason_code();
                           Missed(absl::Status(code, absl::StrCat(link.place.text, ": ", why)), code != absl::StatusCode::kUnavailable);
                         });
}

void LinkClient::OnHello(Link& link, Connection& connection, wire::Hello::Reader theirs) {
  if (theirs.getNode() != static_cast<uint32_t>(node_)) {
    return Missed(absl::FailedPreconditionError(absl::StrCat(link.place.text, " is node ", theirs.getNode(), ", expected ", Name())), true);
  }
  const Incarnation incarnation{theirs.getIncarnation()};
  if (link.greeted > 0 && incarnation != link.incarnation) {
    return Missed(absl::UnavailableError(absl::StrCat(link.place.text, ": two lives of ", Name(), " have answered")), false);
  }
  link.incarnation = incarnation;
  connection.socket.LimitMessages(kMessageBytesMax);
  if (loop_.options().share_memory && link.place.local() && theirs.getShares()) connection.socket.ShareMemory();
  if (++link.greeted < link.wanted) return;
  backoff_ = Network::Duration(0);
  Service();
}

// ------------------------------------------------------------------------------------------------------------------------------------------ requests

void LinkClient::Send() {
  const auto call = waiting_.begin();
  if (call->to.incarnation != Incarnation{} && call->to.incarnation != link_->incarnation) {
    auto failed = std::make_shared<LinkCalls>();   // later, never inside Request: behind a Locate that is under way, which may lead to the other life
    failed->splice(failed->end(), waiting_, call);
    LinkLoop::Work work = [&loop = loop_, failed,
                           status = absl::UnavailableError(absl::StrCat(Name(), " is incarnation ", static_cast<uint64_t>(link_->incarnation), ", expected ",
                                                                        static_cast<uint64_t>(call->to.incarnation)))] {
      loop.Finish(*failed, failed->begin(), status);
    };
    TROUPE_CHECK(loop_.Post(work));
    return;
  }
  sent_.splice(sent_.end(), waiting_, call);
  Connection& connection = link_->Next();
  LinkSocket& socket = connection.socket;
  auto credit = std::make_shared<Credit>(link_->in_flight, connection.index, call->bytes);
  socket.ForgetLastMessage();
  auto request = connection.link.requestRequest(SizeHint(call->frame));
  request.setActor(static_cast<uint32_t>(call->to.actor));
  request.setIncarnation(static_cast<uint64_t>(call->to.incarnation));
  if (link_->wanted > 1) request.setOrder(++link_->ordered);
  PutFrame<wire::Link::RequestParams::Builder>(call->frame, request, &socket);
  if (OutgoingMessage* message = socket.last_message()) message->Hold(credit);
  call->credit = std::move(credit);
  call->frame = Frame();
  call->answer = request.send()
                     .dropPipeline()
                     .then([this, call, &socket](capnp::Response<wire::Link::RequestResults>&& results) {
                       try {
                         if (results.getCode() == 0) return loop_.Finish(sent_, call, TakeFrame<wire::Link::RequestResults::Reader>(socket, results));
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
  if (link_ != nullptr && !link_->ready() && now >= link_->greet_by) {
    Missed(absl::UnavailableError(absl::StrCat(link_->place.text, ": no Hello in time")), false);
  }
  if (link_ != nullptr && !link_->ready()) next = link_->greet_by;
  for (LinkCalls* list : {&sent_, &waiting_}) {
    for (auto call = list->begin(); call != list->end();) {
      const auto it = call++;
      if (it->deadline <= now)
        expired.splice(expired.end(), *list, it);
      else
        next = std::min(next, it->deadline);
    }
  }
  if (!connecting() && !waiting_.empty() && !located_.empty()) {
    if (now >= retry_at_) Connect();
    if (!connecting()) next = std::min(next, retry_at_);
  }
  loop_.WakeAt(next);
  while (!expired.empty()) {
    const LinkCall& call = expired.front();
    if (!ready() && !connecting() && !located_.empty()) {   // nobody is there
      loop_.Finish(expired, expired.begin(), Unreachable(Name(), last_error_));
      continue;
    }
    std::string error = absl::StrCat(Name(), " gave no answer within ", call.timeout.count(), " ms");
    if (!ready()) {
      absl::StrAppend(&error, ": ",
                      located_.empty()   ? "nobody has said where it is"
                      : link_ != nullptr ? absl::StrCat(errors_, errors_.empty() ? "" : "; ", link_->place.text, ": no Hello yet")
                                         : last_error_);
    }
    loop_.Finish(expired, expired.begin(), absl::DeadlineExceededError(error));
  }
}

}   // namespace troupe
