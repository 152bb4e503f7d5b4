// The format "parquet": only its registration, so that Arrow stays out of this library.
#include "dataflow/format.h"
#include "dataflow/parquet_plugin.h"

namespace troupe {
namespace {

const bool registered = RegisterFormat({.name = "parquet", .extensions = {".parquet"}, .text = false, .place = 3, .open = OpenParquetSource});

}   // namespace
}   // namespace troupe
