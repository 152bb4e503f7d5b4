#include "ps/internal/table_impl.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "actors/status.h"
#include "actors/text.h"
#include "ps/internal/finite.h"

namespace troupe {

uint64_t Table::Impl::Unpenalised(uint32_t range) const {
  const Key first = partition.FirstRow(range);
  return spares && spec.penalised_from > first ? spec.penalised_from - first : 0;
}

absl::Status Table::Impl::Refuse(std::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat("table '", spec.name, "': ", Absl(what)));
}

absl::Status Table::Impl::CheckRange(uint32_t range) const {
  if (range < places() && Here(range)) [[likely]]
    return absl::OkStatus();
  std::string runs;   // "0 .. 2, 7"
  for (uint32_t first = 0, end; first < places(); first = std::max(end, first + 1)) {
    for (end = first; end < places() && Here(end);) ++end;
    if (end > first) absl::StrAppend(&runs, runs.empty() ? "" : ", ", first, end > first + 1 ? absl::StrCat(" .. ", end - 1) : "");
  }
  return Refuse(absl::StrCat("range ", range, " is not held here, ", runs.empty() ? "this shard holds none" : absl::StrCat("expected ", runs)));
}

absl::Status Table::Impl::CheckRows(const RowSet& rows) const {
  TROUPE_RETURN_IF_ERROR(CheckRange(rows.range));
  const Key begin = partition.FirstRow(rows.range);
  const uint64_t in_range = partition.RowsIn(rows.range);
  if (rows.keys == nullptr && rows.n > 0) {
    if (!partition.dense()) return Refuse("is sparse, expected a dense table for rows without keys");
    if (rows.first >= begin && rows.first - begin <= in_range && rows.n <= in_range - (rows.first - begin)) [[likely]]
      return absl::OkStatus();
    return Refuse(absl::StrCat(rows.n, " rows from ", rows.first, " are not in range ", rows.range, ", expected within ", in_range, " rows from ", begin));
  }
  const std::span<const Key> keys(rows.keys, rows.n);
  bool inside = true;
  if (partition.dense()) {
    for (const Key key : keys) inside &= key - begin < in_range;
  } else {
    inside = partition.sparse_keys().AreIn(rows.range, keys);
  }
  if (inside) [[likely]]
    return absl::OkStatus();
  const auto wrong =
      std::find_if(keys.begin(), keys.end(), [&](Key key) { return (partition.dense() && key >= *spec.rows) || partition.RangeOf(key) != rows.range; });
  if (partition.dense() && *wrong >= *spec.rows) return Refuse(absl::StrCat("key ", *wrong, " is no row, expected below ", *spec.rows));
  return Refuse(absl::StrCat("key ", *wrong, " is in range ", partition.RangeOf(*wrong), ", expected range ", rows.range));
}

absl::Status Table::Impl::CheckFinite(const char* what, std::span<const RowsIn> sets) const {
  bool finite = true;
  for (size_t begin = 0, end; begin < sets.size(); begin = end) {
    uint64_t n = sets[begin].rows.n * width;
    for (end = begin + 1; end < sets.size() && sets[end].numbers == sets[begin].numbers + n; ++end) n += sets[end].rows.n * width;
    finite &= internal::AllFinite(sets[begin].numbers, n);
  }
  if (finite) [[likely]]
    return absl::OkStatus();
  const RowsIn& in = *std::ranges::find_if(sets, [&](const RowsIn& set) { return !internal::AllFinite(set.numbers, set.rows.n * width); });
  const uint64_t n = in.rows.n * width;
  const float* wrong = std::find_if(in.numbers, in.numbers + n, [](float value) { return !std::isfinite(value); });
  const uint64_t row = static_cast<uint64_t>(wrong - in.numbers) / width;
  const Key key = in.rows.keys == nullptr ? in.rows.first + row : in.rows.keys[row];
  return Refuse(absl::StrCat(what, " of key ", key, " is ", Exact(*wrong), ", expected a finite number"));
}

std::span<const bool> Table::Impl::Penalised(const Key* keys, size_t n, std::span<bool> flags) const {
  if (!spares) return {};
  for (size_t i = 0; i < n; ++i) flags[i] = keys[i] >= spec.penalised_from;
  return flags.first(n);
}

const float* Table::Impl::Tame(const float* gradient, size_t rows) {
  if (!tames) [[likely]]
    return gradient;
  const size_t n = rows * width;
  tamed.assign(gradient, gradient + n);
  const float limit = spec.clip_value > 0 ? static_cast<float>(spec.clip_value) : std::numeric_limits<float>::max();
  if (spec.non_finite != NonFinite::kRefuse && !internal::AllFinite(gradient, n)) {
    for (size_t row = 0; row < rows; ++row) {
      const std::span<float> numbers(tamed.data() + row * width, width);
      const auto bad = static_cast<uint64_t>(std::count_if(numbers.begin(), numbers.end(), [](float x) { return !std::isfinite(x); }));
      if (bad == 0) continue;
      non_finite += bad;
      for (float& x : numbers) {
        if (spec.non_finite == NonFinite::kDrop || std::isnan(x)) {
          x = 0;
        } else if (std::isinf(x)) {
          x = std::copysign(limit, x);
        }
      }
    }
  }
  for (size_t row = 0; row < rows; ++row) {
    const std::span<float> numbers(tamed.data() + row * width, width);
    bool cut = false;
    if (spec.clip_value > 0) {
      for (float& x : numbers) {
        cut |= std::fabs(x) > limit;
        x = std::clamp(x, -limit, limit);
      }
    }
    if (spec.clip_norm > 0) {
      double squares = 0;
      for (const float x : numbers) squares += double{x} * x;
      if (squares > spec.clip_norm * spec.clip_norm) {
        cut = true;
        const auto factor = static_cast<float>(spec.clip_norm / std::sqrt(squares));
        for (float& x : numbers) x *= factor;
      }
    }
    clipped += cut;
  }
  return tamed.data();
}

}   // namespace troupe
