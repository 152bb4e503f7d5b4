// Training runs whose workers read copies of rows: no batch may see a row that is older than its consistency allows, whatever falls, and every push counts
// once.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "algorithms/registry.h"
#include "algorithms/run/trainer.h"
#include "tests/algorithms/memory_source.h"
#include "tests/support/seeds.h"
#include "tests/support/sim.h"
#include "tests/support/sim_cluster.h"

namespace troupe::testing {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kPieces = 6, kPieceRows = 5, kRows = kPieces * kPieceRows;   // of each split
constexpr int kEpochs = 2;

/// What batches have seen in the run of this test.
struct Seen {
  uint32_t bound = 0;   // rounds
  uint64_t rows = 0, too_old = 0, too_many = 0;
};
Seen seen;

/// Every batch is a row that says its split and ordinal, and adds 1 to its split's counter; so a counter that a batch pulls says how many rounds of that split
/// it sees.
class CountRounds final : public Algorithm {
 public:
  Task task() const override { return Task::kRegression; }
  LabelKind labels() const override { return LabelKind::kReal; }
  std::string doc() const override { return "counts the rounds of each split"; }
  std::vector<ParamSpec> params() const override { return {{.name = "counters", .default_value = int64_t{1}, .min = 1, .max = 100, .doc = "one a split"}}; }
  int default_epochs() const override { return kEpochs; }
  absl::StatusOr<Blueprint> Declare(const Params& params, const DataShape&) override {
    counters_ = static_cast<size_t>(params.Int("counters"));
    TableSpec spec;
    spec.name = "n";
    return Blueprint{{spec}};
  }
  absl::StatusOr<std::unique_ptr<Plan>> MakePlan(const Phase& phase, const Batch& batch) const override {
    auto plan = std::make_unique<Plan>();
    plan->pulls.push_back({.table = 0, .keys = {Cold(phase, batch)}});
    for (Key key = 0; key < counters_; ++key) plan->pulls[0].keys.push_back(key);
    return plan;
  }
  absl::Status Work(const Phase& phase, const Batch& batch, const Plan*, std::span<const RowsView> rows, Out& out) const override {
    const double before = (phase.arguments[0] - 1) * static_cast<double>(kRows);   // rounds of the phases that are over
    const double least = before + std::max(0.0, Ordinal(batch) - 1 - seen.bound);
    for (Key key = 0; key < counters_; ++key) {
      ++seen.rows;
      seen.too_old += rows[0].values[key + 1] < least;
      seen.too_many += rows[0].values[key + 1] > static_cast<double>(kRows * kEpochs);
    }
    out.Push(0, {Split(batch), Cold(phase, batch)}, {1, 1}, std::vector<uint32_t>{1, 0});
    return absl::OkStatus();
  }
  absl::Status Drive(Driver& driver) override {
    for (int epoch = 1; epoch <= driver.epochs(); ++epoch) {
      TROUPE_RETURN_IF_ERROR(driver.Run({.name = "count", .arguments = {static_cast<double>(epoch)}, .shuffle = false, .batch_rows = 1}).status());
      driver.Report(epoch, "rows", 0);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<const Predictor>> MakePredictor(const ModelTables&) const override {
    class Nothing final : public Predictor {
      absl::Status Predict(const Batch&, std::span<float> prediction, double*) const override {
        std::ranges::fill(prediction, 0.0F);
        return absl::OkStatus();
      }
    };
    return std::make_unique<Nothing>();
  }

 private:
  static Key Split(const Batch& batch) { return batch.sparse(0).feature(0) - 1; }
  static double Ordinal(const Batch& batch) { return batch.sparse(0).value(0); }
  /// A key that no other batch pulls.
  static Key Cold(const Phase& phase, const Batch& batch) {
    return 1'000 + (Split(batch) * kEpochs + static_cast<Key>(phase.arguments[0])) * kRows + static_cast<Key>(Ordinal(batch));
  }
  size_t counters_ = 1;
};
TROUPE_REGISTER("count_rounds", CountRounds);

std::shared_ptr<const Source> DataOf(uint32_t splits) {
  std::vector<TestRow> rows;
  for (uint32_t split = 0; split < splits; ++split) {
    for (uint64_t i = 1; i <= kRows; ++i) rows.push_back({.label = 0, .entries = {{split + 1, static_cast<float>(i)}}, .dense = {}});
  }
  return std::make_shared<MemorySource>(rows, kPieceRows);
}

Faults AnyFaults(Random& random) {
  Faults faults;
  faults.delay_max = std::chrono::microseconds(100 + random.Below(3'000));
  faults.ordered = random.Below(2) == 0;
  if (random.Below(2) == 0) faults.drop = 0.02 * random.Uniform();
  if (random.Below(2) == 0) faults.twice = 0.2 * random.Uniform();
  if (random.Below(3) == 0) return faults;
  faults.crash_every = milliseconds(5 + random.Below(60));
  faults.crashes_max = static_cast<int>(1 + random.Below(8));
  faults.down_max = milliseconds(1 + random.Below(100));
  return faults;
}

struct Outcome {
  std::string about;
  TrainReport report;
  uint64_t crashes = 0;
};

Outcome Simulate(uint64_t seed, const Consistency& consistency, uint32_t staleness) {
  Random random(seed);
  TrainOptions options;
  options.algorithm = "count_rounds";
  options.workers = static_cast<uint32_t>(1 + random.Below(4));
  options.splits = options.workers + static_cast<uint32_t>(random.Below(3));
  options.shards = static_cast<uint32_t>(1 + random.Below(3));
  options.params = {{"counters", absl::StrCat(*options.splits)}};
  options.data.uri = "memory";
  options.opened = DataOf(*options.splits);
  options.consistency = consistency;
  options.replicas = {.bytes_max = random.Below(3) == 0 ? uint64_t{150} : uint64_t{1} << 20, .staleness = staleness};
  options.memory_bytes = 64 << 20;
  if (random.Below(4) == 0) options.held_bytes = 20'000;
  options.model_uri = "mem:/model";
  const Faults faults = AnyFaults(random);
  Sim sim(seed, faults);
  SimClusterOptions cluster;
  cluster.source = options.opened;
  cluster.snapshot_interval = milliseconds(2 + random.Below(40));
  if (random.Below(2) == 0) cluster.first_workers_pace = 4;
  seen = {.bound = consistency.staleness};
  const auto report = Train(options, sim.storage(), SimulatedCluster(sim, std::move(cluster)), {});
  Outcome outcome{.about = absl::StrCat("TROUPE_SIM_SEED=", seed, ": ", ToString(consistency), ", ", options.workers, " workers, ", *options.splits,
                                        " splits, ", options.shards, " shards, copies ", options.replicas.bytes_max, ", crashes ", sim.crashes()),
                  .report = {},
                  .crashes = sim.crashes()};
  BOOST_REQUIRE_MESSAGE(report.ok(), outcome.about << ": " << report.status().ToString());
  outcome.report = *report;
  BOOST_TEST(report->ledger_read == report->ledger_applied, outcome.about);
  BOOST_TEST(report->ledger_read == *options.splits * kRows * kEpochs, outcome.about);
  BOOST_TEST(seen.too_many == 0u, outcome.about);   // no push has counted twice for anybody
  return outcome;
}

BOOST_AUTO_TEST_SUITE(SimulatedReplicas)

BOOST_AUTO_TEST_CASE(no_batch_sees_a_row_that_is_older_than_ssp_allows_whatever_falls) {
  uint64_t copied = 0, copied_with_crashes = 0;
  for (const uint64_t seed : Seeds(300)) {
    Random random(seed * 31);
    const Consistency ssp{.kind = Consistency::Kind::kSsp, .staleness = static_cast<uint32_t>(random.Below(6))};
    const Outcome outcome = Simulate(seed, ssp, 8);
    BOOST_TEST(seen.too_old == 0u, outcome.about << ": " << seen.too_old << " of " << seen.rows << " rows");
    copied += outcome.report.rows_copied;
    if (outcome.crashes > 0) copied_with_crashes += outcome.report.rows_copied;
  }
  if (Seeds(300).size() > 1) BOOST_TEST(copied_with_crashes > 1'000u);
  BOOST_TEST_MESSAGE("rows from copies: " << copied << ", of runs with crashes " << copied_with_crashes);
}

BOOST_AUTO_TEST_CASE(asp_and_delay_count_every_push_once_with_copies_too) {
  uint64_t copied = 0, too_old = 0;
  for (const uint64_t seed : Seeds(100)) {
    const bool asp = seed % 2 == 0;
    const Outcome outcome =
        Simulate(seed, asp ? Consistency{.kind = Consistency::Kind::kAsp} : Consistency{.kind = Consistency::Kind::kDelay, .delay = milliseconds(20)}, 8);
    copied += outcome.report.rows_copied;
    too_old += seen.too_old;   // as if it were ssp:0
  }
  if (Seeds(100).size() > 1) {
    BOOST_TEST(copied > 1'000u);
    BOOST_TEST(too_old > 1'000u);   // so old rows are noticed
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::testing
