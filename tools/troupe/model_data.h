// A model and the data set that it is to score, as `evaluate` and `predict` take them.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "actors/storage/storage.h"
#include "algorithms/model.h"
#include "dataflow/source.h"
#include "tools/troupe/options.h"

namespace troupe {

struct ModelData {
  std::string model_uri, data_uri, format, label;
  std::unique_ptr<Storage> storage;
  std::unique_ptr<const Model> model;
  std::shared_ptr<const Source> source;

  /// --model, --data, --format.
  void Declare(CommandLine& line);
  /// Loads and verifies the model.
  absl::Status Load();
  /// Opens the data, after Load. `labels`: what is read of its labels. Format and label column: as given, else by the data's extension, else the model's.
  absl::Status Open(LabelKind labels, bool skip_bad_rows);
};

}   // namespace troupe
