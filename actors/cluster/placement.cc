#include "actors/cluster/placement.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/check.h"
#include "actors/text.h"

namespace troupe {
namespace {

bool HasLabel(const NodeCapacity& capacity, const std::pair<const std::string, std::string>& label) {
  const auto it = capacity.labels.find(label.first);
  return it != capacity.labels.end() && it->second == label.second;
}

bool HasLabels(const NodeCapacity& capacity, const ProcessNeeds& needs) {
  return std::all_of(needs.labels.begin(), needs.labels.end(), [&](const auto& label) { return HasLabel(capacity, label); });
}

uint64_t CountOf(const std::map<std::string, uint32_t>& counts, const std::string& kind) {
  const auto it = counts.find(kind);
  return it == counts.end() ? 0 : it->second;
}

/// No sums: what is asked for may be any number.
bool Has(uint64_t all, uint64_t used, uint64_t needed) {
  return used <= all && needed <= all - used;
}

bool Fits(const NodeCapacity& capacity, const Rooms::Used& used, const ProcessNeeds& needs) {
  if (!Has(capacity.cores, used.cores, needs.cores) || !Has(capacity.memory, used.memory, needs.memory) || !Has(capacity.disk, used.disk, needs.disk)) {
    return false;
  }
  return std::all_of(needs.accelerators.begin(), needs.accelerators.end(), [&](const auto& needed) {
    const auto it = used.accelerators.find(needed.first);
    return Has(CountOf(capacity.accelerators, needed.first), it == used.accelerators.end() ? 0 : it->second, needed.second);
  });
}

bool Refused(const PlacementWish& wish, NodeId node) {
  return wish.refused != nullptr && std::find(wish.refused->begin(), wish.refused->end(), node) != wish.refused->end();
}

std::string Megabytes(uint64_t bytes) {
  return bytes >= (1 << 20) ? absl::StrCat(bytes >> 20, " MB") : absl::StrCat(bytes, " bytes");
}

}   // namespace

std::string ToString(const ProcessNeeds& needs) {
  std::vector<std::string> parts;
  if (needs.cores > 0) parts.push_back(absl::StrCat(needs.cores, needs.cores == 1 ? " core" : " cores"));
  if (needs.memory > 0) parts.push_back(absl::StrCat(Megabytes(needs.memory), " of memory"));
  if (needs.disk > 0) parts.push_back(absl::StrCat(Megabytes(needs.disk), " of disk"));
  for (const auto& [kind, count] : needs.accelerators) parts.push_back(absl::StrCat(count, " ", kind));
  for (const auto& [name, value] : needs.labels) parts.push_back(absl::StrCat("label ", name, "=", value));
  return parts.empty() ? "0 cores" : absl::StrJoin(parts, ", ");
}

void Rooms::Put(NodeId node, const NodeCapacity& capacity, bool open) {
  const auto [it, fresh] = rooms_.try_emplace(node);
  Room& room = it->second;
  if (!fresh && room.open == open && room.capacity == capacity) return;
  const auto left = [&] { return room.used.cores < room.capacity.cores ? room.capacity.cores - room.used.cores : 0; };
  if (room.open) {
    order_.erase(PlaceOf(node, room));
    free_ -= left();
  }
  room.capacity = capacity;
  room.open = open;
  if (open) {
    order_.insert(PlaceOf(node, room));
    free_ += left();
  }
  ++version_;
}

void Rooms::Remove(NodeId node) {
  const auto it = rooms_.find(node);
  if (it == rooms_.end()) return;
  Put(node, it->second.capacity, false);
  rooms_.erase(it);
  ++version_;
}

void Rooms::Take(NodeId node, JobId job, const ProcessNeeds& needs) {
  Change(node, job, needs, true);
}
void Rooms::Give(NodeId node, JobId job, const ProcessNeeds& needs) {
  Change(node, job, needs, false);
}

void Rooms::Change(NodeId node, JobId job, const ProcessNeeds& needs, bool take) {
  const auto it = rooms_.find(node);
  TROUPE_CHECK(it != rooms_.end());
  Room& room = it->second;
  const auto left = [&] { return room.used.cores < room.capacity.cores ? room.capacity.cores - room.used.cores : 0; };
  if (room.open) {
    order_.erase(PlaceOf(node, room));
    free_ -= left();
  }
  const auto change = [take](auto& number, auto by) {
    TROUPE_CHECK(take || number >= by);
    number = take ? number + by : number - by;
  };
  change(room.used.cores, uint64_t{needs.cores});
  change(room.used.memory, needs.memory);
  change(room.used.disk, needs.disk);
  change(room.used.processes, 1U);
  for (const auto& [kind, count] : needs.accelerators) {
    uint64_t& of_kind = room.used.accelerators[kind];
    change(of_kind, uint64_t{count});
    if (of_kind == 0) room.used.accelerators.erase(kind);
  }
  for (const std::string& word : needs.apart) {
    uint32_t& with_word = room.apart[{job, word}];
    change(with_word, 1U);
    if (with_word == 0) room.apart.erase({job, word});
  }
  if (room.open) {
    order_.insert(PlaceOf(node, room));
    free_ += left();
  }
}

const Rooms::Used& Rooms::UsedOf(NodeId node) const {
  static const Used kNothing;
  const auto it = rooms_.find(node);
  return it == rooms_.end() ? kNothing : it->second.used;
}

std::vector<uint32_t> Rooms::ApartOf(const Room& room, const PlacementWish& wish) {
  std::vector<uint32_t> apart;
  for (const std::string& word : wish.needs->apart) {
    const auto it = room.apart.find({wish.id->job, word});
    apart.push_back(it == room.apart.end() ? 0 : it->second);
  }
  return apart;
}

std::optional<NodeId> Rooms::BetterThan(NodeId from, const PlacementWish& wish) const {
  const auto room = rooms_.find(from);
  NodeId node{};
  const Room* best = Best(wish, &node);
  if (room == rooms_.end() || best == nullptr || node == from) return std::nullopt;
  std::vector<uint32_t> others = ApartOf(room->second, wish);
  for (uint32_t& count : others) count -= std::min(count, 1U);   // itself
  if (ApartOf(*best, wish) >= others) return std::nullopt;
  return node;
}

uint32_t Rooms::CountApart(NodeId node, JobId job, const std::string& word) const {
  const auto room = rooms_.find(node);
  if (room == rooms_.end()) return 0;
  const auto it = room->second.apart.find({job, word});
  return it == room->second.apart.end() ? 0 : it->second;
}

uint32_t Rooms::FewestApart(JobId job, const std::string& word, const std::vector<NodeId>& refused) const {
  uint32_t fewest = std::numeric_limits<uint32_t>::max() - 1;
  for (const Place& place : order_) {
    if (std::get<0>(place) > 0) break;   // nor has one that comes later
    const NodeId node = std::get<2>(place);
    if (std::ranges::find(refused, node) == refused.end()) fewest = std::min(fewest, CountApart(node, job, word));
  }
  return fewest;
}

const Rooms::Room* Rooms::Best(const PlacementWish& wish, NodeId* node) const {
  const Room* best = nullptr;
  std::vector<uint32_t> best_apart;
  for (const Place& place : order_) {
    if (-std::get<0>(place) < static_cast<int64_t>(wish.needs->cores)) break;   // nor has one that comes later
    const NodeId id = std::get<2>(place);
    const Room& room = rooms_.at(id);
    if (!HasLabels(room.capacity, *wish.needs) || !Fits(room.capacity, room.used, *wish.needs) || Refused(wish, id)) continue;
    std::vector<uint32_t> apart = ApartOf(room, wish);
    if (best != nullptr && best_apart <= apart) continue;
    best = &room;
    *node = id;
    if (std::all_of(apart.begin(), apart.end(), [](uint32_t count) { return count == 0; })) break;   // nothing can be better
    best_apart = std::move(apart);
  }
  return best;
}

absl::StatusOr<std::vector<NodeId>> Rooms::Choose(std::span<const PlacementWish> wanted) {
  std::vector<size_t> order(wanted.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const ProcessNeeds &x = *wanted[a].needs, &y = *wanted[b].needs;
    return std::tie(x.cores, x.memory, x.disk) > std::tie(y.cores, y.memory, y.disk);
  });
  std::vector<NodeId> nodes(wanted.size());
  std::vector<size_t> taken;
  absl::Status status;
  for (const size_t i : order) {
    if (Best(wanted[i], &nodes[i]) == nullptr) {
      status = NoRoom(wanted[i]);
      break;
    }
    Take(nodes[i], wanted[i].id->job, *wanted[i].needs);
    taken.push_back(i);
  }
  for (const size_t i : taken) Give(nodes[i], wanted[i].id->job, *wanted[i].needs);
  if (!status.ok()) return status;
  return nodes;
}

absl::StatusOr<std::vector<NodeId>> Rooms::ChooseEmpty(std::span<const PlacementWish> wanted) const {
  Rooms empty;
  for (const auto& [node, room] : rooms_) empty.Put(node, room.capacity, room.open);
  return empty.Choose(wanted);
}

absl::Status Rooms::NoRoom(const PlacementWish& wish) const {
  const std::string what = absl::StrCat(wish.id->name, " needs ", ToString(*wish.needs));
  if (order_.empty()) return absl::ResourceExhaustedError(absl::StrCat(what, ", and no node is up"));
  return absl::ResourceExhaustedError(absl::StrCat(what, ", and no node has them free; ", free_, " cores are free on ", order_.size(), " nodes"));
}

std::string Rooms::WhyNever(const PlacementWish& wish) const {
  const ProcessNeeds& needs = *wish.needs;
  const std::string what = absl::StrCat(wish.id->name, " needs ", ToString(needs), ", and ");
  if (order_.empty()) return absl::StrCat(what, "no node is up");
  // Of the nodes that have all labels: the most of each. Whether any node has the label that none of these has.
  std::set<std::string> missing;
  for (const auto& [name, value] : needs.labels) missing.insert(absl::StrCat(name, "=", value));
  NodeCapacity most{.cores = 0, .memory = 0, .disk = 0, .labels = {}};
  bool labelled = false, others = false;
  for (const Place& place : order_) {
    const NodeId id = std::get<2>(place);
    const NodeCapacity& capacity = rooms_.at(id).capacity;
    for (const auto& label : needs.labels) {
      if (HasLabel(capacity, label)) missing.erase(absl::StrCat(label.first, "=", label.second));
    }
    if (!HasLabels(capacity, needs)) continue;
    labelled = true;
    const bool fits = Fits(capacity, {}, needs);
    if (fits && !Refused(wish, id)) return "";
    others = others || fits;
    most.cores = std::max(most.cores, capacity.cores);
    most.memory = std::max(most.memory, capacity.memory);
    most.disk = std::max(most.disk, capacity.disk);
    for (const auto& [kind, count] : needs.accelerators) {
      uint32_t& of_kind = most.accelerators[kind];
      of_kind = std::max(of_kind, static_cast<uint32_t>(CountOf(capacity.accelerators, kind)));
    }
  }
  if (others) return absl::StrCat(what, "the nodes that have them cannot start it");
  if (!missing.empty()) return absl::StrCat(what, "no node has label ", *missing.begin());
  if (!labelled) return absl::StrCat(what, "no node has all of these labels");
  const absl::string_view of = needs.labels.empty() ? "" : " with these labels";
  if (most.cores < needs.cores) return absl::StrCat(what, "no node", of, " has so many cores: the most is ", most.cores);
  if (most.memory < needs.memory) return absl::StrCat(what, "no node", of, " has so much memory: the most is ", Megabytes(most.memory));
  if (most.disk < needs.disk) return absl::StrCat(what, "no node", of, " has so much disk: the most is ", Megabytes(most.disk));
  for (const auto& [kind, count] : needs.accelerators) {
    const uint32_t has = most.accelerators[kind];
    if (has == 0 && count > 0) return absl::StrCat(what, "no node", of, " has accelerator ", kind);
    if (has < count) return absl::StrCat(what, "no node", of, " has so many of accelerator ", kind, ": the most is ", has);
  }
  return absl::StrCat(what, "no node", of, " has all of them at once");
}

}   // namespace troupe
