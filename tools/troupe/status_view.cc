#include "tools/troupe/status_view.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "actors/text.h"
#include "algorithms/run/job_about.h"
#include "tools/troupe/table.h"

namespace troupe {
namespace {

constexpr size_t kEventsShown = 10, kOverShown = 10, kSplitsShown = 32;

std::string Time(int64_t ms) {
  return ms == 0 ? "" : absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixMillis(ms), absl::UTCTimeZone());
}

/// A driver's children of one kind.
struct Group {
  std::string name;
  std::vector<const ClaimedProcess*> processes;
};

const ClaimedProcess* DriverOf(const JobStatus& job) {
  const auto it = std::find_if(job.processes.begin(), job.processes.end(), [](const ClaimedProcess& process) { return process.id.name == kDriverName; });
  return it == job.processes.end() ? nullptr : &*it;
}

/// "shard 10/2" -> ("shard", 10, "/2"): so that 9 comes before 10.
std::tuple<std::string, uint64_t, std::string> SplitName(const std::string& name) {
  const size_t blank = name.rfind(' '), end = blank == std::string::npos ? blank : name.find_first_not_of("0123456789", blank + 1);
  uint64_t number = 0;
  if (blank == std::string::npos || !absl::SimpleAtoi(name.substr(blank + 1, end == std::string::npos ? end : end - blank - 1), &number)) return {name, 0, ""};
  return {name.substr(0, blank), number, end == std::string::npos ? "" : name.substr(end)};
}

/// Workers, then the shards that hold the tables, then all else, each in the order of their numbers.
std::vector<Group> GroupsOf(const JobStatus& job) {
  std::map<int, Group> groups;
  for (const ClaimedProcess& process : job.processes) {
    const std::string& name = process.id.name;
    if (name == kDriverName) continue;
    const int kind = name.starts_with("worker") ? 0 : name.starts_with("shard") ? 1 : 2;
    constexpr const char* kNames[] = {"workers", "tables", "others"};
    groups[kind].name = kNames[kind];
    groups[kind].processes.push_back(&process);
  }
  std::vector<Group> sorted;
  for (auto& [kind, group] : groups) {
    std::stable_sort(group.processes.begin(), group.processes.end(),
                     [](const ClaimedProcess* a, const ClaimedProcess* b) { return SplitName(a->id.name) < SplitName(b->id.name); });
    sorted.push_back(std::move(group));
  }
  return sorted;
}

/// "3 processes: 2 running, 1 waiting"
std::string Summary(const Group& group) {
  std::map<ProcessState, size_t> states;
  for (const ClaimedProcess* process : group.processes) ++states[process->state];
  std::vector<std::string> words;
  for (const auto& [state, count] : states) words.push_back(absl::StrCat(count, " ", ToString(state)));
  return absl::StrJoin(words, ", ");
}

uint64_t RestartsOf(const ClaimedProcess& process) {
  return (process.id.name == kDriverName ? process.id.incarnation : LifeOf(process.id.incarnation)) - 1;
}

/// "worker 1 on b: running; 2 restarts, the last: node c is down"
std::string ProcessLine(const ClaimedProcess& process) {
  std::string line = absl::StrCat(process.id.name, process.node.empty() ? "" : absl::StrCat(" on ", process.node), ": ", ToString(process.state));
  if (!process.reason.empty()) absl::StrAppend(&line, ": ", process.reason);
  const uint64_t restarts = RestartsOf(process);
  if (restarts > 0) absl::StrAppend(&line, "; ", restarts, restarts == 1 ? " restart" : " restarts");
  if (restarts > 0 && !process.before.empty()) absl::StrAppend(&line, restarts == 1 ? ": " : ", the last: ", process.before);
  if (restarts == 0 && !process.before.empty()) absl::StrAppend(&line, "; before: ", process.before);
  return line;
}

/// "data clicks.svm: 8 splits: 5 running, 3 done"
std::string DataLine(const AboutJob& about) {
  const uint64_t all = about.splits_all, done = about.splits_done;
  std::vector<std::string> words;
  if (done < all) words.push_back(absl::StrCat(all - done, " running"));
  if (done > 0) words.push_back(absl::StrCat(done, " done"));
  return absl::StrCat("data ", about.data, ": ", all, all == 1 ? " split: " : " splits: ", absl::StrJoin(words, ", "));
}

/// "split 3 at worker 1: running, 43 % read, 24 batches, 4,800 rows"
std::string SplitLine(const AboutSplit& split) {
  return absl::StrCat("split ", split.split, " at worker ", split.worker, ": ", split.done ? "done" : "running", ", ", split.percent, " % read, ",
                      WithThousands(split.batches), split.batches == 1 ? " batch, " : " batches, ", WithThousands(split.rows),
                      split.rows == 1 ? " row" : " rows");
}

std::string JobLine(const JobStatus& job) {
  std::string line = absl::StrCat("job ", job.job, " ", job.spec.name, ": ", ToString(job.state), job.reason.empty() ? "" : absl::StrCat(": ", job.reason));
  if (IsOver(job.state)) return line;
  absl::StrAppend(&line, " [queue ", job.spec.queue, job.spec.priority == 0 ? "" : absl::StrCat(", priority ", job.spec.priority), ", attempt ",
                  std::max<uint64_t>(1, job.attempt), job.spec.attempts == JobSpec::kEndless ? "" : absl::StrCat(" of ", job.spec.attempts), "]");
  return line;
}

std::string Tree(const std::vector<JobStatus>& jobs) {
  std::string text;
  const auto line = [&text](size_t level, const std::string& what) { absl::StrAppend(&text, std::string(2 * level, ' '), what, "\n"); };
  for (const JobStatus& job : jobs) {
    if (IsOver(job.state)) continue;
    line(1, JobLine(job));
    if (const ClaimedProcess* driver = DriverOf(job)) line(2, ProcessLine(*driver));
    for (const Group& group : GroupsOf(job)) {
      line(3, absl::StrCat(group.name, ": ", Summary(group)));
      for (const ClaimedProcess* process : group.processes) line(4, ProcessLine(*process));
    }
    const AboutJob about = ReadAbout(job.about);
    if (about.splits.empty()) continue;
    line(3, DataLine(about));
    for (size_t i = 0; i < std::min(about.splits.size(), kSplitsShown); ++i) line(4, SplitLine(about.splits[i]));
    if (about.splits_all > kSplitsShown) line(4, absl::StrCat(about.splits_all - kSplitsShown, " more: --json"));
  }
  std::vector<const JobStatus*> over;
  for (const JobStatus& job : jobs) {
    if (IsOver(job.state)) over.push_back(&job);
  }
  const size_t first = over.size() > kOverShown ? over.size() - kOverShown : 0;
  if (first > 0) line(1, absl::StrCat(first, " older jobs are over: troupe job list"));
  for (size_t i = first; i < over.size(); ++i) line(1, JobLine(*over[i]));
  return text;
}

std::string Promised(uint64_t used, uint64_t all) {
  return absl::StrCat(used >> 20, " of ", all >> 20, " MB");
}

std::string AcceleratorsOf(const NodeStatus& node) {
  std::vector<std::string> words;
  for (const auto& [kind, count] : node.capacity.accelerators) {
    const auto used = node.accelerators_used.find(kind);
    words.push_back(absl::StrCat(used == node.accelerators_used.end() ? 0 : used->second, " of ", count, " ", kind));
  }
  return absl::StrJoin(words, " ");
}

std::string NodeTable(const std::vector<NodeStatus>& nodes) {
  TextTable table(2);
  table.Row({"node", "state", "host", "cores", "memory", "disk", "accelerators", "processes", "labels"});
  for (const NodeStatus& node : nodes) {
    table.Row({node.name, absl::StrCat(ToString(node.state), node.reason.empty() ? "" : ": ", node.reason), node.host,
               absl::StrCat(node.cores_used, " of ", node.capacity.cores),
               absl::StrCat(Promised(node.memory_used, node.capacity.memory), node.capacity.memory_kept_by.empty() ? "" : ", ", node.capacity.memory_kept_by),
               Promised(node.disk_used, node.capacity.disk), AcceleratorsOf(node), absl::StrCat(node.processes),
               absl::StrJoin(node.capacity.labels, " ", absl::PairFormatter("="))});
  }
  return table.Text();
}

std::string QueueTable(const std::vector<QueueStatus>& queues) {
  TextTable table(2);
  for (const size_t column : {1, 2, 3, 4}) table.AlignRight(column);
  table.Row({"queue", "weight", "share", "running", "waiting"});
  for (const QueueStatus& queue : queues) {
    table.Row({queue.name, absl::StrCat(queue.weight), absl::StrCat(queue.cores), absl::StrCat(queue.running), absl::StrCat(queue.waiting)});
  }
  return table.Text();
}

JsonObject ProcessJson(const ClaimedProcess& process) {
  return JsonObject()
      .Text("name", process.id.name)
      .Whole("incarnation", process.id.incarnation)
      .Text("state", ToString(process.state))
      .Text("node", process.node)
      .Text("reason", process.reason)
      .Whole("restarts", RestartsOf(process))
      .Text("before", process.before);
}

JsonObject JobJson(const JobStatus& job) {
  std::vector<JsonObject> processes;
  for (const ClaimedProcess& process : job.processes) processes.push_back(ProcessJson(process));
  return JsonObject()
      .Whole("job", job.job)
      .Text("name", job.spec.name)
      .Text("queue", job.spec.queue)
      .Number("priority", job.spec.priority)
      .Text("state", ToString(job.state))
      .Number("code", job.code)
      .Text("reason", job.reason)
      .Whole("attempt", job.attempt)
      .Text("submitted", Time(job.submitted_ms))
      .Text("started", Time(job.started_ms))
      .Text("ended", Time(job.ended_ms))
      .List("processes", processes);
}

JsonObject SplitJson(const AboutSplit& split) {
  return JsonObject()
      .Whole("split", split.split)
      .Text("worker", absl::StrCat("worker ", split.worker))
      .Text("state", split.done ? "done" : "running")
      .Whole("percent", split.percent)
      .Whole("batches", split.batches)
      .Whole("rows", split.rows);
}

/// A job that is not over, as a tree.
JsonObject TreeJson(const JobStatus& job) {
  JsonObject tree;
  tree.Whole("job", job.job).Text("name", job.spec.name).Text("state", ToString(job.state));
  const ClaimedProcess* driver = DriverOf(job);
  if (driver == nullptr) return tree;
  JsonObject root = ProcessJson(*driver);
  for (const Group& group : GroupsOf(job)) {
    std::vector<JsonObject> processes;
    for (const ClaimedProcess* process : group.processes) processes.push_back(ProcessJson(*process));
    root.List(group.name, processes);
  }
  if (const AboutJob about = ReadAbout(job.about); !about.splits.empty()) {
    std::vector<JsonObject> splits;
    for (const AboutSplit& split : about.splits) splits.push_back(SplitJson(split));
    root.Object("data",
                JsonObject().Text("uri", about.data).Whole("splits_all", about.splits_all).Whole("splits_done", about.splits_done).List("splits", splits));
  }
  return tree.Object("driver", root);
}

JsonObject CountsJson(const std::map<std::string, uint32_t>& counts) {
  JsonObject object;
  for (const auto& [kind, count] : counts) object.Whole(kind, count);
  return object;
}

JsonObject NodeJson(const NodeStatus& node) {
  JsonObject labels;
  for (const auto& [name, value] : node.capacity.labels) labels.Text(name, value);
  return JsonObject()
      .Text("name", node.name)
      .Text("state", ToString(node.state))
      .Text("reason", node.reason)
      .Text("since", Time(node.since_ms))
      .Text("host", node.host)
      .Whole("incarnation", static_cast<uint64_t>(node.incarnation))
      .Whole("cores", node.capacity.cores)
      .Whole("cores_used", node.cores_used)
      .Whole("memory", node.capacity.memory)
      .Whole("memory_used", node.memory_used)
      .Text("memory_kept_by", node.capacity.memory_kept_by)
      .Whole("disk", node.capacity.disk)
      .Whole("disk_used", node.disk_used)
      .Object("accelerators", CountsJson(node.capacity.accelerators))
      .Object("accelerators_used", CountsJson(node.accelerators_used))
      .Whole("processes", node.processes)
      .Object("labels", labels);
}

JsonObject QueueJson(const QueueStatus& queue) {
  return JsonObject()
      .Text("name", queue.name)
      .Whole("weight", queue.weight)
      .Whole("share", queue.cores)
      .Whole("running", queue.running)
      .Whole("waiting", queue.waiting);
}

template <class Value>
std::vector<JsonObject> All(const std::vector<Value>& values, JsonObject (*json)(const Value&)) {
  std::vector<JsonObject> objects;
  for (const Value& value : values) objects.push_back(json(value));
  return objects;
}

std::string ProcessesOf(const JobStatus& job) {
  std::vector<std::string> words;
  for (const ClaimedProcess& process : job.processes) {
    words.push_back(absl::StrCat(process.id.name, process.state == ProcessState::kRunning ? "" : absl::StrCat(" (", ToString(process.state), ")"),
                                 process.node.empty() ? "" : absl::StrCat(" on ", process.node),
                                 process.state == ProcessState::kWaiting && !process.reason.empty() ? absl::StrCat(": ", process.reason) : ""));
  }
  return absl::StrJoin(words, ", ");
}

}   // namespace

std::string ProcessesOn(const std::string& node, const std::vector<JobStatus>& jobs) {
  std::vector<std::string> words;
  for (const JobStatus& job : jobs) {
    std::vector<std::string> names;
    for (const ClaimedProcess& process : job.processes) {
      if (process.node == node && process.state != ProcessState::kEnded) names.push_back(process.id.name);
    }
    if (!names.empty()) words.push_back(absl::StrCat("job ", job.job, ": ", absl::StrJoin(names, ", ")));
  }
  return absl::StrJoin(words, "; ");
}

std::string JobsText(const std::vector<JobStatus>& jobs) {
  TextTable table(2);
  table.Row({"job", "state", "name", "queue", "submitted", "processes, or why"});
  for (const JobStatus& job : jobs) {
    table.Row({absl::StrCat(job.job), ToString(job.state), job.spec.name, job.spec.queue, Time(job.submitted_ms),
               job.reason.empty() ? ProcessesOf(job) : job.reason});
  }
  return table.Text();
}

std::string JobsJson(const std::vector<JobStatus>& jobs) {
  return JsonObject().List("jobs", All(jobs, JobJson)).Line();
}

std::string StatusText(const Inspected& all) {
  std::string text = absl::StrCat("head: generation ", all.generation, "\n", NodeTable(all.nodes));
  if (!all.queues.empty()) absl::StrAppend(&text, "\n", QueueTable(all.queues));
  if (!all.jobs.empty()) absl::StrAppend(&text, "\ncluster\n", Tree(all.jobs));
  if (!all.events.empty()) absl::StrAppend(&text, "\nlast events:\n");
  const size_t first = all.events.size() > kEventsShown ? all.events.size() - kEventsShown : 0;
  for (size_t i = first; i < all.events.size(); ++i) absl::StrAppend(&text, "  ", all.events[i], "\n");
  return text;
}

std::string StatusJson(const Inspected& all) {
  std::vector<JsonObject> tree;
  for (const JobStatus& job : all.jobs) {
    if (!IsOver(job.state)) tree.push_back(TreeJson(job));
  }
  return JsonObject()
      .Whole("generation", all.generation)
      .List("nodes", All(all.nodes, NodeJson))
      .List("queues", All(all.queues, QueueJson))
      .List("jobs", All(all.jobs, JobJson))
      .List("tree", tree)
      .Texts("events", all.events)
      .Line();
}

}   // namespace troupe
