// Threads that wait for a network's answers and do its work meanwhile.
#include "actors/progress.h"

#include <kj/async-io.h>

#include <atomic>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <condition_variable>
#include <thread>

#include "tests/support/link_fixture.h"

namespace troupe {
namespace {

using namespace testing;
using std::chrono::steady_clock;

const auto kTransports = boost::unit_test::data::make({"unix", "tcp", "tls"});

/// One request, made and awaited as a TableSet does it.
struct Waited {
  explicit Waited(std::shared_ptr<Progress> p) : progress(std::move(p)), changed(progress) {}
  std::shared_ptr<Progress> progress;
  std::mutex mutex;
  ProgressCondition changed;
  std::optional<absl::StatusOr<Frame>> answer;
  std::thread::id answered_by;

  void Request(Network& network, Frame frame, milliseconds timeout = kLong, ActorId actor = kEcho) {
    progress->Run([&] {
      network.Request({kServer, Incarnation{0}, actor}, std::move(frame), kControl, timeout, [this](absl::StatusOr<Frame> reply) {
        std::lock_guard lock(mutex);
        answered_by = std::this_thread::get_id();
        answer = std::move(reply);
        changed.NotifyAll();
      });
    });
  }
  bool Wait(milliseconds limit = kLong) {
    std::unique_lock lock(mutex);
    return changed.WaitUntil(lock, steady_clock::now() + limit, [this] { return answer.has_value(); });
  }
};

struct ProgressFixture : LinkFixture {
  static bool IsEcho(Waited& waited, uint64_t number) {
    std::lock_guard lock(waited.mutex);
    return waited.answer && waited.answer->ok() && Same(**waited.answer, Numbered(number));
  }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(ProgressSuite, ProgressFixture)

BOOST_DATA_TEST_CASE_F(ProgressFixture, a_thread_that_waits_is_answered_on_itself, kTransports, transport) {
  Use(transport);
  auto server = Server();
  auto client = Client();
  int here = 0;
  constexpr int kRequests = 300;
  for (int i = 0; i < kRequests; ++i) {
    Waited waited(client->progress());
    waited.Request(*client, Numbered(static_cast<uint64_t>(i)));
    BOOST_TEST_REQUIRE(waited.Wait());
    BOOST_TEST_REQUIRE(IsEcho(waited, static_cast<uint64_t>(i)));
    here += waited.answered_by == std::this_thread::get_id();
  }
  BOOST_TEST(here > kRequests / 10);   // the link thread is there now and then
}

BOOST_AUTO_TEST_CASE(without_a_wait_the_link_thread_takes_the_answer) {
  auto server = Server();
  auto client = Client();
  for (uint64_t i = 0; i < 100; ++i) {
    Waited waited(nullptr);
    waited.progress = client->progress();   // of the request alone
    waited.Request(*client, Numbered(i));
    BOOST_TEST_REQUIRE(waited.Wait());
    BOOST_TEST_REQUIRE(IsEcho(waited, i));
    BOOST_TEST((waited.answered_by != std::this_thread::get_id()));
  }
}

BOOST_DATA_TEST_CASE_F(ProgressFixture, many_threads_wait_at_once, kTransports, transport) {
  Use(transport);
  auto server = Server();
  auto client = Client();
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 300; ++i) {
        if (t % 3 == 2) {   // and some that do not help
          wrong += Ask(*client, Numbered(t * 1000 + i)).get().ok() ? 0 : 1;
          continue;
        }
        Waited first(client->progress()), second(client->progress());
        first.Request(*client, Numbered(t * 1000 + i));
        second.Request(*client, Numbered(t * 1000 + i + 500));
        wrong += second.Wait() && IsEcho(second, t * 1000 + i + 500) ? 0 : 1;
        wrong += first.Wait() && IsEcho(first, t * 1000 + i) ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(a_thread_serves_while_it_waits) {
  std::thread::id served_by;
  auto options = ServerOptions();
  options.handlers = {{kEcho, [&](Frame frame, const Network::Reply& reply) {
                         served_by = std::this_thread::get_id();
                         reply(std::move(frame));
                       }}};
  auto server = Start(std::move(options));
  auto client = Client();
  Waited never(server->progress());
  bool came = false;
  std::thread waiting([&] {
    for (int i = 0; i < 30; ++i) came |= never.Wait(milliseconds(10));   // each time it takes the loop, unless the link thread is just there
  });
  const auto end = steady_clock::now() + milliseconds(250);
  int there = 0;
  for (uint64_t i = 0; steady_clock::now() < end || i < 50; ++i) {
    Waited waited(client->progress());
    waited.Request(*client, Numbered(i));
    BOOST_CHECK(waited.Wait());
    BOOST_CHECK(IsEcho(waited, i));
    there += served_by == waiting.get_id();
  }
  waiting.join();
  BOOST_TEST(!came);
  BOOST_TEST(there > 0);
  BOOST_TEST(StatusOf(Ask(*client, Numbered(1))).ok());   // and the link thread after it
}

BOOST_AUTO_TEST_CASE(a_wait_ends_at_its_limit_and_at_a_word_of_another_thread) {
  auto server = Server();
  auto client = Client();
  BOOST_REQUIRE(StatusOf(Ask(*client, Numbered(1))).ok());
  Waited waited(client->progress());
  const auto begin = steady_clock::now();
  BOOST_TEST(!waited.Wait(milliseconds(30)));
  BOOST_TEST((steady_clock::now() - begin >= milliseconds(30)));
  for (int i = 0; i < 50; ++i) {
    Waited told(client->progress());
    std::thread teller([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(100 * (i % 8)));
      std::lock_guard lock(told.mutex);
      told.answer = Frame{};
      told.changed.NotifyAll();
    });
    const auto from = steady_clock::now();
    const bool came = told.Wait();
    teller.join();
    BOOST_TEST(came);
    BOOST_TEST((steady_clock::now() - from < kLong / 2));   // a word that is missed is noticed at the limit
  }
}

BOOST_AUTO_TEST_CASE(time_outs_are_kept_by_whoever_has_the_loop) {
  auto options = ServerOptions();
  std::vector<Network::Reply> unanswered;
  options.handlers.emplace_back(ActorId{6}, [&](const Frame&, Network::Reply reply) { unanswered.push_back(std::move(reply)); });
  auto server = Start(std::move(options));
  auto client = Client();
  for (int i = 0; i < 20; ++i) {
    Waited waited(client->progress()), left(client->progress());
    waited.Request(*client, Numbered(1), milliseconds(15), ActorId{6});
    left.Request(*client, Numbered(2), milliseconds(25), ActorId{6});
    BOOST_TEST_REQUIRE(waited.Wait());
    BOOST_TEST(Has(waited.answer->status(), absl::StatusCode::kDeadlineExceeded, "node 1 gave no answer within 15 ms"));
    std::unique_lock lock(left.mutex);   // nobody helps any more
    for (int waits = 0; waits < 30'000 && !left.answer; ++waits) {
      lock.unlock();
      std::this_thread::sleep_for(milliseconds(1));
      lock.lock();
    }
    BOOST_TEST_REQUIRE(left.answer.has_value());
    BOOST_TEST(Has(left.answer->status(), absl::StatusCode::kDeadlineExceeded, "within 25 ms"));
  }
}

BOOST_AUTO_TEST_CASE(a_network_stops_while_threads_wait) {
  for (int i = 0; i < 20; ++i) {
    auto options = ServerOptions();
    std::vector<Network::Reply> unanswered;
    options.handlers.emplace_back(ActorId{6}, [&](const Frame&, Network::Reply reply) { unanswered.push_back(std::move(reply)); });
    auto server = Start(std::move(options));
    auto client = Client();
    Waited one(client->progress()), two(client->progress());
    one.Request(*client, Numbered(1), kLong, ActorId{6});
    two.Request(*client, Numbered(2), kLong, ActorId{6});
    std::atomic<int> came = 0;
    std::thread first([&] { came += one.Wait(); }), second([&] { came += two.Wait(); });
    std::this_thread::sleep_for(std::chrono::microseconds(300 * i));
    client.reset();
    first.join();
    second.join();
    BOOST_TEST(came == 2);
    BOOST_TEST(Message(one.answer->status()) == "the network is stopped");
    BOOST_TEST(Message(two.answer->status()) == "the network is stopped");
    bool called = false;
    one.progress->Run([&] { called = true; });
    BOOST_TEST(called);
    one.progress->Until([] { return false; }, steady_clock::now() + kLong);   // returns at once
  }
}

BOOST_AUTO_TEST_CASE(calls_from_the_loop_itself_do_not_wait_for_it) {
  auto server = Server();
  auto client = Client();
  std::promise<bool> inner;
  client->Request({kServer, Incarnation{0}, kEcho}, Numbered(1), kControl, kLong, [&](const absl::StatusOr<Frame>&) {
    bool called = false;
    client->progress()->Until([] { return false; }, steady_clock::now() + kLong);
    client->progress()->Run([&] { called = true; });
    inner.set_value(called);
  });
  BOOST_TEST(inner.get_future().get());
}

BOOST_AUTO_TEST_CASE(a_thread_with_an_event_loop_of_its_own_waits_without_helping) {
  auto server = Server();
  auto client = Client();
  auto io = kj::setupAsyncIo();
  for (uint64_t i = 0; i < 20; ++i) {
    Waited waited(client->progress());
    waited.Request(*client, Numbered(i));
    BOOST_TEST_REQUIRE(waited.Wait());
    BOOST_TEST_REQUIRE(IsEcho(waited, i));
    BOOST_TEST((waited.answered_by != std::this_thread::get_id()));
  }
  BOOST_TEST(io.provider->getTimer().afterDelay(1 * kj::MILLISECONDS).then([] { return 7; }).wait(io.waitScope) == 7);
}

BOOST_DATA_TEST_CASE_F(ProgressFixture, requests_keep_the_order_of_their_threads, kTransports, transport) {
  Use(transport);
  auto server = NotingServer();
  auto client = Client();
  std::vector<std::future<absl::StatusOr<Frame>>> plain;
  std::vector<std::unique_ptr<Waited>> waited;
  for (uint64_t i = 0; i < 2000; ++i) {
    if (i % 3 == 0) {
      waited.push_back(std::make_unique<Waited>(client->progress()));
      waited.back()->Request(*client, Numbered(i));
      if (i % 30 == 0) BOOST_TEST_REQUIRE(waited.back()->Wait());
    } else {
      plain.push_back(Ask(*client, Numbered(i)));
    }
  }
  for (auto& one : waited) BOOST_TEST_REQUIRE(one->Wait());
  for (auto& one : plain) BOOST_TEST_REQUIRE(StatusOf(std::move(one)).ok());
  std::lock_guard lock(mutex);
  BOOST_TEST(std::ranges::is_sorted(seen));
  BOOST_TEST(seen.size() == 2000);
}

BOOST_AUTO_TEST_CASE(a_lost_peer_is_noticed_by_whoever_waits) {
  auto server = Server();
  auto client = Client();
  BOOST_REQUIRE(StatusOf(Ask(*client, Numbered(1))).ok());
  std::vector<Network::Reply> unanswered;
  server->Serve(ActorId{6}, [&](const Frame&, Network::Reply reply) { unanswered.push_back(std::move(reply)); });
  Waited waited(client->progress());
  waited.Request(*client, Numbered(2), kLong, ActorId{6});
  std::thread killer([&] {
    std::this_thread::sleep_for(milliseconds(20));
    server.reset();
  });
  BOOST_TEST(waited.Wait());
  killer.join();
  BOOST_TEST((waited.answer->status().code() == absl::StatusCode::kUnavailable), waited.answer->status().ToString());
}

BOOST_AUTO_TEST_CASE(the_time_for_hello_begins_with_the_attempt_however_long_the_loop_has_slept) {
  auto server = Server();
  auto second_options = ServerOptions();   // the same node at a second place, where only an attempt that has failed at the first one leads
  second_options.listen = {"unix:" + folder + "/second"};
  second_options.handlers = {{kEcho, [](const Frame&, const Network::Reply& reply) { reply(Numbered(2)); }}};
  auto second = Start(std::move(second_options));
  for (const bool helps : {false, true}) {
    auto options = Options(kClient);
    options.connect_timeout = milliseconds(500);
    auto client = Start(std::move(options));
    client->Locate(kServer, {place(), "unix:" + folder + "/second"});
    std::this_thread::sleep_for(milliseconds(700));
    Waited waited(client->progress());
    if (helps)
      waited.Request(*client, Numbered(1));
    else
      waited.answer = Ask(*client, Numbered(1)).get();
    BOOST_TEST(waited.Wait());
    BOOST_TEST(IsEcho(waited, 1));
  }
}

BOOST_AUTO_TEST_CASE(a_condition_outlives_its_network) {
  auto server = Server();
  auto client = Client();
  auto waited = std::make_unique<Waited>(client->progress());
  waited->Request(*client, Numbered(1));
  BOOST_TEST(waited->Wait());
  waited->progress.reset();
  client.reset();
  server.reset();
  {
    std::lock_guard lock(waited->mutex);
    waited->answer.reset();
    waited->changed.NotifyAll();
  }
  BOOST_TEST(!waited->Wait(milliseconds(1)));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
