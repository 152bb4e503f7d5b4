#include "actors/cluster/messages.h"

#include "absl/strings/str_cat.h"

namespace troupe {

std::string ToString(const ProcessId& id) {
  std::string text = absl::StrCat("job ", id.job, ": ", id.name);
  const uint64_t life = LifeOf(id.incarnation), drivers = (id.incarnation - 1) / kLivesOfAttempt;
  if (drivers > 0) absl::StrAppend(&text, " of driver ", drivers + 1);
  if (life > 1) absl::StrAppend(&text, " (life ", life, ")");
  return text;
}

const char* ToString(ProcessState state) {
  constexpr const char* kNames[] = {"waiting", "placed", "running", "ended"};
  return kNames[static_cast<size_t>(state)];
}
const char* ToString(JobState state) {
  constexpr const char* kNames[] = {"queued", "running", "succeeded", "failed", "stopped"};
  return kNames[static_cast<size_t>(state)];
}
const char* ToString(NodeState state) {
  constexpr const char* kNames[] = {"joining", "up", "suspect", "down", "draining", "left"};
  return kNames[static_cast<size_t>(state)];
}

}   // namespace troupe
