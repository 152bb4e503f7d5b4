// A run's own folder for what need not outlive it: sockets, snapshots, rows that do not fit in memory.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace troupe {

/// Removed, with all that is in it, with its owner.
class ScratchFolder {
 public:
  /// BASE/troupe-XXXXXX, for this user alone. `base` empty: $TMPDIR, else /tmp. Internal: it cannot be made.
  static absl::StatusOr<ScratchFolder> Make(const std::string& base = "");
  ScratchFolder() = default;
  ScratchFolder(ScratchFolder&& other) noexcept { path_.swap(other.path_); }
  ScratchFolder& operator=(ScratchFolder&& other) noexcept {
    path_.swap(other.path_);
    return *this;
  }
  ~ScratchFolder() { Remove(); }

  /// Empty: there is none.
  const std::string& path() const { return path_; }
  void Remove();

 private:
  std::string path_;
};

}   // namespace troupe
