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

/// One request, until its answer is sent or its connection is lost.
struct Pending {
  std::optional<absl::StatusOr<Frame>> result;
  kj::Own<kj::PromiseFulfiller<void>> fulfiller;   // from the handler's return, while the caller waits
  bool gone = false;                               // nobody waits any more

  void Settle(absl::StatusOr<Frame> given) {   // on the loop's thread
    if (gone) return;
    result = std::move(given);
    if (fulfiller.get() != nullptr) fulfiller->fulfill();
  }
};

/// The handler's side of a request: answers once, from any thread; if nobody does, its destruction answers.
class Ticket {
 public:
  Ticket(std::shared_ptr<LinkLoop> loop, std::shared_ptr<Pending> pending) : loop_(std::move(loop)), pending_(std::move(pending)) {}
  ~Ticket() { Give(absl::UnavailableError("the actor ended without an answer")); }

  void Give(absl::StatusOr<Frame> result) {
    if (given_.exchange(true)) return;
    if (result.ok()) {
      if (auto status = CheckFrame(*result); !status.ok()) result = std::move(status);
    }
    if (loop_->OnLoopThread()) return pending_->Settle(std::move(result));
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

absl::Status CheckHello(const RpcNetwork::Options& ours, wire::Hello::Reader theirs) {
  if (theirs.getProtocol() != kProtocol) {
    return absl::FailedPreconditionError(absl::StrCat("the peer speaks protocol ", theirs.getProtocol(), ", expected ", kProtocol));
  }
  if (theirs.getClusterId() != ours.cluster_id) {
    return absl::FailedPreconditionError(absl::StrCat("the peer belongs to '", theirs.getClusterId().cStr(), "', expected '", ours.cluster_id, "'"));
  }
  if (!SameSecret(ours.token, theirs.getToken())) return absl::PermissionDeniedError("the peer's token is wrong");
  if (theirs.getBuildId() != ours.build_id) {
    return absl::FailedPreconditionError(absl::StrCat("the peer is build '", theirs.getBuildId().cStr(), "', expected '", ours.build_id, "'"));
  }
  return absl::OkStatus();
}

}   // namespace

struct LinkServer::Session {
  Session(LinkServer& server, int fd);
  ~Session();
  class Capability;

  LinkServer& server;
  const LinkTime greet_by;
  bool closed = false;
  std::shared_ptr<Session*> self = std::make_shared<Session*>(this);   // null for calls that outlive the session
  bool greeted = false;
  LinkSocket socket;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
};

class LinkServer::Session::Capability final : public wire::Link::Server {
 public:
  explicit Capability(Session& session) : loop_(session.server.loop_), session_(session.self) {}

  kj::Promise<void> hello(HelloContext context) override {
    Session* session = *session_;
    if (session == nullptr) return kj::READY_NOW;
    const auto& ours = loop_.options();
    const absl::Status status = CheckHello(ours, context.getParams().getHello());
    auto results = context.getResults();
    if (!status.ok()) {
      loop_.Log(absl::StrCat("a connection is refused: ", Std(status)));
      results.setCode(static_cast<uint16_t>(status.code()));
      results.setMessage(Std(status));
      return kj::READY_NOW;   // the peer closes, or the time for Hello ends
    }
    session->greeted = true;
    session->socket.LimitMessages(kMessageBytesMax);
    auto hello = results.initHello();
    hello.setProtocol(kProtocol);
    hello.setClusterId(ours.cluster_id);
    hello.setNode(static_cast<uint32_t>(ours.node));
    hello.setIncarnation(static_cast<uint64_t>(ours.incarnation));
    hello.setBuildId(ours.build_id);
    const bool share = ours.share_memory && context.getParams().getHello().getShares();
    hello.setShares(share);
    if (share) session->socket.ShareMemory();
    return kj::READY_NOW;
  }

  kj::Promise<void> request(RequestContext context) override {
    Session* session = *session_;
    if (session == nullptr) return KJ_EXCEPTION(DISCONNECTED, "the session has ended");
    absl::StatusOr<Frame> frame = session->greeted ? Take(context) : absl::InvalidArgumentError("a request before Hello");
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
    Handle(actor, meant, *std::move(frame), pending);
    if (pending->result) {
      Answer(context, *pending);
      return kj::READY_NOW;
    }
    auto answer = kj::newPromiseAndFulfiller<void>();
    pending->fulfiller = kj::mv(answer.fulfiller);
    return answer.promise.then([this, context, pending]() mutable { Answer(context, *pending); })
        .attach(thisCap(), kj::defer([pending] {
                  pending->gone = true;
                  pending->fulfiller = nullptr;   // here, because the ticket may end on another thread
                  pending->result.reset();
                }));
  }

 private:
  static std::string Std(const absl::Status& status) { return std::string(status.message()); }

  absl::StatusOr<Frame> Take(RequestContext& context) {
    try {
      return TakeFrame((*session_)->socket, context.getParams());
    } catch (const kj::Exception& error) {
      return absl::InvalidArgumentError(Describe(error));
    }
  }

  void Handle(ActorId actor, Incarnation meant, Frame frame, const std::shared_ptr<Pending>& pending) {
    const auto& ours = loop_.options();
    const auto node = static_cast<uint32_t>(ours.node);
    if (meant != Incarnation{} && meant != ours.incarnation) {
      return pending->Settle(absl::UnavailableError(
          absl::StrCat("node ", node, " is incarnation ", static_cast<uint64_t>(ours.incarnation), ", expected ", static_cast<uint64_t>(meant))));
    }
    const auto handler = loop_.HandlerOf(actor);
    if (handler == nullptr) return pending->Settle(absl::UnavailableError(absl::StrCat("node ", node, " has no actor ", static_cast<uint32_t>(actor))));
    auto ticket = std::make_shared<Ticket>(loop_.shared_from_this(), pending);
    Network::Reply reply = [ticket = std::move(ticket)](absl::StatusOr<Frame> result) { ticket->Give(std::move(result)); };
    loop_.Run([&] { (*handler)(std::move(frame), std::move(reply)); });
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

LinkServer::Session::Session(LinkServer& owner, int fd)
    : server(owner),
      greet_by(std::chrono::steady_clock::now() + owner.loop_.options().connect_timeout),
      socket(owner.loop_.sockets(), kj::AutoCloseFd(fd), capnp::rpc::twoparty::Side::SERVER, kHelloBytesMax, [this] { closed = server.some_closed_ = true; }),
      rpc(capnp::makeRpcServer(socket, kj::heap<Capability>(*this))) {
  rpc.setFlowLimit(2 * server.loop_.options().in_flight_bytes_max / sizeof(capnp::word));
}

LinkServer::Session::~Session() {
  *self = nullptr;
}

LinkServer::LinkServer(LinkLoop& loop, int listener)
    : loop_(loop), listener_(listener), observer_(loop.sockets().port, listener, kj::UnixEventPort::FdObserver::OBSERVE_READ), accepting_(Accept()) {
  accepting_ = accepting_.eagerlyEvaluate([this](kj::Exception&& error) { loop_.Log(absl::StrCat("accepting connections ended: ", Describe(error))); });
}

LinkServer::~LinkServer() = default;

kj::Promise<void> LinkServer::Accept() {
  for (;;) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      Open(fd);
    } else if (errno == EAGAIN) {
      return observer_.whenBecomesReadable().then([this] { return Accept(); });
    } else if (errno != EINTR && errno != ECONNABORTED) {   // out of descriptors or memory: some will come back
      loop_.Log(absl::StrCat("accept: ", std::strerror(errno)));
      return loop_.timer().afterDelay(50 * kj::MILLISECONDS).then([this] { return Accept(); });
    }
  }
}

void LinkServer::Open(int fd) {
  if (sessions_.size() >= kSessionsMax) {
    ::close(fd);
    return loop_.Log(absl::StrCat("a connection is refused: ", sessions_.size(), " are open already"));
  }
  EnlargeBuffers(fd);
  try {
    sessions_.push_back(std::make_shared<Session>(*this, fd));
    loop_.WakeAt(sessions_.back()->greet_by);
  } catch (const kj::Exception& error) {
    loop_.Log(absl::StrCat("a connection is refused: ", Describe(error)));
  }
}

void LinkServer::Service() {
  if (!std::exchange(some_closed_, false)) return;
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    const auto session = it++;
    if (!(*session)->closed) continue;
    if (!(*session)->socket.reason().empty()) loop_.Log(absl::StrCat("a connection is ended: ", (*session)->socket.reason()));
    if ((*session)->socket.has_lent()) SharedMemory::OfProcess().ForgetLent();
    loop_.Bury(*session);
    sessions_.erase(session);
  }
}

void LinkServer::Expire(LinkTime now) {
  LinkTime next = LinkTime::max();
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
