// Rows that are assigned, not pushed: nobody holds them for a replacement, so they are acknowledged when a snapshot has them.
#include "ps/shard_actor/parts.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

namespace troupe::shard_actor {
namespace {

constexpr size_t kAssignedMax = 64;   // assignments that a repeated one is compared with

bool SameBytes(const Block& a, const Block& b) {
  return a.size() == b.size() && (a.size() == 0 || std::memcmp(a.data(), b.data(), a.size()) == 0);
}
bool ShareRows(const Assign& a, const Assign& b) {
  if (a.table != b.table) return false;
  const std::span<const Key> keys = a.keys.As<Key>(), others = b.keys.As<Key>();
  std::vector<Key> sorted(keys.begin(), keys.end());
  std::sort(sorted.begin(), sorted.end());
  return std::any_of(others.begin(), others.end(), [&](Key key) { return std::binary_search(sorted.begin(), sorted.end(), key); });
}

/// The version that has the rows, where they were assigned before and nothing has changed them since.
std::optional<uint64_t> AssignedIn(State& state, const Assign& assign) {
  if (state.shard->version() != state.assigned_through) state.assigned.clear();
  for (auto it = state.assigned.rbegin(); it != state.assigned.rend(); ++it) {
    if (it->assign.table == assign.table && SameBytes(it->assign.keys, assign.keys) && SameBytes(it->assign.values, assign.values)) return it->version;
    if (ShareRows(it->assign, assign)) return std::nullopt;
  }
  return std::nullopt;
}

}   // namespace

void AnswerAssigned(Self* self, const Writing& written) {
  State& state = self->state;
  std::vector<State::KeptFrom> waiting;
  for (State::KeptFrom& each : std::exchange(state.unkept, {})) {
    if (state.version_saved >= each.version) {
      each.answer(absl::OkStatus());
    } else if (written.own && !written.status.ok()) {
      each.answer(absl::UnavailableError(written.status.message()));
    } else {
      waiting.push_back(std::move(each));
    }
  }
  state.unkept.insert(state.unkept.end(), std::make_move_iterator(waiting.begin()), std::make_move_iterator(waiting.end()));
  if (!state.unkept.empty()) SnapshotForRestart(self);
}

void KeepAssigned(Self* self, const Assign& assign, std::function<void(const absl::Status&)> answer) {
  State& state = self->state;
  if (!state.disk.ok()) return answer(state.disk);
  std::optional<uint64_t> version = AssignedIn(state, assign);
  if (!version) {
    if (absl::Status status = state.shard->OnAssign(assign); !status.ok()) return answer(status);
    version = state.assigned_through = state.shard->version();
    state.assigned.push_back({assign, *version});
    if (state.assigned.size() > kAssignedMax) state.assigned.pop_front();
  }
  if (state.options.snapshot_uri.empty() || state.version_saved >= *version) return answer(absl::OkStatus());
  state.unkept.push_back({*version, std::move(answer)});
  SnapshotForRestart(self);   // if none is being written
}

}   // namespace troupe::shard_actor
