// A shard's state as several files: what has changed since an earlier one is written, in files of a bounded size, and for the rest it is said where it lies.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/storage/storage.h"
#include "ps/shard_view.h"
#include "ps/snapshot_places.h"

namespace troupe {

/// What a shard remembers of a snapshot that it has written, or begun with.
struct SnapshotRecord {
  struct Rows {
    uint64_t version = 0;   ///< of the range's rows (Table::version)
    SectionPlace place;
  };
  std::string uri;
  std::map<std::string, Rows> ranges;          ///< by section
  std::map<std::string, uint64_t> row_bytes;   ///< by file: what was written there of ranges
};
struct WrittenParts {
  SnapshotRecord record;
  std::vector<std::string> files;   ///< all that it is made of, sorted
  uint64_t bytes = 0;               ///< of sections that were written
};

constexpr uint64_t kPartBytes = 64 << 20;

/// Writes `view` to `uri`, durably, and to files named after it where it is large: from `part_bytes` of rows on they leave memory as "URI without
/// .snapshot".N.part. Ranges that have the version of `base` (null: none) are not written again, but for those in files that would stay for less than half of
/// what they hold: files that are needed hold at most twice what is needed of them. The file at `uri` is written last. Errors as Storage's; files that were
/// written before then stay.
absl::StatusOr<WrittenParts> WriteParts(Storage& storage, const std::string& uri, ShardView& view, const SnapshotRecord* base,
                                        uint64_t part_bytes = kPartBytes);

/// Of a snapshot that a shard has just begun with, whose tables these are. Errors as ReadPlaces.
absl::StatusOr<SnapshotRecord> RecordOf(Storage& storage, const std::string& uri, std::span<const Table> tables);

}   // namespace troupe
