// Networks in this process, raw sockets that send what no network would, and places for both kinds of socket.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "actors/certificates.h"
#include "actors/internal/place.h"
#include "actors/random.h"
#include "actors/reserved_port.h"
#include "actors/rpc_network.h"
#include "actors/text.h"

namespace troupe::testing {

using std::chrono::milliseconds;
inline constexpr NodeId kServer{1};
inline constexpr NodeId kClient{0};
inline constexpr ActorId kEcho{5};
inline constexpr milliseconds kLong{30'000};
inline constexpr auto kControl = Network::Lane::kControl;
inline constexpr auto kBulk = Network::Lane::kBulk;

/// Certificates of one authority, made once.
inline const TlsCertificates& Members() {
  static const TlsCertificates made = [] {
    std::string folder = (std::filesystem::temp_directory_path() / "troupe-tls-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(folder.data()) != nullptr);
    const absl::Status status = MakeCertificates(folder, {});
    BOOST_REQUIRE_MESSAGE(status.ok(), status.ToString());
    TlsCertificates certificates = ReadTlsFolder(folder).value();
    std::filesystem::remove_all(folder);
    return certificates;
  }();
  return made;
}

struct LinkFixture {
  std::string folder = [] {
    std::string pattern = (std::filesystem::temp_directory_path() / "troupe-rpc-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    return pattern;
  }();
  std::mutex mutex;
  std::vector<std::string> lines;
  std::promise<void> logged;

  ~LinkFixture() { std::filesystem::remove_all(folder); }

  ReservedPort port = ReservedPort::Take().value();
  bool tcp = false;
  bool tls = false;
  size_t bulk_connections = 4;

  /// "unix", "tcp", "tls", or "tcp 1": with one bulk connection.
  void Use(const std::string& transport) {
    tcp = transport != "unix";
    tls = transport == "tls";
    bulk_connections = transport == "tcp 1" ? 1 : 4;
  }
  std::string path() const { return folder + "/node"; }
  std::string place() const { return tcp ? port.place() : "unix:" + path(); }
  RpcNetwork::Options Options(NodeId node, uint64_t incarnation = 1) {
    RpcNetwork::Options options;
    options.node = node;
    options.incarnation = Incarnation{incarnation};
    options.cluster_id = "job 7";
    options.token = "secret";
    options.build_id = "build";
    options.bulk_connections = bulk_connections;
    if (tls) options.tls = Members();
    options.backoff_min = milliseconds(1);
    options.backoff_max = milliseconds(4);
    options.log = [this](std::string line) {
      std::lock_guard lock(mutex);
      lines.push_back(std::move(line));
      if (lines.size() == 1) logged.set_value();
    };
    return options;
  }
  static std::unique_ptr<RpcNetwork> Start(RpcNetwork::Options options) {
    auto network = RpcNetwork::Start(std::move(options));
    BOOST_REQUIRE_MESSAGE(network.ok(), network.status().ToString());
    return *std::move(network);
  }
  RpcNetwork::Options ServerOptions(uint64_t incarnation = 1) {
    auto options = Options(kServer, incarnation);
    options.listen = {place()};
    options.handlers = {{kEcho, [](Frame frame, const Network::Reply& reply) { reply(std::move(frame)); }}};
    return options;
  }
  std::unique_ptr<RpcNetwork> Server(uint64_t incarnation = 1) { return Start(ServerOptions(incarnation)); }
  std::vector<uint64_t> seen;   // by NotingServer: types of requests, in their order
  std::unique_ptr<RpcNetwork> NotingServer() {
    auto options = ServerOptions();
    options.handlers = {{kEcho, [this](Frame frame, const Network::Reply& reply) {
                           {
                             std::lock_guard lock(mutex);
                             seen.push_back(frame.type);
                           }
                           reply(std::move(frame));
                         }}};
    return Start(std::move(options));
  }
  std::unique_ptr<RpcNetwork> Client() {
    auto client = Start(Options(kClient));
    client->Locate(kServer, {place()});
    return client;
  }
  /// Returns when the networks have logged a line that holds `text`; fails with the last lines where none comes within kLong.
  void AwaitLine(std::string_view text) {
    const auto end = std::chrono::steady_clock::now() + kLong;
    size_t seen = 0;
    for (;; std::this_thread::sleep_for(milliseconds(1))) {
      std::lock_guard lock(mutex);
      for (; seen < lines.size(); ++seen) {
        if (lines[seen].find(text) != std::string::npos) return;
      }
      if (std::chrono::steady_clock::now() < end) continue;
      std::string last;
      for (size_t i = lines.size() < 10 ? 0 : lines.size() - 10; i < lines.size(); ++i) last += "\n" + lines[i];
      BOOST_FAIL("no line holds '" << text << "'; of " << lines.size() << " the last are" << last);
    }
  }
  /// The first line that the networks log.
  std::string FirstLine() {
    logged.get_future().wait();
    std::lock_guard lock(mutex);
    return lines[0];
  }
};

inline std::future<absl::StatusOr<Frame>> Ask(Network& network, Frame frame, Network::Lane lane = kControl, milliseconds timeout = kLong, ActorId actor = kEcho,
                                              uint64_t incarnation = 0) {
  auto answer = std::make_shared<std::promise<absl::StatusOr<Frame>>>();
  network.Request({kServer, Incarnation{incarnation}, actor}, std::move(frame), lane, timeout,
                  [answer](absl::StatusOr<Frame> reply) { answer->set_value(std::move(reply)); });
  return answer->get_future();
}

inline absl::Status StatusOf(std::future<absl::StatusOr<Frame>> answer) {
  return answer.get().status();
}

inline Frame Numbered(uint64_t number) {
  return Frame{number, Block::Copy(&number, sizeof number), {}};
}

inline Block Noise(Random& random, size_t size) {
  std::vector<unsigned char> bytes(size);
  for (auto& byte : bytes) byte = static_cast<unsigned char>(random.Next());
  return Block::Copy(bytes.data(), size);
}

inline bool Same(const Block& a, const Block& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

inline bool Same(const Frame& a, const Frame& b) {
  return a.type == b.type && Same(a.head, b.head) && a.bulk.size() == b.bulk.size() &&
         std::equal(a.bulk.begin(), a.bulk.end(), b.bulk.begin(), [](const Block& x, const Block& y) { return Same(x, y); });
}

inline bool Has(const absl::Status& status, absl::StatusCode code, std::string_view text) {
  BOOST_TEST_INFO(status.ToString());
  return status.code() == code && Message(status).find(text) != std::string_view::npos;
}

/// Requests end with DeadlineExceeded, before long with this text; not at once where the machine has much else to do.
inline bool TimesOutSaying(Network& network, Network::Lane lane, std::string_view text) {
  for (int i = 0; i < 1000; ++i) {
    const absl::Status status = StatusOf(Ask(network, Frame{}, lane, milliseconds(10)));
    BOOST_TEST((status.code() == absl::StatusCode::kDeadlineExceeded), status.ToString());
    if (Message(status).find(text) != std::string_view::npos) return true;
  }
  return false;
}

/// A connection that speaks whatever it is told to.
struct RawSocket {
  int fd = -1;
  explicit RawSocket(const std::string& text) {
    const Place place = ParsePlace(text).value();
    auto connected = ConnectTo(place, AddressOf(place).value().value(), milliseconds(10'000));
    BOOST_REQUIRE_MESSAGE(connected.ok(), connected.status().ToString());
    fd = *connected;
    pollfd ready{fd, POLLOUT, 0};
    BOOST_REQUIRE(::poll(&ready, 1, 10'000) == 1);
    ::fcntl(fd, F_SETFL, 0);
  }
  RawSocket(RawSocket&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  ~RawSocket() {
    if (fd >= 0) ::close(fd);
  }
  void Send(const void* bytes, size_t size) const { ::send(fd, bytes, size, MSG_NOSIGNAL); }
  void Send(const std::vector<uint32_t>& words) const { Send(words.data(), words.size() * sizeof(uint32_t)); }
  /// Until the other end has closed.
  void Drain() const {
    char bytes[4096];
    while (::read(fd, bytes, sizeof bytes) > 0) {
    }
  }
};

}   // namespace troupe::testing
