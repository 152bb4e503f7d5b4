// One batch of gradient descent: distinct features, margins, and the gradient scattered back. Sums are taken in the order of the rows, so that the same batch
// gives the same bits everywhere.
#include "algorithms/step.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "actors/status.h"
#include "actors/text.h"
#include "algorithms/prefetch.h"
#include "ps/key_index.h"
#include "ps/update_rule.h"

namespace troupe {
namespace {

void PlanSparse(const Batch& batch, Examples& plan) {
  thread_local KeyIndex kept;
  KeyIndex& index = kept;
  index.Start(std::max<size_t>(512, index.keys().size()));   // about as many as the last batch had
  plan.columns.resize(batch.nonzeros());
  plan.offsets.reserve(batch.rows() + 1);
  plan.offsets.push_back(0);
  if (plan.intercept) index.Column(0);
  uint32_t* columns = plan.columns.data();
  for (size_t i = 0; i < batch.rows(); ++i) {
    PrefetchSparse<true>(batch, i);
    const SparseRow row = batch.sparse(i);
    row.Features([&](auto features) { index.Columns(features, columns); });
    columns += row.size();
    plan.offsets.push_back(static_cast<uint32_t>(columns - plan.columns.data()));
  }
  plan.nonzeros = index.counts();
  plan.pulls[0].keys = index.keys();
}

void PlanDense(const Batch& batch, Examples& plan) {
  const uint32_t first = plan.intercept ? 0 : 1;
  std::vector<Key>& keys = plan.pulls[0].keys;
  keys.resize(batch.columns() + 1 - first);
  std::iota(keys.begin(), keys.end(), Key{first});
  plan.nonzeros.assign(keys.size(), static_cast<uint32_t>(batch.rows()));
  if (plan.intercept) plan.nonzeros[0] = 0;
}

/// Eight sums side by side, then their sum: an order that the compiler can keep in one vector.
float Dot(const float* a, const float* b, size_t n) {
  std::array<float, 8> sums{};
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (size_t j = 0; j < 8; ++j) sums[j] += a[i + j] * b[i + j];
  float rest = 0;
  for (; i < n; ++i) rest += a[i] * b[i];
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) + rest;
}

void MarginsOf(const Batch& batch, const Examples& plan, const float* w, std::span<float> margin) {
  const float start = plan.intercept ? w[0] : 0;
  for (size_t i = 0; i < batch.rows(); ++i) {
    if (plan.dense) {
      margin[i] = start + Dot(batch.dense(i).data(), w + plan.intercept, batch.columns());
      continue;
    }
    const std::span<const float> values = batch.sparse(i).values();
    const uint32_t* columns = plan.columns.data() + plan.offsets[i];
    const size_t n = plan.offsets[i + 1] - plan.offsets[i];
    float sum = start;
    for (size_t j = 0; j < values.size(); ++j) sum += w[columns[j]] * values[j];
    for (size_t j = values.size(); j < n; ++j) sum += w[columns[j]];
    margin[i] = sum;
  }
}

/// gradient += factor[i] * row i, for every row.
void Scatter(const Batch& batch, const Examples& plan, std::span<const float> factor, float* gradient) {
  for (size_t i = 0; i < batch.rows(); ++i) {
    const float d = factor[i];
    if (plan.intercept) gradient[0] += d;
    if (plan.dense) {
      const float* x = batch.dense(i).data();
      float* g = gradient + plan.intercept;
      for (size_t j = 0; j < batch.columns(); ++j) g[j] += d * x[j];
      continue;
    }
    const std::span<const float> values = batch.sparse(i).values();
    const uint32_t* columns = plan.columns.data() + plan.offsets[i];
    const size_t n = plan.offsets[i + 1] - plan.offsets[i];
    for (size_t j = 0; j < values.size(); ++j) gradient[columns[j]] += d * values[j];
    for (size_t j = values.size(); j < n; ++j) gradient[columns[j]] += d;
  }
}

}   // namespace

std::vector<ParamSpec> StepAlgorithm::params() const {
  std::vector<std::string> rules = UpdateRuleNames();
  std::erase(rules, "add");   // sums, and makes no step
  return {
      {.name = "rule", .default_value = std::string("adagrad"), .choices = rules, .doc = "update rule at the shard"},
      {.name = "learning_rate", .default_value = 0.1, .min = 0, .min_exclusive = true, .doc = "step size"},
      {.name = "batch_size", .default_value = int64_t{256}, .min = 1, .max = 1 << 20, .doc = "rows of a mini-batch, of each split"},
      {.name = "l1", .default_value = 0.0, .min = 0, .doc = "L1 penalty on the weights, the intercept spared"},
      {.name = "l2", .default_value = 0.0, .min = 0, .doc = "L2 penalty on the weights, the intercept spared"},
      {.name = "intercept", .default_value = true, .doc = "a constant beside the features"},
      {.name = "weight_decay", .default_value = 0.0, .min = 0, .doc = "share of the weights that goes with each step, times its size, beside the rule"},
      {.name = "schedule", .default_value = std::string("constant"), .doc = "of the step size: linear:T, cosine:T, step:T:F, ..., with warmup:W, in front"},
      {.name = "clip_value", .default_value = 0.0, .min = 0, .doc = "gradients are cut to this size, element by element; 0: not"},
      {.name = "clip_norm", .default_value = 0.0, .min = 0, .doc = "and each row's to this norm; 0: not"},
      {.name = "staleness_scale", .default_value = false, .doc = "a step is divided by the pushes that came since its rows were pulled (ssp, asp)"},
      {.name = "delay_compensation", .default_value = 0.0, .min = 0, .doc = "lambda of what makes up for those pushes (ssp, asp); 0: not"},
      {.name = "encoding", .default_value = std::string("none"), .doc = "how pushes and pulls travel: none, or words as in int8+feedback+delta"},
      {.name = "admit_after", .default_value = int64_t{1}, .min = 1, .max = 255, .doc = "a feature gets a weight at the n-th round that pushes to it"},
      {.name = "ttl", .default_value = int64_t{0}, .min = 0, .max = 1 << 28, .doc = "weights that no push has touched for so many rounds go; 0: never"},
      {.name = "rows_max", .default_value = int64_t{0}, .min = 0, .doc = "weights there may be, beyond it the least lately pushed go; 0: no limit"},
      {.name = "memory_max",
       .default_value = std::string("0"),
       .doc = "memory of the weights at a shard, as in 64M; the coldest others lie on disk; 0: no limit"},
  };
}

absl::StatusOr<Blueprint> StepAlgorithm::Declare(const Params& params, const DataShape& shape) {
  if (shape.dense && shape.schema.label.empty()) return absl::InvalidArgumentError("the data has no label column, expected one");
  intercept_ = params.Bool("intercept");
  batch_rows_ = static_cast<uint32_t>(params.Int("batch_size"));
  TableSpec spec;
  spec.name = "w";
  spec.rule = params.Text("rule");
  spec.rule_options = {{"learning_rate", params.Real("learning_rate")}};
  spec.l1 = params.Real("l1");
  spec.l2 = params.Real("l2");
  spec.penalised_from = 1;   // key 0 is the intercept
  spec.weight_decay = params.Real("weight_decay");
  TROUPE_TRY(spec.schedule, ParseSchedule(params.Text("schedule")));
  spec.clip_value = params.Real("clip_value");
  spec.clip_norm = params.Real("clip_norm");
  spec.staleness_scale = params.Bool("staleness_scale");
  spec.delay_compensation = params.Real("delay_compensation");
  TROUPE_TRY(spec.encoding, ParseEncoding(params.Text("encoding")));
  spec.limits.admit_after = static_cast<uint32_t>(params.Int("admit_after"));
  spec.limits.ttl = static_cast<uint64_t>(params.Int("ttl"));
  spec.limits.rows_max = static_cast<uint64_t>(params.Int("rows_max"));
  if (absl::Status status = ParseBytes(params.Text("memory_max"), &spec.limits.memory_max); !status.ok()) return WithContext(status, "memory_max");
  if (shape.dense && !spec.limits.any()) spec.rows = uint64_t{shape.columns} + 1;   // key 0 is there also without an intercept: zero
  TROUPE_RETURN_IF_ERROR(Validate(spec));
  return Blueprint{{std::move(spec)}};
}

absl::StatusOr<std::unique_ptr<Plan>> StepAlgorithm::MakePlan(const Phase&, const Batch& batch) const {
  auto plan = std::make_unique<Examples>();
  plan->intercept = intercept_;
  plan->dense = batch.is_dense();
  plan->pulls.resize(1);
  plan->dense ? PlanDense(batch, *plan) : PlanSparse(batch, *plan);
  return plan;
}

absl::Status StepAlgorithm::Work(const Phase&, const Batch& batch, const Plan* plan, std::span<const RowsView> rows, Out& out) const {
  if (!batch.has_labels()) return absl::InvalidArgumentError("the data has no labels");
  const auto& examples = static_cast<const Examples&>(*plan);
  TROUPE_CHECK(rows.size() == 1 && rows[0].values.size() == examples.keys().size());
  std::vector<float> labels(batch.rows()), margin(batch.rows()), derivative(batch.rows());
  for (size_t i = 0; i < batch.rows(); ++i) labels[i] = batch.label(i);
  MarginsOf(batch, examples, rows[0].values.data(), margin);
  const double loss = Derivative(margin, labels, derivative);
  if (!std::isfinite(loss)) return absl::InvalidArgumentError(absl::StrCat("the loss is ", loss, ": training diverged; try a smaller learning_rate"));
  const float share = 1.0f / static_cast<float>(batch.rows());
  for (float& d : derivative) d *= share;   // the gradient of the mean
  std::vector<float> gradient(examples.keys().size());
  Scatter(batch, examples, derivative, gradient.data());
  out.Push(0, std::vector<Key>(examples.keys().begin(), examples.keys().end()), std::move(gradient), examples.nonzeros);
  const std::array<double, 2> partial = {loss, static_cast<double>(batch.rows())};
  out.Combine(partial);
  return absl::OkStatus();
}

absl::Status StepAlgorithm::Drive(Driver& driver) {
  const Phase phase{.name = "step", .shuffle = true, .batch_rows = batch_rows_, .pushes = true};
  const int done = driver.resumed() == nullptr ? 0 : static_cast<int>(driver.resumed()->at(0));
  for (int epoch = done + 1; epoch <= driver.epochs(); ++epoch) {
    TROUPE_TRY(const PhaseResult result, driver.Run(phase));
    if (result.rows == 0) return absl::InvalidArgumentError("the data has no rows");
    if (!result.sum.empty())
      driver.Report(epoch, "loss", result.sum[0] / result.sum[1]);   // empty: the pushes had arrived before a fault, their losses had not
    TROUPE_RETURN_IF_ERROR(driver.Checkpoint({static_cast<double>(epoch)}));
  }
  return absl::OkStatus();
}

/// Margins by the weights of a model, then what the algorithm makes of them.
class StepAlgorithm::Margins final : public Predictor {
 public:
  Margins(const StepAlgorithm& algorithm, const ModelTables& model) : algorithm_(algorithm), model_(model), direct_(model.Direct(0)) {
    const Key intercept = 0;
    model.Lookup(0, {&intercept, 1}, &intercept_);
  }

  absl::Status Predict(const Batch& batch, std::span<float> prediction, double*) const override {
    if (batch.is_dense())
      DenseMargins(batch, prediction);
    else if (!direct_.empty())
      DirectMargins(batch, prediction);
    else
      LookedUpMargins(batch, prediction);
    for (float& value : prediction) value = algorithm_.Prediction(value);
    return absl::OkStatus();
  }

 private:
  void DenseMargins(const Batch& batch, std::span<float> margin) const {
    std::vector<Key> keys(batch.columns());
    std::iota(keys.begin(), keys.end(), Key{1});
    std::vector<float> w(keys.size());
    model_.Lookup(0, keys, w.data());
    for (size_t i = 0; i < batch.rows(); ++i) margin[i] = intercept_ + Dot(batch.dense(i).data(), w.data(), w.size());
  }
  void DirectMargins(const Batch& batch, std::span<float> margin) const {
    for (size_t i = 0; i < batch.rows(); ++i) {
      PrefetchSparse<true>(batch, i);
      const SparseRow row = batch.sparse(i);
      const std::span<const float> values = row.values();
      margin[i] = row.Features([&](auto features) {
        float sum = intercept_;
        for (size_t j = 0; j < values.size(); ++j)
          if (features[j] < direct_.size()) sum += direct_[features[j]] * values[j];
        for (size_t j = values.size(); j < features.size(); ++j)
          if (features[j] < direct_.size()) sum += direct_[features[j]];
        return sum;
      });
    }
  }
  void LookedUpMargins(const Batch& batch, std::span<float> margin) const {
    std::vector<Key> keys;
    std::vector<float> w;
    for (size_t i = 0; i < batch.rows(); ++i) {
      const SparseRow row = batch.sparse(i);
      row.Features([&](auto features) { keys.assign(features.begin(), features.end()); });
      w.resize(keys.size());
      model_.Lookup(0, keys, w.data());
      float sum = intercept_;
      for (size_t j = 0; j < keys.size(); ++j) sum += w[j] * row.value(j);
      margin[i] = sum;
    }
  }

  const StepAlgorithm& algorithm_;
  const ModelTables& model_;
  const std::span<const float> direct_;
  float intercept_ = 0;
};

absl::StatusOr<std::unique_ptr<const Predictor>> StepAlgorithm::MakePredictor(const ModelTables& model) const {
  return std::make_unique<const Margins>(*this, model);
}

}   // namespace troupe
