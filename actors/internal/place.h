// Where nodes listen, as sockets: "unix:/path" and "tcp:HOST:PORT".
#pragma once

#include <netinet/in.h>
#include <sys/un.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace troupe {

struct Place {
  std::string text;   // as it was written; of a listening socket with the port that it has
  std::string path;   // unix:
  std::string host;   // tcp: a name or a number, an IPv6 one without its brackets
  uint16_t port = 0;
  bool local() const { return !path.empty(); }   // reached on its own host only
  friend bool operator==(const Place& a, const Place& b) { return a.text == b.text; }
};
/// InvalidArgument: neither "unix:/path" nor "tcp:HOST:PORT" with a port up to 65535.
absl::StatusOr<Place> ParsePlace(const std::string& text);

/// As the system takes it.
struct SocketAddress {
  union {
    sockaddr any;
    sockaddr_un local;
    sockaddr_in ipv4;
    sockaddr_in6 ipv6;
  };
  socklen_t size = 0;
  SocketAddress() : local{} {}
  bool loopback() const;   // of this host only; a Unix socket is too
};
/// Of a Unix place and of a host that is a number; nullopt for a name, which has to be looked up. InvalidArgument: a path that is too long.
absl::StatusOr<std::optional<SocketAddress>> AddressOf(const Place& place);
/// All addresses of a host's name, the system's first choice first. Takes as long as the name servers. Unavailable: it has none, or they do not answer.
absl::StatusOr<std::vector<SocketAddress>> LookUp(const Place& place);

struct ListeningSocket {
  int fd = -1;   // non-blocking, closed on exec
  Place place;
  uint64_t inode = 0;   // of a Unix socket, to tell whether the path is still ours
};
/// A Unix socket is made beside its path and renamed over it, so that connecting never meets a gap when a replacement takes the place over. TCP port 0 takes
/// one that is free, "tcp:HOST:A-B" one of these (A up to B, 1 to 65535). `missing`: what this process lacks to let other hosts in, "token"; empty: nothing.
/// InvalidArgument: no place, or one that other hosts reach while something is missing. Unavailable: the system refuses, with its reason.
absl::StatusOr<ListeningSocket> ListenAt(const std::string& place, std::string_view missing);
/// A TCP socket with its port, which does not listen yet.
absl::StatusOr<ListeningSocket> BindTcp(Place place, const SocketAddress& address);
/// Closes, and unlinks a Unix path unless another process has taken it over.
void StopListening(const ListeningSocket& socket);

/// A non-blocking socket that is connected to `address`, or is about to be: an error may still come where it is first used. Unavailable as above.
absl::StatusOr<int> ConnectTo(const Place& place, const SocketAddress& address, std::chrono::milliseconds silence_max);
/// What a TCP connection should have at both ends: small messages leave at once, and a host that acknowledges nothing for about `silence_max` (whole seconds,
/// at least 3) is lost.
void PrepareTcp(int fd, std::chrono::milliseconds silence_max);
/// Room for a whole chunk in a Unix socket, where the system allows it: its sender need not be woken again and again. TCP sizes its buffers itself.
void EnlargeBuffers(int fd);

}   // namespace troupe
