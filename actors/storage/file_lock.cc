#include "actors/storage/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>

#include "absl/strings/str_cat.h"

namespace troupe {

absl::StatusOr<FileLock> FileLock::Take(const std::string& path, std::chrono::milliseconds patience) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    const int error = errno;
    if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(absl::StrCat(path, ": no space left on device"));
    return absl::InternalError(absl::StrCat(path, ": ", std::generic_category().message(error)));
  }
  FileLock lock(fd);
  const auto end = std::chrono::steady_clock::now() + patience;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (std::chrono::steady_clock::now() >= end) return absl::FailedPreconditionError(absl::StrCat(path, ": somebody has this lock"));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return lock;
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}   // namespace troupe
