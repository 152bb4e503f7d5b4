// A small data set, whole, as dense rows in the columns of another: Driver::ReadRows of every host.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dataflow/source.h"

namespace troupe {

/// All rows of the data set at `uri`. CSV and Parquet: the columns of `schema`, by name. libsvm: as many columns as its largest feature, in every row; this
/// must not be more than 65536. Labels are not read. Errors: as OpenSource and Read; InvalidArgument: dense where `schema` is libsvm, or the reverse.
absl::StatusOr<std::vector<std::vector<float>>> ReadAllRows(const std::string& uri, const Schema& schema);

}   // namespace troupe
