#include "actors/stop_actors.h"

#include "caf/scoped_actor.hpp"

namespace troupe {

void StopAndWait(System& system, const std::vector<caf::actor>& actors) {
  for (const caf::actor& actor : actors) system.Stop(actor);
  caf::scoped_actor self{system.actors()};
  self->wait_for(actors);
}

}   // namespace troupe
