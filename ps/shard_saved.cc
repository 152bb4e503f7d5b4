// What a shard saves, for its replacement, a replica or a checkpoint, and what it takes up.
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "ps/export.h"
#include "ps/internal/saved_ledger.h"
#include "ps/internal/shard_sections.h"
#include "ps/shard.h"

namespace troupe {

using internal::RangeName;

namespace {

/// In place of a range's bytes: the table whose range it shares.
struct SharedRange {
  uint64_t magic;
  uint32_t table, zero;
};
constexpr uint64_t kSharedRange = 0x31444552'41485326;

}   // namespace

std::vector<SnapshotSection> Shard::Save() const {
  return View().TakeAll();
}

ShardView Shard::View() const {
  ShardView view;
  const internal::SavedLedger ledger{.writers = options_.writers,
                                     .slots = applied_.slots(),
                                     .shard = options_.shard,
                                     .shards = options_.shards,
                                     .nonzeros = nonzeros_,
                                     .rounds_over = rounds_over_,
                                     .late_nonzeros = late_nonzeros_,
                                     .clocks = applied_.clocks(),
                                     .sequences = applied_.sequences()};
  view.Add({internal::kLedgerSection, ledger.Encode()});
  for (uint32_t number = 0; number < tables_.size(); ++number) {
    const Table& table = tables_[number];
    for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
      if (!Has(number, range)) continue;
      const std::string name = RangeName(table.spec(), range);
      if (table.spec().limits.any()) {
        view.Add({name, table.Save(range)});
      } else if (const std::optional<Block> none = SaveWithoutRows(table, range)) {
        view.Add({name, *none});
      } else {
        view.AddRange(name, number, range, table);
      }
    }
  }
  if (map_.epoch() > 0) view.Add({internal::kMapSection, map_.Encode()});
  if (in_doubt() == 0) return view;
  view.Add({internal::kMoveSection, move_->map.Encode()});
  view.Add({internal::kMoveCutSection, Block::Copy(&move_->cut, sizeof move_->cut)});
  for (const SnapshotSection& section : move_->arrived) view.Add({internal::kArrived + section.name, section.bytes});
  return view;
}

std::vector<SnapshotSection> Shard::SaveForReplica() const {
  ShardView view = View();
  std::vector<SnapshotSection> sections;
  for (size_t i = 0; i < view.sections().size(); ++i) {
    if (!view.sections()[i].rows) sections.push_back(view.Take(i));
  }
  sections.push_back({internal::kSlicesSection, Block()});
  sections.push_back({internal::kOrderSection, Block::Copy(&order_, sizeof order_)});
  sections.push_back(SaveHalves());
  return sections;
}

SnapshotSection Shard::SaveHalves() const {
  std::vector<internal::HalfRound> halves(options_.writers);
  for (uint32_t writer = 0; writer < options_.writers; ++writer) {
    const Half& half = halves_[writer];
    const auto waiting = waiting_.find(half.round);
    const bool comes_again = waiting != waiting_.end() && waiting->second.contains(writer);   // with what waits
    if (!comes_again) halves[writer] = {half.round, half.chunks, 0};
  }
  return {internal::kHalvesSection, Block::Copy(std::span<const internal::HalfRound>(halves))};
}

uint32_t Shard::ranges() const {
  uint32_t most = 0;
  for (const Table& table : tables_) {
    if (!table.spec().limits.any()) most = std::max(most, table.partition().ranges());
  }
  return most;
}

template <class Use>
void Shard::EachOfSlice(uint32_t first, uint32_t end, Use&& use) const {
  for (uint32_t number = 0; number < tables_.size(); ++number) {
    const Table& table = tables_[number];
    if (table.spec().limits.any()) continue;
    for (uint32_t range = first; range < std::min(end, table.partition().ranges()); ++range) {
      if (Has(number, range)) use(number, range);
    }
  }
}

uint32_t Shard::SliceEnd(uint32_t first, uint64_t bytes) const {
  uint64_t taken = 0;
  uint32_t end = first;
  while (end < ranges() && taken < bytes) {
    EachOfSlice(end, end + 1, [&](uint32_t number, uint32_t range) { taken += tables_[number].bytes(range); });
    ++end;
  }
  return end;
}

std::vector<SnapshotSection> Shard::SaveSlice(uint32_t first, uint32_t end) const {
  const internal::SliceBounds bounds{first, end};
  std::vector<SnapshotSection> sections = {{internal::kSliceSection, Block::Copy(&bounds, sizeof bounds)}};
  EachOfSlice(first, end, [&](uint32_t number, uint32_t range) {
    const Table& table = tables_[number];
    sections.push_back({RangeName(table.spec(), range), SaveRange(table, range)});
  });
  return sections;
}

absl::Status Shard::TakeSlice(const std::vector<SnapshotSection>& sections) {
  std::map<std::string, const Block*> by_name;
  for (const SnapshotSection& section : sections) by_name[section.name] = &section.bytes;
  const auto head = by_name.find(internal::kSliceSection);
  internal::SliceBounds bounds{1, 0};
  if (head != by_name.end() && head->second->size() == sizeof bounds) std::memcpy(&bounds, head->second->data(), sizeof bounds);
  if (bounds.end > ranges() || bounds.first > bounds.end) return absl::InvalidArgumentError("a slice of a shard's ranges does not say which");
  absl::Status status;
  EachOfSlice(bounds.first, bounds.end, [&](uint32_t number, uint32_t range) {
    if (!status.ok()) return;
    const TableSpec& spec = tables_[number].spec();
    const auto section = by_name.find(RangeName(spec, range));
    status = section == by_name.end() ? absl::InvalidArgumentError(absl::StrCat("slice lacks range ", range, " of table '", spec.name, "'"))
                                      : LoadRange(number, range, *section->second);
  });
  return status;
}

Shard::Digest Shard::DigestOf(uint32_t table, uint32_t range) const {
  const Block rows = ExportRange(tables_[table], range);
  return {.clocks = XXH3_64bits(applied_.clocks().data(), applied_.clocks().size() * sizeof(Round)), .rows = XXH3_64bits(rows.data(), rows.size())};
}

std::vector<Push> Shard::Waiting() const {
  std::vector<Push> all;
  for (const auto& [round, writers] : waiting_) {
    for (const auto& [writer, messages] : writers) all.insert(all.end(), messages.begin(), messages.end());
  }
  return all;
}

Block Shard::SaveRange(const Table& table, uint32_t range) const {
  const std::optional<Block> none = SaveWithoutRows(table, range);
  return none ? *none : table.Save(range);
}

std::optional<Block> Shard::SaveWithoutRows(const Table& table, uint32_t range) const {
  if (table.Blank(range)) return Block();
  for (const Table& earlier : tables_) {
    if (&earlier == &table) break;
    if (!earlier.Shares(table, range)) continue;
    const SharedRange shared{kSharedRange, static_cast<uint32_t>(&earlier - tables_.data()), 0};
    return Block::Copy(std::span<const SharedRange>(&shared, 1));
  }
  return std::nullopt;
}

absl::Status Shard::LoadRange(uint32_t number, uint32_t range, const Block& bytes) {
  Table& table = tables_[number];
  if (bytes.empty() && !table.spec().branch_of.empty()) {
    table.ResetRange(range);
    return absl::OkStatus();
  }
  SharedRange shared;
  if (bytes.size() != sizeof shared) return table.Load(range, bytes);
  std::memcpy(&shared, bytes.data(), sizeof shared);
  if (shared.magic != kSharedRange || shared.table >= number || !CheckSameRows(table.spec(), tables_[shared.table].spec()).ok()) {
    return absl::InvalidArgumentError(absl::StrCat("snapshot: range ", range, " of table '", table.spec().name, "' is said to be that of table ", shared.table,
                                                   ", expected an earlier one like it"));
  }
  table.Share(tables_[shared.table], range);
  return absl::OkStatus();
}

absl::Status Shard::Load(const std::vector<SnapshotSection>& sections) {
  std::map<std::string, const Block*> by_name;
  for (const SnapshotSection& section : sections) by_name[section.name] = &section.bytes;
  const auto found = by_name.find(internal::kLedgerSection);
  TROUPE_TRY(internal::SavedLedger ledger, internal::SavedLedger::Decode(found == by_name.end() ? Block() : *found->second));
  if (ledger.writers != options_.writers || ledger.slots != applied_.slots() || ledger.shard != options_.shard || ledger.shards != options_.shards) {
    return absl::InvalidArgumentError(absl::StrCat("snapshot is of shard ", ledger.shard, " of ", ledger.shards, " with ", ledger.writers,
                                                   " writers, expected shard ", options_.shard, " of ", options_.shards, " with ", options_.writers));
  }
  RangeMap map(options_.tables, options_.shards), next;
  const auto find = [&by_name](const char* name) {
    const auto section = by_name.find(name);
    return section == by_name.end() ? nullptr : section->second;
  };
  if (const Block* bytes = find(internal::kMapSection)) {
    TROUPE_TRY(map, RangeMap::Decode(options_.tables, options_.shards, *bytes));
  }
  const Block *move = find(internal::kMoveSection), *cut = find(internal::kMoveCutSection);
  if (move != nullptr) {
    TROUPE_TRY(next, RangeMap::Decode(options_.tables, options_.shards, *move));
    if (cut == nullptr || cut->size() != sizeof(uint64_t)) return absl::InvalidArgumentError("snapshot is of a move of ranges, and does not say of which");
  }
  DropArrived();
  move_.reset();
  gate_ = CutGate();
  FollowMap(map);
  const bool slices = by_name.contains(internal::kSlicesSection);
  for (uint32_t number = 0; number < tables_.size(); ++number) {
    const Table& table = tables_[number];
    for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
      if (!table.Owns(range)) continue;
      const auto section = by_name.find(RangeName(table.spec(), range));
      if (slices && section == by_name.end() && !table.spec().limits.any()) continue;
      if (section == by_name.end()) return absl::InvalidArgumentError(absl::StrCat("snapshot lacks range ", range, " of table '", table.spec().name, "'"));
      TROUPE_RETURN_IF_ERROR(LoadRange(number, range, *section->second));
    }
  }
  applied_.Restore(std::move(ledger.clocks), std::move(ledger.sequences));
  arrived_ = applied_;
  halves_.assign(options_.writers, {});
  if (const Block* halves = find(internal::kHalvesSection); halves != nullptr && halves->size() == options_.writers * sizeof(internal::HalfRound)) {
    for (uint32_t writer = 0; writer < options_.writers; ++writer) {
      const internal::HalfRound& half = halves->As<internal::HalfRound>()[writer];
      halves_[writer] = {.round = half.round, .chunks = half.chunks};
    }
  }
  order_ = 0;
  if (const Block* order = find(internal::kOrderSection); order != nullptr && order->size() == sizeof order_)
    std::memcpy(&order_, order->data(), sizeof order_);
  begun_ = applied_.clocks();
  for (uint32_t slot = 0; slot < applied_.slots(); ++slot) {   // parts of a round that was not whole yet
    for (uint32_t writer = 0; writer < options_.writers; ++writer) begun_[writer] = std::max(begun_[writer], applied_.sequence(slot, writer) >> 8);
  }
  for (uint32_t writer = 0; writer < options_.writers; ++writer)
    begun_[writer] = std::max(begun_[writer], halves_[writer].round);   // of one without parts so far
  views_.clear();
  key_lists_.assign(options_.writers, {});
  waiting_.clear();
  last_round_ = *std::max_element(applied_.clocks().begin(), applied_.clocks().end());   // of any writer: what is applied is applied for all
  nonzeros_ = ledger.nonzeros;
  rounds_over_ = ledger.rounds_over;
  late_nonzeros_ = ledger.late_nonzeros;
  pulled_rows_.Clear();
  TellRounds(true);
  if (move == nullptr) return absl::OkStatus();
  uint64_t number;
  std::memcpy(&number, cut->data(), sizeof number);
  TROUPE_RETURN_IF_ERROR(gate_.Hold(number, applied_.clocks()));
  TROUPE_RETURN_IF_ERROR(gate_.Aim(number, applied_.clocks()));
  std::vector<SnapshotSection> arrived;
  for (const SnapshotSection& section : sections) {
    if (section.name.starts_with(internal::kArrived)) arrived.push_back({section.name.substr(std::strlen(internal::kArrived)), section.bytes});
  }
  move_ = Move{.cut = number, .map = std::move(next)};
  return OnTakeIn(number, arrived);
}

}   // namespace troupe
