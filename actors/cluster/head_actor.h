// The head of a cluster as an actor: answers wait until what they say is kept, and questions that ask for news wait until there is some.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "actors/cluster/head.h"
#include "actors/cluster/messages.h"
#include "actors/log.h"
#include "actors/system.h"

namespace troupe {

struct HeadActorOptions {
  HeadOptions head;
  std::shared_ptr<Store> store;
  uint64_t generation = 0;      ///< that `store` has given this head (Store::Campaign)
  std::string program_folder;   ///< where programs lie, by their hash
  const Clock* clock = nullptr;
  const Log* log = nullptr;   ///< may be null
  /// Called once, in the actor's context: another head has taken over or may have, or the store cannot be written any more. The actor answers nothing any more.
  std::function<void(const absl::Status&)> ended;
};

/// Reads what the head before kept, and begins. Needs a system with a network: outputs are read from nodes. Errors: the store's.
absl::StatusOr<HeadActor> SpawnHead(System& system, HeadActorOptions options);

}   // namespace troupe
