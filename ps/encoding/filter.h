// Which rows of a push travel: their numbers in rising order, at least one where there are any. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "actors/random.h"

namespace troupe {

/// Rows of `width` numbers, one after the other. Not empty.
struct FilteredRows {
  std::span<const float> values;
  uint32_t width = 1;
  size_t size() const { return values.size() / width; }
  /// The largest magnitude of row i.
  float Magnitude(size_t i) const;
};

/// The share of the rows with the largest magnitudes, at least one; of equal ones the first.
std::vector<uint32_t> KeepTop(FilteredRows rows, double share);
/// As many, each set of them with the same probability.
std::vector<uint32_t> KeepRandom(FilteredRows rows, double share, Random& random);
/// Rows for which keep(i, magnitude); the one of the largest magnitude where there are none.
std::vector<uint32_t> KeepWhere(FilteredRows rows, const std::function<bool(size_t, float)>& keep);

}   // namespace troupe
