// What update rules and stores of rows cost beside the same formulas over plain arrays, in this process: rows of `troupe bench ps`.
#pragma once

#include <vector>

#include "actors/bench_row.h"

namespace troupe {

/// Dense pushes of 10M floats by every rule; sparse pushes of one and of 64 floats a row; 1,000 random rows of 64 floats, pulled and pushed; each beside a
/// plain loop of the same run (ps/internal/plain_rules.h). About 12 s and 1.6 GB. `full`: also the memory that 100M keys take; about 25 s and 2.5 GB more.
std::vector<BenchRow> BenchRules(bool full);

}   // namespace troupe
