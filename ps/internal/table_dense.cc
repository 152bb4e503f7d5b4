// Pushes to dense ranges and pulls of them: runs of rows at once, rows here and there one by one.
#include <algorithm>
#include <array>
#include <cstring>

#include "ps/internal/table_impl.h"

namespace troupe {
namespace {

using internal::DenseRange;

/// Of a run that are tamed at a time.
constexpr uint64_t kTamedFloats = 4096;
/// Consecutive rows of so many floats are worth a call of their own.
constexpr uint64_t kRunFloats = 64;
/// Rows that are found before the first of them is changed: two short loops, over which the processor sees far ahead.
constexpr size_t kFound = 256;

}   // namespace

void Table::Impl::CopyDense(std::span<const RowsOut> rows) const {
  for (const RowsOut& out : rows) dense[Place(out.rows.range)]->PrefetchSelf();
  struct Copy {
    DenseRow from;
    float* to;
  };
  std::array<Copy, kFound> copies;
  size_t found = 0;
  const size_t ahead = DenseRow::Ahead(width, 1);
  const auto copy_found = [&] {
    for (size_t i = 0; i < std::min(ahead, found); ++i) copies[i].from.Prefetch(width, 1);
    for (size_t i = 0; i < found; ++i) {
      if (i + ahead < found) copies[i + ahead].from.Prefetch(width, 1);
      width == 1 ? void(*copies[i].to = *copies[i].from.values) : void(std::memcpy(copies[i].to, copies[i].from.values, width * sizeof(float)));
    }
    found = 0;
  };
  for (const RowsOut& out : rows) {
    const Key base = partition.FirstRow(out.rows.range);
    const DenseRange& range = *dense[Place(out.rows.range)];
    if (out.rows.keys == nullptr) {
      if (out.rows.n > 0) std::memcpy(out.values, range.Row(out.rows.first - base).values, out.rows.n * width * sizeof(float));
      continue;
    }
    for (size_t i = 0; i < out.rows.n; ++i) {
      if (found == kFound) copy_found();
      copies[found++] = {range.Row(out.rows.keys[i] - base), out.values + i * width};
    }
  }
  copy_found();
}

void Table::Impl::ApplyDense(std::span<const RowsIn> gradients, float scale) {
  for (const RowsIn& in : gradients) dense[Place(in.rows.range)]->PrefetchSelf();
  std::array<DenseRow, kFound> rows;
  std::array<bool, kFound> penalised;
  size_t found = 0;
  const float* numbers = nullptr;   // of the first
  const auto apply_found = [&] {
    if (found == 0) return;
    rule->ApplyDenseRows({rows.data(), found}, Tame(numbers, found), width, spares ? std::span<const bool>(penalised.data(), found) : std::span<const bool>(),
                         scale);
    found = 0;
  };
  const uint64_t piece = tames ? std::max<uint64_t>(1, kTamedFloats / width) : UINT64_MAX;
  const auto apply_run = [&](const DenseRange& range, uint64_t first, uint64_t n, uint64_t unpenalised, const float* of_run) {
    for (uint64_t i = 0, part; i < n; i += part, of_run += part * width) {
      part = std::min(piece, n - i);
      rule->ApplyDense(range.View(first + i, part, unpenalised), Tame(of_run, part), scale);
    }
  };
  for (const RowsIn& in : gradients) {
    const Key base = partition.FirstRow(in.rows.range);
    DenseRange& range = *dense[Place(in.rows.range)];
    const uint64_t unpenalised = Unpenalised(in.rows.range);
    if (in.rows.keys == nullptr) {
      apply_found();
      if (in.rows.n > 0) apply_run(range, in.rows.first - base, in.rows.n, unpenalised, in.numbers);
      continue;
    }
    const Key* keys = in.rows.keys;
    for (size_t at = 0, end; at < in.rows.n; at = end) {
      for (end = at + 1; end < in.rows.n && keys[end] == keys[end - 1] + 1; ++end) {
      }
      const float* of_run = in.numbers + at * width;
      if ((end - at) * width >= kRunFloats && end > at + 1) {
        apply_found();
        apply_run(range, keys[at] - base, end - at, unpenalised, of_run);
        continue;
      }
      for (; at < end; ++at, of_run += width) {
        if (found == kFound || of_run != numbers + found * width) apply_found();
        if (found == 0) numbers = of_run;
        penalised[found] = keys[at] - base >= unpenalised;
        rows[found++] = range.PushedRow(keys[at] - base);
      }
    }
  }
  apply_found();
}

}   // namespace troupe
