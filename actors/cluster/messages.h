// What a node tells its head and is told, what a job's driver asks for, and what people ask: the protocol of a cluster on one page. Everything says what *is*
// or what *is wanted*, never what to do next, and is said again and again: a lost message, a head that starts again, or a message that comes twice needs
// nothing special.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "actors/address.h"
#include "actors/block.h"
#include "caf/allowed_unsafe_message_type.hpp"
#include "caf/typed_actor.hpp"

namespace troupe {

using JobId = uint64_t;                           ///< 1, 2, ... of a cluster, in the order of submission
inline constexpr char kDriverName[] = "driver";   ///< the process that a job begins with; the others are the driver's wish
inline constexpr ActorId kHeadActor{1};           ///< at the head
inline constexpr ActorId kNodeActor{1};           ///< at a node
inline constexpr NodeId kHeadNode{0};             ///< nodes have numbers of their own, chosen at random

/// One life of one process of a job: "job 3: worker 1", for the second time.
struct ProcessId {
  JobId job = 0;
  std::string name;   ///< unique in its job: "driver", "worker 1", "shard 0"
  /// Rises with every replacement. Those of the n-th driver's processes begin behind (n - 1) * kLivesOfAttempt, in its k-th run kLivesOfRun * (k - 1) further.
  uint64_t incarnation = 1;
  auto operator<=>(const ProcessId&) const = default;
};
inline constexpr uint64_t kLivesOfRun = uint64_t{1} << 16, kLivesOfAttempt = uint64_t{1} << 32;
/// 1, 2, ... in one run of one driver.
inline uint64_t LifeOf(uint64_t incarnation) {
  return (incarnation - 1) % kLivesOfRun + 1;
}
std::string ToString(const ProcessId& id);

/// What a process needs of the node that runs it.
struct ProcessNeeds {
  uint32_t cores = 0;                               ///< whole cores that nobody else is promised
  uint64_t memory = 0;                              ///< bytes, likewise, and the most that it gets; 0: nothing is promised, and there is no limit
  std::map<std::string, std::string> labels = {};   ///< that the node must have, with these values
  /// Processes of a job with the same word go to different nodes as far as there are some. The most important word first: a node with fewer of the first wins
  /// before one with fewer of the second.
  std::vector<std::string> apart = {};
  uint64_t disk = 0;                                   ///< bytes where the node's state lies, promised like memory
  std::map<std::string, uint32_t> accelerators = {};   ///< by kind, how many that nobody else is promised
  bool operator==(const ProcessNeeds&) const = default;
};

/// With what a process is placed.
enum class Placing : uint8_t {
  kTogether,   ///< with all others of its job that wait: all or none
  kAlone,      ///< as soon as there is room for it: the others run
  kSpare,      ///< likewise, when nobody else waits for room; it gives way to whoever does
};

/// A process that is to run.
struct ProcessOrder {
  ProcessId id;
  ProcessNeeds needs;
  std::string program;                    ///< hash of its bytes (HashOfProgram)
  std::vector<std::string> arguments;     ///< without argv[0]
  std::vector<std::string> environment;   ///< NAME=VALUE, added to the node's own
  std::string folder;                     ///< where it starts, as a path that exists there; empty: where its output lies
  Placing placing = Placing::kTogether;
  /// Where its node is drained it goes on for so long (where it moves to a node that has come, until that is done), and its driver, which is told
  /// (ClaimedProcess::leaves), replaces it by another process before it wants it no more. 0: it is ended at once.
  std::chrono::milliseconds hand_over_max{0};
};

enum class ProcessState : uint8_t {
  kWaiting,   ///< for room on a node
  kPlaced,    ///< a node is to start it
  kRunning,
  kEnded,
};
const char* ToString(ProcessState state);

inline constexpr int32_t kLostCode = -1;
/// A process as its node sees it.
struct ProcessReport {
  ProcessId id;
  ProcessNeeds needs;
  ProcessState state = ProcessState::kRunning;
  int32_t code = 0;            ///< of one that ended: its exit code, or minus the signal; kLostCode: it was given up, and may live where nobody reaches it
  std::string reason;          ///< of one that ended: in words, where there is more to say than the code
  bool cannot_start = false;   ///< of one that ended: it never began, and would not if this node tried again; another one may
};

struct NodeCapacity {
  uint32_t cores = 1;
  uint64_t memory = 0;   ///< bytes
  uint64_t disk = 0;     ///< bytes where its state lies, free when it began
  std::map<std::string, std::string> labels;
  std::map<std::string, uint32_t> accelerators = {};   ///< by kind: {"gpu", 2}
  std::string memory_kept_by = {};                     ///< what keeps processes within `ProcessNeeds::memory`: "cgroup v2", "cgroup v1", "watching"
  bool operator==(const NodeCapacity&) const = default;
};

/// From a node, again as soon as it is answered: it lives, and this is what runs there. Answered when there is something to do, or after a while: ReportHold.
struct Report {
  NodeId node{};
  Incarnation incarnation{};
  uint64_t number = 0;               ///< rises within an incarnation: one that was overtaken says nothing
  std::string name;                  ///< for people
  std::string host;                  ///< where the processes of other nodes reach those that run here
  std::vector<std::string> places;   ///< where the node itself listens
  NodeCapacity capacity;
  bool leaving = false;      ///< asked to stop: drain it
  uint64_t seen = 0;         ///< version of the orders that it has carried out
  uint64_t generation = 0;   ///< the highest of a head that it has obeyed
  std::vector<ProcessReport> processes = {};
};
inline constexpr std::chrono::milliseconds kReportHold{250}, kReportHoldMax{1000};
/// How long a head of so many nodes waits with an answer that says nothing: from 250 nodes on longer, so that 1,000 reports a second are the most that come of
/// idle nodes, up to 1,000 of them.
constexpr std::chrono::milliseconds ReportHold(size_t nodes) {
  return std::clamp(std::chrono::milliseconds(nodes), kReportHold, kReportHoldMax);
}
/// Of a request to the head, which answers news at once and anything else after ReportHold or kReportHold.
inline constexpr std::chrono::milliseconds kHeadTimeout{2000};

/// reply to Report. Unavailable: the node has obeyed a later head than this one. AlreadyExists: another node of this name lives.
struct Orders {
  enum class Verdict : uint8_t {
    kMember,
    kRejoin,   ///< this life was declared down, its processes have been replaced: end them, and come back as the next incarnation
    kLeft,     ///< drained: nothing runs there any more, it may go
  };
  Verdict verdict = Verdict::kMember;
  uint64_t generation = 0;     ///< of the head
  Incarnation incarnation{};   ///< kRejoin: the next one must be higher than this
  uint64_t version = 0;        ///< of these orders
  bool unchanged = false;      ///< nothing since `seen`: the lists are empty and mean nothing
  std::vector<ProcessId> keep = {};
  std::vector<ProcessOrder> start = {};   ///< whatever is in neither list is to be ended, and, where it has ended, forgotten
};

/// Where others reach a job's driver, and what it says of itself. The head keeps it in memory alone: it stands in no store and no log, and a driver says it to
/// every head.
struct Endpoint {
  std::string place;        ///< "tcp:HOST:PORT"; empty: nobody is to come
  std::string network;      ///< the name of the job's own network,
  std::string token = {};   ///< and what lets others in there
  std::string about = {};   ///< in words of the driver's own: which tables it has, say
  bool operator==(const Endpoint&) const = default;
};

/// From a job's driver: these processes are to run. All that are not placed yet start together or wait together. A name with a higher incarnation than before
/// replaces the life before it. Answered when something differs from `seen`, or after kReportHold. NotFound: no such job, or it is over for this driver.
struct Claim {
  JobId job = 0;
  uint64_t attempt = 1;               ///< the driver's own incarnation
  std::vector<ProcessOrder> wanted;   ///< without the driver; program empty: the job's
  uint64_t seen = 0;
  uint64_t number = 0;   ///< rises within an attempt: one that was overtaken changes nothing
  Endpoint endpoint = {};
  bool same_endpoint = false;   ///< it is left out: an earlier claim, which was answered, has said it. Unavailable: this head has not heard it
};
struct ClaimedProcess {
  ProcessId id;
  ProcessState state = ProcessState::kWaiting;
  int32_t code = 0;
  std::string reason;        ///< why it waits, or ended
  std::string node;          ///< name
  std::string before = {};   ///< to Inspect: how the life before it ended, and where; empty: this head knows of none
  bool leaves = false;       ///< it is to leave its node, and runs on until its driver has another one in its place (ProcessOrder::hand_over_max)
};
/// reply to Claim
struct Claimed {
  uint64_t version = 0;
  std::vector<ClaimedProcess> processes = {};   ///< those that are wanted
};

struct JobSpec {
  /// Of `attempts`, a service's: its driver may be lost, and be sent to another node, as often as it takes; what it needs is elsewhere too.
  static constexpr uint32_t kEndless = UINT32_MAX;

  std::string name;                ///< for people
  std::string queue = "default";   ///< queues share the cluster's cores by their weights
  std::string program;             ///< hash; the head must have its bytes (PutProgram)
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::string folder;
  ProcessNeeds needs;                        ///< of the driver
  uint32_t attempts = 3;                     ///< drivers that may be lost (with their node, by a signal); one that exits by itself is not started again
  std::chrono::milliseconds time_limit{0};   ///< from its first start; 0: none
  int32_t priority = 0;                      ///< within its queue the higher ones begin first, of these the oldest
};
/// `request` is the caller's own: asked again with the same one it is the same job.
struct Submit {
  std::string request;
  JobSpec spec;
};
/// reply to Submit. NotFound: the program's bytes are not there.
struct Submitted {
  JobId job = 0;
};

enum class JobState : uint8_t { kQueued, kRunning, kSucceeded, kFailed, kStopped };
const char* ToString(JobState state);
inline bool IsOver(JobState state) {
  return state >= JobState::kSucceeded;
}

struct JobStatus {
  JobId job = 0;
  JobSpec spec;
  JobState state = JobState::kQueued;
  int32_t code = 0;                                         ///< of its driver, when it is over
  std::string reason;                                       ///< why it waits, failed or was stopped
  uint64_t attempt = 0;                                     ///< drivers started so far
  int64_t submitted_ms = 0, started_ms = 0, ended_ms = 0;   ///< since 1970; 0: not yet
  /// Those that are wanted now; of a job that is over, where it is asked for alone: the last life of each that there was.
  std::vector<ClaimedProcess> processes = {};
  std::string about = {};   ///< in its driver's words (Endpoint::about); left out where the job is asked for alone
};

enum class NodeState : uint8_t { kJoining, kUp, kSuspect, kDown, kDraining, kLeft };
const char* ToString(NodeState state);

struct NodeStatus {
  NodeId node{};
  Incarnation incarnation{};
  std::string name, host;
  NodeState state = NodeState::kJoining;
  std::string reason;
  NodeCapacity capacity;
  uint32_t cores_used = 0;
  uint64_t memory_used = 0;
  uint32_t processes = 0;
  uint64_t disk_used = 0;
  std::map<std::string, uint32_t> accelerators_used = {};
  int64_t since_ms = 0;   ///< of its state, since 1970
};

struct QueueStatus {
  std::string name;
  uint32_t weight = 1;
  uint64_t cores = 0;                  ///< that its running jobs have or ask for, at least one each: what is shared
  uint32_t running = 0, waiting = 0;   ///< jobs
};

/// What the cluster is like. Answered when something differs from `seen` (0: at once), or after kReportHold.
struct Inspect {
  JobId job = 0;   ///< this one alone, and no nodes; 0: everything
  uint64_t seen = 0;
};
/// reply to Inspect. NotFound: no such job.
struct Inspected {
  uint64_t version = 0;
  uint64_t generation = 0;
  std::vector<NodeStatus> nodes = {};
  std::vector<JobStatus> jobs = {};
  std::vector<QueueStatus> queues = {};   ///< those that have a weight of their own, or a job
  std::vector<std::string> events = {};   ///< the last ones of the supervision tree, oldest first: what ended, what was done about it, why
};

/// NotFound: no such job or node. FailedPrecondition: the job is over.
struct StopJob {
  JobId job = 0;
};
/// Where is the driver of this job? Answered with its Endpoint. NotFound: no such job. FailedPrecondition: it is over. Unavailable: no driver has said it
/// (yet).
struct FindEndpoint {
  JobId job = 0;
};

/// Of a drained node FailedPrecondition: it is not up; or, without `force`, it is the only one that is, and jobs would wait for another one.
struct DrainNode {
  std::string node;   ///< its name
  bool force = false;
};
struct Done {};

/// The output of one life of a process, from `offset` on, at most kPartBytes; empty when there is no more now.
struct ReadOutput {
  ProcessId id;
  bool errors = false;   ///< what it wrote to stderr, else to stdout
  uint64_t offset = 0;
};
/// reply to ReadOutput. NotFound: no such job or process. Unavailable: its node does not answer.
struct Output {
  Block bytes;
  bool over = false;   ///< the process has ended and these are its last bytes
};
inline constexpr size_t kPartBytes = 256 << 10;

/// Bytes of a program, in parts; it is there when the last is. Asked again it changes nothing.
struct PutProgram {
  std::string hash;
  uint64_t size = 0;
  uint64_t offset = 0;
  Block bytes;
};
/// reply to PutProgram
struct ProgramPut {
  uint64_t have = 0;   ///< bytes, from the first on: go on there; `size`: all, and their hash is right. DataLoss: it is not
};
struct GetProgram {
  std::string hash;
  uint64_t offset = 0;
};
/// reply to GetProgram. NotFound: it is not there.
struct ProgramPart {
  uint64_t size = 0;
  Block bytes;
};

using HeadActor = caf::typed_actor<caf::replies_to<Report>::with<Orders>, caf::replies_to<Claim>::with<Claimed>, caf::replies_to<Submit>::with<Submitted>,
                                   caf::replies_to<Inspect>::with<Inspected>, caf::replies_to<StopJob>::with<Done>, caf::replies_to<DrainNode>::with<Done>,
                                   caf::replies_to<ReadOutput>::with<Output>, caf::replies_to<PutProgram>::with<ProgramPut>,
                                   caf::replies_to<GetProgram>::with<ProgramPart>, caf::replies_to<FindEndpoint>::with<Endpoint>>;
/// What a node answers: the output of processes that it ran.
using NodeActor = caf::typed_actor<caf::replies_to<ReadOutput>::with<Output>>;

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Report)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Orders)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Claim)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Claimed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Submit)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Submitted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Inspect)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Inspected)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::StopJob)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::DrainNode)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Done)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ReadOutput)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Output)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::PutProgram)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ProgramPut)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::GetProgram)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ProgramPart)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::FindEndpoint)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Endpoint)
