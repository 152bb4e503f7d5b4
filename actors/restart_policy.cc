// Restart intensity, strategies and back-off.
#include "actors/restart_policy.h"

#include <algorithm>

#include "actors/text.h"

namespace troupe {

absl::Status RestartPolicy::Add(ChildSpec spec) {
  if (std::any_of(children_.begin(), children_.end(), [&](const Child& child) { return child.spec.id == spec.id; })) {
    return absl::AlreadyExistsError(absl::StrCat("child '", spec.id, "' is there already, expected a new id"));
  }
  children_.push_back(Child{.spec = std::move(spec)});
  return absl::OkStatus();
}

void RestartPolicy::Remove(std::string_view id) {
  std::erase_if(children_, [id](const Child& child) { return child.spec.id == id; });
}

bool RestartPolicy::Knows(std::string_view id) const {
  return std::any_of(children_.begin(), children_.end(), [id](const Child& child) { return child.spec.id == id; });
}

Decision RestartPolicy::OnExit(std::string_view id, bool normal, Clock::Time now) {
  const auto child = std::find_if(children_.begin(), children_.end(), [id](const Child& c) { return c.spec.id == id; });
  if (child == children_.end()) return {};
  child->running = false;
  if (child->spec.restart == Restart::kTemporary) {
    children_.erase(child);
    return {};
  }
  if (child->spec.restart == Restart::kTransient && normal) return {};

  while (!recent_.empty() && now - recent_.front() > options_.period) recent_.pop_front();
  if (recent_.size() >= options_.intensity) {
    const double seconds = std::chrono::duration<double>(options_.period).count();
    return {.action = Decision::Action::kEscalate,
            .stop = Running(0),
            .reason = absl::StrCat("'", Absl(id), "' ended again after ", recent_.size(), " restarts in ", HumanSeconds(seconds), ", expected at most ",
                                   options_.intensity)};
  }
  recent_.push_back(now);
  ++restarts_;
  Decision decision{.action = Decision::Action::kRestart, .delay = NextDelay(*child, now)};

  const auto place = static_cast<size_t>(child - children_.begin());
  const size_t first = options_.strategy == Strategy::kOneForAll ? 0 : place;
  const size_t last = options_.strategy == Strategy::kOneForOne ? place + 1 : children_.size();
  if (options_.strategy != Strategy::kOneForOne) decision.stop = Running(first);
  for (size_t i = first; i < last; ++i) {
    if (children_[i].spec.restart == Restart::kTemporary) continue;
    decision.start.push_back(children_[i].spec.id);
    children_[i].running = true;
    children_[i].alive_since = now + decision.delay;
  }
  if (options_.strategy != Strategy::kOneForOne) {
    const auto begin = children_.begin() + static_cast<std::ptrdiff_t>(first);
    children_.erase(std::remove_if(begin, children_.end(), [](const Child& c) { return c.spec.restart == Restart::kTemporary; }), children_.end());
  }
  return decision;
}

Clock::Duration RestartPolicy::NextDelay(Child& child, Clock::Time now) const {
  if (child.quick_restarts > 0 && now - child.alive_since >= options_.calm) child.quick_restarts = 0;
  const uint32_t n = child.quick_restarts++;
  if (options_.first_at_once && n == 0) return Clock::Duration::zero();
  Clock::Duration delay = options_.delay;
  for (uint32_t i = options_.first_at_once ? 1 : 0; i < n && delay < options_.delay_max; ++i) delay *= 2;
  return std::min(delay, options_.delay_max);
}

std::vector<std::string> RestartPolicy::Running(size_t first) const {
  std::vector<std::string> ids;
  for (size_t i = children_.size(); i > first; --i) {
    if (children_[i - 1].running) ids.push_back(children_[i - 1].spec.id);
  }
  return ids;
}

}   // namespace troupe
