// Generated rows as a data set without a file: "generate:ctr?rows=1000000&seed=7".
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "dataflow/source.h"

namespace troupe {

inline bool IsGeneratedUri(std::string_view uri) {
  return uri.starts_with("generate:");
}

/// options.uri: "generate:KIND?rows=N[&seed=S][&first=I]", rows I .. I + N - 1 (default from 0) of seed S (default 1). KIND: ctr (sparse, as its libsvm file
/// would be read), dense, clusters (as their Parquet files would be).
/// Errors InvalidArgument: unknown kind or parameter, rows missing or 0, a column that is not there, a kind that cannot be trained on.
absl::StatusOr<std::shared_ptr<const Source>> OpenGeneratedSource(const SourceOptions& options);

}   // namespace troupe
