#include "actors/cluster/placement.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/text.h"

namespace troupe {
namespace {

bool HasLabels(const NodeCapacity& capacity, const ProcessNeeds& needs) {
  return std::all_of(needs.labels.begin(), needs.labels.end(), [&](const auto& label) {
    const auto it = capacity.labels.find(label.first);
    return it != capacity.labels.end() && it->second == label.second;
  });
}

bool Fits(const Room& room, const ProcessNeeds& needs) {
  const NodeCapacity& capacity = room.capacity;   // no sums: what is asked for may be any number
  return room.cores_used <= capacity.cores && needs.cores <= capacity.cores - room.cores_used && room.memory_used <= capacity.memory &&
         needs.memory <= capacity.memory - room.memory_used;
}

/// The fewer the better, from left to right.
auto Cost(const Room& room, const ProcessOrder& order) {
  const auto apart = order.needs.apart.empty() ? 0 : std::count(room.apart.begin(), room.apart.end(), std::pair(order.id.job, order.needs.apart));
  const auto left = static_cast<int64_t>(room.capacity.cores) - room.cores_used;
  return std::tuple(apart, -left, room.processes);
}

absl::Status NoRoom(const ProcessOrder& order, const std::vector<Room>& rooms) {
  std::string what = absl::StrCat(order.id.name, " needs ", order.needs.cores, " cores");
  if (order.needs.memory > 0) absl::StrAppend(&what, " and ", order.needs.memory >> 20, " MB");
  for (const auto& [name, value] : order.needs.labels) absl::StrAppend(&what, ", ", name, "=", value);
  if (rooms.empty()) return absl::ResourceExhaustedError(absl::StrCat(what, ", and no node is up"));
  const auto labelled = std::count_if(rooms.begin(), rooms.end(), [&](const Room& room) { return HasLabels(room.capacity, order.needs); });
  if (labelled == 0) return absl::ResourceExhaustedError(absl::StrCat(what, ", and none of the ", rooms.size(), " nodes has these labels"));
  uint32_t free = 0;
  for (const Room& room : rooms) free += room.capacity.cores - std::min(room.capacity.cores, room.cores_used);
  return absl::ResourceExhaustedError(absl::StrCat(what, ", and no node has them; ", free, " cores are free on ", rooms.size(), " nodes"));
}

}   // namespace

absl::StatusOr<std::vector<NodeId>> PlaceAll(std::span<const ProcessOrder> wanted, std::vector<Room>& rooms) {
  std::vector<size_t> order(wanted.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(wanted[a].needs.cores, wanted[a].needs.memory) > std::pair(wanted[b].needs.cores, wanted[b].needs.memory);
  });
  std::vector<Room> after = rooms;
  std::vector<NodeId> nodes(wanted.size());
  for (const size_t i : order) {
    const ProcessOrder& process = wanted[i];
    Room* best = nullptr;
    for (Room& room : after) {
      if (!HasLabels(room.capacity, process.needs) || !Fits(room, process.needs)) continue;
      if (best == nullptr || Cost(room, process) < Cost(*best, process)) best = &room;
    }
    if (best == nullptr) return NoRoom(process, after);
    best->cores_used += process.needs.cores;
    best->memory_used += process.needs.memory;
    ++best->processes;
    if (!process.needs.apart.empty()) best->apart.emplace_back(process.id.job, process.needs.apart);
    nodes[i] = best->node;
  }
  rooms = std::move(after);
  return nodes;
}

}   // namespace troupe
