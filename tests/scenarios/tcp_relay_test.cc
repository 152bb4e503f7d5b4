// The relay itself: what passes, and what does not.
#include "tests/support/tcp_relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <thread>

namespace troupe::testing {
namespace {

using std::chrono::milliseconds;

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

/// One end; every wait has a limit.
struct End {
  explicit End(int descriptor) : socket(descriptor) {}
  End(End&& other) noexcept : socket(std::exchange(other.socket, -1)) {}
  ~End() {
    if (socket >= 0) ::close(socket);
  }
  bool Readable(milliseconds wait = milliseconds(20'000)) const {
    pollfd polled{socket, POLLIN, 0};
    return ::poll(&polled, 1, static_cast<int>(wait.count())) == 1;
  }
  void Say(const std::string& text) const {
    size_t sent = 0;
    while (sent < text.size()) {
      const ssize_t n = ::send(socket, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;   // the other end hears less than it expects; Boost.Test is for one thread at a time
      sent += static_cast<size_t>(n);
    }
  }
  /// So many bytes, or fewer where it ends.
  std::string Hear(size_t size) const {
    std::string text(size, '\0');
    size_t heard = 0;
    while (heard < size && Readable()) {
      const ssize_t n = ::recv(socket, text.data() + heard, size - heard, 0);
      if (n <= 0) break;
      heard += static_cast<size_t>(n);
    }
    text.resize(heard);
    return text;
  }
  bool Ended() const {
    char byte = 0;
    return Readable() && ::recv(socket, &byte, 1, 0) <= 0;
  }
  int socket;
};

struct Fixture {
  Fixture() {
    listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof address;
    BOOST_REQUIRE(::bind(listening, reinterpret_cast<sockaddr*>(&address), size) == 0 && ::listen(listening, 8) == 0);
    BOOST_REQUIRE(::getsockname(listening, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port = ntohs(address.sin_port);
    relay.emplace(port);
  }
  ~Fixture() {
    if (listening >= 0) ::close(listening);
  }
  End Connect() const {
    End end(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = Loopback(relay->port());
    BOOST_REQUIRE(::connect(end.socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    return end;
  }
  End Accept() const {
    BOOST_REQUIRE(End(::dup(listening)).Readable());
    return End(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
  }
  int listening = -1;
  uint16_t port = 0;
  std::optional<TcpRelay> relay;
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(TcpRelaySuite, Fixture)

BOOST_AUTO_TEST_CASE(bytes_pass_both_ways_in_order_and_so_does_the_end) {
  std::string much(8 << 20, '\0');   // more than it holds
  for (size_t i = 0; i < much.size(); ++i) much[i] = static_cast<char>(i * 2'654'435'761u >> 13);
  End client = Connect();
  const End server = Accept();
  std::thread sender([&] { client.Say(much); });
  const bool same = server.Hear(much.size()) == much;
  sender.join();
  BOOST_TEST(same);
  server.Say("answer");
  BOOST_TEST(client.Hear(6) == "answer");
  ::shutdown(client.socket, SHUT_WR);
  BOOST_TEST(server.Ended());
  server.Say("last");
  BOOST_TEST(client.Hear(4) == "last");
}

BOOST_AUTO_TEST_CASE(where_nobody_listens_the_connection_is_closed) {
  ::close(std::exchange(listening, -1));
  BOOST_TEST(Connect().Ended());
}

BOOST_AUTO_TEST_CASE(while_it_is_cut_nothing_passes_and_then_everything) {
  const End client = Connect(), server = Accept();
  client.Say("one");
  BOOST_TEST(server.Hear(3) == "one");
  relay->Cut(true);
  client.Say("two");
  server.Say("three");
  BOOST_TEST(!server.Readable(milliseconds(50)));
  BOOST_TEST(!client.Readable(milliseconds(50)));
  relay->Cut(false);
  BOOST_TEST(server.Hear(3) == "two");
  BOOST_TEST(client.Hear(5) == "three");
}

BOOST_AUTO_TEST_CASE(bytes_that_are_late_come_in_order) {
  const End client = Connect(), server = Accept();
  relay->Delay(milliseconds(60));
  const auto start = std::chrono::steady_clock::now();
  client.Say("one");
  BOOST_TEST(server.Hear(3) == "one");
  BOOST_TEST((std::chrono::steady_clock::now() - start >= milliseconds(60)));
  client.Say("two");
  relay->Delay(milliseconds(0));
  client.Say("three");
  BOOST_TEST(server.Hear(8) == "twothree");
}

BOOST_AUTO_TEST_CASE(what_is_dropped_breaks_its_connection_at_both_ends_and_others_come_after_it) {
  const End client = Connect(), server = Accept();
  relay->Drop(1, 5);
  client.Say("lost");
  BOOST_TEST(client.Ended());
  BOOST_TEST(server.Ended());
  relay->Drop(0, 5);
  const End again = Connect(), there = Accept();
  again.Say("found");
  BOOST_TEST(there.Hear(5) == "found");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe::testing
