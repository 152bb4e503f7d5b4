// Step algorithms against a slow double-precision oracle: plans, margins, losses, gradients.
#include "algorithms/step.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>

#include "actors/text.h"
#include "tests/algorithms/memory_source.h"

namespace troupe {
namespace {

using testing::MakeBatch;
using testing::Recorder;
using testing::TestRow;

std::unique_ptr<Algorithm> Declared(const std::string& name, bool dense, const std::map<std::string, std::string>& given,
                                    std::vector<std::string> columns = {}) {
  auto algorithm = *MakeAlgorithm(name);
  const auto params = Params::Parse(algorithm->params(), given);
  BOOST_REQUIRE_MESSAGE(params.ok(), params.status().ToString());
  const auto blueprint = algorithm->Declare(*params, {{dense ? "csv" : "libsvm", dense ? "label" : "", columns}, dense, static_cast<uint32_t>(columns.size())});
  BOOST_REQUIRE_MESSAGE(blueprint.ok(), blueprint.status().ToString());
  return algorithm;
}

std::vector<TestRow> RandomRows(bool dense, bool binary, size_t n, uint64_t seed) {
  Random random(seed);
  std::vector<TestRow> rows(n);
  for (TestRow& row : rows) {
    row.label = binary ? static_cast<float>(random.Below(2)) : static_cast<float>(random.Normal());
    Feature feature = 0;
    for (size_t j = 0; !dense && j < random.Below(30); ++j) {
      feature += 1 + random.Below(50) * (random.Below(20) == 0 ? 1'000'000'000'000 : 1);
      row.entries.emplace_back(feature, static_cast<float>(random.Normal()));
    }
    for (size_t j = 0; dense && j < 21; ++j) row.dense.push_back(static_cast<float>(random.Normal()));
  }
  return rows;
}

double Loss(const std::string& name, const std::vector<TestRow>& rows, const std::map<Key, double>& w, double* loss_sum = nullptr) {
  double sum = 0;
  for (const TestRow& row : rows) {
    double m = w.contains(0) ? w.at(0) : 0;
    for (const auto& [feature, value] : row.entries) m += w.at(feature) * double{value};
    for (size_t c = 0; c < row.dense.size(); ++c) m += w.at(c + 1) * double{row.dense[c]};
    const double y = double{row.label};
    sum += name == "linear_regression" ? 0.5 * (m - y) * (m - y) : std::log1p(std::exp(-std::abs(m))) + std::max(m, 0.0) - y * m;
  }
  if (loss_sum != nullptr) *loss_sum = sum;
  return sum / static_cast<double>(rows.size());
}

BOOST_AUTO_TEST_SUITE(StepSuite)

BOOST_AUTO_TEST_CASE(gradients_are_those_of_the_loss_by_finite_differences) {
  for (const std::string name : {"logistic_regression", "linear_regression"}) {
    for (const bool dense : {false, true}) {
      for (const std::string intercept : {"true", "false"}) {
        const std::vector<TestRow> rows = RandomRows(dense, name == "logistic_regression", 37, 5);
        const auto algorithm = Declared(name, dense, {{"intercept", intercept}}, std::vector<std::string>(dense ? 21 : 0, "x"));
        const Batch batch = MakeBatch(rows);
        const auto plan = *algorithm->MakePlan({.name = "step"}, batch);
        const std::vector<Key>& keys = plan->pulls[0].keys;
        BOOST_TEST((std::find(keys.begin(), keys.end(), 0) != keys.end()) == (intercept == "true"));
        Random random(9);
        std::vector<float> values;
        std::map<Key, double> w;
        for (const Key key : keys) {
          values.push_back(static_cast<float>(random.Normal()));
          w[key] = double{values.back()};
        }
        BOOST_REQUIRE(w.size() == keys.size());   // distinct
        Recorder out;
        const RowsView view{keys, values, 1};
        BOOST_REQUIRE(algorithm->Work({.name = "step"}, batch, plan.get(), {&view, 1}, out).ok());
        double loss = 0;
        Loss(name, rows, w, &loss);
        BOOST_TEST(out.sum[0] == loss, boost::test_tools::tolerance(1e-4));
        BOOST_TEST(out.sum[1] == 37);
        BOOST_TEST(out.keys == keys, boost::test_tools::per_element());
        uint64_t entries = 0;
        for (size_t i = 0; i < keys.size(); ++i) {
          constexpr double kStep = 1e-5;
          std::map<Key, double> up = w, down = w;
          up[keys[i]] += kStep;
          down[keys[i]] -= kStep;
          const double expected = (Loss(name, rows, up) - Loss(name, rows, down)) / (2 * kStep);
          BOOST_TEST(std::abs(double{out.gradient[i]} - expected) < 1e-4, name << " key " << keys[i] << ": " << out.gradient[i] << ", expected " << expected);
          entries += out.nonzeros[i];
        }
        BOOST_TEST(entries == batch.nonzeros());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(log_loss_of_far_margins_is_finite_and_right) {
  const auto algorithm = Declared("logistic_regression", false, {});
  const std::vector<TestRow> rows = {{1, {{1, 1000.0f}}, {}}, {0, {{1, 1000.0f}}, {}}, {1, {{1, -1000.0f}}, {}}, {0, {}, {}}};
  const Batch batch = MakeBatch(rows);
  const auto plan = *algorithm->MakePlan({}, batch);
  const std::vector<float> w = {0, 1};
  const RowsView view{plan->pulls[0].keys, w, 1};
  Recorder out;
  BOOST_REQUIRE(algorithm->Work({}, batch, plan.get(), {&view, 1}, out).ok());
  BOOST_TEST(out.sum[0] == 2000 + std::log(2.0), boost::test_tools::tolerance(1e-9));
  for (const float g : out.gradient) BOOST_TEST(std::isfinite(g));
}

BOOST_AUTO_TEST_CASE(a_batch_of_many_rows_sums_its_logarithms_without_overflow) {
  const auto algorithm = Declared("logistic_regression", false, {});
  const Batch batch = MakeBatch(std::vector<TestRow>(5000));   // margin 0, label 0: log 2 each
  const auto plan = *algorithm->MakePlan({}, batch);
  const std::vector<float> w = {0};
  const RowsView view{plan->pulls[0].keys, w, 1};
  Recorder out;
  BOOST_REQUIRE(algorithm->Work({}, batch, plan.get(), {&view, 1}, out).ok());
  BOOST_TEST(out.sum[0] == 5000 * std::log(2.0), boost::test_tools::tolerance(1e-12));
  BOOST_TEST(out.gradient[0] == 0.5f, boost::test_tools::tolerance(1e-3f));
}

BOOST_AUTO_TEST_CASE(data_without_labels_is_refused) {
  auto algorithm = Declared("linear_regression", false, {});
  const Batch batch = MakeBatch({{0, {{1, 1.0f}}, {}}}, false);
  const auto plan = *algorithm->MakePlan({}, batch);
  Recorder out;
  BOOST_TEST(Message(algorithm->Work({}, batch, plan.get(), {}, out)) == "the data has no labels");
  const auto blueprint = algorithm->Declare(*Params::Parse(algorithm->params(), {}), {{"csv", "", {"x"}}, true, 1});
  BOOST_TEST(Message(blueprint.status()) == "the data has no label column, expected one");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
