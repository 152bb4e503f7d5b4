// A trained model written into a storage as a run with some shards would.
#pragma once

#include <boost/test/unit_test.hpp>
#include <memory>
#include <string>
#include <vector>

#include "actors/storage/storage.h"
#include "algorithms/model_writer.h"
#include "algorithms/run/local_runner.h"

namespace troupe::testing {

/// Writes one part a table (a stand-in for a shard each), scores nothing, commits.
inline absl::Status SaveModel(Storage& storage, const std::string& uri, const LocalResult& result) {
  auto writer = ModelWriter::Make(storage, uri);
  if (!writer.ok()) return writer.status();
  const auto staging = (*writer)->StagingUri();
  if (!staging.ok()) return staging.status();
  uint32_t part = 0;
  std::vector<SnapshotSection> sections;
  for (const Table& table : result.tables) ModelWriter::AppendSections(table, sections);
  const auto middle = sections.begin() + static_cast<ptrdiff_t>(sections.size() / 2);
  for (const std::vector<SnapshotSection>& shard :
       {std::vector<SnapshotSection>(sections.begin(), middle), std::vector<SnapshotSection>(middle, sections.end())})
    if (auto status = WriteSnapshot(storage, *staging + "/" + ModelWriter::PartName(part++), shard, false); !status.ok()) return status;
  const auto model = (*writer)->Open(result.manifest);
  if (!model.ok()) return model.status();
  Manifest manifest = (*model)->manifest();
  manifest.metrics = {{"auc", 0.1 + 0.2}, {"logloss", 0.5}};
  return (*writer)->Commit(manifest);
}

}   // namespace troupe::testing
