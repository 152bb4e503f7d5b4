// One request from a thread that is no actor (main, a test), which waits for the reply. Never inside an actor or a compute job: they must not block.
#pragma once

#include <chrono>
#include <utility>

#include "absl/status/statusor.h"
#include "actors/caf_status.h"
#include "actors/system.h"
#include "caf/scoped_actor.hpp"

namespace troupe {

/// Reply must be what `actor` answers to such a request. Errors: the actor's own; Unavailable: it has ended; DeadlineExceeded: no reply within `timeout`.
template <class Reply, class Handle, class Request>
absl::StatusOr<Reply> Ask(System& system, const Handle& actor, Request request, std::chrono::milliseconds timeout = std::chrono::seconds(10)) {
  absl::StatusOr<Reply> result = absl::UnknownError("no reply");
  caf::scoped_actor self{system.actors()};
  self->request(actor, timeout, std::move(request))
      .receive([&result](Reply& reply) { result = std::move(reply); }, [&result](const caf::error& error) { result = FromError(error); });
  return result;
}

}   // namespace troupe
