// A run that can be taken up again: a folder with a snapshot a shard and one small file that names them and holds the driver's own state. The small file is
// written last and renamed into place, so that there is always one whole checkpoint.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/storage/storage.h"
#include "algorithms/algorithm.h"
#include "ps/table_spec.h"

namespace troupe {

struct Checkpoint {
  uint64_t id = 0;                               ///< rises with every checkpoint of the folder; part of the snapshots' names
  std::map<std::string, std::string> identity;   ///< what must be the same when the run is taken up: algorithm, data, seed, ...
  uint32_t shards = 0;                           ///< may be another number then (Reshard)
  std::vector<std::string> files;                ///< in the folder, what it is made of but the snapshots themselves: where their sections lie
  uint64_t phases = 0;                           ///< pushing phases that the driver has seen the end of
  uint64_t data_epochs = 0;                      ///< shuffled phases, likewise
  uint64_t rows = 0, nonzeros = 0;               ///< rows of the input; the ledger's reading side after those phases
  std::optional<Numbers> driver;                 ///< the state of its last Driver::Checkpoint
};

std::string SnapshotUri(const std::string& folder, uint64_t id, uint32_t shard);
/// Writes the small file, then removes the snapshots of other ids that it does not need, but those of `kept_id`: where the run was taken up, and where a shard
/// begins again that falls before it has a snapshot of its own. Errors as Storage's.
absl::Status WriteCheckpoint(Storage& storage, const std::string& folder, const Checkpoint& checkpoint, uint32_t places, uint64_t kept_id);
/// NotFound: there is none yet. DataLoss: "URI: ..." cut or edited.
absl::StatusOr<Checkpoint> ReadCheckpoint(Storage& storage, const std::string& folder);
/// InvalidArgument: "FOLDER: checkpoint of another run: seed is 2, expected 1".
absl::Status CheckIdentity(const std::string& folder, const std::map<std::string, std::string>& found, const std::map<std::string, std::string>& expected);

/// The same checkpoint with another number of shards, as the next one of its folder; rows are not written again, the new snapshots say where they lie.
/// `in_rounds`: some table goes by rounds. Errors as ReadSnapshot's, Reshard's (with the folder) and Storage's; the checkpoint is then as it was.
absl::StatusOr<Checkpoint> ReshardCheckpoint(Storage& storage, const std::string& folder, const Checkpoint& checkpoint, std::span<const TableSpec> tables,
                                             bool in_rounds, uint32_t shards);

}   // namespace troupe
