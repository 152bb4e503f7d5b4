#include "ps/table.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "actors/status.h"
#include "actors/text.h"
#include "ps/internal/table_impl.h"

namespace troupe {
namespace {

using internal::DenseRange;
using internal::kAhead;
using internal::kBlock;
using internal::SparseRange;

/// Calls each(at, n, slots) for every block of keys, with rows made where they are missing. The caller has prefetched the first kAhead keys.
template <class Each>
void EachBlock(SparseRange& rows, std::span<const Key> keys, const Each& each) {
  std::array<SparseRange::Slot, kBlock> slots;
  for (size_t at = 0; at < keys.size(); at += kBlock) {
    const size_t n = std::min(kBlock, keys.size() - at);
    rows.MakeRoom(n);
    for (size_t i = at + kAhead; i < std::min(keys.size(), at + kAhead + n); ++i) rows.Prefetch(HashKey(keys[i]));
    for (size_t i = 0; i < n; ++i) slots[i] = rows.FindOrMake(keys[at + i], HashKey(keys[at + i]));
    each(at, n, slots.data());
  }
}

/// Calls each(at, n) for every run of consecutive keys.
template <class Each>
void EachRun(std::span<const Key> keys, const Each& each) {
  for (size_t at = 0, end; at < keys.size(); at = end) {
    for (end = at + 1; end < keys.size() && keys[end] == keys[end - 1] + 1; ++end) {
    }
    each(at, end - at);
  }
}

uint64_t MachineBytes() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
}

}   // namespace

absl::StatusOr<Table> Table::Make(const TableSpec& spec, uint32_t shard, uint32_t shards) {
  TROUPE_RETURN_IF_ERROR(Validate(spec));
  auto impl = std::make_unique<Impl>();
  impl->arena = std::make_shared<internal::Arena>();
  impl->spec = spec;
  if (shard >= shards) return impl->Refuse(absl::StrCat("shard is ", shard, ", expected below the number of shards, ", shards));
  TROUPE_TRY(impl->rule, MakeUpdateRule(spec));
  impl->partition = Partition(spec, shards);
  impl->width = spec.width;
  impl->state = impl->rule->state(spec.width);
  impl->spares = (spec.l1 > 0 || spec.l2 > 0) && spec.penalised_from > 0;
  const uint64_t ranges = impl->partition.ranges();
  impl->first_range = static_cast<uint32_t>((shard * ranges + shards - 1) / shards);
  const uint32_t end = static_cast<uint32_t>(((shard + uint64_t{1}) * ranges + shards - 1) / shards);
  if (!spec.rows) {
    for (uint32_t range = impl->first_range; range < end; ++range) impl->sparse.emplace_back(impl->arena, impl->width + impl->state);
    return Table(std::move(impl));
  }
  uint64_t bytes = 0;
  for (uint32_t range = impl->first_range; range < end; ++range) bytes += DenseRange::Bytes(impl->partition.RowsIn(range), spec.width, impl->state);
  if (bytes > MachineBytes()) {
    return absl::ResourceExhaustedError(absl::StrCat("table '", spec.name, "' takes ", HumanBytes(bytes), ", this machine has ", HumanBytes(MachineBytes())));
  }
  impl->dense_memory = internal::Memory(impl->arena, std::max<uint64_t>(bytes, 1));
  std::byte* memory = impl->dense_memory.get();
  for (uint32_t range = impl->first_range; range < end; ++range) {
    const uint64_t rows = impl->partition.RowsIn(range);
    impl->dense.emplace_back(memory, rows, spec.width, impl->state);
    memory += DenseRange::Bytes(rows, spec.width, impl->state);
  }
  return Table(std::move(impl));
}

Table::Table(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Table::Table(Table&&) noexcept = default;
Table& Table::operator=(Table&&) noexcept = default;
Table::~Table() = default;

const TableSpec& Table::spec() const {
  return impl_->spec;
}
const Partition& Table::partition() const {
  return impl_->partition;
}
const UpdateRule& Table::rule() const {
  return *impl_->rule;
}
bool Table::Owns(uint32_t range) const {
  return range >= impl_->first_range && range - impl_->first_range < impl_->held();
}

void Table::Prefetch(uint32_t range, std::span<const Key> keys) const {
  if (Owns(range) && !impl_->partition.dense()) impl_->sparse[impl_->Place(range)].Prefetch(keys.first(std::min(keys.size(), kAhead)));
}

absl::Status Table::Pull(uint32_t range, std::span<const Key> keys, float* out) const {
  TROUPE_RETURN_IF_ERROR(impl_->CheckKeys(range, keys));
  const uint32_t width = impl_->width;
  if (impl_->partition.dense()) {
    const DenseRange& rows = impl_->dense[impl_->Place(range)];
    const Key first = impl_->partition.FirstRow(range);
    EachRun(keys, [&](size_t at, size_t n) { std::memcpy(out + at * width, rows.Values(keys[at] - first), n * width * sizeof(float)); });
    return absl::OkStatus();
  }
  const SparseRange& rows = impl_->sparse[impl_->Place(range)];
  for (size_t i = 0; i < keys.size(); ++i, out += width) {
    if (i + kAhead < keys.size()) rows.Prefetch(HashKey(keys[i + kAhead]));
    const SparseRange::Slot slot = rows.Find(keys[i], HashKey(keys[i]));
    const float* row = slot == SparseRange::kMissing ? nullptr : rows.Row(slot);
    for (uint32_t j = 0; j < width; ++j) out[j] = row == nullptr ? 0 : row[j];
  }
  return absl::OkStatus();
}

absl::Status Table::PullDense(uint32_t range, Key first, uint64_t n, float* out) const {
  TROUPE_RETURN_IF_ERROR(impl_->CheckRows(range, first, n));
  const float* values = impl_->dense[impl_->Place(range)].Values(first - impl_->partition.FirstRow(range));
  if (n > 0) std::memcpy(out, values, n * impl_->width * sizeof(float));
  return absl::OkStatus();
}

absl::Status Table::Check(uint32_t range, std::span<const Key> keys, const float* gradient) const {
  TROUPE_RETURN_IF_ERROR(impl_->CheckKeys(range, keys));
  return impl_->CheckFinite("gradient", gradient, keys.size(), keys, 0);
}

absl::Status Table::CheckDense(uint32_t range, Key first, uint64_t n, const float* gradient) const {
  TROUPE_RETURN_IF_ERROR(impl_->CheckRows(range, first, n));
  return impl_->CheckFinite("gradient", gradient, n, {}, first);
}

void Table::ApplyChecked(uint32_t range, std::span<const Key> keys, const float* gradient) {
  const uint32_t width = impl_->width;
  if (impl_->partition.dense()) {
    DenseRange& rows = impl_->dense[impl_->Place(range)];
    const Key first = impl_->partition.FirstRow(range);
    const uint64_t unpenalised = impl_->Unpenalised(range);
    EachRun(keys, [&](size_t at, size_t n) { impl_->rule->ApplyDense(rows.View(keys[at] - first, n, unpenalised), gradient + at * width); });
    return;
  }
  SparseRange& rows = impl_->sparse[impl_->Place(range)];
  EachBlock(rows, keys, [&](size_t at, size_t n, const SparseRange::Slot* slots) { impl_->ApplyBlock(rows, slots, n, gradient + at * width); });
}

void Table::ApplyDenseChecked(uint32_t range, Key first, uint64_t n, const float* gradient) {
  const uint64_t row = first - impl_->partition.FirstRow(range);
  impl_->rule->ApplyDense(impl_->dense[impl_->Place(range)].View(row, n, impl_->Unpenalised(range)), gradient);
}

absl::Status Table::Apply(uint32_t range, std::span<const Key> keys, const float* gradient) {
  TROUPE_RETURN_IF_ERROR(Check(range, keys, gradient));
  ApplyChecked(range, keys, gradient);
  return absl::OkStatus();
}

absl::Status Table::ApplyDense(uint32_t range, Key first, uint64_t n, const float* gradient) {
  TROUPE_RETURN_IF_ERROR(CheckDense(range, first, n, gradient));
  ApplyDenseChecked(range, first, n, gradient);
  return absl::OkStatus();
}

absl::Status Table::Assign(uint32_t range, std::span<const Key> keys, const float* values) {
  TROUPE_RETURN_IF_ERROR(impl_->CheckKeys(range, keys));
  TROUPE_RETURN_IF_ERROR(impl_->CheckFinite("value", values, keys.size(), keys, 0));
  const uint32_t width = impl_->width;
  const uint32_t error = impl_->rule->error_state(width);
  if (impl_->partition.dense()) {
    DenseRange& rows = impl_->dense[impl_->Place(range)];
    for (size_t i = 0; i < keys.size(); ++i, values += width) {
      const uint64_t row = keys[i] - impl_->partition.FirstRow(range);
      std::copy_n(values, width, rows.Values(row));
      rows.ClearError(row, error);
    }
    return absl::OkStatus();
  }
  SparseRange& rows = impl_->sparse[impl_->Place(range)];
  EachBlock(rows, keys, [&](size_t at, size_t n, const SparseRange::Slot* slots) {
    for (size_t i = 0; i < n; ++i) {
      float* row = rows.Row(slots[i]);
      std::fill_n(std::copy_n(values + (at + i) * width, width, row), error, 0.0f);
    }
  });
  return absl::OkStatus();
}

uint64_t Table::rows() const {
  uint64_t rows = 0;
  for (const SparseRange& range : impl_->sparse) rows += range.rows();
  for (const DenseRange& range : impl_->dense) rows += range.rows();
  return rows;
}

size_t Table::bytes() const {
  size_t bytes = 0;
  for (const SparseRange& range : impl_->sparse) bytes += range.bytes();
  for (const DenseRange& range : impl_->dense) bytes += range.bytes();
  return bytes;
}

}   // namespace troupe
