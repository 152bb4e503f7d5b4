// The head's jobs: what is submitted, what their drivers want, how processes end and what then becomes of their job.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/cluster/head.h"
#include "actors/cluster/records.h"
#include "actors/printable.h"
#include "actors/status.h"

namespace troupe {
namespace {

constexpr int32_t kCannotStart = 127;   // exit code, as a shell has it

std::string HowItEnded(int32_t code, const std::string& reason) {
  if (!reason.empty()) return reason;
  return code < 0 ? absl::StrCat("killed by signal ", -code) : absl::StrCat("exit code ", code);
}

/// Of a job whose driver has ended by itself.
std::string WhyItFailed(const std::string& reason) {
  if (reason.starts_with("exit code")) return absl::StrCat("its driver ended with ", reason);
  return reason.starts_with("cannot be") ? absl::StrCat("its driver ", reason) : reason;   // "out of memory: ..."
}

}   // namespace

absl::Status Head::CheckDriver(JobId id, uint64_t attempt) const {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", id));
  const JobStatus& status = found->second.status;
  if (status.state == JobState::kRunning && attempt == status.attempt) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("job ", id, " is ", ToString(status.state), ", and driver ", attempt, " is not its driver"));
}

absl::Status Head::OnClaim(const Claim& claim, Clock::Time now, int64_t wall_ms) {
  TROUPE_RETURN_IF_ERROR(CheckDriver(claim.job, claim.attempt));
  Job& job = jobs_.at(claim.job);
  for (const ProcessOrder& order : claim.wanted) {
    if (order.id.job != claim.job || order.id.name.empty() || order.id.name == kDriverName) {
      return absl::InvalidArgumentError(absl::StrCat("a claim for ", ToString(order.id), " by the driver of job ", claim.job));
    }
  }
  if (claim.number < job.claim) return absl::OkStatus();   // overtaken
  if (claim.same_endpoint && job.endpoint == Endpoint{})
    return absl::UnavailableError(absl::StrCat("job ", claim.job, ": its driver has not said where it is"));
  job.claim = claim.number;
  if (!claim.same_endpoint) job.endpoint = claim.endpoint;
  std::set<std::string> wanted;
  for (const ProcessOrder& order : claim.wanted) {
    wanted.insert(order.id.name);
    TakeWish(job, order);
  }
  for (auto it = job.processes.begin(); it != job.processes.end();) {
    if (it->first == kDriverName || wanted.contains(it->first) || (!it->second.known && !AllReturned())) {
      ++it;
      continue;
    }
    Touch(it->second.node);
    Touch(job);
    it = Drop(job, it);
  }
  Place(now, wall_ms);
  return absl::OkStatus();
}

void Head::TakeWish(Job& job, const ProcessOrder& order) {
  const auto it = job.processes.find(order.id.name);
  const bool fresh = it == job.processes.end();
  ProcessOrder whole = order;
  if (whole.program.empty()) whole.program = job.status.spec.program;
  if (!fresh && order.id.incarnation < it->second.order.id.incarnation) return;   // an older claim that comes late
  if (!fresh && order.id.incarnation == it->second.order.id.incarnation) {
    Process& process = it->second;
    if (process.known) return;
    Change(job, process, [&] {
      process.order = std::move(whole);
      process.known = true;
      if (process.state == ProcessState::kPlaced) process.state = ProcessState::kRunning;   // its node has reported it
    });
    return Touch(job);
  }
  const auto placed = job.placed.find(order.id.name);
  const bool again = placed != job.placed.end() && order.id.incarnation <= placed->second;   // it was placed, and no node has it
  if (again && !AllReturned()) return;                                                       // asked again it may have turned up
  if (LifeOf(order.id.incarnation) == 1) job.last_ends.erase(order.id.name);                 // of another run
  if (!fresh) {
    const Process& before = it->second;
    Touch(before.node);
    if (before.state == ProcessState::kEnded) job.last_ends[order.id.name] = EndOf(before);
  }
  Process process{.order = std::move(whole)};
  if (again) {
    process.state = ProcessState::kEnded;
    process.code = -1;
    process.reason = "lost while the head was away";
  }
  Put(job, std::move(process));
  Touch(job);
}

/// "killed by signal 9 on node a"
std::string Head::EndOf(const Process& process) const {
  const std::string node = NameOf(process.node);
  const bool said = process.node == NodeId{} || process.reason.find(node) != std::string::npos;
  return said ? process.reason : absl::StrCat(process.reason, " on node ", node);
}

absl::StatusOr<Claimed> Head::ClaimedOf(JobId id, uint64_t attempt) const {
  TROUPE_RETURN_IF_ERROR(CheckDriver(id, attempt));
  const Job& job = jobs_.at(id);
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
  TROUPE_RETURN_IF_ERROR(CheckPrintable("a job's name", submit.spec.name));
  TROUPE_RETURN_IF_ERROR(CheckPrintable("a queue's name", submit.spec.queue));
  for (const auto& [name, value] : submit.spec.needs.labels) TROUPE_RETURN_IF_ERROR(CheckPrintable("a label", absl::StrCat(name, "=", value)));
  for (const auto& [kind, count] : submit.spec.needs.accelerators) TROUPE_RETURN_IF_ERROR(CheckPrintable("an accelerator", kind));
  if (submit.spec.attempts == 0) return absl::InvalidArgumentError("attempts is 0, expected at least 1");
  if (const auto before = requests_.find(submit.request); before != requests_.end()) return Submitted{before->second};
  Job& job = jobs_[++last_job_];
  job.status.job = last_job_;
  job.status.spec = submit.spec;
  job.status.submitted_ms = wall_ms;
  job.request = submit.request;
  requests_[submit.request] = last_job_;
  Note(wall_ms, absl::StrCat("job ", last_job_, " submitted: ", submit.spec.name));
  Enqueue(job);
  Touch(job);
  Keep(job);
  Place(now, wall_ms);
  return Submitted{last_job_};
}

absl::Status Head::OnStop(const StopJob& stop, Clock::Time now, int64_t wall_ms) {
  const auto found = jobs_.find(stop.job);
  if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", stop.job));
  Job& job = found->second;
  if (job.status.state == JobState::kStopped) return absl::OkStatus();   // asked again, where the first answer was late
  if (IsOver(job.status.state)) return absl::FailedPreconditionError(absl::StrCat("job ", stop.job, " is over: ", ToString(job.status.state)));
  EndJob(job, JobState::kStopped, -1, "stopped on request", wall_ms);
  Place(now, wall_ms);
  return absl::OkStatus();
}

void Head::OnProcessEnded(Job& job, Process& process, int32_t code, const std::string& reason, bool by_itself, int64_t wall_ms) {
  Change(job, process, [&] { process.state = ProcessState::kEnded; });
  process.code = code;
  process.reason = HowItEnded(code, reason);
  Note(wall_ms, absl::StrCat(ToString(process.order.id), " ended on node ", NameOf(process.node), ": ", process.reason));
  Touch(process.node);
  Touch(job);
  job.last_ends[process.order.id.name] = EndOf(process);   // its driver may drop it before it wants the next life
  if (process.order.id.name != kDriverName) return;
  OnDriverEnded(job, code, std::string(process.reason), by_itself, wall_ms);
}

/// Its node cannot start it. Another one may: it has not begun.
void Head::OnRefused(Job& job, Process& process, const std::string& reason, int64_t wall_ms) {
  process.refused.push_back(process.node);
  const std::string what = absl::StrCat("cannot be started on node ", NameOf(process.node), ": ", reason);
  if (process.refused.size() >= options_.tries_max || !rooms_.WhyNever({&process.order.id, &process.order.needs, &process.refused}).empty()) {
    process.kept = true;
    return OnProcessEnded(job, process, kCannotStart, what, true, wall_ms);
  }
  Touch(process.node);
  Change(job, process, [&] {
    process.state = ProcessState::kWaiting;
    process.node = NodeId{};
  });
  process.reason = absl::StrCat(what, "; another node is tried");
  job.last_ends[process.order.id.name] = what;
  Note(wall_ms, absl::StrCat(ToString(process.order.id), " ", process.reason));
  Touch(job);
}

void Head::OnDriverEnded(Job& job, int32_t code, const std::string& reason, bool by_itself, int64_t wall_ms) {
  JobStatus& status = job.status;
  if (by_itself) {
    EndJob(job, code == 0 ? JobState::kSucceeded : JobState::kFailed, code, code == 0 ? "" : WhyItFailed(reason), wall_ms);
  } else if (status.attempt >= status.spec.attempts) {
    EndJob(job, JobState::kFailed, code, absl::StrCat("its driver was lost ", status.attempt, " times, the last time: ", reason), wall_ms);
  } else {
    DropAll(job);
    job.endpoint = {};
    job.recovered = false;
    job.claim = 0;
    SetJobState(job, JobState::kQueued);
    status.reason = absl::StrCat("its driver was lost: ", reason, "; it starts again");
    Note(wall_ms, absl::StrCat("job ", status.job, ": ", status.reason));
    Touch(job);
    Keep(job);
  }
}

/// Of the processes that its driver, or the head before this one, has had; for whoever asks for their output.
std::vector<ClaimedProcess> Head::LastLives(const Job& job) const {
  std::vector<ClaimedProcess> lives;
  for (const auto& [name, incarnation] : job.placed) {
    const auto process = job.processes.find(name);
    const auto node = job.last_nodes.find(name);
    ClaimedProcess life;
    life.id = {job.status.job, name, incarnation};
    life.state = ProcessState::kEnded;
    if (node != job.last_nodes.end()) life.node = NameOf(node->second);
    if (process != job.processes.end() && process->second.order.id.incarnation == incarnation && process->second.state == ProcessState::kEnded) {
      life.code = process->second.code;
      life.reason = process->second.reason;
    }
    lives.push_back(std::move(life));
  }
  return lives;
}

void Head::EndJob(Job& job, JobState state, int32_t code, const std::string& reason, int64_t wall_ms) {
  job.status.processes = LastLives(job);
  DropAll(job);
  job.endpoint = {};
  job.status.code = code;
  job.status.ended_ms = wall_ms;
  SetJobState(job, state);
  job.status.reason = reason;
  Note(wall_ms, absl::StrCat("job ", job.status.job, " ", ToString(state), reason.empty() ? "" : ": ", reason));
  Touch(job);
  Keep(job);
}

/// Those that ended first, except the newest job of all: its number must not be given again.
void Head::ForgetJobs() {
  const auto newest = jobs_.find(last_job_);
  const size_t spared = newest != jobs_.end() && IsOver(newest->second.status.state) ? 1 : 0;
  while (over_.size() > options_.jobs_over_max + spared) {
    auto it = over_.begin();
    if (it->second == last_job_) ++it;
    const JobId id = it->second;
    over_.erase(it);
    requests_.erase(jobs_.at(id).request);
    jobs_.erase(id);
    changes_[JobKey(id)] = std::nullopt;
    ++version_;
  }
}

std::optional<std::string> Head::DriverMissing(const Job& job) const {
  const Node* node = job.driver_nodes.empty() ? nullptr : Find(job.driver_nodes.back());
  if (node == nullptr || (node->status.state != NodeState::kUp && node->status.state != NodeState::kSuspect && node->status.state != NodeState::kDraining)) {
    return "its node is not there any more";
  }
  if (node->returned) return absl::StrCat("node ", node->status.name, " does not have it");
  return std::nullopt;
}

/// Jobs that have taken too long, and drivers that have not come back.
void Head::NoticeTime(Clock::Time now, int64_t wall_ms) {
  while (!limits_.empty() && limits_.begin()->first <= now) {
    const auto found = jobs_.find(limits_.begin()->second);
    limits_.erase(limits_.begin());
    if (found == jobs_.end() || IsOver(found->second.status.state)) continue;
    const auto limit = found->second.status.spec.time_limit;
    EndJob(found->second, JobState::kFailed, -1, absl::StrCat("it has taken longer than its time limit, ", limit.count() / 1000, " s"), wall_ms);
  }
  for (auto it = driverless_.begin(); it != driverless_.end();) {
    const auto found = jobs_.find(*it);
    const bool known = found == jobs_.end() || found->second.status.state != JobState::kRunning || found->second.processes.contains(kDriverName);
    const auto why = known ? std::nullopt : DriverMissing(found->second);
    it = known || why ? driverless_.erase(it) : std::next(it);
    if (why) OnDriverEnded(found->second, -1, *why, false, wall_ms);
  }
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

std::set<std::string> Head::ProgramsNeeded() const {
  std::set<std::string> programs;
  for (const auto& [id, job] : jobs_) {
    if (IsOver(job.status.state)) continue;
    programs.insert(job.status.spec.program);
    for (const auto& [name, process] : job.processes) programs.insert(process.order.program);
  }
  return programs;
}

}   // namespace troupe
