// Training with tables that have limits: the same model on every host, and with a table four times its memory the same as without.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>

#include "tests/algorithms/host.h"
#include "tests/algorithms/memory_source.h"

namespace troupe {
namespace {

using testing::Host;
using testing::TestRow;

/// A log as clicks make one: a few features say much and come often, many come a few times or once.
std::vector<TestRow> Log(size_t rows, size_t rare, uint64_t features, uint64_t seed) {
  Random random(seed);
  std::vector<TestRow> log(rows);
  for (TestRow& row : log) {
    const bool click = random.Uniform() < 0.5;
    row.label = static_cast<float>(click);
    for (Feature feature = 1; feature <= 12; ++feature) {
      if (random.Uniform() < (click == (feature % 2 == 0) ? 0.6 : 0.3)) row.entries.emplace_back(feature, 1.0F);
    }
    std::vector<Feature> drawn;
    for (size_t i = 0; i < rare; ++i) {
      const double u = random.Uniform();
      drawn.push_back(100 + static_cast<Feature>(u * (i % 2 == 0 ? u * u * u : 1) * static_cast<double>(features)));
    }
    std::sort(drawn.begin(), drawn.end());
    drawn.erase(std::unique(drawn.begin(), drawn.end()), drawn.end());
    for (const Feature feature : drawn) row.entries.emplace_back(feature, 1.0F);
  }
  return log;
}

std::shared_ptr<const Source> Small() {
  static const auto source = std::make_shared<testing::MemorySource>(Log(1200, 8, 4000, 5), 50);
  return source;
}
/// Some 185,000 weights.
std::shared_ptr<const Source> Large() {
  static const auto source = std::make_shared<testing::MemorySource>(Log(4000, 70, 450'000, 6), 50);
  return source;
}
LocalOptions Options(std::shared_ptr<const Source> source, std::map<std::string, std::string> params, int epochs) {
  params.emplace("batch_size", "50");
  return {.algorithm = "logistic_regression", .params = std::move(params), .source = std::move(source), .splits = 4, .seed = 3, .epochs = epochs};
}
LocalResult Local(const LocalOptions& options) {
  auto result = RunLocal(options);
  BOOST_REQUIRE_MESSAGE(result.ok(), result.status().ToString());
  return *std::move(result);
}

BOOST_AUTO_TEST_SUITE(LimitsSuite)

BOOST_AUTO_TEST_CASE(every_host_makes_the_oracles_model_bit_for_bit) {
  const std::vector<std::map<std::string, std::string>> cases = {
      {{"admit_after", "2"}},
      {{"admit_after", "3"}, {"rule", "ftrl"}, {"l1", "0.001"}},
      {{"ttl", "7"}},
      {{"rows_max", "640"}},
      {{"admit_after", "2"}, {"ttl", "9"}, {"rows_max", "900"}, {"memory_max", "1M"}, {"encoding", "delta+cache"}},
  };
  for (const auto& params : cases) {
    const LocalOptions options = Options(Small(), params, 4);
    const LocalResult local = Local(options);
    const Table& table = local.tables[0];
    BOOST_TEST((params.contains("admit_after") ? table.dropped() > 100 : table.dropped() == 0));
    BOOST_TEST((params.contains("ttl") || params.contains("rows_max") ? table.evicted() > 100 : table.evicted() == 0));
    if (params.contains("rows_max")) BOOST_TEST(table.rows() <= std::stoull(params.at("rows_max")));
    const auto oracle = testing::Hosts()[0]->Train(options);
    BOOST_REQUIRE(oracle.ok());
    for (const std::unique_ptr<Host>& host : testing::Hosts()) {
      BOOST_TEST_CONTEXT("host " << host->name() << ", " << params.begin()->first << " " << params.size()) {
        const auto result = host->Train(options);
        BOOST_REQUIRE_MESSAGE(result.ok(), result.status().ToString());
        BOOST_TEST(result->nonzeros_read == result->nonzeros_applied);
        if (host->exact()) BOOST_TEST(result->rows == oracle->rows);
        if (!host->stands()) BOOST_TEST(result->falls > 0U);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_table_four_times_its_memory_trains_to_the_same_model) {
  const LocalOptions plain = Options(Large(), {}, 2), small = Options(Large(), {{"memory_max", "1M"}}, 2);
  const LocalResult whole = Local(plain), tiered = Local(small);
  BOOST_TEST(whole.tables[0].bytes() > 4.0 * (1 << 20), "bytes " << whole.tables[0].bytes());
  BOOST_TEST(tiered.tables[0].bytes() <= size_t{1} << 20);
  BOOST_TEST(tiered.tables[0].spilled() > 0.6 * static_cast<double>(tiered.tables[0].rows()));
  BOOST_TEST((whole.reports == tiered.reports));
  for (const std::unique_ptr<Host>& host : testing::Hosts()) {
    if (!host->exact() || !host->stands()) continue;
    BOOST_TEST_CONTEXT("host " << host->name()) {
      const auto a = testing::Hosts()[0]->Train(plain), b = host->Train(small);
      BOOST_REQUIRE_MESSAGE(a.ok() && b.ok(), a.status().ToString() << b.status().ToString());
      BOOST_TEST((a->rows == b->rows));
      BOOST_TEST((a->reports == b->reports));
    }
  }
}

BOOST_AUTO_TEST_CASE(admission_costs_little_and_saves_most_rows) {
  const LocalResult all = Local(Options(Large(), {}, 2)), few = Local(Options(Large(), {{"admit_after", "4"}}, 2));
  BOOST_TEST(static_cast<double>(few.tables[0].rows()) < 0.5 * static_cast<double>(all.tables[0].rows()));
  const auto model = MakeModel(few);
  BOOST_REQUIRE(model.ok());
  BOOST_TEST(few.reports.back().value < 0.69);
}

BOOST_AUTO_TEST_CASE(limits_that_are_none_are_refused_by_name) {
  const auto message = [](std::map<std::string, std::string> params) {
    return std::string(RunLocal(Options(Small(), std::move(params), 1)).status().message());
  };
  BOOST_TEST(message({{"admit_after", "0"}}) == "admit_after is 0, expected a whole number from 1 to 255");
  BOOST_TEST(message({{"ttl", "-1"}}) == "ttl is -1, expected a whole number from 0 to 268435456");
  BOOST_TEST(message({{"rows_max", "10"}}) == "table 'w': rows_max is 10, expected 0 or at least one a range, 64");
  BOOST_TEST(message({{"memory_max", "much"}}) == "memory_max: 'much' is not a size; expected bytes, as in 4096, 256M or 1.5G");
  BOOST_TEST(message({{"memory_max", "1K"}}) == "table 'w': memory_max is 1024, expected 0 or at least 1048576");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
