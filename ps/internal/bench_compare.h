// Two pieces of work timed in turn, ours and the plain way, for rows of `troupe bench`.
#pragma once

#include <functional>
#include <string>

#include "actors/bench_row.h"

namespace troupe::internal {

/// This thread's own time in seconds: what else runs on the machine does not count.
double ThreadSeconds();
/// All the time that passes, where other threads and the disk are part of the work.
double WallSeconds();

/// Medians of 7 to 15 runs of each (3 where they take long), in turn, so that both meet the same machine, after one of each that does not count. `units`: what
/// one run does.
BenchRow Compare(const std::string& name, double units, const std::string& unit, const std::function<void()>& ours, const std::function<void()>& plain,
                 double (*now)() = ThreadSeconds);

}   // namespace troupe::internal
