// Where a table's coldest rows lie when they do not fit in memory: what it needs of a disk. The rows are bytes here; which of them are newer in memory the
// table knows. Nothing has to outlive the process: snapshots are what lasts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/types.h"

namespace troupe {

struct TierKey {
  uint32_t range;
  Key key;
};

/// Not thread-safe: its table owns it. Errors of every call: the disk's. A call that fails may be tried again.
class RowTier {
 public:
  virtual ~RowTier() = default;
  /// Keeps rows of one range, n x row_bytes, all of them or none; what there was under their keys is replaced.
  virtual absl::Status Put(uint32_t range, std::span<const Key> keys, const std::byte* rows) = 0;
  /// All of them or none; those that are not there are fine.
  virtual absl::Status Erase(uint32_t range, std::span<const Key> keys) = 0;
  /// All of a range.
  virtual absl::Status Clear(uint32_t range) = 0;
  /// rows: n x row_bytes, written where found[i].
  virtual absl::Status Get(std::span<const TierKey> keys, std::byte* rows, bool* found) = 0;
  /// The first rows of a range from `from` on, by rising key, at most n; fewer: there are no more. Replaces *keys and *rows.
  virtual absl::Status Scan(uint32_t range, Key from, size_t n, std::vector<Key>* keys, std::vector<std::byte>* rows) = 0;
  /// Memory that it takes for its buffers.
  virtual size_t bytes() const = 0;
};

struct TierRequest {
  std::string table;
  size_t row_bytes = 0;
  size_t memory_max = 0;   ///< of its buffers
};
using TierFactory = std::function<absl::StatusOr<std::unique_ptr<RowTier>>(const TierRequest&)>;

/// Tiers in memory, which stand for a disk where there is none: in the serial oracle and in simulations. Their rows do not count as bytes().
TierFactory MemoryTiers();

}   // namespace troupe
