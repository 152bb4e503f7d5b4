// What every algorithm must do, by name from the registry, on every host: a new algorithm arrives tested.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "actors/text.h"
#include "algorithms/registry.h"
#include "tests/algorithms/host.h"
#include "tests/algorithms/memory_source.h"
#include "tests/algorithms/saved_model.h"

namespace troupe {
namespace {

using testing::Host;
using testing::LearnableRows;
using testing::MemorySource;

struct Case {
  std::string algorithm;
  bool dense;
  std::unique_ptr<Algorithm> instance = *MakeAlgorithm(algorithm);
  std::vector<testing::TestRow> rows = LearnableRows(instance->task(), dense, 1200, 11);
  std::shared_ptr<const Source> source = std::make_shared<MemorySource>(rows, 50, instance->labels() != LabelKind::kNone);
  /// Several epochs where the algorithm makes several passes.
  int epochs() const { return algorithm == "naive_bayes" ? 1 : 5; }
  LocalOptions Options(uint64_t seed = 3) const {
    LocalOptions options{.algorithm = algorithm, .source = source, .splits = 4, .seed = seed, .epochs = epochs()};
    for (const ParamSpec& param : instance->params())
      if (param.name == "batch_size") options.params["batch_size"] = "50";   // enough rounds for something to go wrong between them
    return options;
  }
};

template <class Check>
void ForEach(Check check) {
  for (const std::string& name : AlgorithmNames())
    for (const bool dense : {false, true}) {
      BOOST_TEST_CONTEXT(name << (dense ? " dense" : " sparse")) check(Case{.algorithm = name, .dense = dense});
    }
}
template <class Check>
void ForEachOnEveryHost(Check check) {
  for (const std::unique_ptr<Host>& host : testing::Hosts()) ForEach([&](const Case& c) { BOOST_TEST_CONTEXT("host " << host->name()) check(c, *host); });
}

testing::HostResult Train(Host& host, const Case& c) {
  auto result = host.Train(c.Options());
  BOOST_REQUIRE_MESSAGE(result.ok(), result.status().ToString());
  return *std::move(result);
}
/// The same, trained once for all checks.
const testing::HostResult& Trained(Host& host, const Case& c) {
  static std::map<std::tuple<std::string, std::string, bool>, testing::HostResult> known;
  const auto key = std::tuple(host.name(), c.algorithm, c.dense);
  const auto found = known.find(key);
  return found != known.end() ? found->second : known.emplace(key, Train(host, c)).first->second;
}

BOOST_AUTO_TEST_SUITE(ConformanceSuite)

BOOST_AUTO_TEST_CASE(every_host_makes_the_oracles_model_bit_for_bit) {
  ForEachOnEveryHost([](const Case& c, Host& host) {
    const testing::HostResult &result = Trained(host, c), &oracle = Trained(*testing::Hosts()[0], c);
    if (host.exact()) BOOST_TEST(result.rows == oracle.rows);
    if (host.stands()) BOOST_TEST((result.reports == oracle.reports));
  });
}

BOOST_AUTO_TEST_CASE(the_same_seed_gives_the_same_model) {
  ForEachOnEveryHost([](const Case& c, Host& host) {
    const testing::HostResult &a = Trained(host, c), b = Train(host, c);
    BOOST_TEST(a.rows == b.rows);
    if (host.stands()) BOOST_TEST((a.reports == b.reports));
  });
}

BOOST_AUTO_TEST_CASE(every_batch_that_is_read_is_applied_once) {
  ForEachOnEveryHost([](const Case& c, Host& host) {
    const testing::HostResult& result = Trained(host, c);
    BOOST_TEST(result.nonzeros_read == Trained(*testing::Hosts()[0], c).nonzeros_read);
    BOOST_TEST(result.nonzeros_applied == result.nonzeros_read);
    if (!host.stands() && c.epochs() > 1) BOOST_TEST(result.falls > 0u);   // it was tried
  });
}

BOOST_AUTO_TEST_CASE(the_loss_falls) {
  ForEachOnEveryHost([](const Case& c, Host& host) {
    const testing::HostResult& result = Trained(host, c);
    for (const LocalReport& report : result.reports) BOOST_TEST(std::isfinite(report.value));
    if (host.stands()) BOOST_TEST_REQUIRE(result.reports.size() == Trained(*testing::Hosts()[0], c).reports.size());
    if (result.reports.size() > 1) BOOST_TEST(result.reports.back().value < result.reports.front().value);
  });
}

struct Predictions {
  std::vector<float> values;
  double loss = 0;
  Predictions(const Model& model, const Case& c) : values(c.rows.size()) {
    BOOST_REQUIRE(model.predictor().Predict(testing::MakeBatch(c.rows), values, &loss).ok());
  }
  bool operator==(const Predictions&) const = default;
};

BOOST_AUTO_TEST_CASE(predictions_are_better_than_a_constant_and_within_their_range) {
  ForEachOnEveryHost([](const Case& c, Host& host) {
    if (c.algorithm == "naive_bayes" && c.dense) return;   // numbers that are never 0: every feature is always present
    const Predictions predictions(*Trained(host, c).model, c);
    double error = 0, constant = 0, mean = 0;
    for (const testing::TestRow& row : c.rows) mean += double{row.label} / static_cast<double>(c.rows.size());
    for (size_t i = 0; i < c.rows.size(); ++i) {
      const float prediction = predictions.values[i];
      error += std::pow(double{prediction} - double{c.rows[i].label}, 2);
      constant += std::pow(mean - double{c.rows[i].label}, 2);
      if (c.instance->task() == Task::kBinary) BOOST_REQUIRE((prediction >= 0 && prediction <= 1));
      if (c.instance->task() == Task::kClustering) BOOST_REQUIRE((prediction >= 0 && prediction < 8 && prediction == std::floor(prediction)));
    }
    if (c.instance->task() == Task::kClustering)
      BOOST_TEST(predictions.loss > 0);
    else
      BOOST_TEST(error < 0.7 * constant);
  });
}

BOOST_AUTO_TEST_CASE(a_saved_and_loaded_model_predicts_alike) {
  ForEach([](const Case& c) {
    const auto storage = MakeMemoryStorage();
    const auto result = RunLocal(c.Options());
    BOOST_REQUIRE(result.ok());
    const auto saved = testing::SaveModel(*storage, "mem:/m", *result);
    BOOST_REQUIRE_MESSAGE(saved.ok(), saved.ToString());
    const auto loaded = *LoadModel(*storage, "mem:/m"), made = *MakeModel(*result);
    BOOST_TEST((Predictions(*loaded, c) == Predictions(*made, c)));
    BOOST_TEST(ShowModel(*loaded, true) == ShowModel(*made, true));
    for (const std::unique_ptr<Host>& host : testing::Hosts())   // the trainer's is what it has saved, loaded again
      if (host->exact()) BOOST_TEST((Predictions(*Trained(*host, c).model, c) == Predictions(*made, c)), host->name());
  });
}

/// A driver that runs nothing: it notes the first phase and stops.
struct FirstPhase final : Driver {
  Phase phase;
  DataShape data;
  absl::StatusOr<PhaseResult> Run(const Phase& p) override {
    phase = p;
    return absl::CancelledError("enough");
  }
  absl::Status Assign(uint32_t, std::vector<Key>, std::vector<float>) override { return absl::CancelledError("enough"); }
  absl::StatusOr<FunctionValue> Call(const FunctionCall&) override { return absl::CancelledError("enough"); }
  void Report(int, std::string_view, double) override {}
  absl::Status Checkpoint(const Numbers&) override { return absl::CancelledError("enough"); }
  const Numbers* resumed() const override { return nullptr; }
  int epochs() const override { return 1; }
  uint64_t seed() const override { return 1; }
  absl::StatusOr<std::vector<std::vector<float>>> ReadRows(const std::string&) override { return absl::CancelledError("enough"); }
  const DataShape& shape() const override { return data; }
};

BOOST_AUTO_TEST_CASE(plan_and_work_are_pure_and_errors_of_the_driver_come_back) {
  ForEach([](const Case& c) {
    auto algorithm = *MakeAlgorithm(c.algorithm);
    FirstPhase driver;
    driver.data = DataShape::Of(c.source->schema());
    const auto blueprint = algorithm->Declare(*Params::Parse(algorithm->params(), {}), driver.data);
    BOOST_REQUIRE(blueprint.ok());
    for (const TableSpec& spec : blueprint->tables) BOOST_TEST(Validate(spec).ok());
    BOOST_TEST(absl::IsCancelled(algorithm->Drive(driver)));
    const Batch batch = testing::MakeBatch({c.rows.begin(), c.rows.begin() + 100}), other = testing::MakeBatch({c.rows.begin() + 100, c.rows.begin() + 300});
    std::vector<testing::Recorder> outs;
    std::vector<std::vector<Key>> pulls;
    for (int i = 0; i < 2; ++i) {
      const auto plan = *algorithm->MakePlan(driver.phase, batch);
      const auto between = *algorithm->MakePlan(driver.phase, other);   // what another batch leaves behind must not matter
      std::vector<std::vector<float>> values;
      std::vector<RowsView> views;
      for (size_t p = 0; plan != nullptr && p < plan->pulls.size(); ++p) {
        const auto& pull = plan->pulls[p];
        BOOST_TEST(std::set<Key>(pull.keys.begin(), pull.keys.end()).size() == pull.keys.size());
        pulls.push_back(pull.keys);
        values.emplace_back(pull.keys.size() * blueprint->tables[pull.table].width, 0.25f);
        views.push_back({pull.keys, values.back(), blueprint->tables[pull.table].width});
      }
      BOOST_REQUIRE(algorithm->Work(driver.phase, batch, plan.get(), views, outs.emplace_back()).ok());
    }
    if (pulls.size() == 2) BOOST_TEST(pulls[0] == pulls[1]);
    BOOST_TEST(outs[0].keys == outs[1].keys);
    BOOST_TEST(outs[0].gradient == outs[1].gradient);
    BOOST_TEST(outs[0].sum == outs[1].sum);
    BOOST_TEST(outs[0].collected == outs[1].collected);
    BOOST_TEST(outs[0].pushes <= 1);
    if (driver.phase.pushes && outs[0].pushes == 1)   // the ledger: what was read is what is pushed
      BOOST_TEST(std::accumulate(outs[0].nonzeros.begin(), outs[0].nonzeros.end(), uint64_t{0}) == batch.nonzeros());
  });
}

BOOST_AUTO_TEST_CASE(params_are_documented_and_their_defaults_are_within_their_ranges) {
  for (const std::string& name : AlgorithmNames()) {
    const auto algorithm = *MakeAlgorithm(name);
    BOOST_TEST(!algorithm->doc().empty());
    BOOST_TEST(algorithm->doc().find('\n') == std::string::npos);
    BOOST_TEST(algorithm->default_epochs() >= 1);
    const std::vector<ParamSpec> specs = algorithm->params();
    const auto defaults = Params::Parse(specs, {});
    BOOST_REQUIRE(defaults.ok());
    const auto again = Params::Parse(specs, defaults->ToText());   // each default passes its own check
    BOOST_TEST(again.ok(), again.status().ToString());
    for (const ParamSpec& spec : specs) {
      BOOST_TEST(!spec.doc.empty(), name << " " << spec.name);
      BOOST_TEST(!Params::Parse(specs, {{spec.name + "x", "1"}}).ok());
      if (spec.default_value.index() == 1 || spec.default_value.index() == 2) BOOST_TEST(!Params::Parse(specs, {{spec.name, "abc"}}).ok());
    }
  }
}

BOOST_AUTO_TEST_CASE(bad_input_gives_errors) {
  ForEachOnEveryHost([](const Case& c, Host& host) {
    LocalOptions options = c.Options();
    options.source = std::make_shared<MemorySource>(c.rows, 50, c.instance->labels() != LabelKind::kNone, 17);
    BOOST_TEST(Message(host.Train(options).status()).find("memory:") == 0);   // of whichever bad piece is met first
    options = c.Options();
    options.params = {{"no_such_parameter", "1"}};
    BOOST_TEST(absl::IsNotFound(host.Train(options).status()));
    if (c.instance->labels() == LabelKind::kNone) return;
    options = c.Options();
    options.source = std::make_shared<MemorySource>(c.rows, 50, false);
    BOOST_TEST(absl::IsInvalidArgument(host.Train(options).status()));
  });
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
