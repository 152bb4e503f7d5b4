// A data set as a list of pieces: a file or a folder of libsvm, CSV or Parquet, plain, .gz or .zst, or generated rows. Any piece can be read at any time,
// from any thread, and always gives the same rows: that is what a lost partition is rebuilt from.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dataflow/row_block.h"

namespace troupe {

/// What labels an algorithm can take; the parser refuses others with the place.
enum class LabelKind : uint8_t {
  kNone,     ///< not read; a libsvm label is passed over, a CSV or Parquet label column is left out of the features only if it is named
  kBinary,   ///< 0 or 1; -1 and +1 are accepted as 0 and 1
  kReal,     ///< any finite number
};

/// Column names of the features, in order of their numbers (feature i is columns[i - 1]); empty for libsvm, which has none.
struct Schema {
  std::string format;   ///< "libsvm", "csv" or "parquet"
  std::string label;    ///< label column; empty for libsvm or where there is none
  std::vector<std::string> columns;
  bool operator==(const Schema&) const = default;
};

struct SourceOptions {
  /// Path or file: URI of a file or a folder (its data files in order of their names; hidden ones and those starting with _ are left out), or
  /// "generate:ctr?rows=N&seed=S" and so on for generated rows.
  std::string uri = {};
  /// "libsvm", "csv", "parquet"; empty: by extension before .gz/.zst (.svm, .libsvm, .csv, .parquet).
  std::string format = {};
  /// Label column of CSV and Parquet. Empty: "label" where such a column exists and labels are wanted.
  std::string label = {};
  LabelKind label_kind = LabelKind::kBinary;
  /// The columns a model was trained on: they are looked up by name, further ones are ignored, a missing one is an error. nullopt: every numeric column.
  std::optional<Schema> expected = {};
  /// Leave rows with errors out and count them, instead of stopping at the first one.
  bool skip_bad_rows = false;
  /// Splits that the job will have: small data is cut into enough pieces for all of them. It decides where pieces end, so it stays the same for a job.
  uint32_t splits = 1;
  /// Inherited from the parent process: its Source::spool_fds(), so that nothing is decompressed twice. One for each compressed file, -1 where there is
  /// none. They are duplicated.
  std::vector<int> spool_fds = {};
};

/// Options -> pieces. Thread-safe after Open.
class Source {
 public:
  virtual ~Source() = default;
  virtual const Schema& schema() const = 0;
  /// Pieces in the order of the rows. Depends on the data and on `splits` only.
  virtual uint64_t pieces() const = 0;
  /// About how many bytes of input piece `i` is: for progress and for laying out splits.
  virtual uint64_t piece_bytes(uint64_t i) const = 0;
  /// Reads and parses one piece. Errors are final ("PATH:LINE: what, value, expected"), InvalidArgument for bad input.
  virtual absl::StatusOr<std::shared_ptr<const RowBlock>> Read(uint64_t i) const = 0;
  /// Rows where they are known without reading (Parquet, generated), else nullopt.
  virtual std::optional<uint64_t> rows() const { return std::nullopt; }
  /// Descriptors of decompressed text to pass on to child processes, one for each compressed file in the order of the files. The source owns them; they
  /// close on exec, so that a child gets them by posix_spawn_file_actions_adddup2.
  virtual std::vector<int> spool_fds() const { return {}; }
  uint64_t bytes() const {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < pieces(); ++i) sum += piece_bytes(i);
    return sum;
  }
};

/// Opens a data set: finds the files, checks that they can be read and are not empty, reads the header, decompresses (one reader a file, into an unlinked
/// temporary file; a cut .gz or .zst is found here, before anything is trained).
/// Errors  NotFound: no such file, or a folder without data. InvalidArgument: empty, unknown format, bad header, cut.
absl::StatusOr<std::shared_ptr<const Source>> OpenSource(const SourceOptions& options);

}   // namespace troupe
