// Footer, schema and the choice of columns.
#include "dataflow/arrow/parquet_file.h"

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_join.h"
#include "actors/status.h"
#include "arrow/io/file.h"
#include "arrow/type.h"
#include "arrow/type_traits.h"
#include "arrow/util/io_util.h"
#include "dataflow/arrow/arrow_errors.h"
#include "parquet/arrow/schema.h"
#include "parquet/exception.h"

namespace troupe {
namespace {

bool IsNumber(const arrow::DataType& type) {
  return arrow::is_integer(type.id()) || type.id() == arrow::Type::FLOAT || type.id() == arrow::Type::DOUBLE || type.id() == arrow::Type::HALF_FLOAT ||
         type.id() == arrow::Type::BOOL;
}

absl::Status CannotMap(const std::string& path, const arrow::Status& status) {
  switch (arrow::internal::ErrnoFromStatus(status)) {
    case ENOENT:
      return absl::NotFoundError(path + ": no such file or directory");
    case EACCES:
      return absl::PermissionDeniedError(path + ": no permission to read");
    default:
      return NotParquet(path, status.message());
  }
}

std::string NotANumber(const std::string& path, const ParquetColumn& column) {
  return absl::StrCat(path, ": column '", column.name, "' is of type ", column.type, ", expected a number");
}

}   // namespace

absl::StatusOr<std::shared_ptr<ParquetFile>> ParquetFile::Open(const std::string& path) {
  return CatchParquet(path, [&]() -> absl::StatusOr<std::shared_ptr<ParquetFile>> {
    auto bytes = arrow::io::MemoryMappedFile::Open(path, arrow::io::FileMode::READ);
    if (!bytes.ok()) return CannotMap(path, bytes.status());
    auto file = std::make_shared<ParquetFile>();
    file->path_ = path;
    file->bytes_ = *bytes;
    file->metadata_ = parquet::ReadMetaData(file->bytes_);
    std::shared_ptr<arrow::Schema> schema;
    PARQUET_THROW_NOT_OK(parquet::arrow::FromParquetSchema(file->metadata_->schema(), &schema));
    const parquet::schema::GroupNode* root = file->metadata_->schema()->group_node();
    for (int i = 0; i < schema->num_fields(); ++i) {
      const arrow::DataType& type = *schema->field(i)->type();
      ParquetColumn column{.name = schema->field(i)->name(), .type = OneLine(type.ToString()), .numeric = IsNumber(type)};
      if (column.numeric) column.leaf = file->metadata_->schema()->ColumnIndex(*root->field(i));
      column.is_unsigned = column.numeric && arrow::is_unsigned_integer(type.id());
      file->columns_.push_back(std::move(column));
    }
    return file;
  });
}

const ParquetColumn* ParquetFile::Find(const std::string& name) const {
  const auto found = std::find_if(columns_.begin(), columns_.end(), [&](const ParquetColumn& column) { return column.name == name; });
  return found == columns_.end() ? nullptr : &*found;
}

uint64_t ParquetFile::group_bytes(int group) const {
  const auto metadata = metadata_->RowGroup(group);
  int64_t sum = 0;
  for (const ParquetColumn* column : chosen_) sum += metadata->ColumnChunk(column->leaf)->total_compressed_size();
  return static_cast<uint64_t>(std::max<int64_t>(sum, 0));
}

absl::Status ParquetFile::Choose(const std::vector<std::string>& features, const std::string& label, bool read_label) {
  std::vector<std::string> names = features;
  if (!label.empty()) names.push_back(label);
  has_label_ = !label.empty() && read_label;
  for (const std::string& name : names) {
    const ParquetColumn* column = Find(name);
    if (column == nullptr) {
      const auto append_name = [](std::string* out, const ParquetColumn& known) { out->append(known.name); };
      return absl::InvalidArgumentError(absl::StrCat(path_, ": no column '", name, "', expected one of: ", absl::StrJoin(columns_, ", ", append_name)));
    }
    if (name == label && !read_label) continue;
    if (!column->numeric) return absl::InvalidArgumentError(NotANumber(path_, *column));
    chosen_.push_back(column);
  }
  return absl::OkStatus();
}

std::unique_ptr<parquet::ParquetFileReader> ParquetFile::MakeReader() const {
  return parquet::ParquetFileReader::Open(bytes_, parquet::default_reader_properties(), metadata_);
}

}   // namespace troupe
