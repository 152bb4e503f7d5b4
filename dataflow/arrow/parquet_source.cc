// Parquet files as a data set: row groups cut into pieces that any thread may read.
#include <algorithm>
#include <deque>
#include <mutex>
#include <set>

#include "actors/status.h"
#include "dataflow/arrow/arrow_errors.h"
#include "dataflow/arrow/parquet.h"
#include "dataflow/arrow/parquet_file.h"

namespace troupe {
namespace {

constexpr uint64_t kPieceRowsMin = 1024, kPieceRowsMax = 65536;
constexpr int64_t kGroupRowsMax = int64_t{1} << 32;   // far beyond what anybody writes: a broken footer must not make us lay out pieces for ever
constexpr size_t kIdleCursorsMin = 4;

struct Piece {
  uint32_t file;
  int group;
  uint64_t group_row;   // first row within the group
  uint64_t file_row;    // and within the file
  uint64_t rows;
  uint64_t bytes;
};

std::string LabelName(const SourceOptions& options) {
  if (!options.label.empty()) return options.label;
  if (options.label_kind == LabelKind::kNone) return "";
  return options.expected && !options.expected->label.empty() ? options.expected->label : "label";
}

/// The columns of `file` that are to be features where no model says which: all but the label, which must be numbers.
absl::StatusOr<std::vector<std::string>> AllFeatures(const ParquetFile& file, const std::string& label) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const ParquetColumn& column : file.columns()) {
    if (!seen.insert(column.name).second) return absl::InvalidArgumentError(absl::StrCat(file.path(), ": two columns are named '", column.name, "'"));
    if (column.name != label) names.push_back(column.name);
  }
  if (names.empty()) return absl::InvalidArgumentError(file.path() + ": no columns besides the label, expected at least one");
  return names;
}

/// A further file of a folder has the columns of the first one.
absl::Status CheckSame(const ParquetFile& first, const ParquetFile& other) {
  for (const ParquetColumn& column : first.columns()) {
    if (other.Find(column.name) == nullptr)
      return absl::InvalidArgumentError(absl::StrCat(other.path(), ": no column '", column.name, "', expected the columns of ", first.path()));
  }
  for (const ParquetColumn& column : other.columns()) {
    if (first.Find(column.name) == nullptr)
      return absl::InvalidArgumentError(absl::StrCat(other.path(), ": column '", column.name, "', expected the columns of ", first.path()));
  }
  return absl::OkStatus();
}

class ParquetSource final : public Source {
 public:
  explicit ParquetSource(const SourceOptions& options)
      : label_kind_(options.label_kind), skip_bad_rows_(options.skip_bad_rows), idle_max_(std::max<size_t>(options.splits, kIdleCursorsMin)) {}

  absl::Status Open(const SourceOptions& options, const std::vector<std::string>& paths) {
    schema_ = {.format = "parquet", .label = LabelName(options), .columns = options.expected ? options.expected->columns : std::vector<std::string>()};
    std::erase(schema_.columns, schema_.label);
    for (const std::string& path : paths) {
      TROUPE_TRY(std::shared_ptr<ParquetFile> file, ParquetFile::Open(path));
      if (files_.empty() && !options.expected) {
        TROUPE_TRY(schema_.columns, AllFeatures(*file, schema_.label));
      }
      if (!files_.empty() && !options.expected) TROUPE_RETURN_IF_ERROR(CheckSame(*files_[0], *file));
      TROUPE_RETURN_IF_ERROR(file->Choose(schema_.columns, schema_.label, label_kind_ != LabelKind::kNone));
      rows_ += file->rows();
      files_.push_back(std::move(file));
    }
    if (rows_ == 0) return absl::InvalidArgumentError(paths[0] + ": no rows, expected at least one");
    const uint64_t piece_rows = std::clamp(rows_ / (uint64_t{4} * std::max(options.splits, 1u)), kPieceRowsMin, kPieceRowsMax);
    for (uint32_t i = 0; i < files_.size(); ++i) {
      TROUPE_RETURN_IF_ERROR(CatchParquet(files_[i]->path(), [&] { return AddPieces(i, piece_rows); }));
    }
    return absl::OkStatus();
  }

  const Schema& schema() const override { return schema_; }
  uint64_t pieces() const override { return pieces_.size(); }
  uint64_t piece_bytes(uint64_t i) const override { return pieces_[i].bytes; }
  std::optional<uint64_t> rows() const override { return rows_; }

  absl::StatusOr<std::shared_ptr<const RowBlock>> Read(uint64_t i) const override {
    const Piece& piece = pieces_[i];
    auto block = std::make_shared<RowBlock>();
    block->piece = i;
    block->first_row = piece.file_row;
    block->rows = piece.rows;
    TROUPE_RETURN_IF_ERROR(CatchParquet(files_[piece.file]->path(), [&] {
      std::unique_ptr<ParquetCursor> cursor = TakeCursor(piece);
      const absl::Status status = cursor->Read(label_kind_, skip_bad_rows_, block.get());
      if (status.ok()) KeepCursor(std::move(cursor));
      return status;
    }));
    return block;
  }

 private:
  /// Row groups in slices of equal size.
  absl::Status AddPieces(uint32_t index, uint64_t piece_rows) {
    const ParquetFile& file = *files_[index];
    uint64_t file_row = 0;
    for (int group = 0; group < file.groups(); ++group) {
      const auto metadata = file.metadata().RowGroup(group);
      for (const ParquetColumn* column : file.chosen()) {
        const int64_t values = metadata->ColumnChunk(column->leaf)->num_values();
        if (values >= 0 && values <= kGroupRowsMax && values == metadata->num_rows()) continue;
        return NotParquet(file.path(),
                          absl::StrCat("row group ", group, " has ", metadata->num_rows(), " rows, but ", values, " values of column '", column->name, "'"));
      }
      const uint64_t rows = file.group_rows(group), slices = (rows + piece_rows - 1) / piece_rows;
      for (uint64_t slice = 0; slice < slices; ++slice) {
        const uint64_t first = rows * slice / slices, last = rows * (slice + 1) / slices;
        pieces_.push_back({index, group, first, file_row + first, last - first, file.group_bytes(group) / slices + 1});
      }
      file_row += rows;
    }
    if (file_row != file.rows()) return NotParquet(file.path(), absl::StrCat("its row groups have ", file_row, " rows, its footer says ", file.rows()));
    return absl::OkStatus();
  }

  /// One that stands where the piece starts, because somebody has read the piece before it, or a new one.
  std::unique_ptr<ParquetCursor> TakeCursor(const Piece& piece) const {
    {
      const std::lock_guard lock(mutex_);
      for (auto idle = idle_.begin(); idle != idle_.end(); ++idle) {
        if ((*idle)->file() != files_[piece.file].get() || (*idle)->group() != piece.group || (*idle)->row() != piece.group_row) continue;
        std::unique_ptr<ParquetCursor> cursor = std::move(*idle);
        idle_.erase(idle);
        return cursor;
      }
    }
    return std::make_unique<ParquetCursor>(files_[piece.file], piece.group, piece.group_row);
  }

  void KeepCursor(std::unique_ptr<ParquetCursor> cursor) const {
    if (cursor->row() == cursor->file()->group_rows(cursor->group())) return;
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(cursor));
    if (idle_.size() > idle_max_) idle_.pop_front();
  }

  const LabelKind label_kind_;
  const bool skip_bad_rows_;
  const size_t idle_max_;
  Schema schema_;
  std::vector<std::shared_ptr<ParquetFile>> files_;
  std::vector<Piece> pieces_;
  uint64_t rows_ = 0;
  mutable std::mutex mutex_;
  mutable std::deque<std::unique_ptr<ParquetCursor>> idle_;   // oldest first
};

}   // namespace

absl::StatusOr<std::shared_ptr<const Source>> OpenParquetFiles(const SourceOptions& options, std::vector<std::string> paths) {
  auto source = std::make_shared<ParquetSource>(options);
  TROUPE_RETURN_IF_ERROR(source->Open(options, paths));
  return source;
}

}   // namespace troupe
