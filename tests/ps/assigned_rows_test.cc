// Rows that were assigned are there as long as their job: also at a shard that is replaced right after it has answered.
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <vector>

#include "actors/ask.h"
#include "actors/stop_actors.h"
#include "actors/system.h"
#include "ps/shard_actor.h"

namespace troupe {
namespace {

ShardActorOptions Options() {
  ShardActorOptions options;
  options.shard.tables = {TableSpec{.name = "w", .width = 1, .rows = 8, .rule = "add", .rule_options = {}}};
  options.snapshot_uri = "mem:shard";
  options.snapshot_interval = std::chrono::hours(1);   // it is not the timer that keeps them
  return options;
}

Assign Two(Key first, float value) {
  return {.table = 0, .keys = Block::Adopt(std::vector<Key>{first, first + 1}), .values = Block::Adopt(std::vector<float>{value, value + 1})};
}

std::vector<float> RowsOf(System& system, const ShardActor& shard) {
  Pull pull;
  pull.parts = Block::Adopt(std::vector<PullPart>{{.table = 0, .range = 0, .first = 0, .count = 8, .dense = 1}});
  pull.round = MakeRound(1, 0);
  const auto pulled = Ask<Pulled>(system, shard, pull);
  BOOST_REQUIRE_MESSAGE(pulled.ok(), pulled.status().ToString());
  const auto values = pulled->values.As<float>();
  return {values.begin(), values.end()};
}

}   // namespace

BOOST_AUTO_TEST_SUITE(AssignedRows)

BOOST_AUTO_TEST_CASE(a_shard_that_falls_right_after_its_answer_is_replaced_with_them) {
  System system({.compute_threads = 1});
  ShardActorOptions options = Options();
  options.shard.tables[0].ranges = 1;
  ShardActor shard = *SpawnShard(system, options);
  for (const auto& assign : {Two(0, 1), Two(4, 7)}) {
    const auto assigned = Ask<Assigned>(system, shard, assign);
    BOOST_REQUIRE_MESSAGE(assigned.ok(), assigned.status().ToString());
    StopAndWait(system, std::vector{shard});
    shard = *SpawnShard(system, options);
  }
  BOOST_TEST(RowsOf(system, shard) == (std::vector<float>{1, 2, 0, 0, 7, 8, 0, 0}), boost::test_tools::per_element());
  StopAndWait(system, std::vector{shard});
}

BOOST_AUTO_TEST_CASE(the_same_again_changes_nothing_and_what_came_between_counts) {
  System system({.compute_threads = 1});
  ShardActorOptions options = Options();
  options.shard.tables[0].ranges = 1;
  const ShardActor shard = *SpawnShard(system, options);
  for (const auto& assign : {Two(0, 1), Two(4, 7), Two(0, 1), Two(1, 5), Two(0, 1), Two(0, 1)}) {
    const auto assigned = Ask<Assigned>(system, shard, assign);
    BOOST_REQUIRE_MESSAGE(assigned.ok(), assigned.status().ToString());
  }
  BOOST_TEST(RowsOf(system, shard) == (std::vector<float>{1, 2, 6, 0, 7, 8, 0, 0}), boost::test_tools::per_element());
  StopAndWait(system, std::vector{shard});
}

BOOST_AUTO_TEST_CASE(where_they_cannot_be_kept_the_answer_is_an_error_that_is_worth_another_try) {
  System system({.compute_threads = 1});
  system.SetStorage(MakeMemoryStorage(16));   // a full disk
  const ShardActor shard = *SpawnShard(system, Options());
  const auto assigned = Ask<Assigned>(system, shard, Two(0, 1));
  BOOST_TEST(absl::IsUnavailable(assigned.status()), assigned.status().ToString());
  StopAndWait(system, std::vector{shard});
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
