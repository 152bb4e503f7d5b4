#include "actors/supervisor_actor.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "actors/text.h"
#include "caf/event_based_actor.hpp"
#include "caf/stateful_actor.hpp"

namespace troupe {
namespace {

struct StartGroup {
  uint64_t number;
};
/// A child that was asked to end has had long enough.
struct StopLimit {
  caf::actor child;
};

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::StartGroup)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::StopLimit)

namespace troupe {
namespace {

/// Children to start, in this order, when `stops` have ended and then `delay` has passed.
struct Group {
  std::vector<std::string> ids;
  Clock::Duration delay;
  size_t stops;
};

struct SupervisorState {
  static inline const char* name = "supervisor";
  std::vector<SupervisedChild> children;
  SupervisorEvents events;
  std::optional<RestartPolicy> policy;
  std::map<std::string, caf::actor> running;
  std::set<caf::actor_addr> stopping;   // their ends were asked for
  std::map<uint64_t, Group> groups;     // Invariant: an id is in one at most
  uint64_t last_group = 0;
  std::optional<std::vector<std::string>> ending;   // children to stop, the last one next: nobody is started any more
  std::string gave_up;                              // why
};
using Self = caf::stateful_actor<SupervisorState>;

/// A child that has not ended by then is killed.
constexpr std::chrono::seconds kStopMax{5};

void Decide(Self* self, const std::string& id, bool normal);

Clock::Time Now(Self* self) {
  return Clock::Time(std::chrono::duration_cast<Clock::Duration>(self->clock().now().time_since_epoch()));
}

bool Contains(const std::vector<std::string>& ids, const std::string& id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

void StartChild(Self* self, const std::string& id, bool again) {
  SupervisorState& state = self->state;
  if (state.ending || !state.policy->Knows(id)) return;   // a temporary one that was stopped with its group is forgotten
  for (const auto& [number, group] : state.groups) {
    if (Contains(group.ids, id)) return;   // one before it could not start: it waits with that one
  }
  const auto child = std::find_if(state.children.begin(), state.children.end(), [&](const SupervisedChild& c) { return c.spec.id == id; });
  if (child == state.children.end()) return;
  auto started = child->start();
  if (!started.ok()) {
    Decide(self, id, false);
    return;
  }
  state.running[id] = *started;
  self->monitor(*started);
  if (again && state.events.restarted) state.events.restarted(id);
}

void StopChild(Self* self, const std::string& id) {
  SupervisorState& state = self->state;
  const auto it = state.running.find(id);
  if (it == state.running.end()) return;
  state.stopping.insert(it->second.address());
  self->send_exit(it->second, caf::exit_reason::user_shutdown);   // kill would go past the child's own handler
  self->delayed_send(self, kStopMax, StopLimit{it->second});
  state.running.erase(it);
}

/// Stops what is left, one after the other, then ends.
void EndOn(Self* self) {
  SupervisorState& state = self->state;
  while (state.stopping.empty() && !state.ending->empty()) {
    StopChild(self, state.ending->back());
    state.ending->pop_back();
  }
  if (!state.stopping.empty()) return;
  if (!state.gave_up.empty() && state.events.gave_up) state.events.gave_up(state.gave_up);
  self->quit(caf::exit_reason::user_shutdown);
}

void BeginEnd(Self* self) {
  SupervisorState& state = self->state;
  if (state.ending) return;
  state.groups.clear();
  state.ending.emplace();
  for (const SupervisedChild& child : state.children) state.ending->push_back(child.spec.id);
  EndOn(self);
}

void Schedule(Self* self, uint64_t number, const Group& group) {
  self->delayed_send(self, std::chrono::duration_cast<std::chrono::milliseconds>(group.delay), StartGroup{number});
}

void Decide(Self* self, const std::string& id, bool normal) {
  SupervisorState& state = self->state;
  Decision decision = state.policy->OnExit(id, normal, Now(self));
  if (decision.action == Decision::Action::kIgnore) return;
  if (decision.action == Decision::Action::kEscalate) {
    state.gave_up = decision.reason;
    BeginEnd(self);
    return;
  }
  for (const std::string& stop : decision.stop) StopChild(self, stop);
  for (auto& [number, group] : state.groups)   // the latest decision counts, so that nobody is started twice
    std::erase_if(group.ids, [&](const std::string& other) { return Contains(decision.start, other); });
  const uint64_t number = ++state.last_group;
  const auto& group = state.groups[number] = {.ids = std::move(decision.start), .delay = decision.delay, .stops = state.stopping.size()};
  if (group.stops == 0) Schedule(self, number, group);
}

void OnDown(Self* self, const caf::down_msg& down) {
  SupervisorState& state = self->state;
  if (state.stopping.erase(down.source) > 0) {
    if (state.ending) {
      EndOn(self);
      return;
    }
    for (auto& [number, group] : state.groups) {
      if (group.stops > 0 && --group.stops == 0) Schedule(self, number, group);
    }
    return;
  }
  const auto child = std::find_if(state.running.begin(), state.running.end(), [&](const auto& entry) { return entry.second.address() == down.source; });
  if (child == state.running.end()) return;
  const std::string id = child->first;
  state.running.erase(child);
  if (state.ending) return;
  const auto supervised = std::ranges::find(state.children, id, [](const SupervisedChild& of) { return of.spec.id; });
  if (supervised->planned && supervised->planned()) return StartChild(self, id, false);
  Decide(self, id, down.reason == caf::exit_reason::normal);
}

}   // namespace

caf::actor SpawnSupervisor(System& system, RestartOptions options, std::vector<SupervisedChild> children, SupervisorEvents events) {
  // The actor begins later, on another thread: everything by value.
  return system.actors().spawn([options, children, events](Self* self) -> caf::behavior {
    self->state.children = children;
    self->state.events = events;
    self->state.policy.emplace(options);
    self->set_down_handler([self](const caf::down_msg& down) { OnDown(self, down); });
    self->set_exit_handler([self](const caf::exit_msg&) { BeginEnd(self); });
    for (const SupervisedChild& child : self->state.children) TROUPE_CHECK(self->state.policy->Add(child.spec).ok());
    std::vector<std::string> ids;
    for (const SupervisedChild& child : self->state.children) ids.push_back(child.spec.id);
    for (const std::string& id : ids) StartChild(self, id, false);
    return {
        [self](const StartGroup& start) {
          const auto group = self->state.groups.extract(start.number);
          if (group.empty()) return;   // it is ending
          for (const std::string& id : group.mapped().ids) StartChild(self, id, true);
        },
        [self](const StopLimit& limit) {
          if (self->state.stopping.contains(limit.child.address())) self->send_exit(limit.child, caf::exit_reason::kill);
        },
    };
  });
}

}   // namespace troupe
