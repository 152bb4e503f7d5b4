// Tiers in files: RocksDB, in a library of its own that is opened when the first table needs it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "ps/row_tier.h"

namespace troupe {

/// Tiers in folders below `folder`, one a table, which are emptied when they are made and gone with the tier; then `folder` too, where nothing else is in it.
/// Errors of making one: Internal: the plugin is not there, or the folder cannot be made.
TierFactory DiskTiers(const std::string& folder);

/// What libtroupe_rocksdb.so exports as kTierPluginSymbol: `const TierPlugin*()`.
struct TierPlugin {
  uint64_t layout;   ///< kTierPluginLayout of its own build
  absl::StatusOr<std::unique_ptr<RowTier>> (*open)(const std::string& folder, const TierRequest& request);
};
constexpr char kTierPluginSymbol[] = "TroupeTierPlugin";
/// C++ types cross the border: a plugin of another build is refused. The first factor counts changes that sizes do not show.
constexpr uint64_t kTierPluginLayout = 1 * 1000 + sizeof(TierRequest);
/// Opens the plugin at `path`.
absl::StatusOr<const TierPlugin*> LoadTierPlugin(const std::string& path);

}   // namespace troupe
