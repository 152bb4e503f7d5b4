#include "ps/planner.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>

#include "actors/random.h"

namespace troupe {
namespace {

TableSpec Spec(uint32_t width, std::optional<uint64_t> rows, const char* rule, uint32_t ranges = 0) {
  TableSpec spec;
  spec.name = "w";
  spec.width = width;
  spec.rows = rows;
  spec.rule = rule;
  spec.ranges = ranges;
  return spec;
}
TableSpec Sparse(uint32_t width = 1) {
  return Spec(width, std::nullopt, "adagrad");
}

/// `batches` of `n` distinct keys below `keys` each.
TableTraffic Even(uint64_t keys, int batches, size_t n, uint64_t seed = 1) {
  TableTraffic traffic;
  Random random(seed);
  for (int b = 0; b < batches; ++b) {
    std::vector<Key> batch(n);
    for (Key& key : batch) key = random.Below(keys);
    traffic.Pulled(batch);
    traffic.Pushed(batch);
  }
  return traffic;
}

PlanInputs Inputs(TableSpec spec, TableTraffic traffic, uint64_t batches) {
  PlanInputs inputs;
  inputs.tables = {std::move(spec)};
  inputs.traffic = {std::move(traffic)};
  inputs.batches = batches;
  inputs.stale = {false};
  inputs.batch_seconds = 1e-3;
  inputs.workers = 4;
  inputs.cores = 8;
  inputs.memory = 1 << 30;
  return inputs;
}

BOOST_AUTO_TEST_SUITE(Planner)

BOOST_AUTO_TEST_CASE(small_tables_of_slow_workers_want_one_shard) {
  const LayoutPlan plan = PlanLayout(Inputs(Sparse(), Even(1000, 20, 100), 20));
  BOOST_TEST(plan.shards == 1u);
  BOOST_TEST(plan.tables[0].pulled == 100.0);
  BOOST_TEST(plan.tables[0].pushed == 100.0);
  BOOST_TEST(plan.utilisation < 0.5);
  BOOST_TEST(plan.tables[0].wire == 100 * (4 + 8) * 2.0);
}

BOOST_AUTO_TEST_CASE(quick_workers_want_more_shards_but_not_more_than_cores) {
  PlanInputs inputs = Inputs(Sparse(), Even(1'000'000, 20, 20'000), 20);   // 40,000 rows a batch: 1.4 ms of a shard for 1 ms of work
  const LayoutPlan plan = PlanLayout(inputs);
  BOOST_TEST(plan.shards == 8u);
  inputs.cores = 4;
  const LayoutPlan few = PlanLayout(inputs);
  BOOST_TEST(few.shards == 4u);
  BOOST_TEST(few.why.find("there are 4 cores") != few.why.npos, few.why);
  inputs.batch_seconds = 8e-3;
  const LayoutPlan slower = PlanLayout(inputs);
  BOOST_TEST(slower.shards == 2u);
  BOOST_TEST(slower.utilisation <= 0.5);
}

BOOST_AUTO_TEST_CASE(memory_asks_for_shards_and_says_what_does_not_fit) {
  PlanInputs inputs = Inputs(Sparse(64), Even(1'000'000, 50, 10'000), 50);
  inputs.batch_seconds = 1;
  inputs.memory = 64 << 20;
  inputs.cores = 64;
  const LayoutPlan plan = PlanLayout(inputs);
  BOOST_TEST(plan.shards > 1u);
  BOOST_TEST(plan.bytes <= static_cast<double>(inputs.memory));
  BOOST_TEST(plan.bytes * plan.shards > static_cast<double>(inputs.memory) * (plan.shards - 1));
  BOOST_TEST(plan.why.find("rows take ") == 0u, plan.why);
  inputs.shards = 1;
  const LayoutPlan forced = PlanLayout(inputs);
  BOOST_TEST(forced.shards == 1u);
  BOOST_TEST(forced.why == "as was asked for; the plan would be " + std::to_string(plan.shards));
  BOOST_REQUIRE(!forced.tables[0].advice.empty());
  BOOST_TEST(forced.tables[0].advice.back().find("memory_max") != std::string::npos, forced.tables[0].advice.back());
  inputs.shards = 0;
  inputs.cores = 2;   // more would not bring more memory
  BOOST_TEST(PlanLayout(inputs).shards == 2u);
}

BOOST_AUTO_TEST_CASE(what_workers_keep_is_no_load_of_shards) {
  TableSpec kept = Spec(1, 1'000'000, "sgd");
  kept.kept_by = KeptBy::kRing;
  PlanInputs inputs = Inputs(kept, Even(1'000'000, 20, 20'000), 20);
  const LayoutPlan plan = PlanLayout(inputs);
  BOOST_TEST(plan.shards == 1u);
  BOOST_TEST(plan.bytes == 0.0);
  BOOST_REQUIRE(!plan.tables[0].advice.empty());
  BOOST_TEST(plan.tables[0].advice[0].find("every worker keeps it") == 0u);
}

BOOST_AUTO_TEST_CASE(rows_to_come_are_estimated_from_a_sample) {
  // All of 10,000 keys are drawn in the long run; a sample has seen a part of them.
  const TableTraffic sample = Even(10'000, 40, 100);
  const double seen = static_cast<double>(sample.distinct());
  BOOST_TEST(sample.DistinctAfter(1) == seen);
  BOOST_TEST(sample.DistinctAfter(4) > 1.5 * seen);
  BOOST_TEST(sample.DistinctAfter(1000) <= 10'000.0);
  // Nothing new comes: the estimate stays.
  const TableTraffic all = Even(50, 40, 100);
  BOOST_TEST(all.DistinctAfter(1000) == 50.0);
  BOOST_TEST(TableTraffic().DistinctAfter(10) == 0.0);
}

BOOST_AUTO_TEST_CASE(hot_keys_are_named) {
  TableTraffic traffic;
  Random random(2);
  for (int b = 0; b < 50; ++b) {
    std::vector<Key> batch(100);
    for (size_t i = 0; i < 100; ++i) batch[i] = i < 60 ? i : 1000 + random.Below(1'000'000);
    traffic.Pulled(batch);
  }
  BOOST_TEST(std::abs(traffic.ShareOfHottest(60) - 0.6) < 1e-9);
  const LayoutPlan plan = PlanLayout(Inputs(Sparse(), traffic, 50));
  BOOST_REQUIRE(plan.tables[0].advice.size() == 1u);
  BOOST_TEST(plan.tables[0].advice[0].find("hottest keys take 61 % of the traffic") != std::string::npos, plan.tables[0].advice[0]);
}

BOOST_AUTO_TEST_CASE(an_uneven_table_says_so) {
  TableTraffic traffic;
  const std::vector<Key> one = {3};
  for (int b = 0; b < 10; ++b) traffic.Pushed(one);
  PlanInputs inputs = Inputs(Spec(1, 8, "sgd", 4), traffic, 10);
  inputs.shards = 4;
  const LayoutPlan plan = PlanLayout(inputs);
  BOOST_TEST(plan.tables[0].busiest == 4.0);
  BOOST_REQUIRE(!plan.tables[0].advice.empty());
  BOOST_TEST(plan.tables[0].advice[0] == "its busiest shard has 4 times the mean: more ranges would even that out");
  const std::vector<double> share = traffic.ShareByShard(inputs.tables[0], 4);
  BOOST_TEST(std::accumulate(share.begin(), share.end(), 0.0) == 1.0);
}

BOOST_AUTO_TEST_CASE(a_table_that_nothing_touched_is_no_load) {
  const LayoutPlan plan = PlanLayout(Inputs(Spec(4, 100, "add"), TableTraffic(), 0));
  BOOST_TEST(plan.shards == 1u);
  BOOST_TEST(plan.tables[0].busiest == 0.0);
  BOOST_TEST(plan.tables[0].bytes == 100 * 8 * 4.0);   // add keeps its rounding errors beside its sums
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
