#include "tests/support/scenario_processes.h"

#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/process/cluster_fixture.h"
#include "tests/support/clock_step.h"
#include "tests/support/tcp_relay.h"

namespace troupe::testing {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr rlim_t kFullBytes = 4'096;   // no file grows beyond, on a full disk

/// The words of a process's command line; empty: it is gone.
Words CommandLineOf(pid_t pid) {
  const std::string text = ReadText("/proc/" + std::to_string(pid) + "/cmdline");
  Words words;
  for (size_t at = 0; at < text.size(); at += words.back().size() + 1) words.emplace_back(text.c_str() + at);
  return words;
}

void LimitFiles(pid_t pid, rlim_t bytes) {
  rlimit limit{};
  if (prlimit(pid, RLIMIT_FSIZE, nullptr, &limit) != 0) return;   // it has ended
  limit.rlim_cur = std::min(bytes, limit.rlim_max);
  prlimit(pid, RLIMIT_FSIZE, &limit, nullptr);
}

double Seconds(Clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

}   // namespace

class ScenarioCluster::Impl {
 public:
  explicit Impl(const Scenario& scenario) : scenario_(scenario), cluster_(nullptr) {
    head_clock_ = std::make_unique<SteppedClock>(Path("clock-of-head"));
    StartHead("127.0.0.1:0");
    for (uint32_t i = 0; i < scenario.workload.nodes; ++i) {
      const std::string name = "n" + std::to_string(i);
      Node& node = nodes_.emplace_back();
      node.name = name;
      node.clock = std::make_unique<SteppedClock>(Path("clock-of-" + name));
      node.relay = std::make_unique<TcpRelay>(PortOf(cluster_.places));
      StartNode(node);
    }
    for (const Node& node : nodes_) AwaitUp(node);
    Words alone = Flags("alone");
    const Ended oracle = testing::Run(cluster_.scratch, alone);
    BOOST_REQUIRE_MESSAGE(oracle.code == 0, scenario.name << ": " << oracle.err);
    expected_ = ModelText(cluster_.scratch, Path("alone"));
    const auto start = Clock::now();
    const Ended calm = cluster_.Start(OnCluster("calm"))->Wait();
    calm_seconds_ = Seconds(Clock::now() - start);
    BOOST_REQUIRE_MESSAGE(calm.code == 0, scenario.name << ", undisturbed: " << calm.err);
    BOOST_REQUIRE_MESSAGE(ModelText(cluster_.scratch, Path("calm")) == expected_ || !scenario.expect.model,
                          scenario.name << ", undisturbed: the model is not that of one process");
  }

  double calm_seconds() const { return calm_seconds_; }

  ScenarioOutcome Run(uint64_t seed) {
    ScenarioOutcome outcome;
    outcome.plan = PlanFaults(scenario_, seed);
    lives_.clear();
    undo_.clear();
    const std::string model = "model-" + std::to_string(++runs_);
    const auto start = Clock::now(), limit = start + milliseconds(*scenario_.expect.end_ms);
    std::unique_ptr<Command> job = cluster_.Start(OnCluster(model));
    auto next = outcome.plan.begin();
    while (job->running() && Clock::now() < limit) {
      const auto now = Clock::now();
      while (!undo_.empty() && undo_.begin()->first <= now) Undo();
      if (next != outcome.plan.end() && Seconds(now - start) * 1'000 >= calm_seconds_ * static_cast<double>(next->at)) {
        if (!WhyNot(World::kProcesses, *next)) Attempt(*next, *job, outcome);
        ++next;
        continue;
      }
      Count();
      testing::Sleep(0.01);
    }
    const bool over = !job->running();
    if (over) calm_seconds_ = std::min(calm_seconds_, Seconds(Clock::now() - start));   // the machine had other work when it ran undisturbed
    const std::string status = over ? "" : cluster_.Ask({"status"}).out;
    while (!undo_.empty()) Undo();   // everybody is there again
    if (over) {
      Check(job->Wait(), model, outcome);
    } else {
      outcome.broken.push_back("it has not ended within " + std::to_string(*scenario_.expect.end_ms) + " ms: " + status);
      job->Signal(SIGTERM);
      job->Wait();
    }
    for (const Node& node : nodes_) AwaitUp(node);
    Await("the job's processes have ended", [&] { return ProcessesOfJobs().empty(); });
    return outcome;
  }

 private:
  struct Node {
    std::string name;
    std::unique_ptr<SteppedClock> clock;
    std::unique_ptr<TcpRelay> relay;   // between it, with the drivers that run there, and the head
    std::unique_ptr<Daemon> daemon = nullptr;
  };
  struct Process {
    pid_t pid = 0;
    std::string role, name;   // "shard", "shard 0/1"
  };

  std::string Path(const std::string& name) const { return cluster_.scratch / name; }
  static uint16_t PortOf(const std::string& place) { return static_cast<uint16_t>(std::stoi(place.substr(place.rfind(':') + 1))); }

  void StartHead(const std::string& place) {
    cluster_.head = std::make_unique<Daemon>(cluster_.scratch, cluster_.HeadFlags(place), head_clock_->environment());
    cluster_.head->AwaitPlace();
    cluster_.places = cluster_.head->place;
  }
  void StartNode(Node& node) {
    node.daemon = std::make_unique<Daemon>(cluster_.scratch,
                                           Words{"--join", "127.0.0.1:" + std::to_string(node.relay->port()), "--name", node.name, "--cores", "4", "--state",
                                                 Path(node.name), "--token-file", Path("token")},
                                           node.clock->environment());
  }
  void AwaitUp(const Node& node) {
    cluster_.AwaitStatus(node.name + " is up", [&](const std::string& status) { return Holds(status, "{\"name\":\"" + node.name + "\",\"state\":\"up\""); });
  }

  Words Flags(const std::string& model) const {
    const Workload& workload = scenario_.workload;
    Words flags{"train",
                "--algorithm",
                workload.algorithm,
                "--data",
                "generate:ctr?rows=" + std::to_string(workload.rows_of_processes) + "&seed=3",
                "--workers",
                std::to_string(workload.workers),
                "--splits",
                std::to_string(workload.splits),
                "--shards",
                std::to_string(workload.shards),
                "--epochs",
                std::to_string(workload.epochs),
                "--json",
                "--model",
                Path(model),
                "--consistency",
                troupe::ToString(workload.consistency)};
    for (const auto& [name, value] : workload.params) flags = flags + Words{"--param", name + "=" + value};
    return flags;
  }
  Words OnCluster(const std::string& model) const {
    Words flags = Flags(model) + Words{"--replication", std::to_string(scenario_.workload.replication)};
    if (scenario_.workload.checkpoint) flags = flags + Words{"--checkpoint", Path(model + ".checkpoint"), "--checkpoint-every", "100ms"};
    return flags;
  }

  /// Of jobs of this cluster, in the order of their ids.
  std::vector<Process> ProcessesOfJobs() const {
    std::vector<Process> found;
    for (const Node& node : nodes_) {
      for (const pid_t pid : node.daemon->command->descendants()) {
        const Words words = CommandLineOf(pid);
        if (words.size() < 2 || words[0] != "troupe") continue;
        if (words[1] == "train") found.push_back({pid, "driver", "driver"});
        if ((words[1] == "worker" || words[1] == "shard") && words.size() > 2) found.push_back({pid, words[1], words[1] + " " + words[2]});
      }
    }
    std::sort(found.begin(), found.end(), [](const Process& a, const Process& b) { return std::pair(a.name, a.pid) < std::pair(b.name, b.pid); });
    return found;
  }
  void Count() {
    for (const Process& process : ProcessesOfJobs()) lives_[process.name].insert(process.pid);
  }

  void Later(int64_t ms, std::function<void()> what) { undo_.emplace(Clock::now() + milliseconds(ms), std::move(what)); }
  void Undo() {
    const auto first = undo_.begin();
    const std::function<void()> what = std::move(first->second);
    undo_.erase(first);
    what();
  }

  /// Waits for a victim where there is none yet; the job may be over before.
  void Attempt(const TimedFault& fault, const Command& job, ScenarioOutcome& outcome) {
    const auto until = Clock::now() + std::chrono::seconds(5);
    do {
      if (Happen(fault)) {
        outcome.happened.push_back(fault);
        return;
      }
      testing::Sleep(0.005);
    } while (job.running() && Clock::now() < until);
  }

  bool Happen(const TimedFault& fault) {
    if (fault.target == FaultTarget::kHead) return OfHead(fault);
    if (fault.target == FaultTarget::kNode) return OfNode(fault, nodes_[fault.choice % nodes_.size()]);
    std::vector<Process> all = ProcessesOfJobs();
    std::erase_if(all, [&](const Process& process) { return process.role != ToString(fault.target); });
    return !all.empty() && OfProcesses(fault, {all[fault.choice % all.size()].pid});
  }

  bool OfHead(const TimedFault& fault) {
    switch (fault.kind) {
      case FaultKind::kKill:
        if (!cluster_.head->command->running()) return false;
        cluster_.head->Kill();
        Later(fault.lasts_ms, [this] { StartHead(cluster_.places); });
        return true;
      case FaultKind::kStop:
      case FaultKind::kDiskFull:
        return OfProcesses(fault, {cluster_.head->command->pid()});
      case FaultKind::kClockStep:
        head_clock_->Step(fault.by_ms);
        return true;
      case FaultKind::kCut:
      case FaultKind::kDrop:
      case FaultKind::kDelay:
        for (Node& node : nodes_) OfRelay(fault, *node.relay);
        return true;
    }
    return false;
  }
  bool OfNode(const TimedFault& fault, Node& node) {
    switch (fault.kind) {
      case FaultKind::kKill:
        if (!node.daemon->command->running()) return false;
        node.daemon->Kill();
        Later(fault.lasts_ms, [this, &node] { StartNode(node); });
        return true;
      case FaultKind::kStop:
      case FaultKind::kDiskFull: {
        std::vector<pid_t> all = node.daemon->command->descendants();
        all.push_back(node.daemon->command->pid());
        return node.daemon->command->running() && OfProcesses(fault, all);
      }
      case FaultKind::kClockStep:
        node.clock->Step(fault.by_ms);
        return true;
      case FaultKind::kCut:
      case FaultKind::kDrop:
      case FaultKind::kDelay:
        OfRelay(fault, *node.relay);
        return true;
    }
    return false;
  }
  void OfRelay(const TimedFault& fault, TcpRelay& relay) {
    if (fault.kind == FaultKind::kCut) {
      relay.Cut(true);
      Later(fault.lasts_ms, [&relay] { relay.Cut(false); });
    } else if (fault.kind == FaultKind::kDrop) {
      relay.Drop(fault.probability, fault.choice);
      Later(fault.lasts_ms, [&relay] { relay.Drop(0, 0); });
    } else {
      relay.Delay(milliseconds(fault.by_ms));
      Later(fault.lasts_ms, [&relay] { relay.Delay(milliseconds(0)); });
    }
  }
  bool OfProcesses(const TimedFault& fault, const std::vector<pid_t>& pids) {
    if (fault.kind == FaultKind::kKill || fault.kind == FaultKind::kStop) {
      bool any = false;
      for (const pid_t pid : pids) any |= kill(pid, fault.kind == FaultKind::kKill ? SIGKILL : SIGSTOP) == 0;
      if (fault.kind == FaultKind::kStop) {
        Later(fault.lasts_ms, [pids] {
          for (const pid_t pid : pids) kill(pid, SIGCONT);
        });
      }
      return any;
    }
    for (const pid_t pid : pids) LimitFiles(pid, kFullBytes);
    Later(fault.lasts_ms, [pids] {
      for (const pid_t pid : pids) LimitFiles(pid, RLIM_INFINITY);
    });
    return true;
  }

  void Check(const Ended& ended, const std::string& model, ScenarioOutcome& outcome) {
    const Expectations& expect = scenario_.expect;
    const auto broken = [&](std::string what) { outcome.broken.push_back(std::move(what)); };
    for (const auto& [name, pids] : lives_) {
      outcome.restarts += pids.size() - 1;
      if (expect.restarts_of_each && pids.size() > *expect.restarts_of_each + 1)
        broken(name + " has been replaced " + std::to_string(pids.size() - 1) + " times");
    }
    if (ended.code != 0) {
      outcome.disk_full = expect.or_disk_full && ended.code == 1 && Holds(ended.err, "file too large");
      if (!outcome.disk_full) broken("the run has failed with exit code " + std::to_string(ended.code) + ": " + ended.err);
      return;
    }
    const auto number = [&](const std::string& name) { return Number(ended.out, name); };
    if (number("rows") != static_cast<double>(scenario_.workload.rows_of_processes)) broken("rows are not all there: " + ended.out);
    if (expect.nothing_lost && number("applied") < number("read")) broken("pushes are lost: " + ended.out);
    if (expect.nothing_twice && number("applied") > number("read")) broken("pushes count twice: " + ended.out);
    if ((expect.nothing_lost || expect.nothing_twice) && number("applied") <= 0) broken("there is no ledger: " + ended.out);
    if (expect.model && ModelText(cluster_.scratch, Path(model)) != expected_) broken("the model is not that of one process");
  }

  const Scenario& scenario_;
  Cluster cluster_;
  std::unique_ptr<SteppedClock> head_clock_;
  std::vector<Node> nodes_;
  std::string expected_;
  double calm_seconds_ = 0;
  int runs_ = 0;
  std::map<std::string, std::set<pid_t>> lives_;   // of the job's processes, by name
  std::multimap<Clock::time_point, std::function<void()>> undo_;
};

ScenarioCluster::ScenarioCluster(const Scenario& scenario) : impl_(std::make_unique<Impl>(scenario)) {}
ScenarioCluster::~ScenarioCluster() = default;
ScenarioOutcome ScenarioCluster::Run(uint64_t seed) {
  return impl_->Run(seed);
}
double ScenarioCluster::calm_seconds() const {
  return impl_->calm_seconds();
}

}   // namespace troupe::testing
