// TLS streams over a pair of sockets, without a network.
#include "actors/internal/tls.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstring>

#include "tests/support/link_fixture.h"

namespace troupe {
namespace {

using namespace testing;

struct Pair {
  int fds[2];
  std::shared_ptr<const TlsContext> context = TlsContext::Make(Members()).value();
  std::optional<TlsStream> client, server;
  explicit Pair(uint64_t key_bytes_max = TlsStream::kKeyBytesMax) {
    BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    client.emplace(context, fds[0], TlsStream::Side::kClient, key_bytes_max);
    server.emplace(context, fds[1], TlsStream::Side::kServer, key_bytes_max);
  }
  ~Pair() {
    client.reset();
    server.reset();
    ::close(fds[0]);
    ::close(fds[1]);
  }
  /// Until both ends are through.
  void Shake() {
    char byte;
    bool drained;
    for (int turn = 0; turn < 10 && !(client->established() && server->established()); ++turn) {
      for (TlsStream* end : {&*client, &*server}) {
        BOOST_REQUIRE(end->Read(&byte, 1, drained) == -1);
        BOOST_REQUIRE(errno == EAGAIN);
      }
    }
    BOOST_REQUIRE((client->established() && server->established()));
  }
  /// All of `bytes` in the given pieces, read in parts of `room` at the other end while it is sent.
  std::string Pass(const std::string& bytes, std::vector<size_t> sizes, size_t room) {
    std::vector<iovec> pieces;
    size_t at = 0;
    for (const size_t size : sizes) {
      pieces.push_back({const_cast<char*>(bytes.data()) + at, size});
      at += size;
    }
    BOOST_REQUIRE(at == bytes.size());
    std::string received, part(room, '\0');
    size_t next = 0;
    for (int turns = 0; received.size() < bytes.size(); ++turns) {
      BOOST_REQUIRE(turns < 1'000'000);
      const ssize_t taken = client->Write(std::span(pieces).subspan(next));
      BOOST_REQUIRE(taken >= 0);
      for (auto left = static_cast<size_t>(taken); left > 0;) {
        const size_t of_this = std::min(left, pieces[next].iov_len);
        pieces[next].iov_base = static_cast<char*>(pieces[next].iov_base) + of_this;
        pieces[next].iov_len -= of_this;
        left -= of_this;
        if (pieces[next].iov_len == 0) ++next;
      }
      bool drained = false;
      const ssize_t got = server->Read(part.data(), part.size(), drained);
      if (got > 0) received.append(part.data(), static_cast<size_t>(got));
      if (got < 0) BOOST_REQUIRE(errno == EAGAIN);
    }
    return received;
  }
};

std::string Text(size_t size) {
  Random random(size);
  const Block noise = Noise(random, size);
  return {reinterpret_cast<const char*>(noise.data()), noise.size()};
}

}   // namespace

BOOST_AUTO_TEST_SUITE(TlsSuite)

BOOST_AUTO_TEST_CASE(bytes_arrive_as_they_were_sent_however_they_are_cut) {
  Pair pair;
  pair.Shake();
  for (const size_t room : {size_t{100}, size_t{1} << 14, size_t{1} << 20}) {
    const std::string text = Text(3'000'000);
    BOOST_TEST((pair.Pass(text, {1, 7, 5'000, 3'000'000 - 1 - 7 - 5'000 - 1, 1}, room) == text));
    BOOST_TEST((pair.Pass(text.substr(0, 60), std::vector<size_t>(60, 1), room) == text.substr(0, 60)));
    BOOST_TEST((pair.Pass(text.substr(0, 40'000), std::vector<size_t>(20, 2'000), room) == text.substr(0, 40'000)));
  }
}

BOOST_AUTO_TEST_CASE(keys_are_changed_before_they_have_been_used_too_long) {
  Pair pair(100'000);
  pair.Shake();
  const std::string text = Text(5'000'000);
  BOOST_TEST((pair.Pass(text, {text.size()}, 1 << 16) == text));
}

BOOST_AUTO_TEST_CASE(nothing_is_taken_before_the_handshake_is_over) {
  Pair pair;
  char text[] = "early";
  const iovec piece{text, 5};
  BOOST_TEST(pair.client->Write({&piece, 1}) == 0);
  pair.Shake();
  BOOST_TEST(pair.Pass("late", {4}, 10) == "late");
}

BOOST_AUTO_TEST_CASE(what_the_socket_does_not_take_waits) {
  Pair pair;
  pair.Shake();
  std::string text = Text(8 << 20);
  const iovec piece{text.data(), text.size()};
  size_t taken = 0;
  for (int turns = 0; turns < 1000 && !pair.client->blocked(); ++turns) {
    const iovec rest{text.data() + taken, text.size() - taken};
    taken += static_cast<size_t>(pair.client->Write({&rest, 1}));
  }
  BOOST_TEST_REQUIRE(pair.client->blocked());
  BOOST_TEST(taken < text.size());
  BOOST_TEST(pair.client->Write({&piece, 1}) == 0);   // no room for more
  std::string part(1 << 20, '\0'), received;
  while (received.size() < taken) {
    bool drained;
    const ssize_t got = pair.server->Read(part.data(), part.size(), drained);
    if (got > 0) received.append(part.data(), static_cast<size_t>(got));
    BOOST_TEST_REQUIRE(pair.client->Write({}) >= 0);
  }
  BOOST_TEST((received == text.substr(0, taken)));
  BOOST_TEST(!pair.client->blocked());
}

BOOST_AUTO_TEST_CASE(an_end_is_the_end_of_the_stream_after_all_bytes) {
  Pair pair;
  pair.Shake();
  char text[] = "last words";
  const iovec piece{text, 10};
  BOOST_TEST(pair.client->Write({&piece, 1}) == 10);
  ::shutdown(pair.fds[0], SHUT_WR);
  char room[100];
  bool drained = false;
  BOOST_TEST(pair.server->Read(room, sizeof room, drained) == 10);
  BOOST_TEST(pair.server->Read(room, sizeof room, drained) == 0);
  BOOST_TEST(pair.server->error().ok());
}

BOOST_AUTO_TEST_CASE(half_a_record_and_an_end_is_an_end_too) {
  Pair pair;
  pair.Shake();
  const unsigned char half[] = {23, 3, 3, 1, 0, 7, 7};
  BOOST_TEST(::write(pair.fds[0], half, sizeof half) == ssize_t{sizeof half});
  ::shutdown(pair.fds[0], SHUT_WR);
  char room[100];
  bool drained = false;
  BOOST_TEST(pair.server->Read(room, sizeof room, drained) == 0);   // at once: nobody would tell of the end again
}

BOOST_AUTO_TEST_CASE(a_changed_byte_ends_the_stream) {
  Pair pair;
  pair.Shake();
  char text[] = "believe me";
  const iovec piece{text, 10};
  BOOST_TEST(pair.client->Write({&piece, 1}) == 10);
  unsigned char record[200];
  const ssize_t size = ::recv(pair.fds[1], record, sizeof record, 0);
  BOOST_TEST_REQUIRE(size > 20);
  record[size - 1] ^= 1;
  BOOST_TEST(::write(pair.fds[0], record, static_cast<size_t>(size)) == size);
  char room[100];
  bool drained = false;
  BOOST_TEST(pair.server->Read(room, sizeof room, drained) == -1);
  BOOST_TEST(errno == EPROTO);
  BOOST_TEST(Has(pair.server->error(), absl::StatusCode::kUnavailable, "garbage: TLS: "));
  BOOST_TEST(pair.server->Read(room, sizeof room, drained) == -1);   // and stays ended
  BOOST_TEST(pair.server->Write({&piece, 1}) == -1);
  BOOST_TEST(pair.client->Read(room, sizeof room, drained) == -1);
  BOOST_TEST(Has(pair.client->error(), absl::StatusCode::kUnavailable, "the peer ended TLS: bad record mac"));
}

BOOST_AUTO_TEST_CASE(a_flood_before_the_certificate_ends_the_stream) {
  Pair pair;
  const std::string header("\x16\x03\x01\x40\x00", 5);                                                 // of a record of 16 KiB
  std::string sent = header + std::string("\x01\x01\xff\xff", 4) + std::string((16 << 10) - 4, 'x');   // a ClientHello of 131071 bytes begins
  for (int i = 0; i < 7; ++i) sent += header + std::string(16 << 10, 'x');
  size_t at = 0;
  char room[100];
  bool drained = false;
  ssize_t got = -1;
  for (int turn = 0; turn < 1000 && at < sent.size(); ++turn) {
    const ssize_t written = ::send(pair.fds[0], sent.data() + at, sent.size() - at, MSG_NOSIGNAL);
    if (written > 0) at += static_cast<size_t>(written);
    got = pair.server->Read(room, sizeof room, drained);
    if (errno != EAGAIN) break;
  }
  BOOST_TEST(got == -1);
  BOOST_TEST(Has(pair.server->error(), absl::StatusCode::kUnavailable, "more than 65536 bytes before a certificate"));
}

BOOST_AUTO_TEST_CASE(an_end_in_the_middle_of_the_handshake_is_said) {
  Pair pair;
  ::shutdown(pair.fds[0], SHUT_WR);
  char room[100];
  bool drained = false;
  BOOST_TEST(pair.server->Read(room, sizeof room, drained) == -1);
  BOOST_TEST(Has(pair.server->error(), absl::StatusCode::kUnavailable, "the peer closed the connection before the end of the TLS handshake"));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
