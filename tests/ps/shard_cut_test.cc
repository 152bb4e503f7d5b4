// Cuts through shards as plain logic: whatever has come to which shard when a cut begins, all views are of the same rounds, each of them whole.
#include <boost/test/unit_test.hpp>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "actors/random.h"
#include "actors/text.h"
#include "ps/router.h"
#include "ps/shard.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
constexpr Consistency kBsp{}, kSsp{.kind = Consistency::Kind::kSsp, .staleness = 2}, kAsp{.kind = Consistency::Kind::kAsp};
constexpr uint32_t kWriters = 3, kRounds = 8;
constexpr milliseconds kTime{100};

std::vector<TableSpec> Tables() {
  return {{.name = "n", .width = 1, .rows = {}, .rule = "add", .rule_options = {}, .combine = TableSpec::Combine::kSum, .ranges = 6},
          {.name = "m", .width = 2, .rows = 12, .rule = "add", .rule_options = {}, .combine = TableSpec::Combine::kSum, .ranges = 4}};
}
Shard Make(const Consistency& consistency, uint32_t shard = 0, uint32_t shards = 1, uint32_t writers = kWriters) {
  auto made = Shard::Make({.tables = Tables(), .shard = shard, .shards = shards, .writers = writers, .consistency = consistency});
  BOOST_REQUIRE_MESSAGE(made.ok(), made.status().ToString());
  return std::move(*made);
}

std::vector<Key> Keys() {
  std::vector<Key> keys;
  for (Key key = 0; key < 12; ++key) keys.push_back(key);
  return keys;
}

/// What a writer sends to one shard: every round adds 1 to all rows, each range's part in a message of its own. Writers skip different rounds.
std::vector<Push> Script(uint32_t writer, uint32_t shard, uint32_t shards) {
  const Router router(Tables(), shards);
  std::vector<Push> messages;
  std::vector<Sequence> last(router.slots());
  Round done = kFirstRound;
  for (uint32_t i = 1; i <= kRounds; ++i) {
    if (i % (3 + writer) == 2 && i < kRounds) continue;
    const Round round = i == kRounds ? MakeRound(2, 0) : MakeRound(1, i);
    std::vector<TablePush> pushes;
    for (uint32_t t = 0; t < 2; ++t) pushes.push_back({.table = t, .keys = Keys(), .values = std::vector<float>(12 * (t + 1), 1), .nonzeros = {}});
    const RoutedPush::Chunk rows = std::move(router.Push(std::move(pushes)).shards[shard][0]);
    size_t key = 0, value = 0;
    for (size_t p = 0; p < std::max<size_t>(1, rows.parts.size()); ++p) {
      Push push{.writer = WriterId{writer},
                .round = round,
                .previous = done,
                .round_over = p + 1 >= rows.parts.size(),
                .chunk = static_cast<uint32_t>(p),
                .parts = {},
                .keys = {},
                .values = {}};
      if (p < rows.parts.size()) {
        PushPart part = rows.parts[p];
        part.sequence = round << 8;
        part.previous = std::exchange(last[router.Slot(part.table, part.range)], part.sequence);
        const size_t keys = part.count * sizeof(Key), values = part.count * (part.table + 1) * sizeof(float);
        push.parts = Block::Adopt(std::vector<PushPart>{part});
        push.keys = rows.keys.Slice(std::exchange(key, key + keys), keys);
        push.values = rows.values.Slice(std::exchange(value, value + values), values);
      }
      messages.push_back(push);
    }
    done = round;
  }
  return messages;
}

/// How many rounds of a writer its clock says.
uint64_t Rounds(uint32_t writer, Round clock) {
  std::set<Round> rounds;
  for (const Push& push : Script(writer, 0, 1)) {
    if (push.round <= clock) rounds.insert(push.round);
  }
  return rounds.size();
}

/// Every row of the shard's in a view is the number of rounds that the clocks say.
void CheckView(Shard& shard, uint64_t view, const std::vector<Round>& clocks, const std::string& about) {
  const std::vector<Key> keys = Keys();
  const Router router(Tables(), shard.options().shards);
  const Router::TablePull wanted[] = {{.table = 0, .keys = keys}, {.table = 1, .keys = keys}};
  const RoutedPull routed = router.Pull(wanted);
  const RoutedPull::Share& share = routed.shards[shard.options().shard];
  const auto pulled = shard.OnPull({.parts = share.parts, .keys = share.keys, .view = view});
  BOOST_REQUIRE_MESSAGE(pulled.ok(), about << ": " << pulled.status().ToString());
  uint64_t rounds = 0;
  for (uint32_t w = 0; w < clocks.size(); ++w) rounds += Rounds(w, clocks[w]);
  for (const float value : pulled->values.As<float>()) BOOST_TEST(value == static_cast<float>(rounds), about);
}

Prepare Begin(uint64_t cut) {
  return {.cut = cut, .hold = kTime};
}
Freeze To(uint64_t cut, const std::vector<Round>& clocks) {
  return {.cut = cut, .clocks = Block::Copy(std::span<const Round>(clocks)), .wait = kTime, .lease = kTime};
}

BOOST_AUTO_TEST_SUITE(ShardCutTest)

BOOST_AUTO_TEST_CASE(views_of_all_shards_are_of_the_same_whole_rounds) {
  for (const Consistency& consistency : {kBsp, kSsp, kAsp}) {
    uint64_t partial = 0;   // cuts that began in the middle of a round somewhere
    for (uint64_t seed = 1; seed <= 150; ++seed) {
      Random random(seed);
      const std::string about = ToString(consistency) + ", seed " + std::to_string(seed);
      const auto shards = static_cast<uint32_t>(1 + random.Below(3));
      std::vector<Shard> all;
      std::vector<std::vector<std::vector<Push>>> script(shards);
      std::vector<std::vector<size_t>> next(shards, std::vector<size_t>(kWriters));
      std::vector<std::vector<SnapshotSection>> saved;
      for (uint32_t s = 0; s < shards; ++s) {
        all.push_back(Make(consistency, s, shards));
        for (uint32_t w = 0; w < kWriters; ++w) script[s].push_back(Script(w, s, shards));
        saved.push_back(all[s].Save());
      }
      const auto deliver = [&] {
        const size_t s = random.Below(shards), w = random.Below(kWriters);
        if (random.Below(40) == 0) saved[s] = all[s].Save();
        if (next[s][w] == script[s][w].size() || !all[s].Passes(script[s][w][next[s][w]])) return;
        const auto pushed = all[s].OnPush(script[s][w][next[s][w]++]);
        BOOST_REQUIRE_MESSAGE(pushed.ok(), about << ": " << pushed.status().ToString());
        BOOST_REQUIRE((pushed->outcome == Pushed::Outcome::kApplied));
      };
      const auto fall_back = [&] {   // it loses its cut and its views, too
        const size_t s = random.Below(shards);
        all[s] = Make(consistency, static_cast<uint32_t>(s), shards);
        BOOST_REQUIRE(all[s].Load(saved[s]).ok());
        for (uint32_t w = 0; w < kWriters; ++w) {
          const Round clock = all[s].OnOpen({WriterId{w}})->clock;
          next[s][w] = static_cast<size_t>(std::ranges::count_if(script[s][w], [clock](const Push& push) { return push.round <= clock; }));
        }
      };
      for (uint64_t cut = 1; cut <= 4; ++cut) {
        for (uint64_t i = random.Below(60); i > 0; --i) deliver();
        if (random.Below(3) == 0) fall_back();
        std::vector<Prepared> prepared;
        for (uint32_t s = 0; s < shards; ++s) {
          for (uint64_t i = random.Below(20); i > 0; --i) deliver();
          const auto answer = all[s].OnPrepare(Begin(cut));
          BOOST_REQUIRE_MESSAGE(answer.ok(), about << ": " << answer.status().ToString());
          prepared.push_back(*answer);
          for (uint32_t w = 0; w < kWriters; ++w) partial += answer->clocks.As<Round>()[w] > all[s].AppliedClocks()[w];
        }
        const std::vector<Round> clocks = *CutOf(prepared);
        std::vector<bool> done(shards);
        for (uint32_t s = 0; s < shards; ++s) {
          for (uint64_t i = random.Below(20); i > 0; --i) deliver();
          BOOST_REQUIRE(all[s].OnFreeze(To(cut, clocks)).ok());
        }
        for (int i = 0; i < 5000 && std::ranges::count(done, true) < shards; ++i) {
          deliver();
          for (uint32_t s = 0; s < shards; ++s) {
            if (done[s] || !all[s].MakeView(cut)) continue;
            done[s] = true;
            BOOST_TEST((all[s].AppliedClocks() == clocks), about);
            all[s].EndCut(cut);
          }
        }
        BOOST_REQUIRE_EQUAL(std::ranges::count(done, true), shards);
        for (uint64_t i = random.Below(60); i > 0; --i) deliver();   // none of it shows
        for (uint32_t s = 0; s < shards; ++s) CheckView(all[s], cut, clocks, about);
      }
    }
    if (consistency != kBsp) BOOST_TEST(partial > 0U);
  }
}

BOOST_AUTO_TEST_CASE(a_restored_shard_knows_of_the_half_round_that_it_holds) {
  const std::vector<Push> script = Script(0, 0, 1);
  Shard shard = Make(kAsp, 0, 1, 1);
  for (size_t i = 0; i < 3; ++i) BOOST_REQUIRE(shard.OnPush(script[i]).ok());
  Shard other = Make(kAsp, 0, 1, 1);
  BOOST_REQUIRE(other.Load(shard.Save()).ok());
  for (Shard* each : {&shard, &other}) {
    const auto prepared = each->OnPrepare(Begin(1));
    BOOST_REQUIRE(prepared.ok());
    BOOST_TEST(prepared->clocks.As<Round>()[0] == MakeRound(1, 1));
    BOOST_REQUIRE(each->OnFreeze(To(1, {MakeRound(1, 1)})).ok());
    BOOST_TEST(!each->MakeView(1));
    for (const Push& push : script) {
      if (each->Passes(push)) BOOST_REQUIRE(each->OnPush(push).ok());
    }
    BOOST_TEST(each->MakeView(1));
    CheckView(*each, 1, {MakeRound(1, 1)}, "");
  }
}

BOOST_AUTO_TEST_CASE(a_view_ends_and_there_are_so_many_and_no_more) {
  Shard shard = Make(kAsp);
  BOOST_TEST(Message(shard.OnPull({.parts = {}, .keys = {}, .view = 1}).status()) == "shard 0 has no view 1: its lease has ended, or the shard was replaced");
  const std::vector<Round> start(kWriters, kFirstRound);
  for (uint64_t cut = 1; cut <= Shard::kViewsMax; ++cut) {
    BOOST_REQUIRE(shard.OnPrepare(Begin(cut)).ok());
    BOOST_TEST(absl::IsUnavailable(shard.OnPrepare(Begin(99)).status()));   // one at a time
    BOOST_TEST(!shard.MakeView(cut));
    BOOST_REQUIRE(shard.OnFreeze(To(cut, start)).ok());
    BOOST_TEST(!shard.MakeView(99));
    BOOST_TEST(shard.MakeView(cut));
    BOOST_TEST(shard.HasView(cut));
    shard.EndCut(cut);
    BOOST_TEST(!shard.HoldsFor(cut));
  }
  BOOST_TEST(Message(shard.OnPrepare(Begin(50)).status()) == "shard 0 keeps 16 views already");
  shard.DropView(3);
  BOOST_TEST(!shard.HasView(3));
  BOOST_TEST(shard.OnPrepare(Begin(50)).ok());
  BOOST_TEST(absl::IsInvalidArgument(shard.OnFreeze({.cut = 50, .clocks = Block::Copy("abc", 3)})));
  BOOST_TEST(absl::IsInvalidArgument(shard.OnFreeze(To(50, {1}))));
  BOOST_TEST(absl::IsUnavailable(shard.OnFreeze(To(51, start))));
}

BOOST_AUTO_TEST_CASE(jobs_without_one_clock_have_no_cuts_and_tables_with_limits_no_views) {
  for (const std::string text : {"backup:1", "bsp,x=asp"}) {
    std::vector<TableSpec> tables = Tables();
    tables[0].name = "x";
    Shard shard = std::move(*Shard::Make({.tables = tables, .writers = 3, .consistency = *ParseConsistencies(text)}));
    const auto prepared = shard.OnPrepare({.cut = 7, .hold = std::chrono::milliseconds(100)});
    BOOST_TEST(absl::IsFailedPrecondition(prepared.status()), prepared.status().ToString());
    BOOST_TEST(std::string(prepared.status().message()).starts_with("consistency is '" + text + "': there are no cuts"));
  }
  std::vector<TableSpec> tables{{.name = "l", .rows = {}, .rule = "sgd", .rule_options = {}}, {.name = "m", .rows = {}, .rule = "sgd", .rule_options = {}}};
  tables[0].limits.admit_after = 2;
  Shard shard = std::move(*Shard::Make({.tables = tables, .writers = 1, .consistency = Consistency{.kind = Consistency::Kind::kAsp}}));
  const std::vector<Round> clocks(1, kFirstRound);
  BOOST_REQUIRE(shard.OnPrepare({.cut = 7, .hold = std::chrono::milliseconds(100)}).ok());
  BOOST_REQUIRE(shard.OnFreeze({.cut = 7, .clocks = Block::Copy(std::span<const Round>(clocks))}).ok());
  BOOST_REQUIRE(shard.MakeView(7));
  for (const uint32_t table : {0, 1}) {
    const Key key = 3;
    const Router router(tables, 1);
    const Router::TablePull wanted[] = {{.table = table, .keys = {&key, 1}}};
    const RoutedPull::Share share = router.Pull(wanted).shards[0];
    const absl::Status status = shard.OnPull({.parts = share.parts, .keys = share.keys, .view = 7}).status();
    BOOST_TEST(std::string(status.message()) == (table == 0 ? "pull: table 'l' has limits, and so no views" : ""));
  }
  tables[1].branch_of = "l";
  tables[1].limits = tables[0].limits = {};
  BOOST_TEST(ValidateBranches(tables).ok());
  tables[0].limits.admit_after = 2;
  BOOST_TEST(ValidateBranches(tables).message() == "table 'm': branch_of is set, but tables with limits have no branches and are none");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
