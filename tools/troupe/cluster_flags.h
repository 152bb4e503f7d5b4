// Which cluster a command means, and how it gets in.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "actors/cluster/cluster_link.h"
#include "tools/troupe/options.h"

namespace troupe {

struct ClusterFlags {
  std::string cluster, token_file;
  void Declare(CommandLine& line);
  /// --cluster, else $TROUPE_CLUSTER; with the token. InvalidArgument: neither is given, or it is no HOST:PORT; the token file's errors.
  absl::StatusOr<ClusterAddress> Address() const;
  /// A link to that cluster's head, which is asked when something is asked of it.
  absl::StatusOr<std::unique_ptr<ClusterLink>> Open() const;
};

/// The token in a file: its text without white space at the ends; no file: none. InvalidArgument: it is empty or shorter than 16 characters.
absl::StatusOr<std::string> ReadToken(const std::string& path);

}   // namespace troupe
