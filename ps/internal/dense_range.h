// The rows of one range of a dense table: flat arrays of values and of the rule's state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "ps/internal/finite.h"
#include "ps/internal/memory.h"
#include "ps/internal/step_counts.h"
#include "ps/update_rule.h"

namespace troupe::internal {

class DenseRange {
 public:
  /// Zeros. floats: of a row, its values among them; counted: the last of them is a count of StepCounts.
  DenseRange(std::shared_ptr<Arena> arena, uint64_t rows, uint32_t width, uint32_t floats, bool counted);
  /// The same rows in memory of their own. Cost: a copy of bytes().
  explicit DenseRange(const DenseRange& other);
  DenseRange& operator=(const DenseRange&) = delete;
  /// Bytes that a range of this shape takes; whole cache lines.
  static uint64_t Bytes(uint64_t rows, uint32_t width, uint32_t floats);

  uint64_t rows() const { return rows_; }
  size_t bytes() const { return Bytes(rows_, width_, floats_); }
  /// What UpdateRule::ApplyDense wants for rows [first, first + n).
  DenseRows View(uint64_t first, uint64_t n, uint64_t unpenalised) const {
    return {.arrays = arrays_, .stride = stride_, .width = width_, .first = first, .n = n, .unpenalised = unpenalised};
  }
  /// One row, without its count; and one whose push is counted, where pushes are.
  DenseRow Row(uint64_t row) const { return {.values = arrays_ + row * width_, .stride = stride_, .count = 0}; }
  DenseRow PushedRow(uint64_t row) {
    DenseRow pushed = Row(row);
    if (counted_) Counts().Add(row, 1, [&](uint64_t, uint64_t, float count) { pushed.count = count; });
    return pushed;
  }
  /// Asks for this object itself; for the numbers of a row. (Inlined at once: GCC drops calls of functions that do nothing else.)
  [[gnu::always_inline]] void PrefetchSelf() const {
    for (size_t i = 0; i < sizeof(DenseRange); i += 64) __builtin_prefetch(reinterpret_cast<const std::byte*>(this) + i);
  }
  [[gnu::always_inline]] void Prefetch(uint64_t row) const {
    const float* at = arrays_ + row * width_;
    for (uint64_t array = 0; array < (floats_ - counted_) / width_; ++array, at += stride_) {
      for (uint32_t i = 0; i < width_; i += kFloatsALine) __builtin_prefetch(at + i);
    }
  }
  /// A row as UpdateRule::ApplyRows sees one.
  void CopyRow(uint64_t row, float* out) const;

  /// The arrays in their order without gaps, with a count a row: rows * floats floats, at any address.
  void CopyTo(std::byte* out) const;
  /// Are the counts in these bytes (as CopyTo wrote them) counts: finite and not negative?
  bool AreCounts(const std::byte* in) const;
  void CopyFrom(const std::byte* in);

 private:
  /// Calls each(array, floats a row) for the arrays of numbers in their order.
  template <class Each>
  void EachArray(const Each& each) const;
  StepCounts Counts() const { return StepCounts(arrays_ + (floats_ - 1) / width_ * stride_); }

  uint64_t rows_;
  uint32_t width_, floats_;
  bool counted_;
  uint64_t stride_;   // floats from array to array
  Memory memory_;
  float* arrays_;   // there
};

}   // namespace troupe::internal
