#include "tools/troupe/job_run.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "actors/cluster/programs.h"
#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/this_process.h"

namespace troupe {
namespace {

constexpr std::chrono::seconds kPatience{60};   // a head may be started again
constexpr std::chrono::seconds kStopMax{10};
constexpr int kProgramTries = 3;
constexpr std::chrono::seconds kOutputMax{10};   // for the rest of the output of a job that is over: its node may be gone

std::string RandomName() {
  std::random_device device;
  return absl::StrCat(absl::Hex(device(), absl::kZeroPad8), absl::Hex(device(), absl::kZeroPad8), absl::Hex(device(), absl::kZeroPad8));
}

absl::Status SendProgram(ClusterLink& link, const std::string& path, const std::string& hash) {
  TROUPE_TRY(const Block bytes, MakeLocalStorage()->Read(path));
  for (uint64_t offset = 0;;) {
    const size_t part = std::min<size_t>(kChunkBytes, bytes.size() - offset);
    TROUPE_TRY(const ProgramPut put, link.AskHead<ProgramPut>(PutProgram{hash, bytes.size(), offset, bytes.Slice(offset, part)}, kPatience));
    if (put.have >= bytes.size()) return absl::OkStatus();
    offset = put.have;
  }
}

/// One stream of one life of a process, as far as it has been copied.
struct Stream {
  bool errors;
  std::FILE* to;
  uint64_t offset = 0;
  bool over = false;

  /// Copies what there is. NotFound: it has not begun, or its node is gone and its files with it.
  absl::Status Copy(ClusterLink& link, const ProcessId& id) {
    while (!over) {
      const absl::StatusOr<Output> output = link.AskHead<Output>(ReadOutput{id, errors, offset}, std::chrono::seconds(3));
      TROUPE_RETURN_IF_ERROR(output.status());
      over = output->over;
      if (output->bytes.size() == 0) break;   // and no memory, which fwrite wants even for nothing
      std::fwrite(output->bytes.data(), 1, output->bytes.size(), to);
      offset += output->bytes.size();
    }
    return absl::OkStatus();
  }
};

absl::StatusOr<JobStatus> StatusOfJob(ClusterLink& link, JobId job, uint64_t& seen) {
  TROUPE_TRY(Inspected inspected, link.AskHead<Inspected>(Inspect{job, seen}, kPatience));
  seen = inspected.version;
  return std::move(inspected.jobs.front());
}

/// At the first signal; another one ends this process at once.
absl::Status StopAndSay(ClusterLink& link, JobId job) {
  absl::Status stopped = link.AskHead<Done>(StopJob{job}, std::chrono::milliseconds(0), true).status();
  if (IsRetryable(stopped)) {
    std::fprintf(stderr, "job %s is not stopped yet: the head does not answer; trying for %d s, once more Ctrl-C: no longer\n", absl::StrCat(job).c_str(),
                 static_cast<int>(kStopMax.count()));
    stopped = link.AskHead<Done>(StopJob{job}, kStopMax, true).status();
  }
  if (IsRetryable(stopped)) return absl::UnavailableError(absl::StrCat("job ", job, " goes on: ", stopped.message()));
  return Stopped();   // or it has just ended
}

}   // namespace

absl::StatusOr<JobId> SubmitJob(ClusterLink& link, const std::string& program, JobSpec spec, std::string request) {
  TROUPE_TRY(spec.program, HashOfProgram(program));
  const Submit submit{request.empty() ? RandomName() : std::move(request), std::move(spec)};
  absl::StatusOr<Submitted> submitted = link.AskHead<Submitted>(submit);
  for (int tries = 0; absl::IsNotFound(submitted.status()) && tries < kProgramTries; ++tries) {   // one head may get it, and another one be asked then
    TROUPE_RETURN_IF_ERROR(SendProgram(link, program, submit.spec.program));
    submitted = link.AskHead<Submitted>(submit, kPatience);
  }
  TROUPE_RETURN_IF_ERROR(submitted.status());
  return submitted->job;
}

absl::StatusOr<JobStatus> PassOutput(ClusterLink& link, JobId job, const std::string& process, bool follow) {
  uint64_t seen = 0, life = 0;
  std::optional<std::chrono::steady_clock::time_point> over_since;
  Stream out{false, stdout}, err{true, stderr};
  for (;;) {
    if (StopAsked()) return Stopped();
    TROUPE_TRY(const JobStatus status, StatusOfJob(link, job, seen));
    uint64_t newest = status.attempt;
    if (process != kDriverName) {
      newest = std::max<uint64_t>(1, life);
      for (const ClaimedProcess& claimed : status.processes) {
        if (claimed.id.name == process) newest = claimed.id.incarnation;
      }
    }
    if (life == 0 && newest > 0) life = process == kDriverName ? 1 : newest;
    while (life > 0) {
      const ProcessId id{job, process, life};
      for (Stream* stream : {&err, &out}) {
        const absl::Status copied = stream->Copy(link, id);
        if (absl::IsCancelled(copied)) return Stopped();
        if (!copied.ok() && !follow) return copied;
        if (absl::IsNotFound(copied) && IsOver(status.state)) stream->over = true;
      }
      std::fflush(stdout);
      if (life >= newest) break;
      // That life is over, whatever became of the rest of its output. Between two runs, and two drivers, there are numbers that nobody has had.
      const bool same_run = process == kDriverName || (life - 1) / kLivesOfRun == (newest - 1) / kLivesOfRun;
      life = same_run ? life + 1 : newest;
      out = {false, stdout};
      err = {true, stderr};
    }
    if (!follow) return status;
    if (!IsOver(status.state)) continue;
    if (life == 0 || (out.over && err.over) || status.state == JobState::kStopped) return status;
    if (!over_since) over_since = std::chrono::steady_clock::now();
    if (std::chrono::steady_clock::now() - *over_since >= kOutputMax) return status;
  }
}

absl::Status RunJob(ClusterLink& link, const std::string& program, JobSpec spec) {
  CatchStopSignals();
  TROUPE_TRY(const JobId job, SubmitJob(link, program, std::move(spec)));
  const absl::StatusOr<JobStatus> status = PassOutput(link, job, kDriverName, true);
  if (absl::IsCancelled(status.status())) return StopAndSay(link, job);
  if (IsRetryable(status.status())) {
    return absl::UnavailableError(
        absl::StrCat("job ", job, " goes on, and this command has lost sight of it (troupe job logs ", job, " --follow): ", status.status().message()));
  }
  TROUPE_RETURN_IF_ERROR(status.status());
  if (status->state == JobState::kSucceeded) return absl::OkStatus();
  if (status->state == JobState::kFailed && status->code > 0) {
    // Its driver has said why on stderr, unless it never began.
    if (!status->reason.ends_with(absl::StrCat("exit code ", status->code)))
      std::fprintf(stderr, "job %s failed: %s\n", absl::StrCat(job).c_str(), status->reason.c_str());
    std::fflush(stderr);
    std::_Exit(status->code);
  }
  return absl::UnavailableError(absl::StrCat("job ", job, " ", ToString(status->state), ": ", status->reason));
}

}   // namespace troupe
