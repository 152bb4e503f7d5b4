// Head with nodes and drivers in virtual time, from a seed: messages are lost, doubled and late; nodes are cut off, killed and started again; drivers lose
// their workers; the head is started again from what it has committed. Whatever happens: no life of a process runs twice, no node promises more than it has,
// every job ends, and then nothing is left of it.
// TROUPE_SIM_SEED=4711: this seed only. TROUPE_SIM_SEEDS=5000: more of them.
#include <array>
#include <boost/test/unit_test.hpp>
#include <functional>
#include <queue>

#include "actors/cluster/head.h"
#include "actors/random.h"
#include "tests/actors/cluster/member.h"
#include "tests/support/seeds.h"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using testing::Member;

constexpr auto kFaults = 60s;   ///< afterwards everything gets through
constexpr auto kEnd = 240s;     ///< by then every job must be over

/// A driver as it lives at one node: wants workers, replaces those that end, and ends after a while.
struct SimDriver {
  JobId job;
  uint64_t attempt;
  Clock::Time end;   ///< from then on it ends when all its workers run
  std::map<std::string, ProcessOrder> wanted;
  uint64_t number = 0, seen = 0;
  Clock::Time asked{};
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : random_(seed) {
    const auto nodes = 2 + random_.Below(3);
    for (uint32_t i = 1; i <= nodes; ++i) {
      members_.push_back({.member = Member(i, 2 + static_cast<uint32_t>(random_.Below(4)))});
      if (i == nodes) members_.back().member.capacity.accelerators["gpu"] = 2;
    }
    options_.queues = {{"day", 2}};
    StartHead();
  }

  void Run() {
    const auto jobs = 2 + random_.Below(4);
    for (uint64_t i = 0; i < jobs; ++i) {
      At(Random(20s), [this, i] { Submit("request " + std::to_string(i)); });
    }
    for (size_t i = 0; i < members_.size(); ++i) {
      At(Random(1s), [this, i] { NodeStep(i); });
      if (random_.Below(2) == 0) At(5s + Random(kFaults), [this, i] { Kill(i); });
      if (random_.Below(3) == 0) At(Random(kFaults), [this, i] { CannotStart(i); });
      if (random_.Below(3) == 0) At(Random(kFaults), [this, i] { members_[i].cut_until = std::max(members_[i].cut_until, now_ + Random(12s)); });
    }
    if (members_.size() > 2 && random_.Below(4) == 0)
      At(Random(kFaults), [this] {
        if (head_) head_->OnDrain({members_[0].member.name}, now_, Wall()).IgnoreError();   // it may be down
      });
    for (uint64_t i = random_.Below(4); i > 0; --i) At(2s + Random(kFaults), [this] { StopHead(); });
    At(0s, [this] { HeadStep(); });
    while (!events_.empty() && now_ < start_ + kEnd) {
      Event event = events_.top();
      events_.pop();
      now_ = event.when;
      event.what();
      Check();
      if (!failed.empty()) return;
      if (head_ && now_ > start_ + kFaults + 30s && submitted_ == jobs && AllOver() && NothingRuns()) return;
    }
    for (const auto& [request, job] : jobs_) {
      if (!head_ || !IsOver(StateOf(job))) return Fail("job " + std::to_string(job) + " has not ended" + Describe(job));
    }
    if (submitted_ != jobs) return Fail("a job was not submitted");
    Fail("something still runs of jobs that are over");
  }

  std::string failed;   ///< why
  size_t restarts = 0, kills = 0, drivers_lost = 0, succeeded = 0, failed_jobs = 0, refused = 0;

 private:
  struct SimMember {
    Member member;
    Clock::Time cut_until{};
    uint64_t life = 0;   ///< of its process: events of an earlier one are void
    std::map<ProcessId, SimDriver> drivers = {};
  };
  struct Event {
    Clock::Time when;
    uint64_t order;
    std::function<void()> what;
    bool operator<(const Event& other) const { return std::tie(when, order) > std::tie(other.when, other.order); }
  };

  void Fail(const std::string& why) {
    if (failed.empty()) failed = why + " at " + std::to_string((now_ - start_) / 1ms) + " ms";
  }
  Clock::Duration Random(Clock::Duration below) { return Clock::Duration(static_cast<int64_t>(random_.Below(static_cast<uint64_t>(below.count())))); }
  void At(Clock::Duration after, std::function<void()> what) { events_.push({now_ + after, ++order_, std::move(what)}); }
  bool Faults() const { return now_ < start_ + kFaults; }
  int64_t Wall() const { return now_.time_since_epoch() / 1ms; }
  JobState StateOf(JobId job) const { return head_->OnInspect({job, 0})->jobs.at(0).state; }

  /// From a node to this life of the head: perhaps never, perhaps twice, perhaps late.
  void Send(size_t from, const std::function<void()>& arrive) {
    if (now_ < members_[from].cut_until) return;
    const auto times = !Faults() ? 1 : std::array{1, 1, 1, 1, 1, 1, 1, 0, 2, 2}[random_.Below(10)];
    for (int i = 0; i < times; ++i) {
      const Clock::Duration delay = 1ms + (Faults() && random_.Below(8) == 0 ? Random(1500ms) : Random(20ms));
      At(delay, [this, arrive, head = generation_] {
        if (head_ && head == generation_) arrive();
      });
    }
  }
  /// And from the head to this life of a node.
  void Answer(size_t to, std::function<void()> arrive) {
    if (now_ < members_[to].cut_until || (Faults() && random_.Below(10) == 0)) return;
    At(1ms + Random(20ms), [this, to, arrive = std::move(arrive), life = members_[to].life] {
      if (life == members_[to].life) arrive();
    });
  }

  void StartHead() {
    auto made = Head::Make(options_, ++generation_, records_, now_, Wall());
    if (!made.ok()) return Fail(made.status().ToString());
    head_.emplace(*std::move(made));
  }
  void StopHead() {
    if (!head_) return;
    if (random_.Below(2) == 0) Commit();   // else what has changed since is lost; nobody has heard of it
    head_.reset();
    ++restarts;
    At(Random(8s), [this] {
      if (!head_) StartHead();
    });
  }
  void HeadStep() {
    if (head_) {
      head_->Tick(now_, Wall());
      if (random_.Below(3) == 0) Commit();
    }
    At(100ms, [this] { HeadStep(); });
  }
  void Commit() {
    for (const Store::Change& change : head_->TakeChanges()) {
      if (change.value)
        records_[change.key] = *change.value;
      else
        records_.erase(change.key);
    }
  }

  std::string Describe(JobId job) const {
    if (!head_) return ": there is no head";
    const JobStatus status = head_->OnInspect({job, 0})->jobs.at(0);
    std::string text = std::string(": ") + ToString(status.state) + " " + status.reason;
    for (const ClaimedProcess& process : status.processes) text += "; " + ToString(process.id) + " " + ToString(process.state) + " " + process.reason;
    return text;
  }

  void Submit(const std::string& request) {
    if (!head_) return At(500ms, [this, request] { Submit(request); });
    JobSpec spec;
    spec.program = "p";
    spec.needs.cores = static_cast<uint32_t>(random_.Below(2));
    spec.attempts = 1 + static_cast<uint32_t>(random_.Below(4));
    spec.queue = random_.Below(2) == 0 ? "day" : "night";
    spec.priority = static_cast<int32_t>(random_.Below(3)) - 1;
    if (random_.Below(3) == 0) spec.time_limit = 60s + std::chrono::duration_cast<std::chrono::milliseconds>(Random(60s));
    if (random_.Below(4) == 0) spec.needs.accelerators["gpu"] = 1;
    const auto submitted = head_->OnSubmit({request, spec}, now_, Wall());
    if (!submitted.ok()) return Fail(submitted.status().ToString());
    if (random_.Below(4) == 0) return At(500ms, [this, request] { Submit(request); });   // no answer: asked again
    Commit();
    ++submitted_;
    jobs_[request] = submitted->job;
  }

  void Kill(size_t i) {
    SimMember& at = members_[i];
    ++at.life;
    ++kills;
    at.member.processes.clear();
    at.drivers.clear();
    const Clock::Duration away = random_.Below(2) == 0 ? Random(2s) : Random(30s);
    at.cut_until = std::max(at.cut_until, now_ + away);
    At(away, [this, i] { members_[i].member.StartAgain(); });
  }

  /// For a while the node can start nothing: a folder is not there, a disk is full.
  void CannotStart(size_t i) {
    members_[i].member.cannot_start = true;
    At(Random(15s), [this, i] {
      refused += static_cast<size_t>(std::exchange(members_[i].member.refused, 0));
      members_[i].member.cannot_start = false;
    });
  }

  void NodeStep(size_t i) {
    SimMember& at = members_[i];
    Member& member = at.member;
    if (!member.left && now_ >= at.cut_until) {
      const Report report = member.MakeReport();
      Send(i, [this, i, report] {
        const absl::Status status = head_->OnReport(report, now_, Wall());
        if (!status.ok()) return Fail(status.ToString());
        Commit();
        const Orders orders = head_->OrdersFor(report.node, report.incarnation, report.seen);
        Answer(i, [this, i, orders, number = report.number, incarnation = report.incarnation] {
          Member& to = members_[i].member;
          if (number == to.number && incarnation == to.incarnation) to.Obey(orders);
        });
      });
    }
    DriversStep(i);
    if (Faults() && !member.processes.empty() && random_.Below(60) == 0) {   // one of its processes is killed
      auto victim = std::next(member.processes.begin(), static_cast<int64_t>(random_.Below(member.processes.size())));
      if (victim->second.state == ProcessState::kRunning) member.End(victim->first, -9);
    }
    At(150ms + Random(200ms), [this, i] { NodeStep(i); });
  }

  void DriversStep(size_t i) {
    SimMember& at = members_[i];
    std::erase_if(at.drivers, [&](const auto& entry) {
      const bool lost = !at.member.Runs(entry.first);
      return lost;
    });
    for (const auto& [id, process] : at.member.processes) {
      if (id.name != kDriverName || process.state != ProcessState::kRunning || at.drivers.contains(id)) continue;
      SimDriver driver{.job = id.job, .attempt = id.incarnation, .end = now_ + 3s + Random(20s), .wanted = {}};
      for (uint64_t worker = random_.Below(4); worker > 0; --worker) {
        const ProcessId worker_id{id.job, "worker " + std::to_string(worker), (id.incarnation << 32) + 1};
        const ProcessNeeds needs{.cores = 1, .memory = random_.Below(200), .apart = {"shard " + std::to_string(worker / 2), "role"}};
        driver.wanted[worker_id.name] = {.id = worker_id, .needs = needs, .program = "", .arguments = {}, .environment = {}, .folder = ""};
      }
      drivers_lost += id.incarnation > 1;
      at.drivers.emplace(id, driver);
    }
    for (auto& [id, driver] : at.drivers) {
      Claim claim{.job = driver.job, .attempt = driver.attempt, .wanted = {}, .seen = driver.seen, .number = ++driver.number};
      for (const auto& [name, order] : driver.wanted) claim.wanted.push_back(order);
      Send(i, [this, i, id = id, claim] {
        if (const absl::Status status = head_->OnClaim(claim, now_, Wall()); !status.ok()) {
          if (!absl::IsNotFound(status)) Fail(status.ToString());
          return;
        }
        Commit();
        const auto claimed = head_->ClaimedOf(claim.job, claim.attempt);
        if (!claimed.ok()) return;
        Answer(i, [this, i, id, claimed = *claimed, number = claim.number] { OnClaimed(i, id, claimed, number); });
      });
    }
  }

  void OnClaimed(size_t i, const ProcessId& id, const Claimed& claimed, uint64_t number) {
    SimMember& at = members_[i];
    const auto it = at.drivers.find(id);
    if (it == at.drivers.end() || it->second.number != number) return;
    SimDriver& driver = it->second;
    size_t running = 0;
    for (const ClaimedProcess& process : claimed.processes) {
      const auto wanted = driver.wanted.find(process.id.name);
      if (wanted == driver.wanted.end() || wanted->second.id != process.id) continue;
      if (process.state == ProcessState::kEnded) {
        ++wanted->second.id.incarnation;
      } else {
        running += process.state == ProcessState::kRunning;
      }
    }
    if (now_ >= driver.end && running == driver.wanted.size()) {
      at.member.End(id, random_.Below(4) == 0 ? 5 : 0);
    } else if (Faults() && !driver.wanted.empty() && random_.Below(30) == 0) {   // it has changed its mind
      driver.wanted.erase(driver.wanted.begin());
    }
  }

  /// What must hold at every moment.
  void Check() {
    std::map<ProcessId, std::vector<size_t>> where;
    for (size_t i = 0; i < members_.size(); ++i) {
      for (const auto& [id, times] : members_[i].member.started) {
        if (times > 1) Fail(ToString(id) + " was started twice on " + members_[i].member.name);
        where[id].push_back(i);
      }
    }
    for (const auto& [id, at] : where) {
      if (at.size() > 1) Fail(ToString(id) + " was started on two nodes");
    }
    if (!head_) return;
    const Inspected all = *head_->OnInspect({});
    for (const NodeStatus& node : all.nodes) {
      if (node.cores_used > node.capacity.cores)
        Fail(node.name + " is promised to " + std::to_string(node.cores_used) + " of its " + std::to_string(node.capacity.cores) + " cores");
    }
    for (const NodeStatus& node : all.nodes) {
      if (node.memory_used > node.capacity.memory) Fail(node.name + " is promised more memory than it has");
      for (const auto& [kind, count] : node.accelerators_used) {
        const auto has = node.capacity.accelerators.find(kind);
        if (has == node.capacity.accelerators.end() || count > has->second) Fail(node.name + " is promised more of " + kind + " than it has");
      }
    }
    CheckCounts(all);
    for (const JobStatus& job : all.jobs) {
      if (IsOver(job.state) && !job.processes.empty()) Fail("a job that is over has processes");
      if (job.attempt > job.spec.attempts) Fail("more attempts than allowed");
      const auto before = over_.find(job.job);
      if (before != over_.end() && before->second != job.state) Fail("job " + std::to_string(job.job) + " was over and changed");
    }
    for (const auto& [key, value] : records_) {   // what is kept stays: others may have heard of it
      if (!key.starts_with("job/")) continue;
      const JobRecord record = *DecodeJobRecord(value);
      if (IsOver(record.status.state)) over_[record.status.job] = record.status.state;
    }
  }
  /// What the head keeps count of is what there is.
  void CheckCounts(const Inspected& all) {
    std::map<std::string, uint32_t> processes;
    std::map<std::string, QueueStatus> queues;
    for (const JobStatus& job : all.jobs) {
      if (job.state == JobState::kRunning) ++queues[job.spec.queue].running;
      if (job.state == JobState::kQueued) ++queues[job.spec.queue].waiting;
      for (const ClaimedProcess& process : job.processes) {
        if (process.state == ProcessState::kPlaced || process.state == ProcessState::kRunning) ++processes[process.node];
      }
    }
    for (const NodeStatus& node : all.nodes) {
      if (node.processes != processes[node.name]) Fail(node.name + " counts " + std::to_string(node.processes) + " processes");
    }
    for (const QueueStatus& queue : all.queues) {
      if (queue.running != queues[queue.name].running || queue.waiting != queues[queue.name].waiting) Fail("queue " + queue.name + " counts other jobs");
      if (queue.cores < queue.running) Fail("queue " + queue.name + " counts less than one core a job");
    }
  }
  bool AllOver() {
    for (const auto& [request, job] : jobs_) {
      if (!IsOver(StateOf(job))) return false;
    }
    return true;
  }
  bool NothingRuns() {
    for (const SimMember& at : members_) {
      if (!at.member.processes.empty()) return false;
    }
    for (const auto& [request, job] : jobs_) ++(StateOf(job) == JobState::kSucceeded ? succeeded : failed_jobs);
    return true;
  }

  troupe::Random random_;
  const Clock::Time start_{1000h};
  Clock::Time now_ = start_;
  uint64_t order_ = 0, generation_ = 0, submitted_ = 0;
  std::priority_queue<Event> events_;
  HeadOptions options_;
  std::optional<Head> head_;
  std::map<std::string, std::string> records_;
  std::vector<SimMember> members_;
  std::map<std::string, JobId> jobs_;
  std::map<JobId, JobState> over_;
};

}   // namespace

BOOST_AUTO_TEST_SUITE(HeadSimulationSuite)

BOOST_AUTO_TEST_CASE(whatever_is_lost_killed_or_started_again_every_life_runs_once_and_every_job_ends) {
  size_t restarts = 0, kills = 0, drivers_lost = 0, succeeded = 0, failed_jobs = 0, refused = 0, runs = 0;
  for (const uint64_t seed : testing::Seeds(100)) {
    Simulation simulation(seed);
    simulation.Run();
    BOOST_TEST(simulation.failed.empty(), "seed " << seed << ": " << simulation.failed);
    restarts += simulation.restarts;
    kills += simulation.kills;
    drivers_lost += simulation.drivers_lost;
    succeeded += simulation.succeeded;
    failed_jobs += simulation.failed_jobs;
    refused += simulation.refused;
    ++runs;
  }
  if (runs < 50) return;
  BOOST_TEST((restarts > runs && kills > runs / 2 && drivers_lost > runs / 4 && succeeded > runs && failed_jobs > runs / 10 &&
              refused > runs / 4));   // it was not all calm
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
