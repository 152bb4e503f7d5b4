// Frames as parameters and results of wire::Link::request.
#pragma once

#include "actors/internal/link_loop.h"
#include "actors/link.capnp.h"

namespace troupe {

/// Blocks at least this long are sent from where they lie and received as views; moving shorter ones costs less than keeping track of them.
inline constexpr size_t kReferBytesMin = 2048;

/// Words of a message that holds `frame`, without the blocks that it only refers to.
inline capnp::MessageSize SizeHint(const Frame& frame) {
  uint64_t bytes = frame.head.size();
  for (const Block& block : frame.bulk) bytes += block.size() < kReferBytesMin ? block.size() : 0;
  return {bytes / sizeof(capnp::word) + 2 * frame.bulk.size() + 24, 0};
}

inline capnp::Data::Reader AsData(const Block& block) {
  return {reinterpret_cast<const kj::byte*>(block.data()), block.size()};
}

/// `message`: where capnp builds, if it is one of ours.
template <class Builder>
void PutFrame(const Frame& frame, Builder to, OutgoingMessage* message) {
  to.setType(frame.type);
  if (!frame.head.empty()) to.setHead(AsData(frame.head));
  if (frame.bulk.empty()) return;
  auto bulk = to.initBulk(static_cast<kj::uint>(frame.bulk.size()));
  const auto refers = [message](const Block& block) { return message != nullptr && block.size() >= kReferBytesMin; };
  for (kj::uint i = 0; i < bulk.size(); ++i) {
    if (!frame.bulk[i].empty() && !refers(frame.bulk[i])) bulk.set(i, AsData(frame.bulk[i]));
  }
  for (kj::uint i = 0; i < bulk.size(); ++i) {   // last, because capnp opens a new segment for what is built after them
    if (refers(frame.bulk[i])) bulk.adopt(i, message->Refer(frame.bulk[i]));
  }
}

inline Block TakeBlock(LinkSockets& sockets, capnp::Data::Reader data) {
  if (data.size() >= kReferBytesMin) {
    if (auto owner = sockets.OwnerOf(data.begin())) return Block::View(data.begin(), data.size(), std::move(owner));
  }
  return Block::Copy(data.begin(), data.size());
}

/// Throws kj::Exception where the message is malformed.
template <class Reader>
absl::StatusOr<Frame> TakeFrame(LinkSockets& sockets, Reader from) {
  Frame frame;
  frame.type = from.getType();
  const auto head = from.getHead();
  const auto bulk = from.getBulk();
  size_t bytes = head.size();
  if (bulk.size() > kFrameBlocksMax || bytes > kFrameBytesMax) return absl::InvalidArgumentError("a frame over the limits");
  frame.head = Block::Copy(head.begin(), head.size());
  frame.bulk.reserve(bulk.size());
  for (const auto data : bulk) {
    bytes += data.size();
    if (bytes > kFrameBytesMax) return absl::InvalidArgumentError("a frame over the limits");
    frame.bulk.push_back(TakeBlock(sockets, data));
  }
  return frame;
}

/// A message of the largest frame is at most this long.
inline constexpr size_t kMessageBytesMax = kFrameBytesMax + (64 << 10);
/// Until Hello is done.
inline constexpr size_t kHelloBytesMax = 64 << 10;
inline constexpr uint32_t kProtocol = 1;

}   // namespace troupe
