// Readers and the shard actors' side of cuts: what is shared, what waits and for how long, and that nothing stays held. Virtual time.
#include "ps/reader_actor.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <optional>
#include <set>
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

constexpr uint32_t kShards = 2, kWriters = 2;
const std::vector<Key> kKeys = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

struct Fixture : testing::VirtualSystem {
  std::vector<TableSpec> tables = {{.name = "n", .width = 2, .rows = {}, .rule = "add", .rule_options = {}, .combine = TableSpec::Combine::kSum, .ranges = 6},
                                   {.name = "m", .width = 1, .rows = 12, .rule = "add", .rule_options = {}, .combine = TableSpec::Combine::kSum, .ranges = 4}};
  std::optional<Router> router{std::in_place, tables, kShards};
  std::vector<ShardActor> shards;
  std::vector<ReaderActor> readers;
  std::vector<Round> done = std::vector<Round>(kWriters, kFirstRound);
  std::vector<std::vector<Sequence>> last = std::vector<std::vector<Sequence>>(kWriters, std::vector<Sequence>(router->slots()));

  ~Fixture() {
    for (const ShardActor& shard : shards) caf::anon_send_exit(shard, caf::exit_reason::kill);
    for (const ReaderActor& reader : readers) caf::anon_send_exit(reader, caf::exit_reason::kill);
  }
  void Start(const Consistency& consistency, const ReaderOptions& options = {}, size_t number_of_readers = 1) {
    for (uint32_t shard = 0; shard < kShards; ++shard) {
      ShardActorOptions its;
      its.shard = {.tables = tables, .shard = shard, .shards = kShards, .writers = kWriters, .consistency = consistency, .stable_when_applied = true};
      shards.push_back(*SpawnShard(system(), its));
    }
    for (size_t i = 0; i < number_of_readers; ++i) readers.push_back(SpawnReader(system(), shards, tables, options));
  }
  /// The writer's next round for each shard: 1 to every row.
  std::vector<Push> Next(uint32_t writer) {
    const Round round = done[writer] + 1;
    RoutedPush routed = router->Push({{.table = 0, .keys = kKeys, .values = std::vector<float>(24, 1), .nonzeros = {}},
                                      {.table = 1, .keys = kKeys, .values = std::vector<float>(12, 1), .nonzeros = {}}});
    std::vector<Push> messages;
    for (auto& chunks : routed.shards) {
      for (PushPart& part : chunks[0].parts) {
        part.sequence = round << 8;
        part.previous = std::exchange(last[writer][router->Slot(part.table, part.range)], part.sequence);
      }
      messages.push_back({.writer = WriterId{writer},
                          .round = round,
                          .previous = done[writer],
                          .parts = Block::Adopt(std::move(chunks[0].parts)),
                          .keys = chunks[0].keys,
                          .values = chunks[0].values});
    }
    done[writer] = round;
    return messages;
  }
  Later<Pushed> Send(uint32_t shard, const std::vector<Push>& messages) { return AskLater<Pushed>(system(), shards[shard], messages[shard]); }
  void PushAll(uint32_t writer) {
    const auto messages = Next(writer);
    for (uint32_t shard = 0; shard < kShards; ++shard) Send(shard, messages);
    Settle();
  }
  Later<ReadRows> Ask(milliseconds staleness, size_t reader = 0) {
    return AskLater<ReadRows>(
        system(), readers[reader],
        Read{.rows = {{.table = 0, .keys = Block::Copy(std::span<const Key>(kKeys))}, {.table = 1, .keys = Block::Copy(std::span<const Key>(kKeys))}},
             .max_staleness = staleness});
  }
  /// The one number that all rows are, -1: they are not.
  static double Value(const Later<ReadRows>& read) {
    BOOST_REQUIRE(read->has_value());
    BOOST_REQUIRE_MESSAGE((*read)->ok(), (*read)->status().ToString());
    BOOST_REQUIRE_EQUAL((**read)->values[0].As<float>().size(), 24U);
    BOOST_REQUIRE_EQUAL((**read)->values[1].As<float>().size(), 12U);
    std::set<float> values;
    for (const Block& block : (**read)->values) values.insert(block.As<float>().begin(), block.As<float>().end());
    return values.size() == 1 ? *values.begin() : -1;
  }
  Later<Pulled> PullView(uint32_t shard, uint64_t view) { return AskLater<Pulled>(system(), shards[shard], Pull{.parts = {}, .keys = {}, .view = view}); }
};
constexpr Consistency kAsp{.kind = Consistency::Kind::kAsp};

template <class T>
bool Answered(const Later<T>& later) {
  return later->has_value() && (*later)->ok();
}

}   // namespace

BOOST_FIXTURE_TEST_SUITE(ReaderActorTest, Fixture)

BOOST_AUTO_TEST_CASE(readers_within_their_staleness_share_a_cut) {
  Start(kAsp);
  PushAll(0);
  std::vector<Later<ReadRows>> reads;
  for (int i = 0; i < 100; ++i) reads.push_back(Ask(milliseconds(500)));
  Settle();
  for (const auto& read : reads) {
    BOOST_TEST(Value(read) == 1);
    BOOST_TEST((**read)->cut == (**reads[0])->cut);
    BOOST_TEST(((**read)->clocks == std::vector<Round>{MakeRound(1, 1), kFirstRound}));
  }
  PushAll(1);
  const auto stale = Ask(milliseconds(500)), fresh = Ask(milliseconds(0));
  Settle();
  BOOST_TEST(Value(stale) == 1);
  BOOST_TEST(!fresh->has_value());   // the next cut is not before a tenth of a second is over
  Advance(milliseconds(100));
  BOOST_TEST(Value(fresh) == 2);
  BOOST_TEST((**fresh)->cut != (**reads[0])->cut);
}

BOOST_AUTO_TEST_CASE(a_view_is_given_back_and_ends_with_its_lease) {
  Start(kAsp, {.keep_max = milliseconds(300), .read_max = milliseconds(1'000)});
  const auto read = Ask(milliseconds(0));
  Settle();
  BOOST_TEST(Value(read) == 0);
  const uint64_t cut = (**read)->cut;
  auto there = PullView(1, cut);
  Advance(milliseconds(200));
  BOOST_TEST(Answered(there));
  Advance(milliseconds(200));
  there = PullView(1, cut);
  Settle();
  BOOST_TEST(absl::IsNotFound((*there)->status()));
  // A reader that falls gives nothing back.
  const auto prepared = AskLater<Prepared>(system(), shards[0], Prepare{.cut = 5, .hold = milliseconds(100)});
  Settle();
  const auto frozen =
      AskLater<Frozen>(system(), shards[0], Freeze{.cut = 5, .clocks = (**prepared)->clocks, .wait = milliseconds(100), .lease = milliseconds(700)});
  Advance(milliseconds(600));
  BOOST_TEST(Answered(frozen));
  there = PullView(0, 5);
  Advance(milliseconds(200));
  BOOST_TEST(Answered(there));
  there = PullView(0, 5);
  Settle();
  BOOST_TEST(absl::IsNotFound((*there)->status()));
}

BOOST_AUTO_TEST_CASE(a_writer_that_fell_between_two_shards_makes_reads_fail_and_holds_nothing) {
  for (const Consistency& consistency : {kAsp, Consistency{.kind = Consistency::Kind::kSsp, .staleness = 1}}) {
    shards.clear();
    readers.clear();
    done.assign(kWriters, kFirstRound);
    last.assign(kWriters, std::vector<Sequence>(router->slots()));
    Start(consistency, {.step_max = milliseconds(200)});
    const auto half = Next(0);
    Send(0, half);
    Settle();
    const auto read = Ask(milliseconds(1'000));
    Settle();
    // The shard that has it all has made its view and goes on; the other lets nothing else in until the cut is given up.
    const auto other = Next(1);
    const auto at_first = Send(0, other), at_second = Send(1, other);
    Settle();
    BOOST_TEST(Answered(at_first));
    BOOST_TEST(!Answered(at_second));
    Advance(milliseconds(300));
    BOOST_TEST(Answered(at_second));
    Advance(milliseconds(5'000));
    BOOST_REQUIRE(read->has_value());
    BOOST_TEST(absl::IsUnavailable((*read)->status()));
    BOOST_TEST(Message((*read)->status()).starts_with("read: no cut could be made: shard 1 has not reached the cut"), Message((*read)->status()));
    const auto next = Next(1);
    const auto pushed = Send(0, next);
    Send(1, next);
    Settle();
    BOOST_TEST(Answered(pushed));
    Send(1, half);   // its replacement sends it again
    const auto again = Ask(milliseconds(0));
    Advance(milliseconds(500));
    BOOST_TEST(Value(again) == 3);
    for (const ShardActor& shard : shards) caf::anon_send_exit(shard, caf::exit_reason::kill);
    for (const ReaderActor& reader : readers) caf::anon_send_exit(reader, caf::exit_reason::kill);
    Settle();
  }
}

BOOST_AUTO_TEST_CASE(a_cut_goes_on_when_what_was_missing_comes) {
  Start(kAsp);
  const auto half = Next(0);
  Send(0, half);
  Settle();
  const auto read = Ask(milliseconds(0));
  Settle();
  const auto other = Next(1);
  const auto held = Send(1, other);   // beyond the cut
  Settle();
  BOOST_TEST(!held->has_value());
  BOOST_TEST(!read->has_value());
  Send(1, half);
  Send(0, other);
  Settle();
  BOOST_TEST(Value(read) == 1);
  BOOST_TEST(Answered(held));
  BOOST_TEST((**held)->clock == MakeRound(1, 1));
}

BOOST_AUTO_TEST_CASE(bsp_reads_are_of_whole_rounds) {
  Start({});
  PushAll(0);
  const auto first = Ask(milliseconds(0));
  Settle();
  BOOST_TEST(Value(first) == 0);
  const auto other = Next(1);
  Send(0, other);   // one shard has the round, the other not
  Advance(milliseconds(200));
  const auto second = Ask(milliseconds(0));
  Settle();
  BOOST_TEST(!second->has_value());
  PushAll(0);
  const auto next = Next(1);
  Send(0, next);   // held: the shard stands at the first round
  Settle();
  Send(1, other);
  Settle();
  BOOST_TEST(Value(second) == 2);
  Send(1, next);
  Advance(milliseconds(200));
  const auto third = Ask(milliseconds(0));
  Settle();
  BOOST_TEST(Value(third) == 4);
}

BOOST_AUTO_TEST_CASE(a_view_that_a_shard_has_lost_is_an_error_and_then_there_is_a_new_cut) {
  Start(kAsp);
  const auto first = Ask(milliseconds(0));
  Settle();
  caf::anon_send(shards[1], Release{(**first)->cut});   // as a replacement would know nothing of it
  const auto lost = Ask(milliseconds(1'000));
  Settle();
  BOOST_TEST(absl::IsUnavailable((*lost)->status()));
  BOOST_TEST(Message((*lost)->status()).starts_with("read: shard 1 has no view"), Message((*lost)->status()));
  const auto again = Ask(milliseconds(1'000));
  Advance(milliseconds(200));
  BOOST_TEST(Value(again) == 0);
  BOOST_TEST((**again)->cut != (**first)->cut);
}

BOOST_AUTO_TEST_CASE(a_hold_without_a_freeze_ends_by_itself_and_what_comes_late_holds_nothing) {
  Start(kAsp);
  const auto prepared = AskLater<Prepared>(system(), shards[0], Prepare{.cut = 5, .hold = milliseconds(200)});
  Settle();
  BOOST_TEST(Answered(prepared));
  const auto push = Next(0);
  const auto held = Send(0, push);
  Advance(milliseconds(100));
  BOOST_TEST(!held->has_value());
  Advance(milliseconds(150));
  BOOST_TEST(Answered(held));
  const auto late = AskLater<Prepared>(system(), shards[0], Prepare{.cut = 5, .hold = milliseconds(200)});
  const auto frozen =
      AskLater<Frozen>(system(), shards[0], Freeze{.cut = 5, .clocks = (**prepared)->clocks, .wait = milliseconds(100), .lease = milliseconds(100)});
  Settle();
  BOOST_TEST(absl::IsUnavailable((*late)->status()));
  BOOST_TEST(absl::IsUnavailable((*frozen)->status()));
  for (const milliseconds hold : {milliseconds(0), milliseconds(20'000)}) {
    const auto wrong = AskLater<Prepared>(system(), shards[0], Prepare{.cut = 6, .hold = hold});
    Settle();
    BOOST_TEST(absl::IsInvalidArgument((*wrong)->status()));
  }
  const auto good = AskLater<Prepared>(system(), shards[0], Prepare{.cut = 7, .hold = milliseconds(200)});
  Settle();
  const auto wrong = AskLater<Frozen>(system(), shards[0], Freeze{.cut = 7, .clocks = (**good)->clocks, .wait = milliseconds(100), .lease = milliseconds(0)});
  Settle();
  BOOST_TEST(Message((*wrong)->status()) == "lease is 0 ms, expected 1 .. 600000");
  const auto next = Next(0);
  const auto free = Send(0, next);
  Settle();
  BOOST_TEST(Answered(free));
}

BOOST_AUTO_TEST_CASE(messages_that_come_twice_are_answered_twice) {
  Start(kAsp);
  const Prepare prepare{.cut = 5, .hold = milliseconds(200)};
  const auto first = AskLater<Prepared>(system(), shards[0], prepare), second = AskLater<Prepared>(system(), shards[0], prepare);
  Settle();
  BOOST_TEST(Answered(first));
  BOOST_TEST(Answered(second));
  const auto push = Next(0);
  const Freeze freeze{.cut = 5, .clocks = Block::Adopt(std::vector<Round>{push[0].round, kFirstRound}), .wait = milliseconds(100), .lease = milliseconds(500)};
  const auto one = AskLater<Frozen>(system(), shards[0], freeze), two = AskLater<Frozen>(system(), shards[0], freeze);
  Settle();
  BOOST_TEST(!one->has_value());
  Send(0, push);
  Settle();
  const auto three = AskLater<Frozen>(system(), shards[0], freeze);
  Settle();
  for (const auto& frozen : {one, two, three}) BOOST_TEST(Answered(frozen));
}

BOOST_AUTO_TEST_CASE(two_readers_do_not_stop_each_other_for_ever) {
  Start(kAsp, {.cut_interval = milliseconds(20)}, 2);
  for (int i = 0; i < 20; ++i) {
    PushAll(0);
    const auto a = Ask(milliseconds(0), 0), b = Ask(milliseconds(0), 1);
    Advance(milliseconds(400));
    BOOST_TEST(Value(a) == i + 1);
    BOOST_TEST(Value(b) == i + 1);
  }
}

BOOST_AUTO_TEST_CASE(a_call_under_way_sees_no_push_that_a_cut_has_let_go) {
  tables[1] = {.name = "m", .width = 1, .rows = 1 << 20, .rule = "add", .rule_options = {}, .combine = TableSpec::Combine::kSum};   // four slices
  router.emplace(tables, kShards);
  last.assign(kWriters, std::vector<Sequence>(router->slots()));
  Start(kAsp);
  const auto prepared = AskLater<Prepared>(system(), shards[0], Prepare{.cut = 5, .hold = milliseconds(200)});
  const auto call = AskLater<Called>(system(), shards[0], Call{.call = {.function = "sum", .tables = {1}}, .at = 0, .assigned = {}});
  const auto push = Next(0);
  const auto pushed = Send(0, push);
  const auto released = AskLater<Released>(system(), shards[0], Release{5});
  Settle();
  BOOST_TEST(Answered(prepared));
  BOOST_TEST(Answered(released));
  BOOST_TEST(Answered(pushed));
  BOOST_REQUIRE(Answered(call));
  const std::span<const double> numbers = (**call)->numbers.As<double>();
  BOOST_REQUIRE_GE(numbers.size(), 2U);
  for (size_t i = 0; i < numbers.size(); i += 2) BOOST_TEST(numbers[i] == 0.0);   // a sum, then how many rows
}

BOOST_AUTO_TEST_CASE(reads_that_cannot_be_are_refused) {
  Start(kAsp, {.reads_max = 3});
  const auto refused = [&](Read read) {
    const auto answer = AskLater<ReadRows>(system(), readers[0], std::move(read));
    Settle();
    BOOST_REQUIRE(answer->has_value());
    BOOST_TEST(absl::IsInvalidArgument((*answer)->status()));
    return std::string(Message((*answer)->status()));
  };
  BOOST_TEST(refused({.rows = {{.table = 2, .keys = {}}}}) == "read: table is 2, expected < 2");
  BOOST_TEST(refused({.rows = {{.table = 0, .keys = Block::Copy("abc", 3)}}}) == "read: keys are cut or not aligned");
  BOOST_TEST(refused({.rows = {{.table = 0, .keys = Block::Adopt(std::vector<Key>{4, 5, 4})}}}) == "read: row 4 of table 'n' twice, expected distinct rows");
  BOOST_TEST(refused({.rows = {{.table = 1, .keys = Block::Adopt(std::vector<Key>{12})}}}) == "read: row is 12, expected < 12 in table 'm'");
  const auto none = AskLater<ReadRows>(system(), readers[0], Read{});
  Settle();
  BOOST_TEST(Answered(none));
  Send(0, Next(0));
  Settle();
  std::vector<Later<ReadRows>> reads;
  for (int i = 0; i < 5; ++i) reads.push_back(Ask(milliseconds(0)));
  Settle();
  BOOST_TEST(std::ranges::count_if(reads, [](const auto& read) { return read->has_value(); }) == 2);
  BOOST_TEST(Message((*reads[4])->status()) == "read: 3 reads wait already");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
