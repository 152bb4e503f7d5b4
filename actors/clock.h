// Time, passed in: a steady clock for delays and time-outs, the wall's for people. The simulation and tests move a clock by hand.
#pragma once

#include <atomic>
#include <chrono>

#include "actors/check.h"

namespace troupe {

/// Thread-safe.
class Clock {
 public:
  using Duration = std::chrono::nanoseconds;
  using Time = std::chrono::time_point<std::chrono::steady_clock, Duration>;
  using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

  virtual ~Clock() = default;
  /// Never goes back. Its zero means nothing.
  virtual Time Now() const = 0;
  /// Since 1970, UTC. May jump.
  virtual WallTime WallNow() const = 0;
};

class RealClock final : public Clock {
 public:
  Time Now() const override { return std::chrono::steady_clock::now(); }
  WallTime WallNow() const override { return std::chrono::system_clock::now(); }
};

/// Stands still until it is moved.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(WallTime wall_start = WallTime{}) : wall_start_(wall_start) {}
  Time Now() const override { return Time(Duration(passed_.load())); }
  WallTime WallNow() const override { return wall_start_ + Duration(passed_.load()); }
  /// `by` >= 0.
  void Advance(Duration by) {
    TROUPE_CHECK(by.count() >= 0);
    passed_ += by.count();
  }

 private:
  const WallTime wall_start_;
  std::atomic<Duration::rep> passed_{0};
};

}   // namespace troupe
