// One HTTP/1.1 request with a connection of its own: for the few, small and rare calls to services that speak HTTP.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"

namespace troupe {

struct HttpReply {
  unsigned code = 0;   ///< 200: done
  std::string body;
};

/// POST http://`host`/`path` with `body`, JSON. Waits for the whole reply, `time_max` at most, name look-up and connecting included; not to be called by an
/// actor, nor on a link's thread. host: "HOST:PORT". Errors "HOST:PORT: why": Unavailable, nobody answers, or something that is no HTTP, or a reply larger than
/// kHttpBodyMax; DeadlineExceeded.
absl::StatusOr<HttpReply> HttpPost(const std::string& host, const std::string& path, const std::string& body, std::chrono::milliseconds time_max);

/// Bytes of a reply's body.
inline constexpr size_t kHttpBodyMax = 64 << 20;

}   // namespace troupe
