// Blocking reads and writes.
#include "actors/bench_bare.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/internal/place.h"
#include "actors/status.h"

namespace troupe {
namespace {

constexpr size_t kPart = 256 << 10;   // read and applied at once: it fits the processor's cache
constexpr std::chrono::seconds kSilenceMax{20};

}   // namespace

void ApplySgd(std::span<float> weights, std::span<const float> gradient) {
  float* __restrict w = weights.data();
  const float* __restrict g = gradient.data();
  const size_t count = std::min(weights.size(), gradient.size());
  for (size_t i = 0; i < count; ++i) w[i] -= 0.01f * g[i];
}

BareSocket::BareSocket(BareSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)), tls_(std::move(other.tls_)) {}

BareSocket& BareSocket::operator=(BareSocket&& other) noexcept {
  Close();
  fd_ = std::exchange(other.fd_, -1);
  tls_ = std::move(other.tls_);
  return *this;
}

absl::Status BareSocket::BeginTls(const TlsContext& context, TlsStream::Side side) {
  tls_ = {SSL_new(context.get()), SSL_free};
  SSL_set_fd(tls_.get(), fd_);
  SSL_clear_mode(tls_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE);   // one call for all of a buffer
  if ((side == TlsStream::Side::kClient ? SSL_connect(tls_.get()) : SSL_accept(tls_.get())) == 1) return absl::OkStatus();
  return absl::UnavailableError("the bare TLS socket: no handshake");
}

void BareSocket::Close() {
  tls_ = nullptr;
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

absl::StatusOr<BareSocket> BareSocket::Connect(const std::string& text) {
  TROUPE_TRY(const Place place, ParsePlace(text));
  TROUPE_TRY(const std::optional<SocketAddress> address, AddressOf(place));
  if (!address) return absl::InvalidArgumentError(absl::StrCat(text, ": expected a number for the host"));
  TROUPE_TRY(const int fd, ConnectTo(place, *address, kSilenceMax));
  pollfd connected{fd, POLLOUT, 0};
  ::poll(&connected, 1, 10'000);   // an error shows itself at the first use
  ::fcntl(fd, F_SETFL, 0);
  return BareSocket(fd);
}

bool BareSocket::ReadAll(void* to, size_t size) const {
  for (char* at = static_cast<char*>(to); size > 0;) {
    const ssize_t got = tls_ != nullptr ? SSL_read(tls_.get(), at, static_cast<int>(size)) : ::read(fd_, at, size);
    if (tls_ == nullptr && got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

bool BareSocket::WriteAll(const void* from, size_t size) const {
  for (const char* at = static_cast<const char*>(from); size > 0;) {
    const ssize_t sent = tls_ != nullptr ? SSL_write(tls_.get(), at, static_cast<int>(size)) : ::send(fd_, at, size, MSG_NOSIGNAL);
    if (tls_ == nullptr && sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

absl::StatusOr<double> BareSocket::Time(const BareOrder& order, std::span<std::byte> memory) const {
  char byte = 0;
  const uint64_t words[3] = {order.pull, order.size, order.count};
  bool alive = WriteAll(words, sizeof words);
  const auto start = std::chrono::steady_clock::now();
  for (uint64_t i = 0; i < order.count && alive; ++i) {
    alive = order.pull ? WriteAll(&byte, 1) && ReadAll(memory.data(), order.size) : WriteAll(memory.data(), order.size) && ReadAll(&byte, 1);
  }
  if (!alive) return absl::UnavailableError("the bare socket was closed");
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / static_cast<double>(order.count);
}

bool BareSocket::Answer(std::span<float> weights) const {
  uint64_t words[3];
  if (!ReadAll(words, sizeof words) || words[1] > weights.size_bytes()) return false;
  const BareOrder order{words[0] != 0, words[1], words[2]};
  std::vector<float> part(kPart / sizeof(float));
  for (uint64_t i = 0; i < order.count; ++i) {
    char byte = 0;
    if (order.pull) {
      if (!ReadAll(&byte, 1) || !WriteAll(weights.data(), order.size)) return false;
      continue;
    }
    for (size_t done = 0; done < order.size; done += kPart) {
      const size_t bytes = std::min(order.size - done, kPart);
      if (!ReadAll(part.data(), bytes)) return false;
      ApplySgd(weights.subspan(done / sizeof(float)), std::span(part).first(bytes / sizeof(float)));
    }
    if (!WriteAll(&byte, 1)) return false;
  }
  return true;
}

absl::StatusOr<BareListener> BareListener::At(const std::string& place) {
  TROUPE_TRY(const ListeningSocket socket, ListenAt(place, "token"));
  return BareListener(socket.fd, socket.place.text, socket.place.path, socket.inode);
}

BareListener::BareListener(BareListener&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), place_(std::move(other.place_)), path_(std::move(other.path_)), inode_(other.inode_) {}

BareListener::~BareListener() {
  if (fd_ >= 0) StopListening({.fd = fd_, .place = {.text = place_, .path = path_, .host = {}}, .inode = inode_});
}

absl::StatusOr<BareSocket> BareListener::Accept(pid_t& peer) const {
  pollfd ready{fd_, POLLIN, 0};
  while (::poll(&ready, 1, 100) == 0) {
    if (::waitpid(peer, nullptr, WNOHANG) != peer) continue;
    peer = -1;
    return absl::UnavailableError("the other process of the benchmark ended before it connected");
  }
  const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) return absl::UnavailableError(absl::StrCat(place_, ": accept: ", std::strerror(errno)));
  if (path_.empty())
    PrepareTcp(fd, kSilenceMax);
  else
    EnlargeBuffers(fd);
  return BareSocket(fd);
}

}   // namespace troupe
