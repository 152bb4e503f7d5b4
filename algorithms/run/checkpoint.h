// A run that can be taken up again: a folder with a snapshot a shard and one small file that names them and holds the driver's own state. The small file is
// written last and renamed into place, so that there is always one whole checkpoint.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/storage/storage.h"
#include "algorithms/algorithm.h"

namespace troupe {

struct Checkpoint {
  uint64_t id = 0;                               ///< rises with every checkpoint of the folder; part of the snapshots' names
  std::map<std::string, std::string> identity;   ///< what must be the same when the run is taken up: algorithm, data, seed, ...
  uint64_t phases = 0;                           ///< pushing phases that the driver has seen the end of
  uint64_t data_epochs = 0;                      ///< shuffled phases, likewise
  uint64_t rows = 0, nonzeros = 0;               ///< rows of the input; the ledger's reading side after those phases
  std::optional<Numbers> driver;                 ///< the state of its last Driver::Checkpoint
};

std::string SnapshotUri(const std::string& folder, uint64_t id, uint32_t shard);
/// Writes the small file, then removes the snapshots of other ids, but those of `kept_id`: where the run was taken up, and where a shard begins again that
/// falls before it has a snapshot of its own. Errors as Storage's.
absl::Status WriteCheckpoint(Storage& storage, const std::string& folder, const Checkpoint& checkpoint, uint32_t shards, uint64_t kept_id);
/// NotFound: there is none yet. DataLoss: "URI: ..." cut or edited.
absl::StatusOr<Checkpoint> ReadCheckpoint(Storage& storage, const std::string& folder);
/// InvalidArgument: "FOLDER: checkpoint of another run: seed is 2, expected 1".
absl::Status CheckIdentity(const std::string& folder, const std::map<std::string, std::string>& found, const std::map<std::string, std::string>& expected);

}   // namespace troupe
