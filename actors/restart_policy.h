// What a supervisor does when a child ends, in OTP's words (Erlang/OTP, "Supervisor Behaviour"). Pure: no actors, no clock; time is passed in.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "actors/clock.h"

namespace troupe {

/// When a child that ended is started again: always; unless it ended normally; never.
enum class Restart : uint8_t { kPermanent, kTransient, kTemporary };

/// Who is started again with it: nobody; all children; those that were started after it.
enum class Strategy : uint8_t { kOneForOne, kOneForAll, kRestForOne };

struct ChildSpec {
  std::string id;
  Restart restart = Restart::kPermanent;
};

struct RestartOptions {
  Strategy strategy = Strategy::kOneForOne;
  /// At most `intensity` restarts within any `period`; one more and the supervisor gives up. The restart of a group counts once.
  uint32_t intensity = 20;
  Clock::Duration period = std::chrono::seconds(60);
  /// A child's n-th quick restart waits delay * 2^(n-1), at most delay_max.
  Clock::Duration delay = std::chrono::milliseconds(100);
  Clock::Duration delay_max = std::chrono::seconds(10);
  /// The first restart does not wait; the second waits `delay`, the third twice as long...
  bool first_at_once = true;
  /// A restart is quick, unless the child has lived that long since the one before.
  Clock::Duration calm = std::chrono::seconds(30);
};

struct Decision {
  enum class Action : uint8_t { kIgnore, kRestart, kEscalate };
  Action action = Action::kIgnore;
  /// The running children to stop now, the last started first (kRestart, kEscalate).
  std::vector<std::string> stop = {};
  /// The children to start, in this order, `delay` after those of `stop` have ended (kRestart).
  std::vector<std::string> start = {};
  Clock::Duration delay{};
  /// Why it gives up, one line (kEscalate).
  std::string reason = {};
};

/// The children of one supervisor, in start order. Not thread-safe: its actor owns it.
class RestartPolicy {
 public:
  explicit RestartPolicy(RestartOptions options) : options_(options) {}

  /// A child that is being started for the first time, after all that are there. AlreadyExists: the id is in use.
  absl::Status Add(ChildSpec spec);
  /// The child was stopped for good. Unknown: fine.
  void Remove(std::string_view id);

  /// A child ended by itself, `normal`ly or not, or could not be started. Ends that a Decision asked for (`stop`) are not reported.
  /// A temporary child that has ended, or was stopped with its group, is forgotten; a transient one that ended normally is started again with its group.
  /// Cost O(children). An unknown id is ignored.
  Decision OnExit(std::string_view id, bool normal, Clock::Time now);

  /// Is it one of the children (a temporary one that ended, or was stopped with its group, is not)?
  bool Knows(std::string_view id) const;

  /// How often OnExit said kRestart.
  uint64_t restarts() const { return restarts_; }

 private:
  struct Child {
    ChildSpec spec;
    bool running = true;
    uint32_t quick_restarts = 0;   // in a row
    Clock::Time alive_since{};     // when its last restart was due
  };

  Clock::Duration NextDelay(Child& child, Clock::Time now) const;
  std::vector<std::string> Running(size_t first) const;

  RestartOptions options_;
  std::vector<Child> children_;
  std::deque<Clock::Time> recent_;   // Invariant: rising, all within `period` of the last exit that asked for a restart, at most `intensity`.
  uint64_t restarts_ = 0;
};

}   // namespace troupe
