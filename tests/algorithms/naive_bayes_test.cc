// Bernoulli naive Bayes: exact counts, and posteriors against the formula written out.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>

#include "actors/text.h"
#include "algorithms/run/local_runner.h"
#include "tests/algorithms/memory_source.h"

namespace troupe {
namespace {

using testing::MemorySource;
using testing::TestRow;

const std::vector<TestRow> kRows = {
    {1, {{1, 1.0f}, {5, 2.0f}}, {}},
    {0, {{5, -1.0f}, {1'000'000'000'000, 3.0f}}, {}},
    {1, {{1, 0.0f}, {7, 1.0f}, {9, 0.0f}}, {}},
    {0, {}, {}},
    {0, {{1, 1.0f}}, {}},
};

LocalResult Train(const std::vector<TestRow>& rows, uint32_t splits, int epochs = 1) {
  auto result = RunLocal({.algorithm = "naive_bayes", .source = std::make_shared<MemorySource>(rows, 2), .splits = splits, .epochs = epochs});
  BOOST_REQUIRE_MESSAGE(result.ok(), result.status().ToString());
  return *std::move(result);
}

BOOST_AUTO_TEST_SUITE(NaiveBayesSuite)

BOOST_AUTO_TEST_CASE(counts_are_rows_with_the_feature_by_class_and_zeros_do_not_count) {
  for (const uint32_t splits : {1u, 2u, 3u}) {
    const LocalResult result = Train(kRows, splits);
    const auto model = MakeModel(result);
    BOOST_REQUIRE_MESSAGE(model.ok(), model.status().ToString());
    BOOST_TEST(ShowModel(**model, true) == "table,key,value0,value1\ncounts,0,3,2\ncounts,1,1,1\ncounts,5,1,1\ncounts,7,0,1\ncounts,1000000000000,1,0\n");
    BOOST_TEST(result.nonzeros_read == 8);   // all entries that stand, zeros too
    BOOST_TEST(result.nonzeros_pushed == 8);
  }
}

BOOST_AUTO_TEST_CASE(probabilities_follow_bayes_with_absent_features) {
  const auto model = *MakeModel(Train(kRows, 2));
  const std::map<Feature, std::array<double, 2>> counts = {{1, {1, 1}}, {5, {1, 1}}, {7, {0, 1}}, {1'000'000'000'000, {1, 0}}};
  std::vector<TestRow> rows = kRows;
  rows.push_back({0, {{2, 1.0f}, {7, 1.0f}}, {}});   // 2 was not seen in training: it says nothing
  const Batch batch = testing::MakeBatch(rows, false);
  std::vector<float> prediction(rows.size());
  BOOST_REQUIRE(model->predictor().Predict(batch, prediction, nullptr).ok());
  for (size_t i = 0; i < rows.size(); ++i) {
    std::array<double, 2> likelihood = {3.0 / 5, 2.0 / 5};
    for (size_t c = 0; c < 2; ++c) {
      for (const auto& [feature, count] : counts) {
        const double p = (count[c] + 1) / ((c == 0 ? 3 : 2) + 2);
        bool present = false;
        for (const auto& [f, value] : rows[i].entries) present |= f == feature && value != 0;
        likelihood[c] *= present ? p : 1 - p;
      }
    }
    BOOST_TEST(double{prediction[i]} == likelihood[1] / (likelihood[0] + likelihood[1]), boost::test_tools::tolerance(1e-6));
  }
}

BOOST_AUTO_TEST_CASE(dense_zeros_are_absent_features) {
  const auto model = *MakeModel(Train({{1, {}, {0, 2}}, {0, {}, {3, 0}}}, 1));
  BOOST_TEST(ShowModel(*model, true) == "table,key,value0,value1\ncounts,0,1,1\ncounts,1,1,0\ncounts,2,0,1\n");
}

BOOST_AUTO_TEST_CASE(more_than_one_epoch_is_refused) {
  const auto result = RunLocal({.algorithm = "naive_bayes", .source = std::make_shared<MemorySource>(kRows, 2), .epochs = 3});
  BOOST_TEST(Message(result.status()) == "epochs is 3, expected 1: naive_bayes counts each row once");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
