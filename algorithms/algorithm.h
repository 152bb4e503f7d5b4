// What an algorithm is. State has three owners. Tables: the shards; they survive faults. Driver: one trainer; restarts at its last Checkpoint(). Everything
// else in an algorithm is const after Declare(). One file makes an algorithm known everywhere: TROUPE_REGISTER at its end.
//
// Three hosts run the same object: the serial oracle (run/local_runner), the seeded simulation, and the real trainer (run/trainer).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "algorithms/params.h"
#include "dataflow/batch.h"
#include "dataflow/source.h"
#include "ps/function_call.h"
#include "ps/table_spec.h"

namespace troupe {

/// Numbers that travel between driver and partitions: centroids, partial sums, sampled rows.
using Numbers = std::vector<double>;

/// A k x width row-major view of table rows.
struct RowsView {
  std::span<const Key> keys;
  std::span<const float> values;
  uint32_t width = 1;
};

/// What a run looks like from outside; given to Declare.
struct DataShape {
  Schema schema;
  bool dense = false;
  uint32_t columns = 0;   ///< dense: feature columns

  /// libsvm is sparse, everything else a matrix of the schema's columns.
  static DataShape Of(Schema schema) {
    const bool dense = schema.format != "libsvm";
    const auto columns = static_cast<uint32_t>(schema.columns.size());
    return {std::move(schema), dense, columns};
  }
};

struct Blueprint {
  std::vector<TableSpec> tables;
};

/// What Plan prepared for one batch (distinct keys, positions, draws); handed to its Work. Made while earlier batches are computed.
struct Plan {
  virtual ~Plan() = default;
  struct Pull {
    uint32_t table = 0;      ///< index into Blueprint::tables
    std::vector<Key> keys;   ///< distinct, any order; the pulled rows come in this order
  };
  std::vector<Pull> pulls;   ///< at most one a table
};

/// One phase of a run: a pass over a data set.
struct Phase {
  std::string name;         ///< the algorithm's word: "step", "assign", ...
  Numbers arguments = {};   ///< the same for every partition
  bool shuffle = true;      ///< rows in seeded random order; false: as in the file
  uint32_t batch_rows = 256;
  bool pushes = true;   ///< its batches pull from and push to tables; false: they only combine and collect
  /// The phase is this change of rows and nothing else: no data is read. What Driver::Call makes of one.
  std::optional<FunctionCall> change = {};
  bool operator==(const Phase&) const = default;
};

/// Where Work puts what it made.
class Out {
 public:
  virtual ~Out() = default;
  /// A mean gradient (or summands, for add tables), keys.size() x width of the table. `nonzeros[i]`: how many entries of the batch lie behind keys[i], for the
  /// ledger of what arrived; empty: none. At most one push a table and batch. Keys distinct.
  virtual void Push(uint32_t table, std::vector<Key> keys, std::vector<float> gradient, std::span<const uint32_t> nonzeros) = 0;
  /// Added up over batches and partitions, in the order of the data; the driver gets the sum. Always the same length within a phase.
  virtual void Combine(std::span<const double> partial) = 0;
  /// Appended, in the order of the data; the driver gets all of it.
  virtual void Collect(std::span<const double> numbers) = 0;
};

struct PhaseResult {
  Numbers sum;   ///< of Combine; of a phase that pushes, without batches whose worker was lost after their push: may be empty, is never needed for the model
  Numbers collected;   ///< of Collect
  uint64_t rows = 0;
};

/// What Drive can do. Calls wait for their end and return its error.
class Driver {
 public:
  virtual ~Driver() = default;
  virtual absl::StatusOr<PhaseResult> Run(const Phase& phase) = 0;
  /// A server-side function (ps/function.h) over whole tables, which are numbered as in the Blueprint: everything pushed by the phases so far, nothing else.
  /// One that changes rows does so exactly once, as a phase of its own (a resumed run begins after it), and answers nothing; it may not be about a table whose
  /// rows were assigned. InvalidArgument: as MakeFunction.
  virtual absl::StatusOr<FunctionValue> Call(const FunctionCall& call) = 0;
  /// Sets rows of a table without a rule (centroids after an iteration). Keys distinct.
  virtual absl::Status Assign(uint32_t table, std::vector<Key> keys, std::vector<float> values) = 0;
  /// After each epoch or iteration: progress to people and logs. `epoch` counts from 1.
  virtual void Report(int epoch, std::string_view metric, double value) = 0;
  /// The driver's own state, consistent with every table: a run that is resumed gets it back in resumed(), and begins after the phases run so far.
  virtual absl::Status Checkpoint(const Numbers& state) = 0;
  virtual const Numbers* resumed() const = 0;
  virtual int epochs() const = 0;
  virtual uint64_t seed() const = 0;
  /// Rows of another data set, whole (k-means' given start). Columns are matched by name with the training data.
  virtual absl::StatusOr<std::vector<std::vector<float>>> ReadRows(const std::string& uri) = 0;
  virtual const DataShape& shape() const = 0;
};

/// Rows of a trained model, for scoring. Missing keys read as zeros.
class ModelTables {
 public:
  virtual ~ModelTables() = default;
  /// out: keys.size() x width.
  virtual void Lookup(uint32_t table, std::span<const Key> keys, float* out) const = 0;
  /// Width-1 tables whose keys are small: values by key, [0, size), for loops without look-ups; else empty.
  virtual std::span<const float> Direct(uint32_t table) const = 0;
  /// All rows by rising key.
  virtual RowsView All(uint32_t table) const = 0;
};

/// What a prediction is, which decides the metrics.
enum class Task : uint8_t { kBinary, kRegression, kClustering };

/// One trained model, ready to score rows: what can be computed once for all of them is. Thread-safe. The algorithm and the model must outlive it.
class Predictor {
 public:
  virtual ~Predictor() = default;
  /// One number a row of `batch` (prediction.size() == rows): probability of label 1, value, or cluster. Clustering also adds each row's distance^2 to *loss if
  /// that is not null. No labels needed.
  virtual absl::Status Predict(const Batch& batch, std::span<float> prediction, double* loss) const = 0;
};

class Algorithm {
 public:
  virtual ~Algorithm() = default;
  virtual Task task() const = 0;
  virtual LabelKind labels() const = 0;
  /// One line for `troupe algorithms`, and the source (paper, book).
  virtual std::string doc() const = 0;
  virtual std::vector<ParamSpec> params() const = 0;
  /// What Driver::epochs() is where nobody says.
  virtual int default_epochs() const { return 1; }

  /// Called once, first: checks what Params cannot (parameters against data), keeps what the other calls need, and says which tables there are.
  virtual absl::StatusOr<Blueprint> Declare(const Params& params, const DataShape& shape) = 0;
  /// A pure function of batch and phase. nullptr: nothing to prepare or pull.
  virtual absl::StatusOr<std::unique_ptr<Plan>> MakePlan(const Phase& phase, const Batch& batch) const = 0;
  /// A pure function of its arguments. rows[i]: what plan->pulls[i] asked for.
  virtual absl::Status Work(const Phase& phase, const Batch& batch, const Plan* plan, std::span<const RowsView> rows, Out& out) const = 0;
  virtual absl::Status Drive(Driver& driver) = 0;
  /// Checks the model's shape against Declare and prepares it for scoring. InvalidArgument: it is not a model of this algorithm and data.
  virtual absl::StatusOr<std::unique_ptr<const Predictor>> MakePredictor(const ModelTables& model) const = 0;
};

}   // namespace troupe
