// Filling the tables.
#include "dataflow/generated/distributions.h"

#include <algorithm>
#include <cmath>

namespace troupe {

const NormalTable& NormalTable::Get() {
  static const NormalTable table;
  return table;
}

NormalTable::NormalTable() : quantiles_(kSlices + 1) {
  // Newton's method from the quantile before it, from the middle outwards; the outermost slice ends where half of its probability is left.
  double x = 0;
  for (uint32_t i = kSlices / 2; i <= kSlices; ++i) {
    const double upper_tail = i < kSlices ? 1 - static_cast<double>(i) / kSlices : 0.5 / kSlices;
    for (int step = 0; step < 4; ++step) {
      const double density = std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
      x += (std::erfc(x / std::sqrt(2.0)) / 2 - upper_tail) / density;
    }
    quantiles_[i] = static_cast<float>(x);
    quantiles_[kSlices - i] = -quantiles_[i];
  }
}

void NormalTable::Fill(Random* random, size_t n, float* out) const {
  size_t i = 0;
  for (; i + 1 < n; i += 2) {
    const uint64_t bits = random->Next();
    out[i] = Draw(static_cast<uint32_t>(bits));
    out[i + 1] = Draw(static_cast<uint32_t>(bits >> 32));
  }
  if (i < n) out[i] = Draw(static_cast<uint32_t>(random->Next()));
}

ZipfTable::ZipfTable(double exponent, uint32_t n, bool open) : ends_(n), guide_((1 << 16) + 1) {
  std::vector<double> sums(n);
  double sum = 0;
  for (uint32_t rank = 0; rank < n; ++rank) sums[rank] = sum += std::pow(rank + 1.0, -exponent);
  if (open) sums[n - 1] = sum += std::pow(n + 0.5, 1 - exponent) / (exponent - 1);   // the integral of the rest
  for (uint32_t rank = 0; rank < n; ++rank) ends_[rank] = static_cast<uint64_t>(sums[rank] / sum * 0x1p32);
  ends_[n - 1] = uint64_t{1} << 32;
  for (uint32_t slice = 0, rank = 0; slice < guide_.size(); ++slice) {
    while (rank + 1 < n && ends_[rank] <= uint64_t{slice} << 16) ++rank;
    guide_[slice] = rank;
  }
}

}   // namespace troupe
