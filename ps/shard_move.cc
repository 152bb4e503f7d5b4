// A shard's part in a move of ranges: what it gives, what it takes in, and the map that holds from there on.
#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/internal/shard_sections.h"
#include "ps/shard.h"

namespace troupe {

using internal::RangeName;
using internal::SequencesName;

template <class Use>
void Shard::EachMoved(const RangeMap& next, Use&& use) const {
  for (uint32_t table = 0; table < tables_.size(); ++table) {
    for (uint32_t range = 0; range < map_.ranges(table); ++range) {
      const bool here = Has(table, range), then = next.ShardOf(table, range) == options_.shard;
      if (here != then) use(table, range, here);
    }
  }
}

void Shard::FollowMap(const RangeMap& map) {
  EachMoved(map, [&](uint32_t table, uint32_t range, bool leaves) { leaves ? tables_[table].Drop(range) : tables_[table].Add(range); });
  map_ = map;
}

absl::Status Shard::Movable(const RangeMap& next) const {
  absl::Status status;
  EachMoved(next, [&](uint32_t table, uint32_t, bool) {
    if (tables_[table].spec().limits.memory_max == 0) return;
    status.Update(absl::FailedPreconditionError(absl::StrCat("table '", tables_[table].spec().name, "' has memory_max: its ranges do not move")));
  });
  return status;
}

absl::Status Shard::OnStand(const Stand& stand) {
  if (!stand.clocks.IsArrayOf<Round>()) return absl::InvalidArgumentError("stand: clocks are cut or not aligned");
  TROUPE_TRY(RangeMap next, RangeMap::Decode(options_.tables, options_.shards, stand.map));
  if (next.epoch() != map_.epoch() + 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard ", options_.shard, " has map ", map_.epoch(), " of the ranges, expected ", next.epoch() - 1, ", from which they are to move"));
  }
  TROUPE_RETURN_IF_ERROR(Movable(next));
  const std::span<const Round> clocks = stand.clocks.As<Round>();
  TROUPE_RETURN_IF_ERROR(gate_.Aim(stand.cut, {clocks.begin(), clocks.end()}));
  if (!move_) move_ = Move{.cut = stand.cut, .map = std::move(next)};
  if (any_in_rounds_) ApplyCompleteRounds();
  return absl::OkStatus();
}

std::vector<SnapshotSection> Shard::SaveLeaving() const {
  std::vector<SnapshotSection> sections;
  EachMoved(move_->map, [&](uint32_t number, uint32_t range, bool leaves) {
    if (!leaves) return;
    const Table& table = tables_[number];
    std::vector<Sequence> sequences(options_.writers);
    for (uint32_t writer = 0; writer < options_.writers; ++writer) sequences[writer] = applied_.sequence(Slot(number, range), writer);
    sections.push_back({SequencesName(table.spec(), range), Block::Adopt(std::move(sequences))});
    sections.push_back({RangeName(table.spec(), range), SaveRange(table, range)});
  });
  return sections;
}

absl::Status Shard::TakeSections(const std::vector<SnapshotSection>& sections) {
  std::map<std::string, const SnapshotSection*> by_name;
  for (const SnapshotSection& section : sections) by_name[section.name] = &section;
  absl::Status status;
  EachMoved(move_->map, [&](uint32_t number, uint32_t range, bool leaves) {
    if (leaves || !status.ok()) return;
    Table& table = tables_[number];
    const auto rows = by_name.find(RangeName(table.spec(), range)), sequences = by_name.find(SequencesName(table.spec(), range));
    if (rows == by_name.end() || sequences == by_name.end() || sequences->second->bytes.size() != options_.writers * sizeof(Sequence)) {
      status = absl::InvalidArgumentError(absl::StrCat("range ", range, " of table '", table.spec().name, "' has not come whole"));
      return;
    }
    table.Add(range);
    status = LoadRange(number, range, rows->second->bytes);
    for (const SnapshotSection* section : {sequences->second, rows->second}) move_->arrived.push_back(*section);
  });
  return status;
}

absl::Status Shard::OnTakeIn(uint64_t cut, const std::vector<SnapshotSection>& sections) {
  if (in_doubt() != 0 && in_doubt() == cut) return absl::OkStatus();
  if (!StandsAt(cut)) return absl::UnavailableError(absl::StrCat("shard ", options_.shard, " does not stand at the cut of the move (any more)"));
  if (absl::Status status = TakeSections(sections); !status.ok()) {
    DropArrived();
    return status;
  }
  move_->agreed = true;
  ++version_;
  return absl::OkStatus();
}

void Shard::DropArrived() {
  if (!move_) return;
  EachMoved(move_->map, [&](uint32_t table, uint32_t range, bool leaves) {
    if (!leaves && tables_[table].Owns(range)) tables_[table].Drop(range);
  });
  move_->arrived.clear();
}

absl::Status Shard::OnSettle(const Settle& settle) {
  if (settle.commit && settle.epoch <= map_.epoch()) return absl::OkStatus();   // again
  if (in_doubt() == 0 || in_doubt() != settle.cut) {
    if (!settle.commit) {
      EndCut(settle.cut);
      return absl::OkStatus();
    }
    return absl::FailedPreconditionError(absl::StrCat("shard ", options_.shard, " has not agreed to map ", settle.epoch, " of the ranges"));
  }
  if (settle.commit) {
    Commit();
  } else {
    DropArrived();
    move_.reset();
  }
  ++version_;
  EndCut(settle.cut);
  return absl::OkStatus();
}

void Shard::Commit() {
  std::map<std::string, const SnapshotSection*> by_name;
  for (const SnapshotSection& section : move_->arrived) by_name[section.name] = &section;
  EachMoved(move_->map, [&](uint32_t number, uint32_t range, bool leaves) {
    const uint32_t slot = Slot(number, range);
    std::vector<Sequence> sequences(options_.writers);
    if (leaves) {
      tables_[number].Drop(range);
    } else {
      std::memcpy(sequences.data(), by_name.at(SequencesName(tables_[number].spec(), range))->bytes.data(), sequences.size() * sizeof(Sequence));
    }
    for (uint32_t writer = 0; writer < options_.writers; ++writer) applied_.SetSequence(slot, writer, sequences[writer]);
    pushed_[slot] = pulled_[slot] = 0;
  });
  map_ = move_->map;
  move_.reset();
  // What has come of later rounds was dealt by the old map.
  sent_back_ = arrived_.clocks();
  arrived_ = applied_;
  halves_.assign(options_.writers, {});
  begun_ = applied_.clocks();
  waiting_.clear();
  pulled_rows_.Clear();
}

absl::StatusOr<Ranges> Shard::OnAskRanges(const AskRanges& ask) const {
  for (uint32_t writer = 0; ask.loads && writer < sent_back_.size(); ++writer) {
    if (applied_.clock(writer) >= sent_back_[writer]) continue;
    return absl::UnavailableError(
        absl::StrCat("shard ", options_.shard, " waits for rounds of writer ", writer, " that the last move of ranges has sent back"));
  }
  std::vector<RangeLoad> loads;
  for (uint32_t table = 0; ask.loads && table < tables_.size(); ++table) {
    for (uint32_t range = 0; range < map_.ranges(table); ++range) {
      if (!Has(table, range)) continue;
      const uint32_t slot = Slot(table, range);
      loads.push_back({.table = table, .range = range, .pushed = pushed_[slot], .pulled = pulled_[slot], .bytes = tables_[table].bytes(range)});
    }
  }
  return Ranges{.map = map_.Encode(), .loads = Block::Adopt(std::move(loads)), .in_doubt = in_doubt()};
}

}   // namespace troupe
