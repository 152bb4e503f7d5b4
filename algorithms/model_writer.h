// Writes a model folder, all of it or nothing: parts go to a hidden folder beside the target, which takes the target's place when it is whole.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "actors/storage/storage.h"
#include "algorithms/model.h"
#include "ps/snapshot.h"
#include "ps/table.h"

namespace troupe {

/// Make -> every shard writes PartName(shard) into StagingUri() -> Open -> score the model -> Commit. Without Commit nothing is left behind.
class ModelWriter {
 public:
  /// Errors FailedPrecondition: "PATH: folder exists and is no model" (a model is replaced, nothing else ever is). Writes nothing yet. `storage` must outlive
  /// it.
  static absl::StatusOr<std::unique_ptr<ModelWriter>> Make(Storage& storage, const std::string& uri);
  ~ModelWriter();
  ModelWriter(const ModelWriter&) = delete;
  ModelWriter& operator=(const ModelWriter&) = delete;

  /// The folder for the parts, made at the first call (what a killed run left there is removed).
  absl::StatusOr<std::string> StagingUri();
  static std::string PartName(uint32_t shard);
  /// The ranges that `table` holds as sections of a part: "rows/TABLE/RANGE". What a shard writes, with WriteSnapshot.
  static void AppendSections(const Table& table, std::vector<SnapshotSection>& sections);

  /// The model of the parts that were written, verified. `manifest` names the tables in the order of the Blueprint; their rows and the parts are filled in.
  absl::StatusOr<std::unique_ptr<const Model>> Open(Manifest manifest);
  /// Writes `manifest` (that of Open's model, with metrics) and puts the folder in place. An old model is there until the new one is. On an error it stays.
  absl::Status Commit(const Manifest& manifest);

 private:
  ModelWriter(Storage& storage, std::string uri) : storage_(storage), uri_(std::move(uri)) {}
  absl::Status CheckTarget() const;
  Storage& storage_;
  const std::string uri_;
  std::string staging_;   // empty: not made
};

}   // namespace troupe
