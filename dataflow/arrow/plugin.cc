// The plugin's one entry point.
#include "dataflow/arrow/parquet.h"
#include "dataflow/parquet_plugin.h"

extern "C" const troupe::ParquetPlugin* TroupeParquetPlugin() {
  static constexpr troupe::ParquetPlugin kPlugin = {troupe::kParquetPluginLayout, troupe::OpenParquetFiles, troupe::MakeParquetWriter, troupe::ReadKeyedFile,
                                                    troupe::WriteKeyedFile};
  return &kPlugin;
}
