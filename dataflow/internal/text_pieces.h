// Text files cut into pieces of about equal size. A piece owns the lines that start inside it, so any cut gives the same rows; pieces never cross files.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "dataflow/internal/bad_text.h"
#include "dataflow/internal/text_file.h"

namespace troupe::internal {

/// 64 KiB, so that the rows of a window of 16 pieces fit a core's cache; less where that would leave fewer than eight pieces to each split.
uint64_t PieceSize(uint64_t total_bytes, uint32_t splits);

/// The lines of one piece, in a buffer of the calling thread: valid until the thread's next Read. *end is '\n', and kTextPadding bytes can be read there.
struct PieceText {
  const TextFile* file;
  uint64_t offset;   ///< of `begin` within the file
  const char* begin;
  const char* end;
};

class TextPieces {
 public:
  /// piece_size > 0. The files' rows_begin must be settled before.
  TextPieces(std::vector<TextFile> files, uint64_t piece_size);

  const std::vector<TextFile>& files() const { return files_; }
  uint64_t count() const { return first_piece_.back(); }
  uint64_t bytes(uint64_t piece) const;
  /// The position in files() of the file that a piece lies in.
  size_t FileOf(uint64_t piece) const;
  /// piece < count(). Thread-safe. Errors: the file cannot be read, has changed, or a line is longer than 256 MiB.
  absl::StatusOr<PieceText> Read(uint64_t piece) const;
  /// Descriptors of the decompressed files.
  std::vector<int> spool_fds() const;

 private:
  std::vector<TextFile> files_;
  const uint64_t piece_size_;
  std::vector<uint64_t> first_piece_;   // of each file, and the number of all at the end
};

/// InvalidArgument "PATH:LINE: what".
absl::Status BadLineError(const PieceText& text, const BadLine& bad);

}   // namespace troupe::internal
