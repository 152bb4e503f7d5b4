#include "ps/internal/table_impl.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "actors/status.h"
#include "actors/text.h"
#include "ps/internal/finite.h"

namespace troupe {

using internal::kAhead;
using internal::kBlock;
using internal::SparseRange;

uint64_t Table::Impl::Unpenalised(uint32_t range) const {
  const Key first = partition.FirstRow(range);
  return spares && spec.penalised_from > first ? spec.penalised_from - first : 0;
}

absl::Status Table::Impl::Refuse(std::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat("table '", spec.name, "': ", Absl(what)));
}

absl::Status Table::Impl::CheckRange(uint32_t range) const {
  if (range >= first_range && range - first_range < held()) [[likely]]
    return absl::OkStatus();
  if (held() == 0) return Refuse(absl::StrCat("range ", range, " is not held here, this shard holds none"));
  return Refuse(absl::StrCat("range ", range, " is not held here, expected ", first_range, " .. ", first_range + held() - 1));
}

absl::Status Table::Impl::CheckKeys(uint32_t range, std::span<const Key> keys) const {
  TROUPE_RETURN_IF_ERROR(CheckRange(range));
  bool inside = true;
  if (partition.dense()) {
    const Key first = partition.FirstRow(range);
    const uint64_t n = partition.RowsIn(range);
    for (const Key key : keys) inside &= key - first < n;
  } else {
    const SparseRange& rows = sparse[Place(range)];
    rows.Prefetch(keys.first(std::min(keys.size(), kAhead)));
    for (const Key key : keys) inside &= partition.RangeOf(key) == range;
  }
  if (inside) [[likely]]
    return absl::OkStatus();
  const auto wrong =
      std::find_if(keys.begin(), keys.end(), [&](Key key) { return (partition.dense() && key >= *spec.rows) || partition.RangeOf(key) != range; });
  if (partition.dense() && *wrong >= *spec.rows) return Refuse(absl::StrCat("key ", *wrong, " is no row, expected below ", *spec.rows));
  return Refuse(absl::StrCat("key ", *wrong, " is in range ", partition.RangeOf(*wrong), ", expected range ", range));
}

absl::Status Table::Impl::CheckRows(uint32_t range, Key first, uint64_t n) const {
  TROUPE_RETURN_IF_ERROR(CheckRange(range));
  if (!partition.dense()) return Refuse("is sparse, expected a dense table for rows without keys");
  const Key begin = partition.FirstRow(range);
  const uint64_t rows = partition.RowsIn(range);
  if (first >= begin && first - begin <= rows && n <= rows - (first - begin)) [[likely]]
    return absl::OkStatus();
  return Refuse(absl::StrCat(n, " rows from ", first, " are not in range ", range, ", expected within ", rows, " rows from ", begin));
}

absl::Status Table::Impl::CheckFinite(const char* what, const float* values, uint64_t n, std::span<const Key> keys, Key first) const {
  if (internal::AllFinite(values, n * width)) [[likely]]
    return absl::OkStatus();
  const float* wrong = std::find_if(values, values + n * width, [](float value) { return !std::isfinite(value); });
  const uint64_t row = static_cast<uint64_t>(wrong - values) / width;
  return Refuse(absl::StrCat(what, " of key ", keys.empty() ? first + row : keys[row], " is ", Exact(*wrong), ", expected a finite number"));
}

void Table::Impl::ApplyBlock(SparseRange& rows, const SparseRange::Slot* slots, size_t n, const float* gradient) const {
  std::array<float*, kBlock> at;
  for (size_t i = 0; i < n; ++i) at[i] = rows.Row(slots[i]);
  std::array<bool, kBlock> penalised;
  if (spares) {
    for (size_t i = 0; i < n; ++i) penalised[i] = rows.KeyAt(slots[i]) >= spec.penalised_from;
  }
  rule->ApplyRows({at.data(), n}, gradient, width, {penalised.data(), spares ? n : 0});
}

}   // namespace troupe
