// Temporary name, write, rename; and compression by whole blocks.
#include "dataflow/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/strings/ascii.h"
#include "actors/check.h"
#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/text.h"

namespace troupe {
namespace {

constexpr int kGzipLevel = 1, kZstdLevel = 1;   // made quickly: data that is generated or predicted is mostly digits

absl::Status FileError(const std::string& name, int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(name + ": no space left on device");
    case ENOENT:
      return absl::NotFoundError(name + ": no such folder");
    case ENOTDIR:
      return absl::NotFoundError(name + ": a part of the path is not a folder");
    case EISDIR:
      return absl::InvalidArgumentError(name + ": is a folder, expected a file to write");
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(name + ": no permission to write");
    default:
      return absl::InternalError(absl::StrCat(name, ": cannot be written: ", std::generic_category().message(error)));
  }
}

std::string GzipMember(std::string_view text) {
  z_stream stream{};
  constexpr int kGzipWindow = 15 + 16;   // + 16: gzip's header and checksum instead of zlib's
  TROUPE_CHECK(deflateInit2(&stream, kGzipLevel, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string member(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(member.data());
  stream.avail_out = static_cast<uInt>(member.size());
  TROUPE_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  member.resize(stream.total_out);
  deflateEnd(&stream);
  return member;
}

std::string ZstdFrame(std::string_view text) {
  std::string frame(ZSTD_compressBound(text.size()), '\0');
  const size_t size = ZSTD_compress(frame.data(), frame.size(), text.data(), text.size(), kZstdLevel);
  TROUPE_CHECK(!ZSTD_isError(size));
  frame.resize(size);
  return frame;
}

}   // namespace

OutputFile::OutputFile(std::string name, std::string target, std::string temporary, int fd)
    : name_(std::move(name)), target_(std::move(target)), temporary_(std::move(temporary)), fd_(fd) {}

absl::StatusOr<std::unique_ptr<OutputFile>> OutputFile::Open(std::string_view uri) {
  TROUPE_TRY(const std::string target, LocalPath(uri));
  const std::string name(uri);
  struct stat info;
  const bool exists = ::stat(target.c_str(), &info) == 0;
  if (target.empty() || target.back() == '/' || (exists && S_ISDIR(info.st_mode))) return FileError(name, EISDIR);
  std::string temporary;
  int flags = O_WRONLY | O_CLOEXEC;
  if (!exists || S_ISREG(info.st_mode)) {
    static std::atomic<unsigned> counter = 0;
    const std::filesystem::path path(target);
    temporary = (path.parent_path() / absl::StrCat(".", path.filename().string(), ".", getpid(), ".", counter++, ".tmp")).string();
    flags |= O_CREAT | O_EXCL;
  }
  const int fd = ::open(temporary.empty() ? target.c_str() : temporary.c_str(), flags, 0666);
  if (fd < 0) return FileError(name, errno);
  return std::unique_ptr<OutputFile>(new OutputFile(name, target, temporary, fd));
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

absl::Status OutputFile::ErrorOf(int error) const {
  return FileError(name_, error);
}

absl::Status OutputFile::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
      bytes_ += static_cast<uint64_t>(written);
    } else if (errno != EINTR) {
      return ErrorOf(errno);
    }
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Commit() {
  if (::close(std::exchange(fd_, -1)) != 0) return ErrorOf(errno);
  if (!temporary_.empty() && ::rename(temporary_.c_str(), target_.c_str()) != 0) return ErrorOf(errno);
  temporary_.clear();
  return absl::OkStatus();
}

FileExtension ExtensionOf(std::string_view uri) {
  std::filesystem::path path(absl::AsciiStrToLower(Absl(uri)));
  FileExtension result;
  if (path.extension() == ".gz") result.compression = Compression::kGzip;
  if (path.extension() == ".zst") result.compression = Compression::kZstd;
  if (result.compression != Compression::kNone) path.replace_extension();
  result.format = path.extension().string();
  return result;
}

std::string Compress(std::string_view text, Compression compression) {
  return compression == Compression::kGzip ? GzipMember(text) : ZstdFrame(text);
}

}   // namespace troupe
