// Rows made by a test as a data set, and sums that a test looks at.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "actors/random.h"
#include "algorithms/algorithm.h"
#include "algorithms/registry.h"
#include "dataflow/batch.h"
#include "dataflow/source.h"

namespace troupe::testing {

struct TestRow {
  float label = 0;
  std::vector<std::pair<Feature, float>> entries;   // sparse
  std::vector<float> dense;
};

inline std::shared_ptr<RowBlock> MakeBlock(const std::vector<TestRow>& rows, bool labels = true) {
  auto block = std::make_shared<RowBlock>();
  block->rows = rows.size();
  block->columns = static_cast<uint32_t>(rows.empty() ? 0 : rows[0].dense.size());
  for (const TestRow& row : rows) {
    if (labels) block->labels.push_back(row.label);
    block->dense.insert(block->dense.end(), row.dense.begin(), row.dense.end());
    for (const auto& [feature, value] : row.entries) block->sparse.Add(feature, value);
    if (!block->is_dense()) block->sparse.EndRow();
  }
  return block;
}

inline Batch MakeBatch(const std::vector<TestRow>& rows, bool labels = true) {
  Batch batch;
  const std::shared_ptr<const RowBlock> block = MakeBlock(rows, labels);
  for (uint32_t i = 0; i < rows.size(); ++i) batch.Add(block, i);
  return batch;
}

/// Rows in pieces of `piece_rows`; piece `bad` (if any) cannot be read.
class MemorySource final : public Source {
 public:
  MemorySource(const std::vector<TestRow>& rows, uint64_t piece_rows, bool labels = true, uint64_t bad = UINT64_MAX) : bad_(bad) {
    const bool dense = !rows.empty() && !rows[0].dense.empty();
    schema_.format = dense ? "csv" : "libsvm";
    for (size_t c = 0; dense && c < rows[0].dense.size(); ++c) schema_.columns.push_back("x" + std::to_string(c));
    if (dense && labels) schema_.label = "label";
    for (size_t first = 0; first < rows.size(); first += piece_rows) {
      const auto begin = rows.begin() + static_cast<ptrdiff_t>(first);
      auto block = MakeBlock({begin, begin + static_cast<ptrdiff_t>(std::min<size_t>(piece_rows, rows.size() - first))}, labels);
      block->piece = blocks_.size();
      blocks_.push_back(block);
    }
  }
  const Schema& schema() const override { return schema_; }
  uint64_t pieces() const override { return blocks_.size(); }
  uint64_t piece_bytes(uint64_t i) const override { return blocks_[i]->bytes(); }
  absl::StatusOr<std::shared_ptr<const RowBlock>> Read(uint64_t i) const override {
    if (i >= bad_) return absl::InvalidArgumentError("memory:" + std::to_string(i) + ": bad");
    return blocks_[i];
  }

 private:
  Schema schema_;
  uint64_t bad_;
  std::vector<std::shared_ptr<const RowBlock>> blocks_;
};

/// Keeps what Work makes.
struct Recorder final : Out {
  std::vector<Key> keys;
  std::vector<float> gradient;
  std::vector<uint32_t> nonzeros;
  std::vector<double> sum, collected;
  int pushes = 0;
  void Push(uint32_t, std::vector<Key> k, std::vector<float> g, std::span<const uint32_t> n) override {
    keys = std::move(k);
    gradient = std::move(g);
    nonzeros.assign(n.begin(), n.end());
    ++pushes;
  }
  void Combine(std::span<const double> partial) override {
    sum.resize(std::max(sum.size(), partial.size()));
    for (size_t i = 0; i < partial.size(); ++i) sum[i] += partial[i];
  }
  void Collect(std::span<const double> numbers) override { collected.insert(collected.end(), numbers.begin(), numbers.end()); }
};

/// Rows that an algorithm of this kind can learn from: two groups along a hidden direction; their label, or a linear function of the features.
inline std::vector<TestRow> LearnableRows(Task task, bool dense, size_t n, uint64_t seed) {
  constexpr size_t kColumns = 12;
  Random random(seed);
  std::vector<TestRow> rows(n);
  for (TestRow& row : rows) {
    const bool high = random.Uniform() < 0.5;
    double target = 0.3;
    for (size_t c = 0; c < kColumns; ++c) {
      const bool set = dense || random.Uniform() < (high == (c % 2 == 0) ? 0.6 : 0.2);
      const double value = dense ? random.Normal() + (high == (c % 2 == 0) ? 1.0 : -1.0) : 1.0;
      if (dense)
        row.dense.push_back(static_cast<float>(value));
      else if (set)
        row.entries.emplace_back(c * c + 1, static_cast<float>(value));
      if (set) target += value * (c % 3 == 0 ? 0.5 : -0.25);
    }
    row.label = task == Task::kRegression ? static_cast<float>(target) : static_cast<float>(high);
  }
  return rows;
}

}   // namespace troupe::testing
