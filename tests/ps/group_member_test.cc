// Groups whose writers push in any order, with messages between the members that come early, late and twice, beside plain loops over plain tables.
#include "ps/group_member.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/random.h"
#include "actors/text.h"
#include "ps/router.h"
#include "ps/shard.h"

namespace troupe {
namespace {

constexpr uint32_t kShards = 2, kWriters = 6;
constexpr uint64_t kPhases = 2;

/// "w" lies at the shards; "a" (mean) and "b" (sum) are kept by the workers.
std::vector<TableSpec> Tables() {
  std::vector<TableSpec> tables(3);
  tables[0].name = "w";
  tables[0].rule = "sgd";
  tables[1].name = "a";
  tables[1].rows = 40;
  tables[1].rule = "adagrad";
  tables[1].kept_by = KeptBy::kRing;
  tables[2].name = "b";
  tables[2].width = 3;
  tables[2].rows = 7;
  tables[2].rule = "momentum";
  tables[2].combine = TableSpec::Combine::kSum;
  tables[2].kept_by = KeptBy::kTree;
  return tables;
}

/// Batches of a writer in a phase: some have none in the second one.
uint64_t Batches(uint32_t writer, uint64_t phase) {
  return phase == 1 ? 3 + writer % 3 : writer % 4;
}

TablePush Gradient(uint32_t table, uint32_t writer, Round round) {
  const TableSpec spec = Tables()[table];
  Random random = Random(round).Fork(writer).Fork(table);
  TablePush push{.table = table, .keys = {}, .values = {}, .nonzeros = {}};
  for (Key key = 0; key < *spec.rows; ++key) {
    push.keys.push_back(key);
    push.nonzeros.push_back(2);
  }
  random.Shuffle(std::span(push.keys));
  for (size_t i = 0; i < push.keys.size() * spec.width; ++i) push.values.push_back(static_cast<float>(random.Normal()));
  return push;
}

Push Message(RoutedPush::Chunk chunk, uint32_t writer, Round round, Round previous) {
  Push push;
  push.writer = WriterId{writer};
  push.round = round;
  push.previous = previous;
  push.parts = Block::Adopt(std::move(chunk.parts));
  push.keys = std::move(chunk.keys);
  push.values = std::move(chunk.values);
  return push;
}

/// Everything that a writer sends to the place behind the shards, each round in two messages: table by table.
std::vector<Push> Script(uint32_t writer) {
  const Router router(Tables(), kShards);
  BOOST_REQUIRE_EQUAL(router.shards(), kShards + 1);
  std::vector<Push> script;
  Round done = kFirstRound;
  for (uint64_t phase = 1; phase <= kPhases; ++phase) {
    for (uint64_t batch = 1; batch <= Batches(writer, phase); ++batch) {
      const Round round = MakeRound(phase, batch);
      for (const uint32_t table : {1, 2}) {
        RoutedPush routed = router.Push({Gradient(table, writer, round)});
        BOOST_REQUIRE(routed.shards[0][0].parts.empty() && routed.shards[1][0].parts.empty());
        script.push_back(Message(std::move(routed.shards[kShards][0]), writer, round, done));
        script.back().chunk = table - 1;
        script.back().round_over = table == 2;
      }
      done = round;
    }
    script.push_back(Message({}, writer, MakeRound(phase + 1, 0), done));
    done = MakeRound(phase + 1, 0);
  }
  return script;
}

/// Values of the two kept tables.
using Values = std::vector<std::vector<float>>;

std::vector<float> ValuesOf(const Table& table) {
  std::vector<float> values(*table.spec().rows * table.spec().width);
  for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
    const uint64_t first = table.partition().FirstRow(range), rows = table.partition().RowsIn(range);
    if (rows > 0) BOOST_REQUIRE(table.PullDense(range, first, rows, values.data() + first * table.spec().width).ok());
  }
  return values;
}

/// Rounds one after the other, sums in the order of the writers.
Values Expected() {
  Values expected;
  for (const uint32_t number : {1, 2}) {
    TableSpec spec = Tables()[number];
    spec.kept_by = KeptBy::kShards;
    Table table = *Table::Make(spec, 0, 1);
    for (uint64_t phase = 1; phase <= kPhases; ++phase) {
      for (uint64_t batch = 1;; ++batch) {
        std::vector<float> sum(*spec.rows * spec.width);
        float writers = 0;
        for (uint32_t writer = 0; writer < kWriters; ++writer) {
          if (Batches(writer, phase) < batch) continue;
          const TablePush gradient = Gradient(number, writer, MakeRound(phase, batch));
          for (size_t i = 0; i < gradient.values.size(); ++i) sum[gradient.keys[i / spec.width] * spec.width + i % spec.width] += gradient.values[i];
          ++writers;
        }
        if (writers == 0) break;
        if (spec.combine == TableSpec::Combine::kMean)
          for (float& value : sum) value /= writers;
        for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
          const uint64_t first = table.partition().FirstRow(range), rows = table.partition().RowsIn(range);
          if (rows > 0) BOOST_REQUIRE(table.ApplyDense(range, first, rows, sum.data() + first * spec.width).ok());
        }
      }
    }
    expected.push_back(ValuesOf(table));
  }
  return expected;
}

uint64_t NonzerosExpected() {
  uint64_t nonzeros = 0;
  for (uint64_t phase = 1; phase <= kPhases; ++phase)
    for (uint32_t writer = 0; writer < kWriters; ++writer) nonzeros += Batches(writer, phase) * 2 * (40 + 7);
  return nonzeros;
}

std::string BytesOf(const Shard& shard) {
  std::string bytes;
  for (const SnapshotSection& section : shard.Save()) {
    bytes += section.name;
    bytes.append(reinterpret_cast<const char*>(section.bytes.data()), section.bytes.size());
  }
  return bytes;
}

GroupMember MakeMember(uint32_t i, uint32_t n) {
  std::vector<uint32_t> writers;
  for (uint32_t writer = i; writer < kWriters; writer += n) writers.push_back(writer);
  auto member = GroupMember::Make({.tables = Tables(), .shards = kShards, .member = i, .members = n, .writers = writers});
  BOOST_REQUIRE_MESSAGE(member.ok(), member.status().ToString());
  return std::move(*member);
}

struct Group {
  std::vector<GroupMember> members;
  std::vector<Shard> copies;
  std::vector<std::pair<uint32_t, ReduceMessage>> flying;
  std::vector<std::vector<Push>> scripts;
  std::vector<size_t> next;
  Random random;

  Group(uint32_t n, uint64_t seed, const std::vector<SnapshotSection>* state = nullptr) : next(kWriters), random(seed) {
    for (uint32_t i = 0; i < n; ++i) {
      members.push_back(MakeMember(i, n));
      copies.push_back(*Shard::Make({.tables = Tables(), .shard = kShards, .shards = kShards, .writers = 1, .consistency = {}}));
      if (state != nullptr) BOOST_REQUIRE(copies[i].Load(*state).ok());
      members[i].Begin(*copies[i].OnOpen({WriterId{0}}));
    }
    for (uint32_t writer = 0; writer < kWriters; ++writer) scripts.push_back(Script(writer));
    GoAll();
  }
  void GoAll() {
    for (uint32_t i = 0; i < members.size(); ++i) {
      GroupMember::Effects effects;
      members[i].Go(effects);
      Perform(i, std::move(effects));
    }
  }
  uint32_t MemberOf(uint32_t writer) const { return writer % static_cast<uint32_t>(members.size()); }
  void Perform(uint32_t i, GroupMember::Effects effects) {
    for (const Push& push : effects.rounds) {
      const auto pushed = copies[i].OnPush(push);
      BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
      BOOST_REQUIRE(pushed->outcome == Pushed::Outcome::kApplied);
    }
    for (AllReduce::Outgoing& out : effects.messages) flying.emplace_back(out.to, std::move(out.message));
  }
  /// nullopt: an end that the group has not reached.
  std::optional<Pushed> Send(const Push& push) {
    const uint32_t i = MemberOf(static_cast<uint32_t>(push.writer));
    GroupMember::Effects effects;
    const auto pushed = members[i].OnPush(push, effects);
    BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
    Perform(i, std::move(effects));
    return *pushed;
  }
  /// The writer's next message, unless it waits for a phase's end; often once more, or one from before.
  void Write(uint32_t writer) {
    if (next[writer] == scripts[writer].size()) return;
    const Push& push = scripts[writer][next[writer]];
    if (const auto pushed = Send(push)) {
      BOOST_REQUIRE(pushed->outcome == Pushed::Outcome::kApplied);
      ++next[writer];
      BOOST_REQUIRE(OrdinalOf(push.round) != 0 || members[MemberOf(writer)].over() >= push.round);
    }
    if (random.Below(4) == 0) {
      const auto again = Send(scripts[writer][random.Below(next[writer] + (next[writer] == scripts[writer].size() ? 0 : 1))]);
      BOOST_REQUIRE(!again || again->outcome == Pushed::Outcome::kApplied || next[writer] < scripts[writer].size());
    }
  }
  /// False: all is done.
  bool Step(Round until = MakeRound(kPhases + 1, 0)) {
    if (std::ranges::all_of(members, [&](const GroupMember& member) { return member.over() >= until; })) return false;
    if (!flying.empty() && random.Below(2) == 0) {
      const size_t at = random.Below(flying.size());
      const auto [to, message] = flying[at];
      if (random.Below(4) > 0) flying.erase(flying.begin() + static_cast<std::ptrdiff_t>(at));   // else it comes again
      GroupMember::Effects effects;
      const absl::Status status = members[to].OnMessage(message, effects);
      BOOST_REQUIRE_MESSAGE(status.ok(), status.message());
      Perform(to, std::move(effects));
    } else {
      Write(static_cast<uint32_t>(random.Below(kWriters)));
    }
    return true;
  }
  /// Some fall with all they have, and are replaced; whoever is behind takes the state of the furthest of the others. The round begins anew.
  void Replace(const std::vector<uint32_t>& fallen) {
    const auto fell = [&](uint32_t i) { return std::ranges::find(fallen, i) != fallen.end(); };
    flying.clear();
    std::optional<uint32_t> furthest;
    for (uint32_t i = 0; i < members.size(); ++i) {
      members[i].Stop();
      if (!fell(i) && (!furthest || members[i].over() > members[*furthest].over())) furthest = i;
    }
    const std::vector<SnapshotSection> state = copies[*furthest].Save();
    for (uint32_t i = 0; i < members.size(); ++i) {
      if (!fell(i) && members[i].over() == members[*furthest].over()) continue;
      copies[i] = *Shard::Make({.tables = Tables(), .shard = kShards, .shards = kShards, .writers = 1, .consistency = {}});
      BOOST_REQUIRE(copies[i].Load(state).ok());
      if (fell(i)) members[i] = MakeMember(i, static_cast<uint32_t>(members.size()));
      members[i].Begin(*copies[i].OnOpen({WriterId{0}}));
      BOOST_REQUIRE_EQUAL(members[i].over(), members[*furthest].over());
      for (uint32_t writer = i; fell(i) && writer < kWriters; writer += static_cast<uint32_t>(members.size())) {
        next[writer] = 0;   // what is known is answered, the rest it makes again
        while (next[writer] < scripts[writer].size() && scripts[writer][next[writer]].round <= members[i].over()) ++next[writer];
      }
    }
    GoAll();
  }
  void CheckCopies() {
    for (const Shard& copy : copies) BOOST_TEST((BytesOf(copy) == BytesOf(copies[0])));
    BOOST_TEST(copies[0].nonzeros() == NonzerosExpected());
  }
  Values Rows() const { return {ValuesOf(copies[0].tables()[1]), ValuesOf(copies[0].tables()[2])}; }
};

void CheckNear(const Values& values, const Values& expected) {
  for (size_t t = 0; t < expected.size(); ++t) {
    BOOST_REQUIRE_EQUAL(values[t].size(), expected[t].size());
    for (size_t i = 0; i < expected[t].size(); ++i) BOOST_REQUIRE_SMALL(values[t][i] - expected[t][i], 1e-5f * (1 + std::abs(expected[t][i])));
  }
}

}   // namespace

BOOST_AUTO_TEST_SUITE(GroupMemberTest)

BOOST_AUTO_TEST_CASE(all_copies_are_equal_and_hold_what_plain_loops_say) {
  const Values expected = Expected();
  for (uint32_t n = 1; n <= kWriters; ++n) {
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      Group group(n, seed);
      while (group.Step()) {
      }
      group.CheckCopies();
      if (n == 1) BOOST_TEST((group.Rows() == expected));   // the same additions in the same order
      CheckNear(group.Rows(), expected);
      BOOST_TEST(group.copies[0].clock(0) == MakeRound(kPhases + 1, 0));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_group_goes_on_from_one_members_snapshot_with_the_same_bits) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Group whole(3, seed);
    while (whole.Step()) {
    }
    const Round until = seed % 2 == 0 ? MakeRound(1, 2) : MakeRound(2, 1);
    Group first(3, seed + 100);
    while (first.Step(until)) {
    }
    const std::vector<SnapshotSection> state = first.copies[seed % 3].Save();
    Group second(3, seed + 200, &state);   // its writers begin at the beginning: what is known is not counted again
    BOOST_TEST(second.members[0].over() >= until);
    while (second.Step()) {
    }
    second.CheckCopies();
    BOOST_TEST((BytesOf(second.copies[0]) == BytesOf(whole.copies[0])));
  }
}

BOOST_AUTO_TEST_CASE(whoever_falls_and_whoever_is_behind_the_copies_have_the_bits_of_a_calm_group) {
  int behind = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const auto n = static_cast<uint32_t>(2 + seed % 4);
    Group calm(n, seed);
    while (calm.Step()) {
    }
    Group group(n, seed + 300);
    for (int falls = 0; falls < 6; ++falls) {
      for (uint64_t steps = group.random.Below(60); steps > 0 && group.Step(); --steps) continue;
      std::vector<uint32_t> fallen;
      for (uint32_t i = 0; i < n; ++i)
        if (group.random.Below(3) == 0 && fallen.size() + 1 < n) fallen.push_back(i);
      for (uint32_t i = 1; i < n; ++i) behind += group.members[i].over() != group.members[0].over();
      group.Replace(fallen);
    }
    while (group.Step()) {
    }
    group.CheckCopies();
    BOOST_TEST((BytesOf(group.copies[0]) == BytesOf(calm.copies[0])));
  }
  BOOST_TEST(behind > 0);
}

BOOST_AUTO_TEST_CASE(the_end_of_a_phase_is_answered_when_the_group_has_ended_it) {
  Group group(2, 1);
  for (uint32_t writer = 0; writer < kWriters; writer += 2) {
    for (const Push& push : group.scripts[writer]) {
      if (push.round > MakeRound(2, 0)) break;
      const auto pushed = group.Send(push);
      BOOST_TEST(pushed.has_value() == (OrdinalOf(push.round) != 0));
      if (OrdinalOf(push.round) == 0) BOOST_TEST(!group.Send(push).has_value());   // again
    }
  }
  BOOST_TEST(group.members[0].over() == kFirstRound);
  BOOST_TEST(group.members[0].WaitsFor() == "table 'a' waits in turn 0 for the whole of chunk 0 from member 1");
  BOOST_TEST(group.members[1].WaitsFor() == "");
  BOOST_TEST(group.members[0].OnOpen({WriterId{0}})->clock == MakeRound(1, 3));   // of what it has ended itself
}

BOOST_AUTO_TEST_CASE(missing_messages_are_asked_for) {
  Group group(3, 1);
  const std::vector<Push>& script = group.scripts[1];
  const auto outcome = [&](const Push& push) { return group.Send(push)->outcome; };
  BOOST_TEST((outcome(script[1]) == Pushed::Outcome::kExpect));   // the second half
  BOOST_TEST((outcome(script[2]) == Pushed::Outcome::kExpect));   // the next round
  BOOST_TEST((outcome(script[0]) == Pushed::Outcome::kApplied));
  BOOST_TEST((outcome(script[0]) == Pushed::Outcome::kApplied));   // again
  BOOST_TEST((outcome(script[2]) == Pushed::Outcome::kExpect));
  BOOST_TEST(group.Send(script[0])->clock == kFirstRound);
  BOOST_TEST(group.Send(script[1])->clock == MakeRound(1, 1));
  BOOST_TEST(group.Send(script[0])->stable == MakeRound(1, 1));
}

BOOST_AUTO_TEST_CASE(what_is_malformed_is_refused_and_changes_nothing) {
  Group group(3, 1);
  const auto refused = [&](Push push) {
    GroupMember::Effects effects;
    const auto pushed = group.members[1].OnPush(push, effects);
    BOOST_REQUIRE_EQUAL(pushed.status().code(), absl::StatusCode::kInvalidArgument);
    BOOST_TEST((effects.messages.empty() && effects.rounds.empty()));
    return std::string(troupe::Message(pushed.status()));
  };
  const auto with = [&](size_t message, auto change) {
    Push push = group.scripts[1][message];
    change(push);
    return push;
  };
  const auto with_part = [&](size_t message, auto change) {
    return with(message, [&](Push& push) {
      const auto parts = push.parts.As<PushPart>();
      std::vector<PushPart> changed(parts.begin(), parts.end());
      change(changed);
      push.parts = Block::Adopt(std::move(changed));
    });
  };
  BOOST_TEST(refused(group.scripts[0][0]) == "push: writer is 0, expected one of member 1's");
  BOOST_TEST(refused(with(0, [](Push& p) { p.parts = p.parts.Slice(0, 47); })) == "push: arrays are cut or not aligned");
  BOOST_TEST(refused(with(0, [](Push& p) { p.keys_kept = true; })) == "push: its keys are left out, expected them: tables that workers keep remember none");
  BOOST_TEST(refused(with_part(0, [](auto& parts) { parts[0].table = 0; })) == "push: table 0 is not kept by workers");
  BOOST_TEST(refused(with_part(0, [](auto& parts) { parts[0].table = 9; })) == "push: table 9 is not kept by workers");
  BOOST_TEST(refused(with_part(0, [](auto& parts) { parts[0].count = 1000; })) == "push: fewer keys or values than its parts say");
  BOOST_TEST(refused(with_part(0, [](auto& parts) { parts.pop_back(); })) == "push: more keys or values than its parts say");
  BOOST_TEST(refused(with(0, [](Push& p) {
               std::vector<Key> keys(p.keys.As<Key>().size(), 40);
               p.keys = Block::Adopt(std::move(keys));
             })) == "push: row 40 of table 'a', which has 40");
  BOOST_TEST(refused(with(0, [](Push& p) {
               std::vector<PushPart> parts{{.table = 1, .range = 0, .sequence = 1, .previous = 0, .first = 1, .count = 40, .dense = 1, .nonzeros = 0}};
               p.parts = Block::Adopt(std::move(parts));
               p.keys = Block();
             })) == "push: rows 1 + 40 of table 'a', which has 40");
  BOOST_TEST(refused(with(0, [](Push& p) {
               std::vector<float> values(40, std::numeric_limits<float>::infinity());
               p.values = Block::Adopt(std::move(values));
             })).starts_with("push of writer 1: table 'a': the gradient of key "));
  GroupMember::Effects effects;
  BOOST_TEST(troupe::Message(group.members[1].OnOpen({WriterId{0}}).status()) == "open: writer is 0, expected one of member 1's");
  BOOST_TEST(troupe::Message(group.members[1].OnMessage({.table = 0}, effects)) == "all-reduce: table 0 is not kept by workers");
  while (group.Step()) {
  }
  group.CheckCopies();

  const auto wrong = [](const GroupMemberOptions& options) { return std::string(troupe::Message(GroupMember::Make(options).status())); };
  BOOST_TEST(wrong({.tables = Tables(), .member = 2, .members = 3}) ==
             "worker 2 has no split of the data, expected at least one for each worker that keeps a table (ring, tree)");
  BOOST_TEST(wrong({.tables = {Tables()[0]}, .writers = {0}}) == "no table is kept by workers, expected at least one");
  BOOST_TEST(wrong({.tables = Tables(), .member = 1, .writers = {0}}) == "all-reduce: member is 1, expected below the number of members, 1");
  std::vector<TableSpec> sparse = Tables();
  sparse[0].kept_by = KeptBy::kRing;
  BOOST_TEST(wrong({.tables = sparse, .writers = {0}}) == "table 'w': is sparse, expected a dense table to be kept by its workers (ring, tree)");
}

BOOST_AUTO_TEST_CASE(whole_dense_pushes_count_as_those_by_key) {
  const Router router(Tables(), kShards);
  Group group(1, 1);
  std::vector<float> values(40);
  for (size_t i = 0; i < 40; ++i) values[i] = static_cast<float>(i);
  GroupMember dense = MakeMember(0, 1), keyed = MakeMember(0, 1);
  GroupMember::Effects none;
  dense.Go(none);
  keyed.Go(none);
  GroupMember::Effects of_dense, of_keyed;
  TablePush push{.table = 1, .keys = {}, .values = values, .nonzeros = {}};
  for (Key key = 0; key < 40; ++key) push.keys.push_back(key);
  for (uint32_t writer = 0; writer < kWriters; ++writer) {
    BOOST_REQUIRE(
        dense
            .OnPush(Message(router.PushDense(1, Block::Copy(std::span<const float>(values))).shards[kShards][0], writer, MakeRound(1, 1), kFirstRound),
                    of_dense)
            .ok());
    BOOST_REQUIRE(keyed.OnPush(Message(router.Push({push}).shards[kShards][0], writer, MakeRound(1, 1), kFirstRound), of_keyed).ok());
  }
  BOOST_REQUIRE_EQUAL(of_dense.rounds.size(), 2u);
  BOOST_REQUIRE_EQUAL(of_keyed.rounds.size(), 2u);
  const auto a = of_dense.rounds[0].values.As<float>(), b = of_keyed.rounds[0].values.As<float>();
  BOOST_TEST(std::vector<float>(a.begin(), a.end()) == values, boost::test_tools::per_element());   // the mean of equal ones
  BOOST_TEST(std::vector<float>(b.begin(), b.end()) == values, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
