// A trained model: a folder with manifest.json and a part file a shard, and the same in memory, ready to score.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "actors/storage/storage.h"
#include "algorithms/algorithm.h"
#include "algorithms/manifest.h"
#include "ps/export.h"

namespace troupe {

/// Immutable, thread-safe.
class Model final : public ModelTables {
 public:
  /// rows[t]: the ranges of table t, in any order, of tables as manifest.tables names them; their row counts are filled in.
  /// Errors NotFound: unknown algorithm. InvalidArgument: tables that are not the algorithm's, a key twice, parameters that it refuses.
  static absl::StatusOr<std::unique_ptr<const Model>> Make(Manifest manifest, std::vector<std::vector<ExportedRows>> rows);

  const Manifest& manifest() const { return manifest_; }
  const Algorithm& algorithm() const { return *algorithm_; }
  const Predictor& predictor() const { return *predictor_; }

  void Lookup(uint32_t table, std::span<const Key> keys, float* out) const override;
  std::span<const float> Direct(uint32_t table) const override { return tables_[table].direct; }
  RowsView All(uint32_t table) const override;
  /// Value `column` of row `i` (by rising key) as exact as it was kept.
  double Value(uint32_t table, size_t i, uint32_t column) const;

 private:
  struct TableRows {
    uint32_t width = 1;
    std::vector<Key> keys;                             // rising
    std::vector<float> values;                         // keys x width
    std::vector<double> wide;                          // as values, where the rule keeps more than a float; else empty
    std::vector<uint32_t> row_of;                      // small keys: 1 + row by key, 0: none
    absl::flat_hash_map<Key, uint32_t> row_of_large;   // else
    std::vector<float> direct;                         // width 1 and small keys: value by key
  };
  Model() = default;
  static absl::StatusOr<TableRows> Arrange(const std::vector<ExportedRows>& ranges, uint32_t width);

  Manifest manifest_;
  std::vector<TableRows> tables_;
  std::unique_ptr<Algorithm> algorithm_;
  std::unique_ptr<const Predictor> predictor_;
};

/// Reads and verifies a model folder. Every error names the file: no such folder or no manifest in it, a manifest or part that was cut or edited, a newer
/// format, an unknown algorithm.
absl::StatusOr<std::unique_ptr<const Model>> LoadModel(Storage& storage, const std::string& uri);
/// The part files in `folder`, named and measured, in order of their names.
absl::StatusOr<std::vector<Manifest::Part>> FindParts(Storage& storage, const std::string& folder);
/// Reads manifest.parts from `folder`, each against its size and checksum.
absl::StatusOr<std::unique_ptr<const Model>> LoadParts(Storage& storage, const std::string& folder, Manifest manifest);

/// What `troupe model show` prints: the manifest, or as CSV "table,key,value0[,value1...]" by table and rising key, exact.
std::string ShowModel(const Model& model, bool csv);

}   // namespace troupe
