#include "ps/disk_tier.h"

#include "absl/strings/str_cat.h"
#include "actors/plugin.h"
#include "actors/status.h"

namespace troupe {
namespace {

constexpr char kPurpose[] = "rows on disk";

const absl::StatusOr<const TierPlugin*>& Plugin() {
  static const absl::StatusOr<const TierPlugin*> plugin = LoadTierPlugin(FindPlugin("libtroupe_rocksdb.so"));
  return plugin;
}

}   // namespace

absl::StatusOr<const TierPlugin*> LoadTierPlugin(const std::string& path) {
  TROUPE_TRY(void* const entry, LoadPluginEntry(path, kTierPluginSymbol, kPurpose));
  const TierPlugin* plugin = reinterpret_cast<const TierPlugin* (*)()>(entry)();
  if (plugin->layout != kTierPluginLayout) return UnusablePlugin(path, kPurpose, "it is of another build");
  return plugin;
}

TierFactory DiskTiers(const std::string& folder) {
  return [folder, made = std::make_shared<int>(0)](const TierRequest& request) -> absl::StatusOr<std::unique_ptr<RowTier>> {
    if (!Plugin().ok()) return Plugin().status();
    return (*Plugin())->open(absl::StrCat(folder, "/table-", (*made)++), request);
  };
}

}   // namespace troupe
