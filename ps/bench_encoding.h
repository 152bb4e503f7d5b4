// What packing messages costs, beside a plain copy of the same arrays: rows of `troupe bench ps --full`.
#pragma once

#include <vector>

#include "actors/bench_row.h"

namespace troupe {

/// A push of 10,000 of a million keys, compressed, packed and unpacked in several encodings; in million keys a second. The limit is a copy of its plain arrays,
/// 12 bytes a key. About 2 s.
std::vector<BenchRow> BenchEncodings();

}   // namespace troupe
