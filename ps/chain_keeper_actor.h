// Keeps the chains of a job's shards (chain_view.h): tells their members, and whoever uses them, and hears when somebody has joined. Of the job's driver, whose
// word counts alone.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "actors/system.h"
#include "ps/chain_view.h"

namespace troupe {

struct ChainKeepersOptions {
  uint32_t shards = 1;
  /// Epochs are higher than this: those of whoever kept these chains before, and left files.
  uint64_t epochs_after = 0;
  std::chrono::milliseconds request_timeout{10'000};
  std::chrono::milliseconds retry{20};
  /// Called in the actor's context: a chain's route has changed.
  std::function<void(const ChainRoute&)> routed;
  /// The same; may be empty: a chain is another one.
  std::function<void(uint32_t shard, const ChainView&)> changed = nullptr;
  /// The same: a chain cannot be: its first state cannot be read, say. May come more than once.
  std::function<void(const absl::Status&)> failed;
  /// Every change of a chain in words; may be empty.
  std::function<void(const std::string&)> log;
};

class ChainKeepers {
 public:
  ChainKeepers(System& system, ChainKeepersOptions options);
  /// Ends the actor, which may still be calling; whoever is called waits for its end before (StopAndWait, actor()).
  ~ChainKeepers();
  ChainKeepers(const ChainKeepers&) = delete;
  ChainKeepers& operator=(const ChainKeepers&) = delete;

  /// As in ChainKeeper, of the chain of shard `shard`. From any thread.
  void Ready(uint32_t shard, const ChainMember& process);
  void Gone(uint32_t shard, const ChainMember& process);
  void Lost(uint32_t shard, const ChainMember& process);
  /// `answer` is called in the actor's context.
  void Grant(uint32_t shard, const ChainMember& process, std::chrono::milliseconds lease, std::function<void(bool granted)> answer);
  /// The process uses the shards (ServeRoutes): it is told of all routes until it has ended (Forget).
  void Listen(const ChainMember& client);
  void Forget(const ChainMember& client);
  const caf::actor& actor() const { return actor_; }

 private:
  caf::actor actor_;
  struct State;
  std::shared_ptr<State> state_;
  System& system_;
};

}   // namespace troupe
