// Reading of text by position; nothing is mapped, so that what is resident stays bounded.
#include "dataflow/internal/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "dataflow/internal/spool.h"

namespace troupe::internal {
namespace {

constexpr size_t kChunk = 64 << 10;

absl::Status Unreadable(const std::string& path, int error) {
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(absl::StrCat(path, ": no such file or directory"));
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(absl::StrCat(path, ": cannot be read: ", std::strerror(error)));
  return absl::InternalError(absl::StrCat(path, ": cannot be read: ", std::strerror(error)));
}

absl::StatusOr<Fd> OpenPlain(const std::string& path, uint64_t* size) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat about;
  if (!fd.valid() || ::fstat(fd.get(), &about) != 0) return Unreadable(path, errno);
  if (!S_ISREG(about.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, ": is not a regular file"));
  *size = static_cast<uint64_t>(about.st_size);
  return fd;
}

absl::StatusOr<TextFile> OpenOne(const std::string& path, int inherited) {
  TextFile file;
  file.path = path;
  const Compression compression = CompressionOf(path);
  if (compression != Compression::kNone && inherited >= 0) {
    file.spool = Fd(::fcntl(inherited, F_DUPFD_CLOEXEC, 0));
    struct stat about;
    if (!file.spool.valid() || ::fstat(file.spool.get(), &about) != 0) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": inherited descriptor ", inherited, " of its text: ", std::strerror(errno)));
    }
    file.size = static_cast<uint64_t>(about.st_size);
  } else {
    TROUPE_TRY(const Fd fd, OpenPlain(path, &file.size));
    if (compression != Compression::kNone && file.size > 0) {
      TROUPE_TRY(file.spool, Decompress(fd.get(), path, compression, &file.size));
    }
  }
  if (file.size == 0) return absl::InvalidArgumentError(absl::StrCat(path, ": file is empty, expected rows"));
  if (file.size >= 3) {
    char mark[3];
    TROUPE_TRY(const OpenTextFile text, OpenTextFile::Open(file));
    TROUPE_RETURN_IF_ERROR(text.Read(0, 3, mark));
    if (std::memcmp(mark, "\xef\xbb\xbf", 3) == 0) file.rows_begin = 3;
  }
  return file;
}

// Calls `use` with one chunk after the other of [begin, end), until it returns false.
absl::Status ForChunks(const TextFile& file, uint64_t begin, uint64_t end, const std::function<bool(uint64_t, std::string_view)>& use) {
  TROUPE_TRY(const OpenTextFile text, OpenTextFile::Open(file));
  const auto buffer = std::make_unique_for_overwrite<char[]>(kChunk);
  for (uint64_t at = begin; at < end; at += kChunk) {
    const size_t n = std::min<uint64_t>(kChunk, end - at);
    TROUPE_RETURN_IF_ERROR(text.Read(at, n, buffer.get()));
    if (!use(at, {buffer.get(), n})) break;
  }
  return absl::OkStatus();
}

}   // namespace

absl::StatusOr<OpenTextFile> OpenTextFile::Open(const TextFile& file) {
  if (file.spool.valid()) return OpenTextFile(file, Fd());
  uint64_t size = 0;
  TROUPE_TRY(Fd fd, OpenPlain(file.path, &size));
  if (size != file.size) return absl::FailedPreconditionError(absl::StrCat(file.path, ": file has changed: ", size, " bytes, expected ", file.size));
  return OpenTextFile(file, std::move(fd));
}

absl::Status OpenTextFile::Read(uint64_t offset, size_t n, char* out) const {
  const int fd = fd_.valid() ? fd_.get() : file_->spool.get();
  while (n > 0) {
    const ssize_t got = ::pread(fd, out, n, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Unreadable(file_->path, errno);
    if (got == 0) return absl::FailedPreconditionError(absl::StrCat(file_->path, ": file has changed: ", offset, " bytes, expected ", file_->size));
    offset += static_cast<uint64_t>(got);
    out += got;
    n -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TextFile>> OpenTextFiles(const std::vector<std::string>& paths, const std::vector<int>& spool_fds) {
  std::vector<int> inherited(paths.size(), -1);
  size_t compressed = 0;
  for (size_t i = 0; i < paths.size(); ++i) {
    if (CompressionOf(paths[i]) == Compression::kNone) continue;
    if (compressed < spool_fds.size()) inherited[i] = spool_fds[compressed];
    ++compressed;
  }
  std::vector<absl::StatusOr<TextFile>> opened(paths.size());
  std::atomic<size_t> next = 0;
  const auto open = [&] {
    for (size_t i = next++; i < paths.size(); i = next++) opened[i] = OpenOne(paths[i], inherited[i]);
  };
  if (compressed > 1 && spool_fds.size() < compressed) {
    std::jthread second(open);
    open();
  } else {
    open();
  }
  std::vector<TextFile> files;
  for (auto& file : opened) {
    if (!file.ok()) return file.status();
    files.push_back(*std::move(file));
  }
  return files;
}

absl::StatusOr<uint64_t> FindNewline(const TextFile& file, uint64_t offset) {
  uint64_t found = file.size;
  TROUPE_RETURN_IF_ERROR(ForChunks(file, offset, file.size, [&](uint64_t at, std::string_view chunk) {
    const size_t newline = chunk.find('\n');
    if (newline != chunk.npos) found = at + newline;
    return newline == chunk.npos;
  }));
  return found;
}

absl::StatusOr<uint64_t> LineAt(const TextFile& file, uint64_t offset) {
  int64_t newlines = 0;
  TROUPE_RETURN_IF_ERROR(ForChunks(file, 0, offset, [&](uint64_t, std::string_view chunk) {
    newlines += std::count(chunk.begin(), chunk.end(), '\n');
    return true;
  }));
  return static_cast<uint64_t>(newlines) + 1;
}

absl::StatusOr<bool> HasRows(const TextFile& file, char comment) {
  bool found = false;
  bool in_comment = false;
  TROUPE_RETURN_IF_ERROR(ForChunks(file, file.rows_begin, file.size, [&](uint64_t, std::string_view chunk) {
    for (const char c : chunk) {
      if (c == '\n') in_comment = false;
      in_comment |= comment != 0 && c == comment;
      found |= !in_comment && c != '\n' && c != '\r' && c != ' ' && c != '\t';
      if (found) break;
    }
    return !found;
  }));
  return found;
}

}   // namespace troupe::internal
