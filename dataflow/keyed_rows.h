// Rows of floats by 64-bit key, as one file: what troupe table imports and exports. Exact both ways: what was written is read as the same bits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "dataflow/output_file.h"

namespace troupe {

struct KeyedRows {
  uint32_t width = 1;
  std::vector<uint64_t> keys;
  std::vector<float> values;   ///< keys.size() x width
};

/// A .csv or .parquet file of columns key, v0, v1, ... in this order; CSV may have .gz or .zst after it. In memory at once; no rows at all are fine.
/// Errors InvalidArgument: another extension; "PATH:LINE: what, value, expected" (Parquet: "PATH: row N: ..."): a header that is another, another number of
/// fields, no whole number below 2^64, no finite float (Parquet: a double that is no float), a key that is there twice; NotFound: no such file.
absl::StatusOr<KeyedRows> ReadKeyedRows(const std::string& uri);

/// The same of the text of a CSV file, `name` in messages.
absl::StatusOr<KeyedRows> ParseKeyedRows(std::string_view text, const std::string& name);
/// As CSV with the shortest decimals that read back as the same floats.
std::string KeyedRowsCsv(const KeyedRows& rows);
/// To a .csv or .parquet file, which is whole or not there. Errors InvalidArgument: another extension, or a compressed Parquet file; those of OutputFile.
absl::Status WriteKeyedRows(const KeyedRows& rows, const std::string& uri);

/// The first row whose key an earlier one has, and that one; {n, n}: there is none.
std::pair<size_t, size_t> FindTwice(const std::vector<uint64_t>& keys);

}   // namespace troupe
