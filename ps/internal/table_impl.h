// What a Table holds, and the checks that every call makes before it changes anything.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ps/internal/dense_range.h"
#include "ps/internal/memory.h"
#include "ps/internal/row_limits.h"
#include "ps/internal/row_store.h"
#include "ps/internal/row_walk.h"
#include "ps/internal/sole_owner.h"
#include "ps/table.h"

namespace troupe {

struct Table::Impl {
  TableSpec spec;
  Partition partition;
  std::shared_ptr<const UpdateRule> rule;
  uint32_t width = 1;
  uint32_t floats = 1;   // of a row
  bool spares = false;   // some keys are spared the penalties
  bool tames = false;    // gradients are looked at, and perhaps changed, before they are applied
  double step = 0;
  std::shared_ptr<internal::Arena> arena;
  // By range, null where it is not here; one of the two is empty. A range that several tables (or places of one) share is written to by none of them: Own.
  std::vector<std::shared_ptr<internal::RowStore>> sparse;
  std::vector<std::shared_ptr<internal::DenseRange>> dense;
  // Of a branch: what its ranges are before they are written to, dense ones by their number of rows. Rows that begin as other numbers than zeros have none.
  std::shared_ptr<internal::RowStore> blank_sparse;
  std::map<uint64_t, std::shared_ptr<internal::DenseRange>> blank_dense;
  std::vector<uint64_t> versions;   // by range: `changes` when it was last written to
  uint64_t changes = 0;
  uint64_t non_finite = 0, clipped = 0;
  std::vector<float> tamed;                           // kept from call to call
  std::shared_ptr<internal::RowLimitsState> limits;   // null: the table has none. (What lies where is not what a table is: reading may change it.)

  // --- limits: table_limits.cc ---

  RowTier* tier() const { return limits == nullptr ? nullptr : limits->tier.get(); }
  /// Of a row in a store and in the tier, its mark included.
  size_t row_bytes() const { return (floats + (limits != nullptr)) * sizeof(float); }
  internal::RowStore NewStore() const;
  /// `held`: ranges that are here.
  absl::Status MakeLimits(uint32_t held, const TierFactory& tiers);
  internal::RangeLimits NewRangeLimits() const;
  absl::Status CheckUsable() const;
  uint64_t SumOfRanges(uint64_t internal::RangeLimits::*what) const;
  /// Key `at` of run `run`.
  struct KeyPlace {
    uint32_t run, at;
  };
  /// Brings the rows of these keys that the tier has into memory; *missing: the keys that have no row. pulled: nothing is about to change them.
  absl::Status Bring(std::span<const internal::KeyRun> runs, bool pulled, std::vector<KeyPlace>* missing) const;
  /// The gradients whose keys have rows or get one now. What it returns is valid until the next call.
  std::span<const RowsIn> Admit(std::span<const RowsIn> gradients);
  void Touch(std::span<float* const> rows) const {
    const uint32_t time = internal::RowMark::Time(limits->now);
    for (float* row : rows) internal::MarkOf(row, floats).Touch(time);
  }
  /// Ranges that were added to: what is too much goes.
  void Settle(std::span<const internal::KeyRun> runs) const;
  void Settle(uint32_t place) const;
  void EvictLeastRecent(uint32_t place) const;
  void EvictOld(uint32_t place) const;
  /// Sends rows to the tier until there is room for so many more; what it does not take stays.
  void Spill(uint32_t place, uint64_t room) const;
  struct Candidate;
  /// False: the tier does not take that they go, so all stay.
  bool Evict(uint32_t place, std::span<const Candidate> victims) const;
  /// Calls each(key, slot or kMissing, mark) for all rows, in no order.
  template <class Each>
  void EachMark(uint32_t place, const Each& each) const;
  /// May this push bring rows into memory? ResourceExhausted: the tier takes none to make room, and it would.
  absl::Status CheckRoom(std::span<const RowsIn> rows) const;
  struct Admitted {
    std::vector<RowsIn> rows;
    std::vector<std::vector<Key>> keys;
    std::vector<std::vector<float>> numbers;
  };
  Admitted admitted;   // of Admit

  uint32_t places() const { return static_cast<uint32_t>(sparse.size() + dense.size()); }
  bool Here(uint32_t place) const { return partition.dense() ? dense[place] != nullptr : sparse[place] != nullptr; }
  void Touched(uint32_t place) { versions[place] = ++changes; }
  /// The range at `place` of `ranges`, to be written to: a copy, where others share it.
  template <class Range>
  void Own(std::vector<std::shared_ptr<Range>>& ranges, uint32_t place) {
    std::shared_ptr<Range>& range = ranges[place];
    if (range.use_count() > 1) [[unlikely]]
      range = std::make_shared<Range>(std::as_const(*range));
    internal::AfterOthers(range);
    Touched(place);
  }
  /// A range as it is at the start.
  void Begin(uint32_t place);
  std::shared_ptr<internal::DenseRange> NewDense(uint32_t range) const;
  uint32_t Place(uint32_t range) const { return range; }
  /// Rows of a dense range that are spared penalties, counted from the range's first.
  uint64_t Unpenalised(uint32_t range) const;

  absl::Status Refuse(std::string_view what) const;
  absl::Status CheckRange(uint32_t range) const;
  /// Range and rows.
  absl::Status CheckRows(const RowSet& rows) const;
  /// All numbers of these sets, the first time that they are read: those of a message follow each other. The error names the key. `what`: "gradient" or
  /// "value".
  absl::Status CheckFinite(const char* what, std::span<const RowsIn> sets) const;

  /// The sparse rows of these sets, for WalkRows.
  template <class In>
  std::vector<internal::KeyRun> Runs(std::span<const In> sets) const;
  /// The same to be written to.
  template <class In>
  std::vector<internal::KeyRun> OwnRuns(std::span<const In> sets);
  /// Calls each(set, row number in the range, place in the set, n) for every run of consecutive rows of dense sets. Rows by key are brought near before.
  template <class In, class Each>
  void EachRun(std::span<const In> sets, const Each& each) const;
  /// The values of rows of dense sets, where the rule holds them.
  void CopyDense(std::span<const RowsOut> rows) const;
  /// The rule, once to each row of dense sets.
  void ApplyDense(std::span<const RowsIn> gradients, float scale);
  /// Dense sets that are about to be written to.
  void OwnDense(std::span<const RowsIn> sets) {
    for (const RowsIn& set : sets) __builtin_prefetch(dense[Place(set.rows.range)].get());   // how many share a range stands before it
    for (const RowsIn& set : sets) Own(dense, Place(set.rows.range));
  }
  /// Which of `keys` are penalised, into `flags`; empty: all.
  std::span<const bool> Penalised(const Key* keys, size_t n, std::span<bool> flags) const;
  /// A gradient as the table's clips want it: itself, or a copy that is valid until the next call.
  const float* Tame(const float* gradient, size_t rows);
};

template <class In>
std::vector<internal::KeyRun> Table::Impl::Runs(std::span<const In> sets) const {
  std::vector<internal::KeyRun> runs;
  runs.reserve(sets.size());
  for (const In& set : sets) runs.push_back({sparse[Place(set.rows.range)].get(), set.rows.keys, set.rows.n, Place(set.rows.range)});
  return runs;
}

template <class In>
std::vector<internal::KeyRun> Table::Impl::OwnRuns(std::span<const In> sets) {
  for (const In& set : sets) __builtin_prefetch(sparse[Place(set.rows.range)].get());   // how many share a range stands before it
  for (const In& set : sets) Own(sparse, Place(set.rows.range));
  return Runs(sets);
}

template <class In, class Each>
void Table::Impl::EachRun(std::span<const In> sets, const Each& each) const {
  for (const In& set : sets) dense[Place(set.rows.range)]->PrefetchSelf();
  const size_t rows_ahead = std::clamp<size_t>(512 / floats, 4, 32);
  size_t ask_set = 0, ask_at = 0, asked = 0, used = 0;   // keys, over all sets
  const auto ask = [&](size_t end) {
    while (asked < end && ask_set < sets.size()) {
      const RowSet& rows = sets[ask_set].rows;
      if (rows.keys == nullptr || ask_at == rows.n) {
        ++ask_set;
        ask_at = 0;
        continue;
      }
      const Key* key = rows.keys + ask_at;   // of a run its beginning: the processor sees the rest coming
      if (ask_at == 0 || key[0] != key[-1] + 1) dense[Place(rows.range)]->Prefetch(*key - partition.FirstRow(rows.range));
      ++ask_at;
      ++asked;
    }
  };
  for (size_t set = 0; set < sets.size(); ++set) {
    const RowSet& rows = sets[set].rows;
    const Key base = partition.FirstRow(rows.range);
    if (rows.keys == nullptr) {
      if (rows.n > 0) each(set, rows.first - base, 0, rows.n);
      continue;
    }
    for (size_t at = 0, end; at < rows.n; at = end) {
      for (end = at + 1; end < rows.n && rows.keys[end] == rows.keys[end - 1] + 1; ++end) {
      }
      used += end - at;
      ask(used + rows_ahead);
      each(set, rows.keys[at] - base, at, end - at);
    }
  }
}

}   // namespace troupe
