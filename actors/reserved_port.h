// A TCP port for a process that is still to be started.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace troupe {

/// A port of 127.0.0.1 that the system gives to nobody by itself while this lives, and where another process can listen all the same: for a parent that has to
/// say where its children listen before they do, and again after each of their restarts.
class ReservedPort {
 public:
  /// Unavailable: the system refuses.
  static absl::StatusOr<ReservedPort> Take();
  ReservedPort(ReservedPort&& other) noexcept;
  ReservedPort& operator=(ReservedPort&&) = delete;
  ~ReservedPort();

  /// "tcp:127.0.0.1:PORT"
  const std::string& place() const { return place_; }

 private:
  ReservedPort(int fd, std::string place) : fd_(fd), place_(std::move(place)) {}
  int fd_;   // bound, not listening
  std::string place_;
};

}   // namespace troupe
