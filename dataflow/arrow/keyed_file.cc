// Rows by key as a Parquet file of the columns key, v0, v1, ...
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "actors/status.h"
#include "dataflow/arrow/arrow_errors.h"
#include "dataflow/arrow/parquet.h"
#include "dataflow/arrow/parquet_file.h"
#include "dataflow/arrow/sink_stream.h"
#include "parquet/column_reader.h"
#include "parquet/column_writer.h"
#include "parquet/exception.h"
#include "parquet/file_writer.h"

namespace troupe {
namespace {

constexpr size_t kGroupRows = 1 << 17;
constexpr size_t kWidthMax = 65'536;

absl::Status Wrong(const std::string& path, uint64_t row, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": row ", row + 1, ": ", what));
}

/// take(i, value) for each of the group's values, which are not null; what it returns other than "" is what is wrong with row `first_row` + i.
template <class Type, class Take>
absl::Status ReadColumn(parquet::RowGroupReader& group, int column, const std::string& path, uint64_t first_row, Take&& take) {
  const std::shared_ptr<parquet::ColumnReader> reader = group.Column(column);
  auto& typed = static_cast<parquet::TypedColumnReader<Type>&>(*reader);
  const bool optional = reader->descr()->max_definition_level() > 0;
  std::vector<typename Type::c_type> values(4096);
  std::vector<int16_t> defined(values.size());
  const auto rows = static_cast<uint64_t>(group.metadata()->num_rows());
  for (uint64_t row = 0; row < rows;) {
    int64_t read = 0;
    const int64_t levels = typed.ReadBatch(static_cast<int64_t>(values.size()), optional ? defined.data() : nullptr, nullptr, values.data(), &read);
    if (levels <= 0) return NotParquet(path, "a column is shorter than its row group");
    for (int64_t i = 0; i < levels; ++i, ++row) {
      if (optional && defined[static_cast<size_t>(i)] < reader->descr()->max_definition_level())
        return Wrong(path, first_row + row, absl::StrCat(reader->descr()->name(), " is null, expected a number"));
      if (std::string what = take(row, values[static_cast<size_t>(i)]); !what.empty()) return Wrong(path, first_row + row, what);
    }
  }
  return absl::OkStatus();
}

/// One column of one row group into `rows`, which have room for it. Column 0: the key.
absl::Status ReadGroupColumn(const ParquetFile& file, parquet::RowGroupReader& group, size_t column, uint64_t first_row, KeyedRows& rows) {
  const ParquetColumn& chosen = *file.chosen()[column];
  const parquet::Type::type type = file.metadata().schema()->Column(chosen.leaf)->physical_type();
  const auto key = [&](uint64_t row, auto value) -> std::string {
    if (!chosen.is_unsigned && value < 0) return absl::StrCat("key is ", value, ", expected a whole number of at least 0");
    using Unsigned = std::make_unsigned_t<decltype(value)>;
    rows.keys[first_row + row] = static_cast<Unsigned>(value);
    return "";
  };
  const auto number = [&](uint64_t row, auto value) -> std::string {
    const auto as_float = static_cast<float>(value);
    if (!std::isfinite(value)) return absl::StrCat(chosen.name, " is ", value, ", expected a finite number");
    if (static_cast<decltype(value)>(as_float) != value) return absl::StrCat(chosen.name, " is ", value, ", expected a number that is a float");
    rows.values[(first_row + row) * rows.width + column - 1] = as_float;
    return "";
  };
  if (column == 0 && type == parquet::Type::INT64) return ReadColumn<parquet::Int64Type>(group, chosen.leaf, file.path(), first_row, key);
  if (column == 0 && type == parquet::Type::INT32) return ReadColumn<parquet::Int32Type>(group, chosen.leaf, file.path(), first_row, key);
  if (column > 0 && type == parquet::Type::FLOAT) return ReadColumn<parquet::FloatType>(group, chosen.leaf, file.path(), first_row, number);
  if (column > 0 && type == parquet::Type::DOUBLE) return ReadColumn<parquet::DoubleType>(group, chosen.leaf, file.path(), first_row, number);
  return absl::InvalidArgumentError(absl::StrCat(file.path(), ": column '", chosen.name, "' is of type ", chosen.type, ", expected ",
                                                 column == 0 ? "whole numbers of 32 or 64 bits" : "float or double"));
}

absl::StatusOr<KeyedRows> ReadAll(ParquetFile& file) {
  const size_t width = file.columns().size() - 1;
  std::vector<std::string> names;
  for (size_t i = 0; i < file.columns().size(); ++i) {
    names.push_back(i == 0 ? "key" : absl::StrCat("v", i - 1));
    if (file.columns()[i].name != names.back())
      return absl::InvalidArgumentError(
          absl::StrCat(file.path(), ": column ", i + 1, " is '", OneLine(file.columns()[i].name), "', expected '", names.back(), "'"));
  }
  if (width < 1 || width > kWidthMax)
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": ", width, " columns besides the key, expected 1 to ", kWidthMax));
  TROUPE_RETURN_IF_ERROR(file.Choose(names, "", false));
  KeyedRows rows{.width = static_cast<uint32_t>(width), .keys = {}, .values = {}};
  const std::unique_ptr<parquet::ParquetFileReader> reader = file.MakeReader();
  for (int g = 0; g < file.groups(); ++g) {
    const std::shared_ptr<parquet::RowGroupReader> group = reader->RowGroup(g);
    const uint64_t first_row = rows.keys.size();
    rows.keys.resize(first_row + file.group_rows(g));
    rows.values.resize(rows.keys.size() * width);
    for (size_t column = 0; column <= width; ++column) TROUPE_RETURN_IF_ERROR(ReadGroupColumn(file, *group, column, first_row, rows));
  }
  return rows;
}

}   // namespace

absl::StatusOr<KeyedRows> ReadKeyedFile(const std::string& path) {
  TROUPE_TRY(const std::shared_ptr<ParquetFile> file, ParquetFile::Open(path));
  if (file->columns().empty()) return absl::InvalidArgumentError(path + ": no columns, expected key, v0, v1, ...");
  return CatchParquet(path, [&] { return ReadAll(*file); });
}

absl::Status WriteKeyedFile(const KeyedRows& rows, ByteSink* sink) {
  const auto stream = std::make_shared<SinkStream>(sink);
  try {
    parquet::schema::NodeVector fields = {
        parquet::schema::PrimitiveNode::Make("key", parquet::Repetition::REQUIRED, parquet::LogicalType::Int(64, false), parquet::Type::INT64)};
    for (uint32_t i = 0; i < rows.width; ++i)
      fields.push_back(parquet::schema::PrimitiveNode::Make(absl::StrCat("v", i), parquet::Repetition::REQUIRED, parquet::Type::FLOAT));
    const auto root = std::static_pointer_cast<parquet::schema::GroupNode>(parquet::schema::GroupNode::Make("schema", parquet::Repetition::REQUIRED, fields));
    parquet::WriterProperties::Builder properties;
    const auto file = parquet::ParquetFileWriter::Open(stream, root, properties.disable_dictionary()->build());
    for (size_t first = 0; first < rows.keys.size(); first += kGroupRows) {
      const size_t n = std::min(kGroupRows, rows.keys.size() - first);
      parquet::RowGroupWriter* group = file->AppendRowGroup();
      static_cast<parquet::Int64Writer*>(group->NextColumn())
          ->WriteBatch(static_cast<int64_t>(n), nullptr, nullptr, reinterpret_cast<const int64_t*>(rows.keys.data() + first));
      std::vector<float> column(n);
      for (uint32_t j = 0; j < rows.width; ++j) {
        for (size_t i = 0; i < n; ++i) column[i] = rows.values[(first + i) * rows.width + j];
        static_cast<parquet::FloatWriter*>(group->NextColumn())->WriteBatch(static_cast<int64_t>(n), nullptr, nullptr, column.data());
      }
      group->Close();
    }
    file->Close();
  } catch (const std::exception& error) {
    return stream->status().ok() ? absl::InternalError(OneLine(absl::StrCat("writing Parquet: ", error.what()))) : stream->status();
  }
  return absl::OkStatus();
}

}   // namespace troupe
