// Server-side functions over tables that the workers keep, in whole runs: what reads answers what the serial oracle does, what changes rows is refused.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "actors/status.h"
#include "algorithms/registry.h"
#include "algorithms/run/local_runner.h"
#include "algorithms/run/trainer.h"

namespace troupe::testing {
namespace {

/// Linear regression beside a second table, which counts the batches; its driver then calls a function, as a parameter says.
class LinearWithFunctions final : public Algorithm {
 public:
  Task task() const override { return inner_->task(); }
  LabelKind labels() const override { return inner_->labels(); }
  std::string doc() const override { return "for tests"; }
  std::vector<ParamSpec> params() const override {
    std::vector<ParamSpec> params = inner_->params();
    params.push_back({.name = "call", .default_value = std::string("norm"), .choices = {"norm", "dot", "apply"}, .doc = "the function"});
    return params;
  }
  absl::StatusOr<Blueprint> Declare(const Params& params, const DataShape& shape) override {
    TROUPE_TRY(Blueprint blueprint, inner_->Declare(params, shape));
    call_ = params.Text("call");
    TableSpec batches = blueprint.tables[0];
    batches.name = "batches";
    blueprint.tables.push_back(batches);
    return blueprint;
  }
  absl::StatusOr<std::unique_ptr<Plan>> MakePlan(const Phase& phase, const Batch& batch) const override { return inner_->MakePlan(phase, batch); }
  absl::Status Work(const Phase& phase, const Batch& batch, const Plan* plan, std::span<const RowsView> rows, Out& out) const override {
    out.Push(1, {2}, {1}, {});
    return inner_->Work(phase, batch, plan, rows, out);
  }
  absl::StatusOr<std::unique_ptr<const Predictor>> MakePredictor(const ModelTables& model) const override { return inner_->MakePredictor(model); }
  absl::Status Drive(Driver& driver) override {
    for (int epoch = 1; epoch <= driver.epochs(); ++epoch) {
      TROUPE_RETURN_IF_ERROR(driver.Run({.name = "step", .arguments = {}, .batch_rows = 20}).status());
      FunctionCall call{.function = call_};
      if (call_ == "dot") call.tables = {0, 1};
      if (call_ == "apply") {
        call.numbers = {{"by", {2}}};
        call.words = {{"op", "scale"}};
      }
      TROUPE_TRY(const FunctionValue value, driver.Call(call));
      driver.Report(epoch, call_, value.numbers.empty() ? 0 : value.numbers[0]);
    }
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<Algorithm> inner_ = *MakeAlgorithm("linear_regression");
  std::string call_;
};
TROUPE_REGISTER("linear_with_functions", LinearWithFunctions);

std::shared_ptr<const Source> Data() {
  static const std::shared_ptr<const Source> source =
      *OpenSource({.uri = "generate:dense?rows=300&seed=4", .label = "label", .label_kind = LabelKind::kReal, .splits = 3});
  return source;
}

absl::StatusOr<TrainReport> Run(const std::string& call, const std::string& consistency) {
  System system({.compute_threads = 2});
  TrainOptions options;
  options.algorithm = "linear_with_functions";
  options.params = {{"call", call}};
  options.data.uri = "generated";
  options.opened = Data();
  options.epochs = 3;
  options.workers = 3;
  options.shards = 2;
  options.consistency = *ParseConsistencies(consistency);
  options.memory_bytes = 64 << 20;
  options.model_uri = "mem:/model";
  return Train(options, system.storage(), [&](const ClusterOptions& cluster) { return MakeLocalCluster(system, cluster); }, {});
}

BOOST_AUTO_TEST_SUITE(KeptByWorkers)

BOOST_AUTO_TEST_CASE(functions_that_read_answer_what_the_oracle_says) {
  for (const char* call : {"norm", "dot"}) {
    const auto oracle = RunLocal({.algorithm = "linear_with_functions", .params = {{"call", call}}, .source = Data(), .splits = 3, .seed = 1, .epochs = 3});
    BOOST_REQUIRE_MESSAGE(oracle.ok(), oracle.status().ToString());
    for (const char* consistency : {"ring", "tree", "bsp,w=ring,batches=tree"}) {
      BOOST_TEST_CONTEXT(call << ", " << consistency) {
        const auto report = Run(call, consistency);
        BOOST_REQUIRE_MESSAGE(report.ok(), report.status().ToString());
        BOOST_REQUIRE_EQUAL(report->losses.size(), 3u);
        for (size_t i = 0; i < 3; ++i)
          BOOST_TEST(std::abs(report->losses[i].second - oracle->reports[i].value) <= 1e-4 * (1 + std::abs(oracle->reports[i].value)));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(functions_that_change_rows_or_mix_places_are_refused) {
  BOOST_TEST(Run("apply", "bsp,w=ring").status().ToString() ==
             "FAILED_PRECONDITION: function 'apply' changes or copies table 'w', which its workers keep (ring, tree)");
  BOOST_TEST(Run("dot", "bsp,w=ring").status().ToString() ==
             "FAILED_PRECONDITION: function 'dot' is of table 'w' and of table 'batches', of which only one is kept by workers");
  const auto other = Run("apply", "bsp,batches=tree");   // of w, at the shards: the end of a phase goes through the group as well
  BOOST_REQUIRE_MESSAGE(other.ok(), other.status().ToString());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::testing
