// Where user code and batch steps run: a pool of its own threads, so that shards, timers and links are never stuck behind a long step.
#pragma once

#include <functional>

namespace troupe {

class Compute {
 public:
  /// kStep before kPrepare: what a waiting actor needs now goes before what it will need next.
  enum class Priority : unsigned char { kStep, kPrepare };

  virtual ~Compute() = default;
  /// Runs `work` once on some thread of the pool; it must not block on actors. A job that ends by delivering a message to an actor (System::Deliver)
  /// lets that actor run on the same thread at once, with no wake-up.
  virtual void Submit(Priority priority, std::function<void()> work) = 0;
  virtual int threads() const = 0;
};

}   // namespace troupe
