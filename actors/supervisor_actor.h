// A supervisor: starts children in order, watches them, and when one ends does what its RestartPolicy says.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/restart_policy.h"
#include "actors/system.h"
#include "caf/actor.hpp"

namespace troupe {

struct SupervisedChild {
  ChildSpec spec;
  /// Starts the child, or its replacement. The supervisor holds the handle: as long as it does, the child lives. An error counts as an end.
  std::function<absl::StatusOr<caf::actor>()> start;
  /// May be empty. It has ended: was it to, so that another one takes its place? Then that is started at once, and counts as no restart.
  std::function<bool()> planned = nullptr;
};

/// Called in the supervisor's context.
struct SupervisorEvents {
  std::function<void(const std::string& child)> restarted;
  /// Intensity is used up: all children have been stopped, and the supervisor ends.
  std::function<void(const std::string& reason)> gave_up;
};

/// Ends when it is sent an exit that can be handled (System::Stop; not kill): first its children, one after the other, the last started first. One that takes
/// more than 5 s is killed.
caf::actor SpawnSupervisor(System& system, RestartOptions options, std::vector<SupervisedChild> children, SupervisorEvents events);

}   // namespace troupe
