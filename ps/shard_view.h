// A shard as it is at one moment, to be written while it goes on: its small sections, and forks of its tables, whose ranges are serialised one by one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ps/snapshot.h"
#include "ps/table.h"

namespace troupe {

/// Made by a shard (Shard::View), then used by one thread, which need not be the shard's.
class ShardView {
 public:
  struct Section {
    std::string name;
    Block bytes = {};
    bool rows = false;   ///< of a range: `bytes` are made by Take
    uint32_t table = 0, range = 0;
    uint64_t version = 0;   ///< of the range's rows (Table::version)
  };

  void Add(SnapshotSection section) { sections_.push_back({.name = std::move(section.name), .bytes = std::move(section.bytes)}); }
  /// A range with rows of its own. Tables without limits only.
  void AddRange(const std::string& name, uint32_t number, uint32_t range, const Table& table);

  const std::vector<Section>& sections() const { return sections_; }
  /// A section with its bytes, once each; a range's rows are let go, so that whoever writes to them need not copy them any more.
  SnapshotSection Take(size_t section);
  /// Lets a range's rows go.
  void Skip(size_t section);
  /// All that was not taken or skipped.
  std::vector<SnapshotSection> TakeAll();

 private:
  std::vector<Section> sections_;
  std::map<uint32_t, Table> forks_;   // by table
};

}   // namespace troupe
