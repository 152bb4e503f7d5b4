// Training runs whose ranges move at any moment, on simulated clusters with every fault there is: the same counts, and under BSP the oracle's model bit for
// bit.
#include <boost/test/unit_test.hpp>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "algorithms/model.h"
#include "algorithms/run/checkpoint.h"
#include "algorithms/run/local_runner.h"
#include "algorithms/run/trainer.h"
#include "tests/support/pieces.h"
#include "tests/support/seeds.h"
#include "tests/support/sim.h"
#include "tests/support/sim_cluster.h"

namespace troupe::testing {
namespace {

using std::chrono::milliseconds;
const char* const kData = "generate:ctr?rows=400&seed=3";
constexpr uint64_t kRows = 400;

std::shared_ptr<const Source> Data() {
  static const std::shared_ptr<const Source> source = InPieces(**OpenSource({.uri = kData}), 10);
  return source;
}

struct Outcome {
  absl::StatusOr<TrainReport> report = absl::UnknownError("");
  std::string model;
  uint64_t crashes = 0;
  std::string about;
};

TrainOptions OptionsOf(Random& random, const std::string& algorithm) {
  TrainOptions options;
  options.algorithm = algorithm;
  options.data.uri = kData;
  options.epochs = 1;
  if (algorithm == "logistic_regression") {
    options.params = {{"batch_size", "10"}};
    options.epochs = 2;
  }
  options.workers = static_cast<uint32_t>(1 + random.Below(3));
  options.splits = options.workers + static_cast<uint32_t>(random.Below(2));
  options.shards = static_cast<uint32_t>(2 + random.Below(3));
  if (random.Below(4) == 0) options.held_bytes = 20'000;
  if (random.Below(4) == 0) options.replicas = {.bytes_max = 1 << 20, .staleness = 2};
  options.memory_bytes = 64 << 20;
  options.model_uri = "mem:/model";
  options.rebalance_every_s = 0;
  return options;
}

Outcome Simulate(uint64_t seed, TrainOptions options, const Faults& faults) {
  Sim sim(seed, faults);
  options.choose_moves = [&sim](const RangeMap& map) {
    std::map<std::pair<uint32_t, uint32_t>, RangeMove> moves;
    for (uint64_t i = sim.random().Below(6); i > 0; --i) {
      const uint32_t table = map.FirstLike(static_cast<uint32_t>(sim.random().Below(map.tables())));
      const auto range = static_cast<uint32_t>(sim.random().Below(map.ranges(table))), to = static_cast<uint32_t>(sim.random().Below(map.shards()));
      if (map.ShardOf(table, range) != to) moves[{table, range}] = {table, range, to};
    }
    std::vector<RangeMove> chosen;
    for (const auto& [range, move] : moves) chosen.push_back(move);
    return chosen;
  };
  SimClusterOptions cluster;
  cluster.source = Data();
  cluster.snapshot_interval = milliseconds(2 + sim.random().Below(40));
  Outcome outcome;
  outcome.report = Train(options, sim.storage(), SimulatedCluster(sim, cluster), {});
  outcome.crashes = sim.crashes();
  outcome.about = absl::StrCat("TROUPE_SIM_SEED=", seed, ": ", options.algorithm, " ", ToString(options.consistency), ", ", options.workers, " workers, ",
                               *options.splits, " splits, ", options.shards, " shards, held ", options.held_bytes, ", replicas ", options.replicas.bytes_max,
                               ", crashes ", outcome.crashes, ", steps ", sim.steps(), ": ", outcome.report.ok() ? "done" : outcome.report.status().ToString());
  if (outcome.report.ok()) {
    const auto model = LoadModel(sim.storage(), "mem:/model");
    BOOST_REQUIRE_MESSAGE(model.ok(), outcome.about << model.status().ToString());
    outcome.model = ShowModel(**model, true);
  }
  return outcome;
}

const std::string& Oracle(const TrainOptions& options) {
  static std::map<std::tuple<std::string, uint32_t>, std::string> known;
  std::string& found = known[{options.algorithm, *options.splits}];
  if (found.empty()) {
    const auto result = RunLocal(
        {.algorithm = options.algorithm, .params = options.params, .source = Data(), .splits = *options.splits, .epochs = *options.epochs, .resumed = {}});
    BOOST_REQUIRE_MESSAGE(result.ok(), result.status().ToString());
    const auto model = MakeModel(*result);
    BOOST_REQUIRE(model.ok());
    found = ShowModel(**model, true);
  }
  return found;
}

bool CheckLedger(const Outcome& outcome) {
  BOOST_TEST(outcome.report.ok(), outcome.about);
  if (!outcome.report.ok()) return false;
  BOOST_TEST(outcome.report->ledger_read == outcome.report->ledger_applied,
             outcome.about << ": read " << outcome.report->ledger_read << ", applied " << outcome.report->ledger_applied);
  BOOST_TEST(outcome.report->rows == kRows, outcome.about);
  return true;
}

BOOST_AUTO_TEST_SUITE(SimulatedRebalancing)

BOOST_AUTO_TEST_CASE(counts_are_exact_wherever_ranges_go_and_whoever_falls) {
  uint64_t moves = 0;
  for (const uint64_t seed : Seeds(200)) {
    Random random(seed);
    TrainOptions options = OptionsOf(random, "naive_bayes");
    constexpr Consistency::Kind kKinds[] = {Consistency::Kind::kBsp, Consistency::Kind::kSsp, Consistency::Kind::kDelay, Consistency::Kind::kAsp};
    options.consistency = Consistency{.kind = kKinds[random.Below(4)], .staleness = 2, .delay = milliseconds(1 + random.Below(50))};
    options.replicas = {};
    const Outcome outcome = Simulate(seed, options, AnyCrashes(random));
    if (!CheckLedger(outcome)) continue;
    BOOST_TEST(outcome.model == Oracle(options), outcome.about << ": counts differ from the oracle's");
    moves += outcome.report->moves.size();
  }
  BOOST_TEST(moves > 0u);
}

BOOST_AUTO_TEST_CASE(bsp_is_the_oracle_bit_for_bit_wherever_ranges_go) {
  uint64_t moves = 0;
  for (const uint64_t seed : Seeds(100)) {
    Random random(seed);
    TrainOptions options = OptionsOf(random, "logistic_regression");
    options.replicas = {};
    const Outcome outcome = Simulate(seed, options, AnyBadNetwork(random));
    if (!CheckLedger(outcome)) continue;
    BOOST_TEST(outcome.model == Oracle(options), outcome.about << ": weights differ from the oracle's");
    moves += outcome.report->moves.size();
  }
  BOOST_TEST(moves > 0u);
}

BOOST_AUTO_TEST_CASE(every_consistency_with_copies_and_falls_applies_every_push_once) {
  for (const uint64_t seed : Seeds(100)) {
    Random random(seed);
    TrainOptions options = OptionsOf(random, "logistic_regression");
    options.consistency = Consistency{.kind = random.Below(2) == 0 ? Consistency::Kind::kSsp : Consistency::Kind::kAsp, .staleness = 2};
    const Outcome outcome = Simulate(seed, options, AnyCrashes(random));
    if (CheckLedger(outcome)) BOOST_TEST(LogLoss(outcome.report->metrics) < 0.69, outcome.about);
  }
}

BOOST_AUTO_TEST_CASE(a_run_that_is_taken_up_goes_on_with_the_map_of_its_checkpoint) {
  uint64_t taken_up = 0;
  for (const uint64_t seed : Seeds(160)) {
    Random random(seed);
    TrainOptions options = OptionsOf(random, "naive_bayes");
    options.replicas = {};
    options.checkpoint_uri = "mem:/checkpoint";
    options.checkpoint_every_s = 0;
    options.resume = true;
    Sim sim(seed, AnyBadNetwork(random));
    options.choose_moves = [&sim](const RangeMap& map) {
      const auto range = static_cast<uint32_t>(sim.random().Below(map.ranges(0)));
      return std::vector<RangeMove>{{0, range, (map.ShardOf(0, range) + 1) % map.shards()}};
    };
    SimClusterOptions cluster;
    cluster.source = Data();
    absl::StatusOr<TrainReport> report = absl::UnknownError("");
    for (int run = 0; run < 3 && !report.ok(); ++run) {
      sim.SetLimits(run < 2 ? milliseconds(20 + random.Below(300)) : milliseconds(3'600'000), UINT64_MAX);   // all of it ends here
      if (ReadCheckpoint(sim.storage(), "mem:/checkpoint").ok()) ++taken_up;
      cluster.folder = absl::StrCat("mem:/job-", run);
      report = Train(options, sim.storage(), SimulatedCluster(sim, cluster), {});
    }
    BOOST_TEST_REQUIRE(report.ok(), "seed " << seed << ": " << report.status().ToString());
    BOOST_TEST(report->ledger_read == report->ledger_applied, "seed " << seed);
    const auto model = LoadModel(sim.storage(), "mem:/model");
    BOOST_REQUIRE(model.ok());
    BOOST_TEST(ShowModel(**model, true) == Oracle(options), "seed " << seed);
  }
  BOOST_TEST(taken_up > 0u);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::testing
