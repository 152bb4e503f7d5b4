// Unix sockets by name.
#include "actors/internal/unix_place.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace troupe {
namespace {

constexpr char kScheme[] = "unix:";
constexpr size_t kSuffixMax = 24;   // of the temporary name

absl::Status SystemError(const char* call, const std::string& place) {
  return absl::UnavailableError(absl::StrCat(place, ": ", call, ": ", std::strerror(errno)));
}

absl::StatusOr<std::string> PathOf(const std::string& place, size_t reserve) {
  if (place.rfind(kScheme, 0) != 0 || place.size() == std::strlen(kScheme)) {
    return absl::InvalidArgumentError(absl::StrCat("'", place, "' is no place to connect to, expected unix:/path"));
  }
  std::string path = place.substr(std::strlen(kScheme));
  const size_t length_max = sizeof(sockaddr_un{}.sun_path) - 1 - reserve;
  if (path.size() > length_max) return absl::InvalidArgumentError(absl::StrCat(place, ": a path of ", path.size(), " bytes, at most ", length_max));
  return path;
}

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

int NewSocket() {
  return ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

absl::Status CloseWith(int fd, absl::Status status) {
  ::close(fd);
  return status;
}

}   // namespace

absl::StatusOr<ListeningSocket> ListenAt(const std::string& place) {
  auto path = PathOf(place, kSuffixMax);
  if (!path.ok()) return path.status();
  static std::atomic<unsigned> count{0};
  const std::string temporary = absl::StrCat(*path, ".", ::getpid(), ".", count++ % 1000);
  const sockaddr_un address = AddressOf(temporary);
  const int fd = NewSocket();
  if (fd < 0) return SystemError("socket", place);
  ::unlink(temporary.c_str());
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return CloseWith(fd, SystemError("bind", place));
  struct stat info {};
  absl::Status status;
  if (::chmod(temporary.c_str(), 0600) != 0) status = SystemError("chmod", place);
  if (status.ok() && ::listen(fd, SOMAXCONN) != 0) status = SystemError("listen", place);
  if (status.ok() && ::stat(temporary.c_str(), &info) != 0) status = SystemError("stat", place);
  if (status.ok() && std::rename(temporary.c_str(), path->c_str()) != 0) status = SystemError("rename", place);
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return CloseWith(fd, status);
  }
  return ListeningSocket{fd, *std::move(path), info.st_ino};
}

void StopListening(const ListeningSocket& socket) {
  ::close(socket.fd);
  struct stat info {};
  if (::stat(socket.path.c_str(), &info) == 0 && info.st_ino == socket.inode) ::unlink(socket.path.c_str());
}

absl::StatusOr<int> ConnectTo(const std::string& place) {
  auto path = PathOf(place, 0);
  if (!path.ok()) return path.status();
  const sockaddr_un address = AddressOf(*path);
  const int fd = NewSocket();
  if (fd < 0) return SystemError("socket", place);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return CloseWith(fd, SystemError("connect", place));
  EnlargeBuffers(fd);
  return fd;
}

void EnlargeBuffers(int fd) {
  const int bytes = 2 << 20;
  ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);   // the system cuts it to its own limit
}

}   // namespace troupe
