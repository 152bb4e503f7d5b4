// What head and node have in common: their flags, how they get in and who gets in, their state folder, and their end.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/role.h"
#include "algorithms/run/cluster.h"
#include "tools/troupe/options.h"

namespace troupe {

struct NodeFlags {
  bool head = false;
  std::string join, listen, ports, store, state, advertise, name, cores, memory, cgroup, disk, token_file, tls, log;
  std::vector<std::string> labels, accelerators, queues;

  void Declare(CommandLine& line);
  /// InvalidArgument: neither head nor node, or a flag of the other one.
  absl::Status Check() const;
  /// Weights by queue. InvalidArgument: no NAME=WEIGHT.
  absl::StatusOr<std::map<std::string, uint32_t>> Queues() const;
  /// As RpcNetwork takes it.
  std::string ListenAt() const;
};

/// "HOST:PORT" -> HOST, which may be in brackets.
std::string HostOf(const std::string& place);
/// Where others reach what listens at `place`, "HOST:PORT".
std::string AdvertisedPlace(const NodeFlags& flags, const std::string& place);

/// How this process gets in elsewhere, and who gets in here.
struct NodeAccess {
  std::string token;               ///< an admin's; empty: none
  std::vector<RoleToken> others;   ///< of a head
  std::string tls;                 ///< folder; empty: none
};
absl::StatusOr<NodeAccess> ReadAccess(const NodeFlags& flags);

/// One process at a time has the state folder, as long as it lives. Unavailable: another one has it.
absl::Status LockState(const std::string& folder);

/// One line on stdout, at once: scripts read it. The first says where it listens.
absl::Status SayLine(const std::string& line);

/// The end of an actor's work, with its status.
class Outcome {
 public:
  void Set(const absl::Status& status) {
    status_ = status;
    ending_.Set();
  }
  bool WaitFor(std::chrono::milliseconds time) { return ending_.WaitFor(time); }
  /// After the end.
  const absl::Status& status() const { return status_; }

 private:
  Ending ending_;
  absl::Status status_;
};

}   // namespace troupe
