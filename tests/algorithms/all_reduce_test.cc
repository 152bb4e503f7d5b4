// Training with tables that the workers keep: the serial oracle's model to rounding, whatever the topology and the number of workers; its bits with one worker.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "tests/algorithms/host.h"
#include "tests/algorithms/memory_source.h"
#include "tests/algorithms/trainer_run.h"

namespace troupe {
namespace {

using testing::TestRow;

constexpr uint32_t kSplits = 6;

/// Rows of two classes; 7 columns, pieces that do not divide evenly among the splits.
std::shared_ptr<const Source> Dense() {
  static const auto source = [] {
    Random random(11);
    std::vector<TestRow> rows(700);
    for (TestRow& row : rows) {
      double margin = -0.3;
      for (int j = 0; j < 7; ++j) {
        row.dense.push_back(static_cast<float>(random.Normal()));
        margin += (j - 3) * 0.4 * double{row.dense.back()};
      }
      row.label = random.Uniform() < 1 / (1 + std::exp(-margin)) ? 1.0f : 0.0f;
    }
    return std::make_shared<testing::MemorySource>(rows, 30);
  }();
  return source;
}

std::shared_ptr<const Source> Sparse() {
  static const auto source = std::make_shared<testing::MemorySource>(std::vector<TestRow>{{1, {{3, 1.0f}}, {}}, {0, {{4, 1.0f}}, {}}}, 1);
  return source;
}

LocalOptions Plain(std::map<std::string, std::string> params) {
  params.emplace("batch_size", "16");
  return {.algorithm = "logistic_regression", .params = std::move(params), .source = Dense(), .splits = kSplits, .seed = 5, .epochs = 4};
}

TrainOptions Options(const std::string& consistency, uint32_t workers, std::map<std::string, std::string> params = {}) {
  TrainOptions options = testing::OptionsOf(Plain(std::move(params)), workers, 1);
  options.consistency = *ParseConsistencies(consistency);
  return options;
}

struct Run {
  TrainReport report;
  std::shared_ptr<const Model> model;
  std::string rows() const { return ShowModel(*model, true); }
};

absl::StatusOr<Run> TrainHere(const TrainOptions& options) {
  System system({.compute_threads = 2});
  auto report = testing::TrainIn(system, options);
  if (!report.ok()) return report.status();
  auto model = LoadModel(system.storage(), testing::kModel);
  if (!model.ok()) return model.status();
  return Run{*report, *std::move(model)};
}

Run Trained(const TrainOptions& options) {
  auto run = TrainHere(options);
  BOOST_REQUIRE_MESSAGE(run.ok(), run.status().ToString());
  BOOST_TEST(run->report.ledger_read > 0u);
  BOOST_TEST(run->report.ledger_applied == run->report.ledger_read);
  return *std::move(run);
}

testing::HostResult Oracle(const TrainOptions& options) {
  auto result = testing::Hosts()[0]->Train({.algorithm = options.algorithm,
                                            .params = options.params,
                                            .source = options.opened,
                                            .splits = *options.splits,
                                            .seed = options.seed,
                                            .epochs = *options.epochs});
  BOOST_REQUIRE_MESSAGE(result.ok(), result.status().ToString());
  return *std::move(result);
}

/// Sums are taken in another order: some 30 rounds of differences in a float's last bits.
void CheckNear(const Run& run, const testing::HostResult& oracle) {
  const RowsView rows = run.model->All(0), expected = oracle.model->All(0);
  BOOST_REQUIRE_EQUAL(rows.values.size(), expected.values.size());
  for (size_t i = 0; i < rows.values.size(); ++i) BOOST_TEST(std::abs(rows.values[i] - expected.values[i]) <= 1e-4f * (1 + std::abs(expected.values[i])));
  BOOST_REQUIRE_EQUAL(run.report.losses.size(), oracle.reports.size());
  for (size_t i = 0; i < oracle.reports.size(); ++i) BOOST_TEST(std::abs(run.report.losses[i].second - oracle.reports[i].value) < 1e-5);
}

std::string Error(const TrainOptions& options) {
  const auto run = TrainHere(options);
  BOOST_REQUIRE(!run.ok());
  return run.status().ToString();
}

BOOST_AUTO_TEST_SUITE(AllReduceTraining)

BOOST_AUTO_TEST_CASE(ring_tree_and_shards_make_the_same_model) {
  const std::vector<std::map<std::string, std::string>> cases = {
      {},
      {{"rule", "adam"}, {"learning_rate", "0.02"}, {"l2", "0.01"}, {"schedule", "inverse:20"}},
      {{"rule", "momentum"}, {"learning_rate", "0.05"}, {"clip_value", "0.2"}, {"intercept", "false"}},
      {{"rule", "ftrl"}, {"l1", "0.002"}},
  };
  for (const auto& params : cases) {
    const testing::HostResult oracle = Oracle(Options("bsp", 1, params));
    BOOST_TEST(oracle.reports.back().value < 0.6);
    BOOST_TEST(Trained(Options("bsp", 3, params)).rows() == oracle.rows);
    for (const char* consistency : {"ring", "tree"}) {
      for (const uint32_t workers : {1, 2, 3, 6}) {
        BOOST_TEST_CONTEXT(consistency << " of " << workers << ", " << params.size() << " params") {
          TrainOptions options = Options(consistency, workers, params);
          options.shards = 1 + workers % 2;
          const Run run = Trained(options);
          CheckNear(run, oracle);
          if (workers == 1) BOOST_TEST(run.rows() == oracle.rows);   // the same additions in the same order
          BOOST_TEST(Trained(options).rows() == run.rows());         // and no chance in it
          BOOST_TEST(run.model->manifest().consistency == consistency);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_table_may_go_by_all_reduce_where_the_job_is_asynchronous) {
  const testing::HostResult oracle = Oracle(Options("bsp", 1));
  for (const char* consistency : {"asp,w=ring", "ssp:2,w=tree", "bsp,w=ring"}) {
    BOOST_TEST_CONTEXT(consistency) {
      CheckNear(Trained(Options(consistency, 3)), oracle);
    }
  }
}

BOOST_AUTO_TEST_CASE(assigned_rows_are_saved) {
  for (const char* consistency : {"ring", "tree"}) {
    TrainOptions options = Options(consistency, 3, {});
    options.algorithm = "k_means";
    options.params = {{"k", "3"}};
    const testing::HostResult oracle = Oracle(options);
    const auto run = TrainHere(options);   // its phases push nothing: there is no ledger
    BOOST_REQUIRE_MESSAGE(run.ok(), run.status().ToString());
    BOOST_TEST(run->rows() == oracle.rows);
  }
}

BOOST_AUTO_TEST_CASE(a_run_is_taken_up_from_one_workers_copy_with_the_same_bits) {
  for (const char* consistency : {"ring", "tree", "asp,w=ring"}) {
    TrainOptions options = Options(consistency, 3, {{"rule", "adam"}, {"learning_rate", "0.02"}});
    options.shards = 2;
    const std::string expected = Trained(options).rows();
    testing::KeepCheckpoints(options);
    System system({.compute_threads = 2});
    uint64_t taken_up = 0;
    const auto begins = [&](const ClusterOptions& cluster) {
      if (cluster.restore_uris.empty()) return;
      ++taken_up;
      BOOST_TEST(cluster.restore_uris.size() == 3u);   // of both shards and of the workers' copies
    };
    const auto report = testing::TrainFalling(system, options, begins, [] {});
    BOOST_REQUIRE_MESSAGE(report.ok(), report.status().ToString());
    BOOST_TEST(report->ledger_applied == report->ledger_read);
    BOOST_TEST(taken_up > 1u);
    const auto model = LoadModel(system.storage(), testing::kModel);
    BOOST_REQUIRE_MESSAGE(model.ok(), model.status().ToString());
    BOOST_TEST(ShowModel(**model, true) == expected);
  }
}

BOOST_AUTO_TEST_CASE(what_cannot_be_kept_by_workers_is_refused) {
  TrainOptions sparse = Options("ring", 2);
  sparse.opened = Sparse();
  BOOST_TEST(Error(sparse) == "INVALID_ARGUMENT: table 'w': is sparse, expected a dense table to be kept by its workers (ring, tree)");
  BOOST_TEST(Error(Options("tree", 2, {{"admit_after", "2"}})) ==
             "INVALID_ARGUMENT: table 'w': is sparse, expected a dense table to be kept by its workers (ring, tree)");
  BOOST_TEST(Error(Options("ring", 2, {{"encoding", "float16"}})) ==
             "INVALID_ARGUMENT: table 'w': encoding is 'float16', expected none: ring and tree send floats");
  BOOST_TEST(Error(Options("backup:1,w=ring", 2)) ==
             "INVALID_ARGUMENT: consistency is 'backup:1,w=ring', but the workers that keep table 'w' wait for all of them: expected no backup workers");
  BOOST_TEST(Error(Options("bsp,v=ring", 2)) == "INVALID_ARGUMENT: consistency names table 'v', expected one of 'w'");
  BOOST_TEST(Error(Options("ring", kSplits + 1)) ==
             "INVALID_ARGUMENT: worker 6 has no split of the data, expected at least one for each worker that keeps a table (ring, tree)");
  // A batch that fails ends the run, though other workers wait for its numbers.
  TrainOptions diverging = Options("ring", 3, {{"rule", "sgd"}, {"learning_rate", "1e30"}, {"clip_value", "0"}});
  BOOST_TEST(Error(diverging).starts_with("INVALID_ARGUMENT: "));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
