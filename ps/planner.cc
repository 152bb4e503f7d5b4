// A cost model of three terms: memory of rows, work of a shard, bytes between processes.
#include "ps/planner.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "actors/check.h"
#include "actors/text.h"
#include "ps/partition.h"
#include "ps/update_rule.h"

namespace troupe {
namespace {

constexpr double kBusyMax = 0.5;                 // of a shard: beyond it workers wait for it too often
constexpr double kSlots = 8.0 / 7 * 17.0 / 16;   // a sparse store's slots and tags beside its rows, at most (numbered keys take less): ps/internal/row_store.h
constexpr double kUneven = 1.25;                 // busiest shard / mean from which on it is worth a word
constexpr double kHotShare = 0.2;
constexpr uint64_t kHotKeys = 100;

double RowBytes(const TableSpec& spec) {
  const double floats = (*MakeUpdateRule(spec))->floats(spec.width);
  return spec.rows ? floats * sizeof(float) : (floats * sizeof(float) + sizeof(Key)) * kSlots;
}

std::string Size(double bytes) {
  return HumanBytes(static_cast<uint64_t>(bytes));
}

/// Of a batch at the shards, all together.
double ShardSeconds(const PlanInputs& inputs, const TablePlan& table, const TableSpec& spec) {
  const double rows = table.pulled + table.pushed;
  const double by_row = spec.rows ? 0 : rows / inputs.speed.sparse_rows;
  return by_row + rows * spec.width / inputs.speed.floats + (inputs.processes ? table.wire / inputs.speed.link : 0);
}

}   // namespace

void TableTraffic::Touch(std::span<const Key> keys) {
  for (const Key key : keys) ++touches_[key];
  touched_ += keys.size();
  distinct_by_call_.push_back(touches_.size());
}
void TableTraffic::Pulled(std::span<const Key> keys) {
  pulled_ += keys.size();
  Touch(keys);
}
void TableTraffic::Pushed(std::span<const Key> keys) {
  pushed_ += keys.size();
  Touch(keys);
}

double TableTraffic::DistinctAfter(double growth) const {
  if (touches_.empty()) return 0;
  const double all = static_cast<double>(touches_.size());
  const double half = static_cast<double>(distinct_by_call_[(distinct_by_call_.size() - 1) / 2]);
  const double beta = distinct_by_call_.size() < 2 ? 0 : std::clamp(std::log2(all / half), 0.0, 1.0);
  Key largest = 0;
  for (const auto& [key, count] : touches_) largest = std::max(largest, key);
  return std::min(all * std::pow(std::max(growth, 1.0), beta), static_cast<double>(largest) + 1);
}

double TableTraffic::ShareOfHottest(uint64_t keys) const {
  std::vector<uint32_t> counts;
  for (const auto& [key, count] : touches_) counts.push_back(count);
  const size_t n = std::min<size_t>(keys, counts.size());
  std::partial_sort(counts.begin(), counts.begin() + static_cast<ptrdiff_t>(n), counts.end(), std::greater<>());
  uint64_t sum = 0;
  for (size_t i = 0; i < n; ++i) sum += counts[i];
  return touched_ == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(touched_);
}

std::vector<double> TableTraffic::ShareByShard(const TableSpec& spec, uint32_t shards) const {
  const Partition partition(spec, shards);
  std::vector<double> share(shards);
  for (const auto& [key, count] : touches_) {
    if (!spec.rows || key < *spec.rows) share[partition.ShardOf(partition.RangeOf(key))] += static_cast<double>(count) / static_cast<double>(touched_);
  }
  return share;
}

LayoutPlan PlanLayout(const PlanInputs& inputs) {
  TROUPE_CHECK(inputs.tables.size() == inputs.traffic.size() && inputs.tables.size() == inputs.stale.size());
  LayoutPlan plan;
  const double batches = static_cast<double>(std::max<uint64_t>(inputs.batches, 1));
  double bytes = 0, seconds = 0;   // of all shards together; of a batch
  for (size_t t = 0; t < inputs.tables.size(); ++t) {
    const TableSpec& spec = inputs.tables[t];
    const TableTraffic& traffic = inputs.traffic[t];
    TablePlan table;
    table.name = spec.name;
    table.rows = spec.rows ? static_cast<double>(*spec.rows) : traffic.DistinctAfter(inputs.growth);
    if (spec.limits.rows_max > 0) table.rows = std::min(table.rows, static_cast<double>(spec.limits.rows_max));
    table.shape = spec.rows ? absl::StrCat("dense, ", *spec.rows, " x ", spec.width) : absl::StrFormat("sparse, about %.2g rows x %d", table.rows, spec.width);
    table.bytes = table.rows * RowBytes(spec);
    table.pulled = static_cast<double>(traffic.pulled()) / batches;
    table.pushed = static_cast<double>(traffic.pushed()) / batches;
    table.wire = table.pulled * (spec.width * sizeof(float)) + table.pushed * (spec.width * sizeof(float)) +
                 (spec.rows ? 0 : (table.pulled + table.pushed) * sizeof(Key));
    if (spec.kept_by != KeptBy::kShards) {
      table.advice.push_back("every worker keeps it: no shard holds any of it, and a batch moves all of it between the workers");
      plan.tables.push_back(std::move(table));
      continue;
    }
    bytes += spec.limits.memory_max > 0 ? std::min(table.bytes, static_cast<double>(spec.limits.memory_max)) : table.bytes;
    seconds += ShardSeconds(inputs, table, spec);
    plan.tables.push_back(std::move(table));
  }

  // As many shards as memory wants, and as the workers keep busy, of which no more than there are cores work at once.
  const double memory = static_cast<double>(std::max<uint64_t>(inputs.memory, 1));
  const double for_memory = std::ceil(bytes / memory);
  const double rate = inputs.batch_seconds > 0 ? std::min(inputs.workers, std::max(1u, inputs.cores)) / inputs.batch_seconds : 0;   // batches a second
  const double work = rate * (seconds + inputs.speed.message);
  const double for_work = std::ceil(work / kBusyMax);
  const double cores = std::max(1u, inputs.cores);
  const double wanted = std::clamp(std::max(for_memory, for_work), 1.0, cores);   // all on this machine: beyond its cores more shards bring nothing
  plan.shards = inputs.shards > 0 ? inputs.shards : static_cast<uint32_t>(wanted);
  if (inputs.shards > 0)
    plan.why = absl::StrCat("as was asked for; the plan would be ", static_cast<uint32_t>(wanted));
  else if (for_memory > for_work && wanted > 1)
    plan.why = absl::StrCat("rows take ", Size(bytes), ", a process may take ", Size(memory));
  else if (wanted > 1 && for_work > cores)
    plan.why = absl::StrFormat("%d workers would keep %.0f busy, and there are %.0f cores", inputs.workers, for_work, cores);
  else if (wanted > 1)
    plan.why = absl::StrFormat("%d workers keep one busy for %.0f %% of the time, expected at most %.0f %%", inputs.workers, 100 * work, 100 * kBusyMax);
  else
    plan.why =
        absl::StrFormat("%d workers keep it busy for %.0f %% of the time, and rows take %s of %s", inputs.workers, 100 * work, Size(bytes), Size(memory));

  std::vector<double> load(plan.shards);
  for (size_t t = 0; t < inputs.tables.size(); ++t) {
    const TableSpec& spec = inputs.tables[t];
    TablePlan& table = plan.tables[t];
    if (spec.kept_by != KeptBy::kShards) continue;
    const std::vector<double> share = inputs.traffic[t].ShareByShard(spec, plan.shards);
    for (uint32_t s = 0; s < plan.shards; ++s) load[s] += share[s] * ShardSeconds(inputs, table, spec);
    table.busiest = *std::max_element(share.begin(), share.end()) * plan.shards;
    const double hot = inputs.traffic[t].ShareOfHottest(kHotKeys);
    const bool all_of_it = spec.rows && table.pulled >= 0.9 * table.rows;
    if (all_of_it && inputs.workers > 1) table.advice.push_back("every batch reads and writes all of it: what a batch moves does not fall with more shards");
    if (table.busiest > kUneven && plan.shards > 1)
      table.advice.push_back(absl::StrFormat("its busiest shard has %.2g times the mean%s", table.busiest,
                                             RangeCount(spec) < 4 * plan.shards ? ": more ranges would even that out" : ""));
    if (!spec.rows && hot > kHotShare)
      table.advice.push_back(absl::StrFormat("its %d hottest keys take %.0f %% of the traffic%s",
                                             static_cast<int>(std::min<uint64_t>(kHotKeys, inputs.traffic[t].distinct())), 100 * hot,
                                             inputs.stale[t] ? "" : "; where rows may be old (ssp, asp), workers can keep them"));
    if (spec.limits.memory_max == 0 && table.bytes / plan.shards > memory)
      table.advice.push_back(absl::StrCat("its rows do not fit: ", Size(table.bytes / plan.shards), " a shard, which may take ", Size(memory),
                                          spec.rows ? "" : "; memory_max keeps the coldest on disk"));
  }
  plan.bytes = bytes / plan.shards;
  const double busiest = *std::max_element(load.begin(), load.end());
  plan.utilisation = rate * (busiest + inputs.speed.message);
  return plan;
}

}   // namespace troupe
