// Calls at shard actors: what they wait for, one state for each answer however many slices it takes, and limits. Virtual time.
#include "ps/call_actor.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "actors/text.h"
#include "caf/send.hpp"
#include "ps/call.h"
#include "ps/router.h"
#include "ps/shard_actor.h"
#include "tests/support/ask_later.h"
#include "tests/support/virtual_system.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using testing::AskLater;
using testing::Later;

constexpr uint64_t kRows = 1 << 20;   // four slices

struct Fixture : testing::VirtualSystem {
  TableSpec spec{.name = "w", .width = 1, .rows = kRows, .rule = "add", .rule_options = {}};
  std::optional<Router> router;
  std::vector<ShardActor> shards;
  std::vector<Round> done;

  ~Fixture() {
    for (const ShardActor& shard : shards) caf::anon_send_exit(shard, caf::exit_reason::kill);
  }
  void Start(uint32_t number_of_shards, uint32_t writers, const Consistency& consistency) {
    router.emplace(std::vector<TableSpec>{spec}, number_of_shards);
    done.assign(writers, kFirstRound);
    for (uint32_t shard = 0; shard < number_of_shards; ++shard) {
      ShardActorOptions options;
      options.shard = {.tables = {spec}, .shard = shard, .shards = number_of_shards, .writers = writers, .consistency = consistency};
      options.pull_wait_max = milliseconds(500);
      shards.push_back(*SpawnShard(system(), options));
    }
  }
  /// Adds 1 to all rows of the first shard.
  Push Ones(uint32_t writer) {
    const Round round = done[writer] + 1;
    RoutedPush routed = router->PushDense(0, Block::Adopt(std::vector<float>(kRows, 1)));
    Push push{.writer = WriterId{writer}, .round = round, .previous = std::exchange(done[writer], round), .parts = {}, .keys = {}, .values = {}};
    std::vector<PushPart> parts;
    for (const RoutedPush::Chunk& chunk : routed.shards[0]) parts.insert(parts.end(), chunk.parts.begin(), chunk.parts.end());
    for (PushPart& part : parts) {
      part.sequence = OrdinalOf(round);
      part.previous = OrdinalOf(round) - 1;
    }
    uint64_t rows = 0;
    for (const PushPart& part : parts) rows += part.count;
    push.parts = Block::Adopt(std::move(parts));
    push.values = Block::Adopt(std::vector<float>(rows, 1));
    return push;
  }
  Later<Called> Ask(const FunctionCall& call, Round at) { return AskLater<Called>(system(), shards[0], Call{.call = call, .at = at, .assigned = {}}); }
  double Sum(const Later<Called>& called) {
    BOOST_REQUIRE(called->has_value());
    BOOST_REQUIRE_MESSAGE((*called)->ok(), (*called)->status().ToString());
    const Called& answer = ***called;
    return MergeCalled({.function = "sum"}, std::vector<TableSpec>{spec}, {&answer, 1})->numbers.at(0);
  }
};

const FunctionCall kSum{.function = "sum"};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(CallActorTest, Fixture)

BOOST_AUTO_TEST_CASE(an_answer_is_of_one_state_though_pushes_come_between_its_slices) {
  Start(1, 1, {.kind = Consistency::Kind::kAsp});
  const auto first = AskLater<Pushed>(system(), shards[0], Ones(0));
  const auto before = Ask(kSum, 0);
  std::vector<Later<Pushed>> pushes;
  for (int i = 0; i < 3; ++i) pushes.push_back(AskLater<Pushed>(system(), shards[0], Ones(0)));
  const auto after = Ask(kSum, 0);
  const auto open = AskLater<Opened>(system(), shards[0], Open{WriterId{0}});
  Settle();
  // A whole number of rounds: none came in between. The second call began after those that had waited for the first.
  BOOST_TEST(Sum(before) == 1.0 * kRows);
  BOOST_TEST(Sum(after) == 4.0 * kRows);
  for (size_t i = 0; i < pushes.size(); ++i) {
    BOOST_REQUIRE(pushes[i]->has_value() && (*pushes[i])->ok());
    BOOST_TEST((**pushes[i])->clock == MakeRound(1, 2 + i));
  }
  BOOST_TEST((*open)->ok());
}

BOOST_AUTO_TEST_CASE(a_call_waits_for_all_writers_and_not_for_ever) {
  Start(1, 2, {});
  const auto waits = Ask(kSum, MakeRound(1, 1)), expires = Ask(kSum, MakeRound(1, 2));
  const auto one = AskLater<Pushed>(system(), shards[0], Ones(0));
  Settle();
  BOOST_TEST(!waits->has_value());
  const auto other = AskLater<Pushed>(system(), shards[0], Ones(1));
  Settle();
  BOOST_TEST(Sum(waits) == 1.0 * kRows);   // the mean of both
  BOOST_TEST(!expires->has_value());
  Advance(milliseconds(600));
  BOOST_REQUIRE(expires->has_value());
  BOOST_TEST(absl::IsDeadlineExceeded((*expires)->status()));
}

BOOST_AUTO_TEST_CASE(a_call_of_another_kind_is_refused_and_the_next_one_goes_on) {
  Start(1, 1, {});
  const auto unknown = Ask({.function = "summ"}, 0), changing = Ask({.function = "apply", .words = {{"op", "abs"}}}, 0), good = Ask(kSum, 0);
  Settle();
  BOOST_TEST(Message((*unknown)->status()) == "unknown function 'summ'; did you mean 'sum'?");
  BOOST_TEST(absl::IsInvalidArgument((*changing)->status()));
  BOOST_TEST(Sum(good) == 0.0);
}

BOOST_AUTO_TEST_CASE(so_many_calls_may_wait_and_no_more) {
  Start(1, 1, {});
  std::vector<Later<Called>> calls;
  for (int i = 0; i < 70; ++i) calls.push_back(Ask(kSum, MakeRound(1, 1)));
  Settle();
  BOOST_TEST(std::ranges::count_if(calls, [](const auto& call) { return call->has_value() && absl::IsUnavailable((*call)->status()); }) == 6);
  const auto push = AskLater<Pushed>(system(), shards[0], Ones(0));
  Settle();
  BOOST_TEST(std::ranges::count_if(calls, [](const auto& call) { return call->has_value() && (*call)->ok(); }) == 64);
}

BOOST_AUTO_TEST_CASE(what_is_assigned_with_a_call_is_seen_by_it) {
  Start(1, 1, {});
  const Assign assign{.table = 0, .keys = Block::Adopt(std::vector<Key>{5}), .values = Block::Adopt(std::vector<float>{3})};
  const auto call = AskLater<Called>(system(), shards[0], Call{.call = kSum, .at = 0, .assigned = {assign}});
  const auto wrong = AskLater<Called>(system(), shards[0], Call{.call = kSum, .at = 0, .assigned = {Assign{.table = 9, .keys = {}, .values = {}}}});
  Settle();
  BOOST_TEST(Sum(call) == 3.0);
  BOOST_TEST(absl::IsInvalidArgument((*wrong)->status()));
}

BOOST_AUTO_TEST_CASE(all_shards_together_answer_as_one) {
  Start(3, 1, {});
  absl::StatusOr<FunctionValue> value = absl::UnknownError(""), refused = value;
  CallShards(system(), shards, {spec}, {.function = "top_k", .numbers = {{"k", {2}}}}, 0, {}, [&](absl::StatusOr<FunctionValue> v) { value = std::move(v); });
  CallShards(system(), shards, {spec}, {.function = "top_k"}, 0, {}, [&](absl::StatusOr<FunctionValue> v) { refused = std::move(v); });
  Settle();
  BOOST_REQUIRE_MESSAGE(value.ok(), value.status().ToString());
  BOOST_TEST((value->keys == std::vector<Key>{0, 1}));
  BOOST_TEST(absl::IsInvalidArgument(refused.status()));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
