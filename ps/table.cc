#include "ps/table.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "actors/check.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/internal/table_impl.h"

namespace troupe {
namespace {

using internal::DenseRange;
using internal::KeyRun;
using internal::kWalkBlock;
using internal::RowStore;
using internal::WalkRows;

uint64_t MachineBytes() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
}

}   // namespace

absl::StatusOr<Table> Table::Make(const TableSpec& spec, uint32_t shard, uint32_t shards, const TierFactory& tiers) {
  TROUPE_RETURN_IF_ERROR(Validate(spec));
  auto impl = std::make_unique<Impl>();
  impl->arena = std::make_shared<internal::Arena>(spec.rows ? internal::kRangesArena : internal::ArenaOptions());
  impl->spec = spec;
  if (shard > shards) return impl->Refuse(absl::StrCat("shard is ", shard, ", expected at most the number of shards, ", shards));
  TROUPE_TRY(impl->rule, MakeUpdateRule(spec));
  impl->partition = Partition(spec, shards);
  impl->width = spec.width;
  impl->floats = impl->rule->floats(spec.width);
  impl->spares = (spec.l1 > 0 || spec.l2 > 0 || spec.weight_decay > 0) && spec.penalised_from > 0;
  impl->tames = spec.clip_value > 0 || spec.clip_norm > 0 || spec.non_finite != NonFinite::kRefuse;
  const uint32_t first = impl->partition.FirstRange(shard), end = impl->partition.FirstRange(shard + 1);
  const bool shares_blanks = !spec.branch_of.empty() && spec.init.kind == RowInit::Kind::kZero;
  if (!spec.rows) {
    if (spec.limits.any()) TROUPE_RETURN_IF_ERROR(impl->MakeLimits(end - first, tiers));
    impl->sparse.resize(impl->partition.ranges());
    impl->versions.resize(impl->partition.ranges());
    if (!spec.branch_of.empty()) impl->blank_sparse = std::make_shared<RowStore>(impl->NewStore());
    for (uint32_t range = first; range < end; ++range) impl->Begin(range);
    return Table(std::move(impl));
  }
  uint64_t bytes = 0;
  for (uint32_t range = first; range < end; ++range) bytes += DenseRange::Bytes(impl->partition.RowsIn(range), spec.width, impl->floats);
  if (bytes > MachineBytes()) {
    return absl::ResourceExhaustedError(absl::StrCat("table '", spec.name, "' takes ", HumanBytes(bytes), ", this machine has ", HumanBytes(MachineBytes())));
  }
  impl->dense.resize(impl->partition.ranges());
  impl->versions.resize(impl->partition.ranges());
  for (uint32_t range = 0; shares_blanks && range < impl->partition.ranges(); ++range) {
    auto& blank = impl->blank_dense[impl->partition.RowsIn(range)];
    if (blank == nullptr) blank = impl->NewDense(range);
  }
  for (uint32_t range = first; range < end; ++range) impl->Begin(range);
  return Table(std::move(impl));
}

std::shared_ptr<DenseRange> Table::Impl::NewDense(uint32_t range) const {
  return std::make_shared<DenseRange>(arena, partition.RowsIn(range), width, floats, rule->counts_pushes());
}

void Table::Impl::Begin(uint32_t place) {
  Touched(place);
  if (!partition.dense()) {
    sparse[place] = blank_sparse != nullptr ? blank_sparse : std::make_shared<RowStore>(NewStore());
    return;
  }
  const uint32_t range = place;
  if (const auto blank = blank_dense.find(partition.RowsIn(range)); blank != blank_dense.end()) {
    dense[place] = blank->second;
    return;
  }
  dense[place] = NewDense(range);
  if (spec.init.kind == RowInit::Kind::kZero) return;
  std::vector<float> values(width);
  for (uint64_t row = 0; row < partition.RowsIn(range); ++row) {
    spec.init.Fill(partition.FirstRow(range) + row, width, values.data());
    rule->SetDense(dense[place]->View(row, 1, Unpenalised(range)), values.data());
  }
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
  return range < impl_->places() && impl_->Here(range);
}
uint64_t Table::non_finite() const {
  return impl_->non_finite;
}
uint64_t Table::clipped() const {
  return impl_->clipped;
}
void Table::SetStep(double step) {
  impl_->step = step;
}

absl::Status Table::Pull(std::span<const RowsOut> rows) const {
  TROUPE_RETURN_IF_ERROR(impl_->CheckUsable());
  for (const RowsOut& out : rows) TROUPE_RETURN_IF_ERROR(impl_->CheckRows(out.rows));
  const uint32_t width = impl_->width;
  const UpdateRule& rule = *impl_->rule;
  if (impl_->partition.dense() && rule.holds_values()) {
    impl_->CopyDense(rows);
    return absl::OkStatus();
  }
  if (impl_->partition.dense()) {
    impl_->EachRun(rows, [&](size_t set, uint64_t row, size_t at, size_t n) {
      const uint32_t range = rows[set].rows.range;
      rule.ReadDense(impl_->dense[impl_->Place(range)]->View(row, n, impl_->Unpenalised(range)), rows[set].values + at * width);
    });
    return absl::OkStatus();
  }
  const bool zeros = impl_->spec.init.kind == RowInit::Kind::kZero;
  const bool flags_wanted = impl_->spares && !rule.holds_values();
  std::vector<float> missing;
  const std::vector<KeyRun> runs = impl_->Runs(rows);
  if (impl_->tier() != nullptr) [[unlikely]] {
    std::vector<Impl::KeyPlace> without_row;
    TROUPE_RETURN_IF_ERROR(impl_->Bring(runs, true, &without_row));
  }
  WalkRows<false>(
      runs, [](size_t, size_t, float*) {},
      [&](size_t run, size_t at, std::span<float* const> found) {
        const Key* keys = runs[run].keys + at;
        std::array<bool, kWalkBlock> flags;
        if (!zeros && std::find(found.begin(), found.end(), nullptr) != found.end()) {
          missing.resize(kWalkBlock * width);
          for (size_t i = 0; i < found.size(); ++i) {
            if (found[i] == nullptr) impl_->spec.init.Fill(keys[i], width, missing.data() + i * width);
          }
        }
        rule.ReadRows(found, width, flags_wanted ? impl_->Penalised(keys, found.size(), flags) : std::span<const bool>(),
                      missing.empty() ? nullptr : missing.data(), rows[run].values + at * width);
      });
  if (impl_->tier() != nullptr) [[unlikely]]
    impl_->Settle(runs);
  return absl::OkStatus();
}

absl::Status Table::Check(std::span<const RowsIn> gradients) const {
  TROUPE_RETURN_IF_ERROR(impl_->CheckUsable());
  for (const RowsIn& in : gradients) TROUPE_RETURN_IF_ERROR(impl_->CheckRows(in.rows));
  if (impl_->spec.non_finite == NonFinite::kRefuse) TROUPE_RETURN_IF_ERROR(impl_->CheckFinite("gradient", gradients));
  return impl_->CheckRoom(gradients);
}

void Table::Apply(std::span<const RowsIn> gradients, float scale) {
  Impl& impl = *impl_;
  const uint32_t width = impl.width;
  if (!impl.spec.schedule.constant()) scale *= static_cast<float>(impl.spec.schedule.At(impl.step));
  if (impl.partition.dense()) {
    impl.OwnDense(gradients);
    impl.ApplyDense(gradients, scale);
    return;
  }
  if (impl.limits != nullptr) [[unlikely]]
    gradients = impl.Admit(gradients);
  const std::vector<KeyRun> runs = impl.OwnRuns(gradients);
  WalkRows<true>(
      runs,
      [&](size_t run, size_t i, float* row) {
        if (impl.spec.init.kind == RowInit::Kind::kZero) return;
        std::vector<float> values(width);
        const Key key = runs[run].keys[i];
        impl.spec.init.Fill(key, width, values.data());
        impl.rule->Set(row, width, Penalises(key), values.data());
      },
      [&](size_t run, size_t at, std::span<float* const> rows) {
        std::array<bool, kWalkBlock> flags;
        impl.rule->ApplyRows(rows, impl.Tame(gradients[run].numbers + at * width, rows.size()), width, impl.Penalised(runs[run].keys + at, rows.size(), flags),
                             scale);
        if (impl.limits != nullptr) [[unlikely]]
          impl.Touch(rows);
      });
  if (impl.limits != nullptr) [[unlikely]]
    impl.Settle(runs);
}

absl::Status Table::Assign(std::span<const RowsIn> values) {
  Impl& impl = *impl_;
  TROUPE_RETURN_IF_ERROR(impl.CheckUsable());
  for (const RowsIn& in : values) TROUPE_RETURN_IF_ERROR(impl.CheckRows(in.rows));
  TROUPE_RETURN_IF_ERROR(impl.CheckFinite("value", values));
  if (impl.partition.dense()) {
    impl.OwnDense(values);
    impl.EachRun(values, [&](size_t set, uint64_t row, size_t at, size_t n) {
      const uint32_t range = values[set].rows.range;
      impl.rule->SetDense(impl.dense[impl.Place(range)]->View(row, n, impl.Unpenalised(range)), values[set].numbers + at * impl.width);
    });
    return absl::OkStatus();
  }
  TROUPE_RETURN_IF_ERROR(impl.CheckRoom(values));
  const std::vector<KeyRun> runs = impl.OwnRuns(values);
  if (impl.tier() != nullptr) {
    std::vector<Impl::KeyPlace> without_row;
    TROUPE_RETURN_IF_ERROR(impl.Bring(runs, false, &without_row));
  }
  WalkRows<true>(
      runs, [](size_t, size_t, float*) {},
      [&](size_t run, size_t at, std::span<float* const> rows) {
        for (size_t i = 0; i < rows.size(); ++i) {
          impl.rule->Set(rows[i], impl.width, Penalises(runs[run].keys[at + i]), values[run].numbers + (at + i) * impl.width);
        }
        if (impl.limits != nullptr) impl.Touch(rows);
      });
  if (impl.limits != nullptr) impl.Settle(runs);
  return absl::OkStatus();
}

absl::Status Table::Pull(uint32_t range, std::span<const Key> keys, float* out) const {
  const RowsOut rows{RowSet::Of(range, keys), out};
  return Pull({&rows, 1});
}
absl::Status Table::PullDense(uint32_t range, Key first, uint64_t n, float* out) const {
  const RowsOut rows{RowSet::Run(range, first, n), out};
  return Pull({&rows, 1});
}
absl::StatusOr<std::optional<Block>> Table::Lend(uint32_t range) const {
  TROUPE_RETURN_IF_ERROR(impl_->CheckUsable());
  TROUPE_RETURN_IF_ERROR(impl_->CheckRows(RowSet::Run(range, impl_->partition.FirstRow(range), impl_->partition.RowsIn(range))));
  if (!impl_->rule->holds_values()) return std::nullopt;
  const std::shared_ptr<internal::DenseRange>& rows = impl_->dense[impl_->Place(range)];
  return Block::View(rows->Row(0).values, rows->rows() * impl_->width * sizeof(float), rows);
}
absl::Status Table::Apply(uint32_t range, std::span<const Key> keys, const float* gradient) {
  const RowsIn rows{RowSet::Of(range, keys), gradient};
  TROUPE_RETURN_IF_ERROR(Check({&rows, 1}));
  Apply({&rows, 1});
  return absl::OkStatus();
}
absl::Status Table::ApplyDense(uint32_t range, Key first, uint64_t n, const float* gradient) {
  const RowsIn rows{RowSet::Run(range, first, n), gradient};
  TROUPE_RETURN_IF_ERROR(Check({&rows, 1}));
  Apply({&rows, 1});
  return absl::OkStatus();
}
absl::Status Table::Assign(uint32_t range, std::span<const Key> keys, const float* values) {
  const RowsIn rows{RowSet::Of(range, keys), values};
  return Assign({&rows, 1});
}

uint64_t Table::rows() const {
  uint64_t rows = 0;
  for (const auto& range : impl_->sparse) rows += range == nullptr ? 0 : range->rows();
  rows += spilled();
  for (const auto& range : impl_->dense) rows += range == nullptr ? 0 : range->rows();
  return rows;
}

uint64_t Table::rows(uint32_t range) const {
  const uint32_t place = impl_->Place(range);
  if (impl_->partition.dense()) return impl_->dense[place]->rows();
  return impl_->sparse[place]->rows() + (impl_->limits != nullptr ? impl_->limits->ranges[place].spilled : 0);
}

size_t Table::bytes() const {
  size_t bytes = 0;
  for (const auto& range : impl_->sparse) bytes += range == nullptr ? 0 : range->bytes();
  for (const auto& range : impl_->dense) bytes += range == nullptr ? 0 : range->bytes();
  if (impl_->tier() != nullptr) bytes += impl_->tier()->bytes();
  return bytes;
}

size_t Table::bytes(uint32_t range) const {
  TROUPE_CHECK(Owns(range));
  return impl_->partition.dense() ? impl_->dense[range]->bytes() : impl_->sparse[range]->rows() * (sizeof(Key) + impl_->row_bytes());
}

uint64_t Table::version(uint32_t range) const {
  TROUPE_CHECK(Owns(range));
  return impl_->versions[impl_->Place(range)];
}

size_t Table::own_bytes() const {
  size_t bytes = 0;
  for (const auto& range : impl_->sparse) bytes += range.use_count() == 1 ? range->bytes() : 0;
  for (const auto& range : impl_->dense) bytes += range.use_count() == 1 ? range->bytes() : 0;
  return bytes;
}

Table Table::Fork() const {
  TROUPE_CHECK(impl_->limits == nullptr);   // what lies on the disk is nobody else's
  return Table(std::make_unique<Impl>(*impl_));
}

absl::Status Table::Become(const Table& from) {
  TROUPE_RETURN_IF_ERROR(CheckSameRows(impl_->spec, from.spec()));
  for (uint32_t range = 0; range < impl_->places(); ++range) TROUPE_CHECK(Owns(range) == from.Owns(range));   // of one shard
  impl_->sparse = from.impl_->sparse;
  impl_->dense = from.impl_->dense;
  for (uint32_t place = 0; place < impl_->places(); ++place) impl_->Touched(place);
  return absl::OkStatus();
}

void Table::Reset() {
  for (uint32_t place = 0; place < impl_->places(); ++place) {
    if (impl_->Here(place)) impl_->Begin(place);
  }
}
void Table::ResetRange(uint32_t range) {
  TROUPE_CHECK(Owns(range));
  impl_->Begin(impl_->Place(range));
}

void Table::Add(uint32_t range) {
  TROUPE_CHECK(range < impl_->places() && !Owns(range) && impl_->tier() == nullptr);
  impl_->Begin(range);
  if (impl_->limits != nullptr) impl_->limits->ranges[range] = impl_->NewRangeLimits();
}
void Table::Drop(uint32_t range) {
  TROUPE_CHECK(Owns(range) && impl_->tier() == nullptr);
  if (impl_->limits != nullptr) impl_->limits->ranges[range] = impl_->NewRangeLimits();
  impl_->partition.dense() ? impl_->dense[range].reset() : impl_->sparse[range].reset();
}

bool Table::Shares(const Table& other, uint32_t range) const {
  if (!Owns(range) || !other.Owns(range)) return false;
  const uint32_t place = impl_->Place(range), its = other.impl_->Place(range);
  if (impl_->partition.dense() != other.impl_->partition.dense()) return false;
  return impl_->partition.dense() ? impl_->dense[place] == other.impl_->dense[its] : impl_->sparse[place] == other.impl_->sparse[its];
}

void Table::Share(const Table& other, uint32_t range) {
  TROUPE_CHECK(Owns(range) && other.Owns(range));
  const uint32_t place = impl_->Place(range), its = other.impl_->Place(range);
  impl_->Touched(place);
  impl_->partition.dense() ? void(impl_->dense[place] = other.impl_->dense[its]) : void(impl_->sparse[place] = other.impl_->sparse[its]);
}

bool Table::Blank(uint32_t range) const {
  const uint32_t place = impl_->Place(range);
  if (!impl_->partition.dense()) return impl_->blank_sparse != nullptr && impl_->sparse[place] == impl_->blank_sparse;
  const auto blank = impl_->blank_dense.find(impl_->partition.RowsIn(range));
  return blank != impl_->blank_dense.end() && impl_->dense[place] == blank->second;
}

}   // namespace troupe
