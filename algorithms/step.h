// Step: the convenience for everything that is a mean gradient of a batch. A Step algorithm says how margins become gradients; planning, pulling, the epochs
// and the bookkeeping are here.
#pragma once

#include <memory>
#include <vector>

#include "algorithms/algorithm.h"

namespace troupe {

/// The rows of a batch over its distinct features: local column j stands for key keys[j]. Sparse rows as (column, value) pairs; dense ones as a matrix.
/// With an intercept key 0 is column 0, with value 1 in every row.
struct Examples final : Plan {
  std::vector<uint32_t> offsets;    // sparse: rows + 1
  std::vector<uint32_t> columns;    // sparse: local column of each entry
  std::vector<uint32_t> nonzeros;   // by local column: entries of the batch; 0 for the intercept, which stands in no row
  bool intercept = false;
  bool dense = false;
  std::span<const Key> keys() const { return pulls[0].keys; }   // by local column
};

class StepAlgorithm : public Algorithm {
 public:
  LabelKind labels() const override { return task() == Task::kBinary ? LabelKind::kBinary : LabelKind::kReal; }
  /// rule, learning_rate and what else says how a step is made, batch_size, intercept, encoding, the limits of a table; a subclass appends its own.
  std::vector<ParamSpec> params() const override;
  /// One table "w" of width 1, combined by mean: sparse; of dense data, unless it has limits, dense: rows 0 .. columns.
  absl::StatusOr<Blueprint> Declare(const Params& params, const DataShape& shape) override;
  absl::StatusOr<std::unique_ptr<Plan>> MakePlan(const Phase& phase, const Batch& batch) const override;
  absl::Status Work(const Phase& phase, const Batch& batch, const Plan* plan, std::span<const RowsView> rows, Out& out) const override;
  /// Epochs of "step"; reports the mean "loss" of each and takes a checkpoint after it.
  absl::Status Drive(Driver& driver) override;
  absl::StatusOr<std::unique_ptr<const Predictor>> MakePredictor(const ModelTables& model) const override;

 protected:
  /// margin[i] = w . x_i -> derivative[i] = d loss_i / d margin_i; returns the sum of the losses.
  virtual double Derivative(std::span<const float> margin, std::span<const float> labels, std::span<float> derivative) const = 0;
  /// What people want to see for a margin: a probability, a value.
  virtual float Prediction(float margin) const = 0;

 private:
  class Margins;
  bool intercept_ = true;
  uint32_t batch_rows_ = 256;
};

}   // namespace troupe
