// What the head shows of its nodes, jobs and queues.
#include "absl/strings/str_cat.h"
#include "actors/cluster/head.h"
#include "actors/status.h"

namespace troupe {

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

ClaimedProcess Head::Describe(const Process& process) const {
  const bool placed = process.state != ProcessState::kWaiting && process.node != NodeId{};
  return {.id = process.order.id,
          .state = process.state,
          .code = process.code,
          .reason = process.reason,
          .node = placed ? NameOf(process.node) : "",
          .leaves = process.leaves_by.has_value() && process.state == ProcessState::kRunning};
}

JobStatus Head::StatusOf(const Job& job) const {
  JobStatus status = job.status;
  status.spec.arguments.clear();   // they may be large, and the environment is nobody's business
  status.spec.environment.clear();
  status.about = job.endpoint.about;
  for (const auto& [name, process] : job.processes) {
    status.processes.push_back(Describe(process));
    const auto end = job.last_ends.find(name);
    if (end != job.last_ends.end() && process.state != ProcessState::kEnded) status.processes.back().before = end->second;   // else it is this life's
  }
  return status;
}

NodeStatus Head::StatusOf(const Node& node) const {
  NodeStatus status = node.status;
  const Rooms::Used& used = rooms_.UsedOf(status.node);
  status.cores_used = static_cast<uint32_t>(used.cores);
  status.memory_used = used.memory;
  status.disk_used = used.disk;
  for (const auto& [kind, count] : used.accelerators) status.accelerators_used[kind] = static_cast<uint32_t>(count);
  status.processes = used.processes;
  return status;
}

absl::StatusOr<Inspected> Head::OnInspect(const Inspect& inspect) const {
  Inspected inspected{.version = version_, .generation = generation_};
  if (inspect.job != 0) {
    const auto found = jobs_.find(inspect.job);
    if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", inspect.job));
    inspected.version = found->second.version;
    inspected.jobs.push_back(StatusOf(found->second));
    inspected.jobs.back().about.clear();
    return inspected;
  }
  std::map<std::string, QueueStatus> queues;
  for (const auto& [name, weight] : options_.queues) queues[name] = {};
  for (const auto& [id, job] : jobs_) {
    inspected.jobs.push_back(StatusOf(job));
    if (IsOver(job.status.state)) {
      inspected.jobs.back().processes.clear();
      continue;
    }
    QueueStatus& queue = queues[job.status.spec.queue];
    queue.cores += job.share;
    ++(job.status.state == JobState::kRunning ? queue.running : queue.waiting);
  }
  for (auto& [name, queue] : queues) {
    queue.name = name;
    queue.weight = WeightOf(name);
    inspected.queues.push_back(std::move(queue));
  }
  for (const auto& [id, node] : nodes_) inspected.nodes.push_back(StatusOf(node));
  inspected.events.assign(events_.begin(), events_.end());
  return inspected;
}

absl::StatusOr<Endpoint> Head::OnFindEndpoint(const FindEndpoint& find) const {
  const auto found = jobs_.find(find.job);
  if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", find.job));
  const Job& job = found->second;
  if (IsOver(job.status.state)) return absl::FailedPreconditionError(absl::StrCat("job ", find.job, " is over: ", ToString(job.status.state)));
  if (job.endpoint == Endpoint{}) return absl::UnavailableError(absl::StrCat("the driver of job ", find.job, " has not said where it is"));
  return job.endpoint;
}

absl::StatusOr<NodeId> Head::NodeOfOutput(const ProcessId& id) const {
  const auto found = jobs_.find(id.job);
  if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", id.job));
  const Job& job = found->second;
  if (id.name == kDriverName) {
    if (id.incarnation >= 1 && id.incarnation <= job.driver_nodes.size()) return job.driver_nodes[id.incarnation - 1];
    return absl::NotFoundError(absl::StrCat("job ", id.job, " has had ", job.driver_nodes.size(), " drivers, and no number ", id.incarnation));
  }
  const auto last = job.last_nodes.find(id.name);
  if (last != job.last_nodes.end()) return last->second;
  for (const ClaimedProcess& life : job.status.processes) {   // of a job that was over before this head's start
    const auto node = names_.find(life.node);
    if (life.id.name == id.name && node != names_.end()) return node->second;
  }
  return absl::NotFoundError(absl::StrCat("job ", id.job, " has no process '", id.name, "' whose output is known"));
}

absl::StatusOr<NodeId> Head::OutputOf(const ProcessId& id, bool unanswered) const {
  TROUPE_TRY(const NodeId at, NodeOfOutput(id));
  const Node* node = Find(at);
  if (node == nullptr) return absl::NotFoundError(absl::StrCat(ToString(id), ": what it has printed is on a node that has been gone for too long to be known"));
  const NodeState state = node->status.state;
  const bool gone = state == NodeState::kDown || (state == NodeState::kLeft && unanswered);   // one that has left answers until its process ends
  if (!gone) return at;
  return absl::NotFoundError(
      absl::StrCat(ToString(id), ": what it has printed is on node ", node->status.name, ", which ", state == NodeState::kDown ? "is down" : "has left"));
}

}   // namespace troupe
