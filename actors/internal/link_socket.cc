// Queueing, gathering and sending; receiving and cutting into messages.
#include "actors/internal/link_socket.h"

#include <capnp/rpc.capnp.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace troupe {
namespace {

constexpr size_t kWord = sizeof(capnp::word);
constexpr size_t kPiecesMax = 64;   // of one system call; Linux allows 1024
constexpr size_t kSmallCapacity = 64 << 10;
constexpr size_t kSmallRead = 16 << 10;             // what one read may bring of messages not yet looked at; of a big one this much is copied
constexpr std::chrono::microseconds kWorkMax{20};   // that is done on messages before answers to them leave, however many more have come
constexpr uint32_t kSegmentsMax = 512;              // as capnp's own readers
constexpr size_t kDescriptorsMax = 32;              // of one message, and of those that wait to be mapped
constexpr std::byte kPadding[kWord] = {};

[[noreturn]] void Refuse(const std::string& why) {
  kj::throwFatalException(kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::heapString(why.data(), why.size())));
  std::abort();
}

uint32_t Number(const std::byte* at) {
  uint32_t number;
  std::memcpy(&number, at, sizeof number);
  return number;
}

}   // namespace

// ---------------------------------------------------------------------------------------------------------------------------------- sent messages

OutgoingMessage::OutgoingMessage(LinkSocket& socket, size_t first_segment_words) : socket_(socket), builder_(FirstSegment(first_segment_words)) {}

kj::ArrayPtr<capnp::word> OutgoingMessage::FirstSegment(size_t words) {
  if (words <= kScratchWords) return kj::arrayPtr(scratch_, kScratchWords);
  first_ = std::make_unique<capnp::word[]>(words);
  std::memset(first_.get(), 0, words * kWord);
  return kj::arrayPtr(first_.get(), words);
}

capnp::Orphan<capnp::Data> OutgoingMessage::Refer(const Block& block) {
  // capnp's segments are whole words, so that a block that starts inside a word has to move. One that ends inside a word is padded when it is sent.
  Block aligned = reinterpret_cast<uintptr_t>(block.data()) % kWord == 0 ? block : Block::Copy(block.data(), block.size());
  const auto data = kj::arrayPtr(reinterpret_cast<const kj::byte*>(aligned.data()), aligned.size());
  blocks_.push_back(std::move(aligned));
  return builder_.getOrphanage().referenceExternalData(data);
}

void OutgoingMessage::send() {
  socket_.Enqueue(kj::addRef(*this));
}

bool OutgoingMessage::IsFinish() {
  return builder_.getRoot<capnp::rpc::Message>().isFinish();
}

void OutgoingMessage::Freeze() {
  const auto segments = builder_.getSegmentsForOutput();
  table_.assign((segments.size() / 2 + 1) * 2, 0);
  table_[0] = static_cast<uint32_t>(segments.size() - 1);
  pieces_.push_back({table_.data(), table_.size() * sizeof(uint32_t)});
  auto block = blocks_.begin();   // in the order of their segments
  for (size_t i = 0; i < segments.size(); ++i) {
    table_[i + 1] = static_cast<uint32_t>(segments[i].size());
    size_t bytes = segments[i].size() * kWord;
    const void* data = segments[i].begin();
    if (block != blocks_.end() && data == block->data()) bytes = (block++)->size();
    if (bytes != 0) pieces_.push_back({const_cast<void*>(data), bytes});
    if (bytes % kWord != 0) pieces_.push_back({const_cast<std::byte*>(kPadding), kWord - bytes % kWord});
  }
}

void LinkSockets::FlushHeld() {
  for (LinkSocket* socket : std::exchange(held, {})) {
    socket->held_ = false;
    socket->FlushLater();
  }
  if (!unsent.empty()) Flush();
}

void LinkSockets::Flush() {
  while (!unsent.empty()) {
    LinkSocket* socket = unsent.back();
    unsent.pop_back();
    socket->unsent_ = false;
    socket->Flush();
  }
  flushed = std::chrono::steady_clock::now();
}

kj::Own<capnp::OutgoingRpcMessage> LinkSocket::newOutgoingMessage(kj::uint first_segment_words) {
  auto message = kj::refcounted<OutgoingMessage>(*this, first_segment_words);
  last_ = message.get();
  return message;
}

void LinkSocket::Enqueue(kj::Own<OutgoingMessage> message) {
  if (broken_) return;
  const bool waits = all_.holds_finish && message->IsFinish();
  message->Freeze();
  queue_.push_back(kj::mv(message));
  if (!waits) return FlushLater();
  if (!std::exchange(held_, true)) all_.held.push_back(this);
}

void LinkSocket::FlushLater() {
  if (unsent_ || full_) return;
  unsent_ = true;
  all_.unsent.push_back(this);
}

LinkSocket::Pieces LinkSocket::Gather(size_t& bytes) const {
  Pieces pieces;
  for (size_t i = 0; i < queue_.size() && pieces.size() < kPiecesMax; ++i) {
    const OutgoingMessage& message = *queue_[i];
    if (i > 0 && !message.descriptors_.empty()) break;   // descriptors come with the first byte of a call's data
    for (size_t p = message.next_piece_; p < message.pieces_.size() && pieces.size() < kPiecesMax; ++p) {
      pieces.push_back(message.pieces_[p]);
      bytes += message.pieces_[p].iov_len;
    }
  }
  return pieces;
}

/// The peer is gone: what it sent before is still read, and then the end of file tells.
void LinkSocket::SendFailed() {
  if (errno != EPIPE) send_error_ = std::strerror(errno);
  queue_.clear();
}

void LinkSocket::FlushTls() {
  while (!full_) {
    size_t bytes = 0;
    const ssize_t taken = tls_->Write(Gather(bytes));
    if (taken < 0) return SendFailed();
    Sent(static_cast<size_t>(taken));
    if (tls_->blocked()) return WaitWritable();
    if (taken == 0) return;   // there is no more, or Read goes on when the handshake is over
  }
}

void LinkSocket::Flush() {
  if (!full_) write_observer_.reset();
  if (tls_) return FlushTls();
  while (!queue_.empty() && !full_) {
    size_t bytes = 0;
    Pieces pieces = Gather(bytes);
    msghdr header{};
    header.msg_iov = pieces.data();
    header.msg_iovlen = pieces.size();
    std::vector<kj::AutoCloseFd>& descriptors = queue_.front()->descriptors_;
    alignas(cmsghdr) char control[CMSG_SPACE(kDescriptorsMax * sizeof(int))] = {};
    if (!descriptors.empty()) {
      header.msg_control = control;
      header.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
      for (size_t i = 0; i < descriptors.size(); ++i) {
        const int fd = descriptors[i];
        std::memcpy(CMSG_DATA(rights) + i * sizeof(int), &fd, sizeof fd);
      }
    }
    const ssize_t sent = ::sendmsg(fd_, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) return SendFailed();
    if (sent > 0) {
      descriptors.clear();
      Sent(static_cast<size_t>(sent));
    }
    if (sent < 0 || static_cast<size_t>(sent) < bytes) WaitWritable();
  }
}

void LinkSocket::Sent(size_t bytes) {
  while (bytes > 0) {
    OutgoingMessage& message = *queue_.front();
    iovec& piece = message.pieces_[message.next_piece_];
    const size_t taken = std::min(bytes, piece.iov_len);
    bytes -= taken;
    piece.iov_base = static_cast<std::byte*>(piece.iov_base) + taken;
    piece.iov_len -= taken;
    if (piece.iov_len > 0) return;
    if (++message.next_piece_ == message.pieces_.size()) queue_.pop_front();
  }
}

/// Writing is watched only while the socket is full: epoll would otherwise wake both ends for every message that the peer takes. One descriptor cannot
/// be registered twice, so this has its own.
void LinkSocket::WaitWritable() {
  if (write_fd_.get() < 0) {
    const int fd = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return Break(absl::StrCat("no descriptor to wait with until more can be sent: ", std::strerror(errno)));
    write_fd_ = kj::AutoCloseFd(fd);
  }
  full_ = true;
  write_observer_.emplace(all_.port, write_fd_, LinkPort::Observer::What::kWriting, [this] {
    full_ = false;
    FlushLater();
  });
}

// ------------------------------------------------------------------------------------------------------------------------------ received messages

class LinkSockets::Incoming final : public capnp::IncomingRpcMessage {
 public:
  using Segments = absl::InlinedVector<kj::ArrayPtr<const capnp::word>, 4>;
  Incoming(LinkSockets& all, std::shared_ptr<const void> owner, bool alone, Segments segments, size_t words)
      : all_(all),
        owner_(std::move(owner)),
        alone_(alone),
        segments_(std::move(segments)),
        words_(words),
        // Each byte is read about once; a message whose pointers lead to one list again and again is refused by the limit.
        reader_(kj::arrayPtr(segments_.data(), segments_.size()), {.traversalLimitInWords = 2 * words + 1024, .nestingLimit = 32}),
        place_(all.incoming.size()) {
    all_.incoming.push_back(this);
  }
  ~Incoming() noexcept(false) {
    all_.incoming[place_] = all_.incoming.back();
    all_.incoming[place_]->place_ = place_;
    all_.incoming.pop_back();
  }
  KJ_DISALLOW_COPY(Incoming);

  capnp::AnyPointer::Reader getBody() override { return reader_.getRoot<capnp::AnyPointer>(); }
  size_t sizeInWords() override { return words_; }
  /// Whether a view of `data` may keep the whole buffer.
  bool Lends(const void* data) const {
    return alone_ && data >= segments_.front().begin() && data < segments_.back().end();   // the segments lie one after the other
  }
  const std::shared_ptr<const void>& owner() const { return owner_; }

 private:
  LinkSockets& all_;
  std::shared_ptr<const void> owner_;
  bool alone_;   // in its buffer
  Segments segments_;
  size_t words_;
  capnp::SegmentArrayMessageReader reader_;
  size_t place_;   // in all_.incoming
};

std::shared_ptr<const void> LinkSockets::OwnerOf(const void* data) const {
  for (size_t i = incoming.size(); i-- > 0;) {   // the newest is most often the one
    if (incoming[i]->Lends(data)) return incoming[i]->owner();
  }
  return nullptr;
}

kj::Promise<LinkSocket::MaybeMessage> LinkSocket::receiveIncomingMessage() {
  return kj::evalNow([this] { return Receive(); });
}

kj::Promise<LinkSocket::MaybeMessage> LinkSocket::Receive() {
  for (;;) {
    if (broken_) Refuse(reason_);
    if (Parse()) {
      if (!all_.unsent.empty() && std::chrono::steady_clock::now() - all_.flushed > kWorkMax) all_.Flush();
      return MaybeMessage(TakeMessage());
    }
    if (!readable_) {
      auto arrival = kj::newPromiseAndFulfiller<void>();
      arrival_ = kj::mv(arrival.fulfiller);
      return arrival.promise.then([this] { return Receive(); });
    }
    all_.Flush();   // answers to what came before need not wait for what comes next
    if (!Read()) return MaybeMessage(nullptr);
  }
}

bool LinkSocket::Parse() {
  if (big_ != nullptr) return big_filled_ == big_size_;
  const std::byte* at = small_.get() + begin_;
  const size_t ready = end_ - begin_;
  if (!tls_ && !began_ && ready >= 2 && BeginsAsTls(at)) {
    ::send(fd_, kNotTheSameAlert, sizeof kNotTheSameAlert, MSG_NOSIGNAL | MSG_DONTWAIT);
    reason_code_ = absl::StatusCode::kFailedPrecondition;
    Refuse(reason_ = "the peer speaks TLS, and this process has no certificates (--tls)");
  }
  if (ready < kWord) return false;
  if (Number(at) >= kSegmentsMax) Refuse(reason_ = absl::StrCat("garbage: a message of ", Number(at) + uint64_t{1}, " segments, at most ", kSegmentsMax));
  const size_t segments = Number(at) + 1;
  const size_t table_words = segments / 2 + 1;
  if (ready < table_words * kWord) return false;
  size_t words = table_words;
  segment_words_.resize(segments);
  for (size_t i = 0; i < segments; ++i) words += segment_words_[i] = Number(at + (i + 1) * sizeof(uint32_t));
  if (words * kWord > message_bytes_max_) {
    Refuse(reason_ = absl::StrCat("garbage or an oversized message: ", words * kWord, " bytes, at most ", message_bytes_max_));
  }
  if (words * kWord > kSmallRead) StartBig(table_words, words * kWord);
  return big_ != nullptr ? big_filled_ == big_size_ : ready >= words * kWord;
}

void LinkSocket::StartBig(size_t table_words, size_t bytes) {
  // The longest segment, the numbers of a chunk most often, is made to start at a cache line.
  size_t longest = 0, longest_start = 0, start = table_words * kWord;
  for (const uint32_t words : segment_words_) {
    if (words > longest) longest = words, longest_start = start;
    start += words * kWord;
  }
  big_offset_ = (ReceiveBuffers::kAlignment - longest_start % ReceiveBuffers::kAlignment) % ReceiveBuffers::kAlignment;
  big_size_ = bytes;
  big_ = all_.buffers->Take(big_offset_ + bytes);
  big_filled_ = std::min(end_ - begin_, bytes);
  std::memcpy(big_.get() + big_offset_, small_.get() + begin_, big_filled_);
  begin_ += big_filled_;
}

kj::Own<capnp::IncomingRpcMessage> LinkSocket::TakeMessage() {
  const size_t table_words = segment_words_.size() / 2 + 1;
  auto* start = reinterpret_cast<const capnp::word*>(big_ != nullptr ? big_.get() + big_offset_ : small_.get() + begin_);
  const auto* at = start + table_words;
  LinkSockets::Incoming::Segments segments;
  for (const uint32_t words : segment_words_) {
    segments.push_back(kj::arrayPtr(at, words));
    at += words;
  }
  const auto words = static_cast<size_t>(at - start);
  began_ = true;
  if (big_ == nullptr) {
    begin_ += words * kWord;
    return kj::heap<LinkSockets::Incoming>(all_, small_, false, std::move(segments), words);
  }
  return kj::heap<LinkSockets::Incoming>(all_, std::exchange(big_, nullptr), true, std::move(segments), words);
}

/// At least kSmallRead bytes free behind end_; what is not parsed stays, at the start.
void LinkSocket::MakeRoom() {
  if (small_ != nullptr && begin_ == end_ && small_.use_count() == 1) begin_ = end_ = 0;   // only messages share it, all of this loop
  if (small_ != nullptr && kSmallCapacity - end_ >= kSmallRead) return;
  auto fresh = all_.buffers->Take(kSmallCapacity);
  if (begin_ != end_) std::memcpy(fresh.get(), small_.get() + begin_, end_ - begin_);
  end_ -= std::exchange(begin_, 0);
  small_ = std::move(fresh);
}

/// As read(); descriptors that come along are kept for MapSegment.
ssize_t LinkSocket::Receive(std::byte* to, size_t room) {
  iovec piece{to, room};
  alignas(cmsghdr) char control[CMSG_SPACE(kDescriptorsMax * sizeof(int))];
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(fd_, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (got < 0 || header.msg_controllen == 0) return got;
  for (cmsghdr* rights = CMSG_FIRSTHDR(&header); rights != nullptr; rights = CMSG_NXTHDR(&header, rights)) {
    if (rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = CMSG_LEN(0); at + sizeof(int) <= rights->cmsg_len; at += sizeof(int)) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(rights) + (at - CMSG_LEN(0)), sizeof fd);
      descriptors_.emplace_back(fd);
    }
  }
  if (!shares_ || (header.msg_flags & MSG_CTRUNC) != 0 || descriptors_.size() > kDescriptorsMax) {
    descriptors_.clear();
    Break("garbage: descriptors that nothing asks for");
    errno = EBADMSG;
    return -1;
  }
  return got;
}

absl::Status LinkSocket::MapSegment(uint32_t segment) {
  if (descriptors_.empty()) return absl::InvalidArgumentError(absl::StrCat("the descriptor of shared segment ", segment, " has not come"));
  const int fd = descriptors_.front().release();
  descriptors_.pop_front();
  auto mapped = MappedSegment::Map(fd);
  if (!mapped.ok()) return mapped.status();
  mapped_[segment] = *std::move(mapped);
  return absl::OkStatus();
}

absl::StatusOr<Block> LinkSocket::Borrow(uint32_t segment, uint64_t offset, uint64_t size, uint32_t counter) const {
  const auto mapped = mapped_.find(segment);
  if (mapped == mapped_.end()) return absl::InvalidArgumentError(absl::StrCat("shared segment ", segment, " is not known"));
  auto owner = mapped->second->Borrow(offset, size, counter);
  if (!owner.ok()) return owner.status();
  return Block::View(mapped->second->data(offset), size, *std::move(owner));
}

ssize_t LinkSocket::ReadOnce(bool& drained) {
  if (big_ == nullptr) MakeRoom();
  std::byte* to = big_ != nullptr ? big_.get() + big_offset_ + big_filled_ : small_.get() + end_;
  const size_t room = big_ != nullptr ? big_size_ - big_filled_ : kSmallRead;
  const size_t descriptors = descriptors_.size();
  const bool established = tls_ && tls_->established();
  const ssize_t got = tls_ ? tls_->Read(to, room, drained) : Receive(to, room);
  if (tls_ && (tls_->blocked() || tls_->established() != established)) {   // the handshake's bytes, or what has waited for its end
    const int error = errno;
    FlushLater();
    errno = error;
  }
  if (got > 0) {
    (big_ != nullptr ? big_filled_ : end_) += static_cast<size_t>(got);
    all_.latest = this;
  }
  // A read that brings descriptors ends with the bytes that they came with, whatever else is there.
  if (!tls_) drained = got < static_cast<ssize_t>(room) && descriptors_.size() == descriptors;
  return got;
}

bool LinkSocket::Read() {
  bool drained;
  const ssize_t got = ReadOnce(drained);
  if (got < 0 && errno == EINTR) return true;
  if (broken_) Refuse(reason_);
  if (got < 0 && errno != EAGAIN) {
    const std::string error = std::strerror(errno);
    if (!tls_ || tls_->error().ok()) Refuse(reason_ = error);
    reason_code_ = tls_->error().code();
    Refuse(reason_ = std::string(tls_->error().message()));
  }
  if (got == 0) {
    if (!send_error_.empty())
      reason_ = send_error_;   // such as that of a connection that did not come about: the system tells it once
    else if (big_ != nullptr || begin_ != end_)
      reason_ = "the peer closed the connection in the middle of a message";
    return false;
  }
  // Less than asked for: the socket is empty, and epoll will tell. Unless it has told of the end already: it does not tell twice.
  if (got < 0 || (drained && !observer_.at_end())) readable_ = false;
  return true;
}

void LinkSocket::OnReadable() {
  readable_ = true;
  if (arrival_.get() != nullptr) arrival_->fulfill();
}

void LinkSockets::LookAtLatest() {
  if (latest != nullptr) latest->Look();
}

void LinkSocket::Look() {
  if (readable_ || broken_ || arrival_.get() == nullptr || !arrival_->isWaiting()) return;
  int ready = 0;   // cheaper to ask than to read in vain; the end of the file is epoll's to tell
  if (::ioctl(fd_, FIONREAD, &ready) == 0 && ready == 0) return;
  bool drained;
  const ssize_t got = ReadOnce(drained);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  readable_ = got <= 0 || !drained;   // an end or an error is met again by Read
  arrival_->fulfill();
}

// ------------------------------------------------------------------------------------------------------------------------------------- the connection

LinkSocket::LinkSocket(LinkSockets& all, kj::AutoCloseFd fd, capnp::rpc::twoparty::Side side, size_t message_bytes_max, std::function<void()> on_closed,
                       std::shared_ptr<const TlsContext> tls)
    : all_(all),
      fd_(kj::mv(fd)),
      observer_(all.port, fd_, LinkPort::Observer::What::kReading, [this] { OnReadable(); }),
      side_(side),
      message_bytes_max_(message_bytes_max),
      closer_(std::move(on_closed)),
      peer_id_(4) {
  using capnp::rpc::twoparty::Side;
  if (tls != nullptr) tls_.emplace(std::move(tls), fd_.get(), side == Side::CLIENT ? TlsStream::Side::kClient : TlsStream::Side::kServer);
  peer_id_.initRoot<capnp::rpc::twoparty::VatId>().setSide(side == Side::CLIENT ? Side::SERVER : Side::CLIENT);
}

LinkSocket::~LinkSocket() noexcept(false) {
  if (unsent_) std::erase(all_.unsent, this);
  if (held_) std::erase(all_.held, this);
  if (all_.latest == this) all_.latest = nullptr;
}

kj::Maybe<kj::Own<capnp::TwoPartyVatNetworkBase::Connection>> LinkSocket::connect(capnp::rpc::twoparty::VatId::Reader peer) {
  if (peer.getSide() == side_) return nullptr;
  return kj::Own<capnp::TwoPartyVatNetworkBase::Connection>(this, closer_);
}

kj::Promise<kj::Own<capnp::TwoPartyVatNetworkBase::Connection>> LinkSocket::accept() {
  if (side_ == capnp::rpc::twoparty::Side::CLIENT || std::exchange(accepted_, true)) return kj::NEVER_DONE;   // there is only one
  return kj::Own<capnp::TwoPartyVatNetworkBase::Connection>(this, closer_);
}

kj::Promise<void> LinkSocket::shutdown() {
  Flush();   // the reason for which capnp ends the connection
  queue_.clear();
  broken_ = true;
  ::shutdown(fd_, SHUT_WR);
  return kj::READY_NOW;
}

void LinkSocket::Break(std::string reason) {
  if (std::exchange(broken_, true)) return;
  reason_ = std::move(reason);
  queue_.clear();
  ::shutdown(fd_, SHUT_RDWR);
}

}   // namespace troupe
