// Plans of runs by samples of their data.
#include "algorithms/run/plan_run.h"

#include <boost/test/unit_test.hpp>
#include <set>

#include "tests/algorithms/memory_source.h"

namespace troupe {
namespace {

using testing::MemorySource;
using testing::TestRow;

std::vector<TestRow> ClickRows(size_t n, uint64_t features) {
  Random random(5);
  std::vector<TestRow> rows(n);
  for (TestRow& row : rows) {
    row.label = static_cast<float>(random.Below(2));
    std::set<Feature> chosen;
    for (int j = 0; j < 20; ++j) chosen.insert(1 + random.Below(features));
    for (const Feature feature : chosen) row.entries.emplace_back(feature, 1.0f);
  }
  return rows;
}

TrainOptions Options(const std::string& algorithm, uint32_t shards) {
  TrainOptions options;
  options.algorithm = algorithm;
  options.workers = 2;
  options.shards = shards;
  return options;
}

BOOST_AUTO_TEST_SUITE(PlanRunTest)

BOOST_AUTO_TEST_CASE(a_sample_tells_how_many_rows_the_model_will_have) {
  constexpr uint64_t kFeatures = 5000;
  const auto source = std::make_shared<const MemorySource>(ClickRows(100'000, kFeatures), 500);
  const TrainOptions options = Options("logistic_regression", 3);
  const auto plan = PlanRun(options, source, true, 4);
  BOOST_REQUIRE_MESSAGE(plan.ok(), plan.status().ToString());
  BOOST_TEST(plan->layout.shards == 3u);
  BOOST_TEST(plan->growth > 2.0);   // a part of the data was read
  BOOST_TEST(plan->rows < 60'000u);
  BOOST_TEST(static_cast<double>(plan->rows) * plan->growth == 100'000.0, boost::test_tools::tolerance(0.02));
  BOOST_REQUIRE(plan->layout.tables.size() == 1u);
  BOOST_TEST(plan->layout.tables[0].rows > 0.9 * kFeatures);
  BOOST_TEST(plan->layout.tables[0].rows < 1.1 * kFeatures);
  BOOST_TEST(plan->layout.tables[0].pulled > 1000.0);   // distinct features of 256 rows
  BOOST_TEST(plan->layout.tables[0].pulled == plan->layout.tables[0].pushed);
}

BOOST_AUTO_TEST_CASE(without_a_number_of_shards_the_plan_has_one) {
  const auto source = std::make_shared<const MemorySource>(ClickRows(2000, 300), 100);
  const TrainOptions options = Options("naive_bayes", 0);
  const auto plan = PlanRun(options, source, false, 2);
  BOOST_REQUIRE_MESSAGE(plan.ok(), plan.status().ToString());
  BOOST_TEST((plan->layout.shards >= 1 && plan->layout.shards <= 2));
  BOOST_TEST(plan->layout.tables[0].pulled == 0.0);
  BOOST_TEST(plan->layout.tables[0].pushed > 0.0);
}

BOOST_AUTO_TEST_CASE(rows_count_once_however_many_phases_read_them) {
  std::vector<TestRow> rows(40);
  Random random(1);
  for (TestRow& row : rows) row.dense = {static_cast<float>(random.Normal()), static_cast<float>(random.Normal())};
  const auto source = std::make_shared<const MemorySource>(rows, 10, false);
  TrainOptions options = Options("k_means", 0);
  options.params = {{"k", "2"}};
  const auto plan = PlanRun(options, source, false, 2);
  BOOST_REQUIRE_MESSAGE(plan.ok(), plan.status().ToString());
  BOOST_TEST(plan->rows == 40u);
  BOOST_TEST(plan->layout.shards == 1u);
}

BOOST_AUTO_TEST_CASE(what_training_refuses_a_plan_refuses) {
  const auto source = std::make_shared<const MemorySource>(ClickRows(100, 300), 100);
  TrainOptions options = Options("logistic_regression", 0);
  options.consistency = *ParseConsistencies("ring");   // the table is sparse
  BOOST_TEST(!PlanRun(options, source, false, 2).ok());
  options.consistency = *ParseConsistencies("bsp,zzz=asp");
  BOOST_TEST(!PlanRun(options, source, false, 2).ok());
}

BOOST_AUTO_TEST_CASE(errors_say_that_a_sample_met_them) {
  const auto bad = std::make_shared<const MemorySource>(ClickRows(100, 300), 100, true, 0);
  TrainOptions options = Options("logistic_regression", 1);
  const auto plan = PlanRun(options, bad, false, 2);
  BOOST_REQUIRE(!plan.ok());
  BOOST_TEST(plan.status().message().find("a sample of the data: ") == 0u, plan.status().ToString());
  options.algorithm = "logistic";
  BOOST_TEST(!PlanRun(options, bad, false, 2).ok());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
