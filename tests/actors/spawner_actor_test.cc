// The spawner of another node over the simulated network: made once however often it is asked for, refused with a reason, and tried again.
#include "actors/spawner_actor.h"

#include <boost/test/unit_test.hpp>
#include <string>

#include "caf/send.hpp"
#include "tests/support/ask_later.h"
#include "tests/support/sim.h"

namespace troupe {
namespace {

using testing::AskLater;
using testing::Later;
using testing::Sim;

/// A spawner on node 1, and a proxy of it on node 0.
struct Spawning {
  Sim sim{1, {}};
  int made = 0, refused = 0;
  std::string heard;
  SpawnerActor proxy;

  Spawning() {
    const NodeId there = sim.AddNode([this](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
      system.RegisterFactory("good", [this](System&, ActorId, const Block& arguments) {
        ++made;
        heard.assign(reinterpret_cast<const char*>(arguments.data()), arguments.size());
        return absl::OkStatus();
      });
      system.RegisterFactory("bad", [this](System&, ActorId, const Block&) {
        ++refused;
        return absl::DataLossError("cut");
      });
      return std::vector<caf::actor>{caf::actor_cast<caf::actor>(StartSpawner(system))};
    });
    proxy = SpawnProxy<SpawnerActor>(sim.system(NodeId{0}), {.to = {there, Incarnation{}, kSpawner}, .timeout = std::chrono::seconds(2)});
  }
  ~Spawning() {
    caf::anon_send_exit(proxy, caf::exit_reason::kill);
    proxy = nullptr;
  }
  Later<Spawned> Ask(const std::string& factory, uint32_t actor) {
    return AskLater<Spawned>(sim.system(NodeId{0}), proxy, Spawn{factory, ActorId{actor}, Block::Copy("words", 5)});
  }
  absl::Status Await(const Later<Spawned>& later) {
    const absl::Status status = sim.Run([&later] { return later->has_value(); });
    return status.ok() ? (*later)->status() : status;
  }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(SpawnerSuite, Spawning)

BOOST_AUTO_TEST_CASE(an_actor_is_made_once_however_often_it_is_asked_for) {
  const auto first = Ask("good", 7), second = Ask("good", 7), other = Ask("good", 8);
  BOOST_TEST(Await(first).ok());
  BOOST_TEST(Await(second).ok());
  BOOST_TEST(Await(other).ok());
  BOOST_TEST(made == 2);
  BOOST_TEST(heard == "words");
  BOOST_TEST(Await(Ask("good", 7)).ok());
  BOOST_TEST(made == 2);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_made_is_refused_to_all_who_ask_and_tried_again_when_it_is_asked_for_again) {
  const auto first = Ask("bad", 7), second = Ask("bad", 7);
  BOOST_TEST(Await(first).ToString() == "DATA_LOSS: cut");
  BOOST_TEST(Await(second).ToString() == "DATA_LOSS: cut");
  const int before = refused;
  BOOST_TEST(Await(Ask("bad", 7)).ToString() == "DATA_LOSS: cut");
  BOOST_TEST(refused == before + 1);
  BOOST_TEST(Await(Ask("good", 7)).ok());
  BOOST_TEST(Await(Ask("none", 7)).ok());   // it is there
  BOOST_TEST(Await(Ask("none", 8)).ToString() == "NOT_FOUND: unknown factory 'none'");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
