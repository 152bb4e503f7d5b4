// Snapshots that refer to others: a section may say in which file of the same folder its bytes lie, so that states share what is the same in them, and a state
// can be dealt out anew without its bytes. A reference goes to the file that has the bytes, never to another reference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/storage/storage.h"
#include "ps/snapshot.h"

namespace troupe {

/// Where the bytes of a section lie, and what they are known again by.
struct SectionPlace {
  std::string file;   ///< its name, in the folder of the file that says so
  uint64_t bytes = 0;
  uint64_t checksum = 0;
  bool operator==(const SectionPlace&) const = default;
};
/// A section that is somewhere else: its name there, and where.
struct PlacedSection {
  std::string name;
  SectionPlace place;
};

/// Rows of no more bytes are not worth a place: they are in each file themselves.
inline constexpr size_t kPlaceBytes = 64;
/// The section that says so.
SnapshotSection PlaceSection(const std::string& name, const SectionPlace& place);
/// nullopt: it is a section of its own. InvalidArgument: it is cut.
absl::StatusOr<std::optional<PlacedSection>> PlaceOf(const SnapshotSection& section);

/// The last part of a URI.
std::string_view FileName(std::string_view uri);

/// The sections of the file at `uri`, with the bytes of those that it says lie elsewhere; each file is read once.
/// Errors as ReadSnapshot's, of whichever file. DataLoss: "URI: ..." lacks a section that `uri` says is there, or has another one by that name.
absl::StatusOr<std::vector<SnapshotSection>> ReadPlacedSnapshot(Storage& storage, const std::string& uri);
/// The sections of the file at `uri` as they are, but rows of ranges only as the places where they lie, which may be this file.
absl::StatusOr<std::vector<SnapshotSection>> ReadPlaces(Storage& storage, const std::string& uri);
/// The files that the sections say bytes lie in, each once, sorted. InvalidArgument: as PlaceOf.
absl::StatusOr<std::vector<std::string>> FilesOf(const std::vector<SnapshotSection>& sections);

}   // namespace troupe
