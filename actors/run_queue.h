// Lets a thread that is not CAF's (the link thread, a compute thread) run the actors that its own messages wake, at once and without a switch of threads.
#pragma once

#include <deque>

#include "caf/execution_unit.hpp"
#include "caf/resumable.hpp"

namespace troupe {

/// One a thread. While it is the thread's current queue, System::Deliver and every message sent by an actor that runs in it hand woken actors to it.
/// Only light actors are woken this way: user code runs in Compute jobs, never in a message handler.
class RunQueue final : public caf::execution_unit {
 public:
  explicit RunQueue(caf::actor_system* system) : caf::execution_unit(system) {}
  void exec_later(caf::resumable* job) override { jobs_.push_back(job); }
  /// Runs woken actors until none is left.
  void Drain();
  /// Gives what is left to CAF's scheduler, before the thread ends.
  void HandOver();

  /// The calling thread's, or nullptr: then woken actors go to CAF's scheduler.
  static RunQueue* Current();
  void MakeCurrent();
  static void ClearCurrent();

 private:
  std::deque<caf::resumable*> jobs_;
};

}   // namespace troupe
