// Branches of tables: fork, diff, merge, drop as server-side functions that travel with pushes, count once, and are in snapshots.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "actors/random.h"
#include "actors/text.h"
#include "ps/call.h"
#include "ps/router.h"
#include "ps/shard.h"

namespace troupe {
namespace {

std::vector<TableSpec> Tables(bool dense, const std::string& rule = "sgd") {
  const std::optional<uint64_t> rows = dense ? std::optional<uint64_t>(40) : std::nullopt;
  const TableSpec w{.name = "w", .width = 2, .rows = rows, .rule = rule, .rule_options = {}, .ranges = 5};
  TableSpec a = w, b = w;
  a.name = "a";
  b.name = "b";
  a.branch_of = b.branch_of = "w";
  return {w, a, b};
}
FunctionCall Fork(uint32_t to, uint32_t from) {
  return {.function = "fork", .tables = {to, from}};
}
FunctionCall Merge(uint32_t into, uint32_t branch, double weight) {
  return {.function = "merge", .tables = {into, branch}, .numbers = {{"weight", {weight}}}};
}
FunctionCall Drop(uint32_t branch) {
  return {.function = "drop", .tables = {branch}};
}

using Rows = std::map<Key, std::vector<double>>;

struct Job {
  std::vector<TableSpec> specs;
  std::vector<std::vector<Table>> shards;
  Job(std::vector<TableSpec> tables, uint32_t n) : specs(std::move(tables)) {
    for (uint32_t shard = 0; shard < n; ++shard) {
      shards.emplace_back();
      for (const TableSpec& spec : specs) shards.back().push_back(*Table::Make(spec, shard, n));
    }
  }
  void Change(const FunctionCall& call) {
    const auto function = MakeFunction(call, specs);
    BOOST_REQUIRE_MESSAGE(function.ok(), function.status().ToString());
    for (std::vector<Table>& tables : shards) ChangeTables(call, *function->change, tables);
  }
  FunctionValue Call(const FunctionCall& call) const {
    std::vector<Called> called;
    for (const std::vector<Table>& tables : shards) {
      auto running = RunningCall::Start(call, tables);
      BOOST_REQUIRE_MESSAGE(running.ok(), running.status().ToString());
      while (!*running->Advance(1)) {
      }
      called.push_back(running->Answer());
    }
    const auto value = MergeCalled(call, specs, called);
    BOOST_REQUIRE_MESSAGE(value.ok(), value.status().ToString());
    return *value;
  }
  /// Random steps for some rows.
  void Push(uint32_t t, Random random) {
    for (int i = 0; i < 15; ++i) {
      const Key key = random.Below(40);
      const float gradient[] = {static_cast<float>(random.Normal()), static_cast<float>(random.Normal())};
      Table& table = shards[shards[0][t].partition().ShardOf(shards[0][t].partition().RangeOf(key))][t];
      BOOST_REQUIRE(table.Apply(table.partition().RangeOf(key), {&key, 1}, gradient).ok());
    }
  }
  Rows RowsOf(uint32_t t) const {
    Rows rows;
    for (const std::vector<Table>& tables : shards) {
      for (uint32_t range = 0; range < 5; ++range) {
        if (!tables[t].Owns(range)) continue;
        tables[t].EachRow(range, [&](const TableRows& block) {
          for (size_t i = 0; i < block.n; ++i) rows[block.key(i)].assign(block.row(i).begin(), block.row(i).end());
        });
      }
    }
    return rows;
  }
};

std::vector<double> At(const Rows& rows, Key key) {
  const auto row = rows.find(key);
  return row == rows.end() ? std::vector<double>(2) : row->second;
}
std::set<Key> KeysOf(const Rows& a, const Rows& b) {
  std::set<Key> keys;
  for (const Rows* rows : {&a, &b}) {
    for (const auto& [key, row] : *rows) keys.insert(key);
  }
  return keys;
}

void CheckRefused(const FunctionCall& call, const std::string& says) {
  std::vector<TableSpec> specs = Tables(true);
  specs.push_back({.name = "other", .width = 3, .rows = {}, .rule_options = {}});
  const absl::Status status = MakeFunction(call, specs).status();
  BOOST_TEST(absl::IsInvalidArgument(status));
  BOOST_TEST(Message(status).find(says) != std::string::npos, Message(status) << " does not say " << says);
}

BOOST_AUTO_TEST_SUITE(BranchTest)

BOOST_AUTO_TEST_CASE(a_fork_goes_its_own_way_and_a_table_goes_back_to_it) {
  for (const bool dense : {false, true}) {
    Job job(Tables(dense, "adagrad"), 2);
    job.Push(0, Random(1));
    const Rows before = job.RowsOf(0);
    job.Change(Fork(1, 0));
    BOOST_TEST((job.RowsOf(1) == before));
    job.Push(0, Random(2));
    BOOST_TEST((job.RowsOf(1) == before));
    const Rows after = job.RowsOf(0);
    BOOST_TEST((after != before));
    job.Change(Fork(2, 1));   // a branch of a branch
    job.Push(1, Random(2));   // the same steps from the same state, the rule's included
    BOOST_TEST((job.RowsOf(1) == after));
    BOOST_TEST((job.RowsOf(2) == before));
    job.Change(Fork(0, 2));
    BOOST_TEST((job.RowsOf(0) == before));
    job.Change(Drop(1));
    BOOST_TEST((job.RowsOf(1) == Job(Tables(dense, "adagrad"), 2).RowsOf(1)));
    BOOST_TEST(job.shards[0][1].own_bytes() == 0U);
  }
}

BOOST_AUTO_TEST_CASE(diff_says_how_many_rows_differ_by_how_much_and_which_on_any_number_of_shards) {
  for (const bool dense : {false, true}) {
    FunctionValue first;
    for (const uint32_t shards : {1U, 2U, 5U}) {
      Job job(Tables(dense), shards);
      job.Push(0, Random(1));
      job.Change(Fork(1, 0));
      BOOST_TEST((job.Call({.function = "diff", .tables = {0, 1}, .numbers = {{"rows", {9}}}}) == FunctionValue{{}, {0, 0, 0}}));
      job.Push(1, Random(2));
      const Rows w = job.RowsOf(0), a = job.RowsOf(1);
      double squares = 0, largest = 0, differ = 0;
      FunctionValue expected{{}, {0, 0, 0}};
      for (const Key key : KeysOf(w, a)) {
        const std::vector<double> x = At(w, key), y = At(a, key);
        if (x == y) continue;
        ++differ;
        for (size_t i = 0; i < 2; ++i) {
          squares += (x[i] - y[i]) * (x[i] - y[i]);
          largest = std::max(largest, std::fabs(x[i] - y[i]));
        }
        if (expected.keys.size() == 4) continue;
        expected.keys.push_back(key);
        for (const auto& row : {x, y}) expected.numbers.insert(expected.numbers.end(), row.begin(), row.end());
      }
      BOOST_REQUIRE_GT(differ, 4);
      const FunctionValue value = job.Call({.function = "diff", .tables = {0, 1}, .numbers = {{"rows", {4}}}});
      BOOST_TEST(std::fabs(value.numbers[0] - std::sqrt(squares)) < 1e-12);
      expected.numbers[0] = value.numbers[0];
      expected.numbers[1] = largest;
      expected.numbers[2] = differ;
      BOOST_TEST((value == expected));
      if (shards == 1) first = value;
      BOOST_TEST((value == first));
      BOOST_TEST(job.Call({.function = "diff", .tables = {0, 1}}).keys.empty());
    }
  }
}

BOOST_AUTO_TEST_CASE(a_merge_weighs_both_and_leaves_the_branch) {
  for (const bool dense : {false, true}) {
    Job job(Tables(dense), 3);
    job.Push(0, Random(1));
    job.Change(Fork(1, 0));
    job.Push(0, Random(2));
    job.Push(1, Random(3));
    const Rows w = job.RowsOf(0), a = job.RowsOf(1);
    job.Change(Merge(0, 1, 0.25));
    const Rows merged = job.RowsOf(0);
    BOOST_TEST((job.RowsOf(1) == a));
    BOOST_TEST(merged.size() == KeysOf(w, a).size());
    for (const auto& [key, row] : merged) {
      for (size_t i = 0; i < 2; ++i) BOOST_TEST(row[i] == static_cast<float>(At(w, key)[i] + 0.25 * (At(a, key)[i] - At(w, key)[i])));
    }
    job.Change({.function = "merge", .tables = {0, 1}, .words = {{"by", "replace"}}});
    BOOST_TEST((job.RowsOf(0) == a));
    job.Change({.function = "merge", .tables = {0, 1}});   // equal already
    BOOST_TEST((job.RowsOf(0) == a));
  }
}

BOOST_AUTO_TEST_CASE(tables_that_do_not_fit_are_refused) {
  CheckRefused({.function = "fork", .tables = {1}}, "1 tables, expected two");
  CheckRefused({.function = "diff", .tables = {1, 1}}, "table 1 twice, expected two tables");
  CheckRefused({.function = "fork", .tables = {0, 3}}, "width is 2, expected 3 as of table 'other'");
  CheckRefused({.function = "drop", .tables = {0}}, "table 'w' is no branch");
  CheckRefused(Merge(0, 1, 1.5), "weight is 1.5, expected 0 .. 1");
  CheckRefused({.function = "merge", .tables = {0, 1}, .numbers = {{"weight", {1}}}, .words = {{"by", "replace"}}}, "argument");
  CheckRefused({.function = "diff", .tables = {0, 1}, .numbers = {{"rows", {2e6}}}}, "rows is 2e+06, expected 0 .. 1e+06");
}

// --- at shards ---

constexpr uint32_t kWriters = 2;

/// Each round adds 1 to row 3 of the table and 10 to row 3 of branch "a"; writer 0 forks a after round 1, merges it half and half after round 3, goes back to
/// what b kept after round 5 (forked after round 4), and drops a after round 6.
std::vector<Push> Script(const std::vector<TableSpec>& tables, uint32_t writer, bool barrier) {
  const Router router(tables, 1);
  std::vector<Sequence> last(router.slots());
  std::vector<Push> messages;
  Round done = kFirstRound;
  const std::map<uint32_t, FunctionCall> changes = {{1, Fork(1, 0)}, {3, Merge(0, 1, 0.5)}, {4, Fork(2, 0)}, {5, Fork(0, 2)}, {6, Drop(1)}};
  for (uint32_t i = 1; i <= 7; ++i) {
    for (const bool change : {false, true}) {   // rounds of their own, where everything before is over, if there is a barrier
      if (change && !changes.contains(i)) continue;
      const Round round = MakeRound(2 * i + change, 1);
      RoutedPush routed =
          change ? RoutedPush::Empty(1)
                 : router.Push({{.table = 0, .keys = {3}, .values = {1, 1}, .nonzeros = {}}, {.table = 1, .keys = {3}, .values = {10, 10}, .nonzeros = {}}});
      Push push{.writer = WriterId{writer},
                .round = round,
                .previous = std::exchange(done, round),
                .parts = {},
                .keys = routed.shards[0][0].keys,
                .values = routed.shards[0][0].values};
      for (PushPart& part : routed.shards[0][0].parts) {
        part.sequence = round << 8;
        part.previous = std::exchange(last[router.Slot(part.table, part.range)], part.sequence);
      }
      push.parts = Block::Adopt(std::move(routed.shards[0][0].parts));
      if (barrier) push.after = change ? MakeRound(2 * i, 1) : i == 1 ? 0 : changes.contains(i - 1) ? MakeRound(2 * i - 1, 1) : MakeRound(2 * i - 2, 1);
      if (change && writer == 0) push.change = std::make_shared<const FunctionCall>(changes.at(i));
      messages.push_back(push);
    }
  }
  return messages;
}

float Row3(const Shard& shard, uint32_t table) {
  const Key key = 3;
  float values[2];
  BOOST_REQUIRE(shard.tables()[table].Pull(shard.tables()[table].partition().RangeOf(key), {&key, 1}, values).ok());
  return values[0];
}

BOOST_AUTO_TEST_CASE(branches_count_once_and_survive_in_snapshots_whatever_happens_to_messages_and_shard) {
  for (const bool dense : {false, true}) {
    for (const Consistency& consistency : {Consistency{}, Consistency{.kind = Consistency::Kind::kAsp}}) {
      std::vector<TableSpec> tables = Tables(dense, "add");
      for (TableSpec& spec : tables) spec.combine = TableSpec::Combine::kSum;
      const auto make = [&] { return std::move(*Shard::Make({.tables = tables, .writers = kWriters, .consistency = consistency})); };
      for (uint64_t seed = 1; seed <= 40; ++seed) {
        Random random(seed);
        std::vector<std::vector<Push>> script;
        for (uint32_t writer = 0; writer < kWriters; ++writer) script.push_back(Script(tables, writer, true));
        Shard shard = make();
        std::vector<SnapshotSection> saved = shard.Save();
        std::vector<size_t> next(kWriters);
        while (shard.applied() < script[0].back().round) {
          const uint64_t writer = random.Below(kWriters), what = random.Below(12);
          if (what == 0) saved = shard.Save();
          if (what == 1) {
            if (random.Below(2) == 0) shard = make();
            BOOST_REQUIRE(shard.Load(saved).ok());
            for (uint32_t w = 0; w < kWriters; ++w) {
              const Round clock = shard.OnOpen({WriterId{w}})->clock;
              next[w] = static_cast<size_t>(std::ranges::count_if(script[w], [clock](const Push& push) { return push.round <= clock; }));
            }
          }
          const size_t message = what < 5 ? random.Below(script[writer].size()) : std::min(next[writer], script[writer].size() - 1);
          const auto pushed = shard.OnPush(script[writer][message]);
          if (absl::IsUnavailable(pushed.status())) continue;
          BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
          if (message == next[writer] && pushed->outcome == Pushed::Outcome::kApplied) ++next[writer];
        }
        // w: 2; a forks: 2; two rounds: w 6, a 42; w = 24; round 4: w 26, a 62; b = 26; round 5: w 28; back to 26; rounds 6, 7: 30. a: dropped, then 20.
        const std::string about = ToString(consistency) + ", seed " + std::to_string(seed);
        BOOST_TEST(Row3(shard, 0) == 30.0F, about);
        BOOST_TEST(Row3(shard, 1) == 20.0F, about);
        BOOST_TEST(Row3(shard, 2) == 26.0F, about);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_snapshot_holds_what_tables_share_once) {
  const auto size = [](const Shard& shard) {
    size_t bytes = 0;
    for (const SnapshotSection& section : shard.Save()) bytes += section.bytes.size();
    return bytes;
  };
  const auto make = [] {
    std::vector<TableSpec> tables = Tables(true);
    for (TableSpec& spec : tables) {
      spec.rows = 50'000;
      spec.ranges = 0;
    }
    return std::move(*Shard::Make({.tables = tables, .writers = 1, .consistency = Consistency{.kind = Consistency::Kind::kAsp}}));
  };
  Shard shard = make();
  const size_t blank = size(shard);
  BOOST_TEST(blank < 50'000 * 2 * sizeof(float) + 20'000);   // the table, and nothing of its branches
  Push fork{.round = MakeRound(1, 1), .previous = kFirstRound, .parts = {}, .keys = {}, .values = {}};
  fork.change = std::make_shared<const FunctionCall>(Fork(1, 0));
  BOOST_REQUIRE(shard.OnPush(fork).ok());
  BOOST_TEST(size(shard) < blank + 2'000);
  Shard other = make();
  BOOST_REQUIRE(other.Load(shard.Save()).ok());
  BOOST_TEST(other.tables()[1].Shares(other.tables()[0], 7));   // in memory, too
  BOOST_TEST(other.tables()[2].Blank(7));

  std::vector<SnapshotSection> sections = shard.Save();
  for (SnapshotSection& section : sections) {
    if (section.name == "table/a/0") std::swap(section.bytes, sections[1].bytes);   // w's is said to be a's
  }
  BOOST_TEST(absl::IsInvalidArgument(other.Load(sections)));
  sections = shard.Save();
  for (SnapshotSection& section : sections) {
    if (section.name == "table/w/3") section.bytes = Block();
  }
  BOOST_TEST(absl::IsInvalidArgument(other.Load(sections)));
}

BOOST_AUTO_TEST_CASE(a_job_with_a_branch_of_nothing_is_refused) {
  std::vector<TableSpec> tables = Tables(true);
  tables[1].branch_of = "v";
  BOOST_TEST(absl::IsInvalidArgument(Shard::Make({.tables = tables, .consistency = {}}).status()));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
