#include "actors/compute_pool.h"

#include <array>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "actors/run_queue.h"

namespace troupe {
namespace {

class ComputePool final : public Compute {
 public:
  ComputePool(caf::actor_system& system, int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this, &system] { Loop(system); });
  }
  ~ComputePool() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void Submit(Priority priority, std::function<void()> work) override {
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
      queues_[static_cast<size_t>(priority)].push_back(std::move(work));
      if (idle_ == 0) return;   // a busy thread looks again before it sleeps
    }
    wake_.notify_one();
  }

  int threads() const override { return static_cast<int>(threads_.size()); }

 private:
  void Loop(caf::actor_system& system) {
    RunQueue actors(&system);
    actors.MakeCurrent();
    while (auto work = Next()) {
      work();
      work = nullptr;   // what it holds is released before the actors that it woke run
      actors.Drain();
    }
    actors.HandOver();
    RunQueue::ClearCurrent();
  }

  std::function<void()> Next() {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (stopping_) return nullptr;
      for (auto& queue : queues_) {
        if (queue.empty()) continue;
        std::function<void()> work = std::move(queue.front());
        queue.pop_front();
        return work;
      }
      ++idle_;
      wake_.wait(lock);
      --idle_;
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::array<std::deque<std::function<void()>>, 2> queues_;   // by priority
  int idle_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}   // namespace

std::unique_ptr<Compute> MakeComputePool(caf::actor_system& system, int threads) {
  return std::make_unique<ComputePool>(system, threads);
}

}   // namespace troupe
