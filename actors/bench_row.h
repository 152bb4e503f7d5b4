// One line of `troupe bench`: what was measured, and the machine's own limit for the same work, taken in the same run.
#pragma once

#include <string>

namespace troupe {

struct BenchRow {
  std::string name;
  double value;       // measured
  std::string unit;   // of value and limit
  double limit;       // value, the machine's own limit in the same run
  double ratio;       // 1 = at the limit, more is better
};

}   // namespace troupe
