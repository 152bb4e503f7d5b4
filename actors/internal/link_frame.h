// Frames as parameters and results of wire::Link::request.
#pragma once

#include "actors/internal/link_loop.h"
#include "actors/link.capnp.h"
#include "actors/stream_copy.h"

namespace troupe {

/// Blocks at least this long are sent from where they lie and received as views; moving shorter ones costs less than keeping track of them.
inline constexpr size_t kReferBytesMin = 2048;

/// Blocks at least this long are lent where the connection shares memory.
inline constexpr size_t kLendBytesMin = 16 << 10;

/// Words of a message that holds `frame`, without the blocks that it only refers to.
inline capnp::MessageSize SizeHint(const Frame& frame) {
  uint64_t bytes = frame.head.size();
  for (const Block& block : frame.bulk) bytes += block.size() < kReferBytesMin ? block.size() : 0;
  return {bytes / sizeof(capnp::word) + 8 * frame.bulk.size() + 24, 0};
}

inline capnp::Data::Reader AsData(const Block& block) {
  return {reinterpret_cast<const kj::byte*>(block.data()), block.size()};
}

/// A reference to the block in place of its bytes. False: its bytes have to be sent.
inline bool Lend(const Block& block, wire::Bulk::Builder bulk, LinkSocket& socket, OutgoingMessage& message) {
  SharedMemory& memory = SharedMemory::OfProcess();
  Block held = block;
  auto place = memory.Lend(held.data());
  if (!place && block.size() >= SharedMemory::kBlockBytesMin) {   // a copy there costs less than two through a socket
    BlockBuilder copy(block.size());
    StreamCopy(copy.data(), block.data(), block.size());   // which the peer reads
    held = std::move(copy).Finish();
    place = memory.Lend(held.data());
  }
  if (!place) return false;
  const bool fresh = !socket.Introduced(place->segment);
  if (fresh) {
    kj::AutoCloseFd descriptor(memory.Descriptor(place->segment));
    if (descriptor.get() < 0) {
      memory.TakeBack(*place);
      return false;
    }
    message.Attach(kj::mv(descriptor));
    socket.Introduce(place->segment);
  }
  auto to = bulk.initShared();
  to.setSegment(place->segment);
  to.setCounter(place->counter);
  to.setOffset(place->offset);
  to.setSize(block.size());
  to.setFresh(fresh);
  return true;
}

/// `socket`: whose last message is the one that is built; null where capnp builds elsewhere.
template <class Builder>
void PutFrame(const Frame& frame, Builder to, LinkSocket* socket) {
  to.setType(frame.type);
  if (!frame.head.empty()) to.setHead(AsData(frame.head));
  if (frame.bulk.empty()) return;
  OutgoingMessage* message = socket == nullptr ? nullptr : socket->last_message();
  auto bulk = to.initBulk(static_cast<kj::uint>(frame.bulk.size()));
  const auto refers = [message](const Block& block) { return message != nullptr && block.size() >= kReferBytesMin; };
  absl::InlinedVector<kj::uint, kFrameBlocksMax> referred;
  for (kj::uint i = 0; i < bulk.size(); ++i) {
    const Block& block = frame.bulk[i];
    if (block.empty()) continue;
    if (!refers(block)) {
      bulk[i].setInline(AsData(block));
    } else if (!socket->shares() || block.size() < kLendBytesMin || !Lend(block, bulk[i], *socket, *message)) {
      referred.push_back(i);
    }
  }
  for (const kj::uint i : referred) bulk[i].adoptInline(message->Refer(frame.bulk[i]));   // last: capnp opens a new segment for what is built after them
}

inline absl::StatusOr<Block> TakeBlock(LinkSocket& socket, wire::Bulk::Reader bulk) {
  if (bulk.isShared()) {
    const auto shared = bulk.getShared();
    if (shared.getFresh()) {
      if (auto status = socket.MapSegment(shared.getSegment()); !status.ok()) return status;
    }
    return socket.Borrow(shared.getSegment(), shared.getOffset(), shared.getSize(), shared.getCounter());
  }
  const capnp::Data::Reader data = bulk.getInline();
  if (data.size() >= kReferBytesMin) {
    if (auto owner = socket.all().OwnerOf(data.begin())) return Block::View(data.begin(), data.size(), std::move(owner));
  }
  return Block::Copy(data.begin(), data.size());
}

/// Throws kj::Exception where the message is malformed.
template <class Reader>
absl::StatusOr<Frame> TakeFrame(LinkSocket& socket, Reader from) {
  Frame frame;
  frame.type = from.getType();
  const auto head = from.getHead();
  const auto bulk = from.getBulk();
  size_t bytes = head.size();
  if (bulk.size() > kFrameBlocksMax || bytes > kFrameBytesMax) return absl::InvalidArgumentError("a frame over the limits");
  frame.head = Block::Copy(head.begin(), head.size());
  frame.bulk.reserve(bulk.size());
  for (const wire::Bulk::Reader item : bulk) {
    auto block = TakeBlock(socket, item);
    if (!block.ok()) return block.status();
    bytes += block->size();
    if (bytes > kFrameBytesMax) return absl::InvalidArgumentError("a frame over the limits");
    frame.bulk.push_back(*std::move(block));
  }
  return frame;
}

/// A message of the largest frame is at most this long.
inline constexpr size_t kMessageBytesMax = kFrameBytesMax + (64 << 10);
/// Until Hello is done.
inline constexpr size_t kHelloBytesMax = 64 << 10;
inline constexpr uint32_t kProtocol = 3;

}   // namespace troupe
