// What an all-reduce costs beside plain loops over the same arrays, in this process: rows of `troupe bench ps`.
#pragma once

#include <vector>

#include "actors/bench_row.h"

namespace troupe {

/// The sum of four members' 40 MB at all four, by ring and by tree, in one thread; in GB/s of one array. The limit: one loop that adds up the four arrays, and
/// three copies of the result. About 2 s.
std::vector<BenchRow> BenchAllReduce();

}   // namespace troupe
