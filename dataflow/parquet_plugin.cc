#include "dataflow/parquet_plugin.h"

#include <utility>

#include "actors/plugin.h"
#include "actors/status.h"

namespace troupe {
namespace {

constexpr char kPurpose[] = "Parquet";

const absl::StatusOr<const ParquetPlugin*>& Plugin() {
  static const absl::StatusOr<const ParquetPlugin*> plugin = LoadParquetPlugin(FindPlugin("libtroupe_arrow.so"));
  return plugin;
}

}   // namespace

absl::StatusOr<const ParquetPlugin*> LoadParquetPlugin(const std::string& path) {
  TROUPE_TRY(void* const entry, LoadPluginEntry(path, kParquetPluginSymbol, kPurpose));
  const ParquetPlugin* plugin = reinterpret_cast<const ParquetPlugin* (*)()>(entry)();
  if (plugin->layout != kParquetPluginLayout) return UnusablePlugin(path, kPurpose, "it is of another build");
  return plugin;
}

absl::StatusOr<std::shared_ptr<const Source>> OpenParquetSource(const SourceOptions& options, std::vector<std::string> paths) {
  if (!Plugin().ok()) return Plugin().status();
  return (*Plugin())->open_source(options, std::move(paths));
}

absl::StatusOr<KeyedRows> ReadKeyedParquet(const std::string& path) {
  if (!Plugin().ok()) return Plugin().status();
  return (*Plugin())->read_keyed(path);
}

absl::Status WriteKeyedParquet(const KeyedRows& rows, ByteSink* sink) {
  if (!Plugin().ok()) return Plugin().status();
  return (*Plugin())->write_keyed(rows, sink);
}

absl::StatusOr<std::unique_ptr<ColumnWriter>> OpenParquetWriter(ByteSink* sink, std::vector<ColumnSpec> columns) {
  if (!Plugin().ok()) return Plugin().status();
  return (*Plugin())->open_writer(sink, std::move(columns));
}

}   // namespace troupe
