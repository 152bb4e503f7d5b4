// What rows cost that are in another process, and what they cost where they were intended: rows of `troupe bench ps`.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "actors/bench_row.h"
#include "actors/system.h"
#include "ps/table_set.h"

namespace troupe {

/// 1,000,000 rows of 64 floats, dense, as the other process must have them, with a rule of plain steps.
TableSpec IntentTable();
/// Copies of its rows at this end.
TableReplicas IntentReplicas();
/// `elsewhere`: a set over a shard in another process with IntentTable(), which has IntentReplicas(). Compares with a set in this process and with plain loops,
/// run in turns. About 4 s, and 1/2 GB here.
absl::StatusOr<std::vector<BenchRow>> BenchIntent(System& system, const TableSet& elsewhere);

}   // namespace troupe
