// What the rebalancer moves: little, towards even loads, and never to and fro.
#include "ps/rebalancer.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <vector>

#include "actors/random.h"

namespace troupe {
namespace {

std::vector<TableSpec> Tables() {
  return {{.name = "w", .width = 4, .rows = {}, .rule_options = {}, .ranges = 16}, {.name = "v", .width = 4, .rows = {}, .rule_options = {}, .ranges = 16}};
}

/// Shards that count: each look adds traffic[range] rows to table 0 (a tenth of it to table 1).
struct World {
  RangeMap map{Tables(), 4};
  std::vector<uint64_t> traffic = std::vector<uint64_t>(16, 1'000);
  std::vector<uint64_t> counted = std::vector<uint64_t>(16);

  std::vector<RangeLoad> Loads() {
    std::vector<RangeLoad> loads;
    for (uint32_t range = 0; range < 16; ++range) {
      counted[range] += traffic[range];
      for (uint32_t table = 0; table < 2; ++table) {
        const uint64_t rows = table == 0 ? counted[range] : counted[range] / 10;
        loads.push_back({.table = table, .range = range, .pushed = rows / 2, .pulled = rows - rows / 2, .bytes = 1'000});
      }
    }
    return loads;
  }
  /// One look, and what it says is done. How many moved.
  size_t Step(Rebalancer& rebalancer) {
    const Rebalancer::Decision decision = rebalancer.Look(map, Loads());
    BOOST_REQUIRE_EQUAL(decision.moves.size(), decision.reasons.size());
    if (decision.moves.empty()) return 0;
    const auto next = map.After(decision.moves);
    BOOST_REQUIRE(next.ok());
    map = *next;
    for (const RangeMove& move : decision.moves) counted[move.range] = 0;   // the new shard counts from zero
    return decision.moves.size();
  }
  double Busiest() const {
    std::vector<double> of(4);
    double all = 0;
    for (uint32_t range = 0; range < 16; ++range) {
      of[map.ShardOf(0, range)] += static_cast<double>(traffic[range]);
      all += static_cast<double>(traffic[range]);
    }
    return *std::ranges::max_element(of) / (all / 4);
  }
};

BOOST_AUTO_TEST_SUITE(RebalancerTest)

BOOST_AUTO_TEST_CASE(even_loads_stay_where_they_are) {
  World world;
  Rebalancer rebalancer(Tables());
  for (int look = 0; look < 20; ++look) BOOST_TEST(world.Step(rebalancer) == 0u);
}

BOOST_AUTO_TEST_CASE(hot_ranges_go_to_shards_with_room_at_the_second_look_and_then_there_is_peace) {
  World world;
  for (uint32_t range = 0; range < 4; ++range) world.traffic[range] = 4'000;   // all of shard 0
  Rebalancer rebalancer(Tables());
  BOOST_TEST(world.Busiest() > 2);
  BOOST_TEST(world.Step(rebalancer) == 0u);   // once may be chance
  BOOST_TEST(world.Step(rebalancer) > 0u);
  size_t moved = 0;
  for (int look = 0; look < 10; ++look) moved += world.Step(rebalancer);
  BOOST_TEST(world.Busiest() < 1.3);
  BOOST_TEST(moved <= 4u);
  const RangeMap settled = world.map;
  for (int look = 0; look < 30; ++look) BOOST_TEST(world.Step(rebalancer) == 0u);
  BOOST_TEST((world.map == settled));
}

BOOST_AUTO_TEST_CASE(a_load_that_swings_does_not_swing_ranges) {
  World world;
  Rebalancer rebalancer(Tables());
  size_t moved = 0;
  for (int look = 0; look < 40; ++look) {
    for (uint32_t range = 0; range < 16; ++range) world.traffic[range] = range / 4 == static_cast<uint32_t>(look % 2) ? 4'000 : 1'000;
    moved += world.Step(rebalancer);
  }
  BOOST_TEST(moved == 0u);
}

BOOST_AUTO_TEST_CASE(one_hot_range_cannot_be_split_and_stays) {
  World world;
  world.traffic.assign(16, 1);
  world.traffic[5] = 1'000'000;
  Rebalancer rebalancer(Tables(), {.memory_share = 0});
  for (int look = 0; look < 20; ++look) {
    world.Step(rebalancer);
    BOOST_TEST(world.map.ShardOf(0, 5) == 1u);
  }
}

BOOST_AUTO_TEST_CASE(without_traffic_or_with_one_shard_nothing_moves) {
  World world;
  world.traffic.assign(16, 0);
  world.traffic[0] = 10;
  Rebalancer rebalancer(Tables());
  for (int look = 0; look < 5; ++look) BOOST_TEST(world.Step(rebalancer) == 0u);
  Rebalancer alone(Tables());
  const RangeMap one(Tables(), 1);
  world.traffic[0] = 1'000'000;
  for (int look = 0; look < 5; ++look) BOOST_TEST(alone.Look(one, world.Loads()).moves.empty());
}

BOOST_AUTO_TEST_CASE(whatever_the_loads_it_ends_near_even_and_stops) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Random random(seed);
    World world;
    for (uint64_t& rows : world.traffic) rows = 1'000 + random.Below(4'000);
    Rebalancer rebalancer(Tables(), {.memory_share = 0});
    size_t moved = 0;
    const double before = world.Busiest();
    for (int look = 0; look < 30; ++look) moved += world.Step(rebalancer);
    BOOST_TEST(world.Busiest() <= std::max(before, 1.0) + 1e-9, "seed " << seed);
    BOOST_TEST(world.Busiest() < 1.3, "seed " << seed << ": " << world.Busiest());
    BOOST_TEST(moved <= 10u, "seed " << seed << ": " << moved);
    for (int look = 0; look < 10; ++look) BOOST_TEST(world.Step(rebalancer) == 0u, "seed " << seed);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
