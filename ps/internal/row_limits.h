// What a table with limits (TableSpec::limits) knows beside its rows.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "ps/internal/admission.h"
#include "ps/internal/row_mark.h"
#include "ps/row_tier.h"

namespace troupe::internal {

struct RangeLimits {
  std::optional<Admission> admission;
  uint64_t dropped = 0, evicted = 0;
  uint64_t spilled = 0;                  // rows that only the tier has
  uint32_t oldest = RowMark::kTimeMax;   // none of them was touched before
};

struct RowLimitsState {
  std::vector<RangeLimits> ranges;   // by range
  uint64_t now = 0;                  // rounds that are over
  uint64_t range_rows_max = UINT64_MAX;
  std::unique_ptr<RowTier> tier;   // null: all rows are in memory
  size_t range_bytes_max = SIZE_MAX;
  uint64_t rows_fit = UINT64_MAX;   // in a range's bytes
  absl::Status full;                // why the tier took nothing when it was last asked to
  absl::Status lost;                // why it could not be read: rows are missing from what was read since
};

}   // namespace troupe::internal
