// A TCP relay between two ends of a test: it passes bytes on, or late, or not at all, or breaks connections, as it is told.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

namespace troupe::testing {

/// On 127.0.0.1. Whoever connects to port() is connected to `target`; where nobody listens there the connection is closed. Thread-safe.
class TcpRelay {
 public:
  explicit TcpRelay(uint16_t target);
  ~TcpRelay();
  TcpRelay(const TcpRelay&) = delete;
  TcpRelay& operator=(const TcpRelay&) = delete;

  uint16_t port() const;
  /// While it is cut nothing gets through, and nobody is told: connections stay, what is sent waits.
  void Cut(bool cut);
  /// From now on bytes take this much longer.
  void Delay(std::chrono::milliseconds by);
  /// TCP loses no bytes, but connections: each piece that comes breaks its connection with this probability. `seed` decides which.
  void Drop(double probability, uint64_t seed);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}   // namespace troupe::testing
