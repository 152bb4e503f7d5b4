// Names are checked before numbers, and both before any file is opened.
#include "tools/troupe/train_flags.h"

#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "actors/this_process.h"
#include "algorithms/registry.h"
#include "algorithms/run/launcher.h"

namespace troupe {

void TrainFlags::Declare(CommandLine& line) {
  line.Value("--algorithm", "NAME", &algorithm, "what to train: troupe algorithms lists them", true);
  line.Value("--data", "URI", &data, "training data: a file, a folder of files, or generate:KIND?rows=N&seed=S; text also as .gz or .zst", true);
  line.Value("--model", "DIR", &model, "folder for the model; one that is there is replaced when the run has succeeded, and only then", true);
  line.Value("--valid", "URI", &valid, "data to measure the model on (default: the training data)");
  line.Value("--label", "COL", &label, "label column of CSV and Parquet (default: label)");
  line.Value("--format", "NAME", &format, "libsvm, csv or parquet (default: by the extension before .gz or .zst)");
  line.Values("--param", "NAME=VALUE", &params, "a parameter of the algorithm, as often as needed: troupe algorithms NAME lists them");
  line.Settings({"epochs", "seed", "workers", "splits", "shards", "consistency", "memory", "on_bad_row", "snapshot_interval", "held_bytes", "request_timeout",
                 "replicas", "replica_staleness", "links", "restart_intensity", "restart_period", "tmp", "log_level"});
  line.Switch("--processes", &processes, "each worker and each shard in a process of its own, which is replaced when it dies (default: all in this process)");
  cluster.Declare(line);
  line.Value("--queue", "NAME", &queue, "of the cluster's: queues share its cores by their weights (default: default)");
  line.Value("--workers-max", "N", &workers_max,
             "on a cluster: so many workers there may be when nodes join (default: one for each split; splits are by default twice the workers there, where "
             "neither is given)");
  line.Value("--checkpoint", "DIR", &checkpoint, "folder where the run's state is kept: a path, or s3://BUCKET/FOLDER");
  line.Value("--checkpoint-every", "TIME", &checkpoint_every, "time between checkpoints (default 60s)");
  line.Value("--checkpoints", "N", &checkpoints, "how many checkpoints are kept, the newest (default 2)");
  line.Switch("--resume", &resume, "go on from the last state in --checkpoint, where there is one; --shards and --workers may be others than before");
  line.Switch("--accept-loss", &accept_loss,
              "with --resume: where the last state is damaged or incomplete, go on from the newest whole one, and say what is lost");
  line.Value("--rebalance", "TIME", &rebalance,
             "look so often whether ranges of the tables should move to other shards, by what is done to them (default: they stay)");
  line.Value(
      "--replication", "N", &replication,
      "processes that hold each shard, 1 to 8, so that the loss of one loses and repeats nothing (default: with --processes 1, on a cluster 2 where there "
      "are two nodes)");
  line.Value("--log", "FILE", &log, "append what happens to this file");
  line.Switch("--explain", &explain, "only plan: how the tables would be laid out over shards, and why, by a sample of the data; nothing is trained");
  line.Switch("--json", &json, "the result as one line of JSON, the last of stdout");
}

bool TrainFlags::OnCluster() const {
  return !cluster.cluster.empty() || (!processes && std::getenv("TROUPE_CLUSTER") != nullptr);
}

absl::StatusOr<TrainOptions> TrainFlags::ToOptions(const Config& config, uint32_t cores) const {
  TrainOptions options;
  options.algorithm = algorithm;
  TROUPE_RETURN_IF_ERROR(ReadParams(options));
  options.data.uri = data;
  options.data.format = format;
  options.data.label = label;
  options.data.skip_bad_rows = config.Text("on_bad_row") == "skip";
  if (!valid.empty()) {
    options.valid = options.data;
    options.valid->uri = valid;
  }
  if (config.IsSet("epochs")) options.epochs = static_cast<int>(config.Integer("epochs"));
  options.seed = static_cast<uint64_t>(config.Integer("seed"));
  TROUPE_RETURN_IF_ERROR(ReadWorkers(config, cores, options));
  options.shards = static_cast<uint32_t>(config.Integer("shards"));
  TROUPE_TRY(options.consistency, ParseConsistencies(config.Text("consistency")));
  options.memory_bytes = config.Bytes("memory");
  options.threads = Cores();
  options.model_uri = model;
  options.held_bytes = config.Bytes("held_bytes");
  options.replicas = {.bytes_max = config.Bytes("replicas"), .staleness = static_cast<uint32_t>(config.Integer("replica_staleness"))};
  TROUPE_RETURN_IF_ERROR(ReadCheckpoint(options));
  TROUPE_RETURN_IF_ERROR(ReadRebalance(options));
  TROUPE_RETURN_IF_ERROR(ReadReplication(options));
  return options;
}

absl::Status TrainFlags::ReadWorkers(const Config& config, uint32_t cores, TrainOptions& options) const {
  const bool on_cluster = OnCluster() || JobOfThisProcess();
  const bool given = config.Integer("workers") != 0;
  options.workers = given || cores == 0 ? Workers(config) : cores;
  if (!workers_max.empty()) {
    if (!on_cluster) return absl::InvalidArgumentError("--workers-max needs --cluster: elsewhere no nodes join");
    if (!absl::SimpleAtoi(workers_max, &options.workers_max) || options.workers_max < 1 || options.workers_max > 1024) {
      return absl::InvalidArgumentError(absl::StrCat("--workers-max is '", workers_max, "', expected an integer, 1 to 1024"));
    }
    if (!given) options.workers = std::min(options.workers, options.workers_max);
    if (options.workers_max < options.workers) {
      return absl::InvalidArgumentError(absl::StrCat("--workers-max is ", options.workers_max, ", expected at least the ", options.workers, " workers"));
    }
  }
  auto splits = static_cast<uint32_t>(config.Integer("splits"));
  if (splits == 0) splits = options.workers_max != 0 ? options.workers_max : options.workers * (on_cluster && !given ? 2 : 1);
  if (splits < options.workers) {
    if (given) return absl::InvalidArgumentError(absl::StrCat("splits is ", splits, ", expected at least one for each of the ", options.workers, " workers"));
    options.workers = splits;
  }
  options.splits = splits;
  if (on_cluster) options.workers_max = options.workers_max == 0 ? splits : std::min(options.workers_max, splits);
  return absl::OkStatus();
}

absl::Status TrainFlags::ReadParams(TrainOptions& options) const {
  TROUPE_TRY(const std::unique_ptr<Algorithm> known, MakeAlgorithm(algorithm));
  for (const std::string& param : params) {
    const size_t equals = param.find('=');
    if (equals == 0 || equals == std::string::npos) return absl::InvalidArgumentError(absl::StrCat("--param is '", param, "', expected NAME=VALUE"));
    options.params[param.substr(0, equals)] = param.substr(equals + 1);
  }
  return Params::Parse(known->params(), options.params).status();
}

absl::Status TrainFlags::ReadRebalance(TrainOptions& options) const {
  if (rebalance.empty()) return absl::OkStatus();
  if (const absl::Status status = ParseDuration(rebalance, &options.rebalance_every_s); !status.ok()) return WithContext(status, "--rebalance");
  return absl::OkStatus();
}

absl::Status TrainFlags::ReadReplication(TrainOptions& options) const {
  if (replication.empty()) return absl::OkStatus();
  uint32_t count = 0;
  if (!absl::SimpleAtoi(replication, &count) || count < 1 || count > 8)
    return absl::InvalidArgumentError(absl::StrCat("--replication is '", replication, "', expected an integer, 1 to 8"));
  if (count > 1 && !processes && !OnCluster() && !JobOfThisProcess())
    return absl::InvalidArgumentError("--replication needs --processes or --cluster: in one process there is nothing that could be lost alone");
  options.replication = count;
  return absl::OkStatus();
}

absl::Status TrainFlags::ReadCheckpoint(TrainOptions& options) const {
  if (checkpoint.empty() && resume) return absl::InvalidArgumentError("--resume needs --checkpoint DIR, the folder of the run to go on with");
  if (checkpoint.empty() && !checkpoint_every.empty()) return absl::InvalidArgumentError("--checkpoint-every needs --checkpoint DIR");
  if (checkpoint.empty() && !checkpoints.empty()) return absl::InvalidArgumentError("--checkpoints needs --checkpoint DIR");
  if (accept_loss && !resume) return absl::InvalidArgumentError("--accept-loss needs --resume");
  if (!checkpoints.empty() && (!absl::SimpleAtoi(checkpoints, &options.checkpoints_kept) || options.checkpoints_kept < 1 || options.checkpoints_kept > 1000)) {
    return absl::InvalidArgumentError(absl::StrCat("--checkpoints is '", checkpoints, "', expected a number, 1 .. 1000"));
  }
  options.checkpoint_uri = checkpoint;
  options.resume = resume;
  options.accept_loss = accept_loss;
  if (checkpoint_every.empty()) return absl::OkStatus();
  if (const absl::Status status = ParseDuration(checkpoint_every, &options.checkpoint_every_s); !status.ok()) return WithContext(status, "--checkpoint-every");
  return absl::OkStatus();
}

}   // namespace troupe
