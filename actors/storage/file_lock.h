// One process at a time has what lies in a folder: a lock that ends with whoever has it, however that ends. Local file systems, and others that pass flock(2)
// on.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace troupe {

class FileLock {
 public:
  /// The lock of the file `path`, which is made where it is missing and stays. Waits up to `patience` for whoever has it.
  /// Errors FailedPrecondition: somebody still has it; ResourceExhausted: no space left on device; Internal: the file cannot be opened.
  static absl::StatusOr<FileLock> Take(const std::string& path, std::chrono::milliseconds patience);
  FileLock() = default;
  FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileLock& operator=(FileLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  /// Lets go of it.
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}   // namespace troupe
