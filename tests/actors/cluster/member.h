// A node as the head sees one, without an actor: reports what it has, does what it is ordered, by node_actor.h's rules. Its processes are only names.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "actors/cluster/messages.h"

namespace troupe::testing {

struct Member {
  explicit Member(uint32_t number, uint32_t cores, std::map<std::string, std::string> labels = {})
      : node{number}, name("n" + std::to_string(number)), capacity{.cores = cores, .memory = 1000, .disk = 0, .labels = std::move(labels)} {}

  Report MakeReport() {
    Report report{.node = node,
                  .incarnation = incarnation,
                  .number = ++this->number,
                  .name = name,
                  .host = "host",
                  .places = {"tcp:host:1"},
                  .capacity = capacity,
                  .leaving = leaving,
                  .seen = seen,
                  .generation = generation};
    for (const auto& [id, process] : processes) report.processes.push_back(process);
    return report;
  }

  /// The answer to the newest report; answers to earlier ones are not for this.
  void Obey(const Orders& orders) {
    if (orders.generation < generation) return;
    if (orders.generation > generation) seen = 0;
    generation = orders.generation;
    if (orders.verdict == Orders::Verdict::kMember && orders.version < seen) return;   // overtaken
    if (orders.verdict == Orders::Verdict::kLeft) {
      processes.clear();
      left = true;
    } else if (orders.verdict == Orders::Verdict::kRejoin) {
      Rejoin(orders.incarnation);
    } else if (!orders.unchanged) {
      std::set<ProcessId> wanted(orders.keep.begin(), orders.keep.end());
      for (const ProcessOrder& order : orders.start) {
        wanted.insert(order.id);
        if (processes.contains(order.id)) continue;
        if (cannot_start) {
          processes[order.id] = {order.id, order.needs, ProcessState::kEnded, 127, "no such folder", true};
          ++refused;
          continue;
        }
        processes[order.id] = {order.id, order.needs, ProcessState::kRunning, 0, ""};
        ++started[order.id];
      }
      std::erase_if(processes, [&](const auto& entry) { return !wanted.contains(entry.first); });
      seen = orders.version;
    }
  }
  void Rejoin(Incarnation known = {}) {
    processes.clear();
    incarnation = Incarnation{static_cast<uint64_t>(std::max(known, incarnation)) + 1};
    number = seen = 0;
  }
  /// kill -9, and started again: everything but the incarnation is forgotten.
  void StartAgain() {
    Rejoin();
    generation = 0;
    leaving = left = false;
  }
  void End(const ProcessId& id, int32_t code, const std::string& reason = "") {
    const auto it = processes.find(id);
    if (it == processes.end()) return;
    it->second.state = ProcessState::kEnded;
    it->second.code = code;
    it->second.reason = reason;
  }
  bool Runs(const ProcessId& id) const {
    const auto it = processes.find(id);
    return it != processes.end() && it->second.state == ProcessState::kRunning;
  }

  NodeId node;
  Incarnation incarnation{1};
  std::string name;
  NodeCapacity capacity;
  uint64_t number = 0, seen = 0, generation = 0;
  bool leaving = false, left = false;
  bool cannot_start = false;   // whatever it is told to start
  int refused = 0;
  std::map<ProcessId, ProcessReport> processes;
  std::map<ProcessId, int> started;   // how often
};

}   // namespace troupe::testing
