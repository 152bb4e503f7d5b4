// From a URI to the files of a data set and their format.
#include "dataflow/source.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/text.h"
#include "dataflow/format.h"
#include "dataflow/generated_source.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// ".svm, .libsvm, .csv or .parquet", or with other words between.
std::string Extensions(std::string_view between, std::string_view before_last) {
  std::vector<std::string> all;
  for (const Format& format : Formats()) all.insert(all.end(), format.extensions.begin(), format.extensions.end());
  const std::string last = all.back();
  all.pop_back();
  return absl::StrCat(absl::StrJoin(all, Absl(between)), Absl(before_last), last);
}

absl::Status Unreadable(const std::string& path, const std::error_code& error) {
  if (error == std::errc::permission_denied) return absl::PermissionDeniedError(absl::StrCat(path, ": cannot be read: ", error.message()));
  return absl::InternalError(absl::StrCat(path, ": cannot be read: ", error.message()));
}

// Names of the files in a folder, sorted; hidden ones and those that start with _ (marks of other systems, such as _SUCCESS) are left out.
absl::StatusOr<std::vector<std::string>> VisibleFiles(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;   // a dangling link is no file
    if (name[0] != '.' && name[0] != '_' && entry->is_regular_file(ignored)) names.push_back(name);
  }
  if (error) return Unreadable(folder, error);
  std::sort(names.begin(), names.end());
  return names;
}

struct Found {
  const Format* format;
  std::vector<std::string> paths;
};

// The data files of a folder. A named format takes the files with its extensions or, where there are none, all visible files.
absl::StatusOr<Found> FilesOfFolder(const std::string& folder, const Format* named) {
  TROUPE_TRY(const std::vector<std::string> names, VisibleFiles(folder));
  Found found{named, {}};
  const std::string prefix = folder.ends_with('/') ? folder : folder + "/";
  std::string first;
  for (const std::string& name : names) {
    const Format* format = FormatOfPath(name);
    if (format == nullptr || (named != nullptr && format != named)) continue;
    if (found.format != nullptr && format != found.format) {
      return absl::InvalidArgumentError(absl::StrCat(folder, ": folder holds '", first, "' and '", name, "', expected files of one format (or --format)"));
    }
    if (found.paths.empty()) first = name;
    found.format = format;
    found.paths.push_back(prefix + name);
  }
  if (found.paths.empty() && named != nullptr) {
    for (const std::string& name : names) found.paths.push_back(prefix + name);
  }
  if (found.paths.empty()) return absl::NotFoundError(absl::StrCat(folder, ": folder holds no data files, expected ", Extensions(", ", " or ")));
  return found;
}

absl::StatusOr<Found> FindFiles(const std::string& path, const Format* named) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) return absl::NotFoundError(absl::StrCat(path, ": no such file or directory"));
  if (error) return Unreadable(path, error);
  if (fs::is_directory(status)) return FilesOfFolder(path, named);
  const Format* format = named != nullptr ? named : FormatOfPath(path);
  if (format == nullptr) return absl::InvalidArgumentError(absl::StrCat(path, ": unknown format, expected ", Extensions(" ", " "), " (or --format)"));
  return Found{format, {path}};
}

}   // namespace

absl::StatusOr<std::shared_ptr<const Source>> OpenSource(const SourceOptions& options) {
  if (options.uri.starts_with("generate:")) return OpenGeneratedSource(options);
  const Format* named = nullptr;
  if (!options.format.empty()) {
    named = FindFormat(options.format);
    std::vector<std::string> known;
    for (const Format& format : Formats()) known.push_back(format.name);
    if (named == nullptr) return absl::InvalidArgumentError(UnknownName("format", options.format, known));
  }
  TROUPE_TRY(const std::string path, LocalPath(options.uri));
  TROUPE_TRY(Found found, FindFiles(path, named));
  if (options.expected && options.expected->columns.empty() == found.format->named_columns) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": format is ", found.format->name, ", expected ", options.expected->format, ", which the model was trained on"));
  }
  return found.format->open(options, std::move(found.paths));
}

}   // namespace troupe
