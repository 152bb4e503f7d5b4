// Unix and TCP sockets by name.
#include "actors/internal/place.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "actors/port_range.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

constexpr std::string_view kUnix = "unix:", kTcp = "tcp:";
constexpr size_t kSuffixMax = 24;   // of the temporary name
constexpr int kOn = 1;

absl::Status SystemError(const char* call, const std::string& place) {
  return absl::UnavailableError(absl::StrCat(place, ": ", call, ": ", std::strerror(errno)));
}

absl::Status CheckPath(const Place& place, size_t reserve) {
  const size_t length_max = sizeof(sockaddr_un{}.sun_path) - 1 - reserve;
  if (place.path.size() <= length_max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(place.text, ": a path of ", place.path.size(), " bytes, at most ", length_max));
}

SocketAddress LocalAddress(const std::string& path) {
  SocketAddress address;
  address.local.sun_family = AF_UNIX;
  std::memcpy(address.local.sun_path, path.c_str(), path.size() + 1);
  address.size = sizeof address.local;
  return address;
}

SocketAddress Copied(const sockaddr* from, socklen_t size) {
  SocketAddress address;
  std::memcpy(&address.local, from, std::min<size_t>(size, sizeof address.local));
  address.size = size;
  return address;
}

/// getaddrinfo; `flags` AI_NUMERICHOST never asks anybody.
absl::StatusOr<std::vector<SocketAddress>> Ask(const Place& place, int flags) {
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(place.host.c_str(), absl::StrCat(place.port).c_str(), &wanted, &found);
  if (error != 0) return absl::UnavailableError(absl::StrCat(place.text, ": ", error == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(error)));
  std::vector<SocketAddress> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_family == AF_INET || one->ai_family == AF_INET6) addresses.push_back(Copied(one->ai_addr, one->ai_addrlen));
  }
  ::freeaddrinfo(found);
  if (addresses.empty()) return absl::UnavailableError(absl::StrCat(place.text, ": the name has no address"));
  return addresses;
}

int NewSocket(int family) {
  return ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

absl::Status CloseWith(int fd, absl::Status status) {
  ::close(fd);
  return status;
}

absl::StatusOr<ListeningSocket> ListenAtPath(Place place) {
  TROUPE_RETURN_IF_ERROR(CheckPath(place, kSuffixMax));
  static std::atomic<unsigned> count{0};
  const std::string temporary = absl::StrCat(place.path, ".", ::getpid(), ".", count++ % 1000);
  const SocketAddress address = LocalAddress(temporary);
  const int fd = NewSocket(AF_UNIX);
  if (fd < 0) return SystemError("socket", place.text);
  ::unlink(temporary.c_str());
  if (::bind(fd, &address.any, address.size) != 0) return CloseWith(fd, SystemError("bind", place.text));
  struct stat info {};
  absl::Status status;
  if (::chmod(temporary.c_str(), 0600) != 0) status = SystemError("chmod", place.text);
  if (status.ok() && ::listen(fd, SOMAXCONN) != 0) status = SystemError("listen", place.text);
  if (status.ok() && ::stat(temporary.c_str(), &info) != 0) status = SystemError("stat", place.text);
  if (status.ok() && std::rename(temporary.c_str(), place.path.c_str()) != 0) status = SystemError("rename", place.text);
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return CloseWith(fd, status);
  }
  return ListeningSocket{fd, std::move(place), info.st_ino};
}

absl::StatusOr<ListeningSocket> ListenAtPort(Place place, std::string_view missing) {
  TROUPE_TRY(const std::vector<SocketAddress> addresses, LookUp(place));
  const SocketAddress& address = addresses.front();
  if (!address.loopback() && !missing.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(place.text, ": other hosts can connect there and there is no ", Absl(missing),
                                                   ", expected a token and certificates (--token-file, --tls), or a loopback address"));
  }
  TROUPE_TRY(ListeningSocket socket, BindTcp(std::move(place), address));
  if (::listen(socket.fd, SOMAXCONN) != 0) return CloseWith(socket.fd, SystemError("listen", socket.place.text));
  return socket;
}

/// Of "tcp:HOST:A-B".
std::optional<PortRange> PortsOf(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (!text.starts_with(kTcp) || colon < kTcp.size() + 1) return std::nullopt;
  return ParsePortRange(std::string_view(text).substr(colon + 1));
}

/// The first that nobody has, from one on that is this process's own: many that start together do not all try the same.
absl::StatusOr<ListeningSocket> ListenAtOneOf(const std::string& text, PortRange ports, std::string_view missing) {
  const std::string host = text.substr(0, text.rfind(':') + 1);
  const unsigned all = ports.last - ports.first + 1u, first = static_cast<unsigned>(::getpid()) % all;
  absl::Status status;
  for (unsigned i = 0; i < all; ++i) {
    TROUPE_TRY(Place place, ParsePlace(absl::StrCat(host, ports.first + (first + i) % all)));
    absl::StatusOr<ListeningSocket> socket = ListenAtPort(std::move(place), missing);
    if (socket.ok() || !absl::IsUnavailable(socket.status())) return socket;
    status = socket.status();
  }
  return absl::UnavailableError(absl::StrCat(text, ": none of its ports can be listened at, the last one: ", status.message()));
}

}   // namespace

absl::StatusOr<Place> ParsePlace(const std::string& text) {
  const absl::Status wrong = absl::InvalidArgumentError(absl::StrCat("'", text, "' is no place to connect to, expected unix:/path or tcp:HOST:PORT"));
  Place place{.text = text, .path = {}, .host = {}};
  if (text.starts_with(kUnix)) {
    place.path = text.substr(kUnix.size());
    return place.path.empty() ? absl::StatusOr<Place>(wrong) : place;
  }
  const size_t colon = text.rfind(':');
  if (!text.starts_with(kTcp) || colon < kTcp.size() + 1 || colon + 1 == text.size()) return wrong;
  place.host = text.substr(kTcp.size(), colon - kTcp.size());
  const bool brackets = place.host.front() == '[';
  if (brackets) {
    if (place.host.size() < 3 || place.host.back() != ']') return wrong;
    place.host = place.host.substr(1, place.host.size() - 2);
  }
  if ((place.host.find(':') != std::string::npos) != brackets) return wrong;
  const char* end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data() + colon + 1, end, place.port);
  if (error != std::errc() || last != end) return wrong;
  return place;
}

bool SocketAddress::loopback() const {
  if (any.sa_family == AF_INET) return ntohl(ipv4.sin_addr.s_addr) >> 24 == 127;
  if (any.sa_family == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&ipv6.sin6_addr);
  return true;
}

absl::StatusOr<std::optional<SocketAddress>> AddressOf(const Place& place) {
  if (place.local()) {
    TROUPE_RETURN_IF_ERROR(CheckPath(place, 0));
    return LocalAddress(place.path);
  }
  const auto addresses = Ask(place, AI_NUMERICHOST);
  return addresses.ok() ? std::optional(addresses->front()) : std::nullopt;
}

absl::StatusOr<std::vector<SocketAddress>> LookUp(const Place& place) {
  return Ask(place, 0);
}

absl::StatusOr<ListeningSocket> ListenAt(const std::string& text, std::string_view missing) {
  if (const auto ports = PortsOf(text)) return ListenAtOneOf(text, *ports, missing);
  TROUPE_TRY(Place place, ParsePlace(text));
  return place.local() ? ListenAtPath(std::move(place)) : ListenAtPort(std::move(place), missing);
}

absl::StatusOr<ListeningSocket> BindTcp(Place place, const SocketAddress& address) {
  const int fd = NewSocket(address.any.sa_family);
  if (fd < 0) return SystemError("socket", place.text);
  SocketAddress bound;
  bound.size = sizeof bound.local;
  const bool good = ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &kOn, sizeof kOn) == 0 &&   // not refused because of old connections
                    ::bind(fd, &address.any, address.size) == 0 && ::getsockname(fd, &bound.any, &bound.size) == 0;
  if (!good) return CloseWith(fd, SystemError("bind", place.text));
  place.port = ntohs(bound.any.sa_family == AF_INET6 ? bound.ipv6.sin6_port : bound.ipv4.sin_port);
  const bool brackets = place.host.find(':') != std::string::npos;
  place.text = brackets ? absl::StrCat("tcp:[", place.host, "]:", place.port) : absl::StrCat("tcp:", place.host, ":", place.port);
  return ListeningSocket{fd, std::move(place), 0};
}

void StopListening(const ListeningSocket& socket) {
  ::close(socket.fd);
  struct stat info {};
  const std::string& path = socket.place.path;
  if (socket.place.local() && ::stat(path.c_str(), &info) == 0 && info.st_ino == socket.inode) ::unlink(path.c_str());
}

absl::StatusOr<int> ConnectTo(const Place& place, const SocketAddress& address, std::chrono::milliseconds silence_max) {
  const int fd = NewSocket(address.any.sa_family);
  if (fd < 0) return SystemError("socket", place.text);
  if (place.local())
    EnlargeBuffers(fd);
  else
    PrepareTcp(fd, silence_max);
  if (::connect(fd, &address.any, address.size) != 0 && errno != EINPROGRESS) return CloseWith(fd, SystemError("connect", place.text));
  return fd;
}

void PrepareTcp(int fd, std::chrono::milliseconds silence_max) {
  const auto seconds = static_cast<int>(std::max<int64_t>(std::chrono::duration_cast<std::chrono::seconds>(silence_max).count(), 3));
  const int idle = seconds / 3, interval = std::max(seconds / 9, 1), count = std::max((seconds - idle) / interval, 1);
  const unsigned silence = static_cast<unsigned>(seconds) * 1000;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof kOn);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &kOn, sizeof kOn);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);   // where nothing is under way
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence, sizeof silence);   // where something is
}

void EnlargeBuffers(int fd) {
  const int bytes = 2 << 20;
  ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);   // the system cuts it to its own limit
}

}   // namespace troupe
