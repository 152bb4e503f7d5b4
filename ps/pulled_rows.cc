#include "ps/pulled_rows.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

namespace troupe {
namespace {

constexpr size_t kBatchesMax = 16;   // of a writer: more than it pulls ahead

}   // namespace

PulledRows::PulledRows(const std::vector<TableSpec>& tables, uint32_t writers) {
  for (const TableSpec& spec : tables) {
    widths_.push_back(spec.width);
    rows_wanted_ |= spec.delay_compensation > 0;
    any_ |= spec.staleness_scale || spec.delay_compensation > 0;
  }
  changes_.assign(tables.size(), 0);
  writers_.resize(writers);
}

void PulledRows::Given(const Pull& pull, const Block& values) {
  if (pull.parts.empty()) return;
  std::deque<Batch>& batches = writers_[static_cast<uint32_t>(pull.writer)];
  if (batches.empty() || batches.back().round < pull.round) {
    batches.push_back({pull.round, changes_, {}});
    if (batches.size() > kBatchesMax) batches.pop_front();
  } else if (batches.back().round > pull.round) {
    return;   // asked again after what it asked for next: not its push's rows
  }
  if (!rows_wanted_) return;
  std::vector<Answer>& answers = batches.back().answers;
  if (pull.piece == 0) answers.clear();   // it is asked again from the start
  answers.push_back({pull.parts, pull.keys, values});
}

const PulledRows::Batch* PulledRows::Find(uint32_t writer, Round round) const {
  const std::deque<Batch>& batches = writers_[writer];
  const auto batch = std::lower_bound(batches.begin(), batches.end(), round, [](const Batch& b, Round r) { return b.round < r; });
  return batch == batches.end() || batch->round != round ? nullptr : &*batch;
}

uint64_t PulledRows::ChangesSince(uint32_t writer, Round round, uint32_t table) const {
  const Batch* batch = Find(writer, round);
  return batch == nullptr ? 0 : changes_[table] - batch->changes[table];
}

void PulledRows::Compensate(uint32_t writer, Round round, const Table& table, uint32_t number, const RowsIn& rows, const float* now, float* gradient) const {
  const Batch* batch = Find(writer, round);
  if (batch == nullptr) return;
  const auto strength = static_cast<float>(table.spec().delay_compensation);
  const size_t width = table.spec().width;
  const auto compensate = [&](size_t row, const float* given, size_t count) {
    float* __restrict g = gradient + row * width;
    const float* __restrict current = now + row * width;
    for (size_t i = 0; i < count * width; ++i) g[i] += strength * g[i] * g[i] * (current[i] - given[i]);
  };
  for (const Answer& answer : batch->answers) {
    const Key* keys = answer.keys.As<Key>().data();
    const float* values = answer.values.As<float>().data();
    for (const PullPart& part : answer.parts.As<PullPart>()) {
      if (part.table == number && part.range == rows.rows.range) {
        if (part.dense != 0 && rows.rows.keys == nullptr) {   // two runs of rows: what they have in common
          const uint64_t first = std::max(part.first, rows.rows.first), end = std::min(part.first + part.count, rows.rows.first + rows.rows.n);
          if (first < end) compensate(first - rows.rows.first, values + (first - part.first) * width, end - first);
        } else if (part.dense == 0 && rows.rows.keys != nullptr && part.count == rows.rows.n &&
                   std::memcmp(keys, rows.rows.keys, rows.rows.n * sizeof(Key)) == 0) {
          compensate(0, values, rows.rows.n);
        } else if (rows.rows.keys != nullptr) {
          std::unordered_map<Key, size_t> place;
          if (part.dense == 0) {
            for (size_t i = 0; i < part.count; ++i) place.emplace(keys[i], i);
          }
          for (size_t i = 0; i < rows.rows.n; ++i) {
            const Key key = rows.rows.keys[i];
            if (part.dense != 0) {
              if (key >= part.first && key - part.first < part.count) compensate(i, values + (key - part.first) * width, 1);
            } else if (const auto found = place.find(key); found != place.end()) {
              compensate(i, values + found->second * width, 1);
            }
          }
        }
      }
      if (part.dense == 0) keys += part.count;
      values += part.count * size_t{widths_[part.table]};
    }
  }
}

void PulledRows::Forget(uint32_t writer, Round round) {
  std::deque<Batch>& batches = writers_[writer];
  while (!batches.empty() && batches.front().round <= round) batches.pop_front();
}

void PulledRows::Clear() {
  for (std::deque<Batch>& batches : writers_) batches.clear();
}

}   // namespace troupe
