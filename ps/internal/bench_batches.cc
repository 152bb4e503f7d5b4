#include "ps/internal/bench_batches.h"

#include <algorithm>
#include <random>

namespace troupe::internal {

Batches::Batches(const Partition& partition, const Shape& shape) : width(shape.width) {
  std::mt19937_64 random(2);
  const auto some = static_cast<size_t>(shape.hot * static_cast<double>(shape.rows));
  for (size_t b = 0; b < shape.count; ++b) {
    std::vector<Key> drawn(shape.batch);
    for (Key& row : drawn) row = 1 + random() % (random() % 10 == 0 ? shape.rows : some);
    std::sort(drawn.begin(), drawn.end());
    drawn.erase(std::unique(drawn.begin(), drawn.end()), drawn.end());
    std::shuffle(drawn.begin(), drawn.end(), random);
    const auto range_of = [&](Key row) { return partition.RangeOf(shape.KeyOf(row)); };
    std::stable_sort(drawn.begin(), drawn.end(), [&](Key x, Key y) { return range_of(x) < range_of(y); });
    batches.emplace_back();
    for (const Key row : drawn) {
      const uint32_t range = range_of(row);
      if (batches.back().empty() || batches.back().back().range != range) batches.back().push_back({range, keys.size(), 0});
      keys.push_back(shape.KeyOf(row));
      rows.push_back(row);
      batches.back().back().end = keys.size();
    }
  }
  gradient.resize(keys.size() * width);
  for (float& g : gradient) g = static_cast<float>(random() % 1000) * 1e-3f - 0.5f;
}

std::vector<RowsIn> Batches::In(size_t batch) const {
  std::vector<RowsIn> rows;
  rows.reserve(batches[batch].size());
  for (const Part& part : batches[batch]) rows.push_back({RowSet::Of(part.range, KeysOf(part)), gradient.data() + part.begin * width});
  return rows;
}

std::vector<RowsOut> Batches::Out(size_t batch, float* out) const {
  std::vector<RowsOut> rows;
  rows.reserve(batches[batch].size());
  for (const Part& part : batches[batch]) rows.push_back({RowSet::Of(part.range, KeysOf(part)), out + part.begin * width});
  return rows;
}

}   // namespace troupe::internal
