// What is refused, and what both ends are told of it: certificates, tokens, roles, floods.
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <deque>
#include <fstream>

#include "actors/rpc_network.h"
#include "tests/support/link_fixture.h"
#include "tests/support/raw_link.h"

namespace troupe {
namespace {

using namespace testing;

constexpr char kOurs[] = "the peer refuses this process's certificate";

struct TlsFixture : LinkFixture {
  TlsFixture() { Use("tls"); }
  TlsCertificates Made(const std::string& name, const CertificateOptions& options) {
    const absl::Status status = MakeCertificates(folder + "/" + name, options);
    BOOST_REQUIRE_MESSAGE(status.ok(), status.ToString());
    return ReadTlsFolder(folder + "/" + name).value();
  }
  const TlsCertificates member = Made("member", {});
  const TlsCertificates expired = Made("expired", {.days = 0, .ca_folder = folder + "/member"});
  const TlsCertificates foreign = Made("foreign", {});

  std::unique_ptr<RpcNetwork> ServerWith(std::optional<TlsCertificates> certificates) {
    auto options = ServerOptions();
    options.tls = std::move(certificates);
    return Start(std::move(options));
  }
  std::unique_ptr<RpcNetwork> ClientWith(std::optional<TlsCertificates> certificates) {
    auto options = Options(kClient);
    options.tls = std::move(certificates);
    auto client = Start(std::move(options));
    client->Locate(kServer, {place()});
    return client;
  }
  /// The service goes on.
  void CheckMember(Network& client) {
    for (const auto lane : {kControl, kBulk}) BOOST_TEST(Same(*Ask(client, Numbered(9), lane).get(), Numbered(9)));
  }
  size_t Lines(std::string_view text) {
    std::lock_guard lock(mutex);
    return static_cast<size_t>(std::ranges::count_if(lines, [&](const std::string& line) { return line.find(text) != std::string::npos; }));
  }
};

size_t OpenDescriptors() {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator()));
}
long ResidentKib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "VmRSS:") continue;
    long kib = 0;
    status >> kib;
    return kib;
  }
  return -1;
}

/// A client of OpenSSL's own, which shows no certificate. Blocking; closes with its end.
struct RawTls {
  RawSocket socket;
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL* ssl = nullptr;
  RawTls(const std::string& place, int version) : socket(place) {
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    ssl = SSL_new(context);
    SSL_set_fd(ssl, socket.fd);
  }
  ~RawTls() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(RpcNetworkTlsSuite, TlsFixture)

BOOST_AUTO_TEST_CASE(an_expired_certificate_is_refused_and_both_ends_say_so) {
  auto server = ServerWith(member);
  auto client = ClientWith(member);
  for (const auto lane : {kControl, kBulk}) {
    auto late = ClientWith(expired);
    BOOST_TEST(Has(StatusOf(Ask(*late, Numbered(1), lane)), absl::StatusCode::kUnauthenticated, place() + ": " + kOurs + ", which it says has expired"));
  }
  AwaitLine("a connection is ended: the peer's certificate has expired");
  CheckMember(*client);
}

BOOST_AUTO_TEST_CASE(a_server_with_an_expired_certificate_is_refused) {
  auto server = ServerWith(expired);
  auto client = ClientWith(member);
  BOOST_TEST(Has(StatusOf(Ask(*client, Numbered(1))), absl::StatusCode::kUnauthenticated, place() + ": the peer's certificate has expired"));
  AwaitLine(std::string("a connection is ended: ") + kOurs + ", which it says has expired");
}

BOOST_AUTO_TEST_CASE(a_foreign_certificate_is_refused_by_either_end) {
  auto server = ServerWith(member);
  auto client = ClientWith(member);
  auto stranger = ClientWith(foreign);   // to which the server's is foreign: it goes away first
  BOOST_TEST(Has(StatusOf(Ask(*stranger, Numbered(1))), absl::StatusCode::kUnauthenticated, place() + ": the peer's certificate is of a foreign authority"));
  AwaitLine(std::string("a connection is ended: ") + kOurs + ", which is of a foreign authority");
  TlsCertificates sly = foreign;   // that knows the server's authority
  sly.authorities = member.authorities;
  auto spy = ClientWith(sly);
  BOOST_TEST(Has(StatusOf(Ask(*spy, Numbered(1))), absl::StatusCode::kUnauthenticated, place() + ": " + kOurs + ", which is of a foreign authority"));
  AwaitLine("a connection is ended: the peer's certificate is of a foreign authority");
  CheckMember(*client);
}

BOOST_AUTO_TEST_CASE(another_certificate_of_the_authority_gets_in_whatever_its_name) {
  auto server = ServerWith(member);
  auto client = ClientWith(Made("other", {.name = "elsewhere.example", .ca_folder = folder + "/member"}));
  CheckMember(*client);
}

BOOST_AUTO_TEST_CASE(no_certificate_gets_nobody_in) {
  auto server = ServerWith(member);
  RawTls raw(place(), TLS1_3_VERSION);
  BOOST_TEST(SSL_connect(raw.ssl) == 1);   // the client's share is done; its certificate has not been looked at
  const std::string greeting = Greeting({.cluster_id = "job 7", .token = "secret", .build_id = "build"});
  SSL_write(raw.ssl, greeting.data(), static_cast<int>(greeting.size()));
  char byte;
  BOOST_TEST(SSL_read(raw.ssl, &byte, 1) <= 0);
  AwaitLine("a connection is ended: the peer has shown no certificate");
  auto client = ClientWith(member);
  CheckMember(*client);
}

BOOST_AUTO_TEST_CASE(older_versions_of_tls_are_refused) {
  auto server = ServerWith(member);
  RawTls raw(place(), TLS1_2_VERSION);
  BOOST_TEST(SSL_connect(raw.ssl) <= 0);
  AwaitLine("a connection is ended: garbage: TLS: unsupported protocol");
}

BOOST_AUTO_TEST_CASE(plain_text_where_tls_was_expected_is_refused_and_both_ends_say_so) {
  auto server = ServerWith(member);
  auto client = ClientWith(std::nullopt);
  for (const auto lane : {kControl, kBulk}) {
    BOOST_TEST(Has(StatusOf(Ask(*client, Numbered(1), lane)), absl::StatusCode::kFailedPrecondition,
                   place() + ": the peer speaks TLS, and this process has no certificates (--tls)"));
  }
  AwaitLine("a connection is ended: the peer speaks plain text where TLS was expected: it needs certificates (--tls)");
  CheckMember(*ClientWith(member));
}

BOOST_AUTO_TEST_CASE(tls_where_plain_text_was_expected_is_refused_and_both_ends_say_so) {
  auto server = ServerWith(std::nullopt);
  auto client = ClientWith(member);
  BOOST_TEST(Has(StatusOf(Ask(*client, Numbered(1))), absl::StatusCode::kFailedPrecondition,
                 place() + ": the peer does not speak TLS 1.3: it may have no certificates (--tls)"));
  AwaitLine("a connection is ended: the peer speaks TLS, and this process has no certificates (--tls)");
  CheckMember(*ClientWith(std::nullopt));
}

BOOST_AUTO_TEST_CASE(a_server_that_answers_with_something_else_is_no_peer) {
  const ListeningSocket other = ListenAt(place(), "token").value();
  bool asked = false, answered = false;   // Boost.Test is for one thread at a time
  std::thread answering([&] {
    pollfd ready{other.fd, POLLIN, 0};
    asked = ::poll(&ready, 1, 20'000) == 1;
    const int fd = ::accept(other.fd, nullptr, nullptr);
    answered = ::send(fd, "HTTP/1.1 400 Bad Request\r\n", 26, MSG_NOSIGNAL) == 26;
    char bytes[4096];
    while (::read(fd, bytes, sizeof bytes) > 0) {
    }
    ::close(fd);
  });
  auto client = ClientWith(member);
  BOOST_TEST(
      Has(StatusOf(Ask(*client, Numbered(1))), absl::StatusCode::kFailedPrecondition, place() + ": the peer answers in plain text where TLS was expected"));
  answering.join();
  BOOST_TEST(asked);
  BOOST_TEST(answered);
  StopListening(other);
}

BOOST_AUTO_TEST_CASE(a_certificate_does_not_replace_the_token_and_no_line_holds_one) {
  auto server = ServerWith(member);
  auto options = Options(kClient);
  options.tls = member;
  options.token = "a-guess-of-16-letters";
  auto guesser = Start(std::move(options));
  guesser->Locate(kServer, {place()});
  const absl::Status status = StatusOf(Ask(*guesser, Numbered(1)));
  BOOST_TEST(Has(status, absl::StatusCode::kUnauthenticated, "the token is wrong"));
  AwaitLine("token is wrong");
  BOOST_TEST(Message(status).find("a-guess") == std::string_view::npos);
  BOOST_TEST(Lines("a-guess") == 0u);
  BOOST_TEST(Lines("secret") == 0u);
  CheckMember(*ClientWith(member));
}

BOOST_AUTO_TEST_CASE(certificates_that_cannot_be_used_are_said_at_the_start) {
  auto options = ServerOptions();
  options.tls->key = foreign.key;
  BOOST_TEST(Has(RpcNetwork::Start(options).status(), absl::StatusCode::kInvalidArgument, "key.pem does not fit cert.pem"));
}

BOOST_AUTO_TEST_CASE(unix_sockets_need_no_certificate) {
  auto options = ServerOptions();
  options.listen = {"unix:" + path()};
  options.tls = member;
  auto server = Start(std::move(options));
  auto options_of_client = Options(kClient);
  options_of_client.tls = std::nullopt;
  auto client = Start(std::move(options_of_client));
  client->Locate(kServer, {"unix:" + path()});
  CheckMember(*client);
}

BOOST_AUTO_TEST_CASE(half_a_handshake_ends_after_the_time_for_hello) {
  auto options = ServerOptions();
  options.connect_timeout = milliseconds(50);
  auto server = Start(std::move(options));
  RawSocket silent(place()), half(place());
  half.Send("\x16\x03\x01\x02", 4);
  silent.Drain();
  half.Drain();
  AwaitLine("a connection is ended: no Hello in time");
}

BOOST_AUTO_TEST_CASE(a_peer_that_never_shakes_hands_times_out) {
  const ListeningSocket deaf = ListenAt(place(), "token").value();   // the system connects, nobody accepts
  auto options = Options(kClient);
  options.connect_timeout = milliseconds(20);
  auto client = Start(std::move(options));
  client->Locate(kServer, {place()});
  BOOST_TEST(TimesOutSaying(*client, kControl, place() + ": no Hello in time"));
  StopListening(deaf);
}

// ----------------------------------------------------------------------------------------------------------------------------------------------- roles

BOOST_DATA_TEST_CASE_F(TlsFixture, a_token_is_good_for_what_its_role_may_do, boost::unit_test::data::make({"unix", "tcp", "tls"}), transport) {
  Use(transport);
  auto options = ServerOptions();
  options.tokens = {{Role::kRead, "may read"}, {Role::kSubmit, "may submit"}};
  options.least_role = [](ActorId actor, uint64_t type) { return actor != kEcho || type > 2 ? Role::kAdmin : static_cast<Role>(type); };
  auto server = Start(std::move(options));
  server->Serve(ActorId{6}, [](Frame frame, const Network::Reply& reply) { reply(std::move(frame)); });
  const std::pair<const char*, uint64_t> tokens[] = {{"may read", 0}, {"may submit", 1}, {"secret", 2}};
  for (const auto& [token, may] : tokens) {
    auto client_options = Options(kClient);
    client_options.token = token;
    auto client = Start(std::move(client_options));
    client->Locate(kServer, {place()});
    for (const auto lane : {kControl, kBulk}) {
      for (uint64_t type = 0; type < 3; ++type) {
        const absl::Status status = StatusOf(Ask(*client, Numbered(type), lane));
        if (type <= may)
          BOOST_TEST(status.ToString() == "OK");
        else
          BOOST_TEST(Has(status, absl::StatusCode::kUnauthenticated,
                         std::string("a token for '") + ToString(static_cast<Role>(may)) + "' is not enough for this, which takes one for '" +
                             ToString(static_cast<Role>(type)) + "'"));
      }
      BOOST_TEST(StatusOf(Ask(*client, Numbered(0), lane, kLong, ActorId{6})).ok() == (may == 2));   // of no other actor was anything said
    }
  }
}

BOOST_AUTO_TEST_CASE(with_other_tokens_none_is_no_token) {
  auto options = ServerOptions();
  options.tokens = {{Role::kRead, "may read"}};
  options.token = "";
  BOOST_TEST(Has(RpcNetwork::Start(options).status(), absl::StatusCode::kInvalidArgument, "tokens with roles, but none of this process's own"));
  options.token = "secret";
  auto server = Start(std::move(options));
  auto without = Options(kClient);
  without.token = "";
  auto client = Start(std::move(without));
  client->Locate(kServer, {place()});
  BOOST_TEST(Has(StatusOf(Ask(*client, Numbered(0))), absl::StatusCode::kUnauthenticated, "a token is wanted, and none was sent"));
}

// ---------------------------------------------------------------------------------------------------------------------------------------------- floods

BOOST_DATA_TEST_CASE_F(TlsFixture, ten_thousand_strangers_change_nothing, boost::unit_test::data::make({"tcp", "tls"}), transport) {
  Use(transport);
  auto options = ServerOptions();
  options.connect_timeout = milliseconds(300);
  auto server = Start(std::move(options));
  auto client = Client();
  CheckMember(*client);
  Random random(11);
  const Block noise = Noise(random, 64 << 10);
  const auto flood = [&](int count) {
    std::deque<RawSocket> open;
    for (int i = 0; i < count; ++i) {
      RawSocket stranger(place());
      switch (i % 5) {
        case 0:
          stranger.Send(noise.data() + i % 1000, 1 + random.Below(2'000));
          break;   // anything
        case 1:
          break;   // nothing
        case 2:
          stranger.Send({0, 0x1fff'ffff});
          break;   // a message of 4 GiB
        case 3:
          stranger.Send("\x16\x03\x01\x40\x00\x01\x01\xff\xff", 9);
          break;   // a handshake that does not go on
        case 4:
          stranger.Send({uint32_t(random.Next()) % 512, 0x1ffe, 0, 0});
          break;   // segments that fit, and no more
      }
      if (random.Below(4) != 0) continue;
      open.push_back(std::move(stranger));   // stays
      if (open.size() > 200) open.pop_front();
      if (i % 500 == 0) BOOST_TEST(Same(*Ask(*client, Numbered(static_cast<uint64_t>(i))).get(), Numbered(static_cast<uint64_t>(i))));
    }
    for (const RawSocket& stranger : open) stranger.Drain();   // until the server has closed it
  };
  flood(1'000);   // what is allocated once
  const size_t descriptors = OpenDescriptors();
  const long before = ResidentKib();
  flood(10'000);
  CheckMember(*client);
  const long after = ResidentKib();
  BOOST_TEST_MESSAGE("resident " << before << " KiB, then " << after << " KiB");
#ifndef __SANITIZE_ADDRESS__   // which keeps what was let go for a while
  BOOST_TEST(after - before < 4 << 10);
#endif
  AwaitLine("a connection is refused: too many from one address, at most 256 at once and 64 a second without Hello");
  for (int i = 0; i < 2'000 && OpenDescriptors() > descriptors; ++i) std::this_thread::sleep_for(milliseconds(10));   // those that were closed last
  BOOST_TEST(OpenDescriptors() <= descriptors);
  BOOST_TEST(lines.size() < 6'000u);
  auto late = Client();   // another member gets in once the flood is over
  CheckMember(*late);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
