// All rows of a table at one moment, while several writers push; and the set of one of several writers.
#include "ps/table_cut.h"

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <map>
#include <thread>

#include "actors/ask.h"
#include "actors/stop_actors.h"
#include "ps/partition.h"
#include "ps/shard_actor.h"
#include "ps/table_set_actor.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint32_t kShards = 3, kWriters = 4;

struct Fixture {
  std::vector<TableSpec> tables = {{.name = "sparse", .width = 2, .rows = {}, .rule = "add", .rule_options = {}, .ranges = 16},
                                   {.name = "dense", .width = 1, .rows = 10, .rule = "add", .rule_options = {}, .ranges = 4}};
  System system{System::Options{.compute_threads = 2}};
  std::vector<ShardActor> shards;
  Fixture() {
    for (uint32_t i = 0; i < kShards; ++i) {
      ShardActorOptions shard;
      shard.shard = {.tables = tables,
                     .shard = i,
                     .shards = kShards,
                     .writers = kWriters,
                     .consistency = Consistency{.kind = Consistency::Kind::kAsp},
                     .writers_go_on = true,
                     .stable_when_applied = true};
      shards.push_back(*SpawnShard(system, shard));
    }
  }
  ~Fixture() { StopAndWait(system, shards); }
  std::unique_ptr<TableSet> Set(uint32_t writer) { return MakeTableSet(system, shards, {.tables = tables, .patience = seconds(20)}, WriterId{writer}); }
  std::unique_ptr<TableCut> Cut(const TableCutOptions& options = {}) {
    auto cut = TableCut::Make(system, shards, tables, options);
    BOOST_REQUIRE_MESSAGE(cut.ok(), cut.status().ToString());
    return std::move(*cut);
  }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(TableCutTest, Fixture)

BOOST_AUTO_TEST_CASE(all_rows_come_by_rising_key_with_those_that_are_zero) {
  const auto set = Set(0);
  const TableRef sparse = *set->Find("sparse"), dense = *set->Find("dense");
  std::map<Key, std::vector<float>> expected;
  std::vector<Key> keys;
  std::vector<float> values;
  for (Key key = 1; keys.size() < 1000; key = key * 6364136223846793005u + 1442695040888963407u) {
    keys.push_back(key);
    const std::vector<float> row = {static_cast<float>(key % 1000), key % 3 == 0 ? 0.f : 0.1f * static_cast<float>(key % 7)};
    values.insert(values.end(), row.begin(), row.end());
    expected[key] = row;
  }
  expected[5] = {0, 0};
  keys.push_back(5);
  values.insert(values.end(), {0, 0});
  BOOST_TEST(sparse.Assign(keys, values).ok());
  BOOST_TEST(dense.Push({3, 9}, {1, 2.5}).Wait(seconds(10)).ok());
  const auto cut = Cut();
  const Rows rows = *cut->ReadAll(0);
  BOOST_REQUIRE(rows.keys.size() == expected.size());
  BOOST_TEST(rows.width == 2u);
  size_t i = 0;
  for (const auto& [key, row] : expected) {
    BOOST_TEST(rows.keys[i] == key);
    BOOST_TEST((rows.row(i)[0] == row[0] && rows.row(i)[1] == row[1]));
    ++i;
  }
  const Rows all = *cut->ReadAll(1);
  BOOST_TEST(all.keys == (std::vector<Key>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}), boost::test_tools::per_element());
  BOOST_TEST(all.values == (std::vector<float>{0, 0, 0, 1, 0, 0, 0, 0, 0, 2.5}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_comes_after_the_cut_is_not_in_it) {
  const auto set = Set(0);
  const TableRef sparse = *set->Find("sparse");
  BOOST_TEST(sparse.Push({1, 2}, {1, 1, 2, 2}).Wait(seconds(10)).ok());
  const auto cut = Cut();
  BOOST_TEST(sparse.Push({1, 3}, {10, 10, 30, 30}).Wait(seconds(10)).ok());
  const Rows rows = *cut->ReadAll(0);
  BOOST_TEST(rows.keys == (std::vector<Key>{1, 2}), boost::test_tools::per_element());
  BOOST_TEST(rows.values == (std::vector<float>{1, 1, 2, 2}), boost::test_tools::per_element());
  BOOST_TEST(Cut()->ReadAll(0)->values == (std::vector<float>{11, 11, 2, 2, 30, 30}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(each_push_of_each_writer_is_in_it_whole_or_not_at_all) {
  // Key 100 * w + shard, one a shard: a writer adds 1 to all of its rows with each push, so in any cut they are equal.
  const Partition partition(tables[0], kShards);
  std::vector<std::vector<Key>> keys(kWriters, std::vector<Key>(kShards));
  for (uint32_t writer = 0; writer < kWriters; ++writer) {
    for (uint32_t shard = 0; shard < kShards; ++shard) {
      Key key = 1'000'000 * (writer + 1);
      while (partition.ShardOf(partition.RangeOf(key)) != shard || std::ranges::find(keys[writer], key) != keys[writer].end()) ++key;
      keys[writer][shard] = key;
    }
  }
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> pushed{0};
  std::vector<std::unique_ptr<TableSet>> sets;
  for (uint32_t writer = 0; writer < kWriters; ++writer) sets.push_back(Set(writer));
  std::vector<std::thread> threads;
  for (uint32_t writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&, writer] {
      const TableRef table = *sets[writer]->Find("sparse");
      while (!stop) {
        table.Push(keys[writer], std::vector<float>(2 * kShards, 1));
        if (table.Push(keys[writer], std::vector<float>(2 * kShards, 1)).Wait(seconds(20)).ok()) pushed += 2;
      }
    });
  }
  std::vector<float> before(kWriters, 0);
  for (int i = 0; i < 30; ++i) {
    const auto cut = Cut();
    const Rows rows = *cut->ReadAll(0);
    std::map<Key, float> at;
    for (size_t row = 0; row < rows.keys.size(); ++row) at[rows.keys[row]] = rows.row(row)[0];
    for (uint32_t writer = 0; writer < kWriters; ++writer) {
      for (uint32_t shard = 1; shard < kShards; ++shard) BOOST_REQUIRE(at[keys[writer][shard]] == at[keys[writer][0]]);
      BOOST_REQUIRE(at[keys[writer][0]] >= before[writer]);
      before[writer] = at[keys[writer][0]];
    }
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  float sum = 0;
  const Rows rows = *Cut()->ReadAll(0);
  for (size_t row = 0; row < rows.keys.size(); ++row) sum += rows.row(row)[1];
  BOOST_TEST(sum == static_cast<float>(pushed * kShards));   // each once
}

BOOST_AUTO_TEST_CASE(a_round_that_is_left_half_sent_keeps_cuts_waiting_until_somebody_ends_it) {
  const Push half{.writer = WriterId{3}, .round = kFirstRound + 1, .previous = kFirstRound, .parts = {}, .keys = {}, .values = {}};
  BOOST_TEST(Ask<Pushed>(system, shards[0], half).ok());   // and not the others
  const TableCutOptions short_options{.step_max = milliseconds(20), .patience = milliseconds(50)};
  const auto none = TableCut::Make(system, shards, tables, short_options);
  BOOST_TEST(absl::IsUnavailable(none.status()), none.status().ToString());
  BOOST_TEST(std::string(none.status().message()).starts_with("no cut could be made: "));
  BOOST_TEST(Set(3)->Flush().ok());
  BOOST_TEST(Cut()->ReadAll(0).ok());
}

BOOST_AUTO_TEST_CASE(what_is_not_there_is_said) {
  const auto cut = Cut();
  BOOST_TEST(std::string(cut->ReadRange(2, 0).status().message()) == "table is 2, expected < 2");
  BOOST_TEST(std::string(cut->ReadAll(2).status().message()) == "table is 2, expected < 2");
  BOOST_TEST(absl::IsInvalidArgument(cut->ReadRange(0, 16).status()));
  BOOST_TEST(cut->ReadAll(0)->keys.empty());
  const auto short_one = Cut({.lease = milliseconds(1)});
  absl::Status status;
  for (const auto end = std::chrono::steady_clock::now() + seconds(20); status.ok() && std::chrono::steady_clock::now() < end;)
    status = short_one->ReadRange(0, 0).status();
  BOOST_TEST(absl::IsNotFound(status), status.ToString());
}

BOOST_AUTO_TEST_CASE(a_cut_that_ends_while_it_is_read_harms_nobody) {
  const auto set = Set(0);
  const TableRef sparse = *set->Find("sparse");
  for (int i = 0; i < 50; ++i) {
    BOOST_TEST(sparse.Push({static_cast<Key>(i)}, {1, 1}).Wait(seconds(10)).ok());
    auto cut = Cut();
    const Call call{.call = {.function = "rows", .tables = {0}, .numbers = {{"range", {0}}}}, .at = 0, .assigned = {}, .view = 7};
    BOOST_TEST(absl::IsNotFound(Ask<Called>(system, shards[0], call).status()));
    std::thread reads([&] { BOOST_TEST(Cut()->ReadAll(0).ok()); });
    cut = nullptr;
    reads.join();
  }
}

BOOST_AUTO_TEST_CASE(a_writer_that_another_one_takes_over_from_writes_no_more_and_its_number_goes_on) {
  const auto set = Set(1);
  const TableRef table = *set->Find("sparse");
  BOOST_TEST(table.Push({4}, {1, 1}).Wait(seconds(10)).ok());
  Abandon(*set, absl::UnavailableError("its time is over"));
  BOOST_TEST(std::string(table.Push({4}, {1, 1}).Wait(seconds(10)).message()) == "its time is over");
  BOOST_TEST(std::string(table.Pull({4}).status().message()) == "its time is over");
  BOOST_TEST(std::string(set->Flush().message()) == "its time is over");
  const auto next = Set(1);
  const TableRef again = *next->Find("sparse");
  BOOST_TEST(again.Push({4}, {1, 1}).Wait(seconds(10)).ok());
  BOOST_TEST(again.Pull({4})->values == (std::vector<float>{2, 2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
