// By Arrow's own writer.
#include "tests/support/parquet_files.h"

#include <map>

#include "arrow/api.h"
#include "arrow/io/file.h"
#include "arrow/util/float16.h"
#include "parquet/arrow/writer.h"

namespace troupe::testing {
namespace {

void Must(const arrow::Status& status) {
  if (!status.ok()) status.Abort();
}

std::shared_ptr<arrow::DataType> TypeOf(const std::string& name) {
  static const std::map<std::string, std::shared_ptr<arrow::DataType>> types = {{"float", arrow::float32()},
                                                                                {"double", arrow::float64()},
                                                                                {"bool", arrow::boolean()},
                                                                                {"halffloat", arrow::float16()},
                                                                                {"int8", arrow::int8()},
                                                                                {"int16", arrow::int16()},
                                                                                {"int32", arrow::int32()},
                                                                                {"int64", arrow::int64()},
                                                                                {"uint8", arrow::uint8()},
                                                                                {"uint16", arrow::uint16()},
                                                                                {"uint32", arrow::uint32()},
                                                                                {"uint64", arrow::uint64()},
                                                                                {"string", arrow::utf8()},
                                                                                {"list", arrow::list(arrow::float32())},
                                                                                {"timestamp", arrow::timestamp(arrow::TimeUnit::MILLI)},
                                                                                {"decimal", arrow::decimal128(5, 2)}};
  return types.at(name);
}

std::shared_ptr<arrow::Array> ArrayOf(const TestColumn& column) {
  const auto type = TypeOf(column.type);
  if (!arrow::is_primitive(type->id()) || type->id() == arrow::Type::TIMESTAMP) {
    return arrow::MakeArrayOfNull(type, static_cast<int64_t>(column.values.size())).ValueOrDie();
  }
  auto builder = arrow::MakeBuilder(type).ValueOrDie();
  for (const double value : column.values) {
    if (value == kNull) {
      Must(builder->AppendNull());
    } else if (type->id() == arrow::Type::HALF_FLOAT) {
      Must(static_cast<arrow::HalfFloatBuilder&>(*builder).Append(arrow::util::Float16::FromDouble(value).bits()));
    } else if (type->id() == arrow::Type::BOOL) {
      Must(static_cast<arrow::BooleanBuilder&>(*builder).Append(value != 0));
    } else if (type->id() == arrow::Type::UINT64) {
      Must(static_cast<arrow::UInt64Builder&>(*builder).Append(static_cast<uint64_t>(value)));
    } else {
      Must(builder->AppendScalar(*arrow::MakeScalar(type, value).ValueOrDie()));
    }
  }
  return builder->Finish().ValueOrDie();
}

}   // namespace

void WriteTestParquet(const std::string& path, const TestFile& file) {
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  for (const TestColumn& column : file.columns) {
    fields.push_back(arrow::field(column.name, TypeOf(column.type)));
    arrays.push_back(ArrayOf(column));
  }
  const auto table = arrow::Table::Make(arrow::schema(fields), arrays);
  parquet::WriterProperties::Builder properties;
  properties.max_rows_per_page(static_cast<int64_t>(file.page_rows))->write_batch_size(64);
  if (file.compressed) {
    properties.compression(parquet::Compression::SNAPPY);
  } else {
    properties.disable_dictionary();
  }
  const auto out = arrow::io::FileOutputStream::Open(path).ValueOrDie();
  Must(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), out, static_cast<int64_t>(file.group_rows), properties.build()));
  Must(out->Close());
}

}   // namespace troupe::testing
