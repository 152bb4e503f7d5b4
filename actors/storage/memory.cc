// Files in memory, with the behaviour of the local file system, full disk included.
#include <map>
#include <mutex>
#include <optional>

#include "absl/strings/str_split.h"
#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/text.h"

namespace troupe {
namespace {

class MemoryStorage final : public Storage {
 public:
  explicit MemoryStorage(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  absl::StatusOr<Block> Read(const std::string& uri) override {
    TROUPE_TRY(const std::string path, Path(uri));
    std::lock_guard lock(mutex_);
    TROUPE_TRY(const auto entry, Find(path, uri));
    if (!entry->second.has_value()) return absl::FailedPreconditionError(uri + ": is a directory");
    return *entry->second;
  }

  absl::Status Write(const std::string& uri, const std::vector<Block>& pieces, bool) override {
    TROUPE_TRY(const std::string path, Path(uri));
    uint64_t size = 0;
    for (const Block& piece : pieces) size += piece.size();
    std::lock_guard lock(mutex_);
    const auto old = entries_.find(path);
    const bool exists = old != entries_.end();
    if (exists && !old->second.has_value()) return absl::FailedPreconditionError(uri + ": is a directory");
    TROUPE_RETURN_IF_ERROR(CheckParents(path, uri));
    if (size > bytes_max_ - used_) return absl::ResourceExhaustedError(uri + ": no space left on device");
    used_ += size - (exists ? old->second->size() : 0);
    AddParents(path);
    entries_[path] = Joined(pieces, size);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& uri) override {
    TROUPE_TRY(const std::string path, Path(uri));
    std::lock_guard lock(mutex_);
    TROUPE_TRY(const auto entry, Find(path, uri));
    if (entry->second.has_value()) return absl::FailedPreconditionError(uri + ": not a directory");
    std::vector<std::string> names;
    const std::string start = path.empty() ? "" : path + "/";
    for (auto next = entries_.lower_bound(start); next != entries_.end() && next->first.starts_with(start); ++next) {
      std::string name = next->first.substr(start.size());
      if (!name.empty() && name.find('/') == std::string::npos) names.push_back(std::move(name));
    }
    return names;
  }

  absl::StatusOr<bool> Exists(const std::string& uri) override {
    TROUPE_TRY(const std::string path, Path(uri));
    std::lock_guard lock(mutex_);
    return entries_.contains(path);
  }

  absl::Status Remove(const std::string& uri) override {
    TROUPE_TRY(const std::string path, Path(uri));
    std::lock_guard lock(mutex_);
    Take(path);
    return absl::OkStatus();
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    TROUPE_TRY(const std::string source, Path(from));
    TROUPE_TRY(const std::string target, Path(to));
    std::lock_guard lock(mutex_);
    TROUPE_TRY(const auto entry, Find(source, from));
    if (source == target) return absl::OkStatus();
    if (Within(target, source)) return absl::InvalidArgumentError(to + ": invalid argument");
    if (const auto old = entries_.find(target); old != entries_.end() && old->second.has_value() != entry->second.has_value()) {
      return absl::FailedPreconditionError(to + (old->second.has_value() ? ": not a directory" : ": is a directory"));
    }
    TROUPE_RETURN_IF_ERROR(CheckParents(target, to));
    if (!entries_.contains(target.substr(0, target.rfind('/') == std::string::npos ? 0 : target.rfind('/')))) {
      return absl::InternalError(to + ": no such file or directory");
    }
    if (Within(source, target)) return absl::InternalError(to + ": directory not empty");
    Take(target);
    for (auto& [path, file] : Take(source)) {
      if (file.has_value()) used_ += file->size();
      entries_[target + path.substr(source.size())] = std::move(file);
    }
    return absl::OkStatus();
  }

  absl::Status MakeFolder(const std::string& uri) override {
    TROUPE_TRY(const std::string path, Path(uri));
    std::lock_guard lock(mutex_);
    TROUPE_RETURN_IF_ERROR(CheckParents(path + "/", uri));
    AddParents(path + "/");
    return absl::OkStatus();
  }

 private:
  using Entries = std::map<std::string, std::optional<Block>>;   // a folder has no block

  /// "a/b" of "mem:///a//./b"; the root is "".
  static absl::StatusOr<std::string> Path(std::string_view uri) {
    std::string_view text = uri;
    if (text.starts_with("mem:")) text.remove_prefix(4);
    if (text.empty()) return absl::InvalidArgumentError(absl::StrCat("'", Absl(uri), "': no path, expected one"));
    std::string path;
    for (const absl::string_view part : absl::StrSplit(Absl(text), '/', absl::SkipEmpty())) {
      if (part == "..") {
        path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
      } else if (part != ".") {
        absl::StrAppend(&path, path.empty() ? "" : "/", part);
      }
    }
    return path;
  }

  static bool Within(std::string_view path, std::string_view folder) {
    return folder.empty() ? !path.empty() : path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
  }

  static Block Joined(const std::vector<Block>& pieces, uint64_t size) {
    if (pieces.size() == 1) return pieces[0];
    BlockBuilder builder(size);
    size_t done = 0;
    for (const Block& piece : pieces) {
      if (!piece.empty()) std::memcpy(builder.data() + done, piece.data(), piece.size());
      done += piece.size();
    }
    return std::move(builder).Finish();
  }

  absl::StatusOr<Entries::iterator> Find(const std::string& path, const std::string& uri) {
    const auto entry = entries_.find(path);
    if (entry == entries_.end()) return absl::NotFoundError(uri + ": no such file or directory");
    return entry;
  }

  absl::Status CheckParents(const std::string& path, const std::string& uri) const {
    for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      const auto entry = entries_.find(path.substr(0, slash));
      if (entry != entries_.end() && entry->second.has_value()) return absl::FailedPreconditionError(uri + ": not a directory");
    }
    return absl::OkStatus();
  }

  void AddParents(const std::string& path) {
    for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) entries_.try_emplace(path.substr(0, slash));
  }

  /// Takes `path` and all within out of the storage. The root itself stays.
  Entries Take(const std::string& path) {
    Entries taken;
    for (auto entry = entries_.lower_bound(path); entry != entries_.end() && entry->first.starts_with(path);) {
      const auto next = std::next(entry);
      if ((entry->first == path && !path.empty()) || Within(entry->first, path)) {
        if (entry->second.has_value()) used_ -= entry->second->size();
        taken.insert(entries_.extract(entry));
      }
      entry = next;
    }
    return taken;
  }

  const uint64_t bytes_max_;
  std::mutex mutex_;
  uint64_t used_ = 0;   // Invariant: the sum of the sizes of all files, <= bytes_max_.
  Entries entries_{{"", std::nullopt}};
};

}   // namespace

std::unique_ptr<Storage> MakeMemoryStorage(uint64_t bytes_max) {
  return std::make_unique<MemoryStorage>(bytes_max);
}

}   // namespace troupe
