#include "actors/plugin.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace troupe {

std::string FindPlugin(const std::string& file) {
  if (const char* folder = std::getenv("TROUPE_PLUGIN_PATH"); folder != nullptr && *folder != '\0') return std::filesystem::path(folder) / file;
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path beside = program.parent_path().parent_path() / "lib" / file;
#ifdef TROUPE_PLUGIN_FOLDER
  if (!std::filesystem::exists(beside, error)) return std::filesystem::path(TROUPE_PLUGIN_FOLDER) / file;
#endif
  return beside;
}

absl::Status UnusablePlugin(const std::string& path, const std::string& purpose, const std::string& reason) {
  return absl::InternalError(absl::StrCat(path, ": cannot be opened, expected Troupe's plugin for ", purpose, ": ", reason));
}

absl::StatusOr<void*> LoadPluginEntry(const std::string& path, const char* symbol, const std::string& purpose) {
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);   // never closed: what it made may live as long as the process
  if (library == nullptr) return UnusablePlugin(path, purpose, absl::StrReplaceAll(::dlerror(), {{"\n", " "}}));
  void* entry = ::dlsym(library, symbol);
  if (entry == nullptr) return UnusablePlugin(path, purpose, absl::StrCat("no symbol ", symbol));
  return entry;
}

}   // namespace troupe
