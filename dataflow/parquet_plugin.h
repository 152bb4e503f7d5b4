// Parquet without linking Arrow: what libtroupe_arrow.so offers, which is opened when the first Parquet file is met.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dataflow/keyed_rows.h"
#include "dataflow/output_file.h"
#include "dataflow/source.h"

namespace troupe {

/// A column of a file to write.
struct ColumnSpec {
  enum class Type : uint8_t { kFloat, kInt32 };
  std::string name;
  Type type = Type::kFloat;
};

/// A table written row by row. Not thread-safe.
class ColumnWriter {
 public:
  virtual ~ColumnWriter() = default;
  /// rows: any number of rows, row-major. A kInt32 column's values are whole numbers below 2^24.
  virtual absl::Status Write(std::span<const float> rows) = 0;
  /// Writes what closes the file. Call once, last.
  virtual absl::Status Finish() = 0;
};

/// The files as one data set, dense rows: see SourceOptions; `options.uri` is not looked at.
/// Errors  InvalidArgument: "PATH: column 'city' is of type string, expected a number"; "PATH: no column 'y', expected one of: a, b"; "PATH: not a whole
///         Parquet file: REASON"; of Read: "PATH: row 17: column 'x' is null, expected a number", the row 1-based in its file.
///         Internal: the plugin is not there.
/// A file must not be cut while it is read: it is mapped.
absl::StatusOr<std::shared_ptr<const Source>> OpenParquetSource(const SourceOptions& options, std::vector<std::string> paths);

/// `sink` outlives the writer.
absl::StatusOr<std::unique_ptr<ColumnWriter>> OpenParquetWriter(ByteSink* sink, std::vector<ColumnSpec> columns);

/// A file of columns key (whole numbers) and v0, v1, ... (floats, or doubles that are floats): keyed_rows.h, without a look for keys that are there twice.
/// Errors as there.
absl::StatusOr<KeyedRows> ReadKeyedParquet(const std::string& path);
absl::Status WriteKeyedParquet(const KeyedRows& rows, ByteSink* sink);

/// What the plugin exports as kParquetPluginSymbol: `const ParquetPlugin*()`.
struct ParquetPlugin {
  uint64_t layout;   ///< kParquetPluginLayout of its own build
  absl::StatusOr<std::shared_ptr<const Source>> (*open_source)(const SourceOptions&, std::vector<std::string>);
  absl::StatusOr<std::unique_ptr<ColumnWriter>> (*open_writer)(ByteSink*, std::vector<ColumnSpec>);
  absl::StatusOr<KeyedRows> (*read_keyed)(const std::string& path);
  absl::Status (*write_keyed)(const KeyedRows&, ByteSink*);
};
constexpr char kParquetPluginSymbol[] = "TroupeParquetPlugin";
/// C++ types cross the border: a plugin of another build is refused. The first factor counts changes that sizes do not show.
constexpr uint64_t kParquetPluginLayout = 2 * 1000000 + sizeof(SourceOptions) * 1000 + sizeof(RowBlock);
/// Opens the plugin at `path`, "libtroupe_arrow.so" of the same build. The functions above do it once, with the one that they find.
absl::StatusOr<const ParquetPlugin*> LoadParquetPlugin(const std::string& path);

}   // namespace troupe
