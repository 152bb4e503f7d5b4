// A job's shards as plain objects beside one shard that holds all: its writers' pushes go to both, its ranges move, its shards are replaced, and whoever has a
// range at the end must hold what the one shard holds.
#pragma once

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/random.h"
#include "actors/text.h"
#include "ps/cut.h"
#include "ps/router.h"
#include "ps/shard.h"

namespace troupe::testing {

using std::chrono::milliseconds;
inline constexpr uint32_t kWriters = 2;

/// With state in every row, counted pushes, limits, and a branch.
inline std::vector<TableSpec> Tables(bool in_rounds) {
  std::vector<TableSpec> tables{{.name = "n", .width = 2, .rows = {}, .rule = "adagrad", .rule_options = {}, .ranges = 6},
                                {.name = "m", .width = 3, .rows = 40, .rule = "adam", .rule_options = {}, .ranges = 5},
                                {.name = "l", .width = 1, .rows = {}, .rule = "sgd", .rule_options = {}, .ranges = 6, .limits = {.admit_after = 2, .ttl = 5}},
                                {.name = "b", .width = 2, .rows = {}, .rule = "adagrad", .rule_options = {}, .ranges = 6, .branch_of = "n"}};
  if (!in_rounds) tables.erase(tables.begin() + 2);   // there its time is the mean of the writers, which a shard alone counts alike only between rounds
  return tables;
}

struct ShardJob {
  Consistency consistency;
  std::vector<TableSpec> tables;
  uint32_t shards;
  Random random;
  std::optional<Router> router;
  Router alone_router;
  std::vector<Shard> all;
  std::vector<Shard> alone;   // one, the reference
  std::vector<Round> done = std::vector<Round>(kWriters, kFirstRound);
  std::vector<std::vector<Sequence>> last;
  uint64_t cuts = 0;

  ShardJob(const Consistency& c, uint32_t n, uint64_t seed)
      : consistency(c), tables(Tables(c.in_rounds())), shards(n), random(seed), router(std::in_place, tables, n), alone_router(tables, 1) {
    for (uint32_t s = 0; s < n; ++s) all.push_back(Make(s, n));
    alone.push_back(Make(0, 1));
    last.assign(kWriters, std::vector<Sequence>(router->slots()));
  }
  Shard Make(uint32_t shard, uint32_t of) const {
    auto made = Shard::Make({.tables = tables, .shard = shard, .shards = of, .writers = kWriters, .consistency = consistency});
    BOOST_REQUIRE_MESSAGE(made.ok(), made.status().ToString());
    return std::move(*made);
  }
  std::vector<TablePush> Gradient(uint32_t writer, uint64_t ordinal) const {
    Random draws(writer * 1'000 + ordinal);
    std::vector<TablePush> pushes;
    for (uint32_t t = 0; t < tables.size(); ++t) {
      TablePush push{.table = t, .keys = {}, .values = {}, .nonzeros = {}};
      std::set<Key> keys;
      for (uint64_t i = draws.Below(12); i > 0; --i) keys.insert(draws.Below(40));
      push.keys.assign(keys.begin(), keys.end());
      for (size_t i = 0; i < push.keys.size() * tables[t].width; ++i) push.values.push_back(static_cast<float>(draws.Uniform()) - 0.5F);
      push.nonzeros.assign(push.keys.size(), 1);
      pushes.push_back(std::move(push));
    }
    return pushes;
  }
  /// The branch begins, or goes back to its table, with the end of a round.
  std::shared_ptr<const FunctionCall> Fork() const {
    const auto branch = static_cast<uint32_t>(tables.size() - 1);
    return std::make_shared<const FunctionCall>(FunctionCall{.function = "fork", .tables = {branch, 0}});
  }
  /// The messages of a round by the router's map; nothing is counted as sent.
  std::vector<Push> Messages(const Router& by, uint32_t writer, Round round, const std::shared_ptr<const FunctionCall>& change = nullptr) const {
    RoutedPush routed = by.Push(Gradient(writer, OrdinalOf(round)));
    std::vector<Push> messages;
    for (auto& chunks : routed.shards) {
      BOOST_REQUIRE_EQUAL(chunks.size(), 1u);
      for (PushPart& part : chunks[0].parts) {
        part.sequence = round << 8;
        part.previous = last[writer][by.Slot(part.table, part.range)];
      }
      messages.push_back({.writer = WriterId{writer},
                          .round = round,
                          .previous = done[writer],
                          .parts = Block::Adopt(std::move(chunks[0].parts)),
                          .keys = chunks[0].keys,
                          .values = chunks[0].values,
                          .change = change,
                          .epoch = routed.epoch});
    }
    return messages;
  }
  void Sent(uint32_t writer, Round round, const std::shared_ptr<const FunctionCall>& change = nullptr) {
    for (const Push& push : Messages(alone_router, writer, round, change)) {
      BOOST_REQUIRE((alone[0].OnPush(push)->outcome == Pushed::Outcome::kApplied));
      for (const PushPart& part : push.parts.As<PushPart>()) last[writer][router->Slot(part.table, part.range)] = part.sequence;
    }
    done[writer] = round;
  }
  /// To all shards and to the reference.
  void PushRound(uint32_t writer, const std::shared_ptr<const FunctionCall>& change = nullptr) {
    const Round round = MakeRound(1, OrdinalOf(done[writer]) + 1);
    const std::vector<Push> messages = Messages(*router, writer, round, change);
    for (uint32_t s = 0; s < shards; ++s) {
      const auto pushed = all[s].OnPush(messages[s]);
      BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
      BOOST_REQUIRE((pushed->outcome == Pushed::Outcome::kApplied));
    }
    Sent(writer, round, change);
  }
  std::vector<RangeMove> AnyMoves(const RangeMap& map) {
    std::vector<RangeMove> moves;
    for (uint32_t t = 0; t < tables.size(); ++t) {
      if (map.FirstLike(t) != t) continue;
      for (uint32_t range = 0; range < map.ranges(t); ++range) {
        const auto to = static_cast<uint32_t>(random.Below(shards));
        if (to != map.ShardOf(t, range)) moves.push_back({t, range, to});
      }
    }
    return moves;
  }
  /// Its replacement, from a snapshot that was made just now.
  void Replace(uint32_t s) {
    const std::vector<SnapshotSection> saved = all[s].Save();
    all[s] = Make(s, shards);
    BOOST_REQUIRE(all[s].Load(saved).ok());
    BOOST_TEST(Same(saved, all[s].Save()));
  }
  static bool Same(const std::vector<SnapshotSection>& a, const std::vector<SnapshotSection>& b) {
    return std::ranges::equal(a, b, [](const SnapshotSection& x, const SnapshotSection& y) {
      const auto bytes = [](const Block& block) { return std::string_view(reinterpret_cast<const char*>(block.data()), block.size()); };
      return x.name == y.name && bytes(x.bytes) == bytes(y.bytes);
    });
  }
  /// All shards agree to `next`; then it is settled, at the first `heard` shards.
  void Move(bool commit, uint32_t heard = UINT32_MAX) {
    const uint64_t cut = ++cuts;
    const RangeMap now = all[0].map();
    const std::vector<RangeMove> moves = AnyMoves(now);
    if (moves.empty()) return;
    const RangeMap next = *now.After(moves);
    std::vector<Prepared> prepared;
    for (Shard& shard : all) prepared.push_back(*shard.OnPrepare({.cut = cut, .hold = milliseconds(1)}));
    const std::vector<Round> clocks = *CutOf(prepared);
    std::vector<SnapshotSection> given;
    for (Shard& shard : all) {
      const absl::Status stands = shard.OnStand({.cut = cut, .clocks = Block::Copy(std::span<const Round>(clocks)), .map = next.Encode(), .uri = {}});
      BOOST_REQUIRE_MESSAGE(stands.ok(), Message(stands));
      BOOST_REQUIRE(shard.StandsAt(cut));
      for (SnapshotSection& section : shard.SaveLeaving()) given.push_back(std::move(section));
    }
    for (Shard& shard : all) {
      const absl::Status taken = shard.OnTakeIn(cut, given);
      BOOST_REQUIRE_MESSAGE(taken.ok(), Message(taken));
      BOOST_TEST(shard.in_doubt() == cut);
      shard.EndCut(cut);   // a late Release ends nothing any more
      BOOST_TEST(shard.HoldsFor(cut));
    }
    for (uint32_t s = 0; s < std::min(shards, heard); ++s) {
      if (random.Below(3) == 0) Replace(s);
      BOOST_REQUIRE(all[s].OnSettle({.cut = cut, .epoch = next.epoch(), .commit = commit}).ok());
      BOOST_REQUIRE(all[s].OnSettle({.cut = cut, .epoch = next.epoch(), .commit = commit}).ok());   // again
      BOOST_TEST((all[s].map() == (commit ? next : now)));
      BOOST_TEST(all[s].in_doubt() == 0u);
      BOOST_TEST(!all[s].HoldsFor(cut));
      if (random.Below(3) == 0) Replace(s);
    }
    if (commit) router->Follow(next);
  }
  void Compare(const std::string& about) {
    uint64_t nonzeros = 0;
    for (const Shard& shard : all) nonzeros += shard.nonzeros();
    BOOST_TEST(nonzeros == alone[0].nonzeros(), about);
    for (uint32_t t = 0; t < tables.size(); ++t) {
      for (uint32_t range = 0; range < router->map()->ranges(t); ++range) {
        const Block expected = alone[0].tables()[t].Save(range);
        for (uint32_t s = 0; s < shards; ++s) {
          const bool has = all[s].map().ShardOf(t, range) == s;
          BOOST_TEST(all[s].tables()[t].Owns(range) == has, about);
          if (!has) continue;
          const Block found = all[s].tables()[t].Save(range);
          BOOST_TEST((found.size() == expected.size() && std::memcmp(found.data(), expected.data(), found.size()) == 0),
                     about << ": table " << t << " range " << range << " at shard " << s);
        }
      }
    }
  }
};

}   // namespace troupe::testing
