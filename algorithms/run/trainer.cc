#include "algorithms/run/trainer.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "actors/gather.h"
#include "actors/status.h"
#include "actors/text.h"
#include "algorithms/evaluation/metrics.h"
#include "algorithms/model.h"
#include "algorithms/model_writer.h"
#include "algorithms/registry.h"
#include "algorithms/run/batch_jobs.h"
#include "algorithms/run/checkpoint.h"
#include "algorithms/run/phase_runner.h"
#include "algorithms/run/read_rows.h"
#include "algorithms/run/scorer.h"
#include "ps/call.h"
#include "ps/chain_member_actor.h"
#include "ps/encoding/compressor.h"
#include "ps/partition.h"
#include "ps/rebalancer.h"
#include "ps/relocation_actor.h"

namespace troupe {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

/// A function that takes a shard longer than this (or than a request between processes may) is never answered.
constexpr std::chrono::milliseconds kCallPatience{10'000};
constexpr uint64_t kMarginMin = 64, kMarginMax = 1 << 16;

uint32_t SplitsOf(const TrainOptions& options) {
  return options.splits.value_or(std::max(options.workers, options.workers_max));
}

size_t MachineMemory() {
  return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGE_SIZE));
}

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

/// Sends one request to every target and waits for all replies. `make` may still be called when the caller has left with an error: it owns what it uses.
template <class Reply, class Handle, class Make>
absl::StatusOr<std::vector<Reply>> AskAll(Cluster& cluster, const std::vector<Handle>& targets, Make make, const GatherOptions& options = {}) {
  struct Shared {
    Ending ending;
    absl::StatusOr<std::vector<Reply>> result = absl::UnknownError("");
  };
  auto shared = std::make_shared<Shared>();
  const caf::actor gatherer = Gather<Reply>(cluster.system(), targets, std::move(make), options, [shared](absl::StatusOr<std::vector<Reply>> result) {
    shared->result = std::move(result);
    shared->ending.Set();
  });
  if (absl::Status status = cluster.Await(shared->ending); !status.ok()) {
    if (gatherer) cluster.system().Stop(gatherer);
    return status;
  }
  return std::move(shared->result);
}

SplitDealerOptions DealerOf(const TrainOptions& options, std::span<const TableSpec> tables, const Cluster& cluster) {
  const auto workers = static_cast<uint32_t>(cluster.workers().size());
  return {.splits = SplitsOf(options),
          .workers = workers,
          .first = std::min(options.workers, workers),
          .move = cluster.splits_move() && options.rebalance_every_s < 0,   // shards whose ranges move want from their writers what was not applied yet
          .at_once = !Compressor::Keeps(tables),
          .absent_after = cluster.absent_after(),
          .away_max = cluster.absent_after() / 10};
}

class TrainerDriver final : public Driver {
 public:
  TrainerDriver(const TrainOptions& options, const DataShape& shape, const std::vector<TableSpec>& tables, Cluster& cluster, CheckpointFolder& folder,
                int epochs, const TrainEvents& events)
      : options_(options),
        shape_(shape),
        tables_(tables),
        cluster_(cluster),
        folder_(folder),
        epochs_(epochs),
        events_(events),
        map_(tables, options.shards),
        rebalancer_(tables),
        runner_(cluster.system(), cluster.workers(), {.dealer = DealerOf(options, tables, cluster), .log = events.log}) {}
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
  SteadyTime saved_at_ = std::chrono::steady_clock::now();
  std::shared_ptr<Ending> saving_;   // a checkpoint is being written
  absl::Status saving_failed_;
  RangeMap map_;   // of the ranges
  Rebalancer rebalancer_;
  PhaseRunner runner_;
  Rebalancer::Decision decision_;    // of the move under way
  std::shared_ptr<Ending> moving_;   // ranges move, or it is looked whether they should
  uint64_t looks_ = 0;
  SteadyTime looked_at_ = std::chrono::steady_clock::now();
  bool saves_next_ = false;    // where both are due
  bool ranges_stay_ = false;   // for a reason that does not go away
  std::vector<TrainReport::Move> moves_;
  uint64_t moves_failed_ = 0;
  uint64_t checkpoint_margin_ = kMarginMin;   // rounds ahead of the furthest writer
  uint64_t passed_phase_ = 0;                 // in which no checkpoint is tried any more
};

absl::StatusOr<std::vector<SplitReport>> TrainerDriver::AwaitPhase(RunPhase message, bool again) {
  struct Shared {
    Ending ending;
    absl::StatusOr<std::vector<SplitReport>> result = absl::UnknownError("");
  };
  auto shared = std::make_shared<Shared>();
  // The phase's actor may still be there for a moment when the driver has left with an error.
  auto lifeline = std::make_shared<Lifeline>();
  const absl::Cleanup cut = [lifeline] { lifeline->Cut(); };
  const Phase phase = message.current.phase;
  const caf::actor actor = runner_.Run(std::move(message), again,
                                       {.progress =
                                            [this, lifeline, phase](const SplitDealer& dealer) {
                                              lifeline->IfAlive([&] {
                                                Progress(phase, dealer.reports());
                                                cluster_.OnSplits(dealer);
                                              });
                                            },
                                        .may_end =
                                            [this, lifeline] {   // what a shard loses while a checkpoint is written may have to be pushed again
                                              bool may_end = true;
                                              lifeline->IfAlive([&] { may_end = busy() == nullptr; });
                                              return may_end;
                                            },
                                        .leaving =
                                            [this, lifeline] {
                                              std::vector<uint32_t> leaving;
                                              lifeline->IfAlive([&] { leaving = cluster_.leaving(); });
                                              return leaving;
                                            },
                                        .left = [this, lifeline](uint32_t worker) { lifeline->IfAlive([&] { cluster_.LetGo(worker); }); },
                                        .done =
                                            [shared](absl::StatusOr<std::vector<SplitReport>> result) {
                                              shared->result = std::move(result);
                                              shared->ending.Set();
                                            }});
  if (absl::Status status = cluster_.Await(shared->ending); !status.ok()) {
    cluster_.system().Stop(actor);
    return status;
  }
  return std::move(shared->result);
}

absl::Status TrainerDriver::AwaitLastPhase() {
  if (history_.empty()) return absl::OkStatus();
  return AwaitPhase({.run = ++run_, .current = history_.back(), .earlier = history_, .share = {}}, /*again=*/true).status();
}

absl::StatusOr<PhaseResult> TrainerDriver::Run(const Phase& phase) {
  RunPhase message;
  {
    std::lock_guard lock(mutex_);
    message.run = ++run_;
    message.earlier = history_;
    message.current = {.number = phase.pushes ? ++phase_number_ : 0, .epoch = data_epoch_, .phase = phase};
  }
  TROUPE_TRY(const std::vector<SplitReport> reports, AwaitPhase(message, /*again=*/false));
  std::lock_guard lock(mutex_);
  TROUPE_RETURN_IF_ERROR(saving_failed_);
  PhaseResult result;
  uint64_t bad_rows = 0;
  for (const SplitReport& split : reports) {   // sums are taken in the order of the splits, whoever had them
    if (!split.sum.empty()) TROUPE_RETURN_IF_ERROR(AddNumbers(split.sum, result.sum));
    result.collected.insert(result.collected.end(), split.collected.begin(), split.collected.end());
    result.rows += split.rows;
    bad_rows += split.bad_rows;
    if (phase.pushes) nonzeros_ += split.nonzeros;
    rows_pulled_ += split.pulled;
    rows_copied_ += split.copied;
  }
  rows_ = std::max(rows_, result.rows);
  bad_rows_ = std::max(bad_rows_, bad_rows);
  rows_total_ += result.rows;
  if (phase.shuffle) ++data_epoch_;
  if (phase.pushes) history_.push_back(message.current);
  return result;
}

void TrainerDriver::Progress(const Phase& phase, std::span<const SplitReport> reports) {
  uint64_t rows = 0, furthest = 0;
  double share = 0;   // of the phase; a split of which nothing is heard yet has none of it done
  Numbers sum;
  for (const SplitReport& split : reports) {
    rows += split.rows;
    furthest = std::max(furthest, split.rows);
    if (!split.sum.empty() && !AddNumbers(split.sum, sum).ok()) return;
    const double done = split.has_ended() ? 1.0 : split.bytes_total == 0 ? 0.0 : static_cast<double>(split.bytes) / static_cast<double>(split.bytes_total);
    share += done / static_cast<double>(reports.size());
  }
  std::unique_lock lock(mutex_);
  if (events_.progress) {
    TrainProgress progress{.phase = phase.name,
                           .epoch = std::min(epoch_ + 1, epochs_),
                           .epochs = epochs_,
                           .rows = rows_total_ + rows,
                           .share = 0,
                           .loss = {},
                           .restarts = cluster_.restarts()};
    progress.share = (epoch_ + share) / std::max(epochs_, 1);
    if (phase.pushes && sum.size() == 2 && sum[1] > 0) progress.loss = sum[0] / sum[1];
    events_.progress(progress);
  }
  const bool over = std::ranges::all_of(reports, &SplitReport::has_ended);
  // The driver has not yet said that this phase is done. A change of rows is made by each shard when it comes there: where ranges are dealt to other shards,
  // all or none must have made it.
  const bool open = phase.pushes && !phase.change && !over && saved_.phases < phase_number_;
  if (!open || saving_ != nullptr || moving_ != nullptr) return;
  const bool save = passed_phase_ != phase_number_ && CheckpointDue();
  if (RebalanceDue() && (!save || !std::exchange(saves_next_, true))) {   // by turns
    StartRebalance();
  } else if (save) {
    saves_next_ = false;
    // Under BSP all shards cut after the same round, one that none has reached yet. Else each when it is asked, but none that is still catching up in an
    // earlier phase: a run that is taken up does not go back there.
    const bool bsp = options_.consistency.all.in_rounds();
    StartCheckpoint(MakeRound(phase_number_, bsp ? furthest / phase.batch_rows + checkpoint_margin_ : 0));
  }
}

bool TrainerDriver::CheckpointDue() const {
  return !options_.checkpoint_uri.empty() && std::chrono::duration<double>(std::chrono::steady_clock::now() - saved_at_).count() >= options_.checkpoint_every_s;
}

troupe::Checkpoint TrainerDriver::Describe(uint64_t id) const {
  troupe::Checkpoint checkpoint = saved_;
  checkpoint.id = id;
  checkpoint.identity = identity_;
  checkpoint.shards = options_.shards;
  checkpoint.places = PlacesOf(tables_, options_.shards);
  checkpoint.files.clear();
  return checkpoint;
}

void TrainerDriver::StartCheckpoint(Round at) {
  auto ending = std::make_shared<Ending>();
  saving_ = ending;
  const troupe::Checkpoint checkpoint = Describe(folder_.next_id());
  const auto finish = [this, ending](const absl::Status& status, bool again) {
    {
      std::lock_guard lock(mutex_);
      if (!status.ok()) saving_failed_ = WithContext(status, "checkpoint");
      saving_ = nullptr;
      if (!again) saved_at_ = std::chrono::steady_clock::now();
    }
    ending->Set();
  };
  Gather<SnapshotTaken>(
      cluster_.system(), cluster_.shards(),
      [uri = options_.checkpoint_uri, at, id = checkpoint.id, base = folder_.latest()](size_t shard) {
        const auto place = static_cast<uint32_t>(shard);
        return TakeSnapshot{SnapshotUri(uri, id, place), at, true, base == 0 ? "" : SnapshotUri(uri, base, place)};
      },
      GatherOptions{},
      [this, lifeline = lifeline_, checkpoint, finish](const absl::StatusOr<std::vector<SnapshotTaken>>& taken) {
        lifeline->IfAlive([&] {
          if (absl::IsOutOfRange(taken.status())) {   // a shard was past it already: at the next progress report, further ahead
            {
              std::lock_guard lock(mutex_);
              checkpoint_margin_ *= 2;
              if (checkpoint_margin_ > kMarginMax) {   // the shards have all of this phase, only its end is not yet known here
                checkpoint_margin_ = kMarginMin;
                passed_phase_ = phase_number_;
              }
            }
            finish(absl::OkStatus(), /*again=*/true);
            return;
          }
          if (!taken.ok()) return finish(taken.status(), false);
          // The storage may be far away, and this may be the network's thread.
          cluster_.system().compute().Submit(Compute::Priority::kStep, [this, writing = writing_, checkpoint, all = *taken, finish] {
            writing->IfAlive([&] { finish(Stands(checkpoint, all), false); });
          });
        });
      });
}

absl::Status TrainerDriver::Stands(troupe::Checkpoint checkpoint, const std::vector<SnapshotTaken>& taken) {
  checkpoint.clock = std::ranges::min_element(taken, {}, &SnapshotTaken::clock)->clock;
  std::set<std::string> files;
  uint64_t bytes = 0;
  for (const SnapshotTaken& place : taken) {
    files.insert(place.files.begin(), place.files.end());
    bytes += place.bytes;
  }
  checkpoint.files.assign(files.begin(), files.end());
  TROUPE_RETURN_IF_ERROR(folder_.Write(checkpoint));
  if (events_.log) events_.log(absl::StrCat("checkpoint ", checkpoint.id, " of ", files.size(), " files, ", HumanBytes(bytes), " of them new"));
  return absl::OkStatus();
}

bool TrainerDriver::RebalanceDue() const {
  if (options_.rebalance_every_s < 0 || ranges_stay_ || options_.shards < 2) return false;
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - looked_at_).count() >= options_.rebalance_every_s;
}

void TrainerDriver::StartRebalance() {
  auto ending = std::make_shared<Ending>();
  moving_ = ending;
  const auto choose = [this, lifeline = lifeline_](const RangeMap& map, const std::vector<Ranges>& ranges) {
    std::vector<RangeMove> moves;
    lifeline->IfAlive([&] {
      std::vector<RangeLoad> loads;
      for (const Ranges& shard : ranges) loads.insert(loads.end(), shard.loads.As<RangeLoad>().begin(), shard.loads.As<RangeLoad>().end());
      decision_ = options_.choose_moves ? Rebalancer::Decision{options_.choose_moves(map), {}} : rebalancer_.Look(map, loads);
      moves = decision_.moves;
    });
    return moves;
  };
  const auto wanted = [lifeline = lifeline_] { return lifeline->alive(); };
  const std::vector<ShardActor> shards(cluster_.shards().begin(), cluster_.shards().begin() + options_.shards);
  MoveRanges(cluster_.system(), shards, tables_, choose, {.folder = cluster_.move_folder(), .number = ++looks_, .wanted = wanted},
             [this, lifeline = lifeline_, ending](const absl::StatusOr<MovedRanges>& moved) {
               lifeline->IfAlive([&] { OnRebalanced(moved); });
               ending->Set();
             });
}

void TrainerDriver::OnRebalanced(const absl::StatusOr<MovedRanges>& moved) {
  std::lock_guard lock(mutex_);
  moving_ = nullptr;
  looked_at_ = std::chrono::steady_clock::now();
  const Rebalancer::Decision decision = std::exchange(decision_, {});
  const auto log = [this](std::string line) {
    if (events_.log) events_.log(std::move(line));
  };
  if (!moved.ok()) {
    ++moves_failed_;
    ranges_stay_ = !IsRetryable(moved.status());
    log(absl::StrCat("ranges stay", ranges_stay_ ? "" : " for now", ": ", moved.status().message()));
    return;
  }
  map_ = moved->map;
  if (decision.moves.empty()) return;
  TrainReport::Move move{.ranges = static_cast<uint32_t>(decision.moves.size()), .pause_ms = static_cast<double>(moved->pause.count()) / 1e3};
  move.reasons = decision.reasons;
  log(absl::StrCat(move.ranges, " ranges moved, map ", map_.epoch(), ", pushes waited ", moved->pause.count() / 1000, " ms"));
  for (const std::string& reason : decision.reasons) log(absl::StrCat("moved: ", reason));
  moves_.push_back(std::move(move));
}

absl::Status TrainerDriver::LearnMap() {
  TROUPE_TRY(const std::vector<Ranges> ranges, AskAll<Ranges>(cluster_, cluster_.shards(), [](size_t) { return AskRanges{}; }));
  TROUPE_TRY(map_, RangeMap::Decode(tables_, options_.shards, ranges[0].map));
  return absl::OkStatus();
}

absl::Status TrainerDriver::Checkpoint(const Numbers& state) {
  {
    std::lock_guard lock(mutex_);
    saved_.phases = phase_number_;
    saved_.data_epochs = data_epoch_;
    saved_.rows = rows_;
    saved_.nonzeros = nonzeros_;
    saved_.driver = state;
    if (!CheckpointDue()) return absl::OkStatus();
    StartCheckpoint(phase_number_ == 0 ? 0 : MakeRound(phase_number_ + 1, 0));
  }
  TROUPE_RETURN_IF_ERROR(AwaitLastPhase());
  if (const auto ending = busy()) TROUPE_RETURN_IF_ERROR(cluster_.Await(*ending));   // there was no phase to wait with
  std::lock_guard lock(mutex_);
  return saving_failed_;
}

absl::Status TrainerDriver::Assign(uint32_t table, std::vector<Key> keys, std::vector<float> values) {
  const uint32_t width = tables_[table].width;
  if (const auto at = assigned_at_.find(table); at != assigned_at_.end() && at->second != phase_number_) assigned_[table].clear();   // pushed to since
  assigned_at_[table] = phase_number_;
  for (size_t i = 0; i < keys.size(); ++i) {
    assigned_[table][keys[i]].values.assign(values.begin() + static_cast<std::ptrdiff_t>(i * width),
                                            values.begin() + static_cast<std::ptrdiff_t>((i + 1) * width));
  }
  std::vector<ShardActor> targets;
  std::vector<troupe::Assign> flat;
  for (uint32_t shard = 0; shard < cluster_.shards().size(); ++shard) {
    for (troupe::Assign& assign : AssignedTo(shard)) {
      if (assign.table != table) continue;
      targets.push_back(cluster_.shards()[shard]);
      flat.push_back(std::move(assign));
    }
  }
  return AskAll<Assigned>(cluster_, targets, [flat](size_t i) { return flat[i]; }).status();
}

std::vector<troupe::Assign> TrainerDriver::AssignedTo(uint32_t shard) const {
  std::vector<troupe::Assign> messages;
  for (const auto& [table, rows] : assigned_) {
    if (assigned_at_.at(table) != phase_number_) continue;   // pushed to since
    const Partition partition(tables_[table], options_.shards);
    std::vector<Key> keys;
    std::vector<float> values;
    for (const auto& [key, kept] : rows) {
      if (map_.ShardOf(table, partition.RangeOf(key)) != shard) continue;
      keys.push_back(key);
      values.insert(values.end(), kept.values.begin(), kept.values.end());
    }
    if (!keys.empty()) messages.push_back({.table = table, .keys = Block::Adopt(std::move(keys)), .values = Block::Adopt(std::move(values))});
  }
  return messages;
}

template <class Reply, class Make>
absl::StatusOr<std::vector<Reply>> TrainerDriver::AskCaughtUp(Make make, std::chrono::milliseconds patience) {
  // A shard that was replaced waits for pushes that perhaps nobody holds any more, because their worker was replaced as well: every worker is asked for the
  // last phase again. One that has done it says so at once; a new one makes again what is missing.
  constexpr int kAttempts = 60;
  for (int attempt = 1;; ++attempt) {
    TROUPE_RETURN_IF_ERROR(AwaitLastPhase());
    auto replies = AskAll<Reply>(cluster_, cluster_.shards(), make, {.retry = std::chrono::milliseconds(20), .patience = patience});
    if (!replies.ok() && IsRetryable(replies.status()) && !absl::IsCancelled(replies.status()) && attempt < kAttempts) continue;
    return replies;
  }
}

absl::StatusOr<FunctionValue> TrainerDriver::Call(const FunctionCall& call) {
  TROUPE_TRY(const Function function, MakeFunction(call, tables_));
  for (const uint32_t table : call.tables) {
    const bool kept = tables_[table].kept_by != KeptBy::kShards;
    if (kept && function.change != nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("function '", call.function, "' changes or copies table '", tables_[table].name, "', which its workers keep (ring, tree)"));
    }
    if (kept != (tables_[call.tables[0]].kept_by != KeptBy::kShards)) {
      return absl::FailedPreconditionError(absl::StrCat("function '", call.function, "' is of table '", tables_[call.tables[0]].name, "' and of table '",
                                                        tables_[table].name, "', of which only one is kept by workers"));
    }
  }
  if (function.change != nullptr) {
    // They would be assigned again, without the change, when the model is saved; and a replaced shard may have none to copy when it makes the change again.
    for (const uint32_t table : call.tables) {
      if (!assigned_.contains(table)) continue;
      return absl::FailedPreconditionError(
          absl::StrCat("function '", call.function, "' changes or copies table '", tables_[table].name, "', whose rows were assigned"));
    }
    TROUPE_RETURN_IF_ERROR(Run({.name = call.function, .arguments = {}, .shuffle = false, .pushes = true, .change = call}).status());
    return FunctionValue();
  }
  std::vector<troupe::Call> messages;
  for (uint32_t shard = 0; shard < PlacesOf(tables_, options_.shards); ++shard) {
    messages.push_back({.call = call, .at = EndOfPhases(), .assigned = AssignedTo(shard)});
  }
  TROUPE_TRY(const std::vector<Called> called, AskCaughtUp<Called>([messages](size_t shard) { return messages[shard]; }, kCallPatience));
  return MergeCalled(call, tables_, called);
}

absl::StatusOr<RowsSaved> TrainerDriver::SaveRowsTo(const std::string& folder) {
  std::vector<SaveRows> messages;
  for (uint32_t shard = 0; shard < PlacesOf(tables_, options_.shards); ++shard) {
    messages.push_back({.uri = absl::StrCat(folder, "/", ModelWriter::PartName(shard)), .at = EndOfPhases(), .assigned = AssignedTo(shard)});
  }
  TROUPE_TRY(const std::vector<RowsSaved> saved,
             AskCaughtUp<RowsSaved>([messages](size_t shard) { return messages[shard]; }, std::chrono::milliseconds(2'000)));
  RowsSaved all;
  for (const RowsSaved& shard : saved) {
    if (shard.epoch != map_.epoch()) return absl::InternalError(absl::StrCat("a shard saved the ranges of map ", shard.epoch, ", expected ", map_.epoch()));
    all.rows += shard.rows;
    all.nonzeros += shard.nonzeros;
    all.late += shard.late;
    all.dropped += shard.dropped;
    all.evicted += shard.evicted;
  }
  return all;
}

std::map<std::string, std::string> Identity(const TrainOptions& options, const Params& params, uint32_t splits, const Source& source) {
  std::map<std::string, std::string> identity{{"algorithm", options.algorithm},
                                              {"data", options.data.uri},
                                              {"data_bytes", absl::StrCat(source.bytes())},
                                              {"seed", absl::StrCat(options.seed)},
                                              {"splits", absl::StrCat(splits)},
                                              {"consistency", ToString(options.consistency)},
                                              {"on_bad_row", options.data.skip_bad_rows ? "skip" : "stop"}};
  for (const auto& [name, value] : params.ToText()) identity[absl::StrCat("param ", name)] = value;
  return identity;
}

Manifest Describe(const TrainOptions& options, const Params& params, const Algorithm& algorithm, const Source& source, const Blueprint& blueprint, int epochs,
                  uint64_t rows) {
  Manifest manifest;
  manifest.troupe_version = TROUPE_VERSION;
  manifest.algorithm = options.algorithm;
  manifest.params = params.ToText();
  manifest.schema = source.schema();
  manifest.labels = algorithm.labels();
  manifest.seed = options.seed;
  manifest.epochs = epochs;
  manifest.consistency = ToString(options.consistency);
  manifest.data = options.data.uri;
  manifest.created = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone());
  manifest.rows = rows;
  for (const TableSpec& table : blueprint.tables) manifest.tables.push_back({.name = table.name, .width = table.width, .rows = 0});
  return manifest;
}

bool AnyInRounds(const Consistencies& consistency, std::span<const TableSpec> tables) {
  return std::ranges::any_of(tables, [&](const TableSpec& table) { return consistency.Of(table.name).in_rounds(); });
}

/// What the run goes on from, with as many shards as it has now.
absl::StatusOr<std::optional<Checkpoint>> BeginWith(CheckpointFolder& folder, const TrainOptions& options, const std::map<std::string, std::string>& identity,
                                                    std::span<const TableSpec> tables, const TrainEvents& events) {
  if (!options.resume) {
    TROUPE_RETURN_IF_ERROR(folder.Begin());
    return std::nullopt;
  }
  TROUPE_TRY(std::optional<CheckpointFolder::Found> found, folder.Find(options.accept_loss));
  if (!found) return std::nullopt;
  TROUPE_RETURN_IF_ERROR(CheckIdentity(options.checkpoint_uri, found->checkpoint.identity, identity));
  if (!found->lost.empty() && events.warn) events.warn(found->lost);
  if (events.log) events.log(absl::StrCat("the run goes on from checkpoint ", found->checkpoint.id));
  if (found->checkpoint.shards == options.shards) return found->checkpoint;
  TROUPE_TRY(Checkpoint dealt, folder.Reshard(found->checkpoint, tables, AnyInRounds(options.consistency, tables), options.shards));
  return dealt;
}

/// InvalidArgument: there are no cuts at which ranges could move, or they cannot be written as a whole.
absl::Status CheckRangesMove(const Consistencies& consistency, std::span<const TableSpec> tables) {
  const bool rounds = !tables.empty() && consistency.Of(tables[0].name).in_rounds();
  for (const TableSpec& table : tables) {
    const auto refuse = [&](std::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat("--rebalance: table '", table.name, "' ", std::string(what)));
    };
    if (table.kept_by != KeptBy::kShards) return refuse("is kept by workers (ring, tree), its ranges do not move");
    if (table.limits.memory_max > 0) return refuse("has memory_max, its ranges do not move");
    if (consistency.Of(table.name).in_rounds() != rounds) return refuse("differs from the first one in being applied by rounds, then there are no cuts");
  }
  if (consistency.all.backup > 0) return absl::InvalidArgumentError("--rebalance: there are no cuts with backup workers");
  return absl::OkStatus();
}

}   // namespace

uint64_t MemoryOf(const TrainOptions& options) {
  return options.memory_bytes != 0 ? options.memory_bytes : MachineMemory() / 2;
}

SourceOptions TrainingData(const TrainOptions& options, const Algorithm& algorithm) {
  SourceOptions data = options.data;
  data.label_kind = algorithm.labels();
  data.splits = SplitsOf(options);
  return data;
}

absl::StatusOr<Blueprint> DeclareTables(const TrainOptions& options, Algorithm& algorithm, const Params& params, const DataShape& shape) {
  TROUPE_TRY(Blueprint blueprint, algorithm.Declare(params, shape));
  KeepTables(options.consistency, blueprint.tables);
  for (const TableSpec& table : blueprint.tables) TROUPE_RETURN_IF_ERROR(Validate(table));
  TROUPE_RETURN_IF_ERROR(Validate(
      ShardOptions{.tables = blueprint.tables, .shards = std::max(1u, options.shards), .writers = SplitsOf(options), .consistency = options.consistency}));
  TROUPE_RETURN_IF_ERROR(CheckReplicas(options.replicas, blueprint.tables, options.consistency));
  if (options.rebalance_every_s >= 0) TROUPE_RETURN_IF_ERROR(CheckRangesMove(options.consistency, blueprint.tables));
  return blueprint;
}

/// Processes of each shard: as asked for, or as many as there should be where that is possible.
absl::StatusOr<uint32_t> ReplicationOf(const TrainOptions& options, const ClusterOptions& cluster) {
  const uint32_t wanted = options.replication.value_or(options.replication_default);
  if (wanted <= 1) return 1;
  absl::Status status = ValidateChain(ShardOptionsOf(cluster, 0));
  if (options.rebalance_every_s >= 0) status = absl::InvalidArgumentError("ranges of shards with replicas do not move, expected --rebalance or --replication");
  if (status.ok()) return wanted;
  if (!options.replication) return 1;
  return status;
}

absl::StatusOr<TrainReport> Train(const TrainOptions& options, Storage& storage, const ClusterFactory& make_cluster, const TrainEvents& events) {
  TROUPE_TRY(std::unique_ptr<Algorithm> algorithm, MakeAlgorithm(options.algorithm));
  TROUPE_TRY(Params params, Params::Parse(algorithm->params(), options.params));
  const uint32_t splits = SplitsOf(options);
  const int epochs = options.epochs.value_or(algorithm->default_epochs());
  TROUPE_TRY(std::unique_ptr<ModelWriter> writer, ModelWriter::Make(storage, options.model_uri));

  const SourceOptions data = TrainingData(options, *algorithm);
  std::shared_ptr<const Source> source = options.opened;
  if (source == nullptr) {
    TROUPE_TRY(source, OpenSource(data));
  }
  std::shared_ptr<const Source> valid;
  if (options.valid) {
    SourceOptions valid_data = *options.valid;
    valid_data.label_kind = algorithm->labels();
    valid_data.expected = source->schema();
    valid_data.splits = static_cast<uint32_t>(options.threads);
    if (valid_data.label.empty()) valid_data.label = source->schema().label;
    TROUPE_TRY(valid, OpenSource(valid_data));
  }
  const DataShape shape = DataShape::Of(source->schema());
  TROUPE_TRY(const Blueprint blueprint, DeclareTables(options, *algorithm, params, shape));

  // Rows are kept between passes as far as memory goes; one pass that is judged on other data needs none.
  const uint64_t memory = MemoryOf(options);
  const size_t cache_bytes = epochs == 1 && valid != nullptr ? 0 : memory / 2;
  auto cache = std::make_shared<BlockCache>(cache_bytes);

  ClusterOptions cluster_options;
  const bool kept = PlacesOf(blueprint.tables, options.shards) > options.shards;   // workers that keep tables are as many as they are
  cluster_options.workers = kept ? options.workers : std::max(options.workers, options.workers_max);
  cluster_options.spare = cluster_options.workers - options.workers;
  cluster_options.splits = splits;
  cluster_options.shards = options.shards;
  cluster_options.tables = blueprint.tables;
  cluster_options.consistency = options.consistency;
  cluster_options.cancelled = options.cancelled;
  cluster_options.ranges_move = options.rebalance_every_s >= 0;
  cluster_options.worker = {.algorithm = options.algorithm,
                            .params = params.ToText(),
                            .source = data,
                            .splits_total = splits,
                            .shards = options.shards,
                            .seed = options.seed,
                            .consistency = options.consistency,
                            .cache_bytes = cache_bytes / options.workers,
                            .held_bytes = options.held_bytes,
                            .replicas = options.replicas,
                            .opened = source,
                            .cache = cache};
  cluster_options.worker.source.spool_fds = source->spool_fds();
  TROUPE_TRY(cluster_options.replication, ReplicationOf(options, cluster_options));

  const std::map<std::string, std::string> identity = Identity(options, params, splits, *source);
  std::optional<troupe::Checkpoint> resumed;
  CheckpointFolder folder(storage, options.checkpoint_uri, options.checkpoints_kept);
  if (!options.checkpoint_uri.empty()) {
    TROUPE_TRY(resumed, BeginWith(folder, options, identity, blueprint.tables, events));
  }
  for (uint32_t place = 0; resumed && place < resumed->places; ++place) {
    cluster_options.restore_uris.push_back(SnapshotUri(options.checkpoint_uri, resumed->id, place));
  }

  TrainReport report;
  std::unique_ptr<const Model> model;
  {
    TROUPE_TRY(std::unique_ptr<Cluster> cluster, make_cluster(cluster_options));
    TrainerDriver driver(options, shape, blueprint.tables, *cluster, folder, epochs, events);
    driver.SetIdentity(identity);
    if (resumed) {
      driver.Resume(*resumed, identity);
      TROUPE_RETURN_IF_ERROR(driver.LearnMap());
    }
    TROUPE_RETURN_IF_ERROR(algorithm->Drive(driver));
    TROUPE_TRY(std::string staging, writer->StagingUri());
    TROUPE_TRY(const RowsSaved saved, driver.SaveRowsTo(staging));
    report.ledger_applied = saved.nonzeros;
    report.ledger_late = saved.late;
    report.dropped = saved.dropped;
    report.evicted = saved.evicted;
    report.ledger_read = driver.nonzeros();
    report.rows_pulled = driver.rows_pulled();
    report.rows_copied = driver.rows_copied();
    report.moves = driver.moves();
    report.moves_failed = driver.moves_failed();
    report.splits_moved = driver.splits_moved();
    report.splits_taken = driver.splits_taken();
    report.rows = driver.rows();
    report.bad_rows = driver.bad_rows();
    report.losses = driver.losses();
    report.loss_name = driver.loss_name();
    report.restarts = cluster->restarts();
  }
  report.epochs = epochs;
  Manifest manifest = Describe(options, params, *algorithm, *source, blueprint, epochs, report.rows);
  TROUPE_TRY(model, writer->Open(std::move(manifest)));
  TROUPE_TRY(ScoreResult score, Score(model->predictor(), algorithm->task(),
                                      {.source = valid != nullptr ? valid : source,
                                       .cache = valid != nullptr ? nullptr : cache.get(),
                                       .threads = options.threads,
                                       .predictions = nullptr}));
  report.metrics = score.metrics;
  manifest = model->manifest();
  manifest.metrics = report.metrics;
  TROUPE_RETURN_IF_ERROR(writer->Commit(manifest));
  return report;
}

}   // namespace troupe
