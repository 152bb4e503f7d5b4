// The orderly end of actors whose system goes on, or is about to be taken down under them.
#pragma once

#include <vector>

#include "actors/system.h"

namespace troupe {

/// Ends the actors and waits until they have ended: none of them uses the system's network or pool any more. Not to be called by an actor, nor in a simulation.
void StopAndWait(System& system, const std::vector<caf::actor>& actors);

template <class Handle>
void StopAndWait(System& system, const std::vector<Handle>& handles) {
  std::vector<caf::actor> actors;
  for (const Handle& handle : handles) actors.push_back(caf::actor_cast<caf::actor>(handle));
  StopAndWait(system, actors);
}

}   // namespace troupe
