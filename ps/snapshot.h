// A shard's state on disk: one file, a section a range, each with its checksum, written to a temporary name and renamed, so that a reader sees an old snapshot
// or a whole new one and never a part.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/block.h"
#include "actors/storage/storage.h"

namespace troupe {

/// A named piece of a snapshot: "table/<name>/<range>", "ledger", "job", ...
struct SnapshotSection {
  std::string name;
  Block bytes;
};

/// Writes all sections as one file at `uri`, atomically. `durable`: fsync before the rename and of the folder after it.
/// Errors as Storage's (disk full: ResourceExhausted); the file at `uri` is then as it was and no temporary is left.
absl::Status WriteSnapshot(Storage& storage, const std::string& uri, const std::vector<SnapshotSection>& sections, bool durable);
/// Reads and verifies everything. NotFound: no such file. DataLoss: "URI: ..." cut, wrong magic or version, or a section whose checksum (XXH3 64) differs.
absl::StatusOr<std::vector<SnapshotSection>> ReadSnapshot(Storage& storage, const std::string& uri);

/// What a section is known again by: XXH3 64.
uint64_t ChecksumOf(const Block& bytes);

/// The same of bytes that are here already; `name` is what an error calls them.
absl::StatusOr<std::vector<SnapshotSection>> ParseSnapshot(const Block& file, const std::string& name);

}   // namespace troupe
