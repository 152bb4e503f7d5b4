#include "ps/round_sum.h"

#include <algorithm>
#include <cstring>

namespace troupe {
namespace {

void Divide(std::span<float> sums, float divisor) {
  if (divisor == 1) return;
  for (float& sum : sums) sum /= divisor;
}

void AddTo(float* __restrict sums, const float* __restrict gradient, size_t n) {
  for (size_t i = 0; i < n; ++i) sums[i] += gradient[i];
}

}   // namespace

void RoundSum::ApplyTo(Table& table, float divisor) {
  // Range by range, in the order in which the shares of each came.
  std::stable_sort(parts_.begin(), parts_.end(), [](const Part& a, const Part& b) { return a.range < b.range; });
  const auto end_of = [&](size_t begin) {
    size_t end = begin;
    while (end < parts_.size() && parts_[end].range == parts_[begin].range) ++end;
    return end;
  };
  const bool dense = table.partition().dense();
  for (size_t begin = 0, end = end_of(0); begin < parts_.size(); begin = end, end = end_of(end)) {
    const std::span<const Part> parts(parts_.data() + begin, end - begin);
    if (dense) {
      ApplyRows(table, parts, divisor);
      continue;
    }
    if (end < parts_.size()) table.Prefetch(parts_[end].range, {parts_[end].keys, parts_[end].n});
    ApplyKeys(table, parts, divisor);
  }
  parts_.clear();
}

void RoundSum::ApplyKeys(Table& table, std::span<const Part> parts, float divisor) {
  const uint32_t width = table.spec().width;
  const Part& only = parts[0];
  if (parts.size() == 1) {
    sums_.assign(only.gradient, only.gradient + only.n * width);
    Divide(sums_, divisor);
    table.ApplyChecked(only.range, {only.keys, only.n}, sums_.data());
    return;
  }
  size_t rows = 0;
  for (const Part& part : parts) rows += part.n;
  index_.Start(rows);
  sums_.clear();
  for (const Part& part : parts) {
    places_.resize(part.n);
    index_.Columns(std::span(part.keys, part.n), places_.data());
    sums_.resize(index_.keys().size() * width);
    for (size_t i = 0; i < part.n; ++i) {
      float* sum = sums_.data() + size_t{places_[i]} * width;
      for (uint32_t j = 0; j < width; ++j) sum[j] += part.gradient[i * width + j];
    }
  }
  Divide(sums_, divisor);
  table.ApplyChecked(only.range, index_.keys(), sums_.data());
}

void RoundSum::ApplyRows(Table& table, std::span<const Part> parts, float divisor) {
  const uint32_t width = table.spec().width;
  const uint32_t range = parts[0].range;
  const Key first = table.partition().FirstRow(range);
  const uint64_t rows = table.partition().RowsIn(range);
  sums_.assign(rows * width, 0);
  touched_.assign(rows, 0);
  for (const Part& part : parts) {
    for (uint64_t i = 0, run; i < part.n; i += run) {   // runs of consecutive rows
      const uint64_t row = (part.keys == nullptr ? part.first + i : part.keys[i]) - first;
      for (run = 1; i + run < part.n && (part.keys == nullptr || part.keys[i + run] == part.keys[i] + run); ++run) {
      }
      AddTo(sums_.data() + row * width, part.gradient + i * width, run * width);
      std::fill_n(touched_.begin() + static_cast<ptrdiff_t>(row), run, uint8_t{1});
    }
  }
  Divide(sums_, divisor);
  const auto next = [&](uint8_t mark, uint64_t from) {   // the next row that is, or is not, touched
    const void* found = from < rows ? std::memchr(touched_.data() + from, mark, rows - from) : nullptr;
    return found == nullptr ? rows : static_cast<uint64_t>(static_cast<const uint8_t*>(found) - touched_.data());
  };
  for (uint64_t begin = next(1, 0), end; begin < rows; begin = next(1, end)) {
    end = next(0, begin);
    table.ApplyDenseChecked(range, first + begin, end - begin, sums_.data() + begin * width);
  }
}

}   // namespace troupe
