// Where a head keeps what must survive it: small records by key, changed together or not at all.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace troupe {

class Store {
 public:
  struct Change {
    std::string key;
    std::optional<std::string> value;   ///< nothing: the record is removed
  };
  virtual ~Store() = default;
  /// All records whose key begins with `prefix`, by key. Errors Internal, DataLoss: "PATH: what the database says".
  virtual absl::StatusOr<std::map<std::string, std::string>> Read(const std::string& prefix) = 0;
  /// All changes, or none, durably, provided that the record `key` is `expected` (nothing: that there is none); else Aborted: somebody else writes here.
  virtual absl::Status Commit(const std::string& key, const std::optional<std::string>& expected, const std::vector<Change>& changes) = 0;
};

/// A SQLite database in the file at `path`, made where it is missing. Thread-safe. Errors Internal: cannot be opened; FailedPrecondition: it is another
/// program's, or of a later version.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path);
/// In memory, for tests and for heads that need not survive.
std::unique_ptr<Store> MakeMemoryStore();

/// Takes the next generation, 1 for the first: a head of an earlier one can commit nothing from then on. Aborted: another head took it at the same moment.
absl::StatusOr<uint64_t> TakeGeneration(Store& store);
/// Changes, provided that `generation` is still the last one taken. Aborted: it is not, this head is history.
absl::Status CommitAs(uint64_t generation, Store& store, const std::vector<Store::Change>& changes);

}   // namespace troupe
