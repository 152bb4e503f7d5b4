// Files by URI, one interface: file: (or a plain path), mem: and s3: (remote_storage.h). Writes are atomic: on a disk a temporary name beside the target, then
// a rename.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/block.h"

namespace troupe {

class Storage {
 public:
  virtual ~Storage() = default;
  /// Errors, here and below, start with the URI as given: NotFound: "PATH: no such file or directory"; PermissionDenied; FailedPrecondition: a folder
  /// where a file was expected and the reverse; InvalidArgument: no path at all; Internal: the disk.
  virtual absl::StatusOr<Block> Read(const std::string& uri) = 0;
  /// Replaces the file at `uri` by the concatenation of `pieces`, or changes nothing and leaves no temporary. Makes missing parent folders.
  /// `durable`: survives a power failure (fsync of file and folder). A device or pipe (/dev/null) is written into instead.
  /// Errors ResourceExhausted: "PATH: no space left on device"; FailedPrecondition: a folder is there; Internal: not writable, or the disk.
  virtual absl::Status Write(const std::string& uri, const std::vector<Block>& pieces, bool durable) = 0;
  /// Names of the entries of a folder, sorted. NotFound: no such folder.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& uri) = 0;
  virtual absl::StatusOr<bool> Exists(const std::string& uri) = 0;
  /// Removes a file, or a folder with all it holds. Missing is fine.
  virtual absl::Status Remove(const std::string& uri) = 0;
  /// Atomic within one file system. A file replaces a file, a folder replaces a folder (the old one is exchanged for it, then removed): who looks sees
  /// the old one or the new one. Errors NotFound: nothing at `from`; FailedPrecondition: a file and a folder. On any error both are as they were.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  /// With its missing parents. There already: fine.
  virtual absl::Status MakeFolder(const std::string& uri) = 0;
};

/// The local file system. Accepts "file:PATH", "file:///PATH" and plain paths. Thread-safe, as all below.
/// `exchange` false: as where RENAME_EXCHANGE and O_TMPFILE are missing: folders are replaced in two renames, and a process that is killed may leave a file.
std::unique_ptr<Storage> MakeLocalStorage(bool exchange = true);
/// In memory, for tests and for state that need not outlive the process. Takes every URI, with or without "mem:" in front. `bytes_max`: a full disk
/// beyond that (a replaced file and its replacement count both while writing, as on a disk).
std::unique_ptr<Storage> MakeMemoryStorage(uint64_t bytes_max = UINT64_MAX);
/// Sends each URI to the storage of its scheme: file:, plain paths -> local; mem: -> memory; s3: -> an object store. InvalidArgument: unknown scheme, with the
/// known ones.
std::unique_ptr<Storage> MakeStorage();

/// "file:///a/b" and "file:a/b" and "a/b" -> path. Other schemes: InvalidArgument.
absl::StatusOr<std::string> LocalPath(std::string_view uri);

}   // namespace troupe
