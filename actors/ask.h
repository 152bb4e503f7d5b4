// One request from a thread that is no actor (main, a test), which waits for the reply. Never inside an actor or a compute job: they must not block.
#pragma once

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "actors/caf_status.h"
#include "actors/system.h"
#include "caf/event_based_actor.hpp"
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

/// As Ask, but ends within 20 ms when `cancelled`, which may be null, is true: Cancelled. A reply that comes later is dropped.
template <class Reply, class Handle, class Request>
absl::StatusOr<Reply> AskUnless(System& system, const Handle& actor, Request request, std::chrono::milliseconds timeout, const std::atomic<bool>* cancelled) {
  if (cancelled == nullptr) return Ask<Reply>(system, actor, std::move(request), timeout);
  auto result = std::make_shared<std::promise<absl::StatusOr<Reply>>>();
  std::future<absl::StatusOr<Reply>> future = result->get_future();
  system.actors().spawn<caf::hidden>([result, actor, request = std::move(request), timeout](caf::event_based_actor* self) {
    self->request(actor, timeout, request)
        .then([result](const Reply& reply) { result->set_value(reply); }, [result](const caf::error& error) { result->set_value(FromError(error)); });
  });
  while (future.wait_for(std::chrono::milliseconds(20)) != std::future_status::ready) {
    if (*cancelled) return absl::CancelledError("cancelled");
  }
  return future.get();
}

}   // namespace troupe
