// The rows of one table that one shard holds, by virtual range. Sparse ranges are open-addressing stores of fixed-size rows without per-row allocation;
// dense ranges are flat arrays. Not thread-safe: its shard owns it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/block.h"
#include "ps/partition.h"
#include "ps/table_spec.h"
#include "ps/update_rule.h"

namespace troupe {

class Table {
 public:
  /// Holds the ranges of `spec` that `shard` of `shards` owns. Dense memory is allocated and touched here.
  static absl::StatusOr<Table> Make(const TableSpec& spec, uint32_t shard, uint32_t shards);
  Table(Table&&) noexcept;
  Table& operator=(Table&&) noexcept;
  ~Table();

  const TableSpec& spec() const;
  const Partition& partition() const;
  bool Owns(uint32_t range) const;

  /// Brings the first rows of these keys near. A caller with parts for several ranges calls it for the next part before it works on one. Any arguments are
  /// allowed.
  void Prefetch(uint32_t range, std::span<const Key> keys) const;

  /// Copies the values of `keys` (k, any order, all of `range`) into out (k x width). A sparse row that does not exist reads as zeros and is not made.
  /// Errors InvalidArgument: a range that this shard does not own, or a key outside the range. Nothing is written then.
  absl::Status Pull(uint32_t range, std::span<const Key> keys, float* out) const;
  /// Dense: rows [first, first + n) of the range's rows (first counts from the table's row 0).
  absl::Status PullDense(uint32_t range, Key first, uint64_t n, float* out) const;

  /// May this be applied? keys: distinct, of `range`; gradient: k x width, finite; dense: rows [first, first + n) of the range's.
  /// Errors as Pull, and InvalidArgument naming the key for a gradient that is not finite.
  absl::Status Check(uint32_t range, std::span<const Key> keys, const float* gradient) const;
  absl::Status CheckDense(uint32_t range, Key first, uint64_t n, const float* gradient) const;
  /// Applies the rule once with what Check has found good. Sparse rows are made where missing.
  void ApplyChecked(uint32_t range, std::span<const Key> keys, const float* gradient);
  void ApplyDenseChecked(uint32_t range, Key first, uint64_t n, const float* gradient);
  /// Both. On an error nothing has changed.
  absl::Status Apply(uint32_t range, std::span<const Key> keys, const float* gradient);
  absl::Status ApplyDense(uint32_t range, Key first, uint64_t n, const float* gradient);

  /// Sets values (k x width) without a rule; state is left as it is (zeros for a new row), but for what belongs to the value (UpdateRule::error_state).
  /// Errors as Apply.
  absl::Status Assign(uint32_t range, std::span<const Key> keys, const float* values);

  /// Rows present, over all ranges of this shard (dense: all).
  uint64_t rows() const;
  size_t bytes() const;
  /// Calls visit(key, row) for every row of a range in rising key order; `row` holds width values, then the rule's state as in ApplyRows.
  void Visit(uint32_t range, const std::function<void(Key, const float* row)>& visit) const;
  const UpdateRule& rule() const;

  /// One range as bytes (keys, values and rule state; independent of insertion order), and back. Load replaces the range's rows.  Errors InvalidArgument: cut,
  /// or of another shape, width, rule or range. Nothing has changed then.
  Block Save(uint32_t range) const;
  absl::Status Load(uint32_t range, const Block& bytes);

 private:
  struct Impl;
  explicit Table(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}   // namespace troupe
