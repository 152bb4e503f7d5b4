// Tables from plain code.
#include "ps/table_set.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <thread>

#include "ps/shard_actor.h"
#include "ps/table_set_actor.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::vector<TableSpec> Tables() {
  return {{.name = "w", .width = 2, .rows = {}, .rule = "sgd", .rule_options = {{"learning_rate", 1}}},
          {.name = "d", .width = 1, .rows = 600'000, .rule = "add", .rule_options = {}}};
}

struct Fixture {
  System system{System::Options{}};
  std::unique_ptr<TableSet> set = *TableSet::Create(system, {.tables = Tables(), .shards = 3});
  TableRef w = *set->Find("w"), d = *set->Find("d");
};
std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

BOOST_AUTO_TEST_SUITE(TableSetTest)

BOOST_AUTO_TEST_CASE(what_is_pushed_is_pulled_in_the_order_of_the_keys) {
  Fixture f;
  BOOST_TEST(f.w.Push({9, 1'000'000'007, 3}, {1, 2, 3, 4, 5, 6}).Wait(seconds(10)).ok());
  const auto rows = f.w.Pull({3, 8, 9});
  BOOST_REQUIRE(rows.ok());
  BOOST_TEST(rows->values == (std::vector<float>{-5, -6, 0, 0, -1, -2}), boost::test_tools::per_element());
  BOOST_TEST(rows->row(2)[1] == -2);
  BOOST_TEST(f.w.spec().width == 2U);
}

BOOST_AUTO_TEST_CASE(a_pull_sees_the_pushes_before_it_though_nobody_waited_for_them) {
  Fixture f;
  for (int i = 0; i < 200; ++i) f.w.Push({1, 2}, {1, 1, 1, 1});
  BOOST_TEST(f.w.Pull({2})->values == (std::vector<float>{-200, -200}), boost::test_tools::per_element());
  BOOST_TEST(f.set->Flush().ok());
}

BOOST_AUTO_TEST_CASE(a_whole_dense_table_goes_and_comes_in_pieces) {
  Fixture f;
  std::vector<float> numbers(600'000), all;
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i % 1000);
  const Block block = Block::Copy(std::span<const float>(numbers));
  BOOST_TEST(f.d.PushAll(block).Wait(seconds(10)).ok());
  BOOST_TEST(f.d.PushAll(block).Wait(seconds(10)).ok());
  BOOST_TEST(f.d.PullAll(all).ok());
  BOOST_REQUIRE(all.size() == numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) BOOST_REQUIRE(all[i] == 2 * numbers[i]);
  BOOST_TEST(f.d.Pull({7, 599'999})->values == (std::vector<float>{14, 1998}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(rows_are_set_and_functions_called_behind_the_pushes_before) {
  Fixture f;
  f.w.Push({1}, {-3, -4});
  BOOST_TEST(f.set->Call({.function = "norm"})->numbers[0] == 5);
  f.w.Push({1}, {100, 100});
  BOOST_TEST(f.w.Assign({1, 5}, {1, 2, 3, 4}).ok());
  BOOST_TEST(f.w.Pull({1, 5})->values == (std::vector<float>{1, 2, 3, 4}), boost::test_tools::per_element());
  BOOST_TEST(absl::IsInvalidArgument(f.set->Change({.function = "apply", .words = {{"op", "triple"}}})));
  BOOST_TEST(Message(f.set->Change({.function = "norm"})) == "function 'norm' changes nothing, expected one that changes rows");
  BOOST_TEST(f.set->Change({.function = "apply", .numbers = {{"by", {3}}}, .words = {{"op", "scale"}}}).ok());
  BOOST_TEST(f.w.Pull({1})->values == (std::vector<float>{3, 6}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_refused_whole_and_the_set_goes_on) {
  Fixture f;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const auto pushed = [&](std::vector<Key> keys, std::vector<float> values) { return Message(f.w.Push(std::move(keys), std::move(values)).Wait(seconds(10))); };
  BOOST_TEST(pushed({1, 1}, {1, 2, 3, 4}) == "table 'w': key 1 is there twice, expected distinct keys");
  BOOST_TEST(pushed({1, 2}, {1, 2, 3}) == "table 'w': 3 numbers for 2 keys, expected 4");
  BOOST_TEST(pushed({1, 2}, {1, 2, 3, kNan}) == "table 'w': gradient of key 2 is nan, expected a finite number");
  BOOST_TEST(Message(f.d.Pull({600'000}).status()) == "table 'd': row is 600000, expected < 600000");
  BOOST_TEST(Message(f.d.Assign({1}, {1, 2})) == "table 'd': 2 numbers for 1 keys, expected 1");
  BOOST_TEST(Message(f.d.PushAll(Block::Copy(std::span<const float>(std::vector<float>(3)))).Wait(seconds(10))) ==
             "table 'd': 12 bytes, expected 2400000 for all rows");
  BOOST_TEST(Message(f.w.PushAll({}).Wait(seconds(10))) == "table 'w' is sparse, expected a dense one");
  std::vector<float> all;
  BOOST_TEST(Message(f.w.PullAll(all)) == "table 'w' is sparse, expected a dense one");
  BOOST_TEST(Message(f.set->Find("x").status()) == "no table 'x', expected one of 'w', 'd'");
  BOOST_TEST(Message(Pushing().Wait(seconds(1))) == "nothing was pushed");
  BOOST_TEST(Message(TableSet::Create(f.system, {.tables = {{.name = "t", .width = 0, .rows = {}, .rule_options = {}}}}).status())
                 .starts_with("table 't': width is 0"));
  BOOST_TEST(pushed({1}, {1, 2}) == "");
  BOOST_TEST(f.w.Pull({1, 2})->values == (std::vector<float>{-1, -2, 0, 0}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_chunk_that_a_shard_refuses_is_told_and_what_is_behind_it_counts) {
  Fixture f;
  std::vector<float> numbers(600'000, 1), all;
  numbers[250'000] = std::numeric_limits<float>::infinity();
  const Pushing bad = f.d.PushAll(Block::Copy(std::span<const float>(numbers)));
  numbers[250'000] = 1;
  std::vector<Pushing> good;
  for (int i = 0; i < 5; ++i) good.push_back(f.d.PushAll(Block::Copy(std::span<const float>(numbers))));
  BOOST_TEST(Message(bad.Wait(seconds(10))) == "push of writer 0: table 'd': gradient of key 250000 is inf, expected a finite number");
  for (const Pushing& push : good) BOOST_TEST(push.Wait(seconds(10)).ok());
  BOOST_REQUIRE(f.d.PullAll(all).ok());
  BOOST_TEST(all[250'000] == 5);
  BOOST_TEST(all[0] == 6);
  BOOST_TEST(all[599'999] == 6);
}

BOOST_AUTO_TEST_CASE(threads_share_a_set) {
  Fixture f;
  std::vector<std::thread> threads;
  for (Key key = 0; key < 4; ++key) {
    threads.emplace_back([&f, key] {
      for (int i = 1; i <= 300; ++i) {
        f.w.Push({key, 100}, {1, 0, 1, 1});
        if (i % 50 == 0) BOOST_TEST(f.w.Pull({key})->values[0] == static_cast<float>(-i));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(f.w.Pull({100})->values[1] == -1200);
}

BOOST_AUTO_TEST_CASE(a_shard_that_is_gone_ends_calls_with_an_error) {
  System system{System::Options{}};
  ShardActorOptions options;
  options.shard = {.tables = Tables(), .writers = 1, .consistency = Consistency{.kind = Consistency::Kind::kAsp}, .stable_when_applied = true};
  const ShardActor shard = *SpawnShard(system, options);
  const auto set = MakeTableSet(system, {shard}, {.tables = Tables(), .patience = milliseconds(300)});
  const TableRef w = *set->Find("w");
  BOOST_REQUIRE(w.Push({1}, {1, 2}).Wait(seconds(10)).ok());
  system.Stop(shard);
  BOOST_TEST(!w.Push({1}, {1, 2}).Wait(milliseconds(300)).ok());
  BOOST_TEST(!w.Pull({1}).ok());
  BOOST_TEST(!set->Call({.function = "norm"}).ok());
  BOOST_TEST(!set->Flush().ok());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
