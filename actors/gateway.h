// The actor that asks others of its process for what requests from the network want, so that these need no actor each. One for each System.
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "caf/event_based_actor.hpp"

namespace troupe {

class Gateway final : public caf::event_based_actor {
 public:
  /// Who does not answer within this time (it may have ended with the promise) will not.
  static constexpr std::chrono::minutes kAnswerMax{10};

  explicit Gateway(caf::actor_config& config) : caf::event_based_actor(config) {}

  /// In this actor's context. One of the two is called, once: `failed` also where there is no answer, a minute after kAnswerMax at the latest.
  template <class Reply, class Handle, class Request, class Answered, class Failed>
  void Ask(const Handle& actor, Request&& request, Answered answered, Failed failed) {
    const auto asked = this->request(actor, caf::infinite, std::forward<Request>(request));
    const uint64_t number = asked.id().integer_value();
    Began(number);
    asked.then(
        [this, number, answered = std::move(answered)](const Reply& reply) {
          open_.erase(number);
          answered(reply);
        },
        [this, number, failed = std::move(failed)](const caf::error& error) {
          open_.erase(number);
          failed(error);
        });
  }

 private:
  caf::behavior make_behavior() override;
  void Began(uint64_t number);
  void EndOverdue();

  // Not CAF's own time-outs: each of these wakes the thread of CAF's clock, and is kept there until its time is over, whether there was an answer or not.
  absl::flat_hash_map<uint64_t, caf::actor_clock::time_point> open_;   // requests, since when
  bool looking_ = false;
};

}   // namespace troupe
