// A shard that has come back with less than it had: who and what waits until its writers have sent the rest again, and that it is then as it was. Virtual time.
#include "ps/catch_up.h"

#include <boost/test/unit_test.hpp>
#include <string>
#include <utility>
#include <vector>

#include "actors/text.h"
#include "caf/send.hpp"
#include "ps/router.h"
#include "ps/shard_actor.h"
#include "tests/support/ask_later.h"
#include "tests/support/virtual_system.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using testing::AskLater;
using testing::Later;

BOOST_AUTO_TEST_SUITE(CatchUpSuite)

/// Takes what may be taken, as names; a writer's clock follows.
struct Taker {
  CatchUp catch_up{3};
  std::vector<Round> clocks{0, 0, 0};
  std::string taken;

  void Keep(uint32_t writer, Round round, uint64_t order) {
    catch_up.Keep(writer, order, [this, writer, round] {
      clocks[writer] = round;
      taken += std::string(1, static_cast<char>('a' + writer)) + std::to_string(round) + ' ';
    });
  }
  std::string Take() {
    taken.clear();
    while (const CatchUp::Take take = catch_up.Next(clocks)) take();
    return taken;
  }
};

BOOST_AUTO_TEST_CASE(the_order_of_the_earlier_life_is_kept_and_what_it_had_not_answered_comes_last) {
  Taker taker;
  taker.catch_up.OnOpen(0, 3);
  taker.catch_up.OnOpen(1, 2);
  taker.Keep(1, 1, 4);
  taker.Keep(1, 2, 7);
  taker.Keep(0, 1, 2);
  BOOST_TEST(taker.Take() == "");   // nobody knows what the third holds
  taker.catch_up.OnOpen(2, 0);
  BOOST_TEST(taker.Take() == "a1 ");   // its next may come before 4
  BOOST_TEST(!taker.catch_up.IsOver(taker.clocks));
  taker.Keep(0, 2, 5);
  taker.Keep(0, 3, 0);
  taker.Keep(2, 9, 0);   // new
  BOOST_TEST(taker.Take() == "b1 a2 b2 a3 c9 ");
  BOOST_TEST(taker.catch_up.IsOver(taker.clocks));
  BOOST_TEST(!taker.catch_up.TakeFirst());
}

BOOST_AUTO_TEST_CASE(at_the_end_of_patience_all_is_taken_in_order) {
  Taker taker;
  BOOST_TEST(!taker.catch_up.HasOpened(0));
  taker.catch_up.OnOpen(0, 5);
  BOOST_TEST(taker.catch_up.HasOpened(0));
  taker.catch_up.OnOpen(1, 5);
  taker.Keep(0, 1, 0);
  taker.Keep(1, 1, 3);
  BOOST_TEST(taker.Take() == "");
  while (const CatchUp::Take take = taker.catch_up.TakeFirst()) take();
  BOOST_TEST(taker.taken == "b1 a1 ");
}

struct Fixture : testing::VirtualSystem {
  TableSpec spec{.name = "w", .rows = 2, .rule = "adagrad", .rule_options = {}};
  Router router{std::vector<TableSpec>{spec}, 1};
  std::vector<ShardActor> shards;

  ~Fixture() {
    for (const ShardActor& shard : shards) caf::anon_send_exit(shard, caf::exit_reason::kill);
  }
  ShardActor Spawn(milliseconds catch_up_max, const char* consistency = "asp") {
    ShardActorOptions options;
    options.shard = {.tables = {spec}, .writers = 2, .consistency = *ParseConsistencies(consistency)};
    options.catch_up_max = catch_up_max;
    shards.push_back(*SpawnShard(system(), options));
    return shards.back();
  }
  Push PushOf(uint32_t writer, uint64_t ordinal, float value) {
    const RoutedPush routed = router.PushDense(0, Block::Adopt(std::vector<float>{value, -value}));
    Push push{.writer = WriterId{writer}, .round = MakeRound(1, ordinal), .previous = MakeRound(1, ordinal - 1), .parts = {}, .keys = {}, .values = {}};
    std::vector<PushPart> parts;
    for (const RoutedPush::Chunk& chunk : routed.shards[0]) parts.insert(parts.end(), chunk.parts.begin(), chunk.parts.end());
    for (PushPart& part : parts) {
      part.sequence = push.round << 8;
      part.previous = ordinal == 1 ? 0 : push.previous << 8;
    }
    push.parts = Block::Adopt(std::move(parts));
    push.values = Block::Adopt(std::vector<float>{value, -value});
    return push;
  }
  template <class Reply, class Message>
  Later<Reply> Ask(const ShardActor& shard, const Message& message) {
    auto reply = AskLater<Reply>(system(), shard, message);
    Settle();
    return reply;
  }
  Later<Pulled> PullFrom(const ShardActor& shard, uint64_t ordinal = 9) {
    const RoutedPull pull = router.PullDense(0);
    return Ask<Pulled>(shard, Pull{.round = MakeRound(1, ordinal), .parts = pull.shards[0].parts, .keys = pull.shards[0].keys, .tables = pull.tables});
  }
  static std::vector<float> Rows(const Later<Pulled>& pulled) {
    BOOST_REQUIRE(pulled->has_value() && (*pulled)->ok());
    const auto rows = (**pulled)->values.As<float>();
    BOOST_REQUIRE(rows.size() == 2U);
    return {rows.begin(), rows.end()};
  }
  /// Pushes of both writers in turn, to a shard that answers, with what it answers.
  std::vector<Push> Applied(const ShardActor& shard) {
    std::vector<Push> pushes;
    for (uint64_t ordinal = 1; ordinal <= 4; ++ordinal) {
      for (uint32_t writer = 0; writer < 2; ++writer) {
        Push& push = pushes.emplace_back(PushOf(writer, ordinal, (writer == 0 ? 1.0F : -3.0F) / static_cast<float>(ordinal)));
        const auto pushed = Ask<Pushed>(shard, push);
        BOOST_REQUIRE(pushed->has_value() && (*pushed)->ok());
        push.order = (**pushed)->order;
        BOOST_TEST(push.order == pushes.size());
      }
    }
    return pushes;
  }
};

BOOST_FIXTURE_TEST_CASE(who_is_sent_everything_again_is_as_the_lost_one_was_before_anybody_reads_it, Fixture) {
  const ShardActor lost = Spawn({});
  const std::vector<Push> pushes = Applied(lost);
  const std::vector<float> expected = Rows(PullFrom(lost));

  const ShardActor shard = Spawn(milliseconds(1000));
  const auto before = PullFrom(shard);
  const auto unaware = Ask<Pushed>(shard, PushOf(1, 5, 1));   // of a writer that has not heard of the loss
  BOOST_REQUIRE(unaware->has_value());
  BOOST_TEST(Message((*unaware)->status()) == "the shard is catching up, and waits for what the writer holds");
  for (uint32_t writer = 0; writer < 2; ++writer) {
    const auto opened = Ask<Opened>(shard, Open{.writer = WriterId{writer}, .through = MakeRound(1, 4)});
    BOOST_TEST((**opened)->clock == kFirstRound);
  }
  const auto state = AskLater<ShardState>(system(), caf::actor_cast<caf::actor>(shard), AskState{});   // what is kept is in no state
  Settle();
  BOOST_REQUIRE(state->has_value());
  BOOST_TEST(absl::IsUnavailable((*state)->status()));
  std::vector<Later<Pushed>> answers;
  for (const uint32_t writer : {1U, 0U}) {   // all of one, then all of the other
    BOOST_TEST(!before->has_value());
    for (const Push& push : pushes) {
      if (push.writer == WriterId{writer}) answers.push_back(Ask<Pushed>(shard, push));
    }
  }
  for (const auto& answer : answers) BOOST_TEST((answer->has_value() && (*answer)->ok()));
  BOOST_TEST(Rows(before) == expected, boost::test_tools::per_element());
  const ShardActor disordered = Spawn({});
  for (const uint32_t writer : {1U, 0U}) {
    for (const Push& push : pushes) {
      if (push.writer == WriterId{writer}) Ask<Pushed>(disordered, push);
    }
  }
  BOOST_TEST((Rows(PullFrom(disordered)) != expected));   // so the order is to be seen
  const auto next = Ask<Pushed>(shard, PushOf(0, 5, 1));
  BOOST_TEST((**next)->order == pushes.size() + 1);
  BOOST_TEST((**Ask<Pushed>(shard, pushes[0]))->order == 0U);   // known
}

BOOST_FIXTURE_TEST_CASE(nobody_waits_longer_than_the_limit_nor_where_there_is_nothing_to_wait_for, Fixture) {
  const ShardActor shard = Spawn(milliseconds(1000));
  const auto waits = PullFrom(shard);
  BOOST_TEST(Ask<Opened>(shard, Open{.writer = WriterId{0}, .through = MakeRound(1, 2)})->has_value());
  const auto kept = Ask<Pushed>(shard, PushOf(0, 1, 1));
  Advance(milliseconds(900));
  BOOST_TEST(!waits->has_value());
  BOOST_TEST(!kept->has_value());
  Advance(milliseconds(200));   // the second writer is not there
  BOOST_TEST(kept->has_value());
  BOOST_TEST(Rows(waits)[0] != 0);

  const ShardActor nobody_holds_anything = Spawn(milliseconds(1000));
  const auto soon = PullFrom(nobody_holds_anything);
  for (uint32_t writer = 0; writer < 2; ++writer) Ask<Opened>(nobody_holds_anything, Open{.writer = WriterId{writer}});
  BOOST_TEST(soon->has_value());

  const ShardActor by_rounds = Spawn(milliseconds(1000), "bsp");   // pulls wait for rounds in any case, and rounds have an order of their own
  BOOST_TEST(PullFrom(by_rounds, 1)->has_value());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
