// What a cluster's head knows and decides: which nodes are there, which jobs there are, and which node runs which process. Pure: messages and time come in,
// answers and records to keep come out; the head's actor (head_actor.h) does the rest.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/clock.h"
#include "actors/cluster/failure_detector.h"
#include "actors/cluster/messages.h"
#include "actors/cluster/placement.h"
#include "actors/cluster/store.h"
#include "actors/cluster/wire.h"

namespace troupe {

struct HeadOptions {
  double suspect_phi = 3;   ///< from here on nothing new is placed on the node
  double down_phi = 10;     ///< from here on it is down, when it has also been silent for `lease`
  Clock::Duration lease = std::chrono::seconds(2);
  /// After a start: how long nodes and drivers that were there before may take to come back.
  Clock::Duration return_max = std::chrono::seconds(10);
  size_t events_max = 200;
  size_t jobs_over_max = 1000;   ///< jobs that are over and still shown; older ones are forgotten
};

class Head {
 public:
  /// `records`: what an earlier generation kept (Store::Read of everything). DataLoss: a record cannot be read.
  static absl::StatusOr<Head> Make(HeadOptions options, uint64_t generation, const std::map<std::string, std::string>& records, Clock::Time now);

  /// Takes a node's report. InvalidArgument: it makes no sense. Unavailable: its node has obeyed a later head. AlreadyExists: another node of this name lives.
  absl::Status OnReport(const Report& report, Clock::Time now, int64_t wall_ms);
  /// What the node is to do, since `seen` of `incarnation`.
  Orders OrdersFor(NodeId node, Incarnation incarnation, uint64_t seen) const;
  /// Is there something for it that it has not seen?
  bool HasOrders(NodeId node, Incarnation incarnation, uint64_t seen) const;

  /// NotFound: no such job, or this driver is not its driver any more.
  absl::Status OnClaim(const Claim& claim, Clock::Time now, int64_t wall_ms);
  absl::StatusOr<Claimed> ClaimedOf(JobId job, uint64_t attempt) const;

  /// InvalidArgument: no program, or no attempts.
  absl::StatusOr<Submitted> OnSubmit(const Submit& submit, Clock::Time now, int64_t wall_ms);
  absl::Status OnStop(const StopJob& stop, Clock::Time now, int64_t wall_ms);
  absl::Status OnDrain(const DrainNode& drain, Clock::Time now, int64_t wall_ms);
  absl::StatusOr<Inspected> OnInspect(const Inspect& inspect) const;
  /// The node that has the output of this life of a process. NotFound.
  absl::StatusOr<NodeId> OutputOf(const ProcessId& id) const;
  /// Where a node listens; empty: unknown.
  std::vector<std::string> PlacesOf(NodeId node) const;

  /// Notices silence, time limits and what now finds room.
  void Tick(Clock::Time now, int64_t wall_ms);

  /// Goes up with everything that Inspect, Claim or Report would show.
  uint64_t version() const { return version_; }
  uint64_t VersionOf(JobId job) const;
  uint64_t generation() const { return generation_; }
  /// Records that changed since the last call: to be committed before anybody hears of it.
  std::vector<Store::Change> TakeChanges();

 private:
  struct Process {
    ProcessOrder order;
    bool known = true;   // false: adopted from a report after a start, what it was started with is not known
    ProcessState state = ProcessState::kWaiting;
    NodeId node{};
    int32_t code = 0;
    std::string reason = {};
    bool kept = false;   // ended, and its node remembers it until the driver replaces or drops it: a head that starts again must hear of it
  };
  struct Job {
    JobStatus status;   // `processes` stays empty
    std::string request;
    std::vector<NodeId> driver_nodes;
    std::map<std::string, Process> processes;
    std::map<std::string, NodeId> last_nodes;   // of processes, the driver apart
    uint64_t version = 0;
    bool recovered = false;   // its driver was placed by an earlier head: what runs of it is learnt from nodes, as they come back
    uint64_t claim = 0;       // number of its driver's last claim
    Clock::Time started{};    // of time_limit, as far as this head knows
  };
  struct Node {
    NodeStatus status;
    std::vector<std::string> places;
    uint64_t number = 0;   // of its last report
    FailureDetector detector;
    Clock::Time heard{};
    bool returned = true;   // false: it was there before this head's start and has not been heard since
    uint64_t version = 0;   // of its orders
  };

  Head(HeadOptions options, uint64_t generation, Clock::Time now) : options_(options), generation_(generation), started_(now), ticked_(now) {}
  /// `first`: the node is heard for the first time since this head's start.
  void TakeProcesses(Node& node, const Report& report, bool first, int64_t wall_ms);
  void OnProcessEnded(Job& job, Process& process, int32_t code, const std::string& reason, bool by_itself, int64_t wall_ms);
  void OnDriverEnded(Job& job, int32_t code, const std::string& reason, bool by_itself, int64_t wall_ms);
  void EndJob(Job& job, JobState state, int32_t code, const std::string& reason, int64_t wall_ms);
  void SetNodeState(Node& node, NodeState state, const std::string& reason, int64_t wall_ms);
  void LoseProcesses(Node& node, const std::string& reason, int64_t wall_ms);
  void MoveProcesses(Node& node, int64_t wall_ms);
  void Place(Clock::Time now, int64_t wall_ms);
  std::vector<Room> Rooms() const;
  /// What of the job waits for room, to be placed together.
  std::vector<ProcessOrder> GangOf(const Job& job) const;
  /// Would it all have room if nobody else were there?
  bool FitsAlone(const Job& job) const;
  bool PlaceWaiting(Job& job, std::vector<Room>& rooms, Clock::Time now, int64_t wall_ms);
  void PlaceDriverAgain(Node& node);
  void ForgetJobs();
  void ExcuseSilence(Clock::Time now);
  ProcessOrder DriverOf(const Job& job, uint64_t attempt) const;
  bool AllReturned() const;
  std::optional<std::string> DriverMissing(const Job& job) const;
  ClaimedProcess Describe(const Process& process) const;
  const Node* Find(NodeId node) const;
  std::string NameOf(NodeId node) const;
  JobStatus StatusOf(const Job& job) const;
  void Touch(Job& job);
  void Touch(NodeId node);
  void Keep(const Job& job);
  void Keep(const Node& node);
  void Note(int64_t wall_ms, const std::string& event);

  HeadOptions options_;
  uint64_t generation_;
  Clock::Time started_, ticked_;
  std::map<NodeId, Node> nodes_;
  std::map<JobId, Job> jobs_;
  JobId last_job_ = 0;
  uint64_t version_ = 1;
  uint64_t placed_ = 0;   // version when Place last looked
  std::map<std::string, std::optional<std::string>> changes_;
  std::deque<std::string> events_;
};

}   // namespace troupe
