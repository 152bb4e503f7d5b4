// What a shard was told since its last snapshot, on the disk before it is acknowledged: frames appended to files, synced in groups. Local file systems only.
//
//   a push:  applied -> Append (memory) -> Sync (one write and one fdatasync for all that came meanwhile) -> acknowledged
//   a snapshot:  Rotate at its cut; once it is durable, Drop what is older
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/network.h"
#include "actors/storage/file_lock.h"

namespace troupe {

class PushLog {
 public:
  static constexpr std::chrono::milliseconds kPatience{5'000};
  using Visit = std::function<absl::Status(const Frame&)>;

  /// The log `name` in `folder` (file: or a plain path; made where missing). Visits what it holds from file number `from` on, in order, and goes on in a new
  /// file. An end that was cut while it was written, and so never acknowledged, is dropped. Errors: DataLoss naming file and byte: something else is damaged;
  /// those of `visit`, with the place; InvalidArgument: not a local path; FailedPrecondition: somebody has the log open, and still had it after `patience`;
  /// Internal: the disk.
  static absl::StatusOr<std::unique_ptr<PushLog>> Open(const std::string& folder, const std::string& name, uint64_t from, const Visit& visit,
                                                       std::chrono::milliseconds patience = kPatience);
  /// The same by whoever has the lock already: what is to be read beside the log, to know where to go on, cannot change meanwhile.
  static absl::StatusOr<std::unique_ptr<PushLog>> Open(FileLock lock, const std::string& folder, const std::string& name, uint64_t from, const Visit& visit);
  /// The lock of the log `name`. Errors as Open.
  static absl::StatusOr<FileLock> Lock(const std::string& folder, const std::string& name, std::chrono::milliseconds patience = kPatience);
  ~PushLog();
  PushLog(const PushLog&) = delete;
  PushLog& operator=(const PushLog&) = delete;

  /// Keeps the frame's blocks until they are synced. Not thread-safe with Rotate.
  void Append(Frame frame);
  /// Writes what has been appended before the call, and returns when it would survive a power failure. One call at a time; any thread.
  /// Errors ResourceExhausted: "FILE: no space left on device"; Internal. The log then ends: everything later fails in the same way, until it goes on.
  absl::Status Sync();
  /// What is appended from now on goes to a file of its own, whose number this is.
  uint64_t Rotate();
  /// After a Sync that failed, a Rotate, and a snapshot of what was there then: what was appended before that Rotate and not written is forgotten, and what has
  /// been or is appended behind it is written. Not beside Sync.
  void GoOn();
  /// Removes files older than number `first`. Errors Internal.
  absl::Status Drop(uint64_t first);
  /// Appended, or found by Open, since the last Rotate.
  uint64_t bytes() const { return bytes_; }

 private:
  struct Pending {
    uint64_t number;
    Frame frame;
  };
  PushLog(std::string prefix, FileLock lock) : prefix_(std::move(prefix)), lock_(std::move(lock)) {}
  std::string FileOf(uint64_t number) const;
  absl::Status Write(const std::vector<Pending>& pending);
  absl::Status GoTo(uint64_t number);

  const std::string prefix_;   // FOLDER/NAME.
  const FileLock lock_;
  uint64_t number_ = 1;   // where Append appends
  uint64_t bytes_ = 0;

  std::mutex mutex_;
  std::vector<Pending> pending_;

  // Of Sync.
  int fd_ = -1;
  uint64_t open_number_ = 0;
  uint64_t written_ = 0, synced_ = 0;   // bytes of the open file
  absl::Status broken_;
};

}   // namespace troupe
