// Places as text, and the sockets that belong to them.
#include "actors/internal/place.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <set>

#include "actors/port_range.h"
#include "actors/reserved_port.h"
#include "actors/text.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;

int Number(int fd, int level, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  BOOST_TEST(::getsockopt(fd, level, option, &value, &size) == 0);
  return value;
}

}   // namespace

BOOST_AUTO_TEST_SUITE(PlaceSuite)

BOOST_AUTO_TEST_CASE(places_are_read) {
  BOOST_TEST(ParsePlace("unix:/tmp/a:7").value().path == "/tmp/a:7");
  BOOST_TEST(ParsePlace("unix:/tmp/a").value().local());
  for (const auto& [text, host, port] :
       {std::tuple{"tcp:127.0.0.1:80", "127.0.0.1", 80}, {"tcp:[::1]:65535", "::1", 65535}, {"tcp:host.example:0", "host.example", 0}}) {
    const Place place = ParsePlace(text).value();
    BOOST_TEST(place.host == host);
    BOOST_TEST(place.port == port);
    BOOST_TEST(place.text == text);
    BOOST_TEST(!place.local());
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_place_is_refused) {
  for (const char* text : {"", "unix:", "tcp:", "tcp:a", "tcp:a:", "tcp::1", "tcp:a:b", "tcp:a:65536", "tcp:a:-1", "tcp:a:1x", "tcp:::1:80", "tcp:[]:80",
                           "tcp:[a]:80", "tcp:[::1:80", "tcp:[::1]80", "udp:a:1", "/tmp/a"}) {
    const absl::Status status = ParsePlace(text).status();
    BOOST_TEST((status.code() == absl::StatusCode::kInvalidArgument), text);
    BOOST_TEST(Message(status) == "'" + std::string(text) + "' is no place to connect to, expected unix:/path or tcp:HOST:PORT");
  }
}

BOOST_AUTO_TEST_CASE(numbers_need_no_look_up) {
  const auto address = [](const char* text) { return AddressOf(ParsePlace(text).value()).value(); };
  BOOST_TEST(address("tcp:127.0.0.1:80").value().loopback());
  BOOST_TEST(address("tcp:127.9.9.9:80").value().loopback());
  BOOST_TEST(address("tcp:[::1]:80").value().loopback());
  BOOST_TEST(address("unix:/tmp/a").value().loopback());
  BOOST_TEST(!address("tcp:0.0.0.0:80").value().loopback());
  BOOST_TEST(!address("tcp:[::]:80").value().loopback());
  BOOST_TEST(!address("tcp:10.1.2.3:80").value().loopback());
  BOOST_TEST(!address("tcp:localhost:80").has_value());
  BOOST_TEST((AddressOf(ParsePlace("unix:/" + std::string(200, 'x')).value()).status().code() == absl::StatusCode::kInvalidArgument));
  BOOST_TEST(LookUp(ParsePlace("tcp:localhost:80").value()).value().front().loopback());
}

BOOST_AUTO_TEST_CASE(ranges_of_ports_are_read_and_nothing_else) {
  const auto range = ParsePortRange("7500-7599");
  BOOST_REQUIRE(range.has_value());
  BOOST_TEST((range->first == 7500 && range->last == 7599));
  BOOST_TEST(ParsePortRange("1-65535").has_value());
  BOOST_TEST(ParsePortRange("9-9").has_value());
  for (const char* bad : {"", "7500", "-", "7500-", "-7500", "9-8", "0-5", "1-65536", "1-2-3", "a-b", " 1-2", "1 -2"})
    BOOST_TEST(!ParsePortRange(bad).has_value(), bad);
}

BOOST_AUTO_TEST_CASE(of_a_range_each_listener_gets_a_port_of_its_own_until_there_is_none) {
  const ListeningSocket any = ListenAt("tcp:127.0.0.1:0", "").value();   // a range around a port that is taken
  const uint16_t first = static_cast<uint16_t>(std::min<int>(any.place.port, 65533) - 1), last = static_cast<uint16_t>(first + 2);
  const std::string range = "tcp:127.0.0.1:" + std::to_string(first) + "-" + std::to_string(last);
  std::vector<ListeningSocket> all;
  absl::Status status;
  while (status.ok() && all.size() < 4) {
    auto one = ListenAt(range, "");
    status = one.status();
    if (one.ok()) all.push_back(*one);
  }
  BOOST_TEST(all.size() <= 2u);   // the third is `any`'s; another process may have one
  for (size_t i = 0; i < all.size(); ++i) {
    BOOST_TEST((all[i].place.port >= first && all[i].place.port <= last && all[i].place.port != any.place.port));
    BOOST_TEST((i == 0 || all[i].place.port != all[0].place.port));
  }
  BOOST_TEST(absl::IsUnavailable(status));
  BOOST_TEST(Message(status).starts_with(range + ": none of its ports can be listened at, the last one: "), status.ToString());
  BOOST_TEST(absl::IsInvalidArgument(ListenAt("tcp:0.0.0.0:7500-7501", "token").status()));   // as with a single port
  for (const ListeningSocket& socket : all) StopListening(socket);
  StopListening(any);
}

BOOST_AUTO_TEST_CASE(a_name_without_an_address_is_unavailable) {
  const std::string text = "tcp:" + std::string(70, 'x') + ".invalid:80";   // a label is at most 63 bytes long: no server is asked
  const absl::Status status = LookUp(ParsePlace(text).value()).status();
  BOOST_TEST((status.code() == absl::StatusCode::kUnavailable));
  BOOST_TEST(Message(status).starts_with(text + ": "));
}

BOOST_AUTO_TEST_CASE(a_tcp_socket_sends_at_once_and_notices_silence) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  PrepareTcp(fd, milliseconds(20'000));
  BOOST_TEST(Number(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
  BOOST_TEST(Number(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
  BOOST_TEST(Number(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 20'000);
  const int idle = Number(fd, IPPROTO_TCP, TCP_KEEPIDLE), interval = Number(fd, IPPROTO_TCP, TCP_KEEPINTVL), count = Number(fd, IPPROTO_TCP, TCP_KEEPCNT);
  BOOST_TEST(idle == 6);
  BOOST_TEST(idle + interval * count == 20);
  PrepareTcp(fd, milliseconds(0));
  BOOST_TEST(Number(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 3'000);
  BOOST_TEST(Number(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 1);
  BOOST_TEST(Number(fd, IPPROTO_TCP, TCP_KEEPINTVL) == 1);
  ::close(fd);
}

BOOST_AUTO_TEST_CASE(a_reserved_port_can_be_listened_at_again_and_again) {
  std::set<std::string> places;
  std::vector<ReservedPort> ports;
  for (int i = 0; i < 50; ++i) {
    ports.push_back(ReservedPort::Take().value());
    places.insert(ports.back().place());
  }
  BOOST_TEST(places.size() == 50u);
  for (int life = 0; life < 3; ++life) {
    const auto listening = ListenAt(ports[7].place(), "token");
    BOOST_TEST_REQUIRE(listening.status().ToString() == "OK");
    BOOST_TEST(listening->place.text == ports[7].place());
    const Place place = ParsePlace(ports[7].place()).value();
    const int fd = ConnectTo(place, AddressOf(place).value().value(), milliseconds(1000)).value();
    ::close(fd);
    StopListening(*listening);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
