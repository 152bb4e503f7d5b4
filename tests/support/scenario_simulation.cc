#include "tests/support/scenario_simulation.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "algorithms/model.h"
#include "algorithms/run/local_runner.h"
#include "algorithms/run/trainer.h"
#include "tests/support/pieces.h"
#include "tests/support/sim.h"
#include "tests/support/sim_cluster.h"

namespace troupe::testing {
namespace {

using std::chrono::milliseconds;

constexpr NodeId kDriver{0};
constexpr int kAttemptsMax = 3;   // of a driver, as on a cluster
const char* const kModel = "mem:/model";

std::string DataOf(const Scenario& scenario) {
  return absl::StrCat("generate:ctr?rows=", scenario.workload.rows, "&seed=3");
}

TrainOptions OptionsOf(const Workload& workload, const std::string& data) {
  TrainOptions options;
  options.algorithm = workload.algorithm;
  options.params = workload.params;
  options.data.uri = data;
  options.epochs = workload.epochs;
  options.workers = workload.workers;
  options.splits = workload.splits;
  options.shards = workload.shards;
  options.replication = workload.replication;
  options.consistency = workload.consistency;
  options.memory_bytes = 64 << 20;
  options.model_uri = kModel;
  options.checkpoint_every_s = 0;
  if (workload.checkpoint) {
    options.checkpoint_uri = "mem:/checkpoint";
    options.resume = true;
  }
  return options;
}

/// What a scenario's undisturbed run and the serial oracle say; computed once.
struct Calm {
  std::shared_ptr<const Source> data;
  std::string model;
  Sim::Duration time{};
};

/// One run with its faults.
class Run {
 public:
  Run(const Scenario& scenario, uint64_t seed, const Calm& calm) : scenario_(scenario), calm_(calm), sim_(seed, {}) {}

  ScenarioOutcome Go(const std::vector<TimedFault>& plan) {
    outcome_.plan = plan;
    sim_.SetLimits(milliseconds(*scenario_.expect.end_ms), 50'000'000);
    for (const TimedFault& fault : plan) {
      if (WhyNot(World::kSimulation, fault)) continue;
      sim_.After(calm_.time * fault.at / 1'000, [this, fault] {
        if (Happen(fault)) outcome_.happened.push_back(fault);
      });
    }
    const auto report = Train();
    outcome_.trace = sim_.trace();
    outcome_.restarts = sim_.restarts();
    Check(report);
    return std::move(outcome_);
  }
  Sim& sim() { return sim_; }

  /// A driver that is lost begins again, with other processes.
  absl::StatusOr<TrainReport> Train() {
    TrainOptions options = OptionsOf(scenario_.workload, DataOf(scenario_));
    for (int attempt = 1;; ++attempt) {
      SimClusterOptions cluster;
      cluster.folder = absl::StrCat("mem:/job-", attempt);
      cluster.source = calm_.data;
      cluster.snapshot_interval = milliseconds(2 + sim_.random().Below(40));
      cluster.placed = [this](const SimPlaces& places) { places_ = places; };
      auto report = troupe::Train(options, sim_.disk(kDriver), SimulatedCluster(sim_, cluster), {});
      places_ = {};
      if (report.ok() || !std::exchange(driver_lost_, false) || attempt == kAttemptsMax) return report;
    }
  }

 private:
  /// On which host a process lies: as a cluster's head deals them, replicas of a shard apart.
  std::map<NodeId, uint32_t> Hosts() const {
    const uint32_t hosts = scenario_.workload.nodes;
    std::map<NodeId, uint32_t> at{{kDriver, 0}};
    for (uint32_t i = 0; i < places_.workers.size(); ++i) at[places_.workers[i]] = i % hosts;
    for (uint32_t s = 0; s < places_.shards.size(); ++s) {
      for (uint32_t r = 0; r < places_.shards[s].size(); ++r) at[places_.shards[s][r]] = (s + r) % hosts;
    }
    return at;
  }

  std::vector<NodeId> Victims(const TimedFault& fault) const {
    const auto one = [&](const std::vector<NodeId>& all) { return all.empty() ? std::vector<NodeId>() : std::vector<NodeId>{all[fault.choice % all.size()]}; };
    switch (fault.target) {
      case FaultTarget::kHead:
        return {};
      case FaultTarget::kDriver:
        return {kDriver};
      case FaultTarget::kWorker:
        return one(places_.workers);
      case FaultTarget::kShard: {
        std::vector<NodeId> all;
        for (const std::vector<NodeId>& members : places_.shards) all.insert(all.end(), members.begin(), members.end());
        return one(all);
      }
      case FaultTarget::kNode:
        break;
    }
    std::vector<NodeId> there;
    for (const auto& [node, host] : Hosts()) {
      if (host == fault.choice % scenario_.workload.nodes) there.push_back(node);
    }
    return there;
  }

  /// False: there is nobody to whom it could.
  bool Happen(const TimedFault& fault) {
    if (places_.workers.empty()) return false;   // between two attempts, or before the first
    std::vector<NodeId> victims = Victims(fault);
    std::erase_if(victims, [&](NodeId node) { return !sim_.up(node); });
    const milliseconds lasts(fault.lasts_ms), by(fault.by_ms);
    for (const NodeId victim : victims) {
      switch (fault.kind) {
        case FaultKind::kKill:
          Kill(victim, lasts);
          break;
        case FaultKind::kStop:
          sim_.Freeze(victim, lasts);
          break;
        case FaultKind::kCut:
          CutOff(victim, victims, lasts, (fault.choice >> 32) % 2 == 0);
          break;
        case FaultKind::kDrop:
          sim_.Lose(victim, lasts, fault.probability);
          break;
        case FaultKind::kDelay:
          sim_.Late(victim, lasts, by);
          break;
        case FaultKind::kDiskFull:
          FillDisk(victim, fault);
          break;
        case FaultKind::kClockStep:
          sim_.StepClock(victim, by);
          break;
      }
    }
    return !victims.empty();
  }
  void Kill(NodeId victim, milliseconds lasts) {
    if (victim == kDriver) {
      driver_lost_ = true;
      return sim_.Interrupt(absl::UnavailableError("the driver has been killed"));
    }
    sim_.Crash(victim, lasts.count() > 0 ? Sim::Duration(lasts) : Sim::Duration(1'000) + sim_.Below(Sim::Duration(50'000)));
  }
  /// From all that are not on its side.
  void CutOff(NodeId victim, const std::vector<NodeId>& side, milliseconds lasts, bool refused) {
    for (const auto& [other, host] : Hosts()) {
      if (std::find(side.begin(), side.end(), other) == side.end()) sim_.Cut(victim, other, lasts, refused);
    }
  }
  void FillDisk(NodeId victim, const TimedFault& fault) {
    FaultyStorage& disk = sim_.disk(victim);
    if (fault.at_write) return disk.FailChange(*fault.at_write);
    disk.FullAfter(0);
    sim_.After(milliseconds(fault.lasts_ms), [&disk] { disk.Heal(); });
  }

  void Check(const absl::StatusOr<TrainReport>& report) {
    const Expectations& expect = scenario_.expect;
    const auto broken = [&](std::string what) { outcome_.broken.push_back(std::move(what)); };
    if (!report.ok()) {
      outcome_.disk_full = expect.or_disk_full && absl::IsResourceExhausted(report.status());
      if (!outcome_.disk_full) broken(absl::StrCat("the run has failed: ", report.status().ToString()));
      return;
    }
    if (report->rows != scenario_.workload.rows) broken(absl::StrCat("rows are ", report->rows, ", expected ", scenario_.workload.rows));
    const uint64_t read = report->ledger_read, applied = report->ledger_applied + report->ledger_late;
    if (expect.nothing_lost && applied < read) broken(absl::StrCat("pushes are lost: non-zeros read ", read, ", applied ", applied));
    if (expect.nothing_twice && applied > read) broken(absl::StrCat("pushes count twice: non-zeros read ", read, ", applied ", applied));
    if (!expect.model) return;
    const auto model = LoadModel(sim_.storage(), kModel);
    if (!model.ok()) return broken(absl::StrCat("the model cannot be read: ", model.status().ToString()));
    if (ShowModel(**model, true) != calm_.model) broken("the model is not the oracle's");
  }

  const Scenario& scenario_;
  const Calm& calm_;
  Sim sim_;
  SimPlaces places_;
  bool driver_lost_ = false;
  ScenarioOutcome outcome_;
};

const Calm& CalmOf(const Scenario& scenario) {
  static std::map<std::string, Calm> known;
  Calm& calm = known[scenario.name];
  if (!calm.model.empty()) return calm;
  const auto source = OpenSource({.uri = DataOf(scenario)});
  TROUPE_CHECK(source.ok());
  calm.data = InPieces(**source, 10);
  const Workload& workload = scenario.workload;
  const auto result = RunLocal(
      {.algorithm = workload.algorithm, .params = workload.params, .source = calm.data, .splits = workload.splits, .epochs = workload.epochs, .resumed = {}});
  TROUPE_CHECK(result.ok());
  const auto model = MakeModel(*result);
  TROUPE_CHECK(model.ok());
  calm.model = ShowModel(**model, true);
  Run undisturbed(scenario, 1, calm);
  const Sim::Time start = undisturbed.sim().now();
  const auto report = undisturbed.Train();
  TROUPE_CHECK(report.ok());
  calm.time = std::chrono::duration_cast<Sim::Duration>(undisturbed.sim().now() - start);
  return calm;
}

}   // namespace

ScenarioOutcome Simulate(const Scenario& scenario, uint64_t seed) {
  return Run(scenario, seed, CalmOf(scenario)).Go(PlanFaults(scenario, seed));
}

}   // namespace troupe::testing
