// What whoever is left as the only owner of a counted object owes before writing to it.
#pragma once

#include <atomic>
#include <memory>

namespace troupe::internal {

/// After use_count() has said 1: whatever other threads did with the object before they let go of it comes before what follows.
template <class Object>
void AfterOthers([[maybe_unused]] const std::shared_ptr<Object>& owner) {
#ifdef __SANITIZE_THREAD__   // which knows no fences: to take and drop one more reference says the same
  const std::shared_ptr<Object> another = owner;
#else
  std::atomic_thread_fence(std::memory_order_acquire);
#endif
}

}   // namespace troupe::internal
