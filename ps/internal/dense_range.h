// The rows of one range of a dense table: flat arrays of values and of the rule's state, and in BSP the sums of a round beside them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ps/internal/memory.h"
#include "ps/update_rule.h"

namespace troupe::internal {

class DenseRange {
 public:
  /// `memory`: Bytes(...) zeros at the start of a cache line, which outlive the range.
  DenseRange(std::byte* memory, uint64_t rows, uint32_t width, uint32_t state);
  /// Bytes that a range of this shape takes, without sums; whole cache lines.
  static uint64_t Bytes(uint64_t rows, uint32_t width, uint32_t state);

  uint64_t rows() const { return rows_; }
  size_t bytes() const { return Bytes(rows_, width_, state_) + (sums_ ? rows_ * (width_ * sizeof(float) + 1) : 0); }
  float* Values(uint64_t row) { return values_ + row * width_; }
  const float* Values(uint64_t row) const { return values_ + row * width_; }
  /// What UpdateRule::ApplyDense wants for rows [first, first + n).
  DenseRows View(uint64_t first, uint64_t n, uint64_t unpenalised);
  /// The leading `error_state` floats of a row's state become zero.
  void ClearError(uint64_t row, uint32_t error_state);
  /// A row as UpdateRule::ApplyRows sees one: values, then state.
  void CopyRow(uint64_t row, float* out) const;

  /// The arrays in their order without gaps: rows * (width + state) floats, at any address.
  void CopyTo(std::byte* out) const;
  void CopyFrom(const std::byte* in);

  bool touched() const { return any_touched_; }
  void Accumulate(uint64_t first, uint64_t n, const float* gradient);
  void FinishRound(const UpdateRule& rule, float divisor, uint64_t unpenalised);
  void ClearSums();

 private:
  /// Calls each(array, floats a row) for the arrays in their order.
  template <class Each>
  void EachArray(const Each& each) const;
  /// The next row of [from, end) whose mark is `touched`, or end.
  uint64_t Next(uint8_t touched, uint64_t from, uint64_t end) const;

  uint64_t rows_;
  uint32_t width_, state_;
  uint64_t stride_;   // floats from array to array
  float* values_;

  Memory sums_;                    // rows x width, zero where a row is not touched; made at the first Accumulate
  std::vector<uint8_t> touched_;   // by row
  bool any_touched_ = false;
};

}   // namespace troupe::internal
