// Children that end when a test says so, and their supervisor, with a log of who was started, stopped, started again.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "actors/supervisor_actor.h"
#include "caf/event_based_actor.hpp"
#include "caf/exit_reason.hpp"
#include "caf/send.hpp"
#include "tests/support/virtual_system.h"

namespace troupe::testing {

/// Ends with the reason that it is sent.
inline caf::behavior Child(caf::event_based_actor* self) {
  return {[self](caf::exit_reason reason) { self->quit(reason); }};
}

/// Notes that it was asked to stop, and ends only when it is told to.
inline caf::behavior Reluctant(caf::event_based_actor* self, std::function<void()> asked) {
  self->set_exit_handler([asked](const caf::exit_msg&) { asked(); });
  return {[self](caf::exit_reason reason) { self->quit(reason); }};
}

/// A supervisor in virtual time over children that note what happens to them.
struct SupervisedChildren : VirtualSystem {
  std::string log;                         // "+a" started, "!a" could not be started, "-a" ended, "?a" asked to stop, "again a" and "over" as told
  std::map<std::string, int> failures;     // starts that will fail
  std::map<std::string, caf::actor> now;   // the latest of each
  std::string reason;
  caf::actor supervisor;
  bool over = false;   // the supervisor has ended

  SupervisedChild Make(const std::string& id, Restart restart = Restart::kPermanent, bool reluctant = false) {
    return {.spec = {.id = id, .restart = restart}, .start = [this, id, reluctant]() -> absl::StatusOr<caf::actor> {
              if (failures[id] > 0) {
                --failures[id];
                Note("!" + id);
                return absl::UnavailableError("cannot");
              }
              Note("+" + id);
              const std::function<void()> asked = [this, id] { Note("?" + id); };
              caf::actor child = reluctant ? system().actors().spawn(Reluctant, asked) : system().actors().spawn(Child);
              child->attach_functor([this, id](const caf::error&) { Note("-" + id); });
              return now[id] = child;
            }};
  }
  void Start(RestartOptions options, std::vector<SupervisedChild> children) {
    supervisor = SpawnSupervisor(system(), options, std::move(children),
                                 {.restarted = [this](const std::string& id) { Note("again " + id); },
                                  .gave_up =
                                      [this](const std::string& why) {
                                        Note("over");
                                        reason = why;
                                      }});
    supervisor->attach_functor([this](const caf::error&) { over = true; });
    Settle();
  }
  void Start(Strategy strategy) { Start({.strategy = strategy}, {Make("a"), Make("b"), Make("c")}); }
  void End(const std::string& id, caf::exit_reason how = caf::exit_reason::unhandled_exception) {
    caf::anon_send(now.at(id), how);
    Advance(Duration(0));
  }
  void Stop(caf::exit_reason how = caf::exit_reason::user_shutdown) {
    caf::anon_send_exit(supervisor, how);
    Settle();
  }
  void Note(const std::string& what) { log += (log.empty() ? "" : ", ") + what; }
  /// What has happened since the last call.
  std::string News() { return std::exchange(log, {}); }
  ~SupervisedChildren() {
    Stop(caf::exit_reason::kill);
    for (const auto& [id, child] : now) caf::anon_send_exit(child, caf::exit_reason::kill);
    Settle();
  }
};

}   // namespace troupe::testing
