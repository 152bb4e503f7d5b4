// One file of text, plain or decompressed, that any thread reads at any place.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dataflow/internal/fd.h"

namespace troupe::internal {

struct TextFile {
  std::string path;          ///< as the user gave it: what messages show
  Fd spool;                  ///< the decompressed text, or not valid: the file is plain and is opened for each read
  uint64_t size = 0;         ///< of the text, in bytes
  uint64_t rows_begin = 0;   ///< where rows start: behind a byte order mark and a header
};

/// A text file that is open for a while. Errors name the path.
class OpenTextFile {
 public:
  /// FailedPrecondition: a plain file has another size than `file` says, so it has changed since the data set was opened.
  static absl::StatusOr<OpenTextFile> Open(const TextFile& file);
  /// Reads bytes [offset, offset + n), all within the file.
  absl::Status Read(uint64_t offset, size_t n, char* out) const;

 private:
  OpenTextFile(const TextFile& file, Fd fd) : file_(&file), fd_(std::move(fd)) {}
  const TextFile* file_;
  Fd fd_;   // of a plain file
};

/// Opens the files in parallel, two at a time: plain ones are looked at, .gz and .zst ones decompressed whole into unlinked temporary files, unless
/// `spool_fds` already has their text (one a compressed file, in the order of the files; duplicated, so that the caller keeps his).
/// Errors  "PATH: file is empty, expected rows"; cut or damaged streams; ResourceExhausted: the temporary folder is full.
absl::StatusOr<std::vector<TextFile>> OpenTextFiles(const std::vector<std::string>& paths, const std::vector<int>& spool_fds);

/// Where the line that starts at `offset` ends: the position of its newline, or the file's size.
absl::StatusOr<uint64_t> FindNewline(const TextFile& file, uint64_t offset);

/// 1-based number of the line that starts at `offset`. Reads all before it.
absl::StatusOr<uint64_t> LineAt(const TextFile& file, uint64_t offset);

/// Whether there is a line at or behind `rows_begin` that holds more than spaces, or a comment where `comment` ('#', or 0: none) starts one.
absl::StatusOr<bool> HasRows(const TextFile& file, char comment);

}   // namespace troupe::internal
