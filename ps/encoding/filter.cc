#include "ps/encoding/filter.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace troupe {
namespace {

size_t CountOf(FilteredRows rows, double share) {
  const double n = std::ceil(share * static_cast<double>(rows.size()));
  return std::clamp<size_t>(static_cast<size_t>(n), 1, rows.size());
}

}   // namespace

float FilteredRows::Magnitude(size_t i) const {
  float largest = 0;
  for (const float value : values.subspan(i * width, width)) largest = std::max(largest, std::abs(value));
  return largest;
}

std::vector<uint32_t> KeepTop(FilteredRows rows, double share) {
  std::vector<float> magnitude(rows.size());
  for (size_t i = 0; i < magnitude.size(); ++i) magnitude[i] = rows.Magnitude(i);
  std::vector<uint32_t> kept(rows.size());
  std::iota(kept.begin(), kept.end(), 0);
  const auto end = kept.begin() + static_cast<std::ptrdiff_t>(CountOf(rows, share));
  std::nth_element(kept.begin(), end - 1, kept.end(),
                   [&](uint32_t a, uint32_t b) { return magnitude[a] != magnitude[b] ? magnitude[a] > magnitude[b] : a < b; });
  kept.erase(end, kept.end());
  std::sort(kept.begin(), kept.end());
  return kept;
}

std::vector<uint32_t> KeepRandom(FilteredRows rows, double share, Random& random) {
  // Algorithm S of Knuth, "The Art of Computer Programming" vol. 2, sec. 3.4.2.
  std::vector<uint32_t> kept;
  const size_t n = CountOf(rows, share);
  for (uint32_t i = 0; kept.size() < n; ++i) {
    if (random.Below(rows.size() - i) < n - kept.size()) kept.push_back(i);
  }
  return kept;
}

std::vector<uint32_t> KeepWhere(FilteredRows rows, const std::function<bool(size_t, float)>& keep) {
  std::vector<uint32_t> kept;
  uint32_t largest = 0;
  float most = -1;
  for (uint32_t i = 0; i < rows.size(); ++i) {
    const float magnitude = rows.Magnitude(i);
    if (keep(i, magnitude)) kept.push_back(i);
    if (magnitude > most) {
      most = magnitude;
      largest = i;
    }
  }
  if (kept.empty()) kept.push_back(largest);
  return kept;
}

}   // namespace troupe
