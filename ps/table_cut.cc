#include "ps/table_cut.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/ask.h"
#include "actors/random.h"
#include "actors/status.h"
#include "ps/cut.h"
#include "ps/partition.h"

namespace troupe {
namespace {

uint64_t RandomCut() {
  std::random_device device;
  return std::max<uint64_t>(1, Mix64(uint64_t{device()} << 32 | device()));
}

}   // namespace

TableCut::TableCut(System& system, std::vector<ShardActor> shards, std::vector<TableSpec> tables, const TableCutOptions& options)
    : system_(system), shards_(std::move(shards)), tables_(std::move(tables)), options_(options) {}

absl::StatusOr<std::unique_ptr<TableCut>> TableCut::Make(System& system, std::vector<ShardActor> shards, std::vector<TableSpec> tables,
                                                         const TableCutOptions& options) {
  std::unique_ptr<TableCut> cut(new TableCut(system, std::move(shards), std::move(tables), options));
  const auto end = std::chrono::steady_clock::now() + options.patience;
  for (;;) {
    const absl::Status status = cut->Try();
    if (status.ok()) return cut;
    cut->Release();
    if (!IsRetryable(status)) return status;
    if (std::chrono::steady_clock::now() >= end) return absl::UnavailableError(absl::StrCat("no cut could be made: ", status.message()));
    std::this_thread::sleep_for(std::chrono::milliseconds(5 + cut->cut_ % 50));   // two that have met should not meet again
  }
}

TableCut::~TableCut() {
  Release();
}

void TableCut::Release() {
  for (const ShardActor& shard : shards_) System::Deliver(shard, troupe::Release{cut_});
}

absl::Status TableCut::Try() {
  cut_ = RandomCut();
  std::vector<Prepared> prepared;
  const std::chrono::milliseconds hold = options_.step_max * 2, answer = options_.step_max * 4;
  for (const ShardActor& shard : shards_) {
    TROUPE_TRY(Prepared clocks, Ask<Prepared>(system_, shard, Prepare{cut_, hold}, answer));
    prepared.push_back(std::move(clocks));
  }
  TROUPE_TRY(const std::vector<Round> clocks, CutOf(prepared));
  for (const ShardActor& shard : shards_) {
    const Freeze freeze{.cut = cut_, .clocks = Block::Copy(std::span<const Round>(clocks)), .wait = options_.step_max, .lease = options_.lease};
    TROUPE_RETURN_IF_ERROR(Ask<Frozen>(system_, shard, freeze, answer).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<Rows> TableCut::ReadRange(uint32_t table, uint32_t range) const {
  if (table >= tables_.size()) return absl::InvalidArgumentError(absl::StrCat("table is ", table, ", expected < ", tables_.size()));
  const Partition partition(tables_[table], static_cast<uint32_t>(shards_.size()));
  const FunctionCall call{.function = "rows", .tables = {table}, .numbers = {{"range", {static_cast<double>(range)}}}};
  const ShardActor& shard = shards_[range < partition.ranges() ? partition.ShardOf(range) : 0];   // who refuses what is none
  TROUPE_TRY(const Called called, Ask<Called>(system_, shard, ::troupe::Call{.call = call, .at = 0, .assigned = {}, .view = cut_}, options_.patience));
  const uint32_t width = tables_[table].width;
  if (!called.keys.IsArrayOf<Key>() || !called.numbers.IsArrayOf<double>() || called.numbers.As<double>().size() != called.keys.As<Key>().size() * width)
    return absl::InvalidArgumentError(absl::StrCat("rows of range ", range, " of table '", tables_[table].name, "' are cut"));
  const std::span<const Key> keys = called.keys.As<Key>();
  Rows rows{.keys = {keys.begin(), keys.end()}, .width = width, .values = {}};
  rows.values.reserve(keys.size() * width);
  for (const double number : called.numbers.As<double>()) rows.values.push_back(static_cast<float>(number));
  return rows;
}

absl::StatusOr<Rows> TableCut::ReadAll(uint32_t table) const {
  if (table >= tables_.size()) return absl::InvalidArgumentError(absl::StrCat("table is ", table, ", expected < ", tables_.size()));
  const uint32_t width = tables_[table].width;
  Rows all{.keys = {}, .width = width, .values = {}};
  for (uint32_t range = 0; range < RangeCount(tables_[table]); ++range) {
    TROUPE_TRY(const Rows rows, ReadRange(table, range));
    all.keys.insert(all.keys.end(), rows.keys.begin(), rows.keys.end());
    all.values.insert(all.values.end(), rows.values.begin(), rows.values.end());
  }
  if (tables_[table].rows) return all;   // ranges of dense tables follow one another
  std::vector<size_t> order(all.keys.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t i) { return all.keys[i]; });
  Rows sorted{.keys = {}, .width = width, .values = {}};
  sorted.keys.reserve(order.size());
  sorted.values.reserve(all.values.size());
  for (const size_t i : order) {
    sorted.keys.push_back(all.keys[i]);
    sorted.values.insert(sorted.values.end(), all.values.begin() + static_cast<std::ptrdiff_t>(i * width),
                         all.values.begin() + static_cast<std::ptrdiff_t>((i + 1) * width));
  }
  return sorted;
}

}   // namespace troupe
