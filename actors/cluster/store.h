// Where a head keeps what must survive it: small records by key, changed together or not at all; and which of several heads leads.
#pragma once

#include <chrono>
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

  /// What came of a candidacy.
  struct Election {
    uint64_t generation = 0;   ///< this head's, higher than all before; 0: another one leads
    std::string leader = {};   ///< that one's place
  };
  /// Asks to lead. `place`: where others reach this head. A store that does not watch its heads (memory, SQLite) lets everybody lead; whoever led before can
  /// commit nothing from then on. Aborted: another head took the generation at the same moment.
  virtual absl::StatusOr<Election> Campaign(const std::string& place);
  /// Changes, provided that the head of `generation` still leads. Aborted: it does not, it is history.
  virtual absl::Status CommitAs(uint64_t generation, const std::vector<Change>& changes);
  /// Does the head that won here still lead, for all that can be known without asking? Aborted: it may not, and must say nothing any more. Never waits.
  virtual absl::Status Leading() const { return absl::OkStatus(); }
  /// Leads no more: another one need not wait until that shows.
  virtual void Resign() {}
};

/// A SQLite database in the file at `path`, made where it is missing. Thread-safe. Errors Internal: cannot be opened; FailedPrecondition: it is another
/// program's, or of a later version.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path);
/// In memory, for tests and for heads that need not survive.
std::unique_ptr<Store> MakeMemoryStore();

struct EtcdStoreOptions {
  std::vector<std::string> endpoints;   ///< "HOST:PORT" of etcd's members, tried in turn
  std::string prefix = "troupe";        ///< of all keys: clusters that share an etcd have different ones
  /// Without a sign of life for so long the head that leads is history, for itself and for others. Whole seconds, at least 2.
  std::chrono::seconds lease{3};
  std::chrono::milliseconds call_max{1000};   ///< for one endpoint to answer
};
/// Records in etcd, below PREFIX/records/. The head that leads is the key PREFIX/leader with a lease, whose create revision is the generation. Nothing is asked
/// of etcd here. Thread-safe. InvalidArgument: no endpoints, or a lease of less than 2 s.
///
/// Read and the like: Unavailable, DeadlineExceeded: no member answers, or they have no leader. Limits: a record of 1 MiB, a commit of some 3,600 changes and
/// 1.5 MiB in all: InvalidArgument, ResourceExhausted.
absl::StatusOr<std::unique_ptr<Store>> OpenEtcdStore(EtcdStoreOptions options);
/// "HOST:PORT[,HOST:PORT...][/PREFIX]". InvalidArgument.
absl::StatusOr<EtcdStoreOptions> ParseEtcdStore(const std::string& text);

}   // namespace troupe
