// The one file that includes Arrow's client for object stores: remote_storage.h says what it promises.
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "actors/storage/remote_storage.h"
#include "arrow/buffer.h"
#include "arrow/filesystem/s3fs.h"
#include "arrow/io/interfaces.h"
#include "arrow/util/io_util.h"

namespace troupe {
namespace {

namespace fs = arrow::fs;

constexpr double kConnectSeconds = 5, kStallSeconds = 20;
constexpr int kTries = 3;
constexpr char kCertificates[] = "/etc/ssl/certs/ca-certificates.crt";   // where Debian has those that are trusted

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// Where a URI points: "s3://bucket/a//b/" -> {"bucket", "bucket/a/b"}.
struct Place {
  std::string bucket, path;
};

/// Bytes of ours as Arrow's, which lie where they are.
class BlockBuffer final : public arrow::Buffer {
 public:
  explicit BlockBuffer(const Block& block) : Buffer(reinterpret_cast<const uint8_t*>(block.data()), static_cast<int64_t>(block.size())), block_(block) {}

 private:
  const Block block_;
};

class S3Storage final : public Storage {
 public:
  absl::StatusOr<Block> Read(const std::string& uri) override {
    Place place;
    auto found = Find(uri, &place);
    if (!found.ok()) return found.status();
    const auto read = [&]() -> arrow::Result<std::shared_ptr<arrow::Buffer>> {
      ARROW_ASSIGN_OR_RAISE(const auto file, (*found)->OpenInputFile(place.path));
      ARROW_ASSIGN_OR_RAISE(const int64_t size, file->GetSize());
      return file->ReadAt(0, size);
    };
    auto buffer = read();
    if (!buffer.ok()) {
      absl::Status status = Failed(uri, buffer.status());
      if (absl::IsNotFound(status)) return Missing(uri, **found, place);
      return status;
    }
    const arrow::Buffer& bytes = **buffer;
    return Block::View(bytes.data(), static_cast<size_t>(bytes.size()), *std::move(buffer));
  }

  absl::Status Write(const std::string& uri, const std::vector<Block>& pieces, bool) override {
    Place place;
    auto found = Find(uri, &place);
    if (!found.ok()) return found.status();
    if (place.path == place.bucket) return IsFolder(uri);
    auto stream = (*found)->OpenOutputStream(place.path);
    if (!stream.ok()) return Failed(uri, stream.status());
    arrow::Status status;
    for (const Block& piece : pieces) {
      if (status.ok() && !piece.empty()) status = (*stream)->Write(std::make_shared<BlockBuffer>(piece));
    }
    if (status.ok()) status = (*stream)->Close();
    if (status.ok()) return absl::OkStatus();
    (void)(*stream)->Abort();   // what has been sent is not there
    return Failed(uri, status);
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& uri) override {
    Place place;
    auto found = Find(uri, &place);
    if (!found.ok()) return found.status();
    auto entries = Below(**found, place.path, false);
    if (!entries.ok()) {
      absl::Status status = Failed(uri, entries.status());
      if (!absl::IsNotFound(status)) return status;
      const auto info = (*found)->GetFileInfo(place.path);
      if (info.ok() && info->IsFile()) return absl::FailedPreconditionError(absl::StrCat(uri, ": is a file, expected a folder"));
      return Missing(uri, **found, place);
    }
    std::set<std::string> names;
    for (const fs::FileInfo& entry : *entries) names.insert(entry.base_name());
    return std::vector<std::string>(names.begin(), names.end());
  }

  absl::StatusOr<bool> Exists(const std::string& uri) override {
    Place place;
    auto found = Find(uri, &place);
    if (!found.ok()) return found.status();
    const auto info = (*found)->GetFileInfo(place.path);
    if (!info.ok()) return Failed(uri, info.status());
    return info->type() != fs::FileType::NotFound;
  }

  absl::Status Remove(const std::string& uri) override {
    Place place;
    auto found = Find(uri, &place);
    if (!found.ok()) return found.status();
    if (place.path == place.bucket) return absl::InvalidArgumentError(absl::StrCat(uri, ": is a bucket, expected what is in one"));
    const auto info = (*found)->GetFileInfo(place.path);
    if (!info.ok()) return Failed(uri, info.status());
    if (info->type() == fs::FileType::NotFound) return absl::OkStatus();
    return Failed(uri, info->IsFile() ? (*found)->DeleteFile(place.path) : (*found)->DeleteDir(place.path));
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    Place source, target;
    auto found = Find(from, &source), other = Find(to, &target);
    if (!found.ok()) return found.status();
    if (!other.ok()) return other.status();
    if (source.bucket != target.bucket) return absl::InvalidArgumentError(absl::StrCat(to, ": not in the bucket of ", from, ", expected the same one"));
    if (source.path == source.bucket || target.path == target.bucket) return absl::InvalidArgumentError(absl::StrCat(to, ": a bucket cannot be renamed"));
    fs::S3FileSystem& files = **found;
    const auto info = files.GetFileInfo(source.path), there = files.GetFileInfo(target.path);
    if (!info.ok()) return Failed(from, info.status());
    if (!there.ok()) return Failed(to, there.status());
    if (info->type() == fs::FileType::NotFound) return Missing(from, files, source);
    if (source.path == target.path) return absl::OkStatus();
    if (target.path.starts_with(source.path + "/")) return absl::InvalidArgumentError(absl::StrCat(to, ": is in ", from));
    if (there->type() != fs::FileType::NotFound && there->type() != info->type()) {
      return absl::FailedPreconditionError(absl::StrCat(to, info->IsFile() ? ": is a folder, expected a file" : ": is a file, expected a folder"));
    }
    if (info->IsFile()) {
      const arrow::Status copied = files.CopyFile(source.path, target.path);
      return copied.ok() ? Failed(from, files.DeleteFile(source.path)) : Failed(to, copied);
    }
    return Failed(to, MoveFolder(files, source.path, target.path));
  }

  absl::Status MakeFolder(const std::string& uri) override {
    Place place;
    auto found = Find(uri, &place);
    if (!found.ok()) return found.status();
    return Failed(uri, (*found)->CreateDir(place.path));
  }

 private:
  static arrow::Result<std::vector<fs::FileInfo>> Below(fs::S3FileSystem& files, const std::string& path, bool recursive) {
    fs::FileSelector selector;
    selector.base_dir = path;
    selector.recursive = recursive;
    return files.GetFileInfo(selector);
  }

  static arrow::Status MoveFolder(fs::S3FileSystem& files, const std::string& from, const std::string& to) {
    std::set<std::string> stale;
    fs::FileSelector target;
    target.base_dir = to;
    target.recursive = target.allow_not_found = true;
    ARROW_ASSIGN_OR_RAISE(const std::vector<fs::FileInfo> before, files.GetFileInfo(target));
    for (const fs::FileInfo& entry : before) {
      if (entry.IsFile()) stale.insert(entry.path());
    }
    ARROW_ASSIGN_OR_RAISE(const std::vector<fs::FileInfo> entries, Below(files, from, true));
    for (const fs::FileInfo& entry : entries) {
      if (!entry.IsFile()) continue;
      const std::string copy = to + entry.path().substr(from.size());
      ARROW_RETURN_NOT_OK(files.CopyFile(entry.path(), copy));
      stale.erase(copy);
    }
    for (const std::string& path : stale) ARROW_RETURN_NOT_OK(files.DeleteFile(path));
    return files.DeleteDir(from);
  }

  static absl::Status NoBucket(const std::string& uri) { return absl::FailedPreconditionError(absl::StrCat(uri, ": there is no such bucket")); }
  static absl::Status IsFolder(const std::string& uri) { return absl::FailedPreconditionError(absl::StrCat(uri, ": is a folder, expected a file")); }

  /// Nothing is there: not even a bucket?
  static absl::Status Missing(const std::string& uri, fs::S3FileSystem& files, const Place& place) {
    const auto bucket = files.GetFileInfo(place.bucket);
    if (!bucket.ok()) return Failed(uri, bucket.status());
    if (bucket->type() == fs::FileType::NotFound) return NoBucket(uri);
    const auto info = files.GetFileInfo(place.path);
    if (info.ok() && info->IsDirectory()) return IsFolder(uri);
    return absl::NotFoundError(absl::StrCat(uri, ": no such file or directory"));
  }

  static absl::Status Failed(const std::string& uri, const arrow::Status& status) {
    if (status.ok()) return absl::OkStatus();
    const std::string text = absl::StrReplaceAll(status.message(), {{"\r", ""}, {"\n", " "}});
    const auto says = [&text](std::initializer_list<std::string_view> words) {
      return std::any_of(words.begin(), words.end(),
                         [&](std::string_view word) { return absl::StrContains(text, absl::string_view(word.data(), word.size())); });
    };
    if (arrow::internal::ErrnoFromStatus(status) == ENOENT) return absl::NotFoundError(absl::StrCat(uri, ": no such file or directory"));
    if (arrow::internal::ErrnoFromStatus(status) == EISDIR) return IsFolder(uri);
    if (says({"NO_SUCH_BUCKET", "NoSuchBucket"})) return NoBucket(uri);
    if (says({"ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "INVALID_CLIENT_TOKEN_ID", "HTTP response code: 403", "HTTP status 403"})) {
      return absl::PermissionDeniedError(absl::StrCat(uri, ": ", text));
    }
    if (says({"NETWORK_CONNECTION", "SLOW_DOWN", "SERVICE_UNAVAILABLE", "REQUEST_TIMEOUT", "THROTTLING", "INTERNAL_FAILURE", "HTTP status 429", "HTTP status 5",
              "response code: 429", "response code: 5"})) {
      return absl::UnavailableError(absl::StrCat(uri, ": ", text));
    }
    return absl::InternalError(absl::StrCat(uri, ": ", text));
  }

  /// The client of the URI's bucket: buckets lie in different regions.
  absl::StatusOr<std::shared_ptr<fs::S3FileSystem>> Find(const std::string& uri, Place* place) {
    std::string_view path = uri;
    path.remove_prefix(path.find(':') + 1);
    while (path.starts_with('/')) path.remove_prefix(1);
    const std::filesystem::path parts(path);
    const bool climbs = std::find(parts.begin(), parts.end(), "..") != parts.end();
    std::string clean = parts.lexically_normal().generic_string();
    while (clean.ends_with('/')) clean.pop_back();
    if (clean.empty() || clean == "." || climbs) {
      return absl::InvalidArgumentError(absl::StrCat(uri, ": expected s3://BUCKET/KEY"));
    }
    *place = {clean.substr(0, clean.find('/')), clean};
    {
      const std::lock_guard lock(mutex_);
      if (const auto known = buckets_.find(place->bucket); known != buckets_.end()) return known->second;
    }
    auto made = MakeClient(place->bucket);   // may ask where the bucket is
    if (!made.ok() && absl::StrContains(made.status().message(), "not found")) return NoBucket(uri);
    if (!made.ok()) return Failed(uri, made.status());
    const std::lock_guard lock(mutex_);
    return buckets_.try_emplace(place->bucket, *std::move(made)).first->second;
  }

  static arrow::Result<std::shared_ptr<fs::S3FileSystem>> MakeClient(const std::string& bucket) {
    fs::S3Options options = fs::S3Options::Defaults();
    options.connect_timeout = kConnectSeconds;
    options.request_timeout = kStallSeconds;
    options.retry_strategy = fs::S3RetryStrategy::GetAwsStandardRetryStrategy(kTries);
    options.allow_delayed_open = true;   // a small file is one request
    std::error_code ignored;
    if (std::filesystem::exists(kCertificates, ignored)) options.tls_ca_file_path = kCertificates;
    std::string endpoint = Variable("AWS_ENDPOINT_URL_S3");
    if (endpoint.empty()) endpoint = Variable("AWS_ENDPOINT_URL");
    if (const size_t scheme = endpoint.find("://"); scheme != std::string::npos) {
      options.scheme = endpoint.substr(0, scheme);
      endpoint.erase(0, scheme + 3);
    }
    while (endpoint.ends_with('/')) endpoint.pop_back();
    options.endpoint_override = endpoint;
    options.region = Variable("AWS_REGION");
    if (options.region.empty()) options.region = Variable("AWS_DEFAULT_REGION");
    if (options.region.empty() && !endpoint.empty()) options.region = "us-east-1";   // most servers of other makers take any
    if (options.region.empty()) {
      ARROW_ASSIGN_OR_RAISE(options.region, fs::ResolveS3BucketRegion(bucket));
    }
    return fs::S3FileSystem::Make(options);
  }

  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<fs::S3FileSystem>> buckets_;
};

/// The client wants an end before the program's objects have theirs, its own ones among them, which come into being with the first file system. So this one
/// comes before the call that ends it.
arrow::Status Begin() {
  fs::S3GlobalOptions global = fs::S3GlobalOptions::Defaults();
  global.log_level = fs::S3LogLevel::Fatal;
  ARROW_RETURN_NOT_OK(fs::InitializeS3(global));
  fs::S3Options first = fs::S3Options::Anonymous();
  first.region = "us-east-1";
  ARROW_RETURN_NOT_OK(fs::S3FileSystem::Make(first).status());
  std::atexit([] { (void)fs::EnsureS3Finalized(); });
  return arrow::Status::OK();
}

absl::StatusOr<std::unique_ptr<Storage>> Open() {
  static const arrow::Status begun = Begin();
  if (!begun.ok()) return absl::InternalError(absl::StrCat("s3: cannot begin: ", begun.message()));
  return std::make_unique<S3Storage>();
}

}   // namespace
}   // namespace troupe

extern "C" const troupe::S3Plugin* TroupeS3Plugin() {
  static constexpr troupe::S3Plugin kPlugin = {troupe::kS3PluginLayout, troupe::Open};
  return &kPlugin;
}
