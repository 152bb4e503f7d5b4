// Libraries of ours that are opened when they are first needed, so that what never needs them does not pay for loading them.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace troupe {

/// Where `file` ("libtroupe_arrow.so") is: in $TROUPE_PLUGIN_PATH, else in lib/ beside the program's bin/, else where it was built.
std::string FindPlugin(const std::string& file);

/// The function `symbol` of the library at `path`, which stays open for good. `purpose`: "Parquet". Thread-safe.
/// Errors Internal: "PATH: cannot be opened, expected Troupe's plugin for PURPOSE: REASON".
absl::StatusOr<void*> LoadPluginEntry(const std::string& path, const char* symbol, const std::string& purpose);
/// The error for a library that was opened and is not what it should be.
absl::Status UnusablePlugin(const std::string& path, const std::string& purpose, const std::string& reason);

}   // namespace troupe
