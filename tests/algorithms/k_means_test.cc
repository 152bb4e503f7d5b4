// k-means against Lloyd's iterations written out in doubles; starts; stops; sparse rows.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <set>

#include "actors/text.h"
#include "algorithms/clustering/centroids.h"
#include "algorithms/run/local_runner.h"
#include "algorithms/run/scorer.h"
#include "tests/algorithms/memory_source.h"

namespace troupe {
namespace {

using testing::MemorySource;
using testing::TestRow;
using Matrix = std::vector<std::vector<double>>;

/// `groups` tight groups far from each other and from the origin.
std::vector<TestRow> Groups(size_t groups, size_t rows, size_t columns, uint64_t seed) {
  Random random(seed);
  Matrix centers(groups, std::vector<double>(columns));
  for (auto& center : centers)
    for (double& x : center) x = 1000 + 20 * random.Normal();
  std::vector<TestRow> result(rows);
  for (TestRow& row : result) {
    row.label = static_cast<float>(random.Below(groups));
    for (size_t c = 0; c < columns; ++c) row.dense.push_back(static_cast<float>(centers[static_cast<size_t>(row.label)][c] + random.Normal()));
  }
  return result;
}

LocalOptions Options(std::shared_ptr<const Source> source, std::map<std::string, std::string> params, int epochs = 20, uint32_t splits = 3) {
  return {.algorithm = "k_means", .params = std::move(params), .source = std::move(source), .splits = splits, .seed = 7, .epochs = epochs};
}

LocalResult Train(const LocalOptions& options) {
  auto result = RunLocal(options);
  BOOST_REQUIRE_MESSAGE(result.ok(), result.status().ToString());
  return *std::move(result);
}

double Nearest(const std::vector<float>& row, const Matrix& centroids, size_t* cluster) {
  double best = std::numeric_limits<double>::infinity();
  for (size_t k = 0; k < centroids.size(); ++k) {
    double sum = 0;
    for (size_t c = 0; c < row.size(); ++c) sum += std::pow(double{row[c]} - centroids[k][c], 2);
    if (sum < best) {
      best = sum;
      *cluster = k;
    }
  }
  return best;
}

Matrix CentroidsOf(const LocalResult& result) {
  const auto model = *MakeModel(result);
  const RowsView rows = model->All(0);
  Matrix centroids(rows.keys.size());
  for (size_t i = 0; i < rows.values.size(); ++i) centroids[i / rows.width].push_back(double{rows.values[i]});
  return centroids;
}

double Inertia(const LocalResult& result, std::shared_ptr<const Source> source) {
  const auto model = *MakeModel(result);
  return Score(model->predictor(), Task::kClustering, {.source = std::move(source)})->metrics.at(0).second;
}

BOOST_AUTO_TEST_SUITE(KMeansSuite)

BOOST_AUTO_TEST_CASE(the_nearest_centroid_is_found_for_every_shape) {
  for (const size_t k : {1, 3, 4, 9}) {
    for (const size_t rows : {1, 15, 16, 50}) {
      const std::vector<TestRow> data = Groups(5, rows, 7, k * 100 + rows);
      const std::vector<TestRow> chosen = Groups(5, k, 7, 3);
      Matrix centroids;
      std::vector<float> flat;
      for (const TestRow& row : chosen) {
        centroids.emplace_back(row.dense.begin(), row.dense.end());
        flat.insert(flat.end(), row.dense.begin(), row.dense.end());
      }
      std::vector<uint32_t> cluster(rows);
      std::vector<float> distance2(rows);
      Centroids(flat, 7).Nearest(testing::MakeBatch(data), cluster, distance2);
      for (size_t i = 0; i < rows; ++i) {
        size_t expected = 0;
        BOOST_TEST(double{distance2[i]} == Nearest(data[i].dense, centroids, &expected), boost::test_tools::tolerance(1e-4));
        BOOST_TEST(cluster[i] == expected);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(iterations_are_lloyds) {
  const std::vector<TestRow> rows = Groups(6, 900, 5, 1);
  const auto source = std::make_shared<MemorySource>(rows, 100, false);
  const LocalResult start = Train(Options(source, {{"k", "4"}, {"init", "random"}}, 0));
  Matrix centroids = CentroidsOf(start);
  for (int epochs = 1; epochs <= 4; ++epochs) {
    Matrix sums(4, std::vector<double>(5));
    std::vector<double> counts(4);
    double inertia = 0;
    for (const TestRow& row : rows) {
      size_t cluster = 0;
      inertia += Nearest(row.dense, centroids, &cluster);
      ++counts[cluster];
      for (size_t c = 0; c < 5; ++c) sums[cluster][c] += double{row.dense[c]};
    }
    for (size_t k = 0; k < 4; ++k)
      for (size_t c = 0; c < 5 && counts[k] > 0; ++c) centroids[k][c] = double{static_cast<float>(sums[k][c] / counts[k])};
    const LocalResult result = Train(Options(source, {{"k", "4"}, {"init", "random"}}, epochs));
    const Matrix trained = CentroidsOf(result);
    for (size_t k = 0; k < 4; ++k) BOOST_TEST(trained[k] == centroids[k], boost::test_tools::tolerance(1e-6) << boost::test_tools::per_element());
    if (result.reports.size() == static_cast<size_t>(epochs)) BOOST_TEST(result.reports.back().value == inertia, boost::test_tools::tolerance(1e-4));
  }
}

BOOST_AUTO_TEST_CASE(parallel_start_finds_every_far_group) {
  const std::vector<TestRow> rows = Groups(8, 2000, 4, 2);
  const auto source = std::make_shared<MemorySource>(rows, 130, false);
  const LocalResult result = Train(Options(source, {{"k", "8"}}));
  BOOST_TEST(Inertia(result, source) < 1.1 * 4 * 2000);   // variance 1 in each of 4 columns
  for (size_t i = 1; i < result.reports.size(); ++i) BOOST_TEST(result.reports[i].value <= result.reports[i - 1].value);
  BOOST_TEST(result.reports.size() < 20);   // no centroid moves any more
}

BOOST_AUTO_TEST_CASE(starts_do_not_depend_on_the_number_of_splits) {
  const auto source = std::make_shared<MemorySource>(Groups(8, 1000, 4, 2), 60, false);
  for (const std::string init : {"random", "k-means||"}) {
    const Matrix one = CentroidsOf(Train(Options(source, {{"k", "5"}, {"init", init}}, 0, 1)));
    const Matrix five = CentroidsOf(Train(Options(source, {{"k", "5"}, {"init", init}}, 0, 5)));
    BOOST_TEST(one == five, init);
    BOOST_TEST((std::set<std::vector<double>>(one.begin(), one.end()).size()) == 5, init);
  }
}

BOOST_AUTO_TEST_CASE(equal_rows_and_as_many_clusters_as_rows_are_fine) {
  const auto same = std::make_shared<MemorySource>(std::vector<TestRow>(10, TestRow{0, {}, {1, 2}}), 3, false);
  BOOST_TEST(Inertia(Train(Options(same, {{"k", "4"}})), same) == 0);
  const auto few = std::make_shared<MemorySource>(Groups(4, 4, 3, 5), 2, false);
  BOOST_TEST(Inertia(Train(Options(few, {{"k", "4"}, {"init", "random"}})), few) == 0);
  BOOST_TEST(Message(RunLocal(Options(few, {{"k", "5"}})).status()) == "k is 5, expected at most 4, the rows of the data");
}

BOOST_AUTO_TEST_CASE(an_empty_cluster_keeps_its_centroid) {
  const auto source = std::make_shared<MemorySource>(std::vector<TestRow>{{0, {}, {0.0f}}, {0, {}, {1.0f}}}, 2, false);
  LocalOptions options = Options(source, {{"k", "3"}}, 2);
  options.resumed = {0, 0, 1, 0.0, 1.0, 50.0};   // a checkpoint before the first iteration: centroids 0, 1 and 50
  const Matrix centroids = CentroidsOf(Train(options));
  BOOST_TEST(centroids[2][0] == 50);
}

BOOST_AUTO_TEST_CASE(a_resumed_run_ends_as_the_uninterrupted_one) {
  const auto source = std::make_shared<MemorySource>(Groups(9, 800, 4, 8), 90, false);
  const LocalOptions options = Options(source, {{"k", "5"}, {"init", "random"}}, 6);
  const LocalResult whole = Train(options);
  BOOST_REQUIRE(whole.checkpoints.size() >= 3);
  LocalOptions rest = options;
  rest.resumed = whole.checkpoints[1];
  const LocalResult resumed = Train(rest);
  BOOST_TEST(CentroidsOf(resumed) == CentroidsOf(whole));
  BOOST_TEST((resumed.reports.back() == whole.reports.back()));
  rest.resumed = whole.checkpoints.back();
  BOOST_TEST(Train(rest).reports.empty() == (whole.checkpoints.back()[0] == 6));
}

BOOST_AUTO_TEST_CASE(tolerance_stops_early) {
  const auto source = std::make_shared<MemorySource>(Groups(9, 800, 4, 8), 90, false);
  BOOST_TEST(Train(Options(source, {{"k", "5"}, {"tolerance", "1"}})).reports.size() == 2);
}

BOOST_AUTO_TEST_CASE(sparse_rows_cluster_as_the_same_rows_written_out) {
  std::vector<TestRow> dense = Groups(3, 200, 6, 4), sparse = dense;
  for (size_t i = 0; i < dense.size(); ++i) {
    dense[i].dense[i % 6] = 0;
    sparse[i].dense.clear();
    for (size_t c = 0; c < 6; ++c)
      if (c != i % 6) sparse[i].entries.emplace_back(c + 1, dense[i].dense[c]);
  }
  const auto dense_source = std::make_shared<MemorySource>(dense, 50, false), sparse_source = std::make_shared<MemorySource>(sparse, 50, false);
  const double expected = Inertia(Train(Options(dense_source, {{"k", "3"}})), dense_source);
  BOOST_TEST(Inertia(Train(Options(sparse_source, {{"k", "3"}})), sparse_source) == expected, boost::test_tools::tolerance(1e-9));
  sparse[7].entries.emplace_back(5000, 1.0f);
  BOOST_TEST(Message(RunLocal(Options(std::make_shared<MemorySource>(sparse, 50, false), {{"k", "3"}})).status()) ==
             "the largest feature is 5000, expected at most 4096: k_means needs dense rows");
}

BOOST_AUTO_TEST_CASE(features_that_training_did_not_see_add_to_the_distance) {
  const std::vector<TestRow> rows = {{0, {{1, 2.0f}}, {}}, {0, {{2, 2.0f}}, {}}};
  const LocalResult result = Train(Options(std::make_shared<MemorySource>(rows, 2, false), {{"k", "2"}, {"init", "random"}}));
  BOOST_TEST(Inertia(result, std::make_shared<MemorySource>(std::vector<TestRow>{{0, {{1, 2.0f}, {9999, 3.0f}}, {}}}, 1, false)) == 9);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
