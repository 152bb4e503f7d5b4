#include "actors/cluster/head.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

std::string JobKey(JobId job) {
  return absl::StrCat("job/", absl::Dec(job, absl::kZeroPad20));
}
std::string NodeKey(NodeId node) {
  return absl::StrCat("node/", static_cast<uint32_t>(node));
}

bool TakesProcesses(NodeState state) {
  return state == NodeState::kUp;
}
bool MayRun(NodeState state) {
  return state == NodeState::kUp || state == NodeState::kSuspect || state == NodeState::kDraining;
}

constexpr std::chrono::seconds kTickMax{1};   // between two ticks of a head that is awake

std::string HowItEnded(int32_t code, const std::string& reason) {
  if (!reason.empty()) return reason;
  return code < 0 ? absl::StrCat("killed by signal ", -code) : absl::StrCat("exit code ", code);
}

}   // namespace

absl::StatusOr<Head> Head::Make(HeadOptions options, uint64_t generation, const std::map<std::string, std::string>& records, Clock::Time now) {
  Head head(options, generation, now);
  for (const auto& [key, value] : records) {
    if (key.starts_with("job/")) {
      TROUPE_TRY(JobRecord record, DecodeJobRecord(value));
      const JobId id = record.status.job;
      Job& job = head.jobs_[id];
      job.status = std::move(record.status);
      job.request = std::move(record.request);
      job.driver_nodes = std::move(record.driver_nodes);
      job.started = now;
      job.recovered = job.status.state == JobState::kRunning;
      job.version = head.version_;
      head.last_job_ = std::max(head.last_job_, id);
    } else if (key.starts_with("node/")) {
      TROUPE_TRY(NodeRecord record, DecodeNodeRecord(value));
      const NodeId id = record.status.node;
      Node& node = head.nodes_[id];
      node.status = std::move(record.status);
      node.places = std::move(record.places);
      node.heard = now;
      node.returned = !MayRun(node.status.state);
      node.version = head.version_;
    }
  }
  return head;
}

void Head::Touch(Job& job) {
  job.version = ++version_;
}
void Head::Touch(NodeId node) {
  const auto it = nodes_.find(node);
  if (it != nodes_.end()) it->second.version = ++version_;
}
void Head::Keep(const Job& job) {
  changes_[JobKey(job.status.job)] = EncodeRecord(JobRecord{job.status, job.request, job.driver_nodes});
}
void Head::Keep(const Node& node) {
  changes_[NodeKey(node.status.node)] = EncodeRecord(NodeRecord{node.status, node.places});
}
void Head::Note(int64_t wall_ms, const std::string& event) {
  events_.push_back(absl::StrCat(absl::FormatTime("%H:%M:%S", absl::FromUnixMillis(wall_ms), absl::UTCTimeZone()), " ", event));
  if (events_.size() > options_.events_max) events_.pop_front();
  ++version_;
}
std::vector<Store::Change> Head::TakeChanges() {
  std::vector<Store::Change> changes;
  for (auto& [key, value] : changes_) changes.push_back({key, std::move(value)});
  changes_.clear();
  return changes;
}

const Head::Node* Head::Find(NodeId node) const {
  const auto it = nodes_.find(node);
  return it == nodes_.end() ? nullptr : &it->second;
}
std::string Head::NameOf(NodeId node) const {
  const Node* found = Find(node);
  return found == nullptr ? absl::StrCat("node ", static_cast<uint32_t>(node)) : found->status.name;
}
std::vector<std::string> Head::PlacesOf(NodeId node) const {
  const Node* found = Find(node);
  return found == nullptr ? std::vector<std::string>() : found->places;
}

void Head::SetNodeState(Node& node, NodeState state, const std::string& reason, int64_t wall_ms) {
  if (node.status.state == state) return;
  Note(wall_ms, absl::StrCat("node ", node.status.name, ": ", ToString(node.status.state), " -> ", ToString(state), reason.empty() ? "" : ": ", reason));
  node.status.state = state;
  node.status.reason = reason;
  node.version = ++version_;
  Keep(node);
}

absl::Status Head::OnReport(const Report& report, Clock::Time now, int64_t wall_ms) {
  if (report.node == kHeadNode || report.name.empty() || report.incarnation == Incarnation{}) {
    return absl::InvalidArgumentError("a report without node, name or incarnation");
  }
  if (report.generation > generation_) {
    return absl::UnavailableError(absl::StrCat("this head is generation ", generation_, ", and the node has obeyed generation ", report.generation));
  }
  if (!nodes_.contains(report.node)) {
    for (const auto& [id, other] : nodes_) {
      if (other.status.name != report.name) continue;
      if (MayRun(other.status.state) || other.status.state == NodeState::kJoining) {
        return absl::AlreadyExistsError(absl::StrCat("a node named '", report.name, "' is a member already (", ToString(other.status.state),
                                                     "): choose another --name, or wait until that one is down"));
      }
    }
    std::erase_if(nodes_, [&](const auto& entry) {   // what that name was before, and has ended
      if (entry.second.status.name != report.name) return false;
      changes_[NodeKey(entry.first)] = std::nullopt;
      return true;
    });
    Node& fresh = nodes_[report.node];
    fresh.status.node = report.node;
    fresh.status.name = report.name;
    fresh.version = ++version_;
  }
  Node& node = nodes_[report.node];
  NodeStatus& status = node.status;
  if (report.incarnation < status.incarnation) return absl::OkStatus();   // an older life: OrdersFor says so
  const bool same_life = report.incarnation == status.incarnation;
  const bool ended = status.state == NodeState::kDown || status.state == NodeState::kLeft;
  if (report.incarnation > status.incarnation) {
    if (status.incarnation != Incarnation{} && !ended) LoseProcesses(node, absl::StrCat("node ", status.name, " has started again"), wall_ms);
    status.incarnation = report.incarnation;
    node.number = 0;
    node.detector = FailureDetector();
    if (status.state != NodeState::kJoining) SetNodeState(node, NodeState::kJoining, "", wall_ms);
  } else if (ended) {
    return absl::OkStatus();   // quarantined: OrdersFor says so
  }
  if (report.number <= node.number) return absl::OkStatus();
  node.number = report.number;
  node.detector.Heard(now);
  node.heard = now;
  const bool first = !std::exchange(node.returned, true);
  const bool moved = node.places != report.places || status.host != report.host || status.capacity.labels != report.capacity.labels ||
                     status.capacity.cores != report.capacity.cores || status.capacity.memory != report.capacity.memory;
  status.host = report.host;
  node.places = report.places;
  status.capacity = report.capacity;
  if (moved) Keep(node);
  if (report.leaving && status.state != NodeState::kDraining) {
    SetNodeState(node, NodeState::kDraining, "it was asked to stop", wall_ms);
  } else if (status.state == NodeState::kJoining || status.state == NodeState::kSuspect) {
    SetNodeState(node, NodeState::kUp, "", wall_ms);
  }
  if (first) node.version = ++version_;   // it gets all its orders from this head
  TakeProcesses(node, report, first, wall_ms);
  if (first && same_life) PlaceDriverAgain(node);
  if (status.state == NodeState::kDraining) MoveProcesses(node, wall_ms);
  Place(now, wall_ms);
  return absl::OkStatus();
}

void Head::TakeProcesses(Node& node, const Report& report, bool first, int64_t wall_ms) {
  const NodeId id = node.status.node;
  std::set<std::pair<JobId, std::string>> reported;
  for (const ProcessReport& at_node : report.processes) {
    const auto found = jobs_.find(at_node.id.job);
    if (found == jobs_.end() || IsOver(found->second.status.state)) {
      node.version = ++version_;   // it is to end it
      continue;
    }
    Job& job = found->second;
    auto it = job.processes.find(at_node.id.name);
    if (first && job.recovered) {   // a head that has just started learns what runs
      const bool driver = at_node.id.name == kDriverName;
      const bool unknown = it == job.processes.end() || (!it->second.known && it->second.order.id.incarnation < at_node.id.incarnation);
      if (unknown && (!driver || at_node.id.incarnation == job.status.attempt)) {
        if (it != job.processes.end()) Touch(it->second.node);   // a life that had been replaced before this head's start
        Process adopted;
        adopted.order.id = at_node.id;
        adopted.order.needs = at_node.needs;
        adopted.known = false;
        adopted.state = ProcessState::kPlaced;
        adopted.node = id;
        it = job.processes.insert_or_assign(at_node.id.name, std::move(adopted)).first;
        job.last_nodes[at_node.id.name] = id;
        Touch(job);
      } else if (it != job.processes.end() && it->second.state == ProcessState::kWaiting && it->second.order.id == at_node.id) {   // its driver was heard first
        it->second.state = ProcessState::kPlaced;
        it->second.node = id;
        it->second.reason.clear();
        job.last_nodes[at_node.id.name] = id;
        Touch(job);
      }
    }
    if (it == job.processes.end() || it->second.order.id != at_node.id || it->second.node != id || it->second.state == ProcessState::kWaiting) {
      node.version = ++version_;
      continue;
    }
    reported.emplace(at_node.id.job, at_node.id.name);
    Process& process = it->second;
    if (at_node.state == ProcessState::kRunning && process.state == ProcessState::kPlaced) {
      process.state = ProcessState::kRunning;
      Touch(job);
    } else if (at_node.state == ProcessState::kEnded && process.state != ProcessState::kEnded) {
      process.kept = true;
      OnProcessEnded(job, process, at_node.code, at_node.reason, at_node.code >= 0, wall_ms);   // may forget it
    }
  }
  for (auto& [job_id, job] : jobs_) {
    if (IsOver(job.status.state)) continue;
    std::vector<std::string> lost;
    for (const auto& [name, process] : job.processes) {
      if (process.node == id && process.state == ProcessState::kRunning && !reported.contains({job_id, name})) lost.push_back(name);
    }
    for (const std::string& name : lost) {
      const auto it = job.processes.find(name);
      if (it != job.processes.end()) OnProcessEnded(job, it->second, -1, absl::StrCat("node ", node.status.name, " has lost it"), false, wall_ms);
    }
  }
}

void Head::OnProcessEnded(Job& job, Process& process, int32_t code, const std::string& reason, bool by_itself, int64_t wall_ms) {
  process.state = ProcessState::kEnded;
  process.code = code;
  process.reason = HowItEnded(code, reason);
  Note(wall_ms, absl::StrCat(ToString(process.order.id), " ended on node ", NameOf(process.node), ": ", process.reason));
  Touch(process.node);
  Touch(job);
  if (process.order.id.name == kDriverName) OnDriverEnded(job, code, std::string(process.reason), by_itself, wall_ms);
}

void Head::OnDriverEnded(Job& job, int32_t code, const std::string& reason, bool by_itself, int64_t wall_ms) {
  JobStatus& status = job.status;
  if (by_itself) {
    EndJob(job, code == 0 ? JobState::kSucceeded : JobState::kFailed, code, code == 0 ? "" : absl::StrCat("its driver ended with exit code ", code), wall_ms);
  } else if (status.attempt >= status.spec.attempts) {
    EndJob(job, JobState::kFailed, code, absl::StrCat("its driver was lost ", status.attempt, " times, the last time: ", reason), wall_ms);
  } else {
    for (const auto& [name, process] : job.processes) Touch(process.node);
    job.processes.clear();
    job.recovered = false;
    job.claim = 0;
    status.state = JobState::kQueued;
    status.reason = absl::StrCat("its driver was lost: ", reason, "; it starts again");
    Note(wall_ms, absl::StrCat("job ", status.job, ": ", status.reason));
    Touch(job);
    Keep(job);
  }
}

void Head::EndJob(Job& job, JobState state, int32_t code, const std::string& reason, int64_t wall_ms) {
  for (const auto& [name, process] : job.processes) Touch(process.node);
  job.processes.clear();
  job.status.state = state;
  job.status.code = code;
  job.status.reason = reason;
  job.status.ended_ms = wall_ms;
  Note(wall_ms, absl::StrCat("job ", job.status.job, " ", ToString(state), reason.empty() ? "" : ": ", reason));
  Touch(job);
  Keep(job);
}

/// Those that ended first, except the newest job of all: its number must not be given again.
void Head::ForgetJobs() {
  std::vector<std::pair<int64_t, JobId>> over;
  for (const auto& [id, job] : jobs_) {
    if (IsOver(job.status.state) && id != last_job_) over.emplace_back(job.status.ended_ms, id);
  }
  std::sort(over.begin(), over.end());
  for (size_t i = 0; i + options_.jobs_over_max < over.size(); ++i) {
    jobs_.erase(over[i].second);
    changes_[JobKey(over[i].second)] = std::nullopt;
    ++version_;
  }
}

/// Drivers that an earlier head has placed on `node`, and that this node, still in that life, does not know: its orders have not arrived.
void Head::PlaceDriverAgain(Node& node) {
  for (auto& [id, job] : jobs_) {
    if (!job.recovered || job.status.state != JobState::kRunning || job.driver_nodes.empty() || job.driver_nodes.back() != node.status.node) continue;
    if (job.processes.contains(kDriverName)) continue;
    job.processes[kDriverName] = Process{.order = DriverOf(job, job.status.attempt), .state = ProcessState::kPlaced, .node = node.status.node};
    Touch(job);
    Touch(node.status.node);
  }
}

void Head::LoseProcesses(Node& node, const std::string& reason, int64_t wall_ms) {
  for (auto& [id, job] : jobs_) {
    std::vector<std::string> names;
    for (const auto& [name, process] : job.processes) {
      const bool there = process.state == ProcessState::kPlaced || process.state == ProcessState::kRunning;
      if (process.node == node.status.node && there) names.push_back(name);
    }
    for (const std::string& name : names) {
      const auto it = job.processes.find(name);
      if (it != job.processes.end()) OnProcessEnded(job, it->second, -1, reason, false, wall_ms);
    }
  }
}

void Head::MoveProcesses(Node& node, int64_t wall_ms) {
  bool empty = true;
  for (auto& [id, job] : jobs_) {
    for (auto& [name, process] : job.processes) {
      if (process.node != node.status.node || process.state == ProcessState::kWaiting || process.state == ProcessState::kEnded) continue;
      empty = empty && name != kDriverName;   // a driver is left to its end
      if (name == kDriverName) continue;
      OnProcessEnded(job, process, -1, absl::StrCat("node ", node.status.name, " is drained"), false, wall_ms);
    }
  }
  if (empty) SetNodeState(node, NodeState::kLeft, node.status.reason, wall_ms);
}

bool Head::HasOrders(NodeId node, Incarnation incarnation, uint64_t seen) const {
  const Node* found = Find(node);
  return found == nullptr || incarnation < found->status.incarnation || found->version != seen || found->status.state == NodeState::kDown ||
         found->status.state == NodeState::kLeft;
}

Orders Head::OrdersFor(NodeId id, Incarnation incarnation, uint64_t seen) const {
  Orders orders{.generation = generation_};
  const Node* node = Find(id);
  if (node == nullptr || incarnation < node->status.incarnation || node->status.state == NodeState::kDown) {
    orders.verdict = Orders::Verdict::kRejoin;
    orders.incarnation = node == nullptr ? incarnation : node->status.incarnation;
    return orders;
  }
  if (node->status.state == NodeState::kLeft) {
    orders.verdict = Orders::Verdict::kLeft;
    return orders;
  }
  orders.version = node->version;
  orders.unchanged = node->version == seen;
  if (orders.unchanged) return orders;
  for (const auto& [job_id, job] : jobs_) {
    for (const auto& [name, process] : job.processes) {
      if (process.node != id) continue;
      if (process.state == ProcessState::kPlaced && process.known) {
        orders.start.push_back(process.order);
      } else if (process.state == ProcessState::kPlaced || process.state == ProcessState::kRunning || process.kept) {
        orders.keep.push_back(process.order.id);
      }
    }
  }
  return orders;
}

bool Head::AllReturned() const {
  return std::all_of(nodes_.begin(), nodes_.end(), [](const auto& entry) { return entry.second.returned; });
}

absl::Status Head::OnClaim(const Claim& claim, Clock::Time now, int64_t wall_ms) {
  const auto found = jobs_.find(claim.job);
  if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", claim.job));
  Job& job = found->second;
  if (job.status.state != JobState::kRunning || claim.attempt != job.status.attempt) {
    return absl::NotFoundError(absl::StrCat("job ", claim.job, " is ", ToString(job.status.state), ", and driver ", claim.attempt, " is not its driver"));
  }
  for (const ProcessOrder& order : claim.wanted) {
    if (order.id.job != claim.job || order.id.name.empty() || order.id.name == kDriverName) {
      return absl::InvalidArgumentError(absl::StrCat("a claim for ", ToString(order.id), " by the driver of job ", claim.job));
    }
  }
  if (claim.number < job.claim) return absl::OkStatus();   // overtaken
  job.claim = claim.number;
  std::set<std::string> wanted;
  for (const ProcessOrder& order : claim.wanted) {
    wanted.insert(order.id.name);
    auto [it, fresh] = job.processes.try_emplace(order.id.name);
    Process& process = it->second;
    if (!fresh && order.id.incarnation < process.order.id.incarnation) continue;   // an older claim that comes late
    if (!fresh && order.id.incarnation == process.order.id.incarnation) {
      if (!process.known) {
        process.order = order;
        process.known = true;
        if (process.order.program.empty()) process.order.program = job.status.spec.program;
        if (process.state == ProcessState::kPlaced) process.state = ProcessState::kRunning;   // its node has reported it
        Touch(job);
      }
      continue;
    }
    const bool unheard = fresh || !process.known;   // of this name this head knows what nodes have reported, if anything
    if (!fresh) Touch(process.node);
    process = Process{.order = order};
    if (process.order.program.empty()) process.order.program = job.status.spec.program;
    if (unheard && order.placed) {   // it was placed by an earlier head, and no node has it
      process.state = AllReturned() ? ProcessState::kEnded : ProcessState::kWaiting;
      process.code = -1;
      process.reason = AllReturned() ? "lost while the head was away" : "the head waits for its nodes to come back";
      if (!AllReturned()) {   // asked again it may have turned up
        wanted.erase(order.id.name);
        job.processes.erase(it);
        continue;   // nothing that anybody waits for
      }
    }
    Touch(job);
  }
  for (auto it = job.processes.begin(); it != job.processes.end();) {
    if (it->first == kDriverName || wanted.contains(it->first) || (!it->second.known && !AllReturned())) {
      ++it;
      continue;
    }
    Touch(it->second.node);
    Touch(job);
    it = job.processes.erase(it);
  }
  Place(now, wall_ms);
  return absl::OkStatus();
}

ClaimedProcess Head::Describe(const Process& process) const {
  const bool placed = process.state != ProcessState::kWaiting && process.node != NodeId{};
  return {process.order.id, process.state, process.code, process.reason, placed ? NameOf(process.node) : ""};
}

absl::StatusOr<Claimed> Head::ClaimedOf(JobId id, uint64_t attempt) const {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", id));
  const Job& job = found->second;
  if (job.status.state != JobState::kRunning || attempt != job.status.attempt) {
    return absl::NotFoundError(absl::StrCat("job ", id, " is ", ToString(job.status.state), ", and driver ", attempt, " is not its driver"));
  }
  Claimed claimed{.version = job.version};
  for (const auto& [name, process] : job.processes) {
    if (name != kDriverName) claimed.processes.push_back(Describe(process));
  }
  return claimed;
}

uint64_t Head::VersionOf(JobId job) const {
  const auto found = jobs_.find(job);
  return found == jobs_.end() ? 0 : found->second.version;
}

absl::StatusOr<Submitted> Head::OnSubmit(const Submit& submit, Clock::Time now, int64_t wall_ms) {
  if (submit.request.empty() || submit.spec.program.empty()) return absl::InvalidArgumentError("a job needs a request and a program");
  if (submit.spec.attempts == 0) return absl::InvalidArgumentError("attempts is 0, expected at least 1");
  for (const auto& [id, job] : jobs_) {
    if (job.request == submit.request) return Submitted{id};
  }
  Job& job = jobs_[++last_job_];
  job.status.job = last_job_;
  job.status.spec = submit.spec;
  job.status.submitted_ms = wall_ms;
  job.request = submit.request;
  Note(wall_ms, absl::StrCat("job ", last_job_, " submitted: ", submit.spec.name));
  Touch(job);
  Keep(job);
  Place(now, wall_ms);
  return Submitted{last_job_};
}

absl::Status Head::OnStop(const StopJob& stop, Clock::Time now, int64_t wall_ms) {
  const auto found = jobs_.find(stop.job);
  if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", stop.job));
  Job& job = found->second;
  if (IsOver(job.status.state)) return absl::FailedPreconditionError(absl::StrCat("job ", stop.job, " is over: ", ToString(job.status.state)));
  EndJob(job, JobState::kStopped, -1, "stopped on request", wall_ms);
  Place(now, wall_ms);
  return absl::OkStatus();
}

absl::Status Head::OnDrain(const DrainNode& drain, Clock::Time now, int64_t wall_ms) {
  for (auto& [id, node] : nodes_) {
    if (node.status.name != drain.node) continue;
    if (!MayRun(node.status.state)) {
      return absl::FailedPreconditionError(absl::StrCat("node ", drain.node, " is ", ToString(node.status.state), ", expected one that is up"));
    }
    SetNodeState(node, NodeState::kDraining, "on request", wall_ms);
    if (node.returned) MoveProcesses(node, wall_ms);   // else what runs there is not known yet
    Place(now, wall_ms);
    return absl::OkStatus();
  }
  return absl::NotFoundError(absl::StrCat("there is no node named '", drain.node, "'"));
}

JobStatus Head::StatusOf(const Job& job) const {
  JobStatus status = job.status;
  status.spec.arguments.clear();   // they may be large, and the environment is nobody's business
  status.spec.environment.clear();
  for (const auto& [name, process] : job.processes) status.processes.push_back(Describe(process));
  return status;
}

absl::StatusOr<Inspected> Head::OnInspect(const Inspect& inspect) const {
  Inspected inspected{.version = version_, .generation = generation_};
  if (inspect.job != 0) {
    const auto found = jobs_.find(inspect.job);
    if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", inspect.job));
    inspected.version = found->second.version;
    inspected.jobs.push_back(StatusOf(found->second));
    return inspected;
  }
  std::map<NodeId, Room> rooms;
  for (const auto& [id, job] : jobs_) {
    inspected.jobs.push_back(StatusOf(job));
    for (const auto& [name, process] : job.processes) {
      if (process.state != ProcessState::kPlaced && process.state != ProcessState::kRunning) continue;
      Room& room = rooms[process.node];
      room.cores_used += process.order.needs.cores;
      room.memory_used += process.order.needs.memory;
      ++room.processes;
    }
  }
  for (const auto& [id, node] : nodes_) {
    NodeStatus status = node.status;
    status.cores_used = rooms[id].cores_used;
    status.memory_used = rooms[id].memory_used;
    status.processes = rooms[id].processes;
    inspected.nodes.push_back(std::move(status));
  }
  inspected.events.assign(events_.begin(), events_.end());
  return inspected;
}

absl::StatusOr<NodeId> Head::OutputOf(const ProcessId& id) const {
  const auto found = jobs_.find(id.job);
  if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", id.job));
  const Job& job = found->second;
  if (id.name == kDriverName) {
    if (id.incarnation >= 1 && id.incarnation <= job.driver_nodes.size()) return job.driver_nodes[id.incarnation - 1];
    return absl::NotFoundError(absl::StrCat("job ", id.job, " has had ", job.driver_nodes.size(), " drivers, and no number ", id.incarnation));
  }
  const auto last = job.last_nodes.find(id.name);
  if (last != job.last_nodes.end()) return last->second;
  return absl::NotFoundError(absl::StrCat("job ", id.job, " has no process '", id.name, "' whose output is known"));
}

std::optional<std::string> Head::DriverMissing(const Job& job) const {
  if (job.status.state != JobState::kRunning || job.processes.contains(kDriverName)) return std::nullopt;
  const Node* node = job.driver_nodes.empty() ? nullptr : Find(job.driver_nodes.back());
  if (node == nullptr || !MayRun(node->status.state)) return "its node is not there any more";
  if (node->returned) return absl::StrCat("node ", node->status.name, " does not have it");
  return std::nullopt;
}

/// A head that was stopped or asleep for a while has not listened: reports may wait to be read.
void Head::ExcuseSilence(Clock::Time now) {
  const Clock::Duration away = now - std::exchange(ticked_, now);
  if (away <= kTickMax) return;
  started_ += away;
  for (auto& [id, node] : nodes_) {
    node.detector.Excuse(away);
    node.heard += away;
  }
}

void Head::Tick(Clock::Time now, int64_t wall_ms) {
  ExcuseSilence(now);
  for (auto& [id, node] : nodes_) {
    if (!MayRun(node.status.state)) continue;
    const Clock::Duration silent = now - node.heard;
    if (!node.returned) {
      if (now - started_ >= options_.return_max) {
        node.returned = true;
        SetNodeState(node, NodeState::kDown, "it did not come back to a head that was started again", wall_ms);
        LoseProcesses(node, absl::StrCat("node ", node.status.name, " is down"), wall_ms);
      }
      continue;
    }
    const double phi = node.detector.Phi(now);
    if (phi >= options_.down_phi && silent >= options_.lease) {
      SetNodeState(node, NodeState::kDown, absl::StrCat("silent for ", absl::ToInt64Milliseconds(absl::FromChrono(silent)), " ms"), wall_ms);
      LoseProcesses(node, absl::StrCat("node ", node.status.name, " is down"), wall_ms);
    } else if (phi >= options_.suspect_phi && node.status.state == NodeState::kUp) {
      SetNodeState(node, NodeState::kSuspect, absl::StrCat("silent for ", absl::ToInt64Milliseconds(absl::FromChrono(silent)), " ms"), wall_ms);
    }
  }
  for (auto& [id, job] : jobs_) {
    if (job.status.state == JobState::kRunning && job.status.spec.time_limit.count() > 0 && now - job.started >= job.status.spec.time_limit) {
      EndJob(job, JobState::kFailed, -1, absl::StrCat("it has taken longer than its time limit, ", job.status.spec.time_limit.count() / 1000, " s"), wall_ms);
    }
    if (const auto why = DriverMissing(job)) OnDriverEnded(job, -1, *why, false, wall_ms);
  }
  ForgetJobs();
  Place(now, wall_ms);
}

std::vector<Room> Head::Rooms() const {
  std::vector<Room> rooms;
  for (const auto& [id, node] : nodes_) {
    if (!TakesProcesses(node.status.state) || !node.returned) continue;
    Room room{.node = id, .capacity = node.status.capacity};
    for (const auto& [job_id, job] : jobs_) {
      for (const auto& [name, process] : job.processes) {
        if (process.node != id || (process.state != ProcessState::kPlaced && process.state != ProcessState::kRunning)) continue;
        room.cores_used += process.order.needs.cores;
        room.memory_used += process.order.needs.memory;
        ++room.processes;
        if (!process.order.needs.apart.empty()) room.apart.emplace_back(job_id, process.order.needs.apart);
      }
    }
    rooms.push_back(std::move(room));
  }
  return rooms;
}

ProcessOrder Head::DriverOf(const Job& job, uint64_t attempt) const {
  const JobSpec& spec = job.status.spec;
  return {.id = {job.status.job, kDriverName, attempt},
          .needs = spec.needs,
          .program = spec.program,
          .arguments = spec.arguments,
          .environment = spec.environment,
          .folder = spec.folder};
}

std::vector<ProcessOrder> Head::GangOf(const Job& job) const {
  std::vector<ProcessOrder> gang;
  if (job.status.state == JobState::kQueued) {
    gang.push_back(DriverOf(job, job.status.attempt + 1));
  } else {
    for (const auto& [name, process] : job.processes) {
      if (process.state == ProcessState::kWaiting) gang.push_back(process.order);
    }
  }
  return gang;
}

bool Head::FitsAlone(const Job& job) const {
  std::vector<ProcessOrder> all = GangOf(job);
  for (const auto& [name, process] : job.processes) {
    if (process.state == ProcessState::kPlaced || process.state == ProcessState::kRunning) all.push_back(process.order);
  }
  std::vector<Room> rooms;
  for (const Room& room : Rooms()) rooms.push_back({.node = room.node, .capacity = room.capacity});
  return PlaceAll(all, rooms).ok();
}

bool Head::PlaceWaiting(Job& job, std::vector<Room>& rooms, Clock::Time now, int64_t wall_ms) {
  const std::vector<ProcessOrder> gang = GangOf(job);
  if (gang.empty()) return true;
  if (job.recovered && !AllReturned()) {   // they may run on a node that has not come back yet
    for (const ProcessOrder& order : gang) {
      Process& process = job.processes[order.id.name];
      const std::string why = "the head waits for its nodes to come back";
      if (std::exchange(process.reason, why) != why) Touch(job);
    }
    return true;
  }
  const absl::StatusOr<std::vector<NodeId>> nodes = PlaceAll(gang, rooms);
  if (!nodes.ok()) {
    const std::string why(Message(nodes.status()));
    if (job.status.state == JobState::kQueued) {
      if (job.status.reason != why) {
        job.status.reason = why;
        Touch(job);
      }
    } else {
      for (const ProcessOrder& order : gang) {
        Process& process = job.processes[order.id.name];
        if (process.reason == why) continue;
        process.reason = why;
        Touch(job);
      }
    }
    return false;
  }
  if (job.status.state == JobState::kQueued) {
    JobStatus& status = job.status;
    status.state = JobState::kRunning;
    status.reason.clear();
    ++status.attempt;
    if (status.started_ms == 0) {
      status.started_ms = wall_ms;
      job.started = now;
    }
    job.driver_nodes.push_back(nodes->front());
    job.processes[kDriverName].order = gang.front();
    Keep(job);
  }
  for (size_t i = 0; i < gang.size(); ++i) {
    Process& process = job.processes[gang[i].id.name];
    process.state = ProcessState::kPlaced;
    process.node = (*nodes)[i];
    process.reason.clear();
    if (gang[i].id.name != kDriverName) job.last_nodes[gang[i].id.name] = process.node;
    Note(wall_ms, absl::StrCat(ToString(gang[i].id), " is placed on node ", NameOf(process.node)));
    Touch(process.node);
  }
  Touch(job);
  return true;
}

void Head::Place(Clock::Time now, int64_t wall_ms) {
  if (placed_ == version_) return;   // nothing has changed
  placed_ = version_;
  std::vector<Room> rooms = Rooms();
  // What runs is made whole first, the oldest job first. Then queues take turns: the one that uses the fewest cores begins its oldest job. The first that finds
  // no room ends it: later ones must not take, bit by bit, what it waits for. Unless it waits for more than there is.
  std::map<std::string, uint64_t> used;
  bool whole = true;
  for (auto& [id, job] : jobs_) {
    if (job.status.state != JobState::kRunning) continue;
    const bool placed = PlaceWaiting(job, rooms, now, wall_ms) || !FitsAlone(job);
    whole = placed && whole;   // one that waits for others does not keep these from ending
    for (const auto& [name, process] : job.processes) used[job.status.spec.queue] += process.order.needs.cores;
  }
  std::set<JobId> passed_by;
  while (whole) {
    Job* next = nullptr;
    for (auto& [id, job] : jobs_) {
      if (job.status.state != JobState::kQueued || passed_by.contains(id)) continue;
      if (next == nullptr || used[job.status.spec.queue] < used[next->status.spec.queue]) next = &job;
    }
    if (next == nullptr) return;
    if (!PlaceWaiting(*next, rooms, now, wall_ms)) {
      if (FitsAlone(*next)) return;
      passed_by.insert(next->status.job);
      continue;
    }
    used[next->status.spec.queue] += std::max<uint64_t>(1, next->status.spec.needs.cores);   // its workers will follow
  }
}

}   // namespace troupe
