#include "actors/run_queue.h"

#include "caf/actor_system.hpp"
#include "caf/scheduler/abstract_coordinator.hpp"

namespace troupe {
namespace {
thread_local RunQueue* current = nullptr;
constexpr size_t kMessagesAtOnce = 300;   // before the next actor gets its turn
}   // namespace

RunQueue* RunQueue::Current() {
  return current;
}
void RunQueue::MakeCurrent() {
  current = this;
}
void RunQueue::ClearCurrent() {
  current = nullptr;
}

void RunQueue::Drain() {
  while (!jobs_.empty()) {
    caf::resumable* job = jobs_.front();
    jobs_.pop_front();
    switch (job->resume(this, kMessagesAtOnce)) {
      case caf::resumable::resume_later:
        jobs_.push_back(job);
        break;
      case caf::resumable::done:
      case caf::resumable::awaiting_message:
        caf::intrusive_ptr_release(job);
        break;
      case caf::resumable::shutdown_execution_unit:
        return;
    }
  }
}

void RunQueue::HandOver() {
  while (!jobs_.empty()) {
    system().scheduler().enqueue(jobs_.front());
    jobs_.pop_front();
  }
}

}   // namespace troupe
