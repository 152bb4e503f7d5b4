// What a cluster's head knows and decides: which nodes are there, which jobs there are, and which node runs which process. Pure: messages and time come in,
// answers and records to keep come out; the head's actor (head_actor.h) does the rest.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
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
  /// So long nodes must have stayed as they are before anything moves to one that has come.
  Clock::Duration spread_after = std::chrono::seconds(1);
  Clock::Duration spread_max = std::chrono::minutes(10);   ///< that a process which moves to one may take: a state may be large
  size_t events_max = 200;
  size_t jobs_over_max = 1000;                                   ///< jobs that are over and still shown; older ones are forgotten
  size_t tries_max = 3;                                          ///< nodes that one life of a process is tried on where it cannot be started
  std::chrono::milliseconds gone_max = std::chrono::hours(24);   ///< by the wall clock: so long a node that is down or has left is remembered
  std::map<std::string, uint32_t> queues = {};                   ///< weights, at least 1; of a queue that is not here it is 1
};

/// Its cost is that of what changed: of a report the processes of its node, of a claim those of its job, of a moment in which nothing happens nothing.
class Head {
 public:
  /// `records`: what an earlier generation kept (Store::Read of everything). DataLoss: a record cannot be read.
  static absl::StatusOr<Head> Make(HeadOptions options, uint64_t generation, const std::map<std::string, std::string>& records, Clock::Time now,
                                   int64_t wall_ms);

  /// Takes a node's report. InvalidArgument: it makes no sense. Unavailable: its node has obeyed a later head. AlreadyExists: another node of this name lives.
  absl::Status OnReport(const Report& report, Clock::Time now, int64_t wall_ms);
  /// What the node is to do, since `seen` of `incarnation`.
  Orders OrdersFor(NodeId node, Incarnation incarnation, uint64_t seen) const;
  /// Is there something for it that it has not seen?
  bool HasOrders(NodeId node, Incarnation incarnation, uint64_t seen) const;
  /// How long a report may wait for its answer where there is none.
  Clock::Duration report_hold() const { return ReportHold(members_); }

  /// NotFound: no such job, or this driver is not its driver any more.
  absl::Status OnClaim(const Claim& claim, Clock::Time now, int64_t wall_ms);
  absl::StatusOr<Claimed> ClaimedOf(JobId job, uint64_t attempt) const;

  /// InvalidArgument: no program, or no attempts.
  absl::StatusOr<Submitted> OnSubmit(const Submit& submit, Clock::Time now, int64_t wall_ms);
  absl::Status OnStop(const StopJob& stop, Clock::Time now, int64_t wall_ms);
  absl::Status OnDrain(const DrainNode& drain, Clock::Time now, int64_t wall_ms);
  absl::StatusOr<Endpoint> OnFindEndpoint(const FindEndpoint& find) const;
  absl::StatusOr<Inspected> OnInspect(const Inspect& inspect) const;
  /// The node that has the output of this life of a process. NotFound: none has; one that is down had it, or, where it gave no answer (`unanswered`), one
  /// that has left.
  absl::StatusOr<NodeId> OutputOf(const ProcessId& id, bool unanswered = false) const;
  /// Where a node listens; empty: unknown.
  std::vector<std::string> PlacesOf(NodeId node) const;
  /// Hashes of the programs of jobs that are not over.
  std::set<std::string> ProgramsNeeded() const;

  /// Notices silence, time limits and what now finds room.
  void Tick(Clock::Time now, int64_t wall_ms);

  /// Goes up with everything that Inspect, Claim or Report would show.
  uint64_t version() const { return version_; }
  uint64_t VersionOf(JobId job) const;
  uint64_t generation() const { return generation_; }
  /// Records that changed since the last call: to be committed before anybody hears of it.
  std::vector<Store::Change> TakeChanges();
  /// Nodes and jobs of which there is news since the last call.
  struct News {
    std::set<NodeId> nodes;
    std::set<JobId> jobs;
  };
  News TakeNews() { return std::exchange(news_, {}); }

 private:
  struct Process {
    ProcessOrder order;
    bool known = true;   // false: adopted from a report after a start, what it was started with is not known
    ProcessState state = ProcessState::kWaiting;
    NodeId node{};
    int32_t code = 0;
    std::string reason = {};
    bool kept = false;    // ended, and its node remembers it until the driver replaces or drops it: a head that starts again must hear of it
    bool moves = false;   // its node is drained, or it gives way: it is ended there, and waits for another place when that is done
    std::optional<Clock::Time> leaves_by = {};   // its node is drained, or it spreads: its driver has another one begun before, until then
    bool spreads = false;                        // it is to leave for a node that has come, or was, and nobody has taken its place in time
    std::vector<NodeId> refused = {};            // nodes that could not start it
  };
  using Processes = std::map<std::string, Process>;
  struct Job {
    JobStatus status;   // `processes` stays empty until it is over: then it is LastLives
    std::string request;
    Endpoint endpoint = {};   // of its driver, as its last claim says
    std::vector<NodeId> driver_nodes;
    Processes processes;                            // changed only in head_placing.cc, which counts what they use
    std::map<std::string, NodeId> last_nodes;       // of processes, the driver apart
    std::map<std::string, uint64_t> placed;         // the highest incarnation that was placed, of processes of this driver; kept
    std::map<std::string, std::string> last_ends;   // how the last life of each process ended, and where
    uint64_t version = 0;
    bool recovered = false;          // its driver was placed by an earlier head: what runs of it is learnt from nodes, as they come back
    uint64_t claim = 0;              // number of its driver's last claim
    uint64_t cores = 0;              // of all its processes
    uint64_t share = 0;              // what it counts in its queue: 0, or at least 1
    std::set<std::string> waiting;   // names of processes
    uint64_t wishes = 0;             // goes up with what it wants
    // WhyNever of what it wants, as of these versions of rooms and wishes.
    std::string never;
    uint64_t never_rooms = 0, never_wishes = 0;   // the former plus one; 0: not asked yet
  };
  struct Node {
    NodeStatus status;
    std::vector<std::string> places;
    uint64_t number = 0;   // of its last report
    FailureDetector detector;
    Clock::Time heard{};
    bool returned = true;                                // false: it was there before this head's start and has not been heard since
    std::optional<Clock::Time> watched;                  // as in watch_
    uint64_t version = 0;                                // of its orders
    std::set<std::pair<JobId, std::string>> processes;   // that are or were placed here and are not replaced yet
  };
  struct Queue {
    uint64_t share = 0;                            // of its running jobs
    uint32_t running = 0;                          // jobs
    std::set<std::pair<int64_t, JobId>> waiting;   // jobs that have not begun, by minus their priority
  };

  Head(HeadOptions options, uint64_t generation, Clock::Time now);

  // Nodes: head.cc.
  absl::Status Join(const Report& report);
  /// `first`: the node is heard for the first time since this head's start.
  void TakeProcesses(Node& node, const Report& report, bool first, int64_t wall_ms);
  void LearnProcess(Node& node, Job& job, const ProcessReport& at_node);
  void SetNodeState(Node& node, NodeState state, const std::string& reason, int64_t wall_ms);
  using Names = std::vector<std::pair<JobId, std::string>>;
  Names RunningOn(const Node& node) const;
  void LoseThese(const Names& lost, int32_t code, const std::string& reason, int64_t wall_ms);
  void LoseProcesses(Node& node, const std::string& reason, int64_t wall_ms);
  bool HandsOver(Job& job, Process& process, Clock::Time now);
  void MoveProcesses(Node& node, Clock::Time now, int64_t wall_ms);
  void PlaceDriverAgain(Node& node);
  bool IsLastWithWork(const Node& node) const;
  void ExcuseSilence(Clock::Time now);
  void NoticeSilence(Clock::Time now, int64_t wall_ms);
  void Watch(Node& node, Clock::Time when);
  void ForgetNode(NodeId node);
  void ForgetNodes(int64_t wall_ms);
  void Returned(Node& node);
  bool AllReturned() const { return missing_ == 0; }
  void PutRoom(const Node& node);

  // Jobs: head_jobs.cc.
  absl::Status CheckDriver(JobId job, uint64_t attempt) const;
  void TakeWish(Job& job, const ProcessOrder& order);
  void OnProcessEnded(Job& job, Process& process, int32_t code, const std::string& reason, bool by_itself, int64_t wall_ms);
  std::string EndOf(const Process& process) const;
  void OnRefused(Job& job, Process& process, const std::string& reason, int64_t wall_ms);
  void OnDriverEnded(Job& job, int32_t code, const std::string& reason, bool by_itself, int64_t wall_ms);
  void SetJobState(Job& job, JobState state);
  std::vector<ClaimedProcess> LastLives(const Job& job) const;
  void EndJob(Job& job, JobState state, int32_t code, const std::string& reason, int64_t wall_ms);
  void ForgetJobs();
  void NoticeTime(Clock::Time now, int64_t wall_ms);
  std::optional<std::string> DriverMissing(const Job& job) const;
  ProcessOrder DriverOf(const Job& job, uint64_t attempt) const;

  // What is where, and what waits: head_placing.cc.
  /// Adds a process, in place of one of its name; changes one; drops one, or all.
  Process& Put(Job& job, Process process);
  void Change(Job& job, Process& process, const std::function<void()>& change);
  Processes::iterator Drop(Job& job, Processes::iterator it);
  void DropAll(Job& job);
  void Count(Job& job, const Process& process, bool more);
  void Recount(Job& job);
  void Place(Clock::Time now, int64_t wall_ms);
  Queue* NextQueue();
  bool PlaceWaiting(Job& job, Clock::Time now, int64_t wall_ms);
  bool PlaceThese(Job& job, const std::vector<std::string>& names, Clock::Time now, int64_t wall_ms);
  void PlaceSpare(Clock::Time now, int64_t wall_ms);
  void MakeWay(std::span<const PlacementWish> wanted, int64_t wall_ms);
  void Spread(Clock::Time now, int64_t wall_ms);
  bool SpreadOne(Job& job, Clock::Time now, int64_t wall_ms);
  void Begin(Job& job, NodeId node, Clock::Time now, int64_t wall_ms);
  void Explain(Job& job, const std::string& why);
  /// Why what the job wants has no room even if nobody else were there; empty: it has.
  const std::string& WhyNever(Job& job);
  void Enqueue(Job& job);
  uint32_t WeightOf(const std::string& queue) const;

  // What others are shown: head_view.cc.
  ClaimedProcess Describe(const Process& process) const;
  const Node* Find(NodeId node) const;
  /// The node whose files hold what a process has printed, or held: Errors as OutputOf.
  absl::StatusOr<NodeId> NodeOfOutput(const ProcessId& id) const;
  std::string NameOf(NodeId node) const;
  JobStatus StatusOf(const Job& job) const;
  NodeStatus StatusOf(const Node& node) const;

  // What is kept and told.
  void Touch(Job& job);
  void Touch(NodeId node);
  void Touch(Node& node);
  void Keep(const Job& job);
  void Keep(const Node& node);
  void Note(int64_t wall_ms, const std::string& event);

  HeadOptions options_;
  uint64_t generation_;
  Clock::Duration silence_min_;   // nothing shorter says anything
  Clock::Time started_, ticked_;
  std::map<NodeId, Node> nodes_;
  std::map<JobId, Job> jobs_;
  std::map<std::string, Queue> queues_;
  Rooms rooms_;
  JobId last_job_ = 0;
  uint64_t version_ = 1;
  uint64_t placed_ = 0;         // version when Place last looked
  uint64_t placed_rooms_ = 0;   // likewise of rooms_
  uint64_t spread_rooms_ = 0;   // likewise when Spread last looked,
  Clock::Time spread_due_{};    // and when it does something about it
  std::map<std::string, std::optional<std::string>> changes_;
  News news_;
  std::deque<std::string> events_;

  // Indices: who is to be looked at when something happens.
  size_t members_ = 0;                               // nodes that may run something
  std::set<std::pair<JobId, std::string>> spare_;    // processes that have a place until others want it
  size_t missing_ = 0;                               // that have not returned
  std::map<std::string, NodeId> names_;              // of nodes
  std::set<std::pair<Clock::Time, NodeId>> watch_;   // when their silence may begin to say something
  std::set<std::pair<int64_t, NodeId>> gone_;        // nodes that are down or have left, by since_ms
  std::map<std::string, JobId> requests_;            // of Submit
  std::set<JobId> unspread_;                         // running, to be looked at by Spread
  std::set<JobId> needy_;                            // running, with processes that wait
  std::set<JobId> hopeless_;                         // queued, for what no node has
  std::set<JobId> driverless_;                       // of an earlier head, whose driver no node has shown yet
  std::set<std::pair<Clock::Time, JobId>> limits_;   // when jobs have taken too long
  std::set<std::pair<int64_t, JobId>> over_;         // jobs that have ended, by ended_ms
};

}   // namespace troupe
