// Text is collected, compressed where that is asked for, and written in pieces of a megabyte.
#include "dataflow/prediction_writer.h"

#include <charconv>

#include "actors/status.h"

namespace troupe {
namespace {
constexpr size_t kFlushBytes = 1 << 20;
}

absl::StatusOr<std::unique_ptr<PredictionWriter>> PredictionWriter::Open(const std::string& uri) {
  const FileExtension extension = ExtensionOf(uri);
  const bool parquet = extension.format == ".parquet";
  if (parquet && extension.compression != Compression::kNone) {
    return absl::InvalidArgumentError(uri + ": Parquet is compressed in itself, expected .parquet without .gz or .zst");
  }
  std::unique_ptr<PredictionWriter> writer(new PredictionWriter);
  TROUPE_TRY(writer->file_, OutputFile::Open(uri));
  writer->compression_ = extension.compression;
  if (extension.format == ".csv") writer->text_ = "prediction\n";
  if (parquet) {
    TROUPE_TRY(writer->columns_, OpenParquetWriter(writer->file_.get(), {{"prediction", ColumnSpec::Type::kFloat}}));
  }
  return writer;
}

absl::Status PredictionWriter::Write(std::span<const float> predictions) {
  rows_ += predictions.size();
  if (columns_) return columns_->Write(predictions);
  for (const float prediction : predictions) {
    char number[24];
    char* end = std::to_chars(number, number + sizeof(number), prediction).ptr;
    *end++ = '\n';
    text_.append(number, end);
    if (text_.size() >= kFlushBytes) TROUPE_RETURN_IF_ERROR(Flush());
  }
  return absl::OkStatus();
}

absl::Status PredictionWriter::Flush() {
  const absl::Status status = compression_ == Compression::kNone ? file_->Write(text_) : file_->Write(Compress(text_, compression_));
  text_.clear();
  return status;
}

absl::Status PredictionWriter::Finish() {
  TROUPE_RETURN_IF_ERROR(columns_ ? columns_->Finish() : Flush());   // compressed nothing is still a valid file
  return file_->Commit();
}

}   // namespace troupe
