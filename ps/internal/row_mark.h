// What a row of a table with limits keeps behind the rule's floats: when it was last touched, and what its tier has of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace troupe::internal {

struct RowMark {
  static constexpr uint32_t kTimeMax = (uint32_t{1} << 29) - 1;   // from there on time stands still

  uint32_t time : 29;     ///< rounds that were over at the last touch
  uint32_t pulled : 1;    ///< a pull has brought it back: it is passed over once when rows go to the tier
  uint32_t copied : 1;    ///< the tier has a copy
  uint32_t changed : 1;   ///< which is older

  static uint32_t Time(uint64_t now) { return static_cast<uint32_t>(std::min<uint64_t>(now, kTimeMax)); }
  void Touch(uint32_t now) {
    time = now & kTimeMax;
    changed = 1;
  }
};
static_assert(sizeof(RowMark) == sizeof(float));

/// `row`: of a store of such rows; floats: of the rule.
inline RowMark& MarkOf(float* row, uint32_t floats) {
  return *reinterpret_cast<RowMark*>(row + floats);
}
inline const RowMark& MarkOf(const float* row, uint32_t floats) {
  return *reinterpret_cast<const RowMark*>(row + floats);
}

}   // namespace troupe::internal
