// RpcNetwork: two networks in this process, and raw sockets that send what no network would; over Unix sockets and over TCP.
#include "actors/rpc_network.h"

#include <sys/socket.h>

#include <atomic>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <future>
#include <mutex>
#include <thread>

#include "tests/support/link_fixture.h"

namespace troupe {
namespace {

using namespace testing;

const auto kTransports = boost::unit_test::data::make({"unix", "tcp", "tcp 1", "tls"});
const auto kKinds = boost::unit_test::data::make({"unix", "tcp", "tls"});
const auto kPlainKinds = boost::unit_test::data::make({"unix", "tcp"});

}   // namespace

BOOST_FIXTURE_TEST_SUITE(RpcNetworkSuite, LinkFixture)

BOOST_DATA_TEST_CASE_F(LinkFixture, frames_come_back_as_they_were_sent, kTransports, transport) {
  Use(transport);
  auto server = Server();
  auto client = Client();
  Random random(1);
  for (const size_t size : {0, 1, 7, 8, 9, 63, 64, 2047, 2048, 2049, 16383, 16384, 65535, 65536, 65541, (1 << 20) - 1, 1 << 20, (1 << 20) + 3, 5 << 20}) {
    const Block block = Noise(random, size);
    for (const auto lane : {kControl, kBulk}) {
      const Frame frame{random.Next(), Noise(random, size % 1000), {block, Noise(random, 3001), block}};
      auto answer = Ask(*client, frame, lane).get();
      BOOST_TEST_REQUIRE(answer.status().ToString() == "OK");
      BOOST_TEST_REQUIRE(Same(*answer, frame), "size " << size);
    }
  }
}

BOOST_DATA_TEST_CASE_F(LinkFixture, a_block_may_start_anywhere_and_lives_until_it_is_sent, kTransports, transport) {
  Use(transport);
  auto server = Server();
  auto client = Client();
  Random random(2);
  const Block whole = Noise(random, 100'000);
  for (size_t offset = 0; offset < 20; ++offset) {
    auto answer = Ask(*client, Frame{1, {}, {Block::Copy(whole.data(), whole.size()).Slice(offset, 50'001)}}).get();   // nobody else holds the copy
    BOOST_TEST_REQUIRE(answer.status().ToString() == "OK");
    BOOST_TEST_REQUIRE(Same(answer->bulk[0], whole.Slice(offset, 50'001)));
  }
}

BOOST_DATA_TEST_CASE_F(LinkFixture, what_another_thread_has_asked_goes_before_what_the_link_thread_asks_after_it, kKinds, transport) {
  Use(transport);
  auto server = NotingServer();
  auto client = Client();
  std::promise<std::pair<std::future<absl::StatusOr<Frame>>, std::future<absl::StatusOr<Frame>>>> both;
  client->Request(Address{kServer, Incarnation{1}, kEcho}, Numbered(1), kControl, milliseconds(5000),
                  [&](const absl::StatusOr<Frame>&) {   // on the link thread
                    std::future<absl::StatusOr<Frame>> second;
                    std::thread([&] { second = Ask(*client, Numbered(2)); }).join();
                    auto third = Ask(*client, Numbered(3));
                    both.set_value({std::move(second), std::move(third)});
                  });
  auto [second, third] = both.get_future().get();
  BOOST_TEST(second.get().status().ToString() == "OK");
  BOOST_TEST(third.get().status().ToString() == "OK");
  std::lock_guard lock(mutex);
  BOOST_TEST(seen == (std::vector<uint64_t>{1, 2, 3}), boost::test_tools::per_element());
}

BOOST_DATA_TEST_CASE_F(LinkFixture, a_received_block_outlives_both_networks, kTransports, transport) {
  Use(transport);
  Random random(3);
  const Block block = Noise(random, 300'000);
  Block kept, kept_by_server;
  {
    auto server = Server();
    server->Serve(kEcho, [&](Frame frame, const Network::Reply& reply) {
      kept_by_server = frame.bulk[0];
      reply(std::move(frame));
    });
    auto client = Client();
    kept = Ask(*client, Frame{1, {}, {block}}).get()->bulk[0];
    for (int i = 0; i < 20; ++i) Ask(*client, Frame{1, {}, {Noise(random, 300'000)}}).get().IgnoreError();
    server->Withdraw(kEcho);
    kept_by_server = Block();
    server->Serve(kEcho, [&](const Frame& frame, const Network::Reply& reply) {
      kept_by_server = frame.bulk[0];
      reply(Frame{});
    });
    Ask(*client, Frame{1, {}, {block}}).get().IgnoreError();
  }
  BOOST_TEST(Same(kept, block));
  BOOST_TEST(Same(kept_by_server, block));
}

BOOST_DATA_TEST_CASE_F(LinkFixture, many_requests_of_several_threads_are_all_answered, kTransports, transport) {
  Use(transport);
  auto server = Server();
  auto client = Client();
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(static_cast<uint64_t>(t));
      std::vector<std::pair<Frame, std::future<absl::StatusOr<Frame>>>> asked;
      for (int i = 0; i < 500; ++i) {
        Frame frame{random.Next(), Noise(random, random.Below(100)), {Noise(random, random.Below(i % 20 == 0 ? 200'000 : 500))}};
        auto answer = Ask(*client, frame, random.Below(2) == 0 ? kControl : kBulk);
        asked.emplace_back(std::move(frame), std::move(answer));
      }
      for (auto& [frame, answer] : asked) {
        auto reply = answer.get();
        if (!reply.ok() || !Same(*reply, frame)) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  BOOST_TEST(wrong == 0);
}

BOOST_DATA_TEST_CASE_F(LinkFixture, answers_of_other_threads_and_after_the_handler_arrive, kKinds, transport) {
  Use(transport);
  auto server = Server();
  std::vector<std::thread> threads;
  server->Serve(kEcho, [&](Frame frame, Network::Reply reply) {
    threads.emplace_back([frame = std::move(frame), reply = std::move(reply)]() mutable { reply(std::move(frame)); });
  });
  auto client = Client();
  std::vector<std::future<absl::StatusOr<Frame>>> answers;
  for (uint64_t i = 0; i < 50; ++i) answers.push_back(Ask(*client, Numbered(i)));
  for (uint64_t i = 0; i < 50; ++i) BOOST_TEST(Same(*answers[i].get(), Numbered(i)));
  server.reset();
  for (auto& thread : threads) thread.join();
}

BOOST_DATA_TEST_CASE_F(LinkFixture, order_holds_within_a_lane_also_while_connecting_and_short_of_credit, kTransports, transport) {
  Use(transport);
  auto options = Options(kClient);
  options.in_flight_bytes_max = 3'000;
  auto client = Start(std::move(options));
  client->Locate(kServer, {place()});
  constexpr uint64_t kCount = 400;
  std::vector<uint64_t> seen;
  std::vector<std::future<absl::StatusOr<Frame>>> answers;
  for (uint64_t i = 0; i < kCount / 2; ++i) answers.push_back(Ask(*client, Frame{i, {}, {Block::Copy(std::string(i * 10, 'x').data(), i * 10)}}, kBulk));
  auto server_options = ServerOptions();
  server_options.handlers = {{kEcho, [&](const Frame& frame, const Network::Reply& reply) {
                                seen.push_back(frame.type);
                                reply(Frame{});
                              }}};
  auto server = Start(std::move(server_options));
  for (uint64_t i = kCount / 2; i < kCount; ++i) answers.push_back(Ask(*client, Numbered(i), kBulk));
  for (auto& answer : answers) BOOST_TEST(answer.get().status().ToString() == "OK");
  server.reset();
  BOOST_TEST(seen.size() == kCount);
  BOOST_TEST(std::is_sorted(seen.begin(), seen.end()));
}

BOOST_DATA_TEST_CASE_F(LinkFixture, credit_bounds_what_is_unanswered, kTransports, transport) {
  Use(transport);
  auto server = Server();
  std::mutex held_mutex;
  std::vector<Network::Reply> held;
  std::promise<void> two;
  server->Serve(kEcho, [&](const Frame&, Network::Reply reply) {
    std::lock_guard lock(held_mutex);
    held.push_back(std::move(reply));
    if (held.size() == 2) two.set_value();
  });
  server->Serve(ActorId{6}, [](const Frame&, const Network::Reply& reply) { reply(Frame{}); });
  auto options = Options(kClient);
  options.in_flight_bytes_max = 20'000;
  auto client = Start(std::move(options));
  client->Locate(kServer, {place()});
  const Block block = Block::Copy(std::string(10'000, 'x').data(), 10'000);
  std::vector<std::future<absl::StatusOr<Frame>>> answers;
  for (int i = 0; i < 2; ++i) answers.push_back(Ask(*client, Frame{1, {}, {block}}));
  two.get_future().wait();
  BOOST_TEST(Has(StatusOf(Ask(*client, Frame{1, {}, {block}}, kControl, milliseconds(20))), absl::StatusCode::kDeadlineExceeded, "within 20 ms"));
  BOOST_TEST(Ask(*client, Frame{1, {}, {block}}, kBulk, kLong, ActorId{6}).get().status().ToString() == "OK");   // the other lane is free
  BOOST_TEST(held.size() == 2u);
  answers.push_back(Ask(*client, Frame{2, {}, {block}}, kControl, kLong, ActorId{6}));
  for (auto& reply : held) reply(Frame{});
  for (auto& answer : answers) BOOST_TEST(answer.get().status().ToString() == "OK");
}

BOOST_DATA_TEST_CASE_F(LinkFixture, the_error_of_a_handler_arrives_with_code_and_message, kKinds, transport) {
  Use(transport);
  auto server = Server();
  server->Serve(kEcho, [](const Frame&, const Network::Reply& reply) { reply(absl::OutOfRangeError("key 7 is outside [0, 5)")); });
  auto client = Client();
  BOOST_TEST(Has(StatusOf(Ask(*client, Frame{})), absl::StatusCode::kOutOfRange, "key 7 is outside [0, 5)"));
  server->Serve(kEcho, [](const Frame&, const Network::Reply&) {});
  BOOST_TEST(Has(StatusOf(Ask(*client, Frame{})), absl::StatusCode::kUnavailable, "without an answer"));
  server->Withdraw(kEcho);
  BOOST_TEST(Has(StatusOf(Ask(*client, Frame{})), absl::StatusCode::kUnavailable, "node 1 has no actor 5"));
}

BOOST_DATA_TEST_CASE_F(LinkFixture, frames_over_the_limits_are_refused_by_the_sender, kKinds, transport) {
  Use(transport);
  auto server = Server();
  server->Serve(kEcho, [](const Frame& frame, const Network::Reply& reply) {
    Frame big;
    big.bulk.resize(frame.type);
    reply(std::move(big));
  });
  auto client = Client();
  const Block half = BlockBuilder(kFrameBytesMax / 2).Finish();
  BOOST_TEST(Has(StatusOf(Ask(*client, Frame{0, {}, {half, half, Block::Copy("x", 1)}})), absl::StatusCode::kInvalidArgument, "67108865 bytes, at most"));
  BOOST_TEST(Has(StatusOf(Ask(*client, Frame{0, {}, std::vector<Block>(17)})), absl::StatusCode::kInvalidArgument, "17 blocks, at most 16"));
  BOOST_TEST(Has(StatusOf(Ask(*client, Frame{17, {}, {}})), absl::StatusCode::kInvalidArgument, "17 blocks, at most 16"));
  BOOST_TEST(Ask(*client, Frame{16, {}, {half, half}}, kBulk).get()->bulk.size() == 16u);
}

BOOST_DATA_TEST_CASE_F(LinkFixture, a_handler_that_never_answers_times_out_and_harms_nobody, kKinds, transport) {
  Use(transport);
  auto server = Server();
  std::vector<Network::Reply> held;
  server->Serve(ActorId{6}, [&](const Frame&, Network::Reply reply) { held.push_back(std::move(reply)); });
  auto client = Client();
  auto silent = Ask(*client, Numbered(1), kControl, milliseconds(15), ActorId{6});
  BOOST_TEST(Ask(*client, Numbered(2)).get().status().ToString() == "OK");
  BOOST_TEST(Has(StatusOf(std::move(silent)), absl::StatusCode::kDeadlineExceeded, "node 1 gave no answer within 15 ms"));
  BOOST_TEST(Ask(*client, Numbered(3)).get().status().ToString() == "OK");
  server.reset();
  for (auto& reply : held) reply(Frame{});   // to nobody
}

BOOST_DATA_TEST_CASE_F(LinkFixture, a_node_that_cannot_be_reached_times_out_and_says_why, kKinds, transport) {
  Use(transport);
  auto client = Client();
  BOOST_TEST(TimesOutSaying(*client, kControl, tcp ? "Connection refused" : "No such file"));
  client->Locate(kServer, {"tcp:somewhere", "unix:"});
  BOOST_TEST(TimesOutSaying(*client, kBulk, "'tcp:somewhere' is no place to connect to, expected unix:/path or tcp:HOST:PORT; 'unix:' is no place"));
  auto lost = Start(Options(kClient));
  BOOST_TEST(Has(StatusOf(Ask(*lost, Frame{}, kControl, milliseconds(10))), absl::StatusCode::kDeadlineExceeded, "nobody has said where"));
}

BOOST_DATA_TEST_CASE_F(LinkFixture, a_peer_that_never_says_hello_times_out, kKinds, transport) {
  Use(transport);
  const ListeningSocket deaf = ListenAt(place(), "token").value();   // the system connects, nobody accepts
  auto options = Options(kClient);
  options.connect_timeout = milliseconds(5);
  auto client = Start(std::move(options));
  client->Locate(kServer, {place()});
  BOOST_TEST(Has(StatusOf(Ask(*client, Frame{}, kControl, milliseconds(30))), absl::StatusCode::kDeadlineExceeded, "Hello"));
  StopListening(deaf);
}

BOOST_DATA_TEST_CASE_F(LinkFixture, a_request_waits_for_a_node_that_listens_later, kTransports, transport) {
  Use(transport);
  auto client = Client();
  auto first = Ask(*client, Numbered(1));
  auto second = Ask(*client, Numbered(2), kBulk);
  Ask(*client, Numbered(3), kControl, milliseconds(12)).wait();   // some attempts have failed by now
  auto server = Server();
  BOOST_TEST(Same(*second.get(), Numbered(2)));
  BOOST_TEST(Same(*first.get(), Numbered(1)));
}

BOOST_DATA_TEST_CASE_F(LinkFixture, a_lost_connection_ends_requests_at_once_and_a_new_life_answers, kTransports, transport) {
  Use(transport);
  auto server = Server(7);
  std::promise<void> arrived;
  std::vector<Network::Reply> held;
  server->Serve(ActorId{6}, [&](const Frame&, Network::Reply reply) {
    held.push_back(std::move(reply));
    arrived.set_value();
  });
  auto client = Client();
  auto pending = Ask(*client, Numbered(1), kControl, kLong, ActorId{6}, 7);
  arrived.get_future().wait();
  server.reset();
  BOOST_TEST(Has(StatusOf(std::move(pending)), absl::StatusCode::kUnavailable, "lost the connection to node 1"));
  auto waiting = Ask(*client, Numbered(2), kControl, kLong, kEcho, 7);
  server = Server(8);
  BOOST_TEST(Has(StatusOf(std::move(waiting)), absl::StatusCode::kUnavailable, "node 1 is incarnation 8, expected 7"));
  BOOST_TEST(Same(*Ask(*client, Numbered(3), kControl, kLong, kEcho, 8).get(), Numbered(3)));
  BOOST_TEST(Same(*Ask(*client, Numbered(4), kBulk).get(), Numbered(4)));
}

BOOST_AUTO_TEST_CASE(whoever_asks_an_old_life_again_and_again_while_the_new_one_is_being_located_reaches_it) {
  const auto old_life = Server(7);   // stays up, as behind a cable that is cut
  const auto client = Client();
  BOOST_TEST(StatusOf(Ask(*client, Numbered(1))).ok());
  auto options = Options(kServer, 8);
  options.listen = {"unix:" + folder + "/new"};
  options.handlers = {{kEcho, [](Frame frame, const Network::Reply& reply) { reply(std::move(frame)); }}};
  const auto new_life = Start(std::move(options));
  std::promise<void> reached;
  std::atomic<int> inside = 0, within = 0, refused = 0;
  std::function<void()> ask;
  const auto again = [&](const absl::StatusOr<Frame>& answer) {
    within += inside;
    if (answer.ok()) return reached.set_value();
    ++refused;
    ask();
  };
  ask = [&] {
    ++inside;
    client->Request({kServer, Incarnation{8}, kEcho}, Numbered(2), kControl, kLong, again);
    --inside;
  };
  client->Request({kServer, Incarnation{7}, kEcho}, Numbered(2), kControl, kLong, [&](const absl::StatusOr<Frame>&) {   // on the link thread
    ask();
    client->Locate(kServer, {"unix:" + folder + "/new"});
  });
  reached.get_future().wait();
  BOOST_TEST(within == 0);    // no reply within a request
  BOOST_TEST(refused == 1);   // what is asked after it is located goes there
}

BOOST_AUTO_TEST_CASE(requests_to_one_that_is_nowhere_any_more_end_at_once_and_later_ones_wait_for_it) {
  std::promise<void> asked;
  std::vector<Network::Reply> open;
  auto options = Options(kServer, 1);
  options.listen = {"unix:" + path()};
  options.handlers = {{kEcho, [&](const Frame&, const Network::Reply& reply) {   // does not answer, as behind a cable that is cut
                         open.push_back(reply);
                         asked.set_value();
                       }}};
  const auto silent = Start(std::move(options));
  const auto client = Client();
  auto first = Ask(*client, Numbered(1));
  asked.get_future().wait();
  client->Locate(kServer, {});
  BOOST_TEST(StatusOf(std::move(first)).ToString() == "UNAVAILABLE: lost the connection to node 1");
  auto second = Ask(*client, Numbered(2));
  auto next = Options(kServer, 2);
  next.listen = {"unix:" + folder + "/new"};
  next.handlers = {{kEcho, [](Frame frame, const Network::Reply& reply) { reply(std::move(frame)); }}};
  const auto there = Start(std::move(next));
  client->Locate(kServer, {"unix:" + folder + "/new"});
  BOOST_TEST(StatusOf(std::move(second)).ok());
  for (const Network::Reply& reply : open) reply(absl::CancelledError("the test's end"));
}

BOOST_AUTO_TEST_CASE(a_replacement_takes_the_place_over) {
  auto first = Server(1);
  auto second = Server(2);
  auto client = Client();
  BOOST_TEST(Ask(*client, Numbered(1), kControl, kLong, kEcho, 2).get().status().ToString() == "OK");
  first.reset();   // must not unlink what is no longer its own
  BOOST_TEST(std::filesystem::exists(path()));
  auto late = Client();
  BOOST_TEST(Ask(*late, Numbered(1), kControl, kLong, kEcho, 2).get().status().ToString() == "OK");
  second.reset();
  BOOST_TEST(!std::filesystem::exists(path()));
  BOOST_TEST(std::filesystem::is_empty(folder));
}

BOOST_DATA_TEST_CASE_F(LinkFixture, strangers_are_refused_with_the_reason, kKinds, transport) {
  Use(transport);
  auto server = Server();
  const auto refused = [&](auto change) {
    auto options = Options(kClient);
    change(options);
    auto client = Start(std::move(options));
    client->Locate(kServer, {place()});
    return StatusOf(Ask(*client, Frame{}));
  };
  BOOST_TEST(Has(refused([](auto& o) { o.token = "guess"; }), absl::StatusCode::kUnauthenticated, "token is wrong"));
  BOOST_TEST(Has(refused([](auto& o) { o.token = ""; }), absl::StatusCode::kUnauthenticated, "a token is wanted, and none was sent"));
  BOOST_TEST(Has(refused([](auto& o) { o.cluster_id = "job 8"; }), absl::StatusCode::kFailedPrecondition, "'job 8', expected 'job 7'"));
  BOOST_TEST(Has(refused([](auto& o) { o.build_id = "old"; }), absl::StatusCode::kFailedPrecondition, "'old', expected 'build'"));
  auto client = Client();
  client->Locate(NodeId{9}, {place()});
  std::promise<absl::Status> wrong;
  client->Request({NodeId{9}, {}, kEcho}, Frame{}, kControl, kLong, [&](const absl::StatusOr<Frame>& reply) { wrong.set_value(reply.status()); });
  BOOST_TEST(Has(wrong.get_future().get(), absl::StatusCode::kFailedPrecondition, "is node 1, expected node 9"));
  BOOST_TEST(FirstLine().find("token is wrong") != std::string::npos);
}

BOOST_DATA_TEST_CASE_F(LinkFixture, garbage_on_the_socket_ends_that_connection_only, kPlainKinds, transport) {
  Use(transport);
  auto server = Server();
  auto client = Client();
  Random random(4);
  BOOST_TEST(Same(*Ask(*client, Numbered(0)).get(), Numbered(0)));
  std::vector<std::vector<uint32_t>> messages{
      {0xffffffff, 0xffffffff},               // 2^32 segments
      {0, 0x40000000},                        // 8 GiB
      {0, 8 << 10, 0, 0},                     // more than may be sent before Hello
      {0, 1, 0, 0},                           // an empty message: asked for nothing
      {0, 2, 0, 0x00010000, 0xdeadbeef, 0},   // a call of nothing
      {0, 1, 0xfffffffc, 0x7fffffff},         // a pointer far outside
  };
  for (int i = 0; i < 30; ++i) {
    auto& words = messages.emplace_back(2 + random.Below(40));
    for (uint32_t& word : words) word = static_cast<uint32_t>(random.Next() >> random.Below(64));
    if (i % 2 == 0) words[0] = 0, words[1] = static_cast<uint32_t>(words.size() / 2 - 1);
  }
  for (const auto& words : messages) {
    RawSocket raw(place());
    raw.Send(words);
    ::shutdown(raw.fd, SHUT_WR);
    raw.Drain();
    BOOST_TEST_REQUIRE(Same(*Ask(*client, Numbered(1)).get(), Numbered(1)));
  }
  BOOST_TEST(FirstLine().find("garbage") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_descriptor_before_hello_ends_that_connection) {
  auto server = Server();
  RawSocket raw(place());
  iovec piece{const_cast<char*>("12345678"), 8};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(rights), &raw.fd, sizeof raw.fd);
  BOOST_REQUIRE(::sendmsg(raw.fd, &header, MSG_NOSIGNAL) == 8);
  raw.Drain();
  BOOST_TEST(FirstLine().find("garbage: descriptors that nothing asks for") != std::string::npos);
  auto client = Client();
  BOOST_TEST(Same(*Ask(*client, Numbered(1)).get(), Numbered(1)));
}

BOOST_AUTO_TEST_CASE(memory_is_shared_only_where_both_ends_do) {
  Random random(11);
  const Frame frame{1, {}, {Noise(random, 300'000)}};
  for (const bool ours : {false, true}) {
    for (const bool theirs : {false, true}) {
      auto options = ServerOptions();
      options.share_memory = theirs;
      std::promise<Block> received;
      options.handlers = {{kEcho, [&received](Frame request, const Network::Reply& reply) {
                             received.set_value(request.bulk[0]);
                             reply(Frame{});
                           }}};
      auto server = Start(std::move(options));
      options = Options(kClient);
      options.share_memory = ours;
      auto client = Start(std::move(options));
      client->Locate(kServer, {place()});
      BOOST_TEST(StatusOf(Ask(*client, frame, kBulk)).ok());
      const Block block = received.get_future().get();
      BOOST_TEST(Same(block, frame.bulk[0]));
      client.reset();
      server.reset();
      BOOST_TEST(Same(block, frame.bulk[0]));
    }
  }
}

BOOST_DATA_TEST_CASE_F(LinkFixture, half_a_message_and_silence_end_after_the_time_for_hello, kPlainKinds, transport) {
  Use(transport);
  auto options = ServerOptions();
  options.connect_timeout = milliseconds(5);
  auto server = Start(std::move(options));
  RawSocket half(place()), silent(place());
  half.Send({0, 20, 0, 0});
  half.Drain();
  silent.Drain();
  auto client = Client();
  BOOST_TEST(Same(*Ask(*client, Numbered(1)).get(), Numbered(1)));
}

BOOST_DATA_TEST_CASE_F(LinkFixture, destruction_answers_what_is_pending, kKinds, transport) {
  Use(transport);
  auto server = Server();
  std::promise<void> arrived;
  std::vector<Network::Reply> held;
  server->Serve(kEcho, [&](const Frame&, Network::Reply reply) {
    held.push_back(std::move(reply));
    if (held.size() == 1) arrived.set_value();
  });
  auto client = Client();
  auto sent = Ask(*client, Numbered(1));
  arrived.get_future().wait();
  client->Locate(NodeId{2}, {"unix:" + folder + "/nobody"});
  std::promise<absl::Status> unsent, again;
  Network* network = client.get();
  network->Request({NodeId{2}, {}, kEcho}, Frame{}, kControl, kLong, [&](const absl::StatusOr<Frame>& reply) {
    unsent.set_value(reply.status());
    network->Request({NodeId{2}, {}, kEcho}, Frame{}, kControl, kLong, [&](const absl::StatusOr<Frame>& r) { again.set_value(r.status()); });
  });
  client.reset();
  BOOST_TEST(StatusOf(std::move(sent)).code() == absl::StatusCode::kCancelled);
  BOOST_TEST(unsent.get_future().get().code() == absl::StatusCode::kCancelled);
  BOOST_TEST(again.get_future().get().code() == absl::StatusCode::kCancelled);
}

BOOST_DATA_TEST_CASE_F(LinkFixture, callbacks_run_inside_the_hook_on_one_thread_and_may_ask_again, kKinds, transport) {
  Use(transport);
  std::atomic<int> depth = 0, outside = 0;
  auto options = Options(kClient);
  options.run = [&](const std::function<void()>& calls) {
    ++depth;
    calls();
    --depth;
  };
  auto server = Server();
  auto client = Start(std::move(options));
  client->Locate(kServer, {place()});
  std::promise<void> done;
  int left = 1000;
  std::thread::id thread;
  std::function<void(absl::StatusOr<Frame>)> next = [&](const absl::StatusOr<Frame>& reply) {
    if (depth != 1 || !reply.ok()) ++outside;
    if (left == 1000) thread = std::this_thread::get_id();
    if (thread != std::this_thread::get_id()) ++outside;
    if (--left == 0) return done.set_value();
    client->Request({kServer, {}, kEcho}, Numbered(1), kControl, kLong, next);
  };
  client->Request({kServer, {}, kEcho}, Numbered(1), kControl, kLong, next);
  done.get_future().wait();
  BOOST_TEST(outside == 0);
}

BOOST_AUTO_TEST_CASE(a_place_that_cannot_be_listened_at_is_an_error) {
  auto options = Options(kServer);
  options.listen = {"unix:" + folder + "/none/node"};
  BOOST_TEST(Has(RpcNetwork::Start(options).status(), absl::StatusCode::kUnavailable, "No such file"));
  options.listen = {"node"};
  BOOST_TEST(Has(RpcNetwork::Start(options).status(), absl::StatusCode::kInvalidArgument, "expected unix:/path"));
  options.listen = {"unix:/" + std::string(200, 'x')};
  BOOST_TEST(Has(RpcNetwork::Start(options).status(), absl::StatusCode::kInvalidArgument, "at most 83"));
}

BOOST_DATA_TEST_CASE_F(LinkFixture, signals_of_the_process_are_left_alone, kKinds, transport) {
  Use(transport);
  struct sigaction before[64], after{};
  for (int s = 1; s < 64; ++s) ::sigaction(s, nullptr, &before[s]);
  sigset_t mask_before, mask_after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask_before);
  auto server = Server();
  auto client = Client();
  Ask(*client, Numbered(1)).wait();
  for (int s = 1; s < 64; ++s) {
    if (::sigaction(s, nullptr, &after) == 0) BOOST_TEST(after.sa_handler == before[s].sa_handler, "signal " << s);
  }
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask_after);
  for (int s = 1; s < 64; ++s) BOOST_TEST(::sigismember(&mask_before, s) == ::sigismember(&mask_after, s), "signal " << s);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
