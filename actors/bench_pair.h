// Two processes of a benchmark on one processor each. Left to itself the system puts a blocking pair now on one processor and now on two, which differ tenfold
// in time; a worker and a shard have one each.
#pragma once

#include <sched.h>

#include <algorithm>
#include <optional>

namespace troupe {

class PinnedHere {
 public:
  /// The calling thread, and those that it starts, on the `which`th and no other of the processors that this process may use.
  void Pin(int which) {
    cpu_set_t allowed, one;
    CPU_ZERO(&allowed);
    CPU_ZERO(&one);
    ::sched_getaffinity(0, sizeof allowed, &allowed);
    which %= std::max(CPU_COUNT(&allowed), 1);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &allowed) && which-- == 0) CPU_SET(cpu, &one);
    }
    ::sched_setaffinity(0, sizeof one, &one);
    before_ = allowed;
  }
  /// As it was before.
  ~PinnedHere() {
    if (before_) ::sched_setaffinity(0, sizeof *before_, &*before_);
  }

 private:
  std::optional<cpu_set_t> before_;
};

}   // namespace troupe
