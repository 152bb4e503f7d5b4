// A whole cluster in one thread, from one seed: nodes with CAF's testing scheduler, one virtual clock, a network that delays, drops, doubles and cuts, disks
// that fill up, and crashes. Whatever happens is a function of the seed, so a failure replays.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "actors/random.h"
#include "actors/storage/faulty.h"
#include "actors/storage/storage.h"
#include "actors/system.h"
#include "caf/actor_clock.hpp"

namespace caf::scheduler {
class test_coordinator;
}

namespace troupe::testing {

/// What may go wrong. Probabilities are per message; intervals are means.
struct Faults {
  using Duration = std::chrono::microseconds;
  double drop = 0;             ///< of a request, and again of its reply
  double twice = 0;            ///< a request arrives a second time
  Duration delay_max{2'000};   ///< every message takes up to this
  double slow = 0;             ///< and a few up to this many times as long:
  int slow_factor = 20;
  bool ordered = true;           ///< messages of one lane between two nodes keep their order, as on a connection
  Duration compute_min{0};       ///< a job in the compute pool takes this,
  Duration compute_max{1'000};   ///< and up to this more
  bool one_core = false;         ///< a node's jobs run one after the other, else all at once
  Duration crash_every{0};       ///< 0: never. Node 0 never crashes.
  int crashes_max = 0;
  Duration down_max{50'000};
  Duration cut_every{0};
  int cuts_max = 0;
  Duration cut_max{200'000};
  Duration disk_full_every{0};   ///< a node's disk fills up, and is emptied again after at most disk_full_max
  int disks_full_max = 0;
  Duration disk_full_max{200'000};
};

class Sim {
 public:
  using Time = caf::actor_clock::time_point;
  using Duration = std::chrono::microseconds;
  /// Spawns what a node is for and returns the actors that are to end with it. Called anew for each incarnation. An error ends the simulation.
  using Boot = std::function<absl::StatusOr<std::vector<caf::actor>>(System&)>;

  Sim(uint64_t seed, const Faults& faults);
  ~Sim();
  Sim(const Sim&) = delete;
  Sim& operator=(const Sim&) = delete;

  /// Node ids count from 0; node 0 is there from the start. The disk outlives crashes of its node.
  NodeId AddNode(Boot boot);
  System& system(NodeId node) { return *nodes_[static_cast<size_t>(node)]->system; }
  uint64_t incarnation(NodeId node) const { return nodes_[static_cast<size_t>(node)]->incarnation; }
  bool up(NodeId node) const { return nodes_[static_cast<size_t>(node)]->system != nullptr; }
  /// All that is in memory is lost; the node is back, with the next incarnation, after `down`.
  void Crash(NodeId node, Duration down);
  /// For good.
  void Stop(NodeId node);
  /// It stands still, as under SIGSTOP: what comes for it meanwhile it finds when it goes on. (Twice at once: until the later end.)
  void Freeze(NodeId node, Duration time);
  /// Nothing gets through between the two, either way; `refused`: whoever asks is told at once, else hears nothing.
  void Cut(NodeId a, NodeId b, Duration time, bool refused);
  /// Every request and answer from or to the node is lost with this probability besides.
  void Lose(NodeId node, Duration time, double probability);
  /// And takes this much longer.
  void Late(NodeId node, Duration time, Duration by);
  /// Its clock jumps ahead, as after its machine has slept; for good, also when it is started again.
  void StepClock(NodeId node, Duration by);
  /// Run() ends with this error: whoever waits there is lost.
  void Interrupt(absl::Status error) { interrupted_ = std::move(error); }
  /// Its compute jobs take this many times as long, now and after crashes.
  void SetPace(NodeId node, double pace) { nodes_[static_cast<size_t>(node)]->pace = pace; }
  /// Faults that come by themselves (crash, cut, full disk) begin now.
  void StartFaults();

  /// Runs until `done`. Errors: a boot failed; DeadlineExceeded: nothing is left to do, or virtual time or steps are used up (a hang).
  absl::Status Run(const std::function<bool()>& done);

  const Faults& faults() const { return faults_; }
  Random& random() { return random_; }
  Time now() const { return now_; }
  Storage& storage() { return *storage_; }
  FaultyStorage& disk(NodeId node) { return *nodes_[static_cast<size_t>(node)]->disk; }
  void After(Duration delay, std::function<void()> event);
  Duration Below(Duration limit) { return Duration(static_cast<int64_t>(random_.Below(static_cast<uint64_t>(limit.count()) + 1))); }

  /// A hash over every frame that was delivered, with its time and place: equal for equal seeds.
  uint64_t trace() const { return trace_; }
  uint64_t steps() const { return steps_; }
  uint64_t frames() const { return frames_; }
  uint64_t restarts() const { return restarts_; }
  uint64_t crashes() const { return crashes_; }
  /// For a simulation that is a hang: what the limit is.
  void SetLimits(Duration virtual_time, uint64_t steps) {
    limit_ = now_ + virtual_time;
    steps_max_ = steps;
  }

 private:
  friend class SimNetwork;
  friend class SimCompute;
  class Ticket;
  struct Node {
    NodeId id{};
    Boot boot;
    uint64_t incarnation = 0;
    double pace = 1;
    Time busy_until{};
    Duration ahead{0};                             // its clock, of the others
    Time frozen_until{};                           // later than now: it stands still,
    std::deque<std::function<void()>> held = {};   // and this has come for it meanwhile
    std::pair<Time, double> lossy{};               // until when, and with which probability
    std::pair<Time, Duration> late{};
    std::unique_ptr<FaultyStorage> disk;
    std::unique_ptr<System> system;   // null: down
    caf::scheduler::test_coordinator* scheduler = nullptr;
    std::vector<caf::actor> actors;
    std::map<ActorId, Network::Handler> handlers;
    std::map<uint64_t, std::function<void()>> jobs;   // in the compute pool
    bool stopped = false;
  };
  struct Event {
    Time at;
    uint64_t tie;
    std::function<void()> run;
    bool operator<(const Event& other) const { return std::tie(at, tie) > std::tie(other.at, other.tie); }
  };
  struct Call {   // a request that its sender waits for
    NodeId from{}, to{};
    uint64_t to_incarnation = 0;
    Network::Lane lane{};
    Network::Reply reply;
  };

  Node& node(NodeId id) { return *nodes_[static_cast<size_t>(id)]; }
  void BootNode(Node& node);
  void TakeDown(Node& node);
  void Send(NodeId from, const Address& to, const Frame& frame, Network::Lane lane, Network::Duration timeout, Network::Reply reply);
  void Arrive(uint64_t call, const Address& to, uint64_t incarnation, const Frame& frame);
  void Answer(uint64_t call, NodeId from, const absl::StatusOr<Frame>& answer);
  void Finish(uint64_t call, absl::StatusOr<Frame> result);
  Duration Delay();
  bool IsFrozen(const Node& node) const { return node.frozen_until > now_; }
  /// Now, or when it goes on.
  void AtNode(NodeId id, std::function<void()> what);
  void Thaw(Node& node);
  bool IsLost(NodeId from, NodeId to);
  Time ArrivalTime(NodeId from, NodeId to, Network::Lane lane, bool reply);
  bool IsCut(NodeId a, NodeId b) const;
  void Hash(NodeId from, NodeId to, const Frame& frame);
  void Submit(NodeId node, std::function<void()> work);
  void CrashSometimes();
  void CutSometimes();
  void FillDiskSometimes();
  Duration Around(Duration mean) { return Duration(1) + Below(2 * mean); }
  bool RunOneJob();
  absl::Status AdvanceTime();

  Random random_;
  const Faults faults_;
  std::unique_ptr<Storage> storage_;
  Time now_;
  Time limit_;
  uint64_t steps_max_ = 20'000'000;
  std::priority_queue<Event> events_;
  uint64_t ties_ = 0;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<uint64_t, Call> calls_;
  uint64_t calls_made_ = 0, jobs_made_ = 0;
  std::map<std::tuple<NodeId, NodeId, Network::Lane, bool>, Time> last_arrival_;
  std::map<std::pair<NodeId, NodeId>, std::pair<Time, bool>> cuts_;   // (lower, higher) -> until when, and whether requests are refused at once
  uint64_t trace_ = 0, steps_ = 0, frames_ = 0, restarts_ = 0, crashes_ = 0;
  int cuts_made_ = 0, disks_filled_ = 0;
  absl::Status failure_, interrupted_;
  bool closing_ = false;
};

/// Delays, and by turns losses, doubles, slow messages and cuts.
Faults AnyBadNetwork(Random& random);
/// That, and nodes that fall, some times.
Faults AnyCrashes(Random& random);

}   // namespace troupe::testing
