// What only TCP does: ports, names, several connections that are one link, strangers from outside; and the choice between places.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <map>

#include "actors/rpc_network.h"
#include "tests/support/link_fixture.h"
#include "tests/support/raw_link.h"

namespace troupe {
namespace {

using namespace testing;

const auto kTcpKinds = boost::unit_test::data::make({"tcp", "tls"});

struct TcpFixture : LinkFixture {
  TcpFixture() { Use("tcp"); }
  /// This process's ends of connections that were made to `port`, one descriptor each.
  static std::vector<int> ConnectionsTo(uint16_t port) {
    std::map<uint16_t, int> found;   // by their own port: a full socket has a second descriptor
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      const int fd = std::stoi(entry.path().filename().string());
      SocketAddress peer, own;
      peer.size = own.size = sizeof peer.local;
      if (::getpeername(fd, &peer.any, &peer.size) != 0 || ::getsockname(fd, &own.any, &own.size) != 0) continue;
      if (peer.any.sa_family == AF_INET && ntohs(peer.ipv4.sin_port) == port) found[own.ipv4.sin_port] = fd;
    }
    std::vector<int> descriptors;
    for (const auto& [own, fd] : found) descriptors.push_back(fd);
    return descriptors;
  }
  std::vector<int> Connections() const { return ConnectionsTo(ParsePlace(port.place()).value().port); }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(RpcNetworkTcpSuite, TcpFixture)

BOOST_AUTO_TEST_CASE(port_0_takes_one_that_is_free_and_says_which) {
  auto options = ServerOptions();
  options.listen = {"tcp:127.0.0.1:0", "tcp:127.0.0.1:0", "tcp:localhost:0"};
  auto server = Start(std::move(options));
  const std::vector<std::string> places = server->places();
  BOOST_TEST_REQUIRE(places.size() == 3u);
  BOOST_TEST(places[0] != places[1]);
  BOOST_TEST(places[2].starts_with("tcp:localhost:"));
  for (const std::string& place : places) {
    BOOST_TEST(ParsePlace(place).value().port > 0);
    auto client = Start(Options(kClient));
    client->Locate(kServer, {place});
    BOOST_TEST(Same(*Ask(*client, Numbered(1)).get(), Numbered(1)));
  }
}

BOOST_AUTO_TEST_CASE(ipv6_in_brackets) {
  auto options = ServerOptions();
  options.listen = {"tcp:[::1]:0"};
  auto server = RpcNetwork::Start(std::move(options));
  if (!server.ok()) {   // a host without IPv6
    BOOST_TEST(Has(server.status(), absl::StatusCode::kUnavailable, "tcp:[::1]:0: "));
    return;
  }
  BOOST_TEST((*server)->places()[0].starts_with("tcp:[::1]:"));
  auto client = Start(Options(kClient));
  client->Locate(kServer, (*server)->places());
  BOOST_TEST(Same(*Ask(*client, Numbered(1)).get(), Numbered(1)));
}

BOOST_AUTO_TEST_CASE(a_port_in_use_is_an_error_with_the_place) {
  auto server = Server();
  auto options = Options(kServer);
  options.listen = {"unix:" + path(), place()};
  BOOST_TEST(Has(RpcNetwork::Start(options).status(), absl::StatusCode::kUnavailable, place() + ": "));
  BOOST_TEST(Has(RpcNetwork::Start(options).status(), absl::StatusCode::kUnavailable, "Address already in use"));
  BOOST_TEST(!std::filesystem::exists(path()));   // the place before it is given back
}

BOOST_AUTO_TEST_CASE(other_hosts_get_in_only_with_a_token_and_certificates) {
  auto options = ServerOptions();
  options.listen = {"tcp:0.0.0.0:0"};
  const auto refusal = [&](const std::string& token, bool certificates) {
    options.token = token;
    options.tls = certificates ? std::optional(Members()) : std::nullopt;
    return RpcNetwork::Start(options).status();
  };
  const std::string expected = ", expected a token and certificates (--token-file, --tls), or a loopback address";
  const std::string open = "tcp:0.0.0.0:0: other hosts can connect there and there is no ";
  BOOST_TEST(Has(refusal("", false), absl::StatusCode::kInvalidArgument, open + "token and no TLS" + expected));
  BOOST_TEST(Has(refusal("", true), absl::StatusCode::kInvalidArgument, open + "token" + expected));
  BOOST_TEST(Has(refusal("secret", false), absl::StatusCode::kInvalidArgument, open + "TLS" + expected));
  options.token = "secret";
  options.tls = Members();
  auto server = Start(std::move(options));
  Use("tls");
  auto client = Start(Options(kClient));
  client->Locate(kServer, {"tcp:127.0.0.1:" + std::to_string(ParsePlace(server->places()[0]).value().port)});
  BOOST_TEST(Same(*Ask(*client, Numbered(1)).get(), Numbered(1)));
}

BOOST_AUTO_TEST_CASE(no_token_is_sent_beyond_this_host_in_plain_text) {
  auto client = Start(Options(kClient));
  client->Locate(kServer, {"tcp:192.0.2.1:7"});   // of no host (RFC 5737)
  BOOST_TEST(Has(StatusOf(Ask(*client, Numbered(1))), absl::StatusCode::kFailedPrecondition, "tcp:192.0.2.1:7: beyond this host links take certificates"));
}

BOOST_AUTO_TEST_CASE(bulk_connections_are_at_least_one) {
  auto options = Options(kClient);
  options.bulk_connections = 0;
  BOOST_TEST(Has(RpcNetwork::Start(options).status(), absl::StatusCode::kInvalidArgument, "bulk_connections is 0, expected at least 1"));
}

BOOST_AUTO_TEST_CASE(a_name_that_does_not_resolve_times_out_and_says_so) {
  auto server = Server();
  auto client = Start(Options(kClient));
  const std::string nowhere = "tcp:" + std::string(70, 'x') + ".invalid:80";
  client->Locate(kServer, {nowhere});
  BOOST_TEST(Has(StatusOf(Ask(*client, Frame{}, kControl, milliseconds(50))), absl::StatusCode::kDeadlineExceeded, nowhere + ": "));
  client->Locate(kServer, {nowhere, place()});
  BOOST_TEST(Same(*Ask(*client, Numbered(1)).get(), Numbered(1)));
  client->Locate(kServer, {nowhere});
  auto pending = Ask(*client, Numbered(2));
  client.reset();   // while somebody may be looking it up
  BOOST_TEST((StatusOf(std::move(pending)).code() == absl::StatusCode::kCancelled));
}

BOOST_DATA_TEST_CASE_F(TcpFixture, refused_and_then_there, kTcpKinds, transport) {
  Use(transport);
  auto client = Client();
  BOOST_TEST(TimesOutSaying(*client, kBulk, place() + ": Connection refused"));
  auto waiting = Ask(*client, Numbered(1), kBulk);
  auto server = Server();
  BOOST_TEST(Same(*waiting.get(), Numbered(1)));
}

BOOST_DATA_TEST_CASE_F(TcpFixture, big_frames_take_turns_and_keep_their_order, kTcpKinds, transport) {
  Use(transport);
  std::vector<uint64_t> seen;
  auto options = ServerOptions();
  options.handlers = {{kEcho, [&](Frame frame, const Network::Reply& reply) {
                         seen.push_back(frame.type);
                         reply(std::move(frame));
                       }}};
  auto server = Start(std::move(options));
  auto client = Client();
  Random random(5);
  std::vector<std::pair<Frame, std::future<absl::StatusOr<Frame>>>> asked;
  for (uint64_t i = 0; i < 200; ++i) {
    Frame frame{i, {}, {Noise(random, random.Below(4) == 0 ? 900'000 : 3 + random.Below(5'000))}};   // small ones arrive before big ones that were sent first
    auto answer = Ask(*client, frame, kBulk);
    asked.emplace_back(std::move(frame), std::move(answer));
  }
  for (auto& [frame, answer] : asked) {
    auto reply = answer.get();
    BOOST_TEST_REQUIRE(reply.status().ToString() == "OK");
    BOOST_TEST_REQUIRE(Same(*reply, frame));
  }
  BOOST_TEST(Connections().size() == 4u);
  server.reset();
  BOOST_TEST(seen.size() == 200u);
  BOOST_TEST(std::is_sorted(seen.begin(), seen.end()));
}

BOOST_DATA_TEST_CASE_F(TcpFixture, one_lost_connection_ends_the_link_and_a_new_one_is_made, kTcpKinds, transport) {
  Use(transport);
  auto server = Server();
  std::mutex held_mutex;
  std::vector<Network::Reply> held;
  std::promise<void> all;
  server->Serve(ActorId{6}, [&](const Frame&, Network::Reply reply) {
    std::lock_guard lock(held_mutex);
    held.push_back(std::move(reply));
    if (held.size() == 8) all.set_value();
  });
  auto client = Client();
  BOOST_TEST(Same(*Ask(*client, Numbered(0), kControl).get(), Numbered(0)));
  const std::vector<int> control = Connections();
  BOOST_TEST_REQUIRE(control.size() == 1u);
  std::vector<std::future<absl::StatusOr<Frame>>> answers;
  for (int i = 0; i < 8; ++i) answers.push_back(Ask(*client, Frame{1, {}, {Block::Copy(std::string(5'000, 'x').data(), 5'000)}}, kBulk, kLong, ActorId{6}));
  all.get_future().wait();
  std::vector<int> bulk = Connections();
  std::erase(bulk, control[0]);
  BOOST_TEST_REQUIRE(bulk.size() == 4u);
  ::shutdown(bulk[2], SHUT_RDWR);
  for (auto& answer : answers) BOOST_TEST(Has(StatusOf(std::move(answer)), absl::StatusCode::kUnavailable, "lost the connection to node 1"));
  for (uint64_t i = 1; i < 20; ++i) BOOST_TEST(Same(*Ask(*client, Numbered(i), kBulk).get(), Numbered(i)));
  BOOST_TEST(Same(*Ask(*client, Numbered(20), kControl).get(), Numbered(20)));
  BOOST_TEST(Connections().size() == 5u);   // four new ones, and control's
  std::lock_guard lock(held_mutex);
  for (auto& reply : held) reply(Frame{});   // to nobody
}

BOOST_DATA_TEST_CASE_F(TcpFixture, a_peer_that_falls_silent_hangs_nobody, kTcpKinds, transport) {
  Use(transport);
  auto server = Server();
  std::promise<void> silent, go_on;
  server->Serve(ActorId{6}, [&](const Frame&, const Network::Reply& reply) {
    silent.set_value();
    go_on.get_future().wait();   // the whole link thread stands, as in a stopped process: the system still takes some bytes
    reply(Frame{});
  });
  auto client = Client();
  Ask(*client, Numbered(1), kBulk).wait();
  auto stuck = Ask(*client, Frame{}, kControl, kLong, ActorId{6});
  silent.get_future().wait();
  std::vector<std::future<absl::StatusOr<Frame>>> answers;
  const Block block = BlockBuilder(8 << 20).Finish();
  for (int i = 0; i < 6; ++i) answers.push_back(Ask(*client, Frame{1, {}, {block}}, kBulk, milliseconds(100)));
  answers.push_back(Ask(*client, Numbered(2), kControl, milliseconds(100)));
  auto late = Start(Options(kClient));   // one that connects only now: the system does, Hello is not answered
  late->Locate(kServer, {place()});
  answers.push_back(Ask(*late, Numbered(3), kBulk, milliseconds(100)));
  for (auto& answer : answers) BOOST_TEST(Has(StatusOf(std::move(answer)), absl::StatusCode::kDeadlineExceeded, "no answer within 100 ms"));
  go_on.set_value();
  BOOST_TEST(StatusOf(std::move(stuck)).ToString() == "OK");
  BOOST_TEST(Same(*Ask(*client, Numbered(4), kBulk).get(), Numbered(4)));
  BOOST_TEST(Same(*Ask(*client, Numbered(5), kControl).get(), Numbered(5)));
}

BOOST_DATA_TEST_CASE_F(TcpFixture, the_unix_socket_is_taken_where_it_can_be_reached, kTcpKinds, transport) {
  Use(transport);
  auto options = ServerOptions();
  options.listen = {place(), "unix:" + path()};
  auto server = Start(std::move(options));
  auto client = Start(Options(kClient));
  client->Locate(kServer, {place(), "unix:" + path()});
  for (const auto lane : {kControl, kBulk}) BOOST_TEST(Same(*Ask(*client, Numbered(1), lane).get(), Numbered(1)));
  BOOST_TEST(Connections().empty());
  client->Locate(kServer, {place(), "unix:" + folder + "/of-another-host"});
  for (const auto lane : {kControl, kBulk}) BOOST_TEST(Same(*Ask(*client, Numbered(2), lane).get(), Numbered(2)));
  BOOST_TEST(Connections().size() == 5u);
}

BOOST_DATA_TEST_CASE_F(TcpFixture, a_place_where_another_node_answers_is_passed_over, kTcpKinds, transport) {
  Use(transport);
  auto server = Server();
  auto options = Options(NodeId{7});
  options.listen = {"unix:" + path()};
  options.cluster_id = "job 8";
  auto stranger = Start(std::move(options));
  auto client = Start(Options(kClient));
  client->Locate(kServer, {"unix:" + path(), place()});
  BOOST_TEST(Same(*Ask(*client, Numbered(1)).get(), Numbered(1)));
  server.reset();   // it may come back: what the stranger says is not final
  Ask(*client, Numbered(2), kControl, milliseconds(10)).wait();
  auto waiting = Ask(*client, Numbered(3));
  server = Server(2);
  BOOST_TEST(Same(*waiting.get(), Numbered(3)));
  client->Locate(kServer, {"unix:" + path()});   // nobody else to ask
  BOOST_TEST(Has(StatusOf(Ask(*client, Numbered(4))), absl::StatusCode::kFailedPrecondition, "'job 7', expected 'job 8'"));
}

BOOST_DATA_TEST_CASE_F(TcpFixture, a_flood_of_strangers_is_cut_and_ends, kTcpKinds, transport) {
  Use(transport);
  auto options = ServerOptions();
  options.connect_timeout = milliseconds(1'500);
  auto server = Start(std::move(options));
  std::vector<RawSocket> strangers;
  for (int i = 0; i < 256; ++i) strangers.emplace_back(place());
  RawSocket one_more(place());
  one_more.Drain();
  BOOST_TEST(FirstLine() == "a connection is refused: 256 are open, 256 of them without Hello");
  auto client = Client();
  BOOST_TEST(Same(*Ask(*client, Numbered(1), kBulk).get(), Numbered(1)));   // when their time for Hello is over
  for (const RawSocket& stranger : strangers) stranger.Drain();
}

BOOST_AUTO_TEST_CASE(memory_is_never_shared_over_tcp) {
  auto server = Server();
  const std::string greeting = Greeting({.cluster_id = "job 7", .token = "secret", .build_id = "build"});   // offers to
  const auto shares = [&](const std::string& at) {
    RawSocket raw(at);
    raw.Send(greeting.data(), greeting.size());
    std::vector<capnp::word> words(4096);
    size_t got = 0;
    for (;;) {
      const ssize_t more = ::read(raw.fd, reinterpret_cast<char*>(words.data()) + got, words.size() * sizeof(capnp::word) - got);
      BOOST_TEST_REQUIRE(more > 0);
      got += static_cast<size_t>(more);
      kj::ArrayPtr<const capnp::word> rest(words.data(), got / sizeof(capnp::word));
      while (rest.size() > 0 && capnp::expectedSizeInWordsFromPrefix(rest) <= rest.size()) {
        capnp::FlatArrayMessageReader message(rest);
        const auto root = message.getRoot<capnp::rpc::Message>();
        if (root.isReturn() && root.getReturn().getAnswerId() == 1) {
          const auto results = root.getReturn().getResults().getContent().getAs<wire::Link::HelloResults>();
          BOOST_TEST(results.getCode() == 0);
          return results.getHello().getShares();
        }
        rest = kj::arrayPtr(message.getEnd(), rest.end());
      }
    }
  };
  BOOST_TEST(!shares(place()));
  auto options = ServerOptions(2);
  options.listen = {"unix:" + path()};
  auto local = Start(std::move(options));
  BOOST_TEST(shares("unix:" + path()));

  const std::string request = Request({.actor = 5, .shared = true});
  RawSocket raw(place());
  raw.Send(greeting.data(), greeting.size());
  raw.Send(request.data(), request.size());
  raw.Drain();
  AwaitLine("the descriptor of shared segment 1 has not come");
}

BOOST_AUTO_TEST_CASE(a_message_over_the_limit_ends_that_connection_also_after_hello) {
  auto server = Server();
  const std::string greeting = Greeting({.cluster_id = "job 7", .token = "secret", .build_id = "build"});
  RawSocket raw(place());
  raw.Send(greeting.data(), greeting.size());
  raw.Send({0, (65 << 20) / 8});
  raw.Drain();
  AwaitLine("oversized message: 68157448 bytes, at most 67174400");
  auto client = Client();
  BOOST_TEST(Same(*Ask(*client, Numbered(1)).get(), Numbered(1)));
}

BOOST_AUTO_TEST_CASE(requests_out_of_order_wait_within_limits) {
  auto options = ServerOptions();
  options.in_flight_bytes_max = 1'000;
  std::vector<size_t> seen;
  std::promise<void> three, seven;
  options.handlers = {{kEcho, [&](const Frame&, const Network::Reply& reply) {
                         seen.push_back(seen.size());
                         if (seen.size() == 3) three.set_value();
                         if (seen.size() == 7) seven.set_value();
                         reply(Frame{});
                       }}};
  auto server = Start(std::move(options));
  const auto hello = [](uint64_t link) { return Greeting({.cluster_id = "job 7", .token = "secret", .build_id = "build", .link = link}); };
  const auto send = [](const RawSocket& to, const std::string& bytes) { to.Send(bytes.data(), bytes.size()); };
  RawSocket first(place()), second(place());
  send(first, hello(77) + Request({.question = 2, .actor = 5, .order = 3}) + Request({.question = 3, .actor = 5, .order = 2}));
  send(second, hello(77) + Request({.question = 2, .actor = 5, .order = 1}));
  three.get_future().wait();
  send(second, Request({.question = 3, .actor = 5, .order = 2}));   // has been
  first.Drain();                                                    // one ends both
  second.Drain();
  AwaitLine("garbage: a second request of order 2");
  RawSocket alone(place()), unordered(place());
  send(alone, hello(0) + Request({.actor = 5, .order = 1}));
  alone.Drain();
  AwaitLine("a request with an order on a connection that is alone");
  send(unordered, hello(78) + Request({.actor = 5}));
  unordered.Drain();
  AwaitLine("a second request of order 0");
  std::vector<RawSocket> many;   // of one connection so much is not even read
  for (uint32_t i = 0; i < 4; ++i) {
    many.emplace_back(place());
    send(many.back(), hello(79) + Request({.question = 2, .actor = 5, .order = i + 1}));
  }
  seven.get_future().wait();   // all four are of the link: one that came when it had ended would begin another
  for (uint32_t i = 0; i < 4; ++i) {
    std::string requests;
    for (uint32_t n = 3; n < 41; ++n) requests += Request({.question = n, .actor = 5, .order = 100 * i + 100 + n});
    send(many[i], requests);
  }
  for (const RawSocket& one : many) one.Drain();
  AwaitLine("more than 2000 bytes of requests before the one of order 5");
  auto client = Client();
  BOOST_TEST(Ask(*client, Numbered(1), kBulk).get().status().ToString() == "OK");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
