// The head's nodes: who is a member, what each reports, and whose silence says that it is gone. Jobs: head_jobs.cc. What runs where: head_placing.cc.
#include "actors/cluster/head.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "actors/cluster/records.h"
#include "actors/printable.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

bool MayRun(NodeState state) {
  return state == NodeState::kUp || state == NodeState::kSuspect || state == NodeState::kDraining;
}
bool IsGone(NodeState state) {
  return state == NodeState::kDown || state == NodeState::kLeft;
}

constexpr int32_t kMovedCode = -9;            // of a process that its node has ended for the head
constexpr std::chrono::seconds kTickMax{1};   // between two ticks of a head that is awake

}   // namespace

Head::Head(HeadOptions options, uint64_t generation, Clock::Time now)
    : options_(std::move(options)),
      generation_(generation),
      silence_min_(FailureDetector::SilenceMin({}, std::min(options_.suspect_phi, options_.down_phi))),
      started_(now),
      ticked_(now) {}

absl::StatusOr<Head> Head::Make(HeadOptions options, uint64_t generation, const std::map<std::string, std::string>& records, Clock::Time now, int64_t wall_ms) {
  Head head(std::move(options), generation, now);
  for (const auto& [key, value] : records) {
    if (key.starts_with(kJobRecords)) {
      TROUPE_TRY(JobRecord record, DecodeJobRecord(value));
      const JobId id = record.status.job;
      Job& job = head.jobs_[id];
      job.status = std::move(record.status);
      job.request = std::move(record.request);
      job.driver_nodes = std::move(record.driver_nodes);
      job.version = head.version_;
      head.last_job_ = std::max(head.last_job_, id);
      head.requests_[job.request] = id;
      const JobStatus& status = job.status;
      job.recovered = status.state == JobState::kRunning;
      if (job.recovered) {
        head.driverless_.insert(id);
        ++head.queues_[status.spec.queue].running;
        head.Recount(job);
      }
      if (status.state == JobState::kQueued) head.Enqueue(job);
      if (IsOver(status.state)) head.over_.emplace(status.ended_ms, id);
      if (!IsOver(status.state) && status.started_ms != 0 && status.spec.time_limit.count() > 0) {
        const std::chrono::milliseconds taken(std::clamp<int64_t>(wall_ms - status.started_ms, 0, status.spec.time_limit.count()));
        head.limits_.emplace(now + status.spec.time_limit - taken, id);
      }
    } else if (key.starts_with(kLifeRecords)) {
      TROUPE_TRY(const LifeRecord life, ReadLifeRecord(key, value));
      const auto job = head.jobs_.find(life.job);   // jobs' records come before
      if (job != head.jobs_.end()) job->second.placed[life.name] = life.incarnation;
    } else if (key.starts_with(kNodeRecords)) {
      TROUPE_TRY(NodeRecord record, DecodeNodeRecord(value));
      const NodeId id = record.status.node;
      Node& node = head.nodes_[id];
      node.status = std::move(record.status);
      if (node.status.since_ms == 0) node.status.since_ms = wall_ms;
      node.places = std::move(record.places);
      node.heard = now;
      node.returned = !MayRun(node.status.state);
      node.version = head.version_;
      head.names_[node.status.name] = id;
      head.missing_ += !node.returned;
      head.members_ += MayRun(node.status.state);
      if (IsGone(node.status.state)) head.gone_.emplace(node.status.since_ms, id);
      head.PutRoom(node);
    }
  }
  return head;
}

void Head::Touch(Job& job) {
  job.version = ++version_;
  news_.jobs.insert(job.status.job);
}
void Head::Touch(Node& node) {
  node.version = ++version_;
  news_.nodes.insert(node.status.node);
}
void Head::Touch(NodeId node) {
  const auto it = nodes_.find(node);
  if (it != nodes_.end()) Touch(it->second);
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

/// What of the node can be promised.
void Head::PutRoom(const Node& node) {
  rooms_.Put(node.status.node, node.status.capacity, node.status.state == NodeState::kUp && node.returned);
}

void Head::SetNodeState(Node& node, NodeState state, const std::string& reason, int64_t wall_ms) {
  NodeStatus& status = node.status;
  if (status.state == state) return;
  Note(wall_ms, absl::StrCat("node ", status.name, ": ", ToString(status.state), " -> ", ToString(state), reason.empty() ? "" : ": ", reason));
  members_ -= MayRun(status.state);
  members_ += MayRun(state);
  if (IsGone(status.state)) gone_.erase({status.since_ms, status.node});
  // Whether a node is suspected is found out again; what else it is must not be forgotten.
  const bool keep = !(status.state == NodeState::kUp && state == NodeState::kSuspect) && !(status.state == NodeState::kSuspect && state == NodeState::kUp);
  status.state = state;
  status.reason = reason;
  status.since_ms = wall_ms;
  if (IsGone(state)) gone_.emplace(status.since_ms, status.node);
  PutRoom(node);
  Touch(node);
  if (keep) Keep(node);
}

/// A node that this head has not heard of.
absl::Status Head::Join(const Report& report) {
  if (const auto named = names_.find(report.name); named != names_.end()) {
    const NodeStatus& other = nodes_.at(named->second).status;
    if (MayRun(other.state) || other.state == NodeState::kJoining) {
      return absl::AlreadyExistsError(absl::StrCat("a node named '", report.name, "' is a member already (", ToString(other.state),
                                                   "): choose another --name, or wait until that one is down"));
    }
    ForgetNode(named->second);   // what that name was before, and has ended
  }
  Node& fresh = nodes_[report.node];
  fresh.status.node = report.node;
  fresh.status.name = report.name;
  names_[report.name] = report.node;
  PutRoom(fresh);
  Touch(fresh);
  return absl::OkStatus();
}

void Head::ForgetNode(NodeId node) {
  const auto it = nodes_.find(node);
  const NodeStatus& status = it->second.status;
  if (it->second.watched) watch_.erase({*it->second.watched, node});
  gone_.erase({status.since_ms, node});
  names_.erase(status.name);
  rooms_.Remove(node);
  changes_[NodeKey(node)] = std::nullopt;
  ++version_;
  nodes_.erase(it);
}

absl::Status Head::OnReport(const Report& report, Clock::Time now, int64_t wall_ms) {
  if (report.node == kHeadNode || report.name.empty() || report.incarnation == Incarnation{}) {
    return absl::InvalidArgumentError("a report without node, name or incarnation");
  }
  if (const Node* known = Find(report.node); known == nullptr || !(known->status.capacity == report.capacity)) {   // not with every report
    TROUPE_RETURN_IF_ERROR(CheckPrintable("a node's name", report.name));
    for (const auto& [name, value] : report.capacity.labels) TROUPE_RETURN_IF_ERROR(CheckPrintable("a node's label", absl::StrCat(name, "=", value)));
    for (const auto& [kind, count] : report.capacity.accelerators) TROUPE_RETURN_IF_ERROR(CheckPrintable("a node's accelerator", kind));
  }
  if (report.generation > generation_) {
    return absl::UnavailableError(absl::StrCat("this head is generation ", generation_, ", and the node has obeyed generation ", report.generation));
  }
  if (!nodes_.contains(report.node)) TROUPE_RETURN_IF_ERROR(Join(report));
  Node& node = nodes_[report.node];
  NodeStatus& status = node.status;
  if (report.incarnation < status.incarnation) return absl::OkStatus();   // an older life: OrdersFor says so
  const bool same_life = report.incarnation == status.incarnation;
  const bool ended = IsGone(status.state);
  if (report.incarnation > status.incarnation) {
    if (status.incarnation != Incarnation{} && !ended) LoseProcesses(node, absl::StrCat("node ", status.name, " has started again"), wall_ms);
    status.incarnation = report.incarnation;
    node.number = 0;
    node.detector = FailureDetector();
    SetNodeState(node, NodeState::kJoining, "", wall_ms);
  } else if (ended) {
    return absl::OkStatus();   // quarantined: OrdersFor says so
  }
  if (report.number <= node.number) return absl::OkStatus();
  node.number = report.number;
  const bool first = !node.returned;
  Returned(node);
  if (node.places != report.places || status.host != report.host || status.capacity != report.capacity) {
    status.host = report.host;
    node.places = report.places;
    status.capacity = report.capacity;
    ++version_;
    PutRoom(node);
    Keep(node);
  }
  if (report.leaving && status.state != NodeState::kDraining) {
    SetNodeState(node, NodeState::kDraining, "it was asked to stop", wall_ms);
  } else if (status.state == NodeState::kJoining || status.state == NodeState::kSuspect) {
    SetNodeState(node, NodeState::kUp, "", wall_ms);
  }
  node.detector.Heard(now, report_hold());
  node.heard = now;
  if (!node.watched) Watch(node, now + silence_min_);
  if (first) Touch(node);   // it gets all its orders from this head
  TakeProcesses(node, report, first, wall_ms);
  if (first && same_life) PlaceDriverAgain(node);
  if (status.state == NodeState::kDraining) MoveProcesses(node, now, wall_ms);
  Place(now, wall_ms);
  return absl::OkStatus();
}

void Head::Returned(Node& node) {
  if (std::exchange(node.returned, true)) return;
  --missing_;
  ++version_;   // others may have waited for this
  PutRoom(node);
}

/// A head that has just started learns what runs.
void Head::LearnProcess(Node& node, Job& job, const ProcessReport& at_node) {
  if (at_node.cannot_start) return;   // it never began here, and may run elsewhere by now
  const NodeId id = node.status.node;
  const auto it = job.processes.find(at_node.id.name);
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
    Put(job, std::move(adopted));
  } else if (it != job.processes.end() && it->second.state == ProcessState::kWaiting && it->second.order.id == at_node.id) {   // its driver was heard first
    Change(job, it->second, [&] {
      it->second.state = ProcessState::kPlaced;
      it->second.node = id;
    });
    it->second.reason.clear();
  } else {
    return;
  }
  if (!driver) job.last_nodes[at_node.id.name] = id;
  Touch(job);
}

void Head::TakeProcesses(Node& node, const Report& report, bool first, int64_t wall_ms) {
  const NodeId id = node.status.node;
  std::set<std::pair<JobId, std::string>> reported;
  for (const ProcessReport& at_node : report.processes) {
    const auto found = jobs_.find(at_node.id.job);
    if (found == jobs_.end() || IsOver(found->second.status.state)) {
      Touch(node);   // it is to end it
      continue;
    }
    Job& job = found->second;
    if (first && job.recovered) LearnProcess(node, job, at_node);
    const auto it = job.processes.find(at_node.id.name);
    if (it == job.processes.end() || it->second.order.id != at_node.id || it->second.node != id || it->second.state == ProcessState::kWaiting) {
      Touch(node);
      continue;
    }
    reported.emplace(at_node.id.job, at_node.id.name);
    Process& process = it->second;
    if (at_node.state == ProcessState::kRunning && process.state == ProcessState::kPlaced) {
      process.state = ProcessState::kRunning;
      Touch(job);
    } else if (at_node.state == ProcessState::kEnded && process.state != ProcessState::kEnded) {
      if (at_node.cannot_start) {
        OnRefused(job, process, at_node.reason, wall_ms);
        continue;
      }
      process.kept = true;
      OnProcessEnded(job, process, at_node.code, at_node.reason, at_node.code >= 0, wall_ms);   // may forget it
    }
  }
  Names lost, moved;
  for (const auto& at : node.processes) {
    const Process& process = jobs_.at(at.first).processes.at(at.second);
    if (!reported.contains(at) && process.state == ProcessState::kRunning) (process.moves ? moved : lost).push_back(at);
  }
  LoseThese(lost, kLostCode, absl::StrCat("node ", node.status.name, " has lost it"), wall_ms);
  const bool drained = node.status.state == NodeState::kDraining;
  LoseThese(moved, kMovedCode, absl::StrCat("node ", node.status.name, drained ? " is drained" : ": it gives way to others that wait"), wall_ms);
}

/// Those that are still there when their turn comes: a driver's loss takes the others of its job along.
void Head::LoseThese(const Names& lost, int32_t code, const std::string& reason, int64_t wall_ms) {
  for (const auto& [id, name] : lost) {
    Job& job = jobs_.at(id);
    const auto it = job.processes.find(name);
    if (it != job.processes.end()) OnProcessEnded(job, it->second, code, reason, false, wall_ms);
  }
}

Head::Names Head::RunningOn(const Node& node) const {
  Names running;
  for (const auto& at : node.processes) {
    if (jobs_.at(at.first).processes.at(at.second).state != ProcessState::kEnded) running.push_back(at);
  }
  return running;
}

void Head::LoseProcesses(Node& node, const std::string& reason, int64_t wall_ms) {
  LoseThese(RunningOn(node), kLostCode, reason, wall_ms);
}

/// Is it its driver's to end, as yet? (What a driver wants of a process that was adopted is not known before it has claimed it.)
bool Head::HandsOver(Job& job, Process& process, Clock::Time now) {
  if (!process.known) return true;
  if (process.order.hand_over_max.count() == 0) return false;
  if (std::exchange(process.spreads, false)) process.leaves_by.reset();   // now it must leave, and has as long as any other
  if (!process.leaves_by) {
    process.leaves_by = now + process.order.hand_over_max;
    Touch(job);
  }
  return now < *process.leaves_by;
}

void Head::MoveProcesses(Node& node, Clock::Time now, int64_t wall_ms) {
  Names unstarted;
  for (const auto& [id, name] : RunningOn(node)) {
    Job& job = jobs_.at(id);
    Process& process = job.processes.at(name);
    if (process.moves || (name == kDriverName && job.status.spec.attempts != JobSpec::kEndless)) continue;   // left to its end
    if (process.state == ProcessState::kRunning) {
      if (HandsOver(job, process, now)) continue;
      process.moves = true;
      Touch(node);
    } else {
      unstarted.emplace_back(id, name);
    }
  }
  LoseThese(unstarted, kLostCode, absl::StrCat("node ", node.status.name, " is drained"), wall_ms);
  if (RunningOn(node).empty()) SetNodeState(node, NodeState::kLeft, node.status.reason, wall_ms);
}

/// Drivers that an earlier head has placed on `node`, and that this node, still in that life, does not know: its orders have not arrived.
void Head::PlaceDriverAgain(Node& node) {
  for (const JobId id : driverless_) {
    Job& job = jobs_.at(id);
    if (job.status.state != JobState::kRunning || job.driver_nodes.empty() || job.driver_nodes.back() != node.status.node) continue;
    if (job.processes.contains(kDriverName)) continue;
    Put(job, {.order = DriverOf(job, job.status.attempt), .state = ProcessState::kPlaced, .node = node.status.node});
    Touch(job);
    Touch(node);
  }
}

bool Head::HasOrders(NodeId node, Incarnation incarnation, uint64_t seen) const {
  const Node* found = Find(node);
  return found == nullptr || incarnation < found->status.incarnation || found->version != seen || IsGone(found->status.state);
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
  for (const auto& [job, name] : node->processes) {
    const Process& process = jobs_.at(job).processes.at(name);
    if (process.state == ProcessState::kPlaced && process.known) {
      orders.start.push_back(process.order);
    } else if (process.state == ProcessState::kEnded ? process.kept : !process.moves) {
      orders.keep.push_back(process.order.id);
    }
  }
  return orders;
}

bool Head::IsLastWithWork(const Node& node) const {
  const auto other = [&node](const auto& entry) { return &entry.second != &node && entry.second.status.state == NodeState::kUp; };
  return over_.size() < jobs_.size() && std::none_of(nodes_.begin(), nodes_.end(), other);
}

absl::Status Head::OnDrain(const DrainNode& drain, Clock::Time now, int64_t wall_ms) {
  const auto named = names_.find(drain.node);
  if (named == names_.end()) return absl::NotFoundError(absl::StrCat("there is no node named '", drain.node, "'"));
  Node& node = nodes_.at(named->second);
  if (!MayRun(node.status.state)) {
    return absl::FailedPreconditionError(absl::StrCat("node ", drain.node, " is ", ToString(node.status.state), ", expected one that is up"));
  }
  if (!drain.force && IsLastWithWork(node)) {
    return absl::FailedPreconditionError(
        absl::StrCat("node ", drain.node, " is the only one that is up, and there are jobs that are not over, which would wait for another one (--force)"));
  }
  SetNodeState(node, NodeState::kDraining, "on request", wall_ms);
  if (node.returned) MoveProcesses(node, now, wall_ms);   // else what runs there is not known yet
  Place(now, wall_ms);
  return absl::OkStatus();
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

void Head::Watch(Node& node, Clock::Time when) {
  node.watched = when;
  watch_.emplace(when, node.status.node);
}

void Head::NoticeSilence(Clock::Time now, int64_t wall_ms) {
  if (!AllReturned() && now - started_ >= options_.return_max) {
    for (auto& [id, node] : nodes_) {
      if (node.returned) continue;
      Returned(node);
      SetNodeState(node, NodeState::kDown, "it did not come back to a head that was started again", wall_ms);
      LoseProcesses(node, absl::StrCat("node ", node.status.name, " is down"), wall_ms);
    }
  }
  std::vector<NodeId> due;
  while (!watch_.empty() && watch_.begin()->first <= now) {
    due.push_back(watch_.begin()->second);
    watch_.erase(watch_.begin());
  }
  for (const NodeId id : due) {
    const auto it = nodes_.find(id);
    if (it == nodes_.end()) continue;
    Node& node = it->second;
    node.watched.reset();
    if (!MayRun(node.status.state)) continue;   // until it is heard again
    const Clock::Duration silent = now - node.heard;
    if (silent < silence_min_) {
      Watch(node, node.heard + silence_min_);
      continue;
    }
    Watch(node, now);   // from now on every tick looks
    const double phi = node.detector.Phi(now);
    const std::string why = absl::StrCat("silent for ", absl::ToInt64Milliseconds(absl::FromChrono(silent)), " ms");
    if (phi >= options_.down_phi && silent >= options_.lease) {
      SetNodeState(node, NodeState::kDown, why, wall_ms);
      LoseProcesses(node, absl::StrCat("node ", node.status.name, " is down"), wall_ms);
    } else if (phi >= options_.suspect_phi && node.status.state == NodeState::kUp) {
      SetNodeState(node, NodeState::kSuspect, why, wall_ms);
    }
  }
}

void Head::ForgetNodes(int64_t wall_ms) {
  while (!gone_.empty() && wall_ms - gone_.begin()->first >= options_.gone_max.count()) ForgetNode(gone_.begin()->second);
}

void Head::Tick(Clock::Time now, int64_t wall_ms) {
  ExcuseSilence(now);
  NoticeSilence(now, wall_ms);
  NoticeTime(now, wall_ms);
  ForgetJobs();
  ForgetNodes(wall_ms);
  Place(now, wall_ms);
  Spread(now, wall_ms);
}

}   // namespace troupe
