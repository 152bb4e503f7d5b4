// What a store needs of etcd, by its HTTP/JSON gateway (etcd 3.4, "gRPC gateway": https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway): plain structs in,
// plain structs out. Every call has an end.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace troupe {

/// A key with its value, and etcd's numbers of it.
struct EtcdRecord {
  std::string key, value;
  int64_t create_revision = 0;   ///< of the whole store, when the key was made; later ones are higher
  int64_t version = 0;           ///< 1 when it was made, 1 more with each put
  int64_t lease = 0;             ///< that the key ends with; 0: none
};

/// The key is as said; each of those that are given must hold.
struct EtcdCondition {
  std::string key;
  std::optional<std::string> value;
  std::optional<int64_t> create_revision;   ///< 0: there is no such key
  std::optional<int64_t> version;
};

struct EtcdChange {
  enum class Kind : uint8_t { kPut, kDelete, kTouch };   ///< kTouch: the key's version goes up, and nothing else
  Kind kind = Kind::kPut;
  std::string key, value;
  int64_t lease = 0;   ///< of a put
};

struct EtcdTransaction {
  std::vector<EtcdCondition> conditions;
  std::vector<EtcdChange> changes;   ///< if all hold; each key at most once
  std::string otherwise;             ///< a key that is read, in the same moment, if one does not hold
};
struct EtcdTransacted {
  bool done = false;
  std::optional<EtcdRecord> found;   ///< `otherwise`, where it was read and is there
};

/// The most changes of one transaction: etcd takes 128 operations (--max-txn-ops) a level, and transactions within transactions.
inline constexpr size_t kEtcdChangesMax = 60 * 60;

/// Thread-safe. Errors of all calls: Unavailable, DeadlineExceeded: no endpoint answers, or they have no leader; whether the change was made is not known.
/// ResourceExhausted: too large, or no space. NotFound: no such lease. Else what etcd says.
class EtcdGateway {
 public:
  /// endpoints: "HOST:PORT", at least one. Each is tried for `time_max`, the one that answered last first.
  EtcdGateway(std::vector<std::string> endpoints, std::chrono::milliseconds time_max);

  /// All keys from `first` to before `end`, in their order, of one moment.
  absl::StatusOr<std::vector<EtcdRecord>> Range(const std::string& first, const std::string& end);
  absl::StatusOr<EtcdTransacted> Transact(const EtcdTransaction& transaction);
  /// A lease of so many seconds, by its number. etcd makes short ones longer (2 s where it elects within 1 s).
  absl::StatusOr<int64_t> Grant(int64_t seconds);
  /// The lease begins anew. NotFound: it is over.
  absl::Status KeepAlive(int64_t lease);
  /// The lease ends, and with it its keys.
  absl::Status Revoke(int64_t lease);

 private:
  /// The reply's body.
  absl::StatusOr<std::string> Call(const std::string& path, const std::string& body);

  const std::vector<std::string> endpoints_;
  const std::chrono::milliseconds time_max_;
  std::atomic<size_t> latest_ = 0;   // the endpoint that has answered
};

/// The first key behind all that begin with `prefix`; "\0", which to etcd is the end, where there is none.
std::string EndOfPrefix(std::string prefix);

}   // namespace troupe
