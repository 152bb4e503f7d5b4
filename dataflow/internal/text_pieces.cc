// Cutting and reading pieces of text.
#include "dataflow/internal/text_pieces.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "actors/status.h"
#include "dataflow/internal/number.h"

namespace troupe::internal {
namespace {

constexpr uint64_t kPieceMax = 64 << 10;
constexpr uint64_t kPieceMin = 256;
constexpr uint64_t kPiecesPerSplit = 8;
constexpr uint64_t kLineMax = 256 << 20;
constexpr uint64_t kLookAhead = 4 << 10;   // for the end of the last line

// A thread's text. Not a vector: that would fill what is about to be overwritten.
struct Buffer {
  std::unique_ptr<char[]> data;
  size_t capacity = 0;

  char* Reserve(size_t n, size_t kept) {
    if (n + kTextPadding > capacity) {
      const size_t more = std::max(n + kTextPadding, 2 * capacity);
      auto larger = std::make_unique_for_overwrite<char[]>(more);
      if (kept > 0) std::memcpy(larger.get(), data.get(), kept);
      data = std::move(larger);
      capacity = more;
    }
    return data.get();
  }
};

const char* Newline(const char* p, size_t n) {
  return static_cast<const char*>(std::memchr(p, '\n', n));
}

}   // namespace

uint64_t PieceSize(uint64_t total_bytes, uint32_t splits) {
  return std::clamp(total_bytes / (kPiecesPerSplit * std::max<uint64_t>(splits, 1)), kPieceMin, kPieceMax);
}

TextPieces::TextPieces(std::vector<TextFile> files, uint64_t piece_size) : files_(std::move(files)), piece_size_(piece_size), first_piece_{0} {
  for (const TextFile& file : files_) first_piece_.push_back(first_piece_.back() + (file.size + piece_size - 1) / piece_size);
}

size_t TextPieces::FileOf(uint64_t piece) const {
  TROUPE_CHECK(piece < count());
  return static_cast<size_t>(std::upper_bound(first_piece_.begin(), first_piece_.end(), piece) - first_piece_.begin()) - 1;
}

uint64_t TextPieces::bytes(uint64_t piece) const {
  const size_t file = FileOf(piece);
  return std::min(piece_size_, files_[file].size - (piece - first_piece_[file]) * piece_size_);
}

absl::StatusOr<PieceText> TextPieces::Read(uint64_t piece) const {
  static thread_local Buffer buffer;
  if (buffer.capacity > 4 * kPieceMax) buffer = {};   // after an exceptionally long line
  const size_t number = FileOf(piece);
  const TextFile& file = files_[number];
  // Lines that start in [from, to) are the piece's. One byte more in front tells whether a line starts at `from` itself.
  const uint64_t to = std::min((piece - first_piece_[number] + 1) * piece_size_, file.size);
  const uint64_t from = std::min(std::max((piece - first_piece_[number]) * piece_size_, file.rows_begin), to);
  const uint64_t start = from > file.rows_begin ? from - 1 : from;
  const size_t owned = static_cast<size_t>(to - start);
  TROUPE_TRY(const OpenTextFile text, OpenTextFile::Open(file));
  size_t n = from < to ? static_cast<size_t>(std::min(to + kLookAhead, file.size) - start) : 0;
  char* data = buffer.Reserve(n, 0);
  TROUPE_RETURN_IF_ERROR(text.Read(start, n, data));

  size_t begin = 0;
  if (start < from) {
    const char* newline = Newline(data, owned);
    begin = newline == nullptr ? owned : static_cast<size_t>(newline - data) + 1;
  }
  size_t end = begin;
  if (from < to && begin < owned) {   // the last line ends at the first newline from the last owned byte on
    const char* newline = Newline(data + owned - 1, n - owned + 1);
    while (newline == nullptr && start + n < file.size) {
      if (n - owned > kLineMax) return BadLineError({&file, start, data, data}, {begin, "line is longer than 256 MiB"});
      const size_t more = static_cast<size_t>(std::min<uint64_t>(n, file.size - start - n));
      data = buffer.Reserve(n + more, n);
      TROUPE_RETURN_IF_ERROR(text.Read(start + n, more, data + n));
      newline = Newline(data + n, more);
      n += more;
    }
    end = newline == nullptr ? n : static_cast<size_t>(newline - data);
  }
  std::memset(data + end, '\n', kTextPadding);
  return PieceText{&file, start + begin, data + begin, data + end};
}

std::vector<int> TextPieces::spool_fds() const {
  std::vector<int> fds;
  for (const TextFile& file : files_) {
    if (file.spool.valid()) fds.push_back(file.spool.get());
  }
  return fds;
}

absl::Status BadLineError(const PieceText& text, const BadLine& bad) {
  TROUPE_TRY(const uint64_t line, LineAt(*text.file, text.offset + bad.offset));
  return absl::InvalidArgumentError(absl::StrCat(text.file->path, ":", line, ": ", bad.what));
}

}   // namespace troupe::internal
