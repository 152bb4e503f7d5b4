// A run that can be taken up again: a folder with files of the shards' states and, for each checkpoint, one small file that says what it is made of and holds
// the driver's own state. The small file is written last and renamed into place, so that a checkpoint is there whole or not at all.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/storage/storage.h"
#include "algorithms/algorithm.h"
#include "ps/table_spec.h"
#include "ps/types.h"

namespace troupe {

struct Checkpoint {
  uint64_t id = 0;                               ///< rises with every checkpoint of the folder; part of the files' names
  std::map<std::string, std::string> identity;   ///< what must be the same when the run is taken up: algorithm, data, seed, ...
  uint32_t shards = 0;                           ///< may be another number then (Reshard)
  uint32_t places = 0;                           ///< states: of the shards, and of what workers keep (PlacesOf)
  std::vector<std::string> files;                ///< in the folder, all that it is made of, sorted
  Round clock = 0;                               ///< what the shard that was least far had applied of all writers
  uint64_t phases = 0;                           ///< pushing phases that the driver has seen the end of
  uint64_t data_epochs = 0;                      ///< shuffled phases, likewise
  uint64_t rows = 0, nonzeros = 0;               ///< rows of the input; the ledger's reading side after those phases
  std::optional<Numbers> driver;                 ///< the state of its last Driver::Checkpoint
};

/// The state of a shard, and the small file.
std::string SnapshotUri(const std::string& folder, uint64_t id, uint32_t shard);
std::string CheckpointUri(const std::string& folder, uint64_t id);
/// Of the newest checkpoint, whole or not. NotFound: there is none. DataLoss: "URI: ..." cut or edited.
absl::StatusOr<Checkpoint> ReadCheckpoint(Storage& storage, const std::string& folder);
/// InvalidArgument: "FOLDER: checkpoint of another run: seed is 2, expected 1".
absl::Status CheckIdentity(const std::string& folder, const std::map<std::string, std::string>& found, const std::map<std::string, std::string>& expected);

/// The checkpoints of one run, the newest `kept` of them. What lies in the folder and belongs to none of these goes when a new one is durable. Not thread-safe.
class CheckpointFolder {
 public:
  CheckpointFolder(Storage& storage, std::string folder, uint32_t kept) : storage_(storage), folder_(std::move(folder)), kept_(kept) {}

  struct Found {
    Checkpoint checkpoint;
    std::string lost;   ///< what going back to it loses, for people; empty: it is the newest
  };
  /// Looks for the newest checkpoint, of which the run is to go on; nullopt: there is none yet. Its small file is read, and that all files are there; the
  /// others are verified by those who load them. With `accept_loss` all is read and verified here, and where something is damaged or missing, the newest whole
  /// one is found. Errors: DataLoss and Storage's, naming the file; with `accept_loss`: those of the newest, where none is whole.
  absl::StatusOr<std::optional<Found>> Find(bool accept_loss);
  /// Begins without any: the run's first one takes the place of whatever is there. Errors as Storage's: the folder cannot be read.
  absl::Status Begin();
  /// The number of the next one; that of no file that is there. After Find or Begin.
  uint64_t next_id() const { return next_id_; }
  /// The newest one of the run, whose files are there; 0: none yet.
  uint64_t latest() const { return standing_.empty() ? 0 : standing_.back().id; }

  /// Makes `checkpoint`, of next_id(), whose other files are durable, stand: writes its small file. Then removes what is not needed any more. Errors as
  /// Storage's.
  absl::Status Write(const Checkpoint& checkpoint);
  /// Writes a found checkpoint with another number of shards, as the next one, and returns it; rows are not written again, the new states say where they lie.
  /// All of it is verified before, since older ones go. `in_rounds`: some table goes by rounds. Errors as ReadSnapshot's, Reshard's (with the folder) and
  /// Storage's; what was found then stands as it did.
  absl::StatusOr<Checkpoint> Reshard(const Checkpoint& checkpoint, std::span<const TableSpec> tables, bool in_rounds, uint32_t shards);

 private:
  absl::StatusOr<std::vector<uint64_t>> ReadIds();
  absl::StatusOr<Checkpoint> ReadOne(uint64_t id);
  absl::Status Verify(const Checkpoint& checkpoint, bool all);
  absl::Status Tidy();

  Storage& storage_;
  const std::string folder_;
  const uint32_t kept_;
  uint64_t next_id_ = 1;
  std::vector<Checkpoint> standing_;   // of this run, oldest first, the newest kept_
  std::set<std::string> restored_;     // files that shards have begun with, and begin with again where they fall before they have a snapshot of their own
};

}   // namespace troupe
