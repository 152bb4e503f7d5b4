// Which cluster a command means, and how it gets in.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/cluster/cluster_link.h"
#include "actors/role.h"
#include "tools/troupe/options.h"

namespace troupe {

struct ClusterFlags {
  std::string cluster, token_file, tls;
  void Declare(CommandLine& line);
  /// --cluster, else $TROUPE_CLUSTER; with the token and the folder of certificates. InvalidArgument: neither is given, or it is no HOST:PORT; the token file's
  /// errors.
  absl::StatusOr<ClusterAddress> Address() const;
  /// A link to that cluster's head, which is asked when something is asked of it.
  absl::StatusOr<std::unique_ptr<ClusterLink>> Open() const;
};

/// The tokens of a file, the one for the strongest role first; no file: none. InvalidArgument: what ParseTokens says of it.
absl::StatusOr<std::vector<RoleToken>> ReadTokens(const std::string& path);
/// `flag`, else the environment's `variable`, else nothing.
std::string FlagOr(const std::string& flag, const char* variable);

}   // namespace troupe
