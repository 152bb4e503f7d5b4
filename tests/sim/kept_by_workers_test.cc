// Tables that the workers keep, in whole runs. On simulated nodes that fall, over networks that lose, delay, double and cut: the model of an undisturbed run,
// bit for bit, the same at every worker, each batch once. Server-side functions: what reads answers what the serial oracle does, what changes rows is refused.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/gather.h"
#include "actors/proxy.h"
#include "actors/status.h"
#include "algorithms/model.h"
#include "algorithms/registry.h"
#include "algorithms/run/checkpoint.h"
#include "algorithms/run/local_runner.h"
#include "algorithms/run/start_worker.h"
#include "algorithms/run/trainer.h"
#include "caf/send.hpp"
#include "ps/group/wire.h"
#include "tests/algorithms/memory_source.h"
#include "tests/support/seeds.h"
#include "tests/support/sim.h"
#include "tests/support/sim_cluster.h"

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

// --- faults ---

using std::chrono::milliseconds;

/// Rows of two classes; 5 columns, pieces that do not divide evenly among the splits.
std::shared_ptr<const Source> InSmallPieces() {
  static const auto source = [] {
    Random random(11);
    std::vector<TestRow> rows(400);
    for (TestRow& row : rows) {
      double margin = 0.2;
      for (int j = 0; j < 5; ++j) {
        row.dense.push_back(static_cast<float>(random.Normal()));
        margin += (j - 2) * 0.6 * double{row.dense.back()};
      }
      row.label = random.Uniform() < 1 / (1 + std::exp(-margin)) ? 1.0f : 0.0f;
    }
    return std::make_shared<MemorySource>(rows, 15);
  }();
  return source;
}

struct Job {
  std::string algorithm = "logistic_regression";
  std::string consistency = "ring";
  uint32_t workers = 1, splits = 1, shards = 1;
  bool checkpoints = false;
};

TrainOptions OptionsOf(const Job& job) {
  TrainOptions options;
  options.algorithm = job.algorithm;
  options.params = {{"batch_size", "10"}, {"rule", "adam"}, {"learning_rate", "0.02"}};
  if (job.algorithm == "k_means") options.params = {{"k", "3"}};
  options.data.uri = "generated";
  options.opened = InSmallPieces();
  options.epochs = job.algorithm == "k_means" ? 5 : 2;
  options.workers = job.workers;
  options.splits = job.splits;
  options.shards = job.shards;
  options.consistency = *ParseConsistencies(job.consistency);
  options.memory_bytes = 64 << 20;
  options.model_uri = "mem:/model";
  if (job.checkpoints) options.checkpoint_uri = "mem:/checkpoint";
  options.checkpoint_every_s = 0;
  return options;
}

std::string ModelIn(Storage& storage) {
  const auto model = LoadModel(storage, "mem:/model");
  BOOST_REQUIRE_MESSAGE(model.ok(), model.status().ToString());
  return ShowModel(**model, true);
}

/// The model of the same job in one process, where nothing falls.
const std::string& Calm(const Job& job) {
  static std::map<std::tuple<std::string, std::string, uint32_t, uint32_t, uint32_t>, std::string> known;
  std::string& found = known[{job.algorithm, job.consistency, job.workers, job.splits, job.shards}];
  if (found.empty()) {
    System system({.compute_threads = 2});
    Job calm = job;
    calm.checkpoints = false;
    const auto report = Train(OptionsOf(calm), system.storage(), [&](const ClusterOptions& cluster) { return MakeLocalCluster(system, cluster); }, {});
    BOOST_REQUIRE_MESSAGE(report.ok(), report.status().ToString());
    found = ModelIn(system.storage());
  }
  return found;
}

/// A cluster whose workers' copies are all compared before it ends.
class Compared final : public Cluster {
 public:
  /// `comparing` is set when the run is over.
  Compared(Sim& sim, std::unique_ptr<Cluster> cluster, uint32_t first, uint32_t workers, bool& comparing)
      : sim_(sim), cluster_(std::move(cluster)), first_(first), workers_(workers), comparing_(comparing) {}
  ~Compared() override {
    if (!over_) return;   // an error, or a trainer that falls: nothing stands to be compared
    comparing_ = true;
    std::vector<ShardActor> members;
    for (uint32_t i = 0; i < workers_; ++i) {
      members.push_back(SpawnProxy<ShardActor>(system(), {.to = {NodeId{first_ + i}, Incarnation{0}, kMemberActor}, .timeout = milliseconds(1'500)}));
    }
    Ending ending;
    absl::Status status;
    Gather<RowsSaved>(
        system(), members, [](size_t i) { return SaveRows{.uri = absl::StrCat("mem:/copy-", i), .at = 0, .assigned = {}}; }, {},
        [&](absl::StatusOr<std::vector<RowsSaved>> saved) {
          status = saved.status();
          ending.Set();
        });
    status.Update(cluster_->Await(ending));
    BOOST_TEST(status.ok(), status.ToString());
    for (uint32_t i = 1; i < workers_ && status.ok(); ++i) {
      const auto first = sim_.storage().Read("mem:/copy-0"), other = sim_.storage().Read(absl::StrCat("mem:/copy-", i));
      BOOST_REQUIRE(first.ok() && other.ok());
      BOOST_TEST((first->size() == other->size() && std::equal(first->data(), first->data() + first->size(), other->data())));
    }
    for (const ShardActor& member : members) caf::anon_send_exit(member, caf::exit_reason::kill);
  }
  System& system() override { return cluster_->system(); }
  const std::vector<WorkerActor>& workers() const override { return cluster_->workers(); }
  const std::vector<ShardActor>& shards() const override { return cluster_->shards(); }
  uint64_t restarts() const override {   // a run asks for it last of all
    over_ = true;
    return cluster_->restarts();
  }
  absl::Status Await(Ending& ending) override {
    const absl::Status status = cluster_->Await(ending);
    over_ = false;
    return status;
  }

 private:
  Sim& sim_;
  std::unique_ptr<Cluster> cluster_;
  const uint32_t first_, workers_;   // nodes
  bool& comparing_;
  mutable bool over_ = false;
};

struct Outcome {
  absl::StatusOr<TrainReport> report = absl::UnknownError("");
  std::string model;
  uint64_t trace = 0, crashes = 0, taken_up = 0;
};

/// `falls`: how often all of it ends soon after a new checkpoint, and is taken up from there.
Outcome Simulate(uint64_t seed, const Job& job, const Faults& faults, uint64_t falls = 0) {
  Sim sim(seed, faults);
  Outcome outcome;
  TrainOptions options = OptionsOf(job);
  options.resume = falls > 0;
  uint32_t node = 1;
  bool comparing = false;
  const auto checkpoint = [&sim] {
    const auto found = ReadCheckpoint(sim.storage(), "mem:/checkpoint");
    return found.ok() ? found->id : 0;
  };
  std::function<void(uint64_t)> fall_after = [&](uint64_t id) {
    sim.After(milliseconds(1), [&, id] {
      if (checkpoint() == id) return fall_after(id);
      sim.After(sim.Below(milliseconds(30)), [&] {
        if (!comparing) sim.SetLimits(milliseconds(0), 0);
      });
    });
  };
  for (uint64_t fall = 0;; ++fall) {
    sim.SetLimits(std::chrono::hours(1), 20'000'000 * (fall + 1));
    if (fall < falls) fall_after(checkpoint());
    const auto factory = SimulatedCluster(sim, {.folder = absl::StrCat("mem:/job-", fall),
                                                .snapshot_interval = milliseconds(2 + sim.random().Below(40)),
                                                .request_timeout = milliseconds(100),
                                                .pull_wait_max = milliseconds(50),
                                                .source = InSmallPieces()});
    outcome.report = Train(options, sim.storage(),
                           [&](const ClusterOptions& cluster) -> absl::StatusOr<std::unique_ptr<Cluster>> {
                             outcome.taken_up += !cluster.restore_uris.empty();
                             TROUPE_TRY(std::unique_ptr<Cluster> made, factory(cluster));
                             const uint32_t first = node + cluster.shards;
                             node = first + cluster.workers;
                             return std::make_unique<Compared>(sim, std::move(made), first, cluster.workers, comparing);
                           },
                           {});
    if (!absl::IsDeadlineExceeded(outcome.report.status()) || fall == falls) break;
  }
  outcome.trace = sim.trace();
  outcome.crashes = sim.crashes();
  if (outcome.report.ok()) outcome.model = ModelIn(sim.storage());
  return outcome;
}

Job AnyJob(Random& random) {
  Job job;
  job.consistency = random.Below(2) == 0 ? "ring" : "tree";
  job.workers = static_cast<uint32_t>(1 + random.Below(4));
  job.splits = job.workers + static_cast<uint32_t>(random.Below(3));
  job.shards = static_cast<uint32_t>(1 + random.Below(2));
  return job;
}

Faults WithCrashes(Random& random) {
  Faults faults = AnyBadNetwork(random);
  faults.crash_every = milliseconds(5 + random.Below(40));
  faults.crashes_max = 10;
  faults.down_max = milliseconds(1 + random.Below(60));   // several may be down at once, or all
  return faults;
}

void CheckExact(const Job& job, const Outcome& outcome) {
  BOOST_REQUIRE_MESSAGE(outcome.report.ok(), outcome.report.status().ToString());
  BOOST_TEST((outcome.report->ledger_read > 0u) == (job.algorithm != "k_means"));   // which assigns, and pushes nothing
  BOOST_TEST(outcome.report->ledger_applied == outcome.report->ledger_read);
  BOOST_TEST((outcome.model == Calm(job)));
}

BOOST_AUTO_TEST_SUITE(KeptByWorkers)

BOOST_AUTO_TEST_CASE(a_bad_network_changes_nothing) {
  for (const uint64_t seed : Seeds(100)) {
    Random random(seed);
    const Job job = AnyJob(random);
    BOOST_TEST_CONTEXT("TROUPE_SIM_SEED=" << seed << " " << job.consistency << ", " << job.workers << " workers") {
      CheckExact(job, Simulate(seed, job, AnyBadNetwork(random)));
    }
  }
}

BOOST_AUTO_TEST_CASE(whoever_falls_the_model_has_the_same_bits_at_every_worker) {
  uint64_t crashes = 0;
  for (const uint64_t seed : Seeds(200)) {
    Random random(1000 + seed);
    Job job = AnyJob(random);
    job.checkpoints = random.Below(3) == 0;
    BOOST_TEST_CONTEXT("TROUPE_SIM_SEED=" << seed << " " << job.consistency << ", " << job.workers << " workers, " << job.shards << " shards") {
      const Outcome outcome = Simulate(seed, job, WithCrashes(random));
      CheckExact(job, outcome);
      crashes += outcome.crashes;
    }
  }
  BOOST_TEST(crashes > 0u);
}

BOOST_AUTO_TEST_CASE(rows_that_were_assigned_outlive_whoever_falls) {
  for (const uint64_t seed : Seeds(100)) {
    Random random(4000 + seed);
    Job job = AnyJob(random);
    job.algorithm = "k_means";
    BOOST_TEST_CONTEXT("TROUPE_SIM_SEED=" << seed << " " << job.consistency << ", " << job.workers << " workers, " << job.shards << " shards") {
      CheckExact(job, Simulate(seed, job, WithCrashes(random)));
    }
  }
}

BOOST_AUTO_TEST_CASE(beside_tables_at_shards_every_batch_counts_once) {
  for (const uint64_t seed : Seeds(50)) {
    Random random(2000 + seed);
    Job job = AnyJob(random);
    job.consistency = random.Below(2) == 0 ? "asp,w=ring" : "ssp:2,w=tree";
    BOOST_TEST_CONTEXT("TROUPE_SIM_SEED=" << seed << " " << job.consistency << ", " << job.workers << " workers, " << job.shards << " shards") {
      CheckExact(job, Simulate(seed, job, WithCrashes(random)));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_run_that_ends_is_taken_up_from_its_last_checkpoint) {
  uint64_t taken_up = 0;
  for (const uint64_t seed : Seeds(30)) {
    Random random(3000 + seed);
    Job job = AnyJob(random);
    job.checkpoints = true;
    BOOST_TEST_CONTEXT("TROUPE_SIM_SEED=" << seed << " " << job.consistency << ", " << job.workers << " workers, " << job.shards << " shards") {
      Faults faults = WithCrashes(random);
      faults.crashes_max = 3;
      const Outcome outcome = Simulate(seed, job, faults, 2);
      CheckExact(job, outcome);
      taken_up += outcome.taken_up;
    }
  }
  BOOST_TEST(taken_up > 0u);
}

BOOST_AUTO_TEST_CASE(the_same_seed_is_the_same_run) {
  Random random(7);
  Job job = AnyJob(random);
  job.workers = job.splits = 3;
  const Faults faults = WithCrashes(random);
  BOOST_TEST(Simulate(7, job, faults).trace == Simulate(7, job, faults).trace);
}

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
