#include "actors/spawner_actor.h"

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "caf/stateful_actor.hpp"

namespace troupe {

namespace {

struct SpawnerState {
  static inline const char* name = "spawner";
  std::set<ActorId> made;
  std::map<ActorId, std::vector<caf::response_promise>> making;
};
using Self = caf::stateful_actor<SpawnerState>;

void OnMade(Self* self, ActorId actor, const absl::Status& status) {
  if (status.ok()) self->state.made.insert(actor);
  for (caf::response_promise& promise : std::exchange(self->state.making[actor], {})) {
    status.ok() ? promise.deliver(Spawned{}) : promise.deliver(ToError(status));
  }
  self->state.making.erase(actor);
}

}   // namespace

SpawnerActor StartSpawner(System& system) {
  caf::actor spawner = system.actors().spawn<caf::hidden>([&system](Self* self) -> caf::behavior {
    return {[self, &system](const Spawn& spawn) -> caf::result<Spawned> {
              if (self->state.made.contains(spawn.actor)) return Spawned{};
              const auto factory = system.factories().find(spawn.factory);
              if (factory == system.factories().end()) return ToError(absl::NotFoundError(absl::StrCat("unknown factory '", spawn.factory, "'")));
              caf::response_promise promise = self->make_response_promise();
              const auto [making, first] = self->state.making.try_emplace(spawn.actor);
              making->second.push_back(promise);
              if (!first) return promise;
              // By a compute job: it may read a large state, and this process must be heard meanwhile.
              system.compute().Submit(Compute::Priority::kStep, [&system, self, me = caf::actor(self), make = factory->second, spawn] {
                const absl::Status status = make(system, spawn.actor, spawn.arguments);
                System::Deliver(me, Thunk{[self, actor = spawn.actor, status] { OnMade(self, actor, status); }});
              });
              return promise;
            },
            [](const Thunk& thunk) { thunk.run(); }};
  });
  auto handle = caf::actor_cast<SpawnerActor>(spawner);
  Expose(system, kSpawner, handle);
  return handle;
}

}   // namespace troupe
