// Rows -> Parquet, in row groups of a bounded size, into a sink of ours.
#include <cmath>
#include <vector>

#include "actors/status.h"
#include "dataflow/arrow/arrow_errors.h"
#include "dataflow/arrow/parquet.h"
#include "dataflow/arrow/sink_stream.h"
#include "parquet/column_writer.h"
#include "parquet/exception.h"
#include "parquet/file_writer.h"

namespace troupe {
namespace {

constexpr size_t kGroupRows = 1 << 17;

class ParquetWriter final : public ColumnWriter {
 public:
  ParquetWriter(ByteSink* sink, std::vector<ColumnSpec> columns) : stream_(std::make_shared<SinkStream>(sink)), columns_(std::move(columns)) {}

  /// Floats as they are: random ones gain nothing by a dictionary. Whole numbers as dictionaries, packed.
  absl::Status Open() {
    parquet::WriterProperties::Builder properties;
    parquet::schema::NodeVector fields;
    for (const ColumnSpec& column : columns_) {
      const bool whole = column.type == ColumnSpec::Type::kInt32;
      fields.push_back(parquet::schema::PrimitiveNode::Make(column.name, parquet::Repetition::REQUIRED, whole ? parquet::Type::INT32 : parquet::Type::FLOAT));
      if (whole) {
        properties.compression(column.name, parquet::Compression::SNAPPY);
      } else {
        properties.disable_dictionary(column.name);
      }
    }
    auto root = std::static_pointer_cast<parquet::schema::GroupNode>(parquet::schema::GroupNode::Make("schema", parquet::Repetition::REQUIRED, fields));
    return Guard([&] { file_ = parquet::ParquetFileWriter::Open(stream_, root, properties.build()); });
  }

  absl::Status Write(std::span<const float> rows) override {
    const size_t width = columns_.size();
    while (!rows.empty()) {
      const size_t n = std::min(rows.size(), (kGroupRows * width) - buffer_.size());
      buffer_.insert(buffer_.end(), rows.begin(), rows.begin() + static_cast<ptrdiff_t>(n));
      rows = rows.subspan(n);
      if (buffer_.size() == kGroupRows * width) TROUPE_RETURN_IF_ERROR(WriteGroup());
    }
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    if (!buffer_.empty()) TROUPE_RETURN_IF_ERROR(WriteGroup());
    return Guard([&] { file_->Close(); });
  }

 private:
  absl::Status WriteGroup() {
    return Guard([&] {
      parquet::RowGroupWriter* group = file_->AppendRowGroup();
      const size_t width = columns_.size(), n = buffer_.size() / width;
      for (size_t c = 0; c < width; ++c) {
        if (columns_[c].type == ColumnSpec::Type::kInt32) {
          whole_.resize(n);
          for (size_t r = 0; r < n; ++r) whole_[r] = static_cast<int32_t>(buffer_[r * width + c]);
          static_cast<parquet::Int32Writer*>(group->NextColumn())->WriteBatch(static_cast<int64_t>(n), nullptr, nullptr, whole_.data());
        } else {
          column_.resize(n);
          for (size_t r = 0; r < n; ++r) column_[r] = buffer_[r * width + c];
          static_cast<parquet::FloatWriter*>(group->NextColumn())->WriteBatch(static_cast<int64_t>(n), nullptr, nullptr, column_.data());
        }
      }
      group->Close();
      buffer_.clear();
    });
  }

  template <class F>
  absl::Status Guard(F&& f) {
    try {
      f();
    } catch (const std::exception& error) {
      return stream_->status().ok() ? absl::InternalError(OneLine(absl::StrCat("writing Parquet: ", error.what()))) : stream_->status();
    }
    return absl::OkStatus();
  }

  std::shared_ptr<SinkStream> stream_;
  std::vector<ColumnSpec> columns_;
  std::unique_ptr<parquet::ParquetFileWriter> file_;
  std::vector<float> buffer_;   // rows of the group that is being filled, row-major
  std::vector<float> column_;   // one column of it
  std::vector<int32_t> whole_;
};

}   // namespace

absl::StatusOr<std::unique_ptr<ColumnWriter>> MakeParquetWriter(ByteSink* sink, std::vector<ColumnSpec> columns) {
  auto writer = std::make_unique<ParquetWriter>(sink, std::move(columns));
  TROUPE_RETURN_IF_ERROR(writer->Open());
  return writer;
}

}   // namespace troupe
