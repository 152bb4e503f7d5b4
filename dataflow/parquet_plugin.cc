// Finds and opens libtroupe_arrow.so once: $TROUPE_PLUGIN_PATH, else lib/ beside the program's bin/, else where it was built.
#include "dataflow/parquet_plugin.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_replace.h"
#include "actors/status.h"

namespace troupe {
namespace {

constexpr char kFileName[] = "libtroupe_arrow.so";

std::filesystem::path FindPlugin() {
  if (const char* folder = std::getenv("TROUPE_PLUGIN_PATH"); folder != nullptr && *folder != '\0') return std::filesystem::path(folder) / kFileName;
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path beside = program.parent_path().parent_path() / "lib" / kFileName;
#ifdef TROUPE_PLUGIN_FOLDER
  if (!std::filesystem::exists(beside, error)) return std::filesystem::path(TROUPE_PLUGIN_FOLDER) / kFileName;
#endif
  return beside;
}

absl::Status Unusable(const std::string& path, const std::string& reason) {
  return absl::InternalError(absl::StrCat(path, ": cannot be opened, expected Troupe's plugin for Parquet: ", reason));
}

const absl::StatusOr<const ParquetPlugin*>& Plugin() {
  static const absl::StatusOr<const ParquetPlugin*> plugin = LoadParquetPlugin(FindPlugin().string());
  return plugin;
}

}   // namespace

absl::StatusOr<const ParquetPlugin*> LoadParquetPlugin(const std::string& path) {
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);   // never closed: its sources may live as long as the process
  if (library == nullptr) return Unusable(path, absl::StrReplaceAll(::dlerror(), {{"\n", " "}}));
  auto* entry = reinterpret_cast<const ParquetPlugin* (*)()>(::dlsym(library, kParquetPluginSymbol));
  if (entry == nullptr) return Unusable(path, absl::StrCat("no symbol ", kParquetPluginSymbol));
  const ParquetPlugin* plugin = entry();
  if (plugin->layout != kParquetPluginLayout) return Unusable(path, "it is of another build");
  return plugin;
}

absl::StatusOr<std::shared_ptr<const Source>> OpenParquetSource(const SourceOptions& options, std::vector<std::string> paths) {
  if (!Plugin().ok()) return Plugin().status();
  return (*Plugin())->open_source(options, std::move(paths));
}

absl::StatusOr<std::unique_ptr<ColumnWriter>> OpenParquetWriter(ByteSink* sink, std::vector<ColumnSpec> columns) {
  if (!Plugin().ok()) return Plugin().status();
  return (*Plugin())->open_writer(sink, std::move(columns));
}

}   // namespace troupe
