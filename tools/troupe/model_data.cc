// The model first: it says which columns, label and format its data has.
#include "tools/troupe/model_data.h"

#include "actors/status.h"
#include "dataflow/format.h"

namespace troupe {

void ModelData::Declare(CommandLine& line) {
  line.Value("--model", "DIR", &model_uri, "folder that troupe train made", true);
  line.Value("--data", "URI", &data_uri, "file, folder, or generate:KIND?rows=N&seed=S", true);
  line.Value("--format", "NAME", &format, "libsvm, csv or parquet (default: by the extension, else the model's)");
}

absl::Status ModelData::Load() {
  storage = MakeStorage();
  TROUPE_TRY(model, LoadModel(*storage, model_uri));
  return absl::OkStatus();
}

absl::Status ModelData::Open(LabelKind labels, bool skip_bad_rows) {
  const Schema& schema = model->manifest().schema;
  SourceOptions options;
  options.uri = data_uri;
  options.format = format.empty() && FormatOfPath(data_uri) == nullptr ? schema.format : format;
  options.label = label.empty() ? schema.label : label;
  options.label_kind = labels;
  options.expected = schema;
  options.skip_bad_rows = skip_bad_rows;
  TROUPE_TRY(source, OpenSource(options));
  return absl::OkStatus();
}

}   // namespace troupe
