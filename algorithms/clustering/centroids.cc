// Sixteen rows are transposed into a tile (columns x 16), so that a vector lane is a row: no sums across lanes, no waste for any k, and differences are squared
// directly (|x|^2 - 2xc + |c|^2 would lose digits far from the origin).
#include "algorithms/clustering/centroids.h"

#include <algorithm>
#include <limits>

#include "actors/check.h"

namespace troupe {
namespace {

constexpr size_t kLanes = 8, kTile = 2 * kLanes;
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Indices = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));

struct alignas(sizeof(Floats)) Tile {
  Floats lanes[2];
};

struct Best {
  Floats distance2[2];
  Indices cluster[2];
};

/// The distances of a tile to `N` centroids from `first` on: 2 N sums at a time, enough to keep the multipliers busy.
template <size_t N>
inline void Compare(const Tile* tile, const float* centroids, size_t columns, size_t first, Best& best) {
  Floats sum[N][2] = {};
  const float* c = centroids + first * columns;
  for (size_t j = 0; j < columns; ++j) {
    const Tile& x = tile[j];
    for (size_t n = 0; n < N; ++n) {
      const Floats d0 = x.lanes[0] - c[n * columns + j], d1 = x.lanes[1] - c[n * columns + j];
      sum[n][0] += d0 * d0;
      sum[n][1] += d1 * d1;
    }
  }
  for (size_t n = 0; n < N; ++n) {
    const Indices index = Indices{} + static_cast<int32_t>(first + n);
    for (size_t h = 0; h < 2; ++h) {
      const Indices nearer = sum[n][h] < best.distance2[h];
      best.distance2[h] = nearer ? sum[n][h] : best.distance2[h];
      best.cluster[h] = nearer ? index : best.cluster[h];
    }
  }
}

/// Rows [first, first + n) of the batch, transposed; beyond[i]: the squares of what lies outside `columns`.
void Load(const Batch& batch, size_t first, size_t n, size_t columns, Tile* tile, float* beyond) {
  float* lanes = reinterpret_cast<float*>(tile);
  if (n < kTile || !batch.is_dense()) std::fill_n(lanes, columns * kTile, 0.0f);
  std::fill_n(beyond, kTile, 0.0f);
  if (batch.is_dense()) {
    const float* rows[kTile];
    for (size_t i = 0; i < n; ++i) rows[i] = batch.dense(first + i).data();
    for (size_t j = 0; n == kTile && j < columns; ++j)
      for (size_t i = 0; i < kTile; ++i) lanes[j * kTile + i] = rows[i][j];
    for (size_t i = 0; n < kTile && i < n; ++i)
      for (size_t j = 0; j < columns; ++j) lanes[j * kTile + i] = rows[i][j];
    return;
  }
  for (size_t i = 0; i < n; ++i) {
    const SparseRow row = batch.sparse(first + i);
    for (size_t e = 0; e < row.size(); ++e) {
      if (row.feature(e) <= columns)
        lanes[(row.feature(e) - 1) * kTile + i] = row.value(e);
      else
        beyond[i] += row.value(e) * row.value(e);
    }
  }
}

}   // namespace

Centroids::Centroids(std::vector<float> rows, uint32_t columns) : rows_(std::move(rows)), columns_(columns) {
  TROUPE_CHECK(columns_ > 0 && !rows_.empty() && rows_.size() % columns_ == 0);
}

void Centroids::Nearest(const Batch& batch, std::span<uint32_t> cluster, std::span<float> distance2) const {
  thread_local std::vector<Tile> tile;
  tile.resize(columns_);
  float beyond[kTile];
  constexpr float kFar = std::numeric_limits<float>::infinity();
  for (size_t first = 0; first < batch.rows(); first += kTile) {
    const size_t n = std::min(kTile, batch.rows() - first);
    Load(batch, first, n, columns_, tile.data(), beyond);
    Best best{{Floats{} + kFar, Floats{} + kFar}, {}};
    size_t c = 0;
    for (; c + 4 <= k(); c += 4) Compare<4>(tile.data(), rows_.data(), columns_, c, best);
    for (; c < k(); ++c) Compare<1>(tile.data(), rows_.data(), columns_, c, best);
    for (size_t i = 0; i < n; ++i) {
      cluster[first + i] = static_cast<uint32_t>(best.cluster[i / kLanes][i % kLanes]);
      distance2[first + i] = best.distance2[i / kLanes][i % kLanes] + beyond[i];
    }
  }
}

void AddRow(const Batch& batch, size_t i, std::span<double> sum) {
  if (batch.is_dense()) {
    const float* x = batch.dense(i).data();
    for (size_t j = 0; j < sum.size(); ++j) sum[j] += static_cast<double>(x[j]);
    return;
  }
  const SparseRow row = batch.sparse(i);
  for (size_t e = 0; e < row.size() && row.feature(e) <= sum.size(); ++e) sum[row.feature(e) - 1] += static_cast<double>(row.value(e));
}

std::vector<float> RowAsDense(const Batch& batch, size_t i, uint32_t columns) {
  std::vector<double> row(columns);
  AddRow(batch, i, row);
  return {row.begin(), row.end()};
}

}   // namespace troupe
