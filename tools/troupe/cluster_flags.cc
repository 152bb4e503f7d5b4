#include "tools/troupe/cluster_flags.h"

#include <algorithm>
#include <cstdlib>
#include <functional>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/this_process.h"

namespace troupe {
absl::StatusOr<std::vector<RoleToken>> ReadTokens(const std::string& path) {
  if (path.empty()) return std::vector<RoleToken>();
  TROUPE_TRY(const Block bytes, MakeLocalStorage()->Read(path));
  TROUPE_TRY(std::vector<RoleToken> tokens, ParseTokens({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path));
  std::ranges::stable_sort(tokens, std::greater(), &RoleToken::role);
  return tokens;
}

std::string FlagOr(const std::string& flag, const char* variable) {
  const char* value = flag.empty() ? std::getenv(variable) : nullptr;
  return value == nullptr ? flag : std::string(value);
}

void ClusterFlags::Declare(CommandLine& line) {
  line.Value("--cluster", "HOST:PORT,...", &cluster, "the head of the cluster, or all that may lead it (default: $TROUPE_CLUSTER)");
  line.Value("--token-file", "FILE", &token_file, "a token of the cluster; of several the strongest (default: $TROUPE_TOKEN_FILE, else none)");
  line.Value("--tls", "DIR", &tls, "ca.pem, cert.pem and key.pem to speak TLS with (default: $TROUPE_TLS, else none: only a head on loopback)");
}

absl::StatusOr<ClusterAddress> ClusterFlags::Address() const {
  ClusterAddress address{.head = FlagOr(cluster, "TROUPE_CLUSTER"), .token = {}, .tls = FlagOr(tls, "TROUPE_TLS")};
  if (address.head.empty()) return absl::InvalidArgumentError("--cluster is missing (or $TROUPE_CLUSTER): the HOST:PORT that troupe node --head has printed");
  TROUPE_TRY(const std::vector<RoleToken> tokens, ReadTokens(FlagOr(token_file, "TROUPE_TOKEN_FILE")));
  if (!tokens.empty()) address.token = tokens.front().token;
  return address;
}

absl::StatusOr<std::unique_ptr<ClusterLink>> ClusterFlags::Open() const {
  TROUPE_TRY(ClusterAddress address, Address());
  const bool one = address.head.find(',') == std::string::npos;   // of several another one may be about to lead
  return ClusterLink::Open({.address = std::move(address), .must_be_there = one, .cancelled = &StopAsked()});
}

}   // namespace troupe
