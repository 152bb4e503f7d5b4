// A request whose reply is looked at when the test has let the actors run: Ask() for one thread and virtual time, where nothing may wait.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "actors/caf_status.h"
#include "actors/system.h"
#include "caf/event_based_actor.hpp"

namespace troupe::testing {

/// Empty until there is a reply or an error.
template <class Reply>
using Later = std::shared_ptr<std::optional<absl::StatusOr<Reply>>>;

template <class Reply, class Handle, class Request>
Later<Reply> AskLater(System& system, const Handle& actor, Request request) {
  auto later = std::make_shared<std::optional<absl::StatusOr<Reply>>>();
  system.actors().spawn<caf::hidden>([later, actor, request = std::move(request)](caf::event_based_actor* self) {
    self->request(actor, caf::infinite, request)
        .then([later](const Reply& reply) { *later = reply; }, [later](const caf::error& error) { *later = FromError(error); });
  });
  return later;
}

}   // namespace troupe::testing
