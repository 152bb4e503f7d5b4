// The rows of a range as a part of a saved model: keys in rising order with their exact values, without the rule's state.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/block.h"
#include "ps/table.h"
#include "ps/types.h"

namespace troupe {

/// k rows of one width: values are k x width, as float, or as double where the table's rule keeps more than a float (`wide`, rule add).
struct ExportedRows {
  uint32_t width = 1;
  bool wide = false;
  std::vector<Key> keys;             ///< strictly rising
  std::vector<float> values;         ///< k x width, or empty if wide
  std::vector<double> wide_values;   ///< k x width if wide, else empty

  double Value(size_t row, uint32_t column) const { return wide ? wide_values[row * width + column] : values[row * width + column]; }
};

/// The rows of one range that `table` holds. Sparse rows whose values are all zero are left out where rows start as zeros; dense ranges are complete. The range
/// must be the table's.
ExportedRows RowsOf(const Table& table, uint32_t range);

/// As bytes (a header with a checksum, keys, values), and back. DecodeRows takes any bytes.
/// Errors DataLoss: cut, not such a part, a checksum that differs; width 0, keys that do not rise, or a value that is not finite.
Block EncodeRows(const ExportedRows& rows);
absl::StatusOr<ExportedRows> DecodeRows(const Block& bytes);

/// EncodeRows(RowsOf(table, range)).
Block ExportRange(const Table& table, uint32_t range);

}   // namespace troupe
