#include "actors/storage/remote_storage.h"

#include "actors/plugin.h"
#include "actors/status.h"

namespace troupe {
namespace {

constexpr char kPurpose[] = "s3:";

}   // namespace

absl::StatusOr<const S3Plugin*> LoadS3Plugin(const std::string& path) {
  TROUPE_TRY(void* const entry, LoadPluginEntry(path, kS3PluginSymbol, kPurpose));
  const S3Plugin* plugin = reinterpret_cast<const S3Plugin* (*)()>(entry)();
  if (plugin->layout != kS3PluginLayout) return UnusablePlugin(path, kPurpose, "it is of another build");
  return plugin;
}

absl::StatusOr<std::unique_ptr<Storage>> MakeS3Storage() {
  static const absl::StatusOr<const S3Plugin*> plugin = LoadS3Plugin(FindPlugin("libtroupe_s3.so"));
  if (!plugin.ok()) return plugin.status();
  return (*plugin)->open();
}

}   // namespace troupe
