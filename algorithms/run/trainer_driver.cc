#include "algorithms/run/trainer_driver.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "actors/gather.h"
#include "actors/status.h"
#include "algorithms/model_writer.h"
#include "algorithms/run/batch_jobs.h"
#include "ps/call.h"
#include "ps/encoding/compressor.h"

namespace troupe {
namespace {

/// A function that takes a shard longer than this (or than a request between processes may) is never answered.
constexpr std::chrono::milliseconds kCallPatience{10'000};

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

}   // namespace

TrainerDriver::TrainerDriver(const TrainOptions& options, const DataShape& shape, const std::vector<TableSpec>& tables, Cluster& cluster,
                             CheckpointFolder& folder, int epochs, const TrainEvents& events)
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

absl::Status TrainerDriver::LearnMap() {
  TROUPE_TRY(const std::vector<Ranges> ranges, AskAll<Ranges>(cluster_, cluster_.shards(), [](size_t) { return AskRanges{}; }));
  TROUPE_TRY(map_, RangeMap::Decode(tables_, options_.shards, ranges[0].map));
  return absl::OkStatus();
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

}   // namespace troupe
