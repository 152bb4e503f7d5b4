#include "ps/round_sum.h"

#include <algorithm>
#include <cstring>

namespace troupe {
namespace {

constexpr size_t kFlushFloats = 64 << 10;   // sums that are applied while they are in the second cache

void AddTo(float* __restrict sums, const float* __restrict gradient, size_t n) {
  for (size_t i = 0; i < n; ++i) sums[i] += gradient[i];
}

}   // namespace

void RoundSum::ApplyTo(Table& table, float divisor) {
  // Range by range, in the order in which the shares of each came.
  std::stable_sort(shares_.begin(), shares_.end(), [](const RowsIn& a, const RowsIn& b) { return a.rows.range < b.rows.range; });
  for (size_t begin = 0, end; begin < shares_.size(); begin = end) {
    for (end = begin + 1; end < shares_.size() && shares_[end].rows.range == shares_[begin].rows.range; ++end) {
    }
    const std::span<const RowsIn> shares(shares_.data() + begin, end - begin);
    table.partition().dense() ? SumRows(shares, table) : SumKeys(shares, table.spec().width);
    if (sums_.size() >= kFlushFloats) Flush(table, divisor);
  }
  Flush(table, divisor);
  shares_.clear();
}

void RoundSum::SumKeys(std::span<const RowsIn> shares, uint32_t width) {
  Summed sum{.range = shares[0].rows.range, .n = 0, .first = 0, .keys = keys_.size(), .sums = sums_.size()};
  if (shares.size() == 1) {
    const RowsIn& only = shares[0];
    keys_.insert(keys_.end(), only.rows.keys, only.rows.keys + only.rows.n);
    sums_.insert(sums_.end(), only.numbers, only.numbers + only.rows.n * width);
    sum.n = only.rows.n;
    summed_.push_back(sum);
    return;
  }
  size_t rows = 0;
  for (const RowsIn& share : shares) rows += share.rows.n;
  index_.Start(rows);
  for (const RowsIn& share : shares) {
    places_.resize(share.rows.n);
    index_.Columns(std::span(share.rows.keys, share.rows.n), places_.data());
    sums_.resize(sum.sums + index_.keys().size() * width);
    float* sums = sums_.data() + sum.sums;
    for (size_t i = 0; i < share.rows.n; ++i) {
      for (uint32_t j = 0; j < width; ++j) sums[size_t{places_[i]} * width + j] += share.numbers[i * width + j];
    }
  }
  keys_.insert(keys_.end(), index_.keys().begin(), index_.keys().end());
  sum.n = index_.keys().size();
  summed_.push_back(sum);
}

void RoundSum::SumRows(std::span<const RowsIn> shares, const Table& table) {
  const uint32_t width = table.spec().width;
  const uint32_t range = shares[0].rows.range;
  const Key first = table.partition().FirstRow(range);
  const uint64_t rows = table.partition().RowsIn(range);
  const size_t begin = sums_.size();
  sums_.resize(begin + rows * width);
  touched_.assign(rows, 0);
  for (const RowsIn& share : shares) {
    const RowSet& set = share.rows;
    for (uint64_t i = 0, run; i < set.n; i += run) {   // runs of consecutive rows
      const uint64_t row = (set.keys == nullptr ? set.first + i : set.keys[i]) - first;
      for (run = set.keys == nullptr ? set.n : 1; i + run < set.n && set.keys[i + run] == set.keys[i] + run; ++run) {
      }
      AddTo(sums_.data() + begin + row * width, share.numbers + i * width, run * width);
      std::fill_n(touched_.begin() + static_cast<ptrdiff_t>(row), run, uint8_t{1});
    }
  }
  const auto next = [&](uint8_t mark, uint64_t from) {   // the next row that is, or is not, touched
    const void* found = from < rows ? std::memchr(touched_.data() + from, mark, rows - from) : nullptr;
    return found == nullptr ? rows : static_cast<uint64_t>(static_cast<const uint8_t*>(found) - touched_.data());
  };
  for (uint64_t at = next(1, 0), end; at < rows; at = next(1, end)) {
    end = next(0, at);
    summed_.push_back({.range = range, .n = end - at, .first = first + at, .keys = 0, .sums = begin + at * width});
  }
}

void RoundSum::Flush(Table& table, float divisor) {
  if (divisor != 1) {
    for (float& sum : sums_) sum /= divisor;
  }
  applied_.clear();
  const bool dense = table.partition().dense();
  for (const Summed& sum : summed_) {
    const RowSet rows = dense ? RowSet::Run(sum.range, sum.first, sum.n) : RowSet::Of(sum.range, {keys_.data() + sum.keys, sum.n});
    applied_.push_back({rows, sums_.data() + sum.sums});
  }
  table.Apply(applied_);
  summed_.clear();
  keys_.clear();
  sums_.clear();
}

}   // namespace troupe
