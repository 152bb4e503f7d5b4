// Bernoulli naive Bayes. Table "counts", width 2: key f holds in how many rows of class 0 and of class 1 feature f is not zero, key 0 how many rows each class
// has. The model is an exact ledger of what was read: one pass, each row once. Labels 0 or 1.
// Source: Manning, Raghavan, Schütze, "Introduction to Information Retrieval", sec. 13.3.
#include <array>
#include <cmath>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "algorithms/prefetch.h"
#include "algorithms/registry.h"
#include "ps/key_index.h"

namespace troupe {
namespace {

/// The features of row i that are not zero; returns how many entries stand there as zero.
uint32_t Present(const Batch& batch, size_t i, std::vector<Feature>& present) {
  present.clear();
  if (batch.is_dense()) {
    const std::span<const float> values = batch.dense(i);
    for (size_t j = 0; j < values.size(); ++j)
      if (values[j] != 0) present.push_back(j + 1);
    return static_cast<uint32_t>(values.size() - present.size());
  }
  const SparseRow row = batch.sparse(i);
  for (size_t j = 0; j < row.size(); ++j)
    if (row.value(j) != 0) present.push_back(row.feature(j));
  return static_cast<uint32_t>(row.size() - present.size());
}

/// log P(c) + sum over all features of log(1 - p) is the start; each feature that is present adds its log p - log(1 - p). Only the difference of the classes
/// counts.
class NaiveBayesPredictor final : public Predictor {
 public:
  NaiveBayesPredictor(RowsView counts, double smoothing) {
    std::array<double, 2> rows{};
    if (!counts.keys.empty() && counts.keys[0] == 0) rows = {counts.values[0], counts.values[1]};
    start_ = std::log(rows[1]) - std::log(rows[0]);   // a class without rows: -inf, probability 0
    for (size_t i = 0; i < counts.keys.size(); ++i) {
      if (counts.keys[i] == 0) continue;
      std::array<double, 2> present{}, absent{};
      for (size_t c = 0; c < 2; ++c) {
        const double p = (counts.values[2 * i + c] + smoothing) / (rows[c] + 2 * smoothing);
        present[c] = std::log(p);
        absent[c] = std::log1p(-p);
      }
      start_ += absent[1] - absent[0];
      weights_[counts.keys[i]] = (present[1] - present[0]) - (absent[1] - absent[0]);
    }
  }

  absl::Status Predict(const Batch& batch, std::span<float> prediction, double*) const override {
    std::vector<Feature> present;
    for (size_t i = 0; i < batch.rows(); ++i) {
      double log_odds = start_;
      Present(batch, i, present);
      for (const Feature feature : present)
        if (const auto found = weights_.find(feature); found != weights_.end()) log_odds += found->second;
      prediction[i] = static_cast<float>(1 / (1 + std::exp(-log_odds)));
    }
    return absl::OkStatus();
  }

 private:
  double start_ = 0;
  absl::flat_hash_map<Key, double> weights_;
};

class NaiveBayes final : public Algorithm {
 public:
  Task task() const override { return Task::kBinary; }
  LabelKind labels() const override { return LabelKind::kBinary; }
  std::string doc() const override {
    return "Bernoulli naive Bayes: a feature is present (not 0) or absent (Manning, Raghavan, Schuetze, Introduction to Information Retrieval, sec. 13.3)";
  }
  std::vector<ParamSpec> params() const override {
    return {{.name = "smoothing", .default_value = 1.0, .min = 0, .min_exclusive = true, .doc = "rows added to every count (1: Laplace)"}};
  }

  absl::StatusOr<Blueprint> Declare(const Params& params, const DataShape& shape) override {
    if (shape.dense && shape.schema.label.empty()) return absl::InvalidArgumentError("the data has no label column, expected one");
    smoothing_ = params.Real("smoothing");
    TableSpec spec;
    spec.name = "counts";
    spec.width = 2;
    spec.rule = "add";
    spec.combine = TableSpec::Combine::kSum;
    return Blueprint{{std::move(spec)}};
  }
  absl::StatusOr<std::unique_ptr<Plan>> MakePlan(const Phase&, const Batch&) const override { return nullptr; }

  absl::Status Work(const Phase&, const Batch& batch, const Plan*, std::span<const RowsView>, Out& out) const override {
    if (!batch.has_labels()) return absl::InvalidArgumentError("the data has no labels");
    thread_local KeyIndex index;
    index.Start(std::max<size_t>(512, index.keys().size()));   // about as many as the last batch had
    index.Column(0);
    std::vector<float> counts(2);
    std::vector<uint32_t> nonzeros(1), columns;
    std::vector<Feature> present;
    for (size_t i = 0; i < batch.rows(); ++i) {
      if (!batch.is_dense()) PrefetchSparse<true>(batch, i);
      // Entries that stand as zero make no row of the table, but they were read: the ledger has them behind key 0.
      nonzeros[0] += Present(batch, i, present);
      columns.resize(present.size());
      index.Columns(std::span<const Feature>(present), columns.data());
      counts.resize(2 * index.keys().size());
      nonzeros.resize(index.keys().size());
      const size_t label = batch.label(i) != 0;
      counts[label] += 1;
      for (const uint32_t column : columns) {
        ++nonzeros[column];
        counts[2 * size_t{column} + label] += 1;
      }
    }
    out.Push(0, index.keys(), std::move(counts), nonzeros);
    const double rows = static_cast<double>(batch.rows());
    out.Combine({&rows, 1});
    return absl::OkStatus();
  }

  absl::Status Drive(Driver& driver) override {
    if (driver.epochs() != 1) return absl::InvalidArgumentError(absl::StrCat("epochs is ", driver.epochs(), ", expected 1: naive_bayes counts each row once"));
    if (driver.resumed() != nullptr) return absl::OkStatus();
    TROUPE_TRY(const PhaseResult result, driver.Run({.name = "count", .shuffle = false, .batch_rows = 1024, .pushes = true}));
    if (result.rows == 0) return absl::InvalidArgumentError("the data has no rows");
    driver.Report(1, "rows", static_cast<double>(result.rows));
    return driver.Checkpoint({1});
  }

  absl::StatusOr<std::unique_ptr<const Predictor>> MakePredictor(const ModelTables& model) const override {
    const RowsView counts = model.All(0);
    if (counts.width != 2) return absl::InvalidArgumentError(absl::StrCat("table counts has width ", counts.width, ", expected 2"));
    return std::make_unique<const NaiveBayesPredictor>(counts, smoothing_);
  }

 private:
  double smoothing_ = 1;
};

TROUPE_REGISTER("naive_bayes", NaiveBayes);

}   // namespace
}   // namespace troupe
