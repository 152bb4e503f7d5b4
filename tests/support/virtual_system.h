// One System in one thread and in virtual time, for a test of a single actor: messages in the order of their arrival, a clock that the test moves.
#pragma once

#include <algorithm>
#include <chrono>

#include "actors/system.h"
#include "caf/scheduler/test_coordinator.hpp"

namespace troupe::testing {

class VirtualSystem {
 public:
  using Duration = std::chrono::milliseconds;

  ~VirtualSystem() {
    while (scheduler_.try_run_once() || scheduler_.trigger_timeout()) {   // else shut-down hangs
    }
  }
  System& system() { return system_; }
  /// Does all that can be done now.
  void Settle() {
    while (scheduler_.try_run_once()) {
    }
  }
  /// Lets `time` pass, every timer in its turn.
  void Advance(Duration time) {
    auto& clock = scheduler_.clock();
    const auto end = clock.current_time + time;
    Settle();
    while (!clock.schedule().empty() && clock.schedule().begin()->first <= end) {
      clock.trigger_timeout();
      Settle();
    }
    clock.current_time = std::max(clock.current_time, end);
  }
  /// The process has stood still for `time`: all timers that are due meanwhile fire before anything is done.
  void Jump(Duration time) {
    scheduler_.clock().advance_time(time);
    Settle();
  }
  /// Virtual time since the start.
  Duration passed() { return std::chrono::duration_cast<Duration>(scheduler_.clock().current_time - start_); }

 private:
  System system_{{.compute_threads = 0, .simulated = true}};
  caf::scheduler::test_coordinator& scheduler_ = dynamic_cast<caf::scheduler::test_coordinator&>(system_.actors().scheduler());
  const caf::actor_clock::time_point start_ = scheduler_.clock().current_time;
};

}   // namespace troupe::testing
