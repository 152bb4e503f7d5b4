// Predictions, one float a row in the order of the rows, as text, CSV or Parquet.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dataflow/output_file.h"
#include "dataflow/parquet_plugin.h"

namespace troupe {

/// Not thread-safe. A file that is not finished is removed by the destructor.
class PredictionWriter {
 public:
  /// By extension: .csv (header "prediction"), .parquet (a column of that name), else one number a line; text may have .gz or .zst after it.
  /// Errors: those of OutputFile::Open; InvalidArgument: .parquet.gz.
  static absl::StatusOr<std::unique_ptr<PredictionWriter>> Open(const std::string& uri);
  /// Numbers are written as the shortest text that reads back as the same float. ResourceExhausted: "PATH: no space left on device".
  absl::Status Write(std::span<const float> predictions);
  /// Gives the file its name. Call once, last.
  absl::Status Finish();
  uint64_t rows() const { return rows_; }

 private:
  PredictionWriter() = default;
  absl::Status Flush();

  std::unique_ptr<OutputFile> file_;
  std::unique_ptr<ColumnWriter> columns_;   // Parquet; destroyed before the file that it writes to
  Compression compression_ = Compression::kNone;
  std::string text_;
  uint64_t rows_ = 0;
};

}   // namespace troupe
