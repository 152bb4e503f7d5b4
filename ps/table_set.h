// Tables from code that is no actor: a set of tables on shards, pulled from and pushed to with plain calls, which wait.
//
//   TROUPE_TRY(const auto set, TableSet::Create(system, {.tables = {{.name = "w", .width = 16, .rule = "adam"}}, .shards = 2}));
//   TROUPE_TRY(TableRef w, set->Find("w"));
//   TROUPE_TRY(const Rows rows, w.Pull({3, 17, 1'000'000'007}));
//   TROUPE_RETURN_IF_ERROR(w.Push(rows.keys, gradients).Wait(std::chrono::seconds(1)));
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/system.h"
#include "ps/function_call.h"
#include "ps/table_spec.h"

namespace troupe {

/// Copies of a table's rows at this end: of keys that are pulled often, and of those that TableRef::Intend names. A pull of rows that have one sends no
/// message.
struct TableReplicas {
  /// Of the copies, 32 bytes a row besides their values. What counts the keys takes 256 KiB besides. At least a row.
  size_t bytes_max = 64 << 20;
  /// What a pull may miss of what others write to the shards: that of so long. Positive.
  std::chrono::milliseconds staleness{100};
};

struct TableSetOptions {
  std::vector<TableSpec> tables;
  uint32_t shards = 1;
  /// Where the shards keep their rows (a snapshot and a log of pushes each, see push_log.h); rows that are there already are taken up. What is acknowledged
  /// is on the disk. Empty: in memory only.
  std::string folder = {};
  /// A call that takes longer ends with DeadlineExceeded.
  std::chrono::milliseconds patience{60'000};
  /// Bytes of pushes that are not acknowledged; beyond them Push waits.
  size_t in_flight_bytes_max = 256 << 20;
  /// By table's name; others have no copies.
  std::map<std::string, TableReplicas> replicas = {};
};

/// Rows of one table: values is keys.size() x width.
struct Rows {
  std::vector<Key> keys;
  uint32_t width = 1;
  std::vector<float> values;
  std::span<const float> row(size_t i) const { return {values.data() + i * width, width}; }
};

/// How a pull goes.
struct PullOptions {
  /// Higher ones first: big pulls travel in messages of 1 MiB or so, and one with a higher priority overtakes them between two of these. Of equal ones those of
  /// the first call.
  int priority = 0;
  /// Beyond it the call ends with DeadlineExceeded, and what was not sent is not sent any more. Shards in this process may work in the calling thread: that
  /// work is not broken off. nullopt: the set's patience.
  std::optional<std::chrono::milliseconds> limit = {};
};

/// A push under way.
class Pushing {
 public:
  struct Outcome;
  Pushing() = default;
  explicit Pushing(std::shared_ptr<Outcome> outcome) : outcome_(std::move(outcome)) {}
  /// OK: every shard has applied it, and it is on disk where the set has a folder. Errors: InvalidArgument: what Push was given is wrong; DeadlineExceeded: not
  /// yet, wait again; Unavailable, ResourceExhausted (the disk is full), Internal: it was not acknowledged, and may have counted, in part too.
  absl::Status Wait(std::chrono::milliseconds limit) const;

 private:
  std::shared_ptr<Outcome> outcome_;
};

class TableRef;

/// Thread-safe. Ends its shards with it, where Create has made them.
class TableSet {
 public:
  /// Shards in this process. Errors as Validate of the tables; those of the folder. InvalidArgument: replicas of no table, without room or time, or of
  /// a table whose shards must know what is read (staleness_scale, delay_compensation) or let rows go (ttl, rows_max).
  static absl::StatusOr<std::unique_ptr<TableSet>> Create(System& system, const TableSetOptions& options);
  TableSet(const TableSet&) = delete;
  TableSet& operator=(const TableSet&) = delete;
  ~TableSet();

  /// NotFound: no such table, with the names that there are.
  absl::StatusOr<TableRef> Find(std::string_view name) const;
  /// A server-side function over whole tables (functions/*.cc) that reads them. Errors as MakeFunction; Unavailable.
  absl::StatusOr<FunctionValue> Call(const FunctionCall& call) const;
  /// One that changes them, once. It counts behind all pushes before it. Branches begin, come back and end so: {.function = "fork", .tables = {branch, table}}.
  absl::Status Change(const FunctionCall& call) const;
  /// Waits for all pushes so far. The first error among those since the last Flush.
  absl::Status Flush() const;

  struct Impl;
  explicit TableSet(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

 private:
  friend void Abandon(const TableSet& set, const absl::Status& why);
  std::shared_ptr<Impl> impl_;
};

/// One table of a set. Cheap to copy; valid as long as the set.
class TableRef {
 public:
  const TableSpec& spec() const;
  /// The rows of distinct keys, in their order, as they are after this set's own pushes so far. A sparse row that does not exist reads as its initial values.
  /// Where the table has replicas, rows that have a copy are read here: those too are as they are after the set's own pushes, assignments and changes, for what
  /// these touch is asked anew; of what others have written the last `staleness` may be missing.
  /// Errors InvalidArgument: a key that is there twice, or outside a dense table; Unavailable, DeadlineExceeded.
  absl::StatusOr<Rows> Pull(std::vector<Key> keys, const PullOptions& how = {}) const;
  /// The same into `values` (keys.size() x width), whose memory is used again. On an error it holds anything.
  absl::Status PullInto(std::span<const Key> keys, std::vector<float>& values, const PullOptions& how = {}) const;
  /// These rows will be pulled soon, within the replicas' `staleness`: they are fetched now, in the background, and again when a push of this set changes them
  /// before their pull. Each intent is for one pull of a row; a pull that comes sooner waits for it. Costs the rows' messages even where no pull comes.
  /// Errors InvalidArgument as Pull; FailedPrecondition: the table has no replicas; ResourceExhausted: they are more than replicas have room for, with those
  /// that are intended already. Nothing is fetched then, and pulls ask as ever. Source: Renz-Wieland et al., "Good Intentions: Adaptive Parameter Management
  /// via Intent Signaling", CIKM 2023.
  absl::Status Intend(std::vector<Key> keys) const;
  /// All rows of a dense table, into `values` (rows x width), whose memory is used again. FailedPrecondition: the table is sparse.
  absl::Status PullAll(std::vector<float>& values, const PullOptions& how = {}) const;
  /// Gradients, or what the table's rule makes of numbers: keys.size() x width, keys distinct. Counts once. Waits only where too much is under way.
  Pushing Push(std::vector<Key> keys, std::vector<float> gradients) const;
  /// The same for all rows of a dense table. Nothing is copied: `gradients` (float[], rows x width) is referred to. Rows go out in chunks of 1 MiB or so: where
  /// one is refused for a number that is not finite, which the error says, the others have counted.
  Pushing PushAll(Block gradients) const;
  /// Sets rows without the rule; repeating it changes nothing. It counts behind all pushes before it.
  absl::Status Assign(std::vector<Key> keys, std::vector<float> values) const;

 private:
  friend class TableSet;
  TableRef(TableSet::Impl* set, uint32_t number) : set_(set), number_(number) {}
  absl::Status CheckKeys(std::span<const Key> keys) const;

  TableSet::Impl* set_;
  uint32_t number_;
};

}   // namespace troupe
