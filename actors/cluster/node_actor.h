// A node of a cluster as an actor: reports to the head what it has and what runs, runs what the head orders, and shows what its processes print.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/cgroup.h"
#include "actors/cluster/messages.h"
#include "actors/log.h"
#include "actors/system.h"

namespace troupe {

struct NodeOptions {
  NodeId node{};
  Incarnation incarnation{1};
  std::string name, host;
  std::vector<std::string> places;
  NodeCapacity capacity;
  std::string state_folder;                  ///< programs/ and jobs/ lie there
  std::string program_hash;                  ///< of this very program (/proc/self/exe, whatever lies at its path by now), which need not be fetched
  std::string head_place;                    ///< for the drivers that run here
  std::string ports = {};                    ///< "A-B": all processes that run here listen within; empty: anywhere
  std::string token;                         ///< likewise; not logged, not written
  std::string tls = {};                      ///< folder of certificates, for all processes that run here; empty: none
  std::optional<CgroupPlace> cgroups = {};   ///< where processes are limited (PrepareCgroups); none: their guards look what they have
  const Log* log = nullptr;                  ///< may be null
  /// A rejoin needs a higher incarnation, kept before it is used. Called in the actor's context.
  std::function<absl::StatusOr<Incarnation>(Incarnation at_least)> next_incarnation;
  /// Called once, in the actor's context: everything is drained (ok), or the head will not have this node.
  std::function<void(const absl::Status&)> ended;
  /// Called when the head does not answer, with the reason, and again every kSayAgain for as long as it does not.
  std::function<void(const absl::Status&)> unanswered = nullptr;
  /// Called when the head has answered for the first time.
  std::function<void()> joined;
};

inline constexpr std::chrono::seconds kSayAgain{30};

/// Asks the node to drain and leave; `ended` is called when it has.
struct LeaveCluster {};

/// `head` is asked for ever. Processes end with the actor; each has a guard (process_guard.h), so this program's main must know RunGuard.
caf::actor SpawnNode(System& system, HeadActor head, NodeOptions options);

/// What the processes of a node find in their environment.
inline constexpr char kEnvJob[] = "TROUPE_JOB", kEnvAttempt[] = "TROUPE_JOB_ATTEMPT", kEnvHead[] = "TROUPE_JOB_HEAD", kEnvHost[] = "TROUPE_JOB_HOST",
                      kEnvClusterToken[] = "TROUPE_JOB_CLUSTER_TOKEN", kEnvProgram[] = "TROUPE_JOB_PROGRAM", kEnvParent[] = "TROUPE_JOB_PARENT",
                      kEnvTls[] = "TROUPE_JOB_TLS", kEnvPorts[] = "TROUPE_JOB_PORTS";

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::LeaveCluster)
