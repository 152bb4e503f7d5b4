// The one interface to other processes. In production it is Cap'n Proto RPC over Unix sockets and TCP (rpc_network.h); in the simulation a seeded queue that
// delays, drops, doubles and cuts. No other code knows of sockets.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/address.h"
#include "actors/block.h"

namespace troupe {

/// One encoded message: the small fields as one flat Cap'n Proto message (`head`), the arrays beside it (`bulk`), which travel without a copy in process
/// and as Data between processes. `type` is the Cap'n Proto type id of the head's struct.
struct Frame {
  uint64_t type = 0;
  Block head;
  std::vector<Block> bulk;
  size_t size() const {
    size_t bytes = head.size();
    for (const Block& block : bulk) bytes += block.size();
    return bytes;
  }
};

/// Limits of one frame on the wire; a bigger one is refused with InvalidArgument by the sender and ends the connection at the receiver.
inline constexpr size_t kFrameBytesMax = 64 << 20;
inline constexpr size_t kFrameBlocksMax = 16;
/// A bulk message is cut into pieces of at most this size by whoever knows its meaning (ps/client).
inline constexpr size_t kChunkBytes = 1 << 20;
/// Frames at least this big, and requests for them, travel on the bulk lane, so that they never delay a heartbeat.
inline constexpr size_t kBulkBytes = 64 << 10;

class Progress;

class Network {
 public:
  using Duration = std::chrono::milliseconds;
  /// Called exactly once, on any thread. An error of the called actor arrives with its code and message; a network fault as Unavailable
  /// (lost connection, wrong incarnation) or DeadlineExceeded.
  using Reply = std::function<void(absl::StatusOr<Frame>)>;
  /// Answers one request by calling `reply` exactly once, from any thread, now or later.
  using Handler = std::function<void(Frame request, Reply reply)>;
  /// Which link of a pair. Order holds within one lane only; answers have none.
  enum class Lane : uint8_t { kControl, kBulk };

  virtual ~Network() = default;

  /// Where `node` listens: "unix:/path", "tcp:HOST:PORT". Where it listens at several, the best that can be reached is taken. Connecting happens at the first
  /// request and again, with back-off, after a loss. Replaces earlier places: requests that are under way to another one end as Unavailable at once. No places:
  /// it is not known any more where the node is, and later requests wait until it is, as long as their time-outs.
  virtual void Locate(NodeId node, std::vector<std::string> places) = 0;
  /// Sends `frame` to the actor and calls `reply` once, within `timeout`. The request may or may not have been executed when the reply is an error.
  virtual void Request(const Address& to, Frame frame, Lane lane, Duration timeout, Reply reply) = 0;
  /// Makes this node's actor reachable. Replaces an earlier handler of that id.
  virtual void Serve(ActorId actor, Handler handler) = 0;
  virtual void Withdraw(ActorId actor) = 0;
  /// For threads that wait for replies (progress.h). Null: they cannot help.
  virtual std::shared_ptr<Progress> progress() { return nullptr; }
};

}   // namespace troupe
