// What the plugin's files offer each other and its entry point: see dataflow/parquet_plugin.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataflow/parquet_plugin.h"

namespace troupe {

absl::StatusOr<std::shared_ptr<const Source>> OpenParquetFiles(const SourceOptions& options, std::vector<std::string> paths);
absl::StatusOr<std::unique_ptr<ColumnWriter>> MakeParquetWriter(ByteSink* sink, std::vector<ColumnSpec> columns);
absl::StatusOr<KeyedRows> ReadKeyedFile(const std::string& path);
absl::Status WriteKeyedFile(const KeyedRows& rows, ByteSink* sink);

}   // namespace troupe
