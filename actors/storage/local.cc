// The local file system: whole files in, whole files out, by a file without a name and rename.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <optional>
#include <system_error>

#include "absl/strings/ascii.h"
#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/text.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTemporary = ".troupe-tmp-";   // List does not show these

enum class Access { kRead, kChange };

/// Trouble while changing something is the disk's (exit code 1) unless the path itself is wrong; an input that is missing or closed to us is the caller's.
absl::StatusCode Code(int error, Access access) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::StatusCode::kResourceExhausted;
    case EISDIR:
    case ENOTDIR:
      return absl::StatusCode::kFailedPrecondition;
    case ENAMETOOLONG:
    case ELOOP:
    case EINVAL:
      return absl::StatusCode::kInvalidArgument;
    case ENOENT:
      return access == Access::kRead ? absl::StatusCode::kNotFound : absl::StatusCode::kInternal;
    case EACCES:
    case EPERM:
      return access == Access::kRead ? absl::StatusCode::kPermissionDenied : absl::StatusCode::kInternal;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::Status Error(int error, const std::string& uri, Access access) {
  std::string text = error == EDQUOT ? "no space left on device" : std::generic_category().message(error);
  text[0] = absl::ascii_tolower(static_cast<unsigned char>(text[0]));
  return absl::Status(Code(error, access), absl::StrCat(uri, ": ", text));
}

/// An open file, closed at the end of its scope.
class File {
 public:
  File(const std::string& path, int flags, mode_t mode = 0) {
    do {
      fd_ = open(path.c_str(), flags | O_CLOEXEC, mode);
    } while (fd_ < 0 && errno == EINTR);
  }
  ~File() { Close(); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool open_failed() const { return fd_ < 0; }
  int fd() const { return fd_; }

  /// 0, or errno: some file systems report a full disk only now. The descriptor is gone in any case, so EINTR is no error.
  int Close() {
    if (fd_ < 0) return 0;
    return close(std::exchange(fd_, -1)) == 0 || errno == EINTR ? 0 : errno;
  }
  /// 0, or errno.
  int Write(const Block& block) {
    for (size_t done = 0; done < block.size();) {
      const ssize_t written = write(fd_, block.data() + done, block.size() - done);
      if (written < 0 && errno != EINTR) return errno;
      if (written > 0) done += static_cast<size_t>(written);
    }
    return 0;
  }
  int Sync() {
    while (fsync(fd_) != 0) {
      if (errno != EINTR) return errno == EINVAL || errno == ENOTSUP ? 0 : errno;   // what cannot be synced has nothing to lose
    }
    return 0;
  }

 private:
  int fd_ = -1;
};

std::string FolderOf(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path().string() : ".";
}

int SyncFolder(const std::string& folder) {
  File file(folder, O_RDONLY | O_DIRECTORY);
  if (file.open_failed()) return errno == EACCES ? 0 : errno;   // one may write into a folder that one may not read
  return file.Sync();
}

/// Folders that were made on the way to a file; removed again unless the file arrives.
class NewFolders {
 public:
  ~NewFolders() {
    if (kept_) return;
    for (auto folder = made_.rbegin(); folder != made_.rend(); ++folder) rmdir(folder->c_str());
  }
  /// 0, or errno.
  int Make(const fs::path& folder) {
    fs::path so_far;
    for (const fs::path& part : folder) {
      so_far /= part;
      std::error_code ignored;
      if (fs::is_directory(so_far, ignored)) continue;
      if (mkdir(so_far.c_str(), 0777) == 0) {
        made_.push_back(so_far.string());
      } else if (const int error = errno; !fs::is_directory(so_far, ignored)) {   // another process may have been quicker
        return error == EEXIST ? ENOTDIR : error;
      }
    }
    return 0;
  }
  void Keep() { kept_ = true; }
  const std::vector<std::string>& made() const { return made_; }

 private:
  std::vector<std::string> made_;
  bool kept_ = false;
};

/// A file beside its target that has no name until it is complete: a process that is killed before leaves nothing. Where the file system has no such files
/// (NFS), or `unnamed` is false, a hidden one, removed unless it was moved.
class TemporaryFile {
 public:
  /// `name`: a new one in `folder` at each call.
  TemporaryFile(const std::string& folder, bool unnamed, std::function<std::string()> name) : name_(std::move(name)) {
    if (unnamed && access(kDescriptors, X_OK) == 0) {
      file_.emplace(folder, O_WRONLY | O_TMPFILE, 0666);
      if (!file_->open_failed()) return;
    }
    error_ = TryNames([&](const std::string& path) {
      file_.emplace(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
      return !file_->open_failed();
    });
  }
  ~TemporaryFile() {
    file_->Close();
    if (!path_.empty()) unlink(path_.c_str());
  }
  /// 0, or errno: there is no file.
  int error() const { return error_; }
  File& file() { return *file_; }
  /// 0, or errno. The last call.
  int MoveTo(const std::string& target) {
    int error = 0;
    if (path_.empty()) {   // no link takes the place of a file, so it has two names for a moment
      const std::string open = absl::StrCat(kDescriptors, "/", file_->fd());
      error = TryNames([&](const std::string& path) { return linkat(AT_FDCWD, open.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0; });
    } else {
      error = file_->Close();
    }
    if (error == 0 && rename(path_.c_str(), target.c_str()) != 0) error = errno;
    if (error == 0) path_.clear();
    return error;
  }

 private:
  static constexpr const char* kDescriptors = "/proc/self/fd";

  /// 0: make(path_) says that it has made it; or errno.
  template <class Make>
  int TryNames(const Make& make) {
    for (;;) {
      std::string path = name_();
      if (make(path)) {
        path_ = std::move(path);
        return 0;
      }
      if (errno != EEXIST) return errno;   // else left by a killed process that had our number
    }
  }

  std::function<std::string()> name_;
  std::optional<File> file_;
  std::string path_;   // empty: it has none
  int error_ = 0;
};

class LocalStorage final : public Storage {
 public:
  explicit LocalStorage(bool exchange) : exchange_(exchange) {}

  absl::StatusOr<Block> Read(const std::string& uri) override {
    TROUPE_TRY(const std::string path, LocalPath(uri));
    File file(path, O_RDONLY);
    struct stat info {};
    if (file.open_failed() || fstat(file.fd(), &info) != 0) return Error(errno, uri, Access::kRead);
    BlockBuilder builder(static_cast<size_t>(std::max<off_t>(info.st_size, 0)) + 1);   // room for the read that finds the end
    size_t done = 0;
    for (;;) {
      const ssize_t got = read(file.fd(), builder.data() + done, builder.size() - done);
      if (got == 0) return std::move(builder).Finish().Slice(0, done);
      if (got < 0 && errno != EINTR) return Error(errno, uri, Access::kRead);
      if (got > 0) done += static_cast<size_t>(got);
      if (done < builder.size()) continue;
      BlockBuilder bigger(2 * builder.size() + 4096);   // a pipe, a file of /proc, or one that grows
      std::memcpy(bigger.data(), builder.data(), done);
      builder = std::move(bigger);
    }
  }

  absl::Status Write(const std::string& uri, const std::vector<Block>& pieces, bool durable) override {
    TROUPE_TRY(std::string path, LocalPath(uri));
    struct stat info {};
    const bool exists = stat(path.c_str(), &info) == 0;
    int error = 0;
    if (exists && S_ISDIR(info.st_mode)) {
      error = EISDIR;
    } else if (exists && !S_ISREG(info.st_mode)) {
      error = WriteInto(path, pieces);
    } else {
      std::error_code ignored;
      if (exists && fs::is_symlink(path, ignored)) path = fs::canonical(path, ignored).string();   // the link stays, what it points to changes
      error = Replace(path, pieces, exists ? info.st_mode & 0777 : 0, durable);
    }
    return error == 0 ? absl::OkStatus() : Error(error, uri, Access::kChange);
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& uri) override {
    TROUPE_TRY(const std::string path, LocalPath(uri));
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
      if (std::string name = entry->path().filename().string(); !name.starts_with(kTemporary)) names.push_back(std::move(name));
    }
    if (error) return Error(error.value(), uri, Access::kRead);
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::StatusOr<bool> Exists(const std::string& uri) override {
    TROUPE_TRY(const std::string path, LocalPath(uri));
    struct stat info {};
    if (stat(path.c_str(), &info) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return Error(errno, uri, Access::kRead);
  }

  absl::Status Remove(const std::string& uri) override {
    TROUPE_TRY(const std::string path, LocalPath(uri));
    std::error_code error;
    fs::remove_all(path, error);
    if (error && error.value() != ENOENT && error.value() != ENOTDIR) return Error(error.value(), uri, Access::kChange);
    return absl::OkStatus();
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    TROUPE_TRY(const std::string source, LocalPath(from));
    TROUPE_TRY(const std::string target, LocalPath(to));
    struct stat info {};
    if (lstat(source.c_str(), &info) != 0) return Error(errno, from, Access::kRead);
    int error = rename(source.c_str(), target.c_str()) == 0 ? 0 : errno;
    if (error == ENOTEMPTY || error == EEXIST) error = ReplaceFolder(source, target);
    if (error == 0) error = SyncFolder(FolderOf(target));
    return error == 0 ? absl::OkStatus() : Error(error, to, Access::kChange);
  }

  absl::Status MakeFolder(const std::string& uri) override {
    TROUPE_TRY(const std::string path, LocalPath(uri));
    NewFolders folders;
    if (const int error = folders.Make(path); error != 0) return Error(error, uri, Access::kChange);
    folders.Keep();
    return absl::OkStatus();
  }

 private:
  std::string TemporaryName(const std::string& folder) {
    return absl::StrCat(folder, "/", Absl(kTemporary), getpid(), "-", counter_.fetch_add(1, std::memory_order_relaxed));
  }

  /// False: what is to be written is more than is free in the folder. So a file that cannot be there takes nobody else's room while it is tried.
  static bool HasRoom(const std::string& folder, const std::vector<Block>& pieces) {
    constexpr uint64_t kSmall = 1 << 20;
    uint64_t bytes = 0;
    for (const Block& piece : pieces) bytes += piece.size();
    struct statvfs disk {};
    if (bytes < kSmall || statvfs(folder.c_str(), &disk) != 0 || disk.f_blocks == 0) return true;   // some say nothing
    return bytes <= static_cast<uint64_t>(disk.f_bfree) * disk.f_frsize;
  }

  static int WriteInto(const std::string& path, const std::vector<Block>& pieces) {
    File file(path, O_WRONLY);
    int error = file.open_failed() ? errno : 0;
    for (size_t i = 0; i < pieces.size() && error == 0; ++i) error = file.Write(pieces[i]);
    return error != 0 ? error : file.Close();
  }

  /// `mode`: of the file that is there, 0 where none is. 0, or errno.
  int Replace(const std::string& path, const std::vector<Block>& pieces, mode_t mode, bool durable) {
    const std::string folder = FolderOf(path);
    NewFolders folders;
    if (const int error = folders.Make(folder); error != 0) return error;
    if (!HasRoom(folder, pieces)) return ENOSPC;
    TemporaryFile temporary(folder, exchange_, [&] { return TemporaryName(folder); });
    int error = temporary.error();
    if (error != 0) return error;
    for (size_t i = 0; i < pieces.size() && error == 0; ++i) error = temporary.file().Write(pieces[i]);
    if (error == 0 && mode != 0) fchmod(temporary.file().fd(), mode);   // where that is refused, the file is ours with our mode
    if (error == 0 && durable) error = temporary.file().Sync();
    if (error == 0) error = temporary.MoveTo(path);
    if (error != 0) return error;
    folders.Keep();
    if (!durable) return 0;
    for (const std::string& made : folders.made()) {
      if (const int sync_error = SyncFolder(FolderOf(made)); sync_error != 0) return sync_error;
    }
    return SyncFolder(folder);
  }

  /// Puts the folder `source` where the folder `target` is. 0, or errno.
  int ReplaceFolder(const std::string& source, const std::string& target) {
    std::string old = source;
    if (!exchange_ || renameat2(AT_FDCWD, source.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) != 0) {
      if (exchange_ && errno != EINVAL && errno != ENOSYS && errno != ENOTSUP) return errno;
      struct stat info {};
      do {
        old = TemporaryName(FolderOf(target));
      } while (lstat(old.c_str(), &info) == 0);
      if (rename(target.c_str(), old.c_str()) != 0) return errno;
      if (rename(source.c_str(), target.c_str()) != 0) {
        const int error = errno;
        return rename(old.c_str(), target.c_str()) == 0 ? error : errno;
      }
    }
    std::error_code error;
    fs::remove_all(old, error);
    return error.value();
  }

  bool exchange_;
  std::atomic<uint64_t> counter_{0};
};

}   // namespace

std::unique_ptr<Storage> MakeLocalStorage(bool exchange) {
  return std::make_unique<LocalStorage>(exchange);
}

}   // namespace troupe
