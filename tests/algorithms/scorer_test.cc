// Scoring: order, metrics, errors, whatever the number of threads.
#include "algorithms/run/scorer.h"

#include <boost/test/unit_test.hpp>

#include "actors/text.h"
#include "algorithms/run/local_runner.h"
#include "tests/algorithms/memory_source.h"

namespace troupe {
namespace {

using testing::LearnableRows;
using testing::MemorySource;

struct Fixture {
  std::vector<testing::TestRow> rows = LearnableRows(Task::kBinary, false, 3000, 3);
  std::shared_ptr<const Source> source = std::make_shared<MemorySource>(rows, 7);
  std::unique_ptr<const Model> model = *MakeModel(*RunLocal({.algorithm = "logistic_regression", .source = source, .splits = 2}));
  absl::StatusOr<ScoreResult> Run(ScoreOptions options) const { return Score(model->predictor(), Task::kBinary, options); }
};

BOOST_FIXTURE_TEST_SUITE(ScorerSuite, Fixture)

BOOST_AUTO_TEST_CASE(predictions_come_in_the_order_of_the_rows_and_results_do_not_depend_on_threads) {
  std::vector<float> expected(rows.size());
  BOOST_REQUIRE(model->predictor().Predict(testing::MakeBatch(rows), expected, nullptr).ok());
  std::vector<std::pair<std::string, double>> metrics;
  BlockCache cache(1 << 30);
  for (const int threads : {1, 2, 5}) {
    for (BlockCache* kept : {static_cast<BlockCache*>(nullptr), &cache}) {
      std::vector<float> got;
      const auto result = Run({.source = source, .cache = kept, .threads = threads, .predictions = [&](std::span<const float> piece) {
                                 got.insert(got.end(), piece.begin(), piece.end());
                                 return absl::OkStatus();
                               }});
      BOOST_REQUIRE_MESSAGE(result.ok(), result.status().ToString());
      BOOST_TEST(got == expected);
      BOOST_TEST(result->rows == 3000);
      if (metrics.empty()) metrics = result->metrics;
      BOOST_TEST((result->metrics == metrics));
    }
  }
  BOOST_TEST(metrics.at(0).first == "auc");
  BOOST_TEST(metrics.at(0).second > 0.7);
  BOOST_TEST(cache.bytes() > 0);
}

BOOST_AUTO_TEST_CASE(the_first_error_in_the_order_of_the_pieces_is_told) {
  const auto broken = std::make_shared<MemorySource>(rows, 7, true, 100);
  for (const int threads : {1, 4}) BOOST_TEST(Message(Run({.source = broken, .threads = threads}).status()) == "memory:100: bad");
}

BOOST_AUTO_TEST_CASE(an_error_of_the_caller_ends_the_scoring) {
  int calls = 0;
  const auto result = Run({.source = source, .threads = 3, .predictions = [&](std::span<const float>) {
                             return ++calls == 5 ? absl::ResourceExhaustedError("full") : absl::OkStatus();
                           }});
  BOOST_TEST(absl::IsResourceExhausted(result.status()));
  BOOST_TEST(calls == 5);
}

BOOST_AUTO_TEST_CASE(rows_without_labels_have_predictions_and_no_metrics) {
  const auto result = Run({.source = std::make_shared<MemorySource>(rows, 500, false)});
  BOOST_REQUIRE(result.ok());
  BOOST_TEST(result->rows == 3000);
  BOOST_TEST(result->metrics.empty());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
