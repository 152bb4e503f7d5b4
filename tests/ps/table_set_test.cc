// Tables from plain code.
#include "ps/table_set.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <filesystem>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>

#include "actors/ask.h"
#include "caf/event_based_actor.hpp"
#include "caf/typed_response_promise.hpp"
#include "ps/partition.h"
#include "ps/router.h"
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

BOOST_AUTO_TEST_CASE(rows_come_into_memory_that_is_there) {
  for (const bool copies : {false, true}) {
    System system{System::Options{}};
    TableSetOptions options{.tables = Tables(), .shards = 3};
    if (copies) options.replicas = {{"w", {.bytes_max = 1 << 20, .staleness = seconds(1)}}};
    const auto set = *TableSet::Create(system, options);
    const TableRef w = *set->Find("w");
    BOOST_TEST(w.Push({9, 1'000'000'007, 3}, {1, 2, 3, 4, 5, 6}).Wait(seconds(10)).ok());
    std::vector<float> values(10, 7.0f);   // more than is needed
    const float* memory = values.data();
    const std::vector<Key> keys{3, 8, 9};
    for (int i = 0; i < 2; ++i) {
      BOOST_TEST(w.PullInto(keys, values) == absl::OkStatus());
      BOOST_TEST(values == (std::vector<float>{-5, -6, 0, 0, -1, -2}), boost::test_tools::per_element());
      BOOST_TEST(values.data() == memory);
      std::ranges::fill(values, 7.0f);
    }
    BOOST_TEST(w.PullInto(std::vector<Key>{3, 3}, values).message() == "table 'w': key 3 is there twice, expected distinct keys");
  }
}

BOOST_AUTO_TEST_CASE(keys_that_are_there_twice_are_named_however_many_there_are) {
  Fixture f;
  for (const size_t n : {2U, 1'000U, 100'000U}) {
    std::vector<Key> keys;
    for (size_t i = 0; i < n; ++i) keys.push_back(i * 5);
    BOOST_TEST(f.d.Pull(keys).ok());
    keys.push_back(5 * (n / 2));
    BOOST_TEST(Message(f.d.Pull(keys).status()) == "table 'd': key " + std::to_string(5 * (n / 2)) + " is there twice, expected distinct keys");
    keys.back() = 600'000 + n;
    BOOST_TEST(Message(f.d.Pull(keys).status()) == "table 'd': row is " + std::to_string(600'000 + n) + ", expected < 600000");
  }
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

BOOST_AUTO_TEST_CASE(branches_begin_are_compared_come_back_and_end) {
  System system{System::Options{}};
  std::vector<TableSpec> tables{Tables()[0], Tables()[0]};
  tables[1].name = "trial", tables[1].branch_of = "w";
  const auto set = *TableSet::Create(system, {.tables = tables, .shards = 2});
  const TableRef w = *set->Find("w"), trial = *set->Find("trial");
  w.Push({1, 2}, {-1, -1, -1, -1});
  BOOST_REQUIRE(set->Change({.function = "fork", .tables = {1, 0}}).ok());
  trial.Push({2}, {-4, 0});
  BOOST_TEST(w.Pull({1, 2})->values == (std::vector<float>{1, 1, 1, 1}), boost::test_tools::per_element());
  BOOST_TEST(trial.Pull({1, 2})->values == (std::vector<float>{1, 1, 5, 1}), boost::test_tools::per_element());
  BOOST_TEST(set->Call({.function = "diff", .tables = {0, 1}})->numbers[0] == 4);
  BOOST_REQUIRE(set->Change({.function = "merge", .tables = {0, 1}}).ok());
  BOOST_TEST(w.Pull({1, 2})->values == (std::vector<float>{1, 1, 3, 1}), boost::test_tools::per_element());
  BOOST_REQUIRE(set->Change({.function = "drop", .tables = {1}}).ok());
  BOOST_TEST(trial.Pull({1, 2})->values == (std::vector<float>{0, 0, 0, 0}), boost::test_tools::per_element());
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
  BOOST_TEST(Message(f.w.Assign({1, 2}, {1, 2, kNan, 4})) == "table 'w': value of key 2 is nan, expected a finite number");
  BOOST_TEST(Message(TableSet::Create(f.system, {.tables = Tables(), .shards = 0}).status()) == "a set of tables on 0 shards, expected at least one");
  BOOST_TEST(Message(TableSet::Create(f.system, {.tables = {Tables()[0], Tables()[0]}}).status()) == "2 tables are named 'w', expected one");
  TableSpec kept{.name = "t", .rows = 3, .rule_options = {}};
  kept.kept_by = KeptBy::kRing;
  BOOST_TEST(Message(TableSet::Create(f.system, {.tables = {kept}}).status()) == "table 't' is kept by workers, expected by shards");
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
  BOOST_TEST(Message(f.set->Flush()) == "push of writer 0: table 'd': gradient of key 250000 is inf, expected a finite number");
  BOOST_TEST(f.set->Flush().ok());   // it is told once
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

// ---------------------------------------------------------------------------------------------------------------------------- copies of rows at this end

/// A set over shards that a test can reach behind its back.
struct Replicated {
  System system{System::Options{}};
  std::vector<ShardActor> shards;
  std::unique_ptr<TableSet> set;
  explicit Replicated(std::chrono::milliseconds staleness = std::chrono::hours(1), std::chrono::milliseconds patience = seconds(20)) {
    for (uint32_t i = 0; i < 2; ++i) {
      ShardActorOptions options;
      options.shard = {.tables = Tables(),
                       .shard = i,
                       .shards = 2,
                       .writers = 1,
                       .consistency = Consistency{.kind = Consistency::Kind::kAsp},
                       .writers_go_on = true,
                       .stable_when_applied = true};
      shards.push_back(*SpawnShard(system, options));
    }
    set = MakeTableSet(system, shards, {.tables = Tables(), .patience = patience, .replicas = {{"w", {.bytes_max = 1 << 20, .staleness = staleness}}}});
  }
  ~Replicated() {
    set = nullptr;
    for (const ShardActor& shard : shards) system.Stop(shard);
  }
  TableRef w() const { return *set->Find("w"); }
  /// What another writer would do.
  void SetBehindItsBack(Key key, float value) {
    const Partition partition(Tables()[0], 2);
    const Assign assign{.table = 0, .keys = Block::Adopt(std::vector<Key>{key}), .values = Block::Adopt(std::vector<float>{value, value})};
    BOOST_REQUIRE(Ask<Assigned>(system, shards[partition.ShardOf(partition.RangeOf(key))], assign).ok());
  }
};

/// What is between a set and a shard in another process, at its worst: every pull overtakes the pushes before it.
caf::behavior Overtaking(caf::event_based_actor* self, const ShardActor& shard) {
  const auto held = std::make_shared<std::vector<std::function<void()>>>();
  const auto let_go = [held] {
    for (const auto& push : std::exchange(*held, {})) push();
  };
  return {[=](const Push& push) -> caf::result<Pushed> {
            auto promise = self->make_response_promise<caf::typed_response_promise<Pushed>>();
            held->push_back([=] {
              self->request(shard, caf::infinite, push)
                  .then([promise = promise](const Pushed& pushed) mutable { promise.deliver(pushed); },
                        [promise = promise](const caf::error& error) mutable { promise.deliver(error); });
            });
            self->delayed_send(self, milliseconds(5), Thunk{let_go});   // where no pull comes
            return promise;
          },
          [=](const Pull& pull) -> caf::result<Pulled> {
            auto promise = self->make_response_promise<caf::typed_response_promise<Pulled>>();
            self->request(shard, caf::infinite, pull)
                .then([promise](Pulled& pulled) mutable { promise.deliver(std::move(pulled)); },
                      [promise](const caf::error& error) mutable { promise.deliver(error); });
            let_go();
            return promise;
          },
          [=](const Open& open) -> caf::result<Opened> {
            auto promise = self->make_response_promise<caf::typed_response_promise<Opened>>();
            self->request(shard, caf::infinite, open)
                .then([promise](Opened& opened) mutable { promise.deliver(std::move(opened)); },
                      [promise](const caf::error& error) mutable { promise.deliver(error); });
            return promise;
          },
          [](const Thunk& thunk) { thunk.run(); }};
}

BOOST_AUTO_TEST_CASE(pulls_that_overtake_the_sets_pushes_see_them) {
  Replicated f;   // for its shards
  std::vector<ShardActor> ways;
  for (const ShardActor& shard : f.shards) ways.push_back(caf::actor_cast<ShardActor>(f.system.actors().spawn(Overtaking, shard)));
  {
    const auto set = MakeTableSet(f.system, ways, {.tables = Tables(), .patience = seconds(20)});
    const TableRef w = *set->Find("w");
    for (int i = 1; i <= 50; ++i) {
      w.Push({1, 2, 3, 4}, std::vector<float>(8, -1));
      const auto rows = w.Pull({1, 2, 3, 4});
      BOOST_REQUIRE(rows.ok());
      BOOST_TEST(rows->values == std::vector<float>(8, static_cast<float>(i)), boost::test_tools::per_element());
    }
  }
  for (const ShardActor& way : ways) f.system.Stop(caf::actor_cast<caf::actor>(way));
}

BOOST_AUTO_TEST_CASE(intended_rows_are_read_here_until_a_push_of_the_set_changes_them) {
  Replicated f;
  const TableRef w = f.w();
  BOOST_REQUIRE(w.Push({1, 2, 3}, {-1, -1, -2, -2, -3, -3}).Wait(seconds(10)).ok());
  BOOST_REQUIRE(w.Intend({1, 2, 3}).ok());
  BOOST_TEST(w.Pull({3, 1, 2})->values == (std::vector<float>{3, 3, 1, 1, 2, 2}), boost::test_tools::per_element());   // waits for them
  for (const Key key : {1, 2, 3}) f.SetBehindItsBack(key, 50);
  BOOST_TEST(w.Pull({1, 2, 3})->values == (std::vector<float>{1, 1, 2, 2, 3, 3}), boost::test_tools::per_element());   // within the bound: no message
  w.Push({2}, {-1, -1});
  BOOST_TEST(w.Pull({1, 2, 3, 4})->values == (std::vector<float>{1, 1, 51, 51, 3, 3, 0, 0}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(pulls_that_copies_answer_need_no_shard) {
  Replicated f(std::chrono::hours(1), milliseconds(300));
  const TableRef w = f.w();
  BOOST_REQUIRE(w.Intend({7, 8}).ok());
  BOOST_REQUIRE(w.Pull({7, 8}).ok());
  for (int i = 0; i < 4; ++i) BOOST_REQUIRE(w.Pull({9}).ok());   // pulled often
  BOOST_REQUIRE(w.Pull({10}).ok());
  for (const ShardActor& shard : f.shards) f.system.Stop(shard);
  BOOST_TEST(w.Pull({8, 7, 9}).ok());
  BOOST_TEST(!w.Pull({10}).ok());   // once is not often
  BOOST_TEST(w.Intend({20}).ok());
  BOOST_TEST(!w.Pull({20}).ok());   // its fetch ends with an error, or the patience does
}

BOOST_AUTO_TEST_CASE(no_copy_outlives_an_assignment_or_a_change) {
  Replicated f;
  const TableRef w = f.w();
  BOOST_REQUIRE(w.Push({1, 2}, {-4, -4, -6, -6}).Wait(seconds(10)).ok());
  const auto intend = [&] {
    BOOST_REQUIRE(w.Intend({1, 2}).ok());
    BOOST_REQUIRE(w.Pull({1, 2}).ok());
  };
  intend();
  BOOST_REQUIRE(w.Assign({1}, {5, 5}).ok());
  BOOST_TEST(w.Pull({1, 2})->values == (std::vector<float>{5, 5, 6, 6}), boost::test_tools::per_element());
  intend();
  BOOST_REQUIRE(f.set->Change({.function = "apply", .numbers = {{"by", {2}}}, .words = {{"op", "scale"}}}).ok());
  BOOST_TEST(w.Pull({1, 2})->values == (std::vector<float>{10, 10, 12, 12}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(whole_pushes_to_a_dense_table_are_seen_by_its_copies) {
  System system{System::Options{}};
  const auto set = *TableSet::Create(system, {.tables = Tables(), .shards = 2, .replicas = {{"d", {}}}});
  const TableRef d = *set->Find("d");
  BOOST_REQUIRE(d.Intend({0, 599'999}).ok());
  BOOST_TEST(d.Pull({0, 599'999})->values == (std::vector<float>{0, 0}), boost::test_tools::per_element());
  BOOST_REQUIRE(d.Intend({0}).ok());
  d.PushAll(Block::Adopt(std::vector<float>(600'000, 2)));
  BOOST_TEST(d.Pull({0, 599'999})->values == (std::vector<float>{2, 2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(threads_that_share_copies_see_their_own_pushes) {
  System system{System::Options{}};
  const auto set =
      *TableSet::Create(system, {.tables = Tables(), .shards = 3, .replicas = {{"w", {.bytes_max = 1 << 20, .staleness = std::chrono::hours(1)}}}});
  const TableRef w = *set->Find("w");
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (Key key = 0; key < 4; ++key) {
    threads.emplace_back([&w, &wrong, key] {
      for (int i = 1; i <= 300; ++i) {
        if (i % 3 == 0 && !w.Intend({key, 100}).ok()) ++wrong;
        w.Push({key, 100}, {1, 0, 1, 1});
        const auto rows = w.Pull({key, 100});
        if (!rows.ok() || rows->values[0] != static_cast<float>(-i) || rows->values[3] > static_cast<float>(-i)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(wrong == 0);
  BOOST_TEST(w.Pull({100})->values[1] == -1200);
}

BOOST_AUTO_TEST_CASE(replicas_that_cannot_be_are_refused) {
  Fixture f;
  BOOST_TEST(Message(f.w.Intend({1})) == "table 'w' has no replicas, expected some");
  const auto created = [&](const std::string& table, const TableReplicas& replicas) {
    return Message(TableSet::Create(f.system, {.tables = Tables(), .replicas = {{table, replicas}}}).status());
  };
  BOOST_TEST(created("x", {}) == "replicas of table 'x', expected one of the set's");
  BOOST_TEST(created("w", {.bytes_max = 10}) == "replicas of table 'w': bytes_max is 10, expected room for a row");
  BOOST_TEST(created("w", {.staleness = milliseconds(0)}) == "replicas of table 'w': staleness is 0 ms, expected more than 0");
  const auto refused = [&](const std::function<void(TableSpec&)>& change) {
    std::vector<TableSpec> tables = Tables();
    change(tables[0]);
    return Message(TableSet::Create(f.system, {.tables = tables, .replicas = {{"w", {}}}}).status());
  };
  BOOST_TEST(refused([](TableSpec& spec) { spec.staleness_scale = true; }) ==
             "replicas of table 'w', whose shards must know which rows are read: expected neither staleness_scale nor delay_compensation");
  BOOST_TEST(refused([](TableSpec& spec) { spec.limits.rows_max = 1000; }) ==
             "replicas of table 'w', whose pushes let other rows go: expected neither ttl nor rows_max");
  const auto set = *TableSet::Create(f.system, {.tables = Tables(), .replicas = {{"w", {.bytes_max = 100}}}});
  const TableRef w = *set->Find("w");
  BOOST_TEST(Message(w.Intend({1, 1})) == "table 'w': key 1 is there twice, expected distinct keys");
  BOOST_TEST(absl::IsResourceExhausted(w.Intend({1, 2, 3, 4, 5})));
  BOOST_TEST(w.Pull({1, 2, 3, 4, 5}).ok());
}

// ------------------------------------------------------------------------------------------------------------------------------ tables in a folder

struct Folder {
  std::string path;
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "troupe_tables_XXXXXX").string();
    BOOST_REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  size_t Files(const std::string& end) const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path)) count += entry.path().string().ends_with(end);
    return count;
  }
};
std::vector<TableSpec> SmallTables() {
  return {{.name = "w", .width = 2, .rows = {}, .rule = "adagrad", .rule_options = {}}, {.name = "n", .rows = 100, .rule = "add", .rule_options = {}}};
}

BOOST_AUTO_TEST_CASE(what_is_acknowledged_is_there_again) {
  const Folder folder;
  Rows rows;
  for (int run = 1; run <= 3; ++run) {
    System system{System::Options{}};
    const auto set = TableSet::Create(system, {.tables = SmallTables(), .shards = 2, .folder = folder.path});
    BOOST_REQUIRE_MESSAGE(set.ok(), set.status().ToString());
    const TableRef w = *(*set)->Find("w"), n = *(*set)->Find("n");
    if (run > 1) {
      BOOST_TEST(w.Pull({3, 4, 5})->values == rows.values, boost::test_tools::per_element());
      BOOST_TEST(n.Pull({7})->values[0] == static_cast<float>(run - 1) * 10 + (run > 2 ? 490.0f : 0.0f));
    }
    for (int i = 0; i < 10; ++i) {
      w.Push({3, 4}, {1, 2, 3, 4});
      BOOST_TEST(n.Push({7, 8}, {1, 1}).Wait(seconds(10)).ok());
    }
    BOOST_TEST(w.Assign({5}, {static_cast<float>(run), 6}).ok());
    if (run == 2) BOOST_TEST(n.Assign({7}, {500}).ok());   // 20 before, 10 behind it
    BOOST_TEST((*set)->Change({.function = "apply", .numbers = {{"by", {2}}}, .words = {{"op", "scale"}}}).ok());
    rows = *w.Pull({3, 4, 5});
    if (run == 2) n.Push({7}, {10}).Wait(seconds(10)).IgnoreError();
  }
}

BOOST_AUTO_TEST_CASE(a_process_that_dies_loses_nothing_that_it_has_acknowledged) {
  const Folder folder;
  int told[2];
  BOOST_REQUIRE(pipe(told) == 0);
  const pid_t child = fork();
  if (child == 0) {
    System system{System::Options{}};
    const auto set = TableSet::Create(system, {.tables = SmallTables(), .shards = 2, .folder = folder.path});
    const TableRef n = *(*set)->Find("n");
    for (uint32_t i = 1;; ++i) {
      if (!n.Push({1, 60}, {1, 1}).Wait(seconds(10)).ok() || write(told[1], &i, sizeof i) != sizeof i) _exit(1);
    }
  }
  close(told[1]);
  uint32_t acknowledged = 0, next = 0;
  while (acknowledged < 200 && read(told[0], &next, sizeof next) == sizeof next) acknowledged = next;
  kill(child, SIGKILL);
  while (read(told[0], &next, sizeof next) == sizeof next) acknowledged = next;
  close(told[0]);
  waitpid(child, nullptr, 0);
  BOOST_TEST(acknowledged >= 200u);
  System system{System::Options{}};
  const auto set = TableSet::Create(system, {.tables = SmallTables(), .shards = 2, .folder = folder.path});
  BOOST_REQUIRE_MESSAGE(set.ok(), set.status().ToString());
  const auto rows = (*set)->Find("n")->Pull({1, 60});   // of the last push, which was not acknowledged, one shard may have its share
  for (const float value : rows->values) BOOST_TEST((value == static_cast<float>(acknowledged) || value == static_cast<float>(acknowledged + 1)));
  const TableRef n = *(*set)->Find("n");   // and what follows counts, whatever each shard had of its predecessor
  for (int i = 0; i < 5; ++i) BOOST_TEST(n.Push({1, 60}, {100, 100}).Wait(seconds(10)).ok());
  const auto more = n.Pull({1, 60});
  for (size_t i = 0; i < 2; ++i) BOOST_TEST(more->values[i] == rows->values[i] + 500);
}

BOOST_AUTO_TEST_CASE(a_set_goes_on_behind_whatever_any_shard_has) {
  const Folder folder;
  System system{System::Options{}};
  std::vector<ShardActor> shards;
  for (uint32_t i = 0; i < 3; ++i) {
    ShardActorOptions options;
    options.shard = {.tables = SmallTables(),
                     .shard = i,
                     .shards = 3,
                     .writers = 1,
                     .consistency = Consistency{.kind = Consistency::Kind::kAsp},
                     .writers_go_on = true,
                     .stable_when_applied = true};
    shards.push_back(*SpawnShard(system, options));
  }
  const Router router(SmallTables(), 3);
  for (size_t ahead = 0; ahead < 3; ++ahead) {   // a predecessor whose last pushes have reached some shards, one of them in part
    Round done = kFirstRound;
    for (uint64_t round = 1; round <= 2 + 3 * ahead; ++round) {
      RoutedPush::Chunk chunk = std::move(router.Push({{.table = 1, .keys = {1, 60, 99}, .values = {1, 1, 1}, .nonzeros = {}}}).shards[ahead][0]);
      for (PushPart& part : chunk.parts) {
        part.sequence = MakeRound(1, round) << 8;
        part.previous = round == 1 ? 0 : MakeRound(1, round - 1) << 8;
      }
      const Push push{.round = MakeRound(1, round),
                      .previous = std::exchange(done, MakeRound(1, round)),
                      .round_over = round < 8,
                      .parts = Block::Adopt(std::move(chunk.parts)),
                      .keys = chunk.keys,
                      .values = chunk.values};
      BOOST_REQUIRE(Ask<Pushed>(system, shards[ahead], push).ok());
    }
  }
  const auto set = MakeTableSet(system, shards, {.tables = SmallTables()});
  const TableRef n = *set->Find("n");
  const std::vector<float> before = n.Pull({1, 60, 99})->values;
  BOOST_TEST(n.Push({1, 60, 99}, {100, 100, 100}).Wait(seconds(10)).ok());
  const std::vector<float> after = n.Pull({1, 60, 99})->values;
  for (size_t i = 0; i < 3; ++i) BOOST_TEST(after[i] == before[i] + 100);
  for (const ShardActor& shard : shards) system.Stop(shard);
}

BOOST_AUTO_TEST_CASE(big_pushes_are_logged_whole_though_snapshots_come_between) {
  const Folder folder;
  const std::vector<TableSpec> tables{{.name = "d", .width = 1, .rows = 1'500'000, .rule = "add", .rule_options = {}}};
  const std::vector<float> ones(1'500'000, 1);
  std::vector<float> all;
  for (int run = 0; run < 3; ++run) {
    System system{System::Options{}};
    ShardActorOptions options;
    options.shard = {.tables = tables, .writers = 1, .consistency = Consistency{.kind = Consistency::Kind::kAsp}, .writers_go_on = true};
    options.log_folder = folder.path;
    options.log_bytes_max = 4096;
    options.snapshot_uri = folder.path + "/shard-0.snapshot";
    const auto shard = SpawnShard(system, options);
    BOOST_REQUIRE_MESSAGE(shard.ok(), shard.status().ToString());
    const auto set = MakeTableSet(system, {*shard}, {.tables = tables});
    const TableRef d = *set->Find("d");
    BOOST_REQUIRE(d.PullAll(all).ok());
    for (const float value : all) BOOST_REQUIRE(value == static_cast<float>(4 * run));
    std::vector<Pushing> pushes;
    for (int i = 0; i < 4; ++i) pushes.push_back(d.PushAll(Block::Copy(std::span<const float>(ones))));
    for (const Pushing& push : pushes) BOOST_TEST(push.Wait(seconds(20)).ok());
    system.Stop(*shard);
  }
}

BOOST_AUTO_TEST_CASE(what_ends_with_the_set_says_so) {
  const Folder folder;
  System system{System::Options{}};
  std::vector<Pushing> pushes;
  {
    const auto set = TableSet::Create(system, {.tables = SmallTables(), .folder = folder.path});
    const TableRef n = *(*set)->Find("n");
    for (int i = 0; i < 500; ++i) pushes.push_back(n.Push({7}, {1}));
  }
  uint32_t counted = 0;
  for (const Pushing& push : pushes) {
    const absl::Status status = push.Wait(seconds(10));
    if (status.ok()) ++counted;
    BOOST_TEST((status.ok() || absl::IsUnavailable(status)), status.ToString());
  }
  const auto set = TableSet::Create(system, {.tables = SmallTables(), .folder = folder.path});   // waits until the old log is closed
  BOOST_REQUIRE_MESSAGE(set.ok(), set.status().ToString());
  BOOST_TEST((*set)->Find("n")->Pull({7})->values[0] >= static_cast<float>(counted));
}

BOOST_AUTO_TEST_CASE(a_log_that_has_grown_is_replaced_by_a_snapshot) {
  const Folder folder;
  for (int run = 0; run < 2; ++run) {
    System system{System::Options{}};
    ShardActorOptions options;
    options.shard = {.tables = SmallTables(), .writers = 1, .consistency = Consistency{.kind = Consistency::Kind::kAsp}};
    options.log_folder = folder.path;
    options.log_bytes_max = 4096;
    options.snapshot_uri = folder.path + "/shard-0.snapshot";
    const ShardActor shard = *SpawnShard(system, options);
    const auto set = MakeTableSet(system, {shard}, {.tables = SmallTables()});
    const TableRef n = *set->Find("n");
    BOOST_TEST(n.Pull({7})->values[0] == static_cast<float>(run * 300));
    for (int i = 0; i < 300; ++i) BOOST_TEST(n.Push({7}, {1}).Wait(seconds(10)).ok());
    BOOST_TEST(folder.Files(".log") < 10u);
    BOOST_TEST(!std::filesystem::exists(folder.path + "/shard-0.1.log"));
    system.Stop(shard);
  }
}

BOOST_AUTO_TEST_CASE(a_folder_is_used_by_one_set_with_its_own_tables) {
  const Folder folder;
  System system{System::Options{}};
  const auto create = [&](std::vector<TableSpec> tables, uint32_t shards) {
    return TableSet::Create(system, {.tables = std::move(tables), .shards = shards, .folder = folder.path});
  };
  auto first = create(SmallTables(), 2);
  BOOST_REQUIRE(first.ok());
  BOOST_TEST(Message(create(SmallTables(), 2).status()) == folder.path + "/shard-0.lock: somebody has this lock");
  first = absl::UnknownError("");
  BOOST_TEST(!create(SmallTables(), 3).ok());
  std::vector<TableSpec> others = SmallTables();
  others[0].width = 3;
  BOOST_TEST(!create(others, 2).ok());
  others = SmallTables();
  others[0].encoding.key_cache = true;
  BOOST_TEST(Message(create(others, 2).status()) == "table 'w': encoding is 'cache', expected one without cache: pushes are logged");
  BOOST_TEST(!TableSet::Create(system, {.tables = SmallTables(), .folder = "mem:/tables"}).ok());
  ShardActorOptions rounds;
  rounds.shard = {.tables = SmallTables(), .consistency = {}};
  rounds.log_folder = folder.path;
  BOOST_TEST(Message(SpawnShard(system, rounds).status()) ==
             "table 'w' goes by rounds, expected a consistency without: pushes are logged when they are applied");
  BOOST_TEST(create(SmallTables(), 2).ok());
}

BOOST_AUTO_TEST_CASE(tables_larger_than_their_memory_are_kept_too) {
  const Folder folder;
  std::vector<TableSpec> tables{{.name = "w", .width = 8, .rows = {}, .rule = "adagrad", .rule_options = {}}};
  tables[0].limits.memory_max = 1 << 20;
  std::vector<Key> keys(2000);
  std::vector<float> ones(keys.size() * 8, 1), first;
  for (const std::string& where : {std::string(), folder.path, folder.path}) {
    System system{System::Options{}};
    const auto set = TableSet::Create(system, {.tables = tables, .shards = 2, .folder = where});
    BOOST_REQUIRE_MESSAGE(set.ok(), set.status().ToString());
    const TableRef w = *(*set)->Find("w");
    if (w.Pull({1})->values[0] == 0) {
      for (Key begin = 0; begin < 60'000; begin += keys.size()) {
        for (size_t i = 0; i < keys.size(); ++i) keys[i] = begin + i;
        BOOST_REQUIRE(w.Push(keys, ones).Wait(seconds(20)).ok());
      }
    }
    const std::vector<float> rows = w.Pull({1, 30'000, 59'999})->values;
    if (first.empty()) first = rows;
    BOOST_TEST(rows == first, boost::test_tools::per_element());
    BOOST_TEST(rows[0] < 0);
  }
}

BOOST_AUTO_TEST_CASE(a_full_disk_ends_a_set_with_its_error) {
  const Folder folder;
  System system{System::Options{}};
  const auto set = TableSet::Create(system, {.tables = SmallTables(), .folder = folder.path});
  BOOST_REQUIRE(set.ok());
  const TableRef n = *(*set)->Find("n");
  std::filesystem::create_symlink("/dev/full", folder.path + "/shard-0.2.log");   // where the log goes on behind the first snapshot
  const absl::Status status = n.Push({7}, {1}).Wait(seconds(10));
  BOOST_TEST(absl::IsResourceExhausted(status), status.ToString());
  BOOST_TEST(Message(status) == "shard 0 cannot write its log: " + folder.path + "/shard-0.2.log: no space left on device");
  BOOST_TEST(absl::IsResourceExhausted(n.Push({7}, {1}).Wait(seconds(10))));
  BOOST_TEST(absl::IsResourceExhausted(n.Pull({7}).status()));
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

/// One shard whose answers to pulls wait until the test lets them go. What a test sees of it, it sees under the mutex.
struct HeldPulls {
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false;
  std::vector<Key> came;   // the first key of each pull
  std::deque<std::function<void()>> held;

  /// Waits until n pulls have come.
  bool Came(size_t n) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, seconds(20), [&] { return came.size() >= n; });
  }
  void Open() {
    std::lock_guard lock(mutex);
    open = true;
    for (const auto& answer : held) answer();
    held.clear();
  }
};

caf::behavior HoldingShard(caf::event_based_actor* self, HeldPulls* pulls, std::shared_ptr<Shard> shard) {
  const auto pull = [self, pulls, shard](Pull pull) -> caf::result<Pulled> {
    auto promise = self->make_response_promise<caf::typed_response_promise<Pulled>>();
    shard->FillKeys(pull);
    auto answer = [promise, pulled = *shard->OnPull(pull)]() mutable { promise.deliver(pulled); };
    std::lock_guard lock(pulls->mutex);
    pulls->came.push_back(pull.keys.empty() ? 0 : pull.keys.As<Key>()[0]);
    pulls->changed.notify_all();
    if (pulls->open)
      answer();
    else
      pulls->held.emplace_back(std::move(answer));
    return promise;
  };
  return {[shard](const Open& open) -> caf::result<Opened> { return *shard->OnOpen(open); },
          [shard](const Push& push) -> caf::result<Pushed> { return *shard->OnPush(push); }, pull};
}

struct Held {
  System system{System::Options{}};
  HeldPulls pulls;
  caf::actor shard;
  std::unique_ptr<TableSet> set;
  Held() {
    ShardOptions options;
    options.tables = Tables();
    options.writers = 1;
    options.consistency = Consistency{.kind = Consistency::Kind::kAsp};
    options.stable_when_applied = true;
    shard = system.actors().spawn(HoldingShard, &pulls, std::make_shared<Shard>(std::move(*Shard::Make(options))));
    set = MakeTableSet(system, {caf::actor_cast<ShardActor>(shard)}, {.tables = Tables(), .patience = seconds(20)});
  }
  ~Held() {
    pulls.Open();
    set = nullptr;
    system.Stop(shard);
  }
};

BOOST_AUTO_TEST_CASE(a_pull_ends_at_its_limit_and_the_set_goes_on) {
  Held f;
  const TableRef w = *f.set->Find("w");
  BOOST_REQUIRE(w.Push({1}, {-1, -2}).Wait(seconds(10)).ok());
  BOOST_TEST(Message(w.Pull({1}, {.limit = milliseconds(30)}).status()) == "the shards gave no answer within 30 ms");
  std::vector<float> all;
  BOOST_TEST(absl::IsDeadlineExceeded(f.set->Find("d")->PullAll(all, {.limit = milliseconds(30)})));
  f.pulls.Open();
  BOOST_TEST(w.Pull({1})->values == (std::vector<float>{1, 2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_pull_that_was_left_before_it_went_out_never_does) {
  Held f;
  const TableRef w = *f.set->Find("w");
  std::vector<std::thread> callers;
  for (Key key = 1; key <= 16; ++key) callers.emplace_back([&w, key] { BOOST_TEST(w.Pull({key}).ok()); });   // as many as may be under way
  BOOST_REQUIRE(f.pulls.Came(16));
  BOOST_TEST(absl::IsDeadlineExceeded(w.Pull({100}, {.limit = milliseconds(30)}).status()));
  f.pulls.Open();
  for (std::thread& caller : callers) caller.join();
  BOOST_TEST(w.Pull({101}, {.priority = 3}).ok());
  std::lock_guard lock(f.pulls.mutex);
  BOOST_TEST(f.pulls.came.size() == 17u);
  BOOST_TEST((std::ranges::find(f.pulls.came, Key{100}) == f.pulls.came.end()));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
