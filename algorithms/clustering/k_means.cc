// k-means by Lloyd's iterations. Table "centroids": k x columns, set by the driver after each iteration. An epoch is an iteration; a cluster that gets no rows
// keeps its centroid. Sparse data is read as dense, up to 4096 columns; the table then has all of them.
// Sources: Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28, 1982; start: Bahmani et al., "Scalable k-means++", VLDB 2012.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "actors/random.h"
#include "actors/status.h"
#include "actors/text.h"
#include "algorithms/clustering/centroids.h"
#include "algorithms/registry.h"

namespace troupe {
namespace {

constexpr uint32_t kSparseColumnsMax = 4096;
constexpr uint32_t kBatchRows = 4096;
constexpr int kRounds = 5;   // of k-means||: the paper finds 5 enough

/// In [0, 1), from (seed, stream, piece, row) alone: the same row draws the same number whoever reads it.
double Draw(uint64_t seed, uint64_t stream, const Batch::Row& row) {
  const uint64_t bits = Mix64(Mix64(Mix64(Mix64(seed) + stream) + row.block->piece) + row.row);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

/// Numbers are doubles: a seed travels as its halves.
void AppendSeed(uint64_t seed, Numbers& numbers) {
  numbers.push_back(static_cast<double>(seed >> 32));
  numbers.push_back(static_cast<double>(seed & 0xffffffff));
}
uint64_t SeedOf(const Numbers& numbers) {
  return static_cast<uint64_t>(numbers[0]) << 32 | static_cast<uint64_t>(numbers[1]);
}

Phase Pass(std::string name, Numbers arguments) {
  return {.name = std::move(name), .arguments = std::move(arguments), .shuffle = false, .batch_rows = kBatchRows, .pushes = false};
}

/// One candidate from a partition: what it drew, then the row.
struct Drawn {
  double draw = 0, distance2 = 0;
  std::span<const double> row;
};

std::vector<Drawn> Unpack(const Numbers& collected, uint32_t columns) {
  std::vector<Drawn> drawn;
  for (size_t i = 0; i < collected.size(); i += columns + 2) drawn.push_back({collected[i], collected[i + 1], {collected.data() + i + 2, columns}});
  return drawn;
}

double Distance2(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t j = 0; j < n; ++j) sum += (static_cast<double>(a[j]) - static_cast<double>(b[j])) * (static_cast<double>(a[j]) - static_cast<double>(b[j]));
  return sum;
}

/// k rows of `candidates`, each drawn with probability proportional to weight x squared distance to those drawn before (k-means++).
std::vector<float> ChooseAmong(const std::vector<float>& candidates, std::vector<double> weights, uint32_t columns, uint32_t k, Random& random) {
  std::vector<float> chosen;
  std::vector<double> distance2(weights.size(), 1);   // the first draw goes by weight alone
  for (uint32_t c = 0; c < k; ++c) {
    double total = 0;
    for (size_t i = 0; i < weights.size(); ++i) total += weights[i] * distance2[i];
    double rest = random.Uniform() * total;
    size_t pick = 0;
    if (total > 0) {
      for (size_t i = 0; i < weights.size(); ++i) {
        if (weights[i] * distance2[i] == 0) continue;
        pick = i;
        if ((rest -= weights[i] * distance2[i]) < 0) break;
      }
    } else {
      pick = c % weights.size();   // fewer different rows than k: some centroids are equal
    }
    const float* row = candidates.data() + pick * columns;
    chosen.insert(chosen.end(), row, row + columns);
    for (size_t i = 0; i < weights.size(); ++i) {
      const double distance = Distance2(candidates.data() + i * columns, row, columns);
      distance2[i] = c == 0 ? distance : std::min(distance2[i], distance);
    }
  }
  return chosen;
}

class KMeansPredictor final : public Predictor {
 public:
  explicit KMeansPredictor(Centroids centroids) : centroids_(std::move(centroids)) {}
  absl::Status Predict(const Batch& batch, std::span<float> prediction, double* loss) const override {
    std::vector<uint32_t> cluster(batch.rows());
    std::vector<float> distance2(batch.rows());
    centroids_.Nearest(batch, cluster, distance2);
    for (size_t i = 0; i < batch.rows(); ++i) prediction[i] = static_cast<float>(cluster[i]);
    if (loss != nullptr) *loss = std::accumulate(distance2.begin(), distance2.end(), *loss);
    return absl::OkStatus();
  }

 private:
  const Centroids centroids_;
};

class KMeans final : public Algorithm {
 public:
  Task task() const override { return Task::kClustering; }
  LabelKind labels() const override { return LabelKind::kNone; }
  std::string doc() const override { return "k-means by Lloyd's iterations, started by k-means|| (Bahmani et al., Scalable k-means++, VLDB 2012)"; }
  int default_epochs() const override { return 20; }
  std::vector<ParamSpec> params() const override {
    return {
        {.name = "k", .default_value = int64_t{8}, .min = 1, .max = 65536, .doc = "clusters"},
        {.name = "init", .default_value = std::string("k-means||"), .doc = "the start: k-means||, random (k rows of the data), or a URI of k rows"},
        {.name = "tolerance",
         .default_value = 0.0,
         .min = 0,
         .max = 1,
         .doc = "stop when inertia falls by a smaller share than this; 0: when no centroid moves"},
    };
  }

  absl::StatusOr<Blueprint> Declare(const Params& params, const DataShape& shape) override {
    k_ = static_cast<uint32_t>(params.Int("k"));
    init_ = params.Text("init");
    tolerance_ = params.Real("tolerance");
    if (init_.empty()) return absl::InvalidArgumentError("init is empty, expected k-means||, random, or a URI of k rows");
    dense_ = shape.dense;
    width_ = shape.dense ? shape.columns : kSparseColumnsMax;
    TableSpec spec;
    spec.name = "centroids";
    spec.width = width_;
    spec.rows = k_;
    spec.rule = "add";   // never pushed to
    spec.combine = TableSpec::Combine::kSum;
    TROUPE_RETURN_IF_ERROR(Validate(spec));
    return Blueprint{{std::move(spec)}};
  }
  absl::StatusOr<std::unique_ptr<Plan>> MakePlan(const Phase&, const Batch&) const override { return nullptr; }

  absl::Status Work(const Phase& phase, const Batch& batch, const Plan*, std::span<const RowsView>, Out& out) const override {
    if (phase.name == "scan")
      Scan(batch, out);
    else if (phase.name == "draw")
      DrawRows(phase.arguments, batch, out);
    else if (phase.name == "sample")
      Sample(phase.arguments, batch, out);
    else
      Assign(phase.arguments, batch, out);
    return absl::OkStatus();
  }

  absl::Status Drive(Driver& driver) override;

  absl::StatusOr<std::unique_ptr<const Predictor>> MakePredictor(const ModelTables& model) const override {
    const RowsView rows = model.All(0);
    if (rows.width != width_ || rows.keys.size() != k_)
      return absl::InvalidArgumentError(absl::StrCat("table centroids is ", rows.keys.size(), " x ", rows.width, ", expected ", k_, " x ", width_));
    uint32_t columns = dense_ ? width_ : 1;
    for (size_t i = 0; i < rows.values.size(); ++i)
      if (rows.values[i] != 0) columns = std::max(columns, static_cast<uint32_t>(i % width_) + 1);
    std::vector<float> used;
    for (size_t c = 0; c < k_; ++c)
      used.insert(used.end(), rows.values.begin() + static_cast<ptrdiff_t>(c * width_), rows.values.begin() + static_cast<ptrdiff_t>(c * width_ + columns));
    return std::make_unique<const KMeansPredictor>(Centroids(std::move(used), columns));
  }

 private:
  /// sum: rows. collected: the largest feature of each batch.
  static void Scan(const Batch& batch, Out& out) {
    Feature largest = batch.columns();
    for (size_t i = 0; !batch.is_dense() && i < batch.rows(); ++i)
      if (const SparseRow row = batch.sparse(i); !row.empty()) largest = std::max(largest, row.feature(row.size() - 1));
    const double rows = static_cast<double>(batch.rows()), feature = static_cast<double>(largest);
    out.Combine({&rows, 1});
    out.Collect({&feature, 1});
  }

  static void CollectRow(const Batch& batch, size_t i, double draw, double distance2, uint32_t columns, Out& out) {
    Numbers numbers = {draw, distance2};
    const std::vector<float> row = RowAsDense(batch, i, columns);
    numbers.insert(numbers.end(), row.begin(), row.end());
    out.Collect(numbers);
  }

  /// arguments: seed (2), columns, limit. collected: the rows that drew less than the limit.
  static void DrawRows(const Numbers& arguments, const Batch& batch, Out& out) {
    for (size_t i = 0; i < batch.rows(); ++i)
      if (const double draw = Draw(SeedOf(arguments), 0, batch.row(i)); draw < arguments[3])
        CollectRow(batch, i, draw, 0, static_cast<uint32_t>(arguments[2]), out);
  }

  static Centroids CentroidsFrom(const Numbers& arguments, size_t start, uint32_t columns) {
    return Centroids(std::vector<float>(arguments.begin() + static_cast<ptrdiff_t>(start), arguments.end()), columns);
  }

  /// arguments: seed (2), columns, round, rate, candidates. sum: the cost, sum of distance^2 to the nearest candidate. collected: rows with draw < rate *
  /// distance^2.
  static void Sample(const Numbers& arguments, const Batch& batch, Out& out) {
    const auto columns = static_cast<uint32_t>(arguments[2]);
    std::vector<uint32_t> cluster(batch.rows());
    std::vector<float> distance2(batch.rows());
    CentroidsFrom(arguments, 5, columns).Nearest(batch, cluster, distance2);
    double cost = 0;
    for (size_t i = 0; i < batch.rows(); ++i) {
      const double d2 = static_cast<double>(distance2[i]);
      cost += d2;
      const double draw = Draw(SeedOf(arguments), static_cast<uint64_t>(arguments[3]), batch.row(i));
      if (draw < arguments[4] * d2) CollectRow(batch, i, draw, d2, columns, out);
    }
    out.Combine({&cost, 1});
  }

  /// arguments: columns, centroids. sum: inertia, rows by cluster, sums of the rows by cluster.
  static void Assign(const Numbers& arguments, const Batch& batch, Out& out) {
    const auto columns = static_cast<uint32_t>(arguments[0]);
    const Centroids centroids = CentroidsFrom(arguments, 1, columns);
    std::vector<uint32_t> cluster(batch.rows());
    std::vector<float> distance2(batch.rows());
    centroids.Nearest(batch, cluster, distance2);
    Numbers partial(1 + size_t{centroids.k()} * (columns + 1));
    double* sums = partial.data() + 1 + centroids.k();
    for (size_t i = 0; i < batch.rows(); ++i) {
      partial[0] += static_cast<double>(distance2[i]);
      partial[1 + cluster[i]] += 1;
      AddRow(batch, i, {sums + size_t{cluster[i]} * columns, columns});
    }
    out.Combine(partial);
  }

  absl::StatusOr<std::vector<float>> GivenStart(Driver& driver, uint32_t columns) const;
  absl::StatusOr<std::vector<float>> RandomRows(Driver& driver, uint32_t columns, double rows, uint32_t count) const;
  absl::StatusOr<std::vector<float>> ParallelStart(Driver& driver, uint32_t columns, double rows) const;
  absl::StatusOr<std::vector<float>> Start(Driver& driver, uint32_t* columns) const;
  absl::Status SetTable(Driver& driver, const std::vector<float>& centroids, uint32_t columns) const;

  uint32_t k_ = 8;
  std::string init_;
  double tolerance_ = 0;
  bool dense_ = true;
  uint32_t width_ = 1;   // of the table
};

absl::StatusOr<std::vector<float>> KMeans::GivenStart(Driver& driver, uint32_t columns) const {
  TROUPE_TRY(const std::vector<std::vector<float>> rows, driver.ReadRows(init_));
  if (rows.size() != k_) return absl::InvalidArgumentError(absl::StrCat(init_, ": ", rows.size(), " rows, expected k = ", k_));
  std::vector<float> centroids;
  for (const std::vector<float>& row : rows) {
    if (row.size() > columns && (dense_ || std::any_of(row.begin() + columns, row.end(), [](float x) { return x != 0; })))
      return absl::InvalidArgumentError(absl::StrCat(init_, ": rows have ", row.size(), " columns, expected ", columns));
    centroids.insert(centroids.end(), row.begin(), row.begin() + static_cast<ptrdiff_t>(std::min<size_t>(row.size(), columns)));
    centroids.resize(centroids.size() + (columns - std::min<size_t>(row.size(), columns)));
  }
  return centroids;
}

/// The `count` rows with the smallest draws. A pass asks for a few more than that are expected below its limit, and a further one for all if they were too few.
absl::StatusOr<std::vector<float>> KMeans::RandomRows(Driver& driver, uint32_t columns, double rows, uint32_t count) const {
  double limit = (count + 10 * std::sqrt(static_cast<double>(count)) + 10) / rows;
  for (;; limit = 1) {
    Numbers arguments;
    AppendSeed(driver.seed(), arguments);
    arguments.insert(arguments.end(), {static_cast<double>(columns), limit});
    TROUPE_TRY(const PhaseResult result, driver.Run(Pass("draw", std::move(arguments))));
    std::vector<Drawn> drawn = Unpack(result.collected, columns);
    if (drawn.size() < count && limit < 1) continue;
    std::stable_sort(drawn.begin(), drawn.end(), [](const Drawn& a, const Drawn& b) { return a.draw < b.draw; });
    std::vector<float> chosen;
    for (size_t i = 0; i < count; ++i) chosen.insert(chosen.end(), drawn[i].row.begin(), drawn[i].row.end());
    return chosen;
  }
}

/// k-means||: a row becomes a candidate with probability 2k distance^2 / cost, in each of five rounds; then k-means++ among the candidates, weighted by the
/// rows that are nearest to each. A pass measures the cost and draws at once: it draws with a bound below the cost, half the last one, and the driver thins
/// out; only when the cost fell below the bound (always in the first round) must it be repeated.
absl::StatusOr<std::vector<float>> KMeans::ParallelStart(Driver& driver, uint32_t columns, double rows) const {
  TROUPE_TRY(std::vector<float> candidates, RandomRows(driver, columns, rows, 1));
  double bound = std::numeric_limits<double>::infinity();
  for (int round = 1; round <= kRounds; ++round) {
    for (;;) {
      Numbers arguments;
      AppendSeed(driver.seed(), arguments);
      arguments.insert(arguments.end(), {static_cast<double>(columns), static_cast<double>(round), 2.0 * k_ / bound});
      arguments.insert(arguments.end(), candidates.begin(), candidates.end());
      TROUPE_TRY(const PhaseResult result, driver.Run(Pass("sample", std::move(arguments))));
      const double cost = result.sum[0];
      if (cost < bound && cost > 0) {
        bound = cost;
        continue;
      }
      for (const Drawn& drawn : Unpack(result.collected, columns))
        if (drawn.draw * cost < 2.0 * k_ * drawn.distance2) candidates.insert(candidates.end(), drawn.row.begin(), drawn.row.end());
      bound = cost / 2;
      break;
    }
    if (bound == 0) break;   // every row is a candidate already
  }
  if (candidates.size() < size_t{k_} * columns) return RandomRows(driver, columns, rows, k_);
  Numbers arguments = {static_cast<double>(columns)};
  arguments.insert(arguments.end(), candidates.begin(), candidates.end());
  TROUPE_TRY(const PhaseResult result, driver.Run(Pass("assign", std::move(arguments))));
  const auto counts = result.sum.begin() + 1;
  Random random(driver.seed());
  return ChooseAmong(candidates, std::vector<double>(counts, counts + static_cast<ptrdiff_t>(candidates.size() / columns)), columns, k_, random);
}

absl::StatusOr<std::vector<float>> KMeans::Start(Driver& driver, uint32_t* columns) const {
  const bool given = init_ != "random" && init_ != "k-means||";
  double rows = 0;
  *columns = width_;
  if (!given || !dense_) {
    TROUPE_TRY(const PhaseResult scan, driver.Run(Pass("scan", {})));
    rows = scan.sum.empty() ? 0 : scan.sum[0];
    const double largest = scan.collected.empty() ? 0 : *std::max_element(scan.collected.begin(), scan.collected.end());
    if (largest > width_)
      return absl::InvalidArgumentError(
          absl::StrCat("the largest feature is ", static_cast<uint64_t>(largest), ", expected at most ", width_, ": k_means needs dense rows"));
    if (!given && rows < k_) return absl::InvalidArgumentError(absl::StrCat("k is ", k_, ", expected at most ", rows, ", the rows of the data"));
    *columns = std::max(uint32_t{1}, static_cast<uint32_t>(largest));
  }
  if (given) return GivenStart(driver, *columns);
  return init_ == "random" ? RandomRows(driver, *columns, rows, k_) : ParallelStart(driver, *columns, rows);
}

absl::Status KMeans::SetTable(Driver& driver, const std::vector<float>& centroids, uint32_t columns) const {
  std::vector<Key> keys(k_);
  std::iota(keys.begin(), keys.end(), Key{0});
  std::vector<float> values(size_t{k_} * width_);
  for (size_t c = 0; c < k_; ++c) std::copy_n(centroids.data() + c * columns, columns, values.data() + c * width_);
  return driver.Assign(0, std::move(keys), std::move(values));
}

/// The checkpoint's numbers: iterations done, the last inertia, columns, centroids.
absl::Status KMeans::Drive(Driver& driver) {
  int done = 0;
  double last_inertia = 0;
  uint32_t columns = 0;
  std::vector<float> centroids;
  if (const Numbers* state = driver.resumed(); state != nullptr) {
    done = static_cast<int>(state->at(0));
    last_inertia = state->at(1);
    columns = static_cast<uint32_t>(state->at(2));
    centroids.assign(state->begin() + 3, state->end());
  } else {
    TROUPE_TRY(centroids, Start(driver, &columns));
    TROUPE_RETURN_IF_ERROR(SetTable(driver, centroids, columns));
  }
  while (done < driver.epochs()) {
    Numbers arguments = {static_cast<double>(columns)};
    arguments.insert(arguments.end(), centroids.begin(), centroids.end());
    TROUPE_TRY(const PhaseResult result, driver.Run(Pass("assign", std::move(arguments))));
    if (result.sum.empty()) return absl::InvalidArgumentError("the data has no rows");
    const std::vector<float> before = centroids;
    const double* sums = result.sum.data() + 1 + k_;
    for (size_t c = 0; c < k_; ++c)
      for (size_t j = 0; j < columns && result.sum[1 + c] > 0; ++j) centroids[c * columns + j] = static_cast<float>(sums[c * columns + j] / result.sum[1 + c]);
    const double inertia = result.sum[0];
    driver.Report(++done, "inertia", inertia);
    const bool settled = centroids == before || (done > 1 && last_inertia - inertia < tolerance_ * last_inertia);
    if (settled) done = driver.epochs();   // a run that is resumed has nothing left to do
    last_inertia = inertia;
    TROUPE_RETURN_IF_ERROR(SetTable(driver, centroids, columns));
    Numbers state = {static_cast<double>(done), last_inertia, static_cast<double>(columns)};
    state.insert(state.end(), centroids.begin(), centroids.end());
    TROUPE_RETURN_IF_ERROR(driver.Checkpoint(state));
  }
  return absl::OkStatus();
}

TROUPE_REGISTER("k_means", KMeans);

}   // namespace
}   // namespace troupe
