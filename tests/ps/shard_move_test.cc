// A move of ranges as plain logic: whoever has a range at the end, and whichever shard was replaced in between, it holds what one shard alone would hold.
#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "absl/strings/str_cat.h"
#include "actors/text.h"
#include "ps/row_tier.h"
#include "tests/support/shard_job.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using testing::kWriters;
using Job = testing::ShardJob;

BOOST_AUTO_TEST_SUITE(ShardMoveTest)

BOOST_AUTO_TEST_CASE(ranges_hold_what_one_shard_alone_would_hold_wherever_they_go) {
  for (const Consistency::Kind kind : {Consistency::Kind::kBsp, Consistency::Kind::kSsp, Consistency::Kind::kAsp}) {
    for (uint64_t seed = 1; seed <= 60; ++seed) {
      const std::string about = absl::StrCat(ToString(Consistency{.kind = kind, .staleness = 3}), ", seed ", seed);
      Job job({.kind = kind, .staleness = 3}, static_cast<uint32_t>(2 + seed % 3), seed);
      for (int i = 0; i < 12; ++i) {
        for (uint32_t writer = 0; writer < kWriters; ++writer) job.PushRound(writer);
        if (job.random.Below(2) == 0) job.Move(job.random.Below(4) != 0);
      }
      job.Compare(about);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_has_come_of_a_round_by_the_old_map_goes_back_to_its_writers) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Job job({}, 3, seed);
    for (uint32_t writer = 0; writer < kWriters; ++writer) job.PushRound(writer);
    const Round round = MakeRound(1, 2);
    const std::vector<Push> early = job.Messages(*job.router, 0, round);   // the other writer has not ended it: it waits
    for (uint32_t s = 0; s < 3; ++s) BOOST_REQUIRE((job.all[s].OnPush(early[s])->outcome == Pushed::Outcome::kApplied));
    BOOST_TEST(job.all[0].clock(0) == round);
    job.Move(true);
    if (job.router->epoch() == 0) continue;
    for (uint32_t s = 0; s < 3; ++s) {
      BOOST_TEST(job.all[s].clock(0) == MakeRound(1, 1));
      const auto again = job.all[s].OnPush(early[s]);
      BOOST_REQUIRE(again.ok());
      BOOST_TEST((again->outcome == Pushed::Outcome::kMoved));
      BOOST_TEST(again->epoch == 1u);
      BOOST_TEST(job.all[s].OnOpen({WriterId{0}})->epoch == 1u);
      const auto pulled = job.all[s].OnPull({.writer = WriterId{0}, .round = round, .parts = {}, .keys = {}});
      BOOST_REQUIRE(pulled.ok());
      BOOST_TEST(pulled->moved == 1u);
    }
    // Nobody moves on before that is made good, where it was not lost with a shard.
    const bool owes = std::ranges::any_of(job.all, [](const Shard& shard) { return !shard.OnAskRanges({.loads = true}).ok(); });
    BOOST_TEST(job.all[0].OnAskRanges({}).ok());
    for (uint32_t writer = 0; writer < kWriters; ++writer) job.PushRound(writer);
    for (const Shard& shard : job.all) BOOST_TEST(shard.OnAskRanges({.loads = true}).ok(), "owed " << owes);
    job.Compare(absl::StrCat("seed ", seed));
  }
}

BOOST_AUTO_TEST_CASE(a_view_of_a_cut_stays_as_it_was) {
  Job job({.kind = Consistency::Kind::kAsp}, 2, 3);
  for (int i = 0; i < 3; ++i) job.PushRound(0), job.PushRound(1);
  std::vector<Prepared> prepared;
  for (Shard& shard : job.all) prepared.push_back(*shard.OnPrepare({.cut = 77, .hold = milliseconds(1)}));
  const std::vector<Round> clocks = *CutOf(prepared);
  for (Shard& shard : job.all) {
    BOOST_REQUIRE(shard.OnFreeze({.cut = 77, .clocks = Block::Copy(std::span<const Round>(clocks)), .wait = milliseconds(1), .lease = milliseconds(1)}).ok());
    BOOST_REQUIRE(shard.MakeView(77));
    shard.EndCut(77);
  }
  const std::vector<Key> keys{1, 2, 3, 30, 39};
  const Router::TablePull wanted[] = {{.table = 0, .keys = keys}, {.table = 1, .keys = keys}};
  const RoutedPull pull = job.router->Pull(wanted);
  const auto read = [&](uint64_t view) {
    std::vector<Block> values;
    for (uint32_t s = 0; s < 2; ++s) {
      const auto pulled = job.all[s].OnPull({.parts = pull.shards[s].parts, .keys = pull.shards[s].keys, .view = view});
      BOOST_REQUIRE(pulled.ok());
      values.push_back(pulled->values);
    }
    std::vector<std::vector<float>> rows;
    BOOST_REQUIRE(job.router->Gather(pull, values, rows).ok());
    return rows;
  };
  const auto before = read(77);
  // No shard is replaced: that would end the view.
  const RangeMap next = *job.all[0].map().After(job.AnyMoves(job.all[0].map()));
  for (Shard& shard : job.all) BOOST_REQUIRE(shard.OnPrepare({.cut = 78, .hold = milliseconds(1)}).ok());
  std::vector<SnapshotSection> given;
  for (Shard& shard : job.all) {
    BOOST_REQUIRE(shard.OnStand({.cut = 78, .clocks = Block::Copy(std::span<const Round>(clocks)), .map = next.Encode(), .uri = {}}).ok());
    for (SnapshotSection& section : shard.SaveLeaving()) given.push_back(std::move(section));
  }
  for (Shard& shard : job.all) BOOST_REQUIRE(shard.OnTakeIn(78, given).ok());
  for (Shard& shard : job.all) BOOST_REQUIRE(shard.OnSettle({.cut = 78, .epoch = 1, .commit = true}).ok());
  job.router->Follow(next);
  for (int i = 0; i < 3; ++i) job.PushRound(0), job.PushRound(1);
  BOOST_TEST((read(77) == before));
}

BOOST_AUTO_TEST_CASE(what_cannot_move_is_refused_and_nothing_has_changed) {
  Job job({.kind = Consistency::Kind::kAsp}, 2, 5);
  for (int i = 0; i < 3; ++i) job.PushRound(0), job.PushRound(1);
  Shard& shard = job.all[0];
  const std::vector<SnapshotSection> before = shard.Save();
  const std::vector<Round> clocks = shard.AppliedClocks();
  const RangeMap next = *shard.map().After(std::vector<RangeMove>{{0, 5, 0}, {1, 0, 1}});
  const auto stand = [&](const RangeMap& map, uint64_t cut = 9) {
    return shard.OnStand({.cut = cut, .clocks = Block::Copy(std::span<const Round>(clocks)), .map = map.Encode(), .uri = {}});
  };
  BOOST_TEST(absl::IsUnavailable(stand(next)));   // it holds for no cut
  BOOST_TEST(absl::IsUnavailable(shard.OnTakeIn(9, {})));
  BOOST_TEST(absl::IsFailedPrecondition(shard.OnSettle({.cut = 9, .epoch = 1, .commit = true})));
  BOOST_TEST(shard.OnSettle({.cut = 9, .epoch = 1, .commit = false}).ok());
  BOOST_TEST(absl::IsUnavailable(shard.OnPrepare({.cut = 9, .hold = milliseconds(1)}).status()));   // that one is over
  BOOST_REQUIRE(shard.OnPrepare({.cut = 10, .hold = milliseconds(1)}).ok());
  BOOST_TEST(Message(stand(*next.After(std::vector<RangeMove>{{0, 4, 0}}), 10)) == "shard 0 has map 0 of the ranges, expected 1, from which they are to move");
  BOOST_TEST(absl::IsInvalidArgument(shard.OnStand({.cut = 10, .clocks = Block::Copy(std::span<const Round>(clocks)), .map = {}, .uri = {}})));
  BOOST_REQUIRE(stand(next, 10).ok());
  BOOST_TEST(Message(shard.OnTakeIn(10, {})) == "range 5 of table 'n' has not come whole");
  std::vector<SnapshotSection> damaged;
  for (const std::string& name : {std::string("n"), std::string("b")}) {
    damaged.push_back({absl::StrCat("sequences/", name, "/5"), Block::Adopt(std::vector<Sequence>(kWriters))});
    damaged.push_back({absl::StrCat("table/", name, "/5"), Block::Adopt(std::vector<Sequence>(3))});
  }
  BOOST_TEST(absl::IsInvalidArgument(shard.OnTakeIn(10, damaged)));
  BOOST_TEST(shard.in_doubt() == 0u);
  BOOST_TEST(!shard.tables()[0].Owns(5));
  shard.EndCut(10);
  BOOST_TEST(Job::Same(before, shard.Save()));
  const auto newer =
      shard.OnPush({.writer = WriterId{0}, .round = MakeRound(1, 9), .previous = MakeRound(1, 3), .parts = {}, .keys = {}, .values = {}, .epoch = 4});
  BOOST_TEST(absl::IsUnavailable(newer.status()));
  BOOST_TEST(absl::IsUnavailable(shard.OnPull({.writer = WriterId{0}, .round = MakeRound(1, 9), .parts = {}, .keys = {}, .epoch = 4}).status()));
}

BOOST_AUTO_TEST_CASE(tables_with_rows_on_the_disk_stay) {
  std::vector<TableSpec> tables{{.name = "w", .width = 1, .rows = {}, .rule = "sgd", .rule_options = {}, .ranges = 4, .limits = {.memory_max = 1 << 20}}};
  auto shard = Shard::Make(
      {.tables = tables, .shard = 0, .shards = 2, .writers = 1, .consistency = Consistency{.kind = Consistency::Kind::kAsp}, .tiers = MemoryTiers()});
  BOOST_REQUIRE_MESSAGE(shard.ok(), shard.status().ToString());
  BOOST_REQUIRE(shard->OnPrepare({.cut = 1, .hold = milliseconds(1)}).ok());
  const RangeMap next = *shard->map().After(std::vector<RangeMove>{{0, 0, 1}});
  const std::vector<Round> clocks{kFirstRound};
  const absl::Status status = shard->OnStand({.cut = 1, .clocks = Block::Copy(std::span<const Round>(clocks)), .map = next.Encode(), .uri = {}});
  BOOST_TEST(absl::IsFailedPrecondition(status));
  BOOST_TEST(Message(status) == "table 'w' has memory_max: its ranges do not move");
}

BOOST_AUTO_TEST_CASE(loads_count_rows_pushed_and_pulled_since_the_range_came) {
  Job job({.kind = Consistency::Kind::kAsp}, 2, 7);
  for (int i = 0; i < 4; ++i) job.PushRound(0), job.PushRound(1);
  std::vector<uint64_t> pushed(job.router->slots());
  for (uint32_t writer = 0; writer < kWriters; ++writer) {
    for (uint64_t ordinal = 1; ordinal <= 4; ++ordinal) {
      for (const TablePush& push : job.Gradient(writer, ordinal)) {
        const Partition partition(job.tables[push.table], 2);
        for (const Key key : push.keys) ++pushed[job.router->Slot(push.table, partition.RangeOf(key))];
      }
    }
  }
  uint64_t seen = 0;
  for (const Shard& shard : job.all) {
    const auto ranges = shard.OnAskRanges({.loads = true});
    BOOST_REQUIRE(ranges.ok());
    for (const RangeLoad& load : ranges->loads.As<RangeLoad>()) {
      ++seen;
      BOOST_TEST(load.pushed == pushed[job.router->Slot(load.table, load.range)]);
      BOOST_TEST(load.pulled == 0u);
    }
    BOOST_TEST(shard.OnAskRanges({})->loads.empty());
  }
  BOOST_TEST(seen == job.router->slots());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
