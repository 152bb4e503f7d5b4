// TROUPE_CHECK: an invariant of ours. Always on; a broken one ends the process with the place, and the supervisor above decides what happens next.
#pragma once

namespace troupe {
/// Prints "FILE:LINE: check failed: EXPRESSION" to stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* expression);
}   // namespace troupe

#define TROUPE_CHECK(condition)                              \
  do {                                                       \
    if (!(condition)) [[unlikely]]                           \
      ::troupe::CheckFailed(__FILE__, __LINE__, #condition); \
  } while (false)
