#include "ps/snapshot_parts.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/internal/shard_sections.h"

namespace troupe {
namespace {

class PartsWriter {
 public:
  PartsWriter(Storage& storage, const std::string& uri, const SnapshotRecord* base, uint64_t part_bytes)
      : storage_(storage), uri_(uri), base_(base), part_bytes_(part_bytes) {
    written_.record.uri = uri;
  }

  absl::StatusOr<WrittenParts> Write(ShardView& view) {
    const std::set<std::string> kept = KeptFiles(view);
    for (size_t i = 0; i < view.sections().size(); ++i) {
      const ShardView::Section& section = view.sections()[i];
      if (const SnapshotRecord::Rows* same = Same(section); same != nullptr && kept.contains(same->place.file)) {
        main_.push_back(PlaceSection(section.name, same->place));
        written_.record.ranges[section.name] = *same;
        written_.record.row_bytes[same->place.file] = base_->row_bytes.at(same->place.file);
        view.Skip(i);
        continue;
      }
      main_.push_back(view.Take(i));
      if (!section.rows || main_.back().bytes.size() <= kPlaceBytes) continue;
      pending_.push_back({main_.size() - 1, section.version});
      pending_bytes_ += main_.back().bytes.size();
      if (pending_bytes_ >= part_bytes_) TROUPE_RETURN_IF_ERROR(WritePart());
    }
    const std::string file(FileName(uri_));
    for (const Pending& rows : pending_) Remember(file, rows);   // few: they stay in the file itself
    for (const SnapshotSection& section : main_) written_.bytes += section.bytes.size();
    TROUPE_RETURN_IF_ERROR(WriteSnapshot(storage_, uri_, main_, true));
    TROUPE_TRY(written_.files, FilesOf(main_));
    written_.files.insert(std::upper_bound(written_.files.begin(), written_.files.end(), file), file);
    return std::move(written_);
  }

 private:
  struct Pending {
    size_t section;   // of main_
    uint64_t version;
  };

  /// Where rows lie that have not changed since; null: nowhere.
  const SnapshotRecord::Rows* Same(const ShardView::Section& section) const {
    if (base_ == nullptr || !section.rows) return nullptr;
    const auto found = base_->ranges.find(section.name);
    return found != base_->ranges.end() && found->second.version == section.version ? &found->second : nullptr;
  }

  /// Files of which at least half is still needed.
  std::set<std::string> KeptFiles(const ShardView& view) const {
    std::map<std::string, uint64_t> needed;
    for (const ShardView::Section& section : view.sections()) {
      if (const SnapshotRecord::Rows* same = Same(section)) needed[same->place.file] += same->place.bytes;
    }
    std::set<std::string> kept;
    for (const auto& [file, bytes] : needed) {
      if (2 * bytes >= base_->row_bytes.at(file)) kept.insert(file);
    }
    return kept;
  }

  /// Where the bytes of a section of main_ are now.
  SectionPlace Remember(const std::string& file, const Pending& rows) {
    const SnapshotSection& section = main_[rows.section];
    SectionPlace place{file, section.bytes.size(), ChecksumOf(section.bytes)};
    written_.record.ranges[section.name] = {rows.version, place};
    written_.record.row_bytes[file] += place.bytes;
    return place;
  }

  absl::Status WritePart() {
    const std::string uri = absl::StrCat(absl::StripSuffix(uri_, ".snapshot"), ".", ++parts_, ".part");
    std::vector<SnapshotSection> sections;
    for (const Pending& rows : pending_) sections.push_back(main_[rows.section]);
    TROUPE_RETURN_IF_ERROR(WriteSnapshot(storage_, uri, sections, true));
    for (const Pending& rows : pending_) {
      written_.bytes += main_[rows.section].bytes.size();
      const SectionPlace place = Remember(std::string(FileName(uri)), rows);
      main_[rows.section] = PlaceSection(main_[rows.section].name, place);
    }
    pending_.clear();
    pending_bytes_ = 0;
    return absl::OkStatus();
  }

  Storage& storage_;
  const std::string& uri_;
  const SnapshotRecord* const base_;
  const uint64_t part_bytes_;
  std::vector<SnapshotSection> main_;   // of the file at uri_
  std::vector<Pending> pending_;        // rows in main_
  uint64_t pending_bytes_ = 0;
  int parts_ = 0;
  WrittenParts written_;
};

}   // namespace

absl::StatusOr<WrittenParts> WriteParts(Storage& storage, const std::string& uri, ShardView& view, const SnapshotRecord* base, uint64_t part_bytes) {
  return PartsWriter(storage, uri, base, part_bytes).Write(view);
}

absl::StatusOr<SnapshotRecord> RecordOf(Storage& storage, const std::string& uri, std::span<const Table> tables) {
  TROUPE_TRY(const std::vector<SnapshotSection> sections, ReadPlaces(storage, uri));
  std::map<std::string, SectionPlace> places;
  for (const SnapshotSection& section : sections) {
    TROUPE_TRY(const std::optional<PlacedSection> placed, PlaceOf(section));
    if (placed) places[placed->name] = placed->place;
  }
  SnapshotRecord record{.uri = uri, .ranges = {}, .row_bytes = {}};
  for (const Table& table : tables) {
    for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
      const auto place = places.find(internal::RangeName(table.spec(), range));
      if (place == places.end() || !table.Owns(range)) continue;
      record.ranges[place->first] = {table.version(range), place->second};
      record.row_bytes[place->second.file] += place->second.bytes;
    }
  }
  return record;
}

}   // namespace troupe
