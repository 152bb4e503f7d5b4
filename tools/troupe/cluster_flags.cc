#include "tools/troupe/cluster_flags.h"

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/storage/storage.h"

namespace troupe {
namespace {

constexpr size_t kTokenMin = 16;

}   // namespace

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  if (path.empty()) return std::string();
  TROUPE_TRY(const Block bytes, MakeLocalStorage()->Read(path));
  const std::string token(absl::StripAsciiWhitespace({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  if (token.size() < kTokenMin) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": a token of ", token.size(), " characters, expected at least ", kTokenMin));
  }
  return token;
}

void ClusterFlags::Declare(CommandLine& line) {
  line.Value("--cluster", "HOST:PORT", &cluster, "the head of the cluster (default: $TROUPE_CLUSTER)");
  line.Value("--token-file", "FILE", &token_file, "the cluster's token (default: $TROUPE_TOKEN_FILE, else none)");
}

absl::StatusOr<ClusterAddress> ClusterFlags::Address() const {
  const auto given = [](const std::string& flag, const char* variable) {
    const char* value = flag.empty() ? std::getenv(variable) : nullptr;
    return value == nullptr ? flag : std::string(value);
  };
  ClusterAddress address{given(cluster, "TROUPE_CLUSTER"), {}};
  if (address.head.empty()) return absl::InvalidArgumentError("--cluster is missing (or $TROUPE_CLUSTER): the HOST:PORT that troupe node --head has printed");
  TROUPE_TRY(address.token, ReadToken(given(token_file, "TROUPE_TOKEN_FILE")));
  return address;
}

absl::StatusOr<std::unique_ptr<ClusterLink>> ClusterFlags::Open() const {
  TROUPE_TRY(ClusterAddress address, Address());
  return ClusterLink::Open({.address = std::move(address)});
}

}   // namespace troupe
