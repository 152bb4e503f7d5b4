// The end of a process whose invariant broke.
#include "actors/check.h"

#include <cstdio>
#include <cstdlib>

namespace troupe {

void CheckFailed(const char* file, int line, const char* expression) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, expression);
  std::abort();
}

}   // namespace troupe
