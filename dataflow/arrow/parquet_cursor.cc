// Columns -> dense rows. A tile of some thousand rows of every column is decoded and turned while it lies in the second-level cache.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "actors/status.h"
#include "arrow/util/float16.h"
#include "dataflow/arrow/arrow_errors.h"
#include "dataflow/arrow/parquet_file.h"
#include "parquet/column_reader.h"
#include "parquet/exception.h"

namespace troupe {
namespace {

constexpr size_t kTileFloats = 1 << 16;   // 256 KB: a tile and its rows fit the second-level cache together
constexpr size_t kTilePadding = 16;       // so that the columns of a tile do not share the cache's sets

bool AllFinite(const float* x, size_t n) {
  constexpr uint32_t kExponent = 0x7f800000;
  uint32_t bad = 0;
  for (size_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof(bits));
    bad |= static_cast<uint32_t>((bits & kExponent) == kExponent);
  }
  return bad == 0;
}

}   // namespace

/// Rows of the block that is being read that cannot be used; and what is wrong with the first of them.
struct ParquetCursor::BadRows {
  std::vector<uint8_t> is_bad;   // of every row, or empty while none is
  uint64_t count = 0;
  size_t first = std::numeric_limits<size_t>::max();
  std::string message;   // "WHAT, expected WHAT" of the first

  void Add(size_t row, size_t rows, const std::string& what) {
    if (is_bad.empty()) is_bad.resize(rows);
    count += is_bad[row] == 0;
    is_bad[row] = 1;
    if (row >= first) return;   // of one row, the first column speaks
    first = row;
    message = what;
  }
};

/// One column from a row on.
class ParquetCursor::Column {
 public:
  Column(const ParquetColumn& column, parquet::RowGroupReader* group, const parquet::ColumnDescriptor* descriptor, uint64_t first_row)
      : column_(column), nullable_(descriptor->max_definition_level() > 0) {
    auto pages = group->GetColumnPageReader(column.leaf);
    if (first_row > 0) {
      pages->set_data_page_filter([this, first_row](const parquet::DataPageStats& page) {
        if (started_ || passed_ + static_cast<uint64_t>(page.num_values) > first_row) {
          started_ = true;
          return false;
        }
        passed_ += static_cast<uint64_t>(page.num_values);
        return true;
      });
    }
    reader_ = parquet::ColumnReader::Make(descriptor, std::move(pages));
    if (first_row > 0 && reader_->HasNext()) Skip(first_row - passed_);
  }

  /// The next n values as floats into x; reports those that are no finite numbers as rows first + i of `rows`.
  void Read(size_t n, float* x, size_t first, size_t rows, BadRows* bad) {
    switch (reader_->type()) {
      case parquet::Type::BOOLEAN:
        return ReadAs<parquet::BooleanType, bool>(n, x, first, rows, bad);
      case parquet::Type::INT32:
        return column_.is_unsigned ? ReadAs<parquet::Int32Type, uint32_t>(n, x, first, rows, bad) : ReadAs<parquet::Int32Type, int32_t>(n, x, first, rows, bad);
      case parquet::Type::INT64:
        return column_.is_unsigned ? ReadAs<parquet::Int64Type, uint64_t>(n, x, first, rows, bad) : ReadAs<parquet::Int64Type, int64_t>(n, x, first, rows, bad);
      case parquet::Type::FLOAT:
        return ReadAs<parquet::FloatType, float>(n, x, first, rows, bad);
      case parquet::Type::DOUBLE:
        return ReadAs<parquet::DoubleType, double>(n, x, first, rows, bad);
      case parquet::Type::FIXED_LEN_BYTE_ARRAY:
        return ReadAs<parquet::FLBAType, parquet::FixedLenByteArray>(n, x, first, rows, bad);
      default:
        throw parquet::ParquetException("unexpected physical type of column ", column_.name);
    }
  }

 private:
  void Skip(uint64_t n) {
    const auto skip = [&]<class Type>(Type) {
      if (static_cast<parquet::TypedColumnReader<Type>&>(*reader_).Skip(static_cast<int64_t>(n)) != static_cast<int64_t>(n)) Short();
    };
    switch (reader_->type()) {
      case parquet::Type::BOOLEAN:
        return skip(parquet::BooleanType());
      case parquet::Type::INT32:
        return skip(parquet::Int32Type());
      case parquet::Type::INT64:
        return skip(parquet::Int64Type());
      case parquet::Type::FLOAT:
        return skip(parquet::FloatType());
      case parquet::Type::DOUBLE:
        return skip(parquet::DoubleType());
      case parquet::Type::FIXED_LEN_BYTE_ARRAY:
        return skip(parquet::FLBAType());
      default:
        throw parquet::ParquetException("unexpected physical type of column ", column_.name);
    }
  }

  [[noreturn]] void Short() const { throw parquet::ParquetException("column '", column_.name, "' has fewer values than the row group has rows"); }

  /// Type: Parquet's physical type. Value: what its bits mean.
  template <class Type, class Value>
  void ReadAs(size_t n, float* x, size_t first, size_t rows, BadRows* bad) {
    using Raw = typename Type::c_type;
    constexpr bool kDirect = std::is_same_v<Value, float>;
    if (nullable_ && levels_.size() < n) levels_.resize(n);
    if (!kDirect && raw_.size() < n * sizeof(Raw)) raw_.resize(n * sizeof(Raw));
    Raw* raw = reinterpret_cast<Raw*>(raw_.data());
    if constexpr (kDirect) raw = x;
    auto& reader = static_cast<parquet::TypedColumnReader<Type>&>(*reader_);
    bool nulls = false;
    for (size_t done = 0; done < n;) {   // a call ends with its page
      int64_t values = 0;
      int16_t* levels = nullable_ ? levels_.data() + done : nullptr;
      const auto read = static_cast<size_t>(reader.ReadBatch(static_cast<int64_t>(n - done), levels, nullptr, raw + done, &values));
      if (read == 0) Short();
      if (static_cast<size_t>(values) < read) {
        nulls = true;
        Spread(levels, read, static_cast<size_t>(values), raw + done);
      }
      // The bytes of a fixed-size value lie in the page, which the next call may replace.
      for (size_t i = done; !kDirect && i < done + read; ++i) x[i] = (nulls && levels_[i] == 0) ? 0 : AsFloat<Value>(raw[i]);
      done += read;
    }
    if (!nulls && AllFinite(x, n)) return;
    for (size_t i = 0; i < n; ++i) {
      const bool null = nulls && levels_[i] == 0;
      if (!null && std::isfinite(x[i])) continue;
      std::string text = null ? "null" : absl::StrCat(x[i]);
      const char* expected = ", expected a number";
      if constexpr (std::is_same_v<Value, double>) {
        if (!null && std::isfinite(raw[i])) {
          text = absl::StrCat(raw[i]);
          expected = ", expected a number within +-3.4e38";
        }
      }
      bad->Add(first + i, rows, absl::StrCat("column '", column_.name, "' is ", text, expected));
    }
  }

  /// Parquet packs the values that are there: moves them to their rows.
  template <class Raw>
  static void Spread(const int16_t* levels, size_t rows, size_t values, Raw* raw) {
    for (size_t row = rows; row-- > 0;) {
      if (levels[row] != 0) {
        raw[row] = raw[--values];
      } else {
        raw[row] = Raw();
      }
    }
  }

  template <class Value, class Raw>
  static float AsFloat(const Raw& raw) {
    if constexpr (std::is_same_v<Value, parquet::FixedLenByteArray>) {
      return arrow::util::Float16::FromLittleEndian(raw.ptr).ToFloat();
    } else {
      return static_cast<float>(static_cast<Value>(raw));
    }
  }

  const ParquetColumn& column_;
  const bool nullable_;
  uint64_t passed_ = 0;   // rows of pages that were passed over
  bool started_ = false;
  std::shared_ptr<parquet::ColumnReader> reader_;
  std::vector<int16_t> levels_;
  std::vector<uint8_t> raw_;
};

ParquetCursor::ParquetCursor(std::shared_ptr<const ParquetFile> file, int group, uint64_t row)
    : file_(std::move(file)), group_(group), row_(row), reader_(file_->MakeReader()) {
  const auto rows = reader_->RowGroup(group);
  for (const ParquetColumn* column : file_->chosen()) {
    columns_.push_back(std::make_unique<Column>(*column, rows.get(), file_->metadata().schema()->Column(column->leaf), row));
  }
}

ParquetCursor::~ParquetCursor() = default;

namespace {

/// The labels of rows [first, first + n), checked. `add(row, what)` takes the bad ones.
template <class Add>
void CheckLabels(const std::string& column, LabelKind kind, float* labels, size_t n, const Add& add) {
  if (kind != LabelKind::kBinary) return;
  for (size_t i = 0; i < n; ++i) {
    if (labels[i] == -1) labels[i] = 0;
    if (labels[i] != 0 && labels[i] != 1 && std::isfinite(labels[i])) add(i, absl::StrCat(column, " is ", labels[i], ", expected 0 or 1"));
  }
}

/// out[r * columns + c] = tile[c * stride + r], for as many columns at a time as the first-level cache has room for.
void Turn(const float* tile, size_t stride, size_t rows, size_t columns, float* out) {
  constexpr size_t kColumns = 256;
  for (size_t start = 0; start < columns; start += kColumns) {
    const size_t end = std::min(columns, start + kColumns);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = start; c < end; ++c) out[r * columns + c] = tile[c * stride + r];
    }
  }
}

/// Moves the good rows together.
void LeaveOut(const std::vector<uint8_t>& is_bad, RowBlock* block) {
  size_t kept = 0;
  for (size_t row = 0; row < is_bad.size(); ++row) {
    if (is_bad[row] != 0) continue;
    if (kept != row) {
      std::copy_n(block->dense.data() + row * block->columns, block->columns, block->dense.data() + kept * block->columns);
      if (!block->labels.empty()) block->labels[kept] = block->labels[row];
    }
    ++kept;
  }
  block->dense.resize(kept * block->columns);
  if (!block->labels.empty()) block->labels.resize(kept);
  block->rows = kept;
}

}   // namespace

absl::Status ParquetCursor::Read(LabelKind label_kind, bool skip_bad_rows, RowBlock* block) {
  const size_t rows = block->rows, features = columns_.size() - (file_->has_label() ? 1 : 0);
  block->columns = static_cast<uint32_t>(features);
  block->dense.resize(rows * features);
  block->labels.resize(file_->has_label() ? rows : 0);
  const size_t tile_rows = std::clamp<size_t>(kTileFloats / columns_.size() / 64 * 64, 256, 8192);
  tile_.resize((tile_rows + kTilePadding) * features);
  BadRows bad;
  for (size_t first = 0; first < rows; first += tile_rows) {
    ReadTile(first, std::min(tile_rows, rows - first), label_kind, block, &bad);
    if (bad.count > 0 && !skip_bad_rows) {
      return absl::InvalidArgumentError(absl::StrCat(file_->path(), ": row ", block->first_row + bad.first + 1, ": ", bad.message));
    }
  }
  row_ += rows;
  block->bad_rows = bad.count;
  if (bad.count > 0) LeaveOut(bad.is_bad, block);
  return absl::OkStatus();
}

void ParquetCursor::ReadTile(size_t first, size_t n, LabelKind label_kind, RowBlock* block, BadRows* bad) {
  const size_t features = block->columns, stride = tile_.size() / features;
  for (size_t c = 0; c < features; ++c) columns_[c]->Read(n, tile_.data() + c * stride, first, block->rows, bad);
  Turn(tile_.data(), stride, n, features, block->dense.data() + first * features);
  if (!file_->has_label()) return;
  float* labels = block->labels.data() + first;
  columns_.back()->Read(n, labels, first, block->rows, bad);
  CheckLabels(file_->chosen().back()->name, label_kind, labels, n, [&](size_t i, const std::string& what) { bad->Add(first + i, block->rows, what); });
}

}   // namespace troupe
