// A proxy on one node and an exposed actor on another, over the simulated network: replies, errors, silence, falls.
#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "actors/proxy.h"
#include "caf/send.hpp"
#include "tests/support/ask_later.h"
#include "tests/support/sim.h"
#include "tests/support/speaker.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AskLater;
using testing::Faults;
using testing::Later;
using testing::Said;
using testing::Say;
using testing::Sim;
using testing::Speaker;

constexpr NodeId kHere{0};
constexpr ActorId kSpeaker{5};

/// A proxy on node 0 and the speaker on node 1.
struct Pair {
  Sim sim;
  std::vector<std::string> heard;
  NodeId there;
  Speaker proxy;

  explicit Pair(const Faults& faults = {}) : sim(1, faults) {
    there = sim.AddNode([this](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
      const Speaker speaker = testing::SpawnSpeaker(system, &heard, absl::DataLossError("cut"));
      Expose(system, kSpeaker, speaker);
      return std::vector<caf::actor>{caf::actor_cast<caf::actor>(speaker)};
    });
    proxy = SpawnProxy<Speaker>(sim.system(kHere), {.to = {there, Incarnation{}, kSpeaker}, .timeout = seconds(2)});
  }
  ~Pair() {
    caf::anon_send_exit(proxy, caf::exit_reason::kill);
    proxy = nullptr;
  }
  Later<Said> Ask(const std::string& text) { return AskLater<Said>(sim.system(kHere), proxy, Say{text}); }
  absl::StatusOr<Said> Await(const Later<Said>& later) {
    const absl::Status status = sim.Run([&later] { return later->has_value(); });
    return status.ok() ? **later : status;
  }
  void Pass(milliseconds time) {
    bool over = false;
    sim.After(time, [&over] { over = true; });
    BOOST_TEST(sim.Run([&over] { return over; }).ok());
  }
};

BOOST_AUTO_TEST_SUITE(ProxyPairSuite)

BOOST_AUTO_TEST_CASE(a_remote_actor_is_used_like_a_local_one) {
  Pair pair;
  const auto a = pair.Ask("a"), no = pair.Ask("no"), big = pair.Ask(std::string(3 * kBulkBytes, 'x'));
  BOOST_TEST(pair.Await(a)->text == "a!");
  BOOST_TEST(pair.Await(no).status().ToString() == "DATA_LOSS: cut");
  BOOST_TEST(pair.Await(big)->text.size() == 3 * kBulkBytes + 1);
}

BOOST_AUTO_TEST_CASE(silence_ends_with_the_time_out_of_the_proxy) {
  Pair pair;
  pair.Pass(milliseconds(1));
  const auto before = pair.sim.now();
  BOOST_TEST(absl::IsDeadlineExceeded(pair.Await(pair.Ask("...")).status()));
  BOOST_TEST((pair.sim.now() - before == seconds(2)));
}

BOOST_AUTO_TEST_CASE(a_remote_actor_that_ends_without_an_answer_is_waited_for_until_the_time_out) {
  Pair pair;
  BOOST_TEST(absl::IsDeadlineExceeded(pair.Await(pair.Ask("end")).status()));
  BOOST_TEST(absl::IsUnavailable(pair.Await(pair.Ask("more")).status()));   // of an actor that has ended it is known at once
}

BOOST_AUTO_TEST_CASE(a_node_that_falls_or_is_down_is_unavailable_and_its_replacement_answers) {
  Pair pair;
  const auto lost = pair.Ask("...");
  pair.Pass(milliseconds(100));
  pair.sim.Crash(pair.there, milliseconds(500));
  const absl::Status status = pair.Await(pair.Ask("a")).status();
  BOOST_TEST(absl::IsUnavailable(status), status.ToString());
  BOOST_TEST(!pair.Await(lost).ok());
  pair.Pass(seconds(3));
  BOOST_TEST(pair.Await(pair.Ask("b"))->text == "b!");
}

BOOST_AUTO_TEST_CASE(a_request_that_arrives_twice_is_done_twice_and_answered_once) {
  Pair pair({.twice = 1});
  BOOST_TEST(pair.Await(pair.Ask("a"))->text == "a!");
  pair.Pass(seconds(1));
  BOOST_TEST((pair.heard == std::vector<std::string>{"a", "a"}));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
