#include "tests/support/tcp_relay.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "actors/check.h"
#include "actors/random.h"

namespace troupe::testing {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kHeldMax = 1 << 20;   // bytes of one direction; then its sender waits

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}
void NoWaiting(int socket) {
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(socket, F_SETFL, O_NONBLOCK);
}

struct Direction {
  struct Piece {
    Clock::time_point due;
    std::string bytes;
  };
  std::deque<Piece> held;
  size_t held_bytes = 0;
  bool ended = false, told = false;   // its sender has closed; the receiver knows
};

struct Connection {
  std::array<int, 2> sockets;
  std::array<Direction, 2> to;   // to[i] is written to sockets[i], and comes from the other one
  bool over = false;
};

}   // namespace

class TcpRelay::Impl {
 public:
  explicit Impl(uint16_t target) : target_(target) {
    listening_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof address;
    TROUPE_CHECK(::bind(listening_, reinterpret_cast<sockaddr*>(&address), size) == 0 && ::listen(listening_, 128) == 0);
    TROUPE_CHECK(::getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    NoWaiting(listening_);
    wake_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    thread_ = std::thread([this] { Loop(); });
  }
  ~Impl() {
    Set([this] { ending_ = true; });
    thread_.join();
    for (const Connection& connection : connections_) {
      for (const int socket : connection.sockets) ::close(socket);
    }
    ::close(listening_);
    ::close(wake_);
  }
  uint16_t port() const { return port_; }
  void Cut(bool cut) {
    Set([&] { cut_ = cut; });
  }
  void Delay(std::chrono::milliseconds by) {
    Set([&] { delay_ = by; });
  }
  void Drop(double probability, uint64_t seed) {
    Set([&] {
      drop_ = probability;
      random_ = Random(seed);
    });
  }

 private:
  template <class Change>
  void Set(const Change& change) {
    std::lock_guard lock(mutex_);
    change();
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof one);
  }

  void Loop() {
    for (;;) {
      std::vector<pollfd> polled{{wake_, POLLIN, 0}};
      int timeout_ms = -1;
      {
        std::lock_guard lock(mutex_);
        if (ending_) return;
        if (!cut_) {
          polled.push_back({listening_, POLLIN, 0});
          for (const Connection& connection : connections_) Watch(connection, polled, timeout_ms);
        }
      }
      ::poll(polled.data(), polled.size(), timeout_ms);
      std::lock_guard lock(mutex_);
      uint64_t ignored = 0;
      [[maybe_unused]] const ssize_t read = ::read(wake_, &ignored, sizeof ignored);
      if (ending_ || cut_) continue;
      for (Connection& connection : connections_) Serve(connection);
      connections_.remove_if([](const Connection& connection) {
        if (!connection.over) return false;
        for (const int socket : connection.sockets) ::close(socket);
        return true;
      });
      Accept();
    }
  }

  static void Watch(const Connection& connection, std::vector<pollfd>& polled, int& timeout_ms) {
    for (size_t i = 0; i < 2; ++i) {
      const Direction &out = connection.to[i], &in = connection.to[1 - i];
      short events = 0;
      if (!in.ended && in.held_bytes < kHeldMax) events |= POLLIN;
      if (!out.held.empty()) {
        const auto wait = std::chrono::ceil<std::chrono::milliseconds>(out.held.front().due - Clock::now()).count();
        if (wait <= 0) {
          events |= POLLOUT;
        } else {
          timeout_ms = timeout_ms < 0 ? static_cast<int>(wait) : std::min(timeout_ms, static_cast<int>(wait));
        }
      }
      if (events != 0) polled.push_back({connection.sockets[i], events, 0});
    }
  }

  void Accept() {
    for (;;) {
      const int client = ::accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const sockaddr_in address = Loopback(target_);
      if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        ::close(client);
        ::close(server);
        continue;
      }
      NoWaiting(client);
      NoWaiting(server);
      connections_.push_back({.sockets = {client, server}, .to = {}});
    }
  }

  void Serve(Connection& connection) {
    for (size_t i = 0; i < 2 && !connection.over; ++i) {
      Take(connection, i);
      Pass(connection, i);
    }
    const Direction &a = connection.to[0], &b = connection.to[1];
    if (a.told && b.told) connection.over = true;
  }
  /// What has come for socket i.
  void Take(Connection& connection, size_t i) {
    Direction& to = connection.to[i];
    std::array<char, 64 << 10> buffer;
    while (!to.ended && to.held_bytes < kHeldMax) {
      const ssize_t n = ::recv(connection.sockets[1 - i], buffer.data(), buffer.size(), 0);
      if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) connection.over = true;
        return;
      }
      if (n == 0) {
        to.ended = true;
      } else if (drop_ > 0 && random_.Uniform() < drop_) {
        Break(connection);
        return;
      } else {
        to.held.push_back({Clock::now() + delay_, std::string(buffer.data(), static_cast<size_t>(n))});
        to.held_bytes += static_cast<size_t>(n);
      }
    }
  }
  static void Pass(Connection& connection, size_t i) {
    Direction& to = connection.to[i];
    while (!to.held.empty() && to.held.front().due <= Clock::now()) {
      std::string& bytes = to.held.front().bytes;
      const ssize_t n = ::send(connection.sockets[i], bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) connection.over = true;
        return;
      }
      to.held_bytes -= static_cast<size_t>(n);
      bytes.erase(0, static_cast<size_t>(n));
      if (!bytes.empty()) return;
      to.held.pop_front();
    }
    if (to.ended && to.held.empty() && !to.told) {
      ::shutdown(connection.sockets[i], SHUT_WR);
      to.told = true;
    }
  }
  /// Both ends see a reset.
  static void Break(Connection& connection) {
    const linger now{1, 0};
    for (const int socket : connection.sockets) ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    connection.over = true;
  }

  const uint16_t target_;
  int listening_ = -1, wake_ = -1;
  uint16_t port_ = 0;
  std::mutex mutex_;   // of all below
  bool cut_ = false, ending_ = false;
  std::chrono::milliseconds delay_{0};
  double drop_ = 0;
  Random random_{1};
  std::list<Connection> connections_;
  std::thread thread_;
};

TcpRelay::TcpRelay(uint16_t target) : impl_(std::make_unique<Impl>(target)) {}
TcpRelay::~TcpRelay() = default;
uint16_t TcpRelay::port() const {
  return impl_->port();
}
void TcpRelay::Cut(bool cut) {
  impl_->Cut(cut);
}
void TcpRelay::Delay(std::chrono::milliseconds by) {
  impl_->Delay(by);
}
void TcpRelay::Drop(double probability, uint64_t seed) {
  impl_->Drop(probability, seed);
}

}   // namespace troupe::testing
