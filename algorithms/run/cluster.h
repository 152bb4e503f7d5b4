// The workers and shards of one job, wherever they run: actors of this process, processes of this machine, or simulated nodes. The trainer sees only this.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "algorithms/run/messages.h"
#include "algorithms/run/worker_actor.h"
#include "ps/messages.h"
#include "ps/shard_actor.h"

namespace troupe {

/// The end of something asynchronous, to be waited for by a thread that is no actor.
class Ending {
 public:
  void Set() {
    {
      std::lock_guard lock(mutex_);
      set_ = true;
    }
    wake_.notify_all();
  }
  bool IsSet() const {
    std::lock_guard lock(mutex_);
    return set_;
  }
  bool WaitFor(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return wake_.wait_for(lock, time, [this] { return set_; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool set_ = false;
};

class SplitDealer;

class Cluster {
 public:
  virtual ~Cluster() = default;
  /// The system that the trainer's own requests start from.
  virtual System& system() = 0;
  virtual const std::vector<WorkerActor>& workers() const = 0;
  /// May splits be given to other workers? Not where these share what they compute with, or keep tables.
  virtual bool splits_move() const { return false; }
  /// Workers that are to hand over their splits and end, rising: their nodes are drained. They go on until they are let go, or for a while.
  virtual std::vector<uint32_t> leaving() const { return {}; }
  /// One of those may end now; said again, it is of no effect.
  virtual void LetGo(uint32_t) {}
  /// After each answer of a worker, in the phase's actor: who has which splits, and how far they are. For whoever tells others of the run.
  virtual void OnSplits(const SplitDealer&) {}
  /// After so long without an answer a worker's splits are others' (SplitDealerOptions::absent_after).
  virtual std::chrono::milliseconds absent_after() const { return std::chrono::seconds(10); }
  /// The shards, and behind them, where workers keep tables, what keeps those of worker 0 (PlacesOf).
  virtual const std::vector<ShardActor>& shards() const = 0;
  /// Where what moves between shards is put down for a moment (MoveOptions::folder).
  virtual std::string move_folder() const { return "mem:/moves"; }
  /// Replacements of workers and shards so far.
  virtual uint64_t restarts() const = 0;
  /// Waits until `ending` is set. Errors: the supervisor gave up, or the job was cancelled.
  virtual absl::Status Await(Ending& ending) = 0;
};

/// What every host needs to know of a job's workers and shards.
struct ClusterOptions {
  uint32_t workers = 1;   ///< that there may be
  uint32_t spare = 0;     ///< of these, the last: they begin where there is room for them
  WorkerOptions worker;
  std::vector<TableSpec> tables;   ///< that say by whom they are kept
  Consistencies consistency;
  uint32_t splits = 1;
  uint32_t shards = 1;
  /// Processes that hold each shard, in a chain (ps/chain_view.h); in one process always 1.
  uint32_t replication = 1;
  /// Shard i begins with this state, and behind them, where workers keep tables, the copies of all workers; empty: zeros.
  std::vector<std::string> restore_uris;
  /// Shards log what they are told in this folder, which all of them reach, before they answer (ShardActorOptions::log_folder), and whoever is a writer may be
  /// replaced by another (ShardOptions::writers_go_on): tables that outlive jobs. Empty: they do not.
  std::string log_folder = {};
  /// Ranges may move: what is not applied yet is kept at its writers, also within one process.
  bool ranges_move = false;
  /// Set from outside: the job is to stop (a signal). May be null.
  const std::atomic<bool>* cancelled = nullptr;
};

/// The splits of worker `worker` where they do not move: every workers-th.
std::vector<uint32_t> SplitsOf(uint32_t worker, uint32_t workers, uint32_t splits);
ShardActorOptions ShardOptionsOf(const ClusterOptions& options, uint32_t shard);

/// All in `system`'s process.
absl::StatusOr<std::unique_ptr<Cluster>> MakeLocalCluster(System& system, const ClusterOptions& options);

}   // namespace troupe
