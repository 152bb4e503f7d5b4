#include "ps/reshard.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/internal/saved_ledger.h"
#include "ps/internal/shard_sections.h"
#include "ps/partition.h"
#include "ps/range_map.h"
#include "ps/snapshot_places.h"

namespace troupe {
namespace {

using internal::RangeName;
using internal::SavedLedger;
using internal::SequencesName;

/// What one shard had.
struct Saved {
  std::map<std::string, const SnapshotSection*> sections;   // by the name of what they are, wherever that lies
  SavedLedger ledger;
  RangeMap map;
  std::optional<RangeMap> next;   // of a move that it has agreed to

  const SnapshotSection* Find(const std::string& name) const {
    const auto found = sections.find(name);
    return found == sections.end() ? nullptr : found->second;
  }
};

absl::Status Refuse(size_t shard, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("state of shard ", shard, ": ", Absl(what)));
}

absl::StatusOr<Saved> Read(std::span<const TableSpec> tables, const std::vector<SnapshotSection>& sections, uint32_t shard, uint32_t shards, uint32_t slots) {
  Saved saved;
  for (const SnapshotSection& section : sections) {
    TROUPE_TRY(std::optional<PlacedSection> placed, PlaceOf(section));
    saved.sections[placed ? placed->name : section.name] = &section;
  }
  const SnapshotSection* ledger = saved.Find(internal::kLedgerSection);
  auto decoded = SavedLedger::Decode(ledger == nullptr ? Block() : ledger->bytes);
  if (!decoded.ok()) return Refuse(shard, Message(decoded.status()));
  saved.ledger = std::move(*decoded);
  if (saved.ledger.shard != shard || saved.ledger.shards != shards || saved.ledger.slots != slots) {
    return Refuse(shard, absl::StrCat("is that of shard ", saved.ledger.shard, " of ", saved.ledger.shards, " with ", saved.ledger.slots,
                                      " ranges, expected shard ", shard, " of ", shards, " with ", slots));
  }
  saved.map = RangeMap(tables, shards);
  if (const SnapshotSection* map = saved.Find(internal::kMapSection)) {
    TROUPE_TRY(saved.map, RangeMap::Decode(tables, shards, map->bytes));
  }
  if (const SnapshotSection* move = saved.Find(internal::kMoveSection)) {
    TROUPE_TRY(saved.next, RangeMap::Decode(tables, shards, move->bytes));
  }
  return saved;
}

class Resharding {
 public:
  Resharding(std::span<const TableSpec> tables, bool in_rounds, uint32_t to) : tables_(tables), in_rounds_(in_rounds), to_(to) {
    for (const TableSpec& spec : tables) {
      first_slot_.push_back(slots_);
      slots_ += RangeCount(spec);
    }
  }

  absl::StatusOr<std::vector<std::vector<SnapshotSection>>> Run(std::span<const std::vector<SnapshotSection>> from) {
    const size_t behind = PlacesOf(tables_, to_) - to_;
    if (to_ == 0 || from.size() <= behind) return absl::InvalidArgumentError("a state of no shards");
    from_ = static_cast<uint32_t>(from.size() - behind);
    for (uint32_t shard = 0; shard < from.size(); ++shard) {
      TROUPE_TRY(Saved saved, Read(tables_, from[shard], shard, from_, slots_));
      saved_.push_back(std::move(saved));
      if (shard < from_ && saved_[shard].ledger.writers != writers()) return Refuse(shard, "has another number of writers than shard 0");
    }
    TROUPE_RETURN_IF_ERROR(FindOwners());
    MergeLedgers();
    std::vector<std::vector<SnapshotSection>> result(to_);
    for (uint32_t shard = 0; shard < to_; ++shard) TROUPE_RETURN_IF_ERROR(Deal(shard, result[shard]));
    if (behind > 0) result.push_back(Relabelled(from.back()));
    return result;
  }

 private:
  uint32_t writers() const { return saved_.front().ledger.writers; }

  /// The newest map that holds anywhere.
  absl::Status FindOwners() {
    map_ = saved_.front().map;
    for (uint32_t shard = 0; shard < from_; ++shard) {
      if (saved_[shard].map.epoch() > map_.epoch()) map_ = saved_[shard].map;
    }
    for (uint32_t shard = 0; shard < from_; ++shard) {
      const Saved& saved = saved_[shard];
      const bool follows = saved.map == map_ || (saved.next && *saved.next == map_);
      if (!follows) return Refuse(shard, absl::StrCat("has map ", saved.map.epoch(), " of the ranges, expected ", map_.epoch()));
    }
    return absl::OkStatus();
  }

  void MergeLedgers() {
    clocks_ = saved_.front().ledger.clocks;
    for (uint32_t shard = 0; shard < from_; ++shard) {
      const SavedLedger& ledger = saved_[shard].ledger;
      nonzeros_ += ledger.nonzeros;
      late_nonzeros_ += ledger.late_nonzeros;
      for (uint32_t writer = 0; writer < writers(); ++writer) clocks_[writer] = std::min(clocks_[writer], ledger.clocks[writer]);
    }
    rounds_over_ = UINT64_MAX;
    for (uint32_t shard = 0; shard < from_; ++shard) rounds_over_ = std::min(rounds_over_, RoundsOver(saved_[shard].ledger));
  }

  /// Of a shard, at the merged clocks.
  uint64_t RoundsOver(const SavedLedger& ledger) const {
    uint64_t again = 0;
    for (uint32_t writer = 0; writer < writers() && !in_rounds_; ++writer) {
      const Round clock = ledger.clocks[writer], least = clocks_[writer];
      if (PhaseOf(clock) == PhaseOf(least)) again += OrdinalOf(clock) - OrdinalOf(least);
    }
    return ledger.rounds_over - std::min(again, ledger.rounds_over);
  }

  /// The range's rows, and its sequences by writer, wherever they are in the old state.
  absl::Status Take(uint32_t table, uint32_t range, std::vector<SnapshotSection>& sections, std::vector<Sequence>& sequences) const {
    const TableSpec& spec = tables_[table];
    const uint32_t owner = map_.ShardOf(table, range);
    const Saved& saved = saved_[owner];
    const bool arrived = saved.map.ShardOf(table, range) != owner;   // by a move that this shard has only agreed to
    const std::string before = arrived ? internal::kArrived : "";
    const SnapshotSection* rows = saved.Find(before + RangeName(spec, range));
    const SnapshotSection* moved = saved.Find(before + SequencesName(spec, range));
    const size_t bytes = writers() * sizeof(Sequence);
    if (rows == nullptr || (arrived && (moved == nullptr || moved->bytes.size() != bytes))) {
      return Refuse(owner, absl::StrCat("lacks range ", range, " of table '", spec.name, "'"));
    }
    const uint32_t slot = first_slot_[table] + range;
    const Sequence* had = saved.ledger.sequences.data() + size_t{slot} * writers();
    std::memcpy(sequences.data() + size_t{slot} * writers(), arrived ? moved->bytes.data() : reinterpret_cast<const std::byte*>(had), bytes);
    SnapshotSection taken = *rows;
    if (arrived) taken.name = RangeName(spec, range);   // (what has arrived is never elsewhere)
    sections.push_back(std::move(taken));
    return absl::OkStatus();
  }

  absl::Status Deal(uint32_t shard, std::vector<SnapshotSection>& sections) const {
    SavedLedger ledger{.writers = writers(),
                       .slots = slots_,
                       .shard = shard,
                       .shards = to_,
                       .nonzeros = shard == 0 ? nonzeros_ : 0,
                       .rounds_over = rounds_over_,
                       .late_nonzeros = shard == 0 ? late_nonzeros_ : 0,
                       .clocks = clocks_,
                       .sequences = std::vector<Sequence>(size_t{slots_} * writers())};
    sections.emplace_back();   // of the ledger
    for (uint32_t table = 0; table < tables_.size(); ++table) {
      const Partition partition(tables_[table], to_);
      for (uint32_t range = 0; range < partition.ranges(); ++range) {
        if (partition.ShardOf(range) == shard) TROUPE_RETURN_IF_ERROR(Take(table, range, sections, ledger.sequences));
      }
    }
    sections.front() = {internal::kLedgerSection, ledger.Encode()};
    return absl::OkStatus();
  }

  /// What workers keep: the same rows behind another number of shards.
  std::vector<SnapshotSection> Relabelled(const std::vector<SnapshotSection>& place) const {
    SavedLedger ledger = saved_.back().ledger;
    ledger.shard = ledger.shards = to_;
    std::vector<SnapshotSection> sections;
    for (const SnapshotSection& section : place) {
      if (section.name == internal::kMapSection) continue;
      sections.push_back(section.name == internal::kLedgerSection ? SnapshotSection{section.name, ledger.Encode()} : section);
    }
    return sections;
  }

  const std::span<const TableSpec> tables_;
  const bool in_rounds_;
  const uint32_t to_;
  uint32_t from_ = 0, slots_ = 0;
  std::vector<uint32_t> first_slot_;   // by table
  std::vector<Saved> saved_;           // by shard, and behind them of what workers keep
  RangeMap map_;                       // by which the ranges are found
  std::vector<Round> clocks_;
  uint64_t nonzeros_ = 0, late_nonzeros_ = 0, rounds_over_ = 0;
};

}   // namespace

absl::StatusOr<std::vector<std::vector<SnapshotSection>>> Reshard(std::span<const TableSpec> tables, bool in_rounds,
                                                                  std::span<const std::vector<SnapshotSection>> from, uint32_t to) {
  return Resharding(tables, in_rounds, to).Run(from);
}

}   // namespace troupe
