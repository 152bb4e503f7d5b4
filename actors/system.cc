#include "actors/system.h"

#include <atomic>

#include "actors/compute_pool.h"
#include "actors/gateway.h"
#include "caf/send.hpp"

namespace troupe {
namespace {

std::atomic<uint64_t> systems_made = 0;

}   // namespace

System::System(Options options) : options_(options), number_(++systems_made), storage_(MakeStorage()) {
  config_.set("scheduler.policy", options.simulated ? caf::atom("testing") : caf::atom("sharing"));   // sharing wakes up about 3x faster than stealing
  config_.set("scheduler.max-threads", size_t{1});   // light actors run where their messages come from; this one serves timers
  actors_ = std::make_unique<caf::actor_system>(config_);
  gateway_ = actors_->spawn<Gateway, caf::hidden>();
  if (!options.simulated) compute_ = MakeComputePool(*actors_, options.compute_threads);
}

System::~System() {
  network_ = nullptr;
  compute_ = nullptr;
  caf::anon_send_exit(gateway_, caf::exit_reason::kill);
  gateway_ = nullptr;
}

void System::SetNetwork(std::unique_ptr<Network> network) {
  network_ = std::move(network);
}

void System::StopActor(const caf::actor& actor) {
  caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);   // kill would go past what the actor wants to do in the end
}

void System::RunOnLink(const std::function<void()>& callback) {
  thread_local std::pair<uint64_t, std::unique_ptr<RunQueue>> queue;   // of the system that it was for last
  if (queue.first != number_) {
    queue.second = std::make_unique<RunQueue>(actors_.get());
    queue.first = number_;
  }
  RunQueue* outer = RunQueue::Current();
  queue.second->MakeCurrent();
  callback();
  queue.second->Drain();
  if (outer != nullptr) {
    outer->MakeCurrent();
  } else {
    RunQueue::ClearCurrent();
  }
}

}   // namespace troupe
