// One connection as Cap'n Proto RPC sees it: messages out of and into a non-blocking stream socket. It differs from capnp::TwoPartyVatNetwork, whose wire
// format it speaks, where that costs time: messages of one turn of the event loop leave in one system call, several small ones arrive in one, big ones
// are received into memory that is used again, Blocks are sent from where they lie and live as long as the message that refers to them, and descriptors of
// shared memory come along.
#pragma once

#include <capnp/message.h>
#include <capnp/rpc-twoparty.h>
#include <sys/uio.h>

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "actors/block.h"
#include "actors/internal/link_port.h"
#include "actors/internal/receive_buffers.h"
#include "actors/internal/shared_memory.h"
#include "actors/internal/tls.h"

namespace troupe {

class LinkSocket;

/// What the sockets of one event loop share. Everything here and below belongs to whoever has the loop, except `buffers`.
struct LinkSockets {
  explicit LinkSockets(LinkPort& event_port) : port(event_port) {}
  /// Sends what was queued on any socket since the last call.
  void Flush();
  /// What keeps the received bytes at `data` alive, whichever thread holds it. Null where they share a buffer with other messages: copy them.
  std::shared_ptr<const void> OwnerOf(const void* data) const;
  /// Sends what was held back for the next message to take along: before the link thread sleeps, who knows for how long, and after kHeldMax at the latest.
  void FlushHeld();
  /// Asks the socket that received last, past epoll, whether more has come, and takes it.
  void LookAtLatest();

  class Incoming;
  LinkPort& port;
  std::shared_ptr<ReceiveBuffers> buffers = std::make_shared<ReceiveBuffers>();
  std::vector<LinkSocket*> unsent, held;
  bool holds_finish = false;                         // "forget the call, it was answered" waits for the next message
  std::chrono::steady_clock::time_point flushed{};   // last
  LinkSocket* latest = nullptr;
  std::vector<Incoming*> incoming;   // messages that capnp still holds
};

/// A message that is being built or waits to be sent.
class OutgoingMessage final : public capnp::OutgoingRpcMessage, public kj::Refcounted {
 public:
  OutgoingMessage(LinkSocket& socket, size_t first_segment_words);
  capnp::AnyPointer::Builder getBody() override { return builder_.getRoot<capnp::AnyPointer>(); }
  void send() override;
  size_t sizeInWords() override { return builder_.sizeInWords(); }

  /// The block as Data of this message, without a copy where it starts at a whole word. Part of the message, once adopted into it.
  capnp::Orphan<capnp::Data> Refer(const Block& block);
  /// Destroyed with the message, so once it is sent or can no longer be.
  void Hold(std::shared_ptr<const void> thing) { held_.push_back(std::move(thing)); }
  /// Arrives with the message's first byte. Takes `fd`.
  void Attach(kj::AutoCloseFd fd) { descriptors_.push_back(kj::mv(fd)); }

 private:
  friend class LinkSocket;
  static constexpr size_t kScratchWords =
      64;   // enough for a call or a return with a small head; the whole message is then of a size that malloc has at hand (1 KiB)
  kj::ArrayPtr<capnp::word> FirstSegment(size_t words);
  bool IsFinish();
  void Freeze();

  LinkSocket& socket_;
  capnp::word scratch_[kScratchWords] = {};
  std::unique_ptr<capnp::word[]> first_;
  capnp::MallocMessageBuilder builder_;
  std::vector<Block> blocks_;
  std::vector<std::shared_ptr<const void>> held_;
  std::vector<kj::AutoCloseFd> descriptors_;   // until the first byte is sent
  absl::InlinedVector<uint32_t, 6> table_;
  absl::InlinedVector<iovec, 6> pieces_;   // what the socket has not taken yet, from next_piece_ on
  size_t next_piece_ = 0;
};

class LinkSocket final : public capnp::TwoPartyVatNetworkBase, private capnp::TwoPartyVatNetworkBase::Connection {
 public:
  /// `on_closed` is called once, when capnp gives the connection up: end of file, an error, or garbage. It must not destroy the socket. `tls`: null for none.
  LinkSocket(LinkSockets& all, kj::AutoCloseFd fd, capnp::rpc::twoparty::Side side, size_t message_bytes_max, std::function<void()> on_closed,
             std::shared_ptr<const TlsContext> tls);
  ~LinkSocket() noexcept(false);

  /// Bigger messages end the connection.
  void LimitMessages(size_t bytes) { message_bytes_max_ = bytes; }
  /// Ends the connection at the next read, for the given reason. Nothing more is sent.
  void Break(std::string reason);
  /// Why the connection ended, empty where the peer closed it or it has not ended.
  const std::string& reason() const { return reason_; }
  /// What kind of reason: Unavailable, or, where trying again would not help, Unauthenticated or FailedPrecondition.
  absl::StatusCode reason_code() const { return reason_code_; }
  /// The message that capnp asked for last, to refer to blocks in it; null after Forget and where capnp builds its messages elsewhere.
  OutgoingMessage* last_message() { return last_; }
  void ForgetLastMessage() { last_ = nullptr; }
  LinkSockets& all() { return all_; }

  /// From now on blocks may travel as references, both ways. Until then a descriptor that arrives ends the connection.
  void ShareMemory() { shares_ = true; }
  bool shares() const { return shares_; }
  /// The peer was, or will be with the last message, sent the segment's descriptor.
  bool Introduced(uint32_t segment) const { return introduced_.contains(segment); }
  void Introduce(uint32_t segment) { introduced_.insert(segment); }
  /// The peer has, or had, references to blocks of this process.
  bool has_lent() const { return !introduced_.empty(); }
  /// Maps the segment whose descriptor has come next.
  absl::Status MapSegment(uint32_t segment);
  /// Bytes of a mapped segment, as long as the block lives.
  absl::StatusOr<Block> Borrow(uint32_t segment, uint64_t offset, uint64_t size, uint32_t counter) const;

  kj::Maybe<kj::Own<capnp::TwoPartyVatNetworkBase::Connection>> connect(capnp::rpc::twoparty::VatId::Reader peer) override;
  kj::Promise<kj::Own<capnp::TwoPartyVatNetworkBase::Connection>> accept() override;

 private:
  friend struct LinkSockets;
  friend class OutgoingMessage;
  using MaybeMessage = kj::Maybe<kj::Own<capnp::IncomingRpcMessage>>;

  class Closer final : public kj::Disposer {   // tells when capnp drops its reference to the connection
   public:
    explicit Closer(std::function<void()> on_closed) : on_closed_(std::move(on_closed)) {}
    void disposeImpl(void*) const override { on_closed_(); }

   private:
    std::function<void()> on_closed_;
  };

  capnp::rpc::twoparty::VatId::Reader getPeerVatId() override { return peer_id_.getRoot<capnp::rpc::twoparty::VatId>(); }
  kj::Own<capnp::OutgoingRpcMessage> newOutgoingMessage(kj::uint first_segment_words) override;
  kj::Promise<MaybeMessage> receiveIncomingMessage() override;
  kj::Promise<void> shutdown() override;

  void Enqueue(kj::Own<OutgoingMessage> message);
  void Flush();
  void FlushTls();
  /// What the next call of the system, or of TLS, can send of the queue.
  using Pieces = absl::InlinedVector<iovec, 64>;
  Pieces Gather(size_t& bytes) const;
  void SendFailed();
  /// The next Flush of all sockets is one of this, too.
  void FlushLater();
  void WaitWritable();
  void Sent(size_t bytes);

  kj::Promise<MaybeMessage> Receive();
  /// True when a whole message lies in the buffers. Throws where the bytes are no message.
  bool Parse();
  kj::Own<capnp::IncomingRpcMessage> TakeMessage();
  void MakeRoom();
  void StartBig(size_t header_words, size_t bytes);
  /// False at end of file.
  bool Read();
  /// As read(), behind what is there. `drained`: the socket holds no more.
  ssize_t ReadOnce(bool& drained);
  /// -1 with errno EBADMSG, and the connection is broken, where descriptors come that must not.
  ssize_t Receive(std::byte* to, size_t room);
  void OnReadable();
  void Look();

  LinkSockets& all_;
  kj::AutoCloseFd fd_;
  LinkPort::Observer observer_;
  const capnp::rpc::twoparty::Side side_;
  size_t message_bytes_max_;
  Closer closer_;
  capnp::MallocMessageBuilder peer_id_;
  bool accepted_ = false;
  bool began_ = false;   // a message has come
  bool shares_ = false;
  std::set<uint32_t> introduced_;                               // our segments whose descriptors were sent
  std::map<uint32_t, std::shared_ptr<MappedSegment>> mapped_;   // the peer's
  std::deque<kj::AutoCloseFd> descriptors_;                     // arrived, not yet mapped
  std::optional<TlsStream> tls_;
  std::string reason_;
  absl::StatusCode reason_code_ = absl::StatusCode::kUnavailable;
  std::string send_error_;
  bool broken_ = false;

  OutgoingMessage* last_ = nullptr;
  std::deque<kj::Own<OutgoingMessage>> queue_;
  bool unsent_ = false;   // in all_.unsent
  bool held_ = false;     // in all_.held
  kj::AutoCloseFd write_fd_;
  std::optional<LinkPort::Observer> write_observer_;   // while full_, and until the next Flush
  bool full_ = false;

  // Small messages are read many at a time into small_ and parsed where they lie; a big one is read alone into big_.
  std::shared_ptr<std::byte> small_;
  size_t begin_ = 0, end_ = 0;   // small_'s unparsed bytes
  std::shared_ptr<std::byte> big_;
  size_t big_offset_ = 0, big_size_ = 0, big_filled_ = 0;
  std::vector<uint32_t> segment_words_;           // of the message that Parse has found
  bool readable_ = true;                          // for all we know
  kj::Own<kj::PromiseFulfiller<void>> arrival_;   // of Receive, while it waits
};

}   // namespace troupe
