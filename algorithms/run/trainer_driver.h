// What an algorithm drives a training run by: phases, run by the workers on a cluster, and between and beside them checkpoints and moves of ranges.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "algorithms/run/checkpoint.h"
#include "algorithms/run/cluster.h"
#include "algorithms/run/phase_runner.h"
#include "algorithms/run/read_rows.h"
#include "algorithms/run/trainer.h"
#include "ps/range_map.h"
#include "ps/rebalancer.h"
#include "ps/relocation_actor.h"

namespace troupe {

/// Rounds ahead of the furthest writer that a checkpoint is aimed at.
inline constexpr uint64_t kCheckpointMarginMin = 64, kCheckpointMarginMax = 1 << 16;

/// Lets callbacks that outlive their owner find out: they run in actors' contexts, the owner may have returned with an error.
class Lifeline {
 public:
  /// Runs `use` unless the owner is gone; the owner cannot go while it runs.
  void IfAlive(const std::function<void()>& use) {
    std::lock_guard lock(mutex_);
    if (alive_) use();
  }
  void Cut() {
    std::lock_guard lock(mutex_);
    alive_ = false;
  }
  /// Without waiting for anybody.
  bool alive() const { return alive_; }

 private:
  std::mutex mutex_;
  std::atomic<bool> alive_ = true;
};

/// Lives while the cluster does. Called by one thread; progress, checkpoints and moves come in actors' contexts meanwhile.
class TrainerDriver final : public Driver {
 public:
  TrainerDriver(const TrainOptions& options, const DataShape& shape, const std::vector<TableSpec>& tables, Cluster& cluster, CheckpointFolder& folder,
                int epochs, const TrainEvents& events);
  ~TrainerDriver() override {
    lifeline_->Cut();
    writing_->Cut();
  }

  absl::StatusOr<PhaseResult> Run(const Phase& phase) override;
  absl::StatusOr<FunctionValue> Call(const FunctionCall& call) override;
  absl::Status Assign(uint32_t table, std::vector<Key> keys, std::vector<float> values) override;
  void Report(int epoch, std::string_view metric, double value) override {
    std::lock_guard lock(mutex_);
    losses_.emplace_back(epoch, value);
    loss_name_ = metric;
    epoch_ = epoch;
  }
  absl::Status Checkpoint(const Numbers& state) override;
  const Numbers* resumed() const override { return resumed_ ? &*resumed_ : nullptr; }
  int epochs() const override { return epochs_; }
  uint64_t seed() const override { return options_.seed; }
  absl::StatusOr<std::vector<std::vector<float>>> ReadRows(const std::string& uri) override { return ReadAllRows(uri, shape_.schema); }
  const DataShape& shape() const override { return shape_; }

  /// Takes a run up where `checkpoint` left it.
  void Resume(const troupe::Checkpoint& checkpoint, std::map<std::string, std::string> identity) {
    identity_ = std::move(identity);
    saved_ = checkpoint;
    phase_number_ = checkpoint.phases;
    data_epoch_ = checkpoint.data_epochs;
    rows_ = checkpoint.rows;
    nonzeros_ = checkpoint.nonzeros;
    resumed_ = checkpoint.driver;
  }
  /// The map of the ranges, where the shards began with a checkpoint.
  absl::Status LearnMap();
  void SetIdentity(std::map<std::string, std::string> identity) { identity_ = std::move(identity); }

  /// Every shard's rows as parts in `folder`; what all of them say together.
  absl::StatusOr<RowsSaved> SaveRowsTo(const std::string& folder);

  uint64_t rows() const { return rows_; }
  uint64_t bad_rows() const { return bad_rows_; }
  uint64_t nonzeros() const { return nonzeros_; }
  uint64_t rows_pulled() const { return rows_pulled_; }
  uint64_t rows_copied() const { return rows_copied_; }
  const std::vector<TrainReport::Move>& moves() const { return moves_; }
  uint64_t moves_failed() const { return moves_failed_; }
  uint64_t splits_moved() const { return runner_.moved(); }
  uint64_t splits_taken() const { return runner_.taken(); }
  const std::vector<std::pair<int, double>>& losses() const { return losses_; }
  const std::string& loss_name() const { return loss_name_; }

 private:
  struct Kept {   // a row that was assigned
    std::vector<float> values;
  };
  /// Has the workers run the phase, and waits for a checkpoint that is under way; by split, the last reports. `again`: it has been run before.
  absl::StatusOr<std::vector<SplitReport>> AwaitPhase(RunPhase message, bool again);
  /// Has all workers run the last phase again: they have done it, but one that was replaced makes again what a shard has lost.
  absl::Status AwaitLastPhase();
  /// What must end before a phase does, and before another begins: a checkpoint, or a move of ranges.
  std::shared_ptr<Ending> busy() const {
    std::lock_guard lock(mutex_);
    return saving_ != nullptr ? saving_ : moving_;
  }
  /// All shards' replies, once they have everything of the phases so far.
  template <class Reply, class Make>
  absl::StatusOr<std::vector<Reply>> AskCaughtUp(Make make, std::chrono::milliseconds patience);
  /// Where the phases so far end.
  Round EndOfPhases() const { return phase_number_ == 0 ? 0 : MakeRound(phase_number_ + 1, 0); }
  /// What is assigned to `shard`, a message a table.
  std::vector<troupe::Assign> AssignedTo(uint32_t shard) const;
  troupe::Checkpoint Describe(uint64_t id) const;
  bool CheckpointDue() const;
  void StartCheckpoint(Round at);
  /// All places have written theirs.
  absl::Status Stands(troupe::Checkpoint checkpoint, const std::vector<SnapshotTaken>& taken);
  bool RebalanceDue() const;
  void StartRebalance();
  void OnRebalanced(const absl::StatusOr<MovedRanges>& moved);
  void Progress(const Phase& phase, std::span<const SplitReport> reports);

  const TrainOptions& options_;
  const DataShape& shape_;
  const std::vector<TableSpec>& tables_;
  Cluster& cluster_;
  CheckpointFolder& folder_;
  const int epochs_;
  const TrainEvents& events_;
  std::map<std::string, std::string> identity_;

  std::shared_ptr<Lifeline> lifeline_ = std::make_shared<Lifeline>();
  std::shared_ptr<Lifeline> writing_ = std::make_shared<Lifeline>();   // of what takes its time: who holds the other one is waited for by the network
  mutable std::mutex mutex_;                                           // progress and checkpoints are made in actors' contexts while the driver waits
  uint64_t run_ = 0;
  uint64_t phase_number_ = 0;   // of the latest pushing phase
  uint64_t data_epoch_ = 0;     // shuffled phases so far
  uint64_t rows_ = 0, bad_rows_ = 0, nonzeros_ = 0, rows_total_ = 0;
  uint64_t rows_pulled_ = 0, rows_copied_ = 0;   // since this process began
  std::vector<PhaseRecord> history_;             // pushing phases
  std::map<uint32_t, std::map<Key, Kept>> assigned_;
  std::map<uint32_t, uint64_t> assigned_at_;   // by table: pushing phases before the last of them
  std::vector<std::pair<int, double>> losses_;
  std::string loss_name_;
  int epoch_ = 0;
  std::optional<Numbers> resumed_;
  troupe::Checkpoint saved_;   // the last one that stands, and what the next one will say of the driver
  std::chrono::steady_clock::time_point saved_at_ = std::chrono::steady_clock::now();
  std::shared_ptr<Ending> saving_;   // a checkpoint is being written
  absl::Status saving_failed_;
  RangeMap map_;   // of the ranges
  Rebalancer rebalancer_;
  PhaseRunner runner_;
  Rebalancer::Decision decision_;    // of the move under way
  std::shared_ptr<Ending> moving_;   // ranges move, or it is looked whether they should
  uint64_t looks_ = 0;
  std::chrono::steady_clock::time_point looked_at_ = std::chrono::steady_clock::now();
  bool saves_next_ = false;    // where both are due
  bool ranges_stay_ = false;   // for a reason that does not go away
  std::vector<TrainReport::Move> moves_;
  uint64_t moves_failed_ = 0;
  uint64_t checkpoint_margin_ = kCheckpointMarginMin;   // rounds ahead of the furthest writer
  uint64_t passed_phase_ = 0;                           // in which no checkpoint is tried any more
};

}   // namespace troupe
