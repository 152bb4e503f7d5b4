// What waits for whom: consistency table by table, backup workers, bounds of delay, and steps that make up for delays.
#include "ps/consistency.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "ps/router.h"
#include "ps/shard.h"

namespace troupe {
namespace {

constexpr Consistency kBsp{}, kAsp{.kind = Consistency::Kind::kAsp}, kBackup{.kind = Consistency::Kind::kBsp, .backup = 1};

TableSpec Spec(const std::string& name, const std::string& rule = "add") {
  TableSpec spec{.name = name, .rows = {}, .rule = rule, .rule_options = {}};
  spec.combine = TableSpec::Combine::kSum;
  if (rule == "sgd") spec.rule_options = {{"learning_rate", 1}};
  return spec;
}

/// A shard with writers that number their pushes as the client does.
struct Fixture {
  std::vector<TableSpec> tables;
  uint32_t writers;
  Consistencies consistency;
  Router router;
  Shard shard;
  std::vector<std::vector<Sequence>> last;
  std::vector<Round> done;

  Fixture(std::vector<TableSpec> specs, uint32_t count, Consistencies c)
      : tables(specs),
        writers(count),
        consistency(c),
        router(specs, 1),
        shard(*Shard::Make({.tables = specs, .writers = count, .consistency = c})),
        last(count, std::vector<Sequence>(router.slots())),
        done(count, kFirstRound) {}

  /// Adds `value` to key 7 of the tables.
  Push Make(uint32_t writer, Round round, const std::vector<uint32_t>& in, float value = 1) {
    std::vector<TablePush> pushes;
    for (const uint32_t table : in) pushes.push_back({.table = table, .keys = {7}, .values = {value}, .nonzeros = {1}});
    RoutedPush::Chunk chunk = std::move(router.Push(std::move(pushes)).shards[0][0]);
    for (PushPart& part : chunk.parts) {
      part.sequence = round << 8;
      part.previous = std::exchange(last[writer][router.Slot(part.table, part.range)], part.sequence);
    }
    return {.writer = WriterId{writer},
            .round = round,
            .previous = std::exchange(done[writer], round),
            .parts = Block::Adopt(std::move(chunk.parts)),
            .keys = chunk.keys,
            .values = chunk.values};
  }
  Pushed Send(const Push& push) {
    const auto pushed = shard.OnPush(push);
    BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
    BOOST_TEST((pushed->outcome == Pushed::Outcome::kApplied));
    return *pushed;
  }
  Pushed Send(uint32_t writer, Round round, const std::vector<uint32_t>& in, float value = 1) { return Send(Make(writer, round, in, value)); }
  Pull Wants(uint32_t writer, Round round, uint32_t table) const {
    const Key key = 7;
    const Router::TablePull wanted[] = {{.table = table, .keys = {&key, 1}}};
    const RoutedPull pull = router.Pull(wanted);
    return {.writer = WriterId{writer}, .round = round, .parts = pull.shards[0].parts, .keys = pull.shards[0].keys, .tables = pull.tables};
  }
  float Value(uint32_t table) {
    const Key key = 7;
    float value = 0;
    const Table& rows = shard.tables()[table];
    BOOST_REQUIRE(rows.Pull(rows.partition().RangeOf(key), {&key, 1}, &value).ok());
    return value;
  }
  void Restore() {
    const auto sections = shard.Save();
    shard = *Shard::Make({.tables = tables, .writers = writers, .consistency = consistency});
    BOOST_REQUIRE(shard.Load(sections).ok());
  }
};

constexpr Round R(uint64_t ordinal) {
  return MakeRound(1, ordinal);
}
std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

BOOST_AUTO_TEST_SUITE(ConsistencyTest)

BOOST_AUTO_TEST_CASE(tables_may_differ_from_the_job) {
  for (const std::string text : {"bsp", "bsp,w=asp", "ssp:3,a=bsp,b=delay:20", "backup:2,w=ssp:1", "ring", "tree,w=bsp", "asp,a=ring,b=tree"}) {
    const auto parsed = ParseConsistencies(text);
    BOOST_REQUIRE_MESSAGE(parsed.ok(), text);
    BOOST_TEST(ToString(*parsed) == text);
  }
  BOOST_TEST((ParseConsistencies("ssp:3,a=asp")->Of("a") == kAsp));
  BOOST_TEST((ParseConsistencies("ssp:3,a=asp")->Of("b").staleness == 3U));
  std::vector<TableSpec> tables{Spec("a"), Spec("b"), Spec("c")};
  tables[2].kept_by = KeptBy::kTree;
  KeepTables(*ParseConsistencies("asp,a=ring,b=tree"), tables);
  BOOST_TEST((tables[0].kept_by == KeptBy::kRing && tables[1].kept_by == KeptBy::kTree && tables[2].kept_by == KeptBy::kShards));
  const auto wrong = [](const std::string& text) { return Message(ParseConsistencies(text).status()); };
  BOOST_TEST(wrong("") == "consistency is '', expected bsp, backup:K, ssp:K, delay:MS, asp, ring or tree");
  BOOST_TEST(wrong("bsp,") == "consistency of a table is '', expected table=consistency as in bsp,weights=asp");
  BOOST_TEST(wrong("bsp,=asp") == "consistency of a table is '=asp', expected table=consistency as in bsp,weights=asp");
  BOOST_TEST(wrong("bsp,w=ssp") == "consistency is 'ssp', expected bsp, backup:K, ssp:K, delay:MS, asp, ring or tree");
  BOOST_TEST(wrong("bsp,w=asp,w=bsp") == "consistency of table 'w' is given twice");
  BOOST_TEST(wrong("bsp,w=backup:1") == "consistency of table 'w' is 'backup:1', expected it for the whole job");
}

BOOST_AUTO_TEST_CASE(a_job_names_only_tables_that_it_has_and_waits_for_somebody) {
  const auto wrong = [](const std::string& text, uint32_t writers) {
    return Message(Shard::Make({.tables = {Spec("a"), Spec("b")}, .writers = writers, .consistency = *ParseConsistencies(text)}).status());
  };
  BOOST_TEST(wrong("bsp,c=asp", 2) == "consistency names table 'c', expected one of 'a', 'b'");
  BOOST_TEST(wrong("backup:2", 2) == "consistency is 'backup:2', expected less than the 2 splits of the data");
  BOOST_TEST(wrong("backup:1", 2) == "");
}

BOOST_AUTO_TEST_CASE(each_table_goes_its_own_way) {
  Fixture f({Spec("a"), Spec("b")}, 2, *ParseConsistencies("bsp,b=asp"));
  f.Send(0, R(1), {0, 1});
  BOOST_TEST(f.Value(0) == 0);   // a waits for writer 1's round
  BOOST_TEST(f.Value(1) == 1);
  BOOST_TEST(!f.shard.Ready(f.Wants(0, R(2), 0)));
  BOOST_TEST(f.shard.Ready(f.Wants(0, R(2), 1)));
  BOOST_TEST(f.shard.nonzeros() == 1U);
  f.Send(1, R(1), {0, 1});
  BOOST_TEST(f.Value(0) == 2);
  BOOST_TEST(f.Value(1) == 2);
  BOOST_TEST(f.shard.Ready(f.Wants(0, R(2), 0)));
  BOOST_TEST(f.shard.nonzeros() == 4U);
}

BOOST_AUTO_TEST_CASE(what_a_snapshot_holds_of_a_round_counts_once_and_the_rest_of_it_too) {
  Fixture f({Spec("a"), Spec("b")}, 2, *ParseConsistencies("bsp,b=asp"));
  const Push first = f.Make(0, R(1), {0, 1}), second = f.Make(1, R(1), {0, 1});
  f.Send(first);
  f.Restore();   // b has writer 0's round, a has not
  BOOST_TEST(f.Value(1) == 1);
  BOOST_TEST(f.shard.OnOpen({WriterId{0}})->clock == kFirstRound);
  f.Send(first);
  f.Send(first);
  f.Send(second);
  BOOST_TEST(f.Value(0) == 2);
  BOOST_TEST(f.Value(1) == 2);
  BOOST_TEST(f.shard.nonzeros() == 4U);
}

BOOST_AUTO_TEST_CASE(the_slowest_writer_is_not_waited_for_and_what_it_pushes_later_is_dropped) {
  Fixture f({Spec("a")}, 3, kBackup);
  BOOST_TEST(f.Send(0, R(1), {0}, 1).closed == 0U);
  BOOST_TEST(f.Value(0) == 0);
  BOOST_TEST(!f.shard.Ready(f.Wants(0, R(2), 0)));
  BOOST_TEST(f.Send(1, R(1), {0}, 10).closed == R(1));
  BOOST_TEST(f.Value(0) == 11);
  BOOST_TEST(f.shard.Ready(f.Wants(2, R(2), 0)));
  const Push late = f.Make(2, R(1), {0}, 100);
  for (int again = 0; again < 2; ++again) BOOST_TEST(f.Send(late).clock == R(1));
  BOOST_TEST(f.Value(0) == 11);
  BOOST_TEST(f.shard.nonzeros() == 2U);
  BOOST_TEST(f.shard.late_nonzeros() == 1U);
  f.Send(0, R(2), {0}, 1);
  f.Send(2, R(2), {0}, 100);   // now another one is the slowest
  BOOST_TEST(f.Value(0) == 112);
  f.Restore();
  BOOST_TEST(f.shard.late_nonzeros() == 1U);
  f.Send(1, R(2), {0}, 10);
  BOOST_TEST(f.Value(0) == 112);
  BOOST_TEST(f.shard.nonzeros() + f.shard.late_nonzeros() == 6U);
}

BOOST_AUTO_TEST_CASE(rounds_may_be_left_out_and_the_end_of_a_phase_is_for_all) {
  Fixture f({Spec("a")}, 3, kBackup);
  for (const uint64_t round : {1, 2, 3})
    for (const uint32_t writer : {0, 1}) f.Send(writer, R(round), {0});
  BOOST_TEST(f.Value(0) == 6);
  for (const uint32_t writer : {0, 1}) f.Send(writer, MakeRound(2, 0), {});
  BOOST_TEST(!f.shard.Reached(MakeRound(2, 0)));
  BOOST_TEST(f.shard.Reached(R(3)));
  f.Send(2, R(4), {0}, 100);   // it has left out what was too late; nobody else has a fourth batch
  BOOST_TEST(f.Value(0) == 106);
  f.Send(2, MakeRound(2, 0), {});
  BOOST_TEST(f.shard.Reached(MakeRound(2, 0)));
  BOOST_TEST(f.shard.late_nonzeros() == 0U);
}

BOOST_AUTO_TEST_CASE(a_push_of_which_only_a_part_has_come_is_too_late_as_a_whole) {
  Fixture f({Spec("a"), Spec("b")}, 3, kBackup);
  Push first = f.Make(2, R(1), {0}, 100), rest = f.Make(2, R(1), {1}, 100);
  first.round_over = false;
  rest.previous = first.previous;
  rest.chunk = 1;
  f.Send(first);
  f.Send(0, R(1), {0, 1});
  f.Send(1, R(1), {0, 1});
  f.Send(rest);
  BOOST_TEST(f.Value(0) == 2);
  BOOST_TEST(f.Value(1) == 2);
  BOOST_TEST(f.shard.late_nonzeros() == 2U);
  f.Send(2, R(2), {0, 1}, 100);
  f.Send(0, R(2), {0, 1});
  BOOST_TEST(f.Value(0) == 103);
}

BOOST_AUTO_TEST_CASE(a_pull_waits_for_its_own_tables_also_where_it_has_no_keys) {
  Fixture f({Spec("a"), Spec("b")}, 2, *ParseConsistencies("bsp,b=asp"));
  const auto nothing = [](uint64_t tables) { return Pull{.writer = WriterId{0}, .round = R(2), .parts = {}, .keys = {}, .tables = tables}; };
  f.Send(0, R(1), {0, 1});
  BOOST_TEST(!f.shard.Ready(nothing(1)));
  BOOST_TEST(f.shard.Ready(nothing(2)));
  BOOST_TEST(!f.shard.Ready(nothing(3)));
  BOOST_TEST(!f.shard.Ready(nothing(0)));   // a barrier is for all
  Fixture g({Spec("a"), Spec("b")}, 2, *ParseConsistencies("asp,b=bsp"));
  g.Send(0, R(1), {0, 1});
  BOOST_TEST(!g.shard.Ready(nothing(0)));
  BOOST_TEST(g.shard.Ready(nothing(1)));
}

BOOST_AUTO_TEST_CASE(a_push_without_rows_for_rounds_still_counts_in_the_mean_after_a_restart) {
  std::vector<TableSpec> specs{Spec("a"), Spec("b")};
  specs[0].combine = TableSpec::Combine::kMean;
  specs[0].rule = "sgd", specs[0].rule_options = {{"learning_rate", 1}};
  Fixture f(specs, 2, *ParseConsistencies("bsp,b=asp"));
  const Push first = f.Make(0, R(1), {1});
  f.Send(first);
  f.Restore();
  f.Send(first);
  f.Send(1, R(1), {0}, -4);
  BOOST_TEST(f.Value(0) == 2);   // the mean of a 4 and of nothing
  BOOST_TEST(f.Value(1) == 1);
}

BOOST_AUTO_TEST_CASE(a_push_of_many_messages_is_one_change) {
  TableSpec spec = Spec("w", "sgd");
  spec.staleness_scale = true;
  spec.ranges = 1;
  Fixture f({spec}, 1, kAsp);
  BOOST_REQUIRE(f.shard.OnPull(f.Wants(0, R(1), 0)).ok());
  for (uint32_t chunk = 0; chunk < 4; ++chunk) {   // each changes the same row: a sequence of its own, as no client would give
    Push push = f.Make(0, R(1), {0});
    std::vector<PushPart> parts(push.parts.As<PushPart>().begin(), push.parts.As<PushPart>().end());
    parts[0].sequence += chunk, parts[0].previous = chunk == 0 ? 0 : parts[0].sequence - 1;
    push.parts = Block::Adopt(std::move(parts));
    push.previous = kFirstRound, push.chunk = chunk, push.round_over = chunk == 3;
    f.Send(push);
  }
  BOOST_TEST(f.Value(0) == -4);   // and not -1 - 1 - 1/2 - 1/3
}

BOOST_AUTO_TEST_CASE(a_pull_knows_the_shortest_bound_of_its_tables) {
  Fixture f({Spec("a"), Spec("b")}, 2, *ParseConsistencies("asp,b=delay:30"));
  BOOST_TEST(f.shard.DelayBound(f.Wants(0, R(5), 0)).count() == 0);
  BOOST_TEST(f.shard.DelayBound(f.Wants(0, R(5), 1)).count() == 30);
  BOOST_TEST(f.shard.Ready(f.Wants(0, R(5), 1)));
}

// --------------------------------------------------------------------------------------------------------------- steps that make up for delays

BOOST_AUTO_TEST_CASE(a_stale_gradient_makes_a_smaller_step) {
  TableSpec spec = Spec("w", "sgd");
  spec.staleness_scale = true;
  Fixture f({spec}, 2, kAsp);
  BOOST_REQUIRE(f.shard.OnPull(f.Wants(0, R(1), 0)).ok());
  BOOST_REQUIRE(f.shard.OnPull(f.Wants(1, R(1), 0)).ok());
  f.Send(0, R(1), {0}, 1);
  BOOST_TEST(f.Value(0) == -1);
  for (const uint64_t round : {2, 3}) {   // made from fresh rows
    BOOST_REQUIRE(f.shard.OnPull(f.Wants(0, R(round), 0)).ok());
    f.Send(0, R(round), {0}, 1);
  }
  BOOST_TEST(f.Value(0) == -3);
  f.Send(1, R(1), {0}, 6);   // three pushes have come since its pull
  BOOST_TEST(f.Value(0) == -5);
  f.Send(1, R(2), {0}, 1);   // pulled nothing for it
  BOOST_TEST(f.Value(0) == -6);
}

BOOST_AUTO_TEST_CASE(a_pull_ahead_of_a_push_belongs_to_the_next_one) {
  TableSpec spec = Spec("w", "sgd");
  spec.staleness_scale = true;
  Fixture f({spec}, 1, kAsp);
  BOOST_REQUIRE(f.shard.OnPull(f.Wants(0, R(1), 0)).ok());
  BOOST_REQUIRE(f.shard.OnPull(f.Wants(0, R(2), 0)).ok());
  f.Send(0, R(1), {0}, 1);
  f.Send(0, R(2), {0}, 1);   // one push since, its own
  BOOST_TEST(f.Value(0) == -2);
}

BOOST_AUTO_TEST_CASE(a_delayed_gradient_is_compensated_row_by_row) {
  TableSpec sparse = Spec("w", "sgd"), dense = Spec("d", "sgd");
  dense.rows = 10;
  sparse.delay_compensation = dense.delay_compensation = 0.5;
  for (const uint32_t table : {0, 1}) {
    Fixture f({sparse, dense}, 2, kAsp);
    BOOST_REQUIRE(f.shard.OnPull(f.Wants(1, R(1), table)).ok());   // sees 0
    f.Send(0, R(1), {table}, 3);
    BOOST_TEST(f.Value(table) == -3);
    f.Send(1, R(1), {table}, 2);   // 2 + 0.5 * 2 * 2 * (-3 - 0) = -4
    BOOST_TEST(f.Value(table) == 1);
    f.Send(1, R(2), {table}, 2);   // no rows were given for it
    BOOST_TEST(f.Value(table) == -1);
    BOOST_REQUIRE(f.shard.OnPull(f.Wants(1, R(3), table)).ok());
    f.Restore();   // what was given is forgotten
    f.Send(0, R(2), {table}, 1);
    f.Send(1, R(3), {table}, 2);
    BOOST_TEST(f.Value(table) == -4);
  }
}

BOOST_AUTO_TEST_CASE(rows_are_found_however_they_were_pulled) {
  TableSpec dense = Spec("d", "sgd"), wide = Spec("w", "sgd");
  dense.rows = 10, dense.ranges = 2;
  wide.width = 3;
  dense.delay_compensation = wide.delay_compensation = 1;
  Fixture f({dense, wide}, 1, kAsp);
  // Dense rows pulled as runs, pushed by key.
  const RoutedPull whole = f.router.PullDense(0);
  BOOST_REQUIRE(f.shard.OnPull({.writer = WriterId{0}, .round = R(1), .parts = whole.shards[0].parts, .keys = {}}).ok());
  BOOST_REQUIRE(f.shard.OnAssign({.table = 0, .keys = Block::Adopt(std::vector<Key>{7}), .values = Block::Adopt(std::vector<float>{5})}).ok());
  f.Send(0, R(1), {0}, 2);   // 2 + 2 * 2 * (5 - 0) = 22
  BOOST_TEST(f.Value(0) == 5 - 22);
  // Sparse rows of which only some were pulled, in another order.
  const std::vector<Key> pulled = {9, 7, 8};
  const Router::TablePull wanted[] = {{.table = 1, .keys = pulled}};
  const RoutedPull some = f.router.Pull(wanted);
  BOOST_REQUIRE(f.shard.OnPull({.writer = WriterId{0}, .round = R(2), .parts = some.shards[0].parts, .keys = some.shards[0].keys}).ok());
  const Push assigned = f.Make(0, R(2), {});
  BOOST_REQUIRE(
      f.shard.OnAssign({.table = 1, .keys = Block::Adopt(std::vector<Key>{7, 30}), .values = Block::Adopt(std::vector<float>{1, 2, 3, 4, 5, 6})}).ok());
  RoutedPush::Chunk chunk = std::move(f.router.Push({{.table = 1, .keys = {7, 30}, .values = {1, 1, 1, 1, 1, 1}, .nonzeros = {}}}).shards[0][0]);
  for (PushPart& part : chunk.parts) part.sequence = R(2) << 8;
  Push push = assigned;
  push.parts = Block::Adopt(std::move(chunk.parts)), push.keys = chunk.keys, push.values = chunk.values;
  f.Send(push);
  const std::vector<Key> read = {7, 30};
  std::vector<std::vector<float>> rows;
  const Router::TablePull again[] = {{.table = 1, .keys = read}};
  const RoutedPull all = f.router.Pull(again);
  const auto answer = f.shard.OnPull({.writer = WriterId{0}, .round = R(3), .parts = all.shards[0].parts, .keys = all.shards[0].keys});
  const Block values[] = {answer->values};
  BOOST_REQUIRE(f.router.Gather(all, values, rows).ok());
  BOOST_TEST(rows[0] == (std::vector<float>{1 - 2, 2 - 3, 3 - 4, 4 - 1, 5 - 1, 6 - 1}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
