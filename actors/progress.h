// The network's work, done by threads that have to wait for it anyway, so that neither a request nor its answer changes threads ("progress" in MPI and UCX).
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/functional/function_ref.h"

namespace troupe {

/// Of one network. It may outlive that, when there is nothing to do, but not the System that the network was for.
class Progress {
 public:
  using Time = std::chrono::steady_clock::time_point;
  virtual ~Progress() = default;

  /// Calls `calls` once, before it returns. What these ask of the network has been sent by then, by this thread, where no other one is at work there; else it
  /// is handed over as ever. For what is quick: meanwhile the network does nothing else.
  virtual void Run(absl::FunctionRef<void()> calls) = 0;
  /// Sends, receives, and calls handlers and replies, until `over()`, which is asked between two events and after each Wake, or until `end`. Returns early
  /// where another thread is at it, or the network stops.
  virtual void Until(absl::FunctionRef<bool()> over, Time end) = 0;
  /// A thread in Until asks its `over()` again. Any thread.
  virtual void Wake() = 0;
};

/// A condition variable whose waiters do the network's work meanwhile. They are no actors.
class ProgressCondition {
 public:
  /// Null, or at its end: there is nothing that they could do.
  explicit ProgressCondition(std::weak_ptr<Progress> progress) : progress_(std::move(progress)) {}

  /// False: `over()`, which is called with the lock, has not been true until `end`.
  template <class Over>
  bool WaitUntil(std::unique_lock<std::mutex>& lock, Progress::Time end, Over&& over) {
    const std::shared_ptr<Progress> progress = over() ? nullptr : progress_.lock();
    if (progress != nullptr) {
      ++helping_;
      lock.unlock();
      const auto over_now = [&] {
        const std::lock_guard held(*lock.mutex());
        return over();
      };
      progress->Until(over_now, end);
      lock.lock();
      --helping_;
    }
    return changed_.wait_until(lock, end, over);
  }
  /// With the lock that waiters wait with.
  void NotifyAll() {
    changed_.notify_all();
    if (helping_ == 0) return;
    if (const auto progress = progress_.lock()) progress->Wake();
  }

 private:
  const std::weak_ptr<Progress> progress_;
  std::condition_variable changed_;
  int helping_ = 0;   // waiters in Until
};

}   // namespace troupe
