// Server-side functions in whole runs: an algorithm that counts, calls functions that read and functions that change between its phases, and must say and save
// what the serial oracle does, with any consistency and every fault there is.
#include <boost/test/unit_test.hpp>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "algorithms/model.h"
#include "algorithms/registry.h"
#include "algorithms/run/local_runner.h"
#include "algorithms/run/trainer.h"
#include "tests/support/pieces.h"
#include "tests/support/seeds.h"
#include "tests/support/sim.h"
#include "tests/support/sim_cluster.h"

namespace troupe::testing {
namespace {

using std::chrono::milliseconds;

/// Naive Bayes with a driver of its own: each epoch counts all rows, then adds 1 to every count and doubles it. A count that is lost, doubled or changed out of
/// its place shows in the numbers.
class CountingWithFunctions final : public Algorithm {
 public:
  Task task() const override { return inner_->task(); }
  LabelKind labels() const override { return inner_->labels(); }
  std::string doc() const override { return "for tests"; }
  std::vector<ParamSpec> params() const override { return inner_->params(); }
  absl::StatusOr<Blueprint> Declare(const Params& params, const DataShape& shape) override { return inner_->Declare(params, shape); }
  absl::StatusOr<std::unique_ptr<Plan>> MakePlan(const Phase& phase, const Batch& batch) const override { return inner_->MakePlan(phase, batch); }
  absl::Status Work(const Phase& phase, const Batch& batch, const Plan* plan, std::span<const RowsView> rows, Out& out) const override {
    return inner_->Work(phase, batch, plan, rows, out);
  }
  absl::StatusOr<std::unique_ptr<const Predictor>> MakePredictor(const ModelTables& model) const override { return inner_->MakePredictor(model); }

  absl::Status Drive(Driver& driver) override {
    for (int epoch = 1; epoch <= driver.epochs(); ++epoch) {
      TROUPE_TRY(const PhaseResult result, driver.Run({.name = "count", .arguments = {}, .shuffle = false, .batch_rows = 10, .pushes = true}));
      TROUPE_TRY(const FunctionValue sum, driver.Call({.function = "sum"}));
      driver.Report(epoch, "sum", sum.numbers[0] + 3 * sum.numbers[1] + 7 * sum.numbers[2]);
      TROUPE_RETURN_IF_ERROR(driver.Call({.function = "apply", .numbers = {{"by", {1}}}, .words = {{"op", "add"}}}).status());
      TROUPE_RETURN_IF_ERROR(driver.Call({.function = "apply", .numbers = {{"by", {2}}}, .words = {{"op", "scale"}}}).status());
      TROUPE_TRY(const FunctionValue top, driver.Call({.function = "top_k", .numbers = {{"k", {3}}}}));
      double mixed = 0;
      for (size_t i = 0; i < top.keys.size(); ++i) mixed = 3 * mixed + top.numbers[i] + static_cast<double>(top.keys[i] % 1000);
      driver.Report(epoch, "sum", mixed);
    }
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<Algorithm> inner_ = *MakeAlgorithm("naive_bayes");
};
TROUPE_REGISTER("counting_with_functions", CountingWithFunctions);

std::shared_ptr<const Source> Data() {
  static const std::shared_ptr<const Source> source = InPieces(**OpenSource({.uri = "generate:ctr?rows=200&seed=4"}), 10);
  return source;
}

BOOST_AUTO_TEST_SUITE(SimulatedFunctions)

BOOST_AUTO_TEST_CASE(calls_and_changes_are_the_oracles_whatever_happens) {
  uint64_t crashes = 0;
  for (const uint64_t seed : Seeds(150)) {
    Random random(seed);
    TrainOptions options;
    options.algorithm = "counting_with_functions";
    options.data.uri = "generate:ctr?rows=200&seed=4";
    options.epochs = 2;
    options.workers = static_cast<uint32_t>(1 + random.Below(3));
    options.splits = options.workers + static_cast<uint32_t>(random.Below(3));
    options.shards = static_cast<uint32_t>(1 + random.Below(3));
    constexpr Consistency::Kind kKinds[] = {Consistency::Kind::kBsp, Consistency::Kind::kSsp, Consistency::Kind::kAsp};
    options.consistency = Consistency{.kind = kKinds[random.Below(3)], .staleness = 2};
    options.memory_bytes = 64 << 20;
    options.held_bytes = random.Below(3) == 0 ? 10'000 : 64 << 20;
    options.model_uri = "mem:/model";
    Faults faults;
    faults.delay_max = std::chrono::microseconds(100 + random.Below(3'000));
    faults.ordered = random.Below(2) == 0;
    faults.drop = random.Below(2) == 0 ? 0.02 * random.Uniform() : 0;
    faults.twice = random.Below(2) == 0 ? 0.2 * random.Uniform() : 0;
    faults.crash_every = milliseconds(5 + random.Below(60));
    faults.crashes_max = static_cast<int>(random.Below(9));
    faults.down_max = milliseconds(1 + random.Below(100));
    Sim sim(seed, faults);
    SimClusterOptions cluster;
    cluster.source = Data();
    cluster.snapshot_interval = milliseconds(2 + random.Below(40));
    const auto report = Train(options, sim.storage(), SimulatedCluster(sim, cluster), {});
    crashes += sim.crashes();
    const std::string about = absl::StrCat("TROUPE_SIM_SEED=", seed, ": ", ToString(options.consistency), ", ", options.workers, " workers, ", *options.splits,
                                           " splits, ", options.shards, " shards, crashes ", sim.crashes());
    BOOST_REQUIRE_MESSAGE(report.ok(), about << ": " << report.status().ToString());
    const auto oracle = RunLocal({.algorithm = options.algorithm, .params = {}, .source = Data(), .splits = *options.splits, .epochs = 2, .resumed = {}});
    BOOST_REQUIRE_MESSAGE(oracle.ok(), oracle.status().ToString());
    const auto model = LoadModel(sim.storage(), "mem:/model");
    BOOST_REQUIRE_MESSAGE(model.ok(), about << ": " << model.status().ToString());
    BOOST_TEST(ShowModel(**model, true) == ShowModel(**MakeModel(*oracle), true), about << ": counts differ from the oracle's");
    BOOST_REQUIRE_EQUAL(report->losses.size(), oracle->reports.size());
    for (size_t i = 0; i < report->losses.size(); ++i) BOOST_TEST(report->losses[i].second == oracle->reports[i].value, about << ": call " << i);
    BOOST_TEST(report->ledger_read == report->ledger_applied, about);
  }
  BOOST_TEST(crashes > 0U);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::testing
