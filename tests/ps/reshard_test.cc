// A state of N shards as one of M: whatever the shards went through before, the new ones hold what one shard alone would hold, and go on as it does.
#include "ps/reshard.h"

#include <boost/test/unit_test.hpp>

#include "absl/strings/str_cat.h"
#include "actors/text.h"
#include "ps/internal/saved_ledger.h"
#include "tests/support/shard_job.h"

namespace troupe {
namespace {

using internal::SavedLedger;
using testing::kWriters;
using Job = testing::ShardJob;
using States = std::vector<std::vector<SnapshotSection>>;

States StatesOf(const Job& job) {
  States states;
  for (const Shard& shard : job.all) states.push_back(shard.Save());
  return states;
}

/// The job goes on with `to` shards.
void GoOnWith(Job& job, uint32_t to, const std::string& about) {
  const auto dealt = Reshard(job.tables, job.consistency.in_rounds(), StatesOf(job), to);
  BOOST_REQUIRE_MESSAGE(dealt.ok(), about << ": " << dealt.status().ToString());
  BOOST_REQUIRE_EQUAL(dealt->size(), to);
  job.all.clear();
  for (uint32_t shard = 0; shard < to; ++shard) {
    job.all.push_back(job.Make(shard, to));
    const absl::Status loaded = job.all.back().Load((*dealt)[shard]);
    BOOST_REQUIRE_MESSAGE(loaded.ok(), about << ": " << loaded.ToString());
    BOOST_TEST(Job::Same(job.all.back().Save(), (*dealt)[shard]), about);
  }
  job.shards = to;
  job.router.emplace(job.tables, to);
}

SavedLedger LedgerOf(const std::vector<SnapshotSection>& state) {
  return *SavedLedger::Decode(state.front().bytes);
}

constexpr Consistency::Kind kKinds[] = {Consistency::Kind::kBsp, Consistency::Kind::kSsp, Consistency::Kind::kAsp};

std::string Error(const absl::StatusOr<States>& states) {
  return std::string(Message(states.status()));
}

BOOST_AUTO_TEST_SUITE(ReshardTest)

BOOST_AUTO_TEST_CASE(any_number_of_shards_goes_on_as_any_other) {
  for (const Consistency::Kind kind : kKinds) {
    for (uint64_t seed = 1; seed <= 60; ++seed) {
      const std::string about = absl::StrCat(ToString(Consistency{.kind = kind, .staleness = 3}), ", seed ", seed);
      Job job({.kind = kind, .staleness = 3}, static_cast<uint32_t>(1 + seed % 4), seed);
      for (int i = 0; i < 12; ++i) {
        const bool forks = job.random.Below(4) == 0;
        for (uint32_t writer = 0; writer < kWriters; ++writer) job.PushRound(writer, forks && writer == 0 ? job.Fork() : nullptr);
        if (job.shards > 1 && job.random.Below(3) == 0) job.Move(job.random.Below(4) != 0);
        if (job.random.Below(3) == 0) GoOnWith(job, static_cast<uint32_t>(1 + job.random.Below(7)), about);
        job.Compare(about);
      }
      const SavedLedger expected = LedgerOf(job.alone[0].Save());
      for (const Shard& shard : job.all) {
        BOOST_TEST((shard.AppliedClocks() == expected.clocks), about);
        BOOST_TEST(LedgerOf(shard.Save()).rounds_over == expected.rounds_over, about);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(there_and_back_is_the_same_state) {
  Job job({}, 3, 5);
  for (int i = 0; i < 4; ++i) job.PushRound(0, i == 2 ? job.Fork() : nullptr), job.PushRound(1);
  const States before = StatesOf(job);
  for (const uint32_t to : {1u, 2u, 3u, 6u, 40u}) {
    const auto there = Reshard(job.tables, true, before, to);
    BOOST_REQUIRE_MESSAGE(there.ok(), there.status().ToString());
    auto back = Reshard(job.tables, true, *there, 3);
    BOOST_REQUIRE_MESSAGE(back.ok(), back.status().ToString());
    uint64_t nonzeros = 0;
    for (uint32_t shard = 0; shard < 3; ++shard) {
      SavedLedger ledger = LedgerOf((*back)[shard]);
      nonzeros += ledger.nonzeros;   // which shard counts them is all that differs
      ledger.nonzeros = LedgerOf(before[shard]).nonzeros;
      (*back)[shard].front().bytes = ledger.Encode();
      BOOST_TEST(Job::Same((*back)[shard], before[shard]));
    }
    BOOST_TEST(nonzeros == job.alone[0].nonzeros());
  }
}

BOOST_AUTO_TEST_CASE(shards_that_stood_at_different_clocks_are_pushed_what_they_lack_and_know_the_rest) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const std::string about = absl::StrCat("seed ", seed);
    Job job({.kind = Consistency::Kind::kAsp}, 3, seed);
    // All pushes in their order; each shard has a beginning of them.
    constexpr uint64_t kRounds = 8;
    std::vector<uint64_t> has(job.shards);
    for (uint64_t& pushes : has) pushes = job.random.Below(kRounds * kWriters + 1);
    for (uint64_t i = 0; i < kRounds * kWriters; ++i) {
      const auto writer = static_cast<uint32_t>(i % kWriters);
      const Round round = MakeRound(1, 1 + i / kWriters);
      const std::vector<Push> messages = job.Messages(*job.router, writer, round);
      for (uint32_t shard = 0; shard < job.shards; ++shard) {
        if (i < has[shard]) BOOST_REQUIRE((job.all[shard].OnPush(messages[shard])->outcome == Pushed::Outcome::kApplied));
      }
      job.Sent(writer, round);
    }
    const uint64_t least = *std::ranges::min_element(has);
    GoOnWith(job, static_cast<uint32_t>(1 + job.random.Below(6)), about);
    for (const Shard& shard : job.all) BOOST_TEST(LedgerOf(shard.Save()).rounds_over == least, about);
    // The writers begin again, and make all messages as their predecessors did; each shard is behind the least of what there was.
    job.done.assign(kWriters, kFirstRound);
    job.last.assign(kWriters, std::vector<Sequence>(job.router->slots()));
    for (uint64_t i = 0; i < kRounds * kWriters; ++i) {
      const auto writer = static_cast<uint32_t>(i % kWriters);
      const Round round = MakeRound(1, 1 + i / kWriters);
      const std::vector<Push> messages = job.Messages(*job.router, writer, round), whole = job.Messages(job.alone_router, writer, round);
      for (uint32_t shard = 0; shard < job.shards; ++shard) {
        BOOST_TEST((job.all[shard].clock(writer) < round) == (i >= least), about);
        BOOST_REQUIRE((job.all[shard].OnPush(messages[shard])->outcome == Pushed::Outcome::kApplied));
      }
      for (const PushPart& part : whole[0].parts.As<PushPart>()) job.last[writer][job.router->Slot(part.table, part.range)] = part.sequence;
      job.done[writer] = round;
    }
    job.Compare(about);
    for (const Shard& shard : job.all) BOOST_TEST(LedgerOf(shard.Save()).rounds_over == kRounds * kWriters, about);
  }
}

BOOST_AUTO_TEST_CASE(a_move_of_ranges_that_not_all_shards_have_heard_the_end_of_is_over_or_never_was) {
  for (const Consistency::Kind kind : kKinds) {
    for (uint64_t seed = 1; seed <= 40; ++seed) {
      const std::string about = absl::StrCat(ToString(Consistency{.kind = kind, .staleness = 3}), ", seed ", seed);
      Job job({.kind = kind, .staleness = 3}, 3, seed);
      for (int i = 0; i < 3; ++i) job.PushRound(0), job.PushRound(1);
      job.Move(true);
      for (int i = 0; i < 3; ++i) job.PushRound(0), job.PushRound(1);
      job.Move(job.random.Below(2) == 0, static_cast<uint32_t>(job.random.Below(3)));
      GoOnWith(job, static_cast<uint32_t>(1 + job.random.Below(5)), about);
      for (const Shard& shard : job.all) BOOST_TEST(shard.in_doubt() == 0u);
      job.Compare(about);
      for (int i = 0; i < 3; ++i) job.PushRound(0), job.PushRound(1);
      job.Compare(about);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_workers_keep_stays_behind_the_shards) {
  const std::vector<TableSpec> tables{{.name = "s", .width = 2, .rows = {}, .rule = "sgd", .rule_options = {}, .ranges = 4},
                                      {.name = "k", .width = 1, .rows = 9, .rule = "sgd", .rule_options = {}, .ranges = 3, .kept_by = KeptBy::kRing}};
  const auto make = [&](uint32_t shard, uint32_t shards) {
    return *Shard::Make({.tables = tables, .shard = shard, .shards = shards, .writers = shard == shards ? 1u : 3u, .consistency = {}});
  };
  std::vector<Shard> all;
  for (uint32_t place = 0; place <= 2; ++place) all.push_back(make(place, 2));
  BOOST_REQUIRE(all[2].OnAssign({.table = 1, .keys = Block::Adopt(std::vector<Key>{1, 7}), .values = Block::Adopt(std::vector<float>{3, 4})}).ok());
  States states;
  for (const Shard& shard : all) states.push_back(shard.Save());
  for (const uint32_t to : {1u, 2u, 5u}) {
    const auto dealt = Reshard(tables, true, states, to);
    BOOST_REQUIRE_MESSAGE(dealt.ok(), dealt.status().ToString());
    BOOST_REQUIRE_EQUAL(dealt->size(), to + 1);
    for (uint32_t place = 0; place <= to; ++place) BOOST_TEST(make(place, to).Load((*dealt)[place]).ok());
    Shard kept = make(to, to);
    BOOST_REQUIRE(kept.Load(dealt->back()).ok());
    for (uint32_t range = 0; range < 3; ++range) {
      const Block found = kept.tables()[1].Save(range), expected = all[2].tables()[1].Save(range);
      BOOST_TEST((found.size() == expected.size() && std::memcmp(found.data(), expected.data(), found.size()) == 0));
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_whole_state_is_refused_with_the_shard_that_is_wrong) {
  Job job({}, 3, 2);
  for (int i = 0; i < 2; ++i) job.PushRound(0), job.PushRound(1);
  const States good = StatesOf(job);
  BOOST_REQUIRE(Reshard(job.tables, true, good, 2).ok());
  const auto refused = [&](const States& states, uint32_t to = 2) { return Error(Reshard(job.tables, true, states, to)); };
  BOOST_TEST(refused(good, 0) == "a state of no shards");
  BOOST_TEST(refused({}) == "a state of no shards");
  BOOST_TEST(refused({good[0], good[1]}) == "state of shard 0: is that of shard 0 of 3 with 23 ranges, expected shard 0 of 2 with 23");
  BOOST_TEST(refused({good[0], good[2], good[1]}) == "state of shard 1: is that of shard 2 of 3 with 23 ranges, expected shard 1 of 3 with 23");
  const auto without = [&](uint32_t shard, size_t section) {
    States states = good;
    states[shard].erase(states[shard].begin() + static_cast<std::ptrdiff_t>(section));
    return states;
  };
  BOOST_TEST(refused(without(1, 0)) == "state of shard 1: snapshot holds no ledger");
  BOOST_TEST(refused(without(2, 1)) == "state of shard 2: lacks range 4 of table 'n'");
  States cut = good;
  cut[1][0].bytes = cut[1][0].bytes.Slice(0, cut[1][0].bytes.size() - 8);
  BOOST_TEST(refused(cut) == "state of shard 1: snapshot holds no ledger");
  States writers = good;
  SavedLedger ledger = LedgerOf(good[2]);
  ledger.writers = 1;
  ledger.clocks.resize(1);
  ledger.sequences.resize(ledger.slots);
  writers[2][0].bytes = ledger.Encode();
  BOOST_TEST(refused(writers) == "state of shard 2: has another number of writers than shard 0");
  const RangeMap next = *RangeMap(job.tables, 3).After(std::vector<RangeMove>{{0, 0, 1}});
  States maps = good;
  maps[1].push_back({"map", next.Encode()});
  BOOST_TEST(refused(maps) == "state of shard 0: has map 0 of the ranges, expected 1");
  maps[1].back().bytes = Block();
  BOOST_TEST(refused(maps).starts_with("map of ranges: "));
  States move = good;
  move[2].push_back({"move/map", Block()});
  BOOST_TEST(refused(move).starts_with("map of ranges: "));
  move = maps = good;
  for (auto& state : maps) state.push_back({"map", next.Encode()});
  BOOST_TEST(refused(maps) == "state of shard 1: lacks range 0 of table 'n'");   // it never came there
  move[0].push_back({"map", next.Encode()});
  for (const uint32_t in_doubt : {1u, 2u}) move[in_doubt].push_back({"move/map", next.Encode()});
  BOOST_TEST(refused(move) == "state of shard 1: lacks range 0 of table 'n'");
  States places = good;
  places[0].push_back({"at/table/n/0", Block()});
  BOOST_TEST(refused(places) == "snapshot: section 'at/table/n/0' is cut");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
