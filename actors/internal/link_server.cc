// The called side of a link.
#include "actors/internal/link_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/internal/kj_error.h"
#include "actors/internal/link_frame.h"

namespace troupe {
namespace {

constexpr size_t kSessionsMax = 4096;
constexpr size_t kStrangersMax = 256;   // of them: connections that have not said Hello

constexpr std::chrono::milliseconds kAcceptAgain{50};

/// One request, until its answer is sent or its connection is lost.
struct Pending {
  std::optional<absl::StatusOr<Frame>> result;
  kj::Own<kj::PromiseFulfiller<void>> fulfiller;   // from the handler's return, while the caller waits
  bool gone = false;                               // nobody waits any more

  void Settle(absl::StatusOr<Frame> given) {   // in the loop
    if (gone) return;
    result = std::move(given);
    if (fulfiller.get() != nullptr) fulfiller->fulfill();
  }
};

/// The handler's side of a request: answers once, from any thread; if nobody does, its destruction answers.
class Ticket {
 public:
  Ticket(std::shared_ptr<LinkLoop> loop, std::shared_ptr<Pending> pending) : loop_(std::move(loop)), pending_(std::move(pending)) {}
  ~Ticket() {
    if (!given_) Give(absl::UnavailableError("the actor ended without an answer"));
  }

  void Give(absl::StatusOr<Frame> result) {
    if (given_.exchange(true)) return;
    if (result.ok()) {
      if (auto status = CheckFrame(*result); !status.ok()) result = std::move(status);
    }
    if (loop_->Here()) return pending_->Settle(std::move(result));
    LinkLoop::Work settle = [pending = pending_, result = std::move(result)]() mutable { pending->Settle(std::move(result)); };
    loop_->Post(settle);   // or the loop has ended, and so have all callers
  }

 private:
  const std::shared_ptr<LinkLoop> loop_;
  const std::shared_ptr<Pending> pending_;
  std::atomic<bool> given_ = false;
};

/// Every byte is looked at, so that the time does not tell how much of a guess was right.
bool SameSecret(const std::string& ours, capnp::Text::Reader theirs) {
  unsigned difference = ours.size() != theirs.size();
  for (size_t i = 0; i < theirs.size(); ++i) difference |= static_cast<unsigned>(theirs[i] ^ (i < ours.size() ? ours[i] : ~theirs[i]));
  return difference == 0;
}

/// What the token is good for. All of ours are compared, whichever it is.
std::optional<Role> RoleOf(const RpcNetwork::Options& ours, capnp::Text::Reader token) {
  std::optional<Role> role;
  for (const RoleToken& known : ours.tokens) {
    if (SameSecret(known.token, token)) role = known.role;
  }
  if (SameSecret(ours.token, token)) role = Role::kAdmin;
  return role;
}

/// The role of whoever says this.
absl::StatusOr<Role> CheckHello(const RpcNetwork::Options& ours, wire::Hello::Reader theirs) {
  if (theirs.getProtocol() != kProtocol) {
    return absl::FailedPreconditionError(absl::StrCat("the peer speaks protocol ", theirs.getProtocol(), ", expected ", kProtocol));
  }
  if (theirs.getClusterId() != ours.cluster_id) {
    return absl::FailedPreconditionError(absl::StrCat("the peer belongs to '", theirs.getClusterId().cStr(), "', expected '", ours.cluster_id, "'"));
  }
  const std::optional<Role> role = RoleOf(ours, theirs.getToken());
  if (!role) return absl::UnauthenticatedError(theirs.getToken().size() == 0 ? "a token is wanted, and none was sent" : "the token is wrong");
  if (theirs.getBuildId() != ours.build_id) {
    return absl::FailedPreconditionError(absl::StrCat("the peer is build '", theirs.getBuildId().cStr(), "', expected '", ours.build_id, "'"));
  }
  return *role;
}

}   // namespace

/// Connections that are one link. Whichever comes first, their requests are handled in the order in which the caller made them.
struct LinkServer::Group {
  struct Held {
    ActorId actor;
    Incarnation meant;
    Role role;
    Frame frame;
    std::shared_ptr<Pending> pending;
  };
  std::vector<Session*> members;
  uint64_t next = 1;
  std::map<uint64_t, Held> held;   // all later than next
  size_t held_bytes = 0;
};

struct LinkServer::Session {
  Session(LinkServer& server, int fd, bool local, uint64_t source);
  ~Session();
  class Requests;
  class Entrance;

  LinkServer& server;
  const bool local;
  const uint64_t source;
  const LinkTime greet_by;
  bool closed = false;
  std::shared_ptr<Session*> self = std::make_shared<Session*>(this);   // null for calls that outlive the session
  bool greeted = false;
  Role role = Role::kRead;        // once greeted
  std::shared_ptr<Group> group;   // null: alone
  LinkSocket socket;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
};

/// The session as capnp calls it. What capnp makes of a Server (LocalClient) prepares each call for calls on its result before that is there, which costs as
/// much as the call; results have nothing here that could be called.
class LinkServer::Session::Entrance final : public capnp::ClientHook, public kj::Refcounted {
 public:
  Entrance(kj::Own<capnp::Capability::Server> server, kj::Own<capnp::PipelineHook> no_pipeline) : server_(kj::mv(server)), no_pipeline_(kj::mv(no_pipeline)) {}

  VoidPromiseAndPipeline call(uint64_t interface, uint16_t method, kj::Own<capnp::CallContextHook>&& context) override {
    auto done = kj::evalLater([this, interface, method, at = context.get()] {
      return server_->dispatchCall(interface, method, capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer>(*at)).promise;
    });
    return {done.attach(kj::addRef(*this), kj::mv(context)), no_pipeline_->addRef()};
  }
  capnp::Request<capnp::AnyPointer, capnp::AnyPointer> newCall(uint64_t, uint16_t, kj::Maybe<capnp::MessageSize>) override {
    KJ_UNIMPLEMENTED("nobody calls a session of his own process");
  }
  kj::Maybe<capnp::ClientHook&> getResolved() override { return nullptr; }
  kj::Maybe<kj::Promise<kj::Own<capnp::ClientHook>>> whenMoreResolved() override { return nullptr; }
  kj::Own<capnp::ClientHook> addRef() override { return kj::addRef(*this); }
  const void* getBrand() override { return nullptr; }
  kj::Maybe<int> getFd() override { return nullptr; }

 private:
  kj::Own<capnp::Capability::Server> server_;
  kj::Own<capnp::PipelineHook> no_pipeline_;
};

class LinkServer::Session::Requests final : public wire::Link::Server {
 public:
  explicit Requests(Session& session) : loop_(session.server.loop_), session_(session.self) {}

  kj::Promise<void> hello(HelloContext context) override {
    Session* session = *session_;
    if (session == nullptr) return kj::READY_NOW;
    const auto& ours = loop_.options();
    const absl::StatusOr<Role> role = CheckHello(ours, context.getParams().getHello());
    auto results = context.getResults();
    if (!role.ok()) {
      loop_.Log(absl::StrCat("a connection is refused: ", Std(role.status())));
      results.setCode(static_cast<uint16_t>(role.status().code()));
      results.setMessage(Std(role.status()));
      return kj::READY_NOW;   // the peer closes, or the time for Hello ends
    }
    const auto theirs = context.getParams().getHello();
    if (!session->greeted) {
      --session->server.strangers_;
      if (!session->local) session->server.rate_.GiveBack(session->source);
    }
    session->greeted = true;
    session->role = *role;
    session->socket.LimitMessages(kMessageBytesMax);
    if (theirs.getLink() != 0 && session->group == nullptr) {
      session->group = session->server.Join({theirs.getNode(), theirs.getIncarnation(), theirs.getLink()}, *session);
    }
    auto hello = results.initHello();
    hello.setProtocol(kProtocol);
    hello.setClusterId(ours.cluster_id);
    hello.setNode(static_cast<uint32_t>(ours.node));
    hello.setIncarnation(static_cast<uint64_t>(ours.incarnation));
    hello.setBuildId(ours.build_id);
    const bool share = ours.share_memory && theirs.getShares() && session->local;
    hello.setShares(share);
    if (share) session->socket.ShareMemory();
    return kj::READY_NOW;
  }

  kj::Promise<void> request(RequestContext context) override {
    Session* session = *session_;
    if (session == nullptr) return KJ_EXCEPTION(DISCONNECTED, "the session has ended");
    const std::shared_ptr<Group> group = session->group;
    uint64_t order = 0;
    absl::StatusOr<Frame> frame = session->greeted ? Take(context, order) : absl::InvalidArgumentError("a request before Hello");
    if (frame.ok()) {
      if (auto status = CheckOrder(group.get(), order, frame->size()); !status.ok()) frame = status;
    }
    if (!frame.ok()) {
      session->socket.Break(absl::StrCat("garbage: ", Std(frame.status())));
      session->closed = session->server.some_closed_ = true;
      return KJ_EXCEPTION(DISCONNECTED, "refused");
    }
    const auto params = context.getParams();
    const auto actor = ActorId{params.getActor()};
    const auto meant = Incarnation{params.getIncarnation()};
    context.releaseParams();
    context.allowCancellation();
    auto pending = std::make_shared<Pending>();
    if (group == nullptr) {
      Handle(actor, meant, session->role, *std::move(frame), pending);
    } else {
      group->held_bytes += frame->size() + sizeof(Group::Held);
      group->held.emplace(order, Group::Held{actor, meant, session->role, *std::move(frame), pending});
      while (!group->held.empty() && group->held.begin()->first == group->next) {
        Group::Held held = std::move(group->held.extract(group->held.begin()).mapped());
        ++group->next;
        group->held_bytes -= held.frame.size() + sizeof(Group::Held);
        Handle(held.actor, held.meant, held.role, std::move(held.frame), held.pending);
      }
    }
    if (pending->result) {
      Answer(context, *pending);
      return kj::READY_NOW;
    }
    auto answer = kj::newPromiseAndFulfiller<void>();
    pending->fulfiller = kj::mv(answer.fulfiller);
    return answer.promise.then([this, context, pending]() mutable { Answer(context, *pending); }).attach(kj::defer([pending] {
      pending->gone = true;
      pending->fulfiller = nullptr;   // here, because the ticket may end on another thread
      pending->result.reset();
    }));
  }

 private:
  static std::string Std(const absl::Status& status) { return std::string(status.message()); }

  absl::StatusOr<Frame> Take(RequestContext& context, uint64_t& order) {
    try {
      order = context.getParams().getOrder();
      return TakeFrame((*session_)->socket, context.getParams());
    } catch (const kj::Exception& error) {
      return absl::InvalidArgumentError(Describe(error));
    }
  }

  absl::Status CheckOrder(const Group* group, uint64_t order, size_t bytes) const {
    if (group == nullptr) return order == 0 ? absl::OkStatus() : absl::InvalidArgumentError("a request with an order on a connection that is alone");
    if (order < group->next || group->held.contains(order)) return absl::InvalidArgumentError(absl::StrCat("a second request of order ", order));
    const size_t bytes_max = 2 * loop_.options().in_flight_bytes_max;
    if (order != group->next && !group->held.empty() && group->held_bytes + bytes > bytes_max) {
      return absl::InvalidArgumentError(absl::StrCat("more than ", bytes_max, " bytes of requests before the one of order ", group->next));
    }
    return absl::OkStatus();
  }

  void Handle(ActorId actor, Incarnation meant, Role role, Frame frame, const std::shared_ptr<Pending>& pending) {
    const auto& ours = loop_.options();
    const auto node = static_cast<uint32_t>(ours.node);
    if (meant != Incarnation{} && meant != ours.incarnation) {
      return pending->Settle(absl::UnavailableError(
          absl::StrCat("node ", node, " is incarnation ", static_cast<uint64_t>(ours.incarnation), ", expected ", static_cast<uint64_t>(meant))));
    }
    if (const Role least = ours.least_role(actor, frame.type); role < least) {
      return pending->Settle(
          absl::UnauthenticatedError(absl::StrCat("a token for '", ToString(role), "' is not enough for this, which takes one for '", ToString(least), "'")));
    }
    const auto handler = loop_.HandlerOf(actor);
    if (handler == nullptr) return pending->Settle(absl::UnavailableError(absl::StrCat("node ", node, " has no actor ", static_cast<uint32_t>(actor))));
    auto ticket = std::make_shared<Ticket>(loop_.shared_from_this(), pending);
    Network::Reply reply = [ticket = std::move(ticket)](absl::StatusOr<Frame> result) { ticket->Give(std::move(result)); };
    loop_.CallOut([&] { (*handler)(std::move(frame), std::move(reply)); });
  }

  void Answer(RequestContext& context, Pending& pending) {
    const absl::StatusOr<Frame> result = *std::move(pending.result);
    pending.gone = true;
    Session* session = *session_;
    if (session != nullptr) session->socket.ForgetLastMessage();
    if (!result.ok()) {
      auto results = context.getResults();
      results.setCode(static_cast<uint16_t>(result.status().code()));
      results.setMessage(Std(result.status()));
      return;
    }
    auto results = context.getResults(SizeHint(*result));
    PutFrame(*result, results, session == nullptr ? nullptr : &session->socket);
  }

  LinkLoop& loop_;
  const std::shared_ptr<Session*> session_;
};

LinkServer::Session::Session(LinkServer& owner, int fd, bool on_this_host, uint64_t from)
    : server(owner),
      local(on_this_host),
      source(from),
      greet_by(std::chrono::steady_clock::now() + owner.loop_.options().connect_timeout),
      socket(
          owner.loop_.sockets(), kj::AutoCloseFd(fd), capnp::rpc::twoparty::Side::SERVER, kHelloBytesMax, [this] { closed = server.some_closed_ = true; },
          local ? nullptr : owner.loop_.tls()),
      rpc(capnp::makeRpcServer(socket,
                               capnp::Capability::Client(kj::refcounted<Entrance>(
                                   kj::heap<Requests>(*this), capnp::newBrokenPipeline(KJ_EXCEPTION(FAILED, "a link's results have nothing to call")))))) {
  rpc.setFlowLimit(2 * server.loop_.options().in_flight_bytes_max / sizeof(capnp::word));
}

LinkServer::Session::~Session() {
  *self = nullptr;
}

std::shared_ptr<LinkServer::Group> LinkServer::Join(const GroupName& name, Session& session) {
  std::erase_if(groups_, [](const auto& group) { return group.second.expired(); });
  std::weak_ptr<Group>& known = groups_[name];
  std::shared_ptr<Group> group = known.lock();
  if (group == nullptr) known = group = std::make_shared<Group>();
  group->members.push_back(&session);
  return group;
}

struct LinkServer::Listener {
  Listener(LinkServer& server, const ListeningSocket& socket)
      : fd(socket.fd), local(socket.place.local()), observer(server.loop_.sockets().port, fd, LinkPort::Observer::What::kReading, [this, &server] {
          if (again == LinkTime::max()) server.Accept(*this);
        }) {}
  const int fd;
  const bool local;
  LinkPort::Observer observer;
  LinkTime again = LinkTime::max();   // where there were no descriptors left
};

LinkServer::LinkServer(LinkLoop& loop, std::span<const ListeningSocket> sockets) : loop_(loop) {
  for (const ListeningSocket& socket : sockets) listeners_.emplace_back(*this, socket);
}

LinkServer::~LinkServer() = default;

void LinkServer::Accept(Listener& listener) {
  for (;;) {
    SocketAddress from;
    from.size = sizeof from.local;
    const int fd = ::accept4(listener.fd, &from.any, &from.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      Open(fd, listener.local, SourceOf(from));
    } else if (errno == EAGAIN) {
      return;
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {   // some will come back
      loop_.Log(absl::StrCat("accept: ", std::strerror(errno)));
      listener.again = std::chrono::steady_clock::now() + kAcceptAgain;
      return loop_.WakeAt(listener.again);
    }   // else that connection is gone already
  }
}

void LinkServer::LogRefused(Refusals& refusals, const std::string& why) {
  const LinkTime now = std::chrono::steady_clock::now();
  if (now - refusals.said_at < std::chrono::seconds(1)) {
    ++refusals.unsaid;
    return;
  }
  refusals.said_at = now;
  const size_t others = std::exchange(refusals.unsaid, 0);
  loop_.Log(absl::StrCat("a connection is refused: ", why, others == 0 ? "" : absl::StrCat(" (and ", others, " more since the last such line)")));
}

void LinkServer::Open(int fd, bool local, uint64_t source) {
  if (sessions_.size() >= kSessionsMax || strangers_ >= kStrangersMax) {
    ::close(fd);
    return LogRefused(too_many_, absl::StrCat(sessions_.size(), " are open, ", strangers_, " of them without Hello"));
  }
  if (!local && !rate_.Admit(source, std::chrono::steady_clock::now())) {
    ::close(fd);
    return LogRefused(too_many_from_one_, absl::StrCat("too many from one address, at most ", ConnectionRate::kBurst, " at once and ",
                                                       ConnectionRate::kPerSecond, " a second without Hello"));
  }
  if (local)
    EnlargeBuffers(fd);
  else
    PrepareTcp(fd, loop_.options().silence_max);
  try {
    sessions_.push_back(std::make_shared<Session>(*this, fd, local, source));
    ++strangers_;
    loop_.WakeAt(sessions_.back()->greet_by);
  } catch (const kj::Exception& error) {
    loop_.Log(absl::StrCat("a connection is refused: ", Describe(error)));
  }
}

void LinkServer::Service() {
  if (!std::exchange(some_closed_, false)) return;
  for (const auto& session : sessions_) {
    if (!session->closed || session->group == nullptr) continue;
    for (Session* member : session->group->members) member->closed = true;   // a link that has lost one connection has lost requests
    session->group->members.clear();
    std::erase_if(groups_, [&session](const auto& group) { return group.second.lock() == session->group; });
  }
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    const auto session = it++;
    if (!(*session)->closed) continue;
    if (!(*session)->greeted) --strangers_;
    if (!(*session)->socket.reason().empty()) loop_.Log(absl::StrCat("a connection is ended: ", (*session)->socket.reason()));
    if ((*session)->socket.has_lent()) SharedMemory::OfProcess().ForgetLent();
    loop_.Bury(*session);
    sessions_.erase(session);
  }
}

void LinkServer::Expire(LinkTime now) {
  LinkTime next = LinkTime::max();
  for (Listener& listener : listeners_) {
    if (listener.again > now) {
      next = std::min(next, listener.again);
    } else {
      listener.again = LinkTime::max();
      Accept(listener);
    }
  }
  for (const auto& session : sessions_) {
    if (session->greeted || session->closed) continue;
    if (session->greet_by > now) {
      next = std::min(next, session->greet_by);
      continue;
    }
    session->socket.Break("no Hello in time");
    session->closed = some_closed_ = true;
  }
  Service();
  if (next != LinkTime::max()) loop_.WakeAt(next);
}

}   // namespace troupe
