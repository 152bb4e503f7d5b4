// All rows of tables that others push to, as they are at one cut through all shards (cut.h), for code that is no actor: each push is in them whole or not at
// all. reader_actor.h reads chosen rows again and again; this reads everything once.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/system.h"
#include "ps/messages.h"
#include "ps/table_set.h"
#include "ps/table_spec.h"

namespace troupe {

struct TableCutOptions {
  /// What each of the two steps may take at a shard; so long pushes wait at most, twice.
  std::chrono::milliseconds step_max{1'000};
  /// The rows are kept at the shards for so long, unless the cut ends before.
  std::chrono::milliseconds lease{600'000};
  /// A cut that cannot be made is tried again for so long; and what a shard may take to answer.
  std::chrono::milliseconds patience{30'000};
};

class TableCut {
 public:
  /// Makes the cut. `shards`, `tables`: all of the job, whose ranges do not move. Costs the shards O(ranges), and a copy of each range that is pushed to while
  /// the cut lasts. Errors FailedPrecondition: tables that have no cuts (cut.h); Unavailable: not within `patience`.
  static absl::StatusOr<std::unique_ptr<TableCut>> Make(System& system, std::vector<ShardActor> shards, std::vector<TableSpec> tables,
                                                        const TableCutOptions& options = {});
  /// The shards need not keep it any more.
  ~TableCut();
  TableCut(const TableCut&) = delete;
  TableCut& operator=(const TableCut&) = delete;

  /// The rows that one range of a table has (sparse: those that exist), by rising key.
  /// Errors InvalidArgument: no such table or range, or a range of more than kCalledBytesMax as doubles; NotFound: a shard was replaced since the cut, or the
  /// lease is over; Unavailable.
  absl::StatusOr<Rows> ReadRange(uint32_t table, uint32_t range) const;
  /// All rows of a table, by rising key, in memory at once. Errors as ReadRange.
  absl::StatusOr<Rows> ReadAll(uint32_t table) const;

 private:
  TableCut(System& system, std::vector<ShardActor> shards, std::vector<TableSpec> tables, const TableCutOptions& options);
  absl::Status Try();
  void Release();

  System& system_;
  const std::vector<ShardActor> shards_;
  const std::vector<TableSpec> tables_;
  const TableCutOptions options_;
  uint64_t cut_ = 0;
};

}   // namespace troupe
