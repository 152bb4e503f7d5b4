// What reading and making data costs beside plain loops over the same bytes, in this process: rows of `troupe bench dataflow`.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/bench_row.h"

namespace troupe {

/// MB/s of one core: libsvm, CSV and Parquet into blocks, and a click log made; each beside the limit that its name gives, from the same run. About 5 s;
/// `full`: five times the data. Works in the folder for temporary files and removes what it made.
/// Errors: those of Generate (a full disk) and OpenSource (no plugin for Parquet).
absl::StatusOr<std::vector<BenchRow>> BenchDataflow(bool full);
/// The same with this many rows of data.
absl::StatusOr<std::vector<BenchRow>> BenchDataflowRows(uint64_t rows);

}   // namespace troupe
