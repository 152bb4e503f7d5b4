// One Parquet file: which of its columns are the features and the label, and reading any rows of a row group from them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "arrow/io/interfaces.h"
#include "dataflow/row_block.h"
#include "dataflow/source.h"
#include "parquet/file_reader.h"

namespace troupe {

struct ParquetColumn {
  std::string name;
  std::string type;   ///< in Arrow's words
  bool numeric = false;
  int leaf = -1;   ///< its number among the file's physical columns, where numeric
  bool is_unsigned = false;
};

/// Immutable after Open; read by any number of threads.
class ParquetFile {
 public:
  /// Maps the file and reads its footer.
  static absl::StatusOr<std::shared_ptr<ParquetFile>> Open(const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<ParquetColumn>& columns() const { return columns_; }
  const ParquetColumn* Find(const std::string& name) const;
  int groups() const { return metadata_->num_row_groups(); }
  uint64_t group_rows(int group) const { return static_cast<uint64_t>(metadata_->RowGroup(group)->num_rows()); }
  /// Compressed bytes of the chosen columns in a row group.
  uint64_t group_bytes(int group) const;
  uint64_t rows() const { return static_cast<uint64_t>(metadata_->num_rows()); }

  /// Sets what is read: features by name in this order, and the label, if any. Without `read_label` the label only has to be there.
  /// Errors InvalidArgument: "PATH: no column 'x', expected ..."; a column that is not numeric.
  absl::Status Choose(const std::vector<std::string>& features, const std::string& label, bool read_label);
  /// features, then the label where there is one.
  const std::vector<const ParquetColumn*>& chosen() const { return chosen_; }
  bool has_label() const { return has_label_; }

  /// A reader of its own for one user: cheap, the footer is shared.
  std::unique_ptr<parquet::ParquetFileReader> MakeReader() const;
  const parquet::FileMetaData& metadata() const { return *metadata_; }

 private:
  std::string path_;
  std::shared_ptr<arrow::io::RandomAccessFile> bytes_;
  std::shared_ptr<parquet::FileMetaData> metadata_;
  std::vector<ParquetColumn> columns_;
  std::vector<const ParquetColumn*> chosen_;
  bool has_label_ = false;
};

/// Reads the rows of one row group forwards. Not thread-safe.
class ParquetCursor {
 public:
  /// Starts at row `row` of the group: pages before it are passed over without being decompressed.
  ParquetCursor(std::shared_ptr<const ParquetFile> file, int group, uint64_t row);
  ~ParquetCursor();

  const ParquetFile* file() const { return file_.get(); }
  int group() const { return group_; }
  uint64_t row() const { return row_; }

  /// The next block->rows rows into dense and labels. first_row is the number of row 0 in the file, for messages.
  /// Rows with errors: left out and counted if `skip_bad_rows`, else InvalidArgument for the first of them. Throws what Parquet throws.
  absl::Status Read(LabelKind label_kind, bool skip_bad_rows, RowBlock* block);

 private:
  class Column;
  struct BadRows;
  void ReadTile(size_t first, size_t n, LabelKind label_kind, RowBlock* block, BadRows* bad);

  std::shared_ptr<const ParquetFile> file_;
  int group_;
  uint64_t row_;
  std::unique_ptr<parquet::ParquetFileReader> reader_;
  std::vector<std::unique_ptr<Column>> columns_;
  std::vector<float> tile_;   // columns x tile rows, each column with some padding
};

}   // namespace troupe
