// Output files that are whole or not there: written under a temporary name beside the target, renamed at the end, removed when that is not reached.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace troupe {

/// Where bytes go, one after the other. After an error nothing more may be written.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  /// Errors ResourceExhausted: "PATH: no space left on device".
  virtual absl::Status Write(std::string_view bytes) = 0;
};

/// Not thread-safe.
class OutputFile final : public ByteSink {
 public:
  /// `uri`: "file:PATH" or a path. A device or pipe (/dev/stdout) is written to as it is.
  /// Errors NotFound: no such folder; InvalidArgument: a folder, another scheme; PermissionDenied.
  static absl::StatusOr<std::unique_ptr<OutputFile>> Open(std::string_view uri);
  /// Removes what was written, unless Commit was reached.
  ~OutputFile() override;

  absl::Status Write(std::string_view bytes) override;
  /// Closes the file and gives it its name. Call once.
  absl::Status Commit();
  /// As given, for messages.
  const std::string& name() const { return name_; }
  uint64_t bytes() const { return bytes_; }

 private:
  OutputFile(std::string name, std::string target, std::string temporary, int fd);
  absl::Status ErrorOf(int error) const;

  std::string name_;        // as given
  std::string target_;      // its path
  std::string temporary_;   // empty: written in place
  int fd_;
  uint64_t bytes_ = 0;
};

/// What follows the format in a file's name.
enum class Compression { kNone, kGzip, kZstd };

/// "a/b.svm.gz" -> {".svm", kGzip}, "b" -> {"", kNone}: the last two extensions, in lower case.
struct FileExtension {
  std::string format;
  Compression compression = Compression::kNone;
};
FileExtension ExtensionOf(std::string_view uri);

/// `text` as one gzip member or zstd frame: several after each other are a valid file, so that blocks are compressed by all threads.
/// compression is not kNone; text < 4 GiB.
std::string Compress(std::string_view text, Compression compression);

}   // namespace troupe
