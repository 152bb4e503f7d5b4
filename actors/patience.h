// How long failures may go on before they are final. That whoever counts has stood still itself (Ctrl-Z, a machine that was paused) says nothing of the others.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace troupe {

class Patience {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Another failure. True: since the first one more than `limit` has passed, of which between two of them at most a quarter of `limit` counts.
  bool IsOver(Time now, Time::duration limit) {
    if (last_) passed_ += std::min(now - *last_, limit / 4);
    last_ = now;
    return passed_ > limit;
  }
  /// It works again.
  void Reset() { *this = {}; }

 private:
  std::optional<Time> last_;   // failure
  Time::duration passed_{0};
};

}   // namespace troupe
