// URIs: which scheme, which path, and the storage that sends each to its own.
#include "actors/storage/storage.h"

#include <algorithm>
#include <mutex>

#include "absl/strings/ascii.h"
#include "actors/status.h"
#include "actors/storage/remote_storage.h"
#include "actors/text.h"

namespace troupe {
namespace {

/// "mem" of "mem:a/b"; empty for a plain path. A colon after a slash, or after what cannot be a scheme (RFC 3986), belongs to the path.
std::string_view Scheme(std::string_view uri) {
  const size_t colon = uri.find(':');
  if (colon == std::string_view::npos || colon == 0 || !absl::ascii_isalpha(static_cast<unsigned char>(uri[0]))) return {};
  const std::string_view scheme = uri.substr(0, colon);
  const bool valid =
      std::all_of(scheme.begin(), scheme.end(), [](char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '-' || c == '.'; });
  return valid ? scheme : std::string_view();
}

absl::Status UnknownScheme(std::string_view uri, const std::vector<std::string>& known) {
  return absl::InvalidArgumentError(absl::StrCat(Absl(uri), ": ", UnknownName("scheme", Scheme(uri), known)));
}

class AnyStorage final : public Storage {
 public:
  absl::StatusOr<Block> Read(const std::string& uri) override {
    TROUPE_TRY(Storage * storage, Of(uri));
    return storage->Read(uri);
  }
  absl::Status Write(const std::string& uri, const std::vector<Block>& pieces, bool durable) override {
    TROUPE_TRY(Storage * storage, Of(uri));
    return storage->Write(uri, pieces, durable);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& uri) override {
    TROUPE_TRY(Storage * storage, Of(uri));
    return storage->List(uri);
  }
  absl::StatusOr<bool> Exists(const std::string& uri) override {
    TROUPE_TRY(Storage * storage, Of(uri));
    return storage->Exists(uri);
  }
  absl::Status Remove(const std::string& uri) override {
    TROUPE_TRY(Storage * storage, Of(uri));
    return storage->Remove(uri);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    TROUPE_TRY(Storage * storage, Of(from));
    TROUPE_TRY(Storage * target, Of(to));
    if (storage != target) return absl::InvalidArgumentError(absl::StrCat(to, ": not in the storage of ", from, ", expected the same scheme"));
    return storage->Rename(from, to);
  }
  absl::Status MakeFolder(const std::string& uri) override {
    TROUPE_TRY(Storage * storage, Of(uri));
    return storage->MakeFolder(uri);
  }

 private:
  absl::StatusOr<Storage*> Of(std::string_view uri) {
    const std::string_view scheme = Scheme(uri);
    if (scheme.empty() || scheme == "file") return local_.get();
    if (scheme == "mem") return memory_.get();
    if (scheme == "s3") return Remote();
    return UnknownScheme(uri, {"file", "mem", "s3"});
  }
  absl::StatusOr<Storage*> Remote() {
    const std::lock_guard lock(mutex_);
    if (s3_ == nullptr) {
      TROUPE_TRY(s3_, MakeS3Storage());
    }
    return s3_.get();
  }

  std::unique_ptr<Storage> local_ = MakeLocalStorage();
  std::unique_ptr<Storage> memory_ = MakeMemoryStorage();
  std::mutex mutex_;
  std::unique_ptr<Storage> s3_;   // null: not asked for yet
};

}   // namespace

std::unique_ptr<Storage> MakeStorage() {
  return std::make_unique<AnyStorage>();
}

absl::StatusOr<std::string> LocalPath(std::string_view uri) {
  std::string_view path = uri;
  if (const std::string_view scheme = Scheme(uri); scheme == "file") {
    path.remove_prefix(scheme.size() + 1);
    if (path.starts_with("//")) path.remove_prefix(2);
    if (path.size() + 7 == uri.size() && !path.starts_with('/')) {
      return absl::InvalidArgumentError(absl::StrCat(Absl(uri), ": expected file:PATH or file:///PATH"));
    }
  } else if (!scheme.empty()) {
    return UnknownScheme(uri, {"file"});
  }
  if (path.empty()) return absl::InvalidArgumentError(absl::StrCat("'", Absl(uri), "': no path, expected one"));
  if (path.find('\0') != std::string_view::npos) return absl::InvalidArgumentError("a path holds a zero byte");
  return std::string(path);
}

}   // namespace troupe
