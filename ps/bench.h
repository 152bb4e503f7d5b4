// What tables cost beside plain loops over plain arrays, in this process: rows of `troupe bench ps`.
#pragma once

#include <vector>

#include "actors/bench_row.h"

namespace troupe {

/// Norm and views of a dense table of 10M floats, and sparse AdaGrad in big and in typical batches beside one flat hash table, each in the same run; and a
/// table of which a quarter is in memory beside one that is all there. About 5 s; `full`: also the same where every key is touched alike, rounds,
/// pulls and ten times the rows.
std::vector<BenchRow> BenchTables(bool full);

}   // namespace troupe
