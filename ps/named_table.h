// A table of a cluster that outlives jobs, by its name, for code that is no actor: docs/tables.md.
//
//   TROUPE_TRY(const auto table, NamedTable::Connect({.cluster = address, .name = "embeddings"}));
//   TROUPE_TRY(const Rows rows, table->ref().Pull({3, 17}));
//   table->ref().Push(rows.keys, gradients);
//   TROUPE_RETURN_IF_ERROR(table->Flush());
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/cluster/cluster_link.h"
#include "ps/table_set.h"

namespace troupe {

/// What the job of the table `name` is called.
std::string JobNameOfTable(const std::string& name);
/// InvalidArgument: a name is 1 .. 100 letters, digits, '_', '-' and '.', the first of them a letter or a digit.
absl::Status CheckTableName(const std::string& name);
/// The job that keeps the table now; nothing: there is none.
std::optional<JobStatus> JobOfTable(const Inspected& cluster, const std::string& name);

struct NamedTableOptions {
  ClusterAddress cluster;   ///< a token whose role may submit
  std::string name;
  /// For the table to be there: it may just begin. And for every call, as in TableSetOptions: a process that is lost is replaced meanwhile.
  std::chrono::milliseconds patience{60'000};
};

/// One user of a table, who may write. Thread-safe.
class NamedTable {
 public:
  /// Finds the table through the head, and then talks to its shards.
  /// Errors InvalidArgument: the name; NotFound: no such table; Unauthenticated: the token; FailedPrecondition: it is being dropped; ResourceExhausted: it has
  /// 64 users already; Unavailable: no head, or the table's driver does not answer.
  static absl::StatusOr<std::unique_ptr<NamedTable>> Connect(const NamedTableOptions& options);
  /// What was pushed and not flushed may be lost.
  ~NamedTable();
  NamedTable(const NamedTable&) = delete;
  NamedTable& operator=(const NamedTable&) = delete;

  const TableSpec& spec() const;
  uint32_t shards() const;
  /// Processes that hold each shard.
  uint32_t replication() const;
  JobId job() const;
  /// Pull, Push, Assign. What is acknowledged is in a shard's log in the table's folder. A user that its driver has not heard for the lease (30 s), because
  /// it stood still or was cut off, may write no more: everything is answered Unavailable then, and it has to connect again.
  TableRef ref() const;
  /// Waits for all pushes so far. The first error among those since the last Flush.
  absl::Status Flush() const;
  /// All rows at one cut, by rising key: each push of each user is in them whole or not at all. Errors Unavailable: processes were replaced again and again.
  absl::StatusOr<Rows> ReadAll() const;
  /// How many rows there are (sparse: those that exist), and the bytes that they take with their state, in the shards' memory.
  struct Size {
    uint64_t rows = 0, bytes = 0;
  };
  absl::StatusOr<Size> MeasureSize() const;
  /// Ends the table: its rows are gone, and so are its files. OK: that is certain, though it takes a moment.
  absl::Status Drop() const;

 private:
  struct Impl;
  explicit NamedTable(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

}   // namespace troupe
