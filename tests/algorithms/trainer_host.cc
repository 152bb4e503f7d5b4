// The hosts that run the real trainer: over actors of this process, and over simulated clusters with every fault there is.
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "algorithms/run/checkpoint.h"
#include "tests/algorithms/host.h"
#include "tests/algorithms/trainer_run.h"
#include "tests/support/seeds.h"
#include "tests/support/sim.h"
#include "tests/support/sim_cluster.h"

namespace troupe::testing {
namespace {

using std::chrono::milliseconds;

/// 0: there is none yet.
uint64_t CheckpointId(Storage& storage) {
  const auto checkpoint = ReadCheckpoint(storage, "mem:/checkpoint");
  return checkpoint.ok() ? checkpoint->id : 0;
}

absl::StatusOr<HostResult> ResultOf(const absl::StatusOr<TrainReport>& report, Storage& storage, uint64_t falls) {
  TROUPE_RETURN_IF_ERROR(report.status());
  TROUPE_TRY(std::shared_ptr<const Model> model, LoadModel(storage, kModel));
  HostResult result{ShowModel(*model, true), {}, model, report->ledger_read, report->ledger_applied, falls};
  for (const auto& [epoch, value] : report->losses) result.reports.push_back({epoch, report->loss_name, value});
  return result;
}

/// Everything in this process.
class LocalHost : public Host {
 public:
  LocalHost(uint32_t workers, uint32_t shards) : workers_(workers), shards_(shards) {}
  std::string name() const override { return absl::StrCat("trainer (workers ", workers_, ", shards ", shards_, ")"); }
  absl::StatusOr<HostResult> Train(const LocalOptions& local) override {
    System system({.compute_threads = 2});
    return ResultOf(TrainIn(system, OptionsOf(local, workers_, shards_)), system.storage(), 0);
  }

 protected:
  const uint32_t workers_, shards_;
};

/// Falls after its first wait, is taken up, falls after its second, and so on until it is done.
class FallingLocalHost final : public LocalHost {
 public:
  using LocalHost::LocalHost;
  std::string name() const override { return "trainer that falls and is taken up again"; }
  bool stands() const override { return false; }
  absl::StatusOr<HostResult> Train(const LocalOptions& local) override {
    System system({.compute_threads = 2});
    TrainOptions options = OptionsOf(local, workers_, shards_);
    KeepCheckpoints(options);
    uint64_t falls = 0;
    const auto report = TrainFalling(
        system, options, [](const ClusterOptions&) {}, [&] { falls += CheckpointId(system.storage()) > 0; });
    return ResultOf(report, system.storage(), falls);
  }
};

uint64_t SimSeed() {
  return NumberFromEnvironment("TROUPE_SIM_SEED", 1);
}

Faults BadNetwork() {
  return {.drop = 0.002, .twice = 1, .slow = 0.01, .ordered = false, .cut_every = milliseconds(100), .cuts_max = 3, .cut_max = milliseconds(20)};
}

/// Three workers and some shards on nodes of their own, a network that loses, delays, cuts and brings everything twice.
class SimHost : public Host {
 public:
  explicit SimHost(uint32_t shards) : shards_(shards) {}
  std::string name() const override { return absl::StrCat("simulation (TROUPE_SIM_SEED=", SimSeed(), ")"); }
  absl::StatusOr<HostResult> Train(const LocalOptions& local) override {
    Sim sim(SimSeed(), faults());
    uint64_t falls = 0;
    const auto report = Run(sim, OptionsOf(local, kWorkers, shards_), local.source, falls);
    return ResultOf(report, sim.storage(), falls + sim.crashes());
  }

 protected:
  static constexpr uint32_t kWorkers = 3;
  const uint32_t shards_;
  virtual Faults faults() const { return BadNetwork(); }
  virtual absl::StatusOr<TrainReport> Run(Sim& sim, const TrainOptions& options, std::shared_ptr<const Source> source, uint64_t&) {
    return troupe::Train(options, sim.storage(), Nodes(sim, "mem:/job", std::move(source)), {});
  }
  static ClusterFactory Nodes(Sim& sim, std::string folder, std::shared_ptr<const Source> source) {
    return SimulatedCluster(
        sim, {.folder = std::move(folder), .request_timeout = milliseconds(100), .pull_wait_max = milliseconds(50), .source = std::move(source)});
  }
};

/// Its workers fall: with batches that are planned and not worked on, worked on and not pushed, pushed and not acknowledged. With one shard a push has
/// arrived or not; with more, what one of them has lost is made again with rows of the others that are a round newer.
class FallingWorkersHost final : public SimHost {
 public:
  using SimHost::SimHost;
  std::string name() const override { return SimHost::name() + " whose workers fall"; }
  bool exact() const override { return shards_ == 1; }
  bool stands() const override { return false; }

 protected:
  absl::StatusOr<TrainReport> Run(Sim& sim, const TrainOptions& options, std::shared_ptr<const Source> source, uint64_t&) override {
    const ClusterFactory nodes = Nodes(sim, "mem:/job", std::move(source));
    return troupe::Train(options, sim.storage(),
                         [&](const ClusterOptions& cluster) {
                           for (uint32_t i = 0; i < 4 * kWorkers; ++i)
                             sim.After(sim.Below(milliseconds(10 << i / 2)),
                                       [this, &sim, i] { sim.Crash(NodeId{1 + shards_ + i % kWorkers}, sim.Below(milliseconds(20))); });
                           return nodes(cluster);
                         },
                         {});
  }
};

/// Every node but the trainer's falls.
class FallingNodesHost final : public SimHost {
 public:
  using SimHost::SimHost;
  std::string name() const override { return SimHost::name() + " whose nodes fall"; }
  bool exact() const override { return false; }
  bool stands() const override { return false; }

 protected:
  Faults faults() const override {
    Faults faults = BadNetwork();
    faults.crash_every = milliseconds(15);
    faults.crashes_max = 8;
    return faults;
  }
};

/// All of it ends soon after each of its first checkpoints, and is taken up from there.
class FallingTrainerHost final : public SimHost {
 public:
  using SimHost::SimHost;
  std::string name() const override { return SimHost::name() + " whose trainer falls"; }
  bool stands() const override { return false; }

 protected:
  Faults faults() const override {
    Faults faults = BadNetwork();
    faults.twice = 0.1;   // a request for a checkpoint that comes twice is given up and begun anew
    return faults;
  }
  absl::StatusOr<TrainReport> Run(Sim& sim, const TrainOptions& given, std::shared_ptr<const Source> source, uint64_t& falls) override {
    constexpr uint64_t kFalls = 4;
    TrainOptions options = given;
    KeepCheckpoints(options);
    for (;;) {
      sim.SetLimits(std::chrono::hours(1), UINT64_MAX);
      if (falls < kFalls) FallAfterCheckpoint(sim, CheckpointId(sim.storage()));
      auto report = troupe::Train(options, sim.storage(), Nodes(sim, absl::StrCat("mem:/job-", falls), source), {});
      if (!absl::IsDeadlineExceeded(report.status()) || falls == kFalls) return report;
      ++falls;
    }
  }

 private:
  static void FallAfterCheckpoint(Sim& sim, uint64_t id) {
    sim.After(milliseconds(1), [&sim, id] {
      if (CheckpointId(sim.storage()) == id) return FallAfterCheckpoint(sim, id);
      sim.After(sim.Below(milliseconds(30)), [&sim] { sim.SetLimits(milliseconds(0), 0); });
    });
  }
};

const bool registered = RegisterHost(std::make_unique<LocalHost>(1, 1)) && RegisterHost(std::make_unique<LocalHost>(3, 2)) &&
                        RegisterHost(std::make_unique<FallingLocalHost>(3, 2)) && RegisterHost(std::make_unique<SimHost>(2)) &&
                        RegisterHost(std::make_unique<FallingWorkersHost>(1)) && RegisterHost(std::make_unique<FallingNodesHost>(2)) &&
                        RegisterHost(std::make_unique<FallingTrainerHost>(2));

}   // namespace
}   // namespace troupe::testing
