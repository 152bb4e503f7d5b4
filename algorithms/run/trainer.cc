#include "algorithms/run/trainer.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "actors/status.h"
#include "algorithms/evaluation/metrics.h"
#include "algorithms/model.h"
#include "algorithms/model_writer.h"
#include "algorithms/registry.h"
#include "algorithms/run/checkpoint.h"
#include "algorithms/run/scorer.h"
#include "algorithms/run/trainer_driver.h"
#include "ps/chain_member_actor.h"
#include "ps/partition.h"

namespace troupe {
namespace {

size_t MachineMemory() {
  return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGE_SIZE));
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

uint32_t SplitsOf(const TrainOptions& options) {
  return options.splits.value_or(std::max(options.workers, options.workers_max));
}

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
