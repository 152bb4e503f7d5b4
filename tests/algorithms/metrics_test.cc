// Metrics against their definitions, computed the slow way.
#include "algorithms/evaluation/metrics.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <map>

#include "actors/random.h"

namespace troupe {
namespace {

double SlowAuc(const std::vector<float>& scores, const std::vector<float>& labels) {
  double wins = 0, pairs = 0;
  for (size_t i = 0; i < scores.size(); ++i)
    for (size_t j = 0; j < scores.size(); ++j)
      if (labels[i] == 1 && labels[j] == 0) {
        wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
        ++pairs;
      }
  return wins / pairs;
}

struct Sample {
  std::vector<float> scores, labels;
};
Sample Draw(size_t n, uint64_t values, uint64_t seed) {
  Random random(seed);
  Sample sample;
  for (size_t i = 0; i < n; ++i) {
    sample.scores.push_back((static_cast<float>(random.Below(values)) - static_cast<float>(values) / 2) / 7);
    sample.labels.push_back(static_cast<float>(random.Below(3) == 0));
  }
  return sample;
}

std::map<std::string, double> ByName(const Metrics& metrics) {
  const auto result = metrics.Result();
  return {result.begin(), result.end()};
}

BOOST_AUTO_TEST_SUITE(MetricsSuite)

BOOST_AUTO_TEST_CASE(auc_counts_pairs_with_ties_half_and_negative_scores) {
  for (const uint64_t values : {2, 5, 1000000}) {
    const Sample sample = Draw(400, values, values);
    AreaUnderCurve curve;
    curve.Add(sample.scores, sample.labels);
    BOOST_TEST(curve.Result() == SlowAuc(sample.scores, sample.labels), boost::test_tools::tolerance(1e-12));
  }
  AreaUnderCurve zeros;
  zeros.Add(std::vector<float>{-0.0f, 0.0f}, std::vector<float>{1, 0});
  BOOST_TEST(zeros.Result() == 0.5);   // -0 and 0 tie
}

BOOST_AUTO_TEST_CASE(auc_of_one_class_is_not_a_number_and_left_out) {
  Metrics metrics(Task::kBinary);
  metrics.Add(std::vector<float>{0.2f, 0.7f}, std::vector<float>{1, 1}, 0);
  BOOST_TEST(!ByName(metrics).contains("auc"));
  BOOST_TEST(ByName(metrics).at("accuracy") == 0.5);
}

BOOST_AUTO_TEST_CASE(auc_from_the_histogram_is_near_the_exact_one_also_when_merged) {
  const Sample sample = Draw(3000, 100000, 4);
  AreaUnderCurve exact, binned(100), one(100), other;
  exact.Add(sample.scores, sample.labels);
  binned.Add(sample.scores, sample.labels);
  const std::span<const float> scores = sample.scores, labels = sample.labels;
  one.Add(scores.first(2000), labels.first(2000));
  other.Add(scores.subspan(2000), labels.subspan(2000));
  BOOST_TEST(std::abs(binned.Result() - exact.Result()) < 1e-4);
  AreaUnderCurve into_binned = one, into_exact = other;
  into_binned.Merge(other);
  into_exact.Merge(one);
  BOOST_TEST(into_binned.Result() == binned.Result());
  BOOST_TEST(into_exact.Result() == binned.Result());
}

BOOST_AUTO_TEST_CASE(log_loss_and_accuracy_follow_their_definitions) {
  Random random(2);
  std::vector<float> p, y;
  double loss = 0, correct = 0;
  for (int i = 0; i < 1000; ++i) {
    p.push_back(i == 0 ? 0.0f : i == 1 ? 1.0f : static_cast<float>(random.Uniform()));
    y.push_back(i == 0 ? 1.0f : i == 1 ? 0.0f : static_cast<float>(random.Below(2)));
    const double clipped = std::min(std::max(double{p.back()}, 1e-15), 1 - 1e-15);
    loss -= std::log(y.back() == 1 ? clipped : 1 - clipped);
    correct += (p.back() > 0.5f) == (y.back() == 1);
  }
  Metrics metrics(Task::kBinary);
  metrics.Add(p, y, 0);
  BOOST_TEST(ByName(metrics).at("logloss") == loss / 1000, boost::test_tools::tolerance(1e-9));
  BOOST_TEST(ByName(metrics).at("accuracy") == correct / 1000);
}

BOOST_AUTO_TEST_CASE(rmse_and_r2_follow_their_definitions_also_far_from_zero_and_in_parts) {
  Random random(6);
  std::vector<float> value, label;
  for (int i = 0; i < 1000; ++i) {
    label.push_back(10000 + static_cast<float>(random.Normal()));
    value.push_back(label.back() + 0.5f * static_cast<float>(random.Normal()));
  }
  double mean = 0, squares = 0, spread = 0;
  for (const float y : label) mean += double{y} / 1000;
  for (size_t i = 0; i < 1000; ++i) {
    squares += std::pow(double{value[i]} - double{label[i]}, 2);
    spread += std::pow(double{label[i]} - mean, 2);
  }
  Metrics whole(Task::kRegression), merged(Task::kRegression);
  whole.Add(value, label, 0);
  for (size_t first = 0; first < 1000; first += 300) {
    Metrics part(Task::kRegression);
    const size_t n = std::min<size_t>(300, 1000 - first);
    part.Add(std::span(value).subspan(first, n), std::span(label).subspan(first, n), 0);
    merged.Merge(part);
  }
  for (const Metrics* metrics : {&whole, &merged}) {
    BOOST_TEST(ByName(*metrics).at("rmse") == std::sqrt(squares / 1000), boost::test_tools::tolerance(1e-9));
    BOOST_TEST(ByName(*metrics).at("r2") == 1 - squares / spread, boost::test_tools::tolerance(1e-9));
  }
}

BOOST_AUTO_TEST_CASE(no_rows_have_no_metrics_and_inertia_is_the_sum) {
  BOOST_TEST(Metrics(Task::kBinary).Result().empty());
  Metrics metrics(Task::kClustering);
  metrics.Add(std::vector<float>{0, 1}, {}, 2.5);
  metrics.Add(std::vector<float>{0}, {}, 1.5);
  BOOST_TEST(ByName(metrics).at("inertia") == 4);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
