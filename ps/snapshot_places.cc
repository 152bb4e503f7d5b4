#include "ps/snapshot_places.h"

#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/internal/shard_sections.h"

namespace troupe {
namespace {

/// Before the name of a section that is elsewhere.
constexpr std::string_view kAt = "at/";

struct Header {   // then the file's name
  uint64_t bytes, checksum;
};

/// `file` beside the one at `uri`.
std::string Beside(const std::string& uri, const std::string& file) {
  return uri.substr(0, uri.size() - FileName(uri).size()) + file;
}

}   // namespace

std::string_view FileName(std::string_view uri) {
  const size_t slash = uri.rfind('/');
  return slash == std::string_view::npos ? uri.substr(uri.find(':') + 1) : uri.substr(slash + 1);
}

SnapshotSection PlaceSection(const std::string& name, const SectionPlace& place) {
  const Header header{place.bytes, place.checksum};
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes += place.file;
  return {absl::StrCat(Absl(kAt), name), Block::Copy(bytes.data(), bytes.size())};
}

absl::StatusOr<std::optional<PlacedSection>> PlaceOf(const SnapshotSection& section) {
  if (!section.name.starts_with(kAt)) return std::nullopt;
  Header header;
  if (section.bytes.size() <= sizeof header) return absl::InvalidArgumentError(absl::StrCat("snapshot: section '", section.name, "' is cut"));
  std::memcpy(&header, section.bytes.data(), sizeof header);
  std::string file(reinterpret_cast<const char*>(section.bytes.data()) + sizeof header, section.bytes.size() - sizeof header);
  return PlacedSection{section.name.substr(kAt.size()), {std::move(file), header.bytes, header.checksum}};
}

absl::StatusOr<std::vector<SnapshotSection>> ReadPlacedSnapshot(Storage& storage, const std::string& uri) {
  TROUPE_TRY(std::vector<SnapshotSection> sections, ReadSnapshot(storage, uri));
  struct Wanted {
    SnapshotSection* section;
    SectionPlace place;
  };
  std::map<std::string, std::map<std::string, Wanted>> wanted;   // by file and name
  for (SnapshotSection& section : sections) {
    TROUPE_TRY(std::optional<PlacedSection> placed, PlaceOf(section));
    if (!placed) continue;
    section.name = placed->name;
    wanted[placed->place.file][placed->name] = {&section, placed->place};
  }
  for (auto& [file, by_name] : wanted) {
    const std::string there = Beside(uri, file);
    TROUPE_TRY(const std::vector<SnapshotSection> found, ReadSnapshot(storage, there));
    size_t left = by_name.size();
    for (const SnapshotSection& section : found) {
      const auto it = by_name.find(section.name);
      if (it == by_name.end()) continue;
      const auto& [into, place] = it->second;
      if (section.bytes.size() != place.bytes || ChecksumOf(section.bytes) != place.checksum) {
        return absl::DataLossError(absl::StrCat(there, ": section '", section.name, "' is not the one that ", uri, " refers to"));
      }
      into->bytes = section.bytes;
      --left;
    }
    if (left > 0) return absl::DataLossError(absl::StrCat(there, ": lacks ", left, " of the sections that ", uri, " says are there"));
  }
  return sections;
}

absl::StatusOr<std::vector<SnapshotSection>> ReadPlaces(Storage& storage, const std::string& uri) {
  TROUPE_TRY(std::vector<SnapshotSection> sections, ReadSnapshot(storage, uri));
  for (SnapshotSection& section : sections) {
    const bool rows = section.name.starts_with(internal::kRows) && section.bytes.size() > kPlaceBytes;
    if (rows) section = PlaceSection(section.name, {std::string(FileName(uri)), section.bytes.size(), ChecksumOf(section.bytes)});
  }
  return sections;
}

absl::StatusOr<std::vector<std::string>> FilesOf(const std::vector<SnapshotSection>& sections) {
  std::set<std::string> files;
  for (const SnapshotSection& section : sections) {
    TROUPE_TRY(const std::optional<PlacedSection> placed, PlaceOf(section));
    if (placed) files.insert(placed->place.file);
  }
  return std::vector<std::string>(files.begin(), files.end());
}

}   // namespace troupe
