#include "actors/spawner_actor.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "caf/stateful_actor.hpp"

namespace troupe {

namespace {

struct SpawnerState {
  static inline const char* name = "spawner";
  std::set<ActorId> made;
};

}   // namespace

SpawnerActor StartSpawner(System& system) {
  caf::actor spawner = system.actors().spawn<caf::hidden>([&system](caf::stateful_actor<SpawnerState>* self) -> caf::behavior {
    return {[self, &system](const Spawn& spawn) -> caf::result<Spawned> {
      if (self->state.made.contains(spawn.actor)) return Spawned{};
      const auto factory = system.factories().find(spawn.factory);
      if (factory == system.factories().end()) return ToError(absl::NotFoundError(absl::StrCat("unknown factory '", spawn.factory, "'")));
      if (absl::Status status = factory->second(system, spawn.actor, spawn.arguments); !status.ok()) return ToError(status);
      self->state.made.insert(spawn.actor);
      return Spawned{};
    }};
  });
  auto handle = caf::actor_cast<SpawnerActor>(spawner);
  Expose(system, kSpawner, handle);
  return handle;
}

}   // namespace troupe
