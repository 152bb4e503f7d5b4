// The limit of benchmarks over sockets: one blocking socket and a plain loop, without any runtime.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "actors/internal/tls.h"

namespace troupe {

inline constexpr char kAnyLoopbackPort[] = "tcp:127.0.0.1:0";

/// weights -= 0.01 * gradient
void ApplySgd(std::span<float> weights, std::span<const float> gradient);

/// `count` times `size` bytes: of gradients, each acknowledged by one byte when its step of SGD is done; or, in answer to one byte each, of weights.
struct BareOrder {
  bool pull = false;
  uint64_t size = 0, count = 1;
};

/// A blocking stream socket. Move only.
class BareSocket {
 public:
  BareSocket() = default;
  explicit BareSocket(int fd) : fd_(fd) {}
  BareSocket(BareSocket&& other) noexcept;
  BareSocket& operator=(BareSocket&& other) noexcept;
  ~BareSocket() { Close(); }
  /// To a place whose host is a number.
  static absl::StatusOr<BareSocket> Connect(const std::string& place);

  /// Everything from now on over TLS, of OpenSSL alone; the other end does the same. Unavailable: the handshake fails.
  absl::Status BeginTls(const TlsContext& context, TlsStream::Side side);

  int fd() const { return fd_; }
  void Close();
  bool ReadAll(void* to, size_t size) const;
  bool WriteAll(const void* from, size_t size) const;
  /// Seconds for one of the order's `count`. `memory`: what is sent, or where it goes, at least order.size.
  absl::StatusOr<double> Time(const BareOrder& order, std::span<std::byte> memory) const;
  /// The other end of Time, for one order. False when the peer is lost or asks for more than there are weights.
  bool Answer(std::span<float> weights) const;

 private:
  int fd_ = -1;
  std::shared_ptr<ssl_st> tls_;   // null: none
};

/// Waits for the other process of a benchmark.
class BareListener {
 public:
  static absl::StatusOr<BareListener> At(const std::string& place);
  BareListener(BareListener&& other) noexcept;
  BareListener& operator=(BareListener&&) = delete;
  ~BareListener();
  const std::string& place() const { return place_; }
  /// Unavailable: `peer`, a child, ended before it connected; it is waited for, and then -1.
  absl::StatusOr<BareSocket> Accept(pid_t& peer) const;

 private:
  BareListener(int fd, std::string place, std::string path, uint64_t inode) : fd_(fd), place_(std::move(place)), path_(std::move(path)), inode_(inode) {}
  int fd_;
  std::string place_, path_;
  uint64_t inode_;
};

}   // namespace troupe
