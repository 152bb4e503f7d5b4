// How fast strangers may come, by where they come from: a bucket each, which empties with every connection and fills with time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "actors/internal/place.h"

namespace troupe {

/// Where a connection comes from: an IPv4 address, or the 64 bits of an IPv6 one that belong to whoever has it.
uint64_t SourceOf(const SocketAddress& address);

class ConnectionRate {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// At once, and then a second. Those that turn out to be members do not count.
  static constexpr int kBurst = 256, kPerSecond = 64;
  /// Sources that are kept count of; beyond it others are let in uncounted.
  static constexpr size_t kSourcesMax = 4096;

  /// Whether one more from there may come in. O(1), but O(sources) at most once in kSourcesMax connections, or once a second where there are that many.
  bool Admit(uint64_t source, Time now);
  /// It was a member's.
  void GiveBack(uint64_t source);
  size_t sources() const { return full_at_.size(); }

 private:
  std::unordered_map<uint64_t, Time> full_at_;   // when the source's bucket is full again
  Time swept_{};
};

}   // namespace troupe
