// One request to many actors, all replies together: what CAF 0.17 has no fan_out_request for. A target that does not answer is asked again until patience ends.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "actors/caf_status.h"
#include "actors/patience.h"
#include "actors/system.h"
#include "caf/event_based_actor.hpp"
#include "caf/sec.hpp"

namespace troupe {

struct GatherOptions {
  /// Between two attempts at a target that could not answer (Unavailable, DeadlineExceeded, Cancelled).
  std::chrono::milliseconds retry{20};
  /// Such a target's last error is final when it has not answered for this long.
  std::chrono::milliseconds patience{120'000};
  /// A target that says nothing at all for this long is asked once more, because the process that asks may have stood still itself (Ctrl-Z), and given up
  /// when as much has passed again. Longer than any request's time-out of its own.
  std::chrono::milliseconds silence{120'000};
};

/// Sends make(i) to targets[i]. Returns at once, with what asks them: to be stopped (System::Stop) by whoever does not want the answers any more. `done` is
/// called once, in some actor's context: all replies in the targets' order, or the first final error.
template <class Reply, class Handle, class Make>
caf::actor Gather(System& system, std::vector<Handle> targets, Make make, GatherOptions options, std::function<void(absl::StatusOr<std::vector<Reply>>)> done) {
  struct State {
    std::vector<Handle> targets;
    Make make;
    GatherOptions options;
    std::function<void(absl::StatusOr<std::vector<Reply>>)> done;
    std::vector<std::optional<Reply>> replies;
    std::vector<Patience> failing;
    std::vector<bool> asked_again;   // after silence
    size_t open;
    bool over = false;
    std::function<void(size_t)> ask;
  };
  auto state = std::make_shared<State>(State{std::move(targets), std::move(make), options, std::move(done), {}, {}, {}, 0, false, {}});
  state->open = state->targets.size();
  state->replies.resize(state->open);
  state->failing.resize(state->open);
  state->asked_again.resize(state->open);
  if (state->open == 0) {
    state->done(std::vector<Reply>());
    return {};
  }
  return system.actors().spawn<caf::hidden>([state](caf::event_based_actor* self) -> caf::behavior {
    // Only what is under way (a request's handlers, a retry) holds the state: an abandoned gatherer must not keep itself.
    const std::weak_ptr<State> weak = state;
    const auto finish = [self, weak](absl::StatusOr<std::vector<Reply>> result) {
      const std::shared_ptr<State> state = weak.lock();
      if (state == nullptr || std::exchange(state->over, true)) return;
      state->done(std::move(result));
      state->ask = nullptr;
      self->quit();
    };
    state->ask = [self, weak, finish](size_t i) {
      const std::shared_ptr<State> state = weak.lock();
      if (state == nullptr) return;
      self->request(state->targets[i], state->options.silence, state->make(i))
          .then(
              [state, finish, i](const Reply& reply) {
                if (state->over) return;
                state->replies[i] = reply;
                if (--state->open > 0) return;
                std::vector<Reply> replies;
                for (auto& r : state->replies) replies.push_back(*r);
                finish(std::move(replies));
              },
              [self, state, finish, i](const caf::error& error) {
                if (state->over) return;
                const absl::Status status = FromError(error);
                const bool over = state->failing[i].IsOver(self->clock().now(), state->options.patience);
                const bool said_nothing = error == caf::sec::request_timeout;
                if (said_nothing && !state->asked_again[i]) {
                  state->asked_again[i] = true;
                  auto ask = state->ask;
                  return ask(i);
                }
                if (said_nothing || !IsRetryable(status) || over) {
                  finish(status);
                  return;
                }
                self->delayed_send(self, state->options.retry, Thunk{[state, i] {
                                     if (state->over || !state->ask) return;
                                     auto ask = state->ask;
                                     ask(i);
                                   }});
              });
    };
    for (size_t i = 0; i < state->targets.size(); ++i) state->ask(i);
    return {[](const Thunk& thunk) { thunk.run(); }};
  });
}

}   // namespace troupe
