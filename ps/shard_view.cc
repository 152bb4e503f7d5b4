#include "ps/shard_view.h"

#include <utility>

namespace troupe {

void ShardView::AddRange(const std::string& name, uint32_t number, uint32_t range, const Table& table) {
  if (!forks_.contains(number)) forks_.emplace(number, table.Fork());
  sections_.push_back({.name = name, .bytes = {}, .rows = true, .table = number, .range = range, .version = table.version(range)});
}

SnapshotSection ShardView::Take(size_t section) {
  Section& taken = sections_[section];
  if (!taken.rows) return {taken.name, std::move(taken.bytes)};
  SnapshotSection result{taken.name, forks_.at(taken.table).Save(taken.range)};
  Skip(section);
  return result;
}

void ShardView::Skip(size_t section) {
  const Section& skipped = sections_[section];
  if (skipped.rows) forks_.at(skipped.table).Drop(skipped.range);
}

std::vector<SnapshotSection> ShardView::TakeAll() {
  std::vector<SnapshotSection> all;
  all.reserve(sections_.size());
  for (size_t i = 0; i < sections_.size(); ++i) all.push_back(Take(i));
  return all;
}

}   // namespace troupe
