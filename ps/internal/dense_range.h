// The rows of one range of a dense table: flat arrays of values and of the rule's state.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ps/update_rule.h"

namespace troupe::internal {

class DenseRange {
 public:
  /// `memory`: Bytes(...) zeros at the start of a cache line, which outlive the range. floats: of a row, its values among them.
  DenseRange(std::byte* memory, uint64_t rows, uint32_t width, uint32_t floats);
  /// Bytes that a range of this shape takes; whole cache lines.
  static uint64_t Bytes(uint64_t rows, uint32_t width, uint32_t floats);

  uint64_t rows() const { return rows_; }
  size_t bytes() const { return Bytes(rows_, width_, floats_); }
  /// What UpdateRule::ApplyDense wants for rows [first, first + n).
  DenseRows View(uint64_t first, uint64_t n, uint64_t unpenalised) const {
    return {.arrays = arrays_, .stride = stride_, .width = width_, .first = first, .n = n, .unpenalised = unpenalised};
  }
  /// A row as UpdateRule::ApplyRows sees one.
  void CopyRow(uint64_t row, float* out) const;

  /// The arrays in their order without gaps: rows * floats floats, at any address.
  void CopyTo(std::byte* out) const;
  void CopyFrom(const std::byte* in);

 private:
  /// Calls each(array, floats a row) for the arrays in their order.
  template <class Each>
  void EachArray(const Each& each) const;

  uint64_t rows_;
  uint32_t width_, floats_;
  uint64_t stride_;   // floats from array to array
  float* arrays_;
};

}   // namespace troupe::internal
