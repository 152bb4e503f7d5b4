// A socket that is bound and does not listen.
#include "actors/reserved_port.h"

#include <unistd.h>

#include <utility>

#include "actors/internal/place.h"
#include "actors/status.h"

namespace troupe {

absl::StatusOr<ReservedPort> ReservedPort::Take() {
  TROUPE_TRY(const Place any, ParsePlace("tcp:127.0.0.1:0"));
  TROUPE_TRY(const std::optional<SocketAddress> address, AddressOf(any));
  TROUPE_TRY(ListeningSocket socket, BindTcp(any, *address));
  return ReservedPort(socket.fd, std::move(socket.place.text));
}

ReservedPort::ReservedPort(ReservedPort&& other) noexcept : fd_(std::exchange(other.fd_, -1)), place_(std::move(other.place_)) {}

ReservedPort::~ReservedPort() {
  if (fd_ >= 0) ::close(fd_);
}

}   // namespace troupe
