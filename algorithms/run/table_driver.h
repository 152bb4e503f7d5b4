// The driver of a named table's job: keeps its shards on the nodes of a cluster, as a training run's driver does, and tells users where they are and as which
// writer they may push (ps/named_table.h). What is acknowledged is in the shards' logs, so that any process, this one too, may be lost: docs/tables.md.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "algorithms/run/launcher.h"
#include "ps/table_spec.h"

namespace troupe {

/// The first word of such a driver's command line.
inline constexpr char kTableDriver[] = "table-driver";
/// Users of a table that may write at once.
inline constexpr uint32_t kTableWriters = 64;

struct TableJob {
  TableSpec spec;
  uint32_t shards = 1;
  /// Processes that hold each shard; nothing: as many as the table has, or `replication_default` of a new one.
  std::optional<uint32_t> replication = std::nullopt;
  uint32_t replication_default = 1;
  /// A local path that all nodes reach; the table's files are in FOLDER/NAME.
  std::string folder;
};

/// A name as CheckTableName has it, a valid table without limits, 1 .. 1024 shards held by 1 .. 8 processes each, a folder: InvalidArgument says what is wrong.
absl::Status Validate(const TableJob& job);
/// Its driver's command line, and back (without the first word). InvalidArgument: it is none.
std::vector<std::string> TableDriverArguments(const TableJob& job);
absl::StatusOr<TableJob> ParseTableDriver(const std::vector<std::string>& arguments);

struct TableDriverOptions {
  NodeJob node;
  /// Set from outside: stop, and leave the table's files where they are.
  const std::atomic<bool>* stop = nullptr;
  std::function<void(std::string)> log = [](std::string) {};
};
/// Until the table is dropped. Errors InvalidArgument: the folder holds a table of this name that is another one; Cancelled: stopped; NotFound: the cluster has
/// given the job up; DataLoss and the like: the table's files. Processes that are lost again and again are no error: it goes on trying.
absl::Status RunTableDriver(const TableJob& job, const TableDriverOptions& options);

}   // namespace troupe
