// What runs where and what waits for room: every change of a process goes through here, so that nodes, queues and jobs know what is used without looking at
// all of them. Then what waits is placed: jobs that run first, the oldest first; then queues by their shares; then what is spare, which gives way again.
#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/cluster/head.h"
#include "actors/cluster/records.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

const std::string kSpareWaits = "it is spare: it begins when there is room and nobody else waits";

}   // namespace

void Head::Count(Job& job, const Process& process, bool more) {
  const ProcessId& id = process.order.id;
  const ProcessNeeds& needs = process.order.needs;
  ++job.wishes;
  job.cores = more ? job.cores + needs.cores : job.cores - needs.cores;
  if (process.state == ProcessState::kWaiting) {
    more ? (void)job.waiting.insert(id.name) : (void)job.waiting.erase(id.name);
  } else if (const auto node = nodes_.find(process.node); node != nodes_.end()) {
    more ? (void)node->second.processes.emplace(id.job, id.name) : (void)node->second.processes.erase({id.job, id.name});
    if (process.state != ProcessState::kEnded) more ? rooms_.Take(process.node, id.job, needs) : rooms_.Give(process.node, id.job, needs);
    if (process.state != ProcessState::kEnded && process.order.placing == Placing::kSpare) {
      more ? (void)spare_.emplace(id.job, id.name) : (void)spare_.erase({id.job, id.name});
    }
  }
}

/// What follows from the job's own counts.
void Head::Recount(Job& job) {
  const bool running = job.status.state == JobState::kRunning;
  const uint64_t share = running ? std::max<uint64_t>(1, job.cores) : 0;   // a driver's workers will follow
  Queue& queue = queues_[job.status.spec.queue];
  queue.share = queue.share - job.share + share;
  job.share = share;
  if (running && !job.waiting.empty())
    needy_.insert(job.status.job);
  else
    needy_.erase(job.status.job);
}

Head::Process& Head::Put(Job& job, Process process) {
  const auto [it, fresh] = job.processes.try_emplace(process.order.id.name);
  if (!fresh) Count(job, it->second, false);
  it->second = std::move(process);
  Count(job, it->second, true);
  Recount(job);
  return it->second;
}

void Head::Change(Job& job, Process& process, const std::function<void()>& change) {
  Count(job, process, false);
  change();
  Count(job, process, true);
  Recount(job);
}

Head::Processes::iterator Head::Drop(Job& job, Processes::iterator it) {
  Count(job, it->second, false);
  it = job.processes.erase(it);
  Recount(job);
  return it;
}

/// All processes of a driver, and what is kept of them.
void Head::DropAll(Job& job) {
  for (const auto& [name, process] : job.processes) {
    Touch(process.node);
    Count(job, process, false);
  }
  job.processes.clear();
  for (const auto& [name, incarnation] : job.placed) changes_[LifeKey(job.status.job, name)] = std::nullopt;
  job.placed.clear();
  Recount(job);
}

uint32_t Head::WeightOf(const std::string& queue) const {
  const auto it = options_.queues.find(queue);
  return it == options_.queues.end() ? 1 : std::max(1U, it->second);
}

/// A queued job, behind those of its priority. One that wants what no node has waits apart: nobody is to wait for it.
void Head::Enqueue(Job& job) {
  const std::string& never = WhyNever(job);
  if (never.empty()) {
    queues_[job.status.spec.queue].waiting.emplace(-int64_t{job.status.spec.priority}, job.status.job);
  } else {
    hopeless_.insert(job.status.job);
    job.status.reason = never;
  }
}

void Head::SetJobState(Job& job, JobState state) {
  JobStatus& status = job.status;
  const auto queue = queues_.try_emplace(status.spec.queue).first;
  if (status.state == JobState::kRunning) --queue->second.running;
  if (status.state == JobState::kQueued) {
    queue->second.waiting.erase({-int64_t{status.spec.priority}, status.job});
    hopeless_.erase(status.job);
  }
  status.state = state;
  ++job.wishes;
  if (state == JobState::kRunning) ++queue->second.running;
  if (state == JobState::kQueued) Enqueue(job);
  if (IsOver(state)) over_.emplace(status.ended_ms, status.job);
  Recount(job);
  if (queue->second.running == 0 && queue->second.waiting.empty()) queues_.erase(queue);
}

const std::string& Head::WhyNever(Job& job) {
  const uint64_t rooms = rooms_.version() + 1;
  if (job.never_rooms == rooms && job.never_wishes == job.wishes) return job.never;
  job.never_rooms = rooms;
  job.never_wishes = job.wishes;
  job.never.clear();
  if (job.status.state == JobState::kQueued) {
    const ProcessOrder driver = DriverOf(job, job.status.attempt + 1);
    job.never = rooms_.WhyNever({&driver.id, &driver.needs});
    return job.never;
  }
  std::vector<PlacementWish> all;
  for (const auto& [name, process] : job.processes) {
    if (process.state == ProcessState::kEnded || process.order.placing == Placing::kSpare) continue;
    const PlacementWish wish{&process.order.id, &process.order.needs, &process.refused};
    all.push_back(wish);
    if (process.state == ProcessState::kWaiting && job.never.empty()) job.never = rooms_.WhyNever(wish);
  }
  if (job.never.empty() && !rooms_.ChooseEmpty(all).ok()) {
    job.never = absl::StrCat("the ", all.size(), " processes of the job need more than the ", rooms_.open(), " nodes have, even with nobody else there");
  }
  return job.never;
}

/// Says why what it wants waits.
void Head::Explain(Job& job, const std::string& why) {
  bool changed = false;
  if (job.status.state == JobState::kQueued) {
    changed = std::exchange(job.status.reason, why) != why;
  } else {
    for (const std::string& name : job.waiting) {
      Process& process = job.processes.at(name);
      const std::string& own = process.order.placing == Placing::kSpare ? kSpareWaits : why;
      changed = std::exchange(process.reason, own) != own || changed;
    }
  }
  if (changed) Touch(job);
}

/// A queued job's driver has found room.
void Head::Begin(Job& job, NodeId node, Clock::Time now, int64_t wall_ms) {
  JobStatus& status = job.status;
  SetJobState(job, JobState::kRunning);
  status.reason.clear();
  ++status.attempt;
  if (status.started_ms == 0) {
    status.started_ms = wall_ms;
    if (status.spec.time_limit.count() > 0) limits_.emplace(now + status.spec.time_limit, status.job);
  }
  job.driver_nodes.push_back(node);
  Put(job, {.order = DriverOf(job, status.attempt)});
}

/// Places what waits of a job and is not spare: all that go together or none of them, the others one by one. Is it all placed?
bool Head::PlaceWaiting(Job& job, Clock::Time now, int64_t wall_ms) {
  if (job.recovered && !AllReturned()) {   // they may run on a node that has not come back yet
    Explain(job, "the head waits for its nodes to come back");
    return true;
  }
  if (job.status.state == JobState::kQueued) return PlaceThese(job, {}, now, wall_ms);
  std::vector<std::string> together, alone, spare;
  for (const std::string& name : job.waiting) {
    const Placing placing = job.processes.at(name).order.placing;
    (placing == Placing::kTogether ? together : placing == Placing::kAlone ? alone : spare).push_back(name);
  }
  bool placed = together.empty() || PlaceThese(job, together, now, wall_ms);
  for (const std::string& name : alone) placed = PlaceThese(job, {name}, now, wall_ms) && placed;
  for (const std::string& name : spare) {
    Process& process = job.processes.at(name);
    if (std::exchange(process.reason, kSpareWaits) != kSpareWaits) Touch(job);
  }
  return placed;
}

/// A node for each of these processes, or for none; of a job that has not begun: for its driver.
bool Head::PlaceThese(Job& job, const std::vector<std::string>& names, Clock::Time now, int64_t wall_ms) {
  ProcessOrder driver;
  std::vector<PlacementWish> wanted;
  const bool begins = job.status.state == JobState::kQueued;
  if (begins) {
    driver = DriverOf(job, job.status.attempt + 1);
    wanted.push_back({&driver.id, &driver.needs});
  }
  for (const std::string& name : names) {
    const Process& process = job.processes.at(name);
    wanted.push_back({&process.order.id, &process.order.needs, &process.refused});
  }
  const absl::StatusOr<std::vector<NodeId>> nodes = rooms_.Choose(wanted);
  if (!nodes.ok()) {
    const std::string& never = WhyNever(job);
    Explain(job, never.empty() ? std::string(Message(nodes.status())) : never);
    if (never.empty()) MakeWay(wanted, wall_ms);
    return false;
  }
  if (begins) Begin(job, nodes->front(), now, wall_ms);
  auto node = nodes->begin();
  for (const std::string& name : begins ? std::vector<std::string>{kDriverName} : names) {
    Process& process = job.processes.at(name);
    Change(job, process, [&] {
      process.state = ProcessState::kPlaced;
      process.node = *node++;
    });
    process.reason.clear();
    if (name == kDriverName) {
      job.driver_nodes.back() = process.node;
      Keep(job);
    } else {
      job.last_nodes[name] = process.node;
      job.placed[name] = process.order.id.incarnation;
      changes_[LifeKey(job.status.job, name)] = absl::StrCat(process.order.id.incarnation);
    }
    Note(wall_ms, absl::StrCat(ToString(process.order.id), " is placed on node ", NameOf(process.node)));
    Touch(process.node);
  }
  Touch(job);
  return true;
}

/// Ends so many spare processes, those of the last job first, that `wanted` would have room; none if all of them would not do.
void Head::MakeWay(std::span<const PlacementWish> wanted, int64_t wall_ms) {
  std::vector<Process*> given, ended;
  bool enough = false;
  const auto give = [&](Process& process) {
    rooms_.Give(process.node, process.order.id.job, process.order.needs);
    given.push_back(&process);
  };
  for (const auto& [id, name] : spare_) {
    Process& process = jobs_.at(id).processes.at(name);
    if (process.moves) give(process);   // it is being ended
  }
  enough = !given.empty() && rooms_.Choose(wanted).ok();
  for (auto it = spare_.rbegin(); !enough && it != spare_.rend(); ++it) {
    Process& process = jobs_.at(it->first).processes.at(it->second);
    if (process.moves || process.state != ProcessState::kRunning) continue;
    give(process);
    ended.push_back(&process);
    enough = rooms_.Choose(wanted).ok();
  }
  for (Process* process : given) rooms_.Take(process->node, process->order.id.job, process->order.needs);
  if (!enough) return;
  for (Process* process : ended) {
    process->moves = true;
    Note(wall_ms, absl::StrCat(ToString(process->order.id), " gives way to ", ToString(*wanted.front().id)));
    Touch(process->node);
  }
}

/// Places spare processes, one at a time, each of the running job that uses the fewest cores.
void Head::PlaceSpare(Clock::Time now, int64_t wall_ms) {
  std::set<std::pair<uint64_t, JobId>> jobs;
  for (const JobId id : needy_) {
    if (!jobs_.at(id).recovered || AllReturned()) jobs.emplace(jobs_.at(id).cores, id);
  }
  while (!jobs.empty()) {
    Job& job = jobs_.at(jobs.extract(jobs.begin()).value().second);
    const auto name = std::ranges::find_if(job.waiting, [&](const std::string& of) { return job.processes.at(of).order.placing == Placing::kSpare; });
    if (name == job.waiting.end()) continue;
    const Process& process = job.processes.at(*name);
    const PlacementWish wish{&process.order.id, &process.order.needs, &process.refused};
    if (!rooms_.Choose({&wish, 1}).ok()) continue;
    PlaceThese(job, {*name}, now, wall_ms);
    jobs.emplace(job.cores, job.status.job);
  }
}

/// Has a process of the job leave its node for one that suits it better, when none leaves already. False: there is none. Those that are promised cores have
/// what they need wherever they are, and others cannot leave without a loss.
bool Head::SpreadOne(Job& job, Clock::Time now, int64_t wall_ms) {
  const auto may_leave = [](const Process& process) { return process.order.needs.cores == 0 && process.order.hand_over_max.count() > 0; };
  std::map<std::string, uint32_t> fewest;   // by the last word
  std::vector<NodeId> refused;              // what could not be started there cannot in its next life either
  for (auto& [name, process] : job.processes) {
    if (name == kDriverName) continue;
    const bool running = process.state == ProcessState::kRunning;
    if (running && process.spreads && process.leaves_by && now >= *process.leaves_by) {
      process.leaves_by.reset();
      Note(wall_ms, absl::StrCat(ToString(process.order.id), " stays on node ", NameOf(process.node), ": nobody has taken its place in time"));
      Touch(job);
    }
    if ((running && process.leaves_by) || !process.known || (may_leave(process) && !running)) return true;   // first this
    refused.insert(refused.end(), process.refused.begin(), process.refused.end());
  }
  for (auto& [name, process] : job.processes) {
    const std::vector<std::string>& words = process.order.needs.apart;
    if (name == kDriverName || !may_leave(process) || process.moves || process.spreads || words.empty()) continue;
    const Node* node = Find(process.node);
    if (node == nullptr || node->status.state != NodeState::kUp) continue;
    const auto count = [&](const std::string& word) { return rooms_.CountApart(process.node, job.status.job, word); };
    const auto [least, fresh] = fewest.try_emplace(words.back());
    if (fresh) least->second = rooms_.FewestApart(job.status.job, words.back(), refused);
    const bool alone = std::all_of(words.begin(), words.end() - 1, [&](const std::string& word) { return count(word) <= 1; });
    if (alone && count(words.back()) <= least->second + 1) continue;   // without a look at all nodes
    const std::optional<NodeId> better = rooms_.BetterThan(process.node, {&process.order.id, &process.order.needs, &refused});
    if (!better) continue;
    process.leaves_by = now + options_.spread_max;
    process.spreads = true;
    Note(wall_ms, absl::StrCat(ToString(process.order.id), " leaves node ", NameOf(process.node), ": node ", NameOf(*better), " has fewer of its job"));
    Touch(job);
    return true;
  }
  return false;
}

/// A node that comes takes processes of jobs that run already, of each job one after the other.
void Head::Spread(Clock::Time now, int64_t wall_ms) {
  if (spread_rooms_ != rooms_.version()) {
    spread_rooms_ = rooms_.version();
    spread_due_ = now + options_.spread_after;
    for (const auto& [id, job] : jobs_) {
      if (job.status.state == JobState::kRunning) unspread_.insert(id);
    }
  }
  if (now < spread_due_ || !AllReturned()) return;
  for (auto it = unspread_.begin(); it != unspread_.end();) {
    const auto job = jobs_.find(*it);
    const bool more = job != jobs_.end() && job->second.status.state == JobState::kRunning && SpreadOne(job->second, now, wall_ms);
    it = more ? std::next(it) : unspread_.erase(it);
  }
}

/// The queue with the smallest share for its weight among those where a job waits; of equal ones that with the job that came first.
Head::Queue* Head::NextQueue() {
  Queue* next = nullptr;
  uint64_t next_weight = 1;
  for (auto& [name, queue] : queues_) {
    if (queue.waiting.empty()) continue;
    const uint64_t weight = WeightOf(name);
    const auto rank = [](const Queue& of, uint64_t other_weight) { return std::pair(of.share * other_weight, of.waiting.begin()->second); };
    if (next != nullptr && rank(*next, weight) <= rank(queue, next_weight)) continue;
    next = &queue;
    next_weight = weight;
  }
  return next;
}

void Head::Place(Clock::Time now, int64_t wall_ms) {
  if (placed_ == version_) return;   // nothing has changed
  placed_ = version_;
  // What runs is made whole first, the oldest job first. Then queues take turns. The first that finds no room ends it: later ones must not take, bit by bit,
  // what it waits for. Unless it waits for more than there is.
  bool whole = true;
  for (const JobId id : std::vector(needy_.begin(), needy_.end())) {
    Job& job = jobs_.at(id);
    const bool placed = PlaceWaiting(job, now, wall_ms) || !WhyNever(job).empty();
    whole = placed && whole;   // one that waits for others does not keep these from ending
  }
  if (std::exchange(placed_rooms_, rooms_.version()) != rooms_.version()) {
    for (const JobId id : std::vector(hopeless_.begin(), hopeless_.end())) {
      Job& job = jobs_.at(id);
      hopeless_.erase(id);
      const std::string before = job.status.reason;
      Enqueue(job);
      if (job.status.reason != before) Touch(job);
    }
  }
  while (whole) {
    Queue* queue = NextQueue();
    if (queue == nullptr) return PlaceSpare(now, wall_ms);
    Job& job = jobs_.at(queue->waiting.begin()->second);
    if (PlaceWaiting(job, now, wall_ms)) continue;
    if (WhyNever(job).empty()) return;
    queue->waiting.erase(queue->waiting.begin());
    hopeless_.insert(job.status.job);
  }
}

}   // namespace troupe
