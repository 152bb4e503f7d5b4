// The rows of one table that one shard holds, by virtual range. Sparse ranges are arrays of numbered keys and open-addressing stores of others, without
// per-row allocation; dense ranges are flat arrays. A call takes the rows of a whole message at once, so that they come from memory together. Tables share
// ranges with those they are forks of until one of them writes there: a fork that nobody writes to is a view, the table as it was. Not thread-safe: its shard
// owns it and all that shares its ranges; a fork may go to another thread that only reads, drops ranges of it, and ends it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/block.h"
#include "ps/partition.h"
#include "ps/row_tier.h"
#include "ps/table_spec.h"
#include "ps/update_rule.h"

namespace troupe {

/// Rows of one range: by key (distinct), or, dense tables only, rows [first, first + n) where keys is null.
struct RowSet {
  uint32_t range = 0;
  uint64_t n = 0;
  const Key* keys = nullptr;
  Key first = 0;

  static RowSet Of(uint32_t range, std::span<const Key> keys) { return {.range = range, .n = keys.size(), .keys = keys.data()}; }
  static RowSet Run(uint32_t range, Key first, uint64_t n) { return {.range = range, .n = n, .keys = nullptr, .first = first}; }
};
/// Numbers for rows: n x width, a gradient or values.
struct RowsIn {
  RowSet rows;
  const float* numbers = nullptr;
};
/// Where rows' values go: n x width.
struct RowsOut {
  RowSet rows;
  float* values = nullptr;
};

/// Some rows of a range with their values as doubles, exact also where the rule keeps more than a float.
struct TableRows {
  size_t n = 0;
  const Key* keys = nullptr;   ///< rising; null: rows first, first + 1, ...
  Key first = 0;
  uint32_t width = 1;
  const double* values = nullptr;   ///< n x width

  Key key(size_t i) const { return keys == nullptr ? first + i : keys[i]; }
  std::span<const double> row(size_t i) const { return {values + i * width, width}; }
};

class Table {
 public:
  /// The ranges of `spec` that `shard` of `shards` owns, or the place behind them (partition.h). Dense memory is touched here. `tiers`: for memory_max.
  static absl::StatusOr<Table> Make(const TableSpec& spec, uint32_t shard, uint32_t shards, const TierFactory& tiers = nullptr);
  Table(Table&&) noexcept;
  Table& operator=(Table&&) noexcept;
  ~Table();

  const TableSpec& spec() const;
  const Partition& partition() const;
  bool Owns(uint32_t range) const;

  /// Copies the values of the rows. A sparse row that does not exist reads as its initial values and is not made.
  /// Errors InvalidArgument: a range that this shard does not own, keys or rows outside the range. Nothing is written then. And usable()'s.
  absl::Status Pull(std::span<const RowsOut> rows) const;

  /// The values of all rows of a dense range as they lie there; as long as somebody has the block, whatever changes the range changes a copy of it. nullopt:
  /// the rule does not hold them so. Errors as Pull.
  absl::StatusOr<std::optional<Block>> Lend(uint32_t range) const;

  /// May these gradients be applied? No two sets may be of one range.
  /// Errors as Pull, and InvalidArgument naming the key for a gradient that is not finite, where the table refuses those. ResourceExhausted: rows would have to
  /// come into memory that has no room, and the tier takes nothing (it is asked again each time).
  absl::Status Check(std::span<const RowsIn> gradients) const;
  /// Applies the rule once to each row with what Check has found good. Sparse rows are made where missing, as the limits
  /// admit them, and what is then too much goes. scale: of the learning rate, for all of these rows.
  void Apply(std::span<const RowsIn> gradients, float scale = 1);
  /// Sets values without a rule; a row's state is left as it is, but for what belongs to its values. Errors as Check; nothing has changed then.
  absl::Status Assign(std::span<const RowsIn> values);

  /// The same for rows of one range; Apply checks first, and changes nothing on an error.
  absl::Status Pull(uint32_t range, std::span<const Key> keys, float* out) const;
  absl::Status PullDense(uint32_t range, Key first, uint64_t n, float* out) const;
  absl::Status Apply(uint32_t range, std::span<const Key> keys, const float* gradient);
  absl::Status ApplyDense(uint32_t range, Key first, uint64_t n, const float* gradient);
  absl::Status Assign(uint32_t range, std::span<const Key> keys, const float* values);

  /// Rows present, in memory or not, over all ranges of this shard (dense: all).
  uint64_t rows() const;
  /// Of one range that is held here.
  uint64_t rows(uint32_t range) const;
  /// In memory, with the buffers of a tier. With memory_max at most that after each call, while the tier takes rows; within a call also the rows that it is
  /// about.
  size_t bytes() const;
  /// Goes up whenever a range of this table may have changed, but for tables with limits, whose ranges change with the rounds; a fork has it of its moment.
  uint64_t version(uint32_t range) const;
  /// That the rows of one range take, which is here.
  size_t bytes(uint32_t range) const;
  /// Rows of gradients that came before their keys were admitted; rows that were let go, by age or for lack of room.
  uint64_t dropped() const;
  uint64_t evicted() const;
  /// Rows that are not in memory.
  uint64_t spilled() const;
  /// An error where the tier could not be read: then Pull, Check and Assign refuse, and what Apply, Visit, EachRow, Read, Change and Save did since may lack
  /// rows.
  absl::Status usable() const;
  /// Of the ranges that no other table shares.
  size_t own_bytes() const;
  /// Elements that were not finite, and rows that were cut to clip_norm or clip_value, so far.
  uint64_t non_finite() const;
  uint64_t clipped() const;
  /// Where the schedule of the learning rate stands.
  void SetStep(double step);
  /// So many rounds are over. Rows whose time has come go, unless the table was only `restored` to this time.
  void SetRounds(uint64_t rounds, bool restored = false);
  /// Calls visit(key, row) for every row of a range in rising key order; `row` holds the rule's floats, as in ApplyRows.
  void Visit(uint32_t range, const std::function<void(Key, const float* row)>& visit) const;
  /// Calls visit for all rows of a range (dense: all; sparse: those that exist) by rising key, some at a time. Sparse: O(n log n), the keys are sorted.
  void EachRow(uint32_t range, const std::function<void(const TableRows&)>& visit) const;
  /// Values as EachRow gives them, keys.size() x width. The keys are of this range; a sparse row that does not exist reads as its initial values.
  void Read(uint32_t range, std::span<const Key> keys, double* values) const;
  /// Gives the rows of a range new values without the rule, as Assign does. change(rows, values): what they are and, the same at first, what they become. Rows
  /// that stay the same are not touched. An element that is no finite float then stays as it was, and counts in non_finite().
  void Change(uint32_t range, const std::function<void(const TableRows&, double* values)>& change);
  /// A table with the same rows, values and state. It shares every range with this one until one of the two writes there, which copies the range (dense: values
  /// of 1 MiB at most unless the spec says other ranges; sparse: all rows of the range). Cost: O(ranges).
  Table Fork() const;
  /// Takes over all rows of a table of the same shard, as a fork does. InvalidArgument: rows of another kind (CheckSameRows).
  absl::Status Become(const Table& from);
  /// All rows are as at the start; those of one range.
  void Reset();
  void ResetRange(uint32_t range);
  /// A range that is not here begins as at the start; one that is here goes, but not from forks. Not for tables with memory_max, whose ranges stay.
  void Add(uint32_t range);
  void Drop(uint32_t range);
  /// Is this range one and the same in both tables? (Then so are its rows; else they may be.)
  bool Shares(const Table& other, uint32_t range) const;
  /// Takes over one range, as Become does. Both have it, and rows of the same kind.
  void Share(const Table& other, uint32_t range);
  /// Is this range of a branch as at the start, and without memory of its own?
  bool Blank(uint32_t range) const;
  const UpdateRule& rule() const;
  /// Do the rule's penalties hold for this key?
  bool Penalises(Key key) const { return key >= spec().penalised_from; }

  /// One range as bytes (keys and rows; independent of insertion order), and back. Load replaces the range's rows.
  /// Errors InvalidArgument: cut, or of another shape, width, rule or range. Nothing has changed then.
  Block Save(uint32_t range) const;
  absl::Status Load(uint32_t range, const Block& bytes);

 private:
  struct Impl;
  class RowBlocks;
  class RangeCursor;
  explicit Table(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}   // namespace troupe
