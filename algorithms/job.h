// A program of your own as a job: write one function, and TROUPE_JOB makes the program of it.
//
//   absl::Status Clicks(Job& job) { ... job.Train(options) ... }
//   TROUPE_JOB(troupe::Clicks)
//
// Started by hand it trains in its own process. `troupe submit PROGRAM -- ARGUMENTS` makes it the driver of a job of a cluster: its workers and shards are then
// processes of the same program on the cluster's nodes, so that algorithms of its own (TROUPE_REGISTER) are there as well. What it prints is the job's output.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "actors/storage/storage.h"
#include "actors/system.h"
#include "algorithms/run/trainer.h"

namespace troupe {

struct NodeJob;

class Job {
 public:
  /// `node`: the job of a cluster that this process drives; nothing: none.
  Job(std::vector<std::string> arguments, std::optional<NodeJob> node);
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// Those of the command line, without the program's name.
  const std::vector<std::string>& arguments() const { return arguments_; }
  /// All kinds: paths, mem:, s3:.
  Storage& storage() { return on_cluster() ? *storage_ : system_->storage(); }
  bool on_cluster() const { return node_ != nullptr; }
  /// 1, 2, ...: the first driver of a job is number 1; one that is lost is followed by another one, which begins the function again.
  uint64_t attempt() const;

  /// One run, any number of them one after the other. In this process; on a cluster on its nodes, which must all reach data, model (a path) and checkpoint
  /// under the names given. `workers` 0: one for each core, of this machine or of all nodes, at most one for each split, and `threads` likewise; on a cluster
  /// the data then have twice as many splits, unless they are given, and nodes that join get some. A job's later drivers begin the function again, and there
  /// a run resumes from its `checkpoint_uri`, where it has one: each run of a job its own. SIGINT and SIGTERM stop it, where `cancelled` is null.
  /// Errors as troupe::Train; InvalidArgument: on a cluster, a model that is no path; a checkpoint that another run of this job had; FailedPrecondition: a run
  /// is under way.
  absl::StatusOr<TrainReport> Train(TrainOptions options, const TrainEvents& events = {});

 private:
  absl::StatusOr<TrainReport> TrainOnNodes(TrainOptions options, const TrainEvents& events);

  const std::vector<std::string> arguments_;
  const std::unique_ptr<NodeJob> node_;
  const std::unique_ptr<Storage> storage_;   // on a cluster; else it is the system's, whose actors have mem: in common with this function
  const std::unique_ptr<System> system_;     // of runs in this process
  std::atomic<bool> training_{false};
  std::set<std::string> checkpoints_;   // of runs so far
};

using JobFunction = absl::Status (*)(Job& job);

/// main of such a program, also of the workers and shards that it is on a cluster. An error is one line on stderr and an exit code (ExitCode in status.h).
int RunJobProgram(int argc, char** argv, JobFunction function);

}   // namespace troupe

#define TROUPE_JOB(function)                              \
  int main(int argc, char** argv) {                       \
    return ::troupe::RunJobProgram(argc, argv, function); \
  }
