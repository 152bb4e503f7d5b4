// One process a worker and one a shard: the program started again in another role, as direct children of this one or on the nodes of a cluster. A supervisor
// replaces any that ends.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/restart_policy.h"
#include "algorithms/run/cluster.h"
#include "algorithms/run/launcher.h"
#include "algorithms/run/wire.h"
#include "ps/chain_view.h"

namespace troupe {

/// How processes of a job talk to one another.
enum class Links : uint8_t {
  kUnix,   ///< Unix sockets in the job's folder, big blocks in shared memory
  kTcp,    ///< TCP over the loopback address: what processes on several hosts would use
};

/// What a job's own network is known by to others than its processes (ps/named_table.h): the same in all lives of its driver.
struct JobNetwork {
  std::string name, token;
  std::string build;   ///< what all who are in it say that they are
};

struct ProcessOptions {
  /// The program whose command line `PROGRAM worker I ...` and `PROGRAM shard I ...` ends in RunExecutor; "/proc/self/exe" is this one.
  std::string program = "/proc/self/exe";
  /// Where the job's private folder (sockets, snapshots) is made; empty: $TMPDIR, else /tmp. It is removed at the end.
  std::string tmp;
  Links links = Links::kUnix;
  /// The processes run on the nodes of the cluster whose job this process drives; `program`, `tmp` and `links` then say nothing.
  std::optional<NodeJob> nodes = std::nullopt;
  /// Others may come in: whoever has this of the head. None: the network is the job's processes' alone.
  std::optional<JobNetwork> network = std::nullopt;
  /// Epochs of chains are higher than this (ChainKeepersOptions).
  uint64_t epochs_after = 0;
  /// The shards' processes, as far as they are there: of shard i the i-th; where shards have replicas all of them, and the chains' routes.
  struct ShardsAt {
    std::vector<ShardPlace> processes;
    std::vector<ChainRoute> routes = {};
  };
  /// What the driver serves besides, from the first connection on. `shards` says where they are now; to be called in a handler.
  using WhereShardsAre = std::function<ShardsAt()>;
  std::function<std::vector<std::pair<ActorId, Network::Handler>>(WhereShardsAre shards)> serve;
  std::chrono::milliseconds snapshot_interval{500};
  /// A request to another process that is not answered by then is given up and made again. A pull waits at its shard for four fifths of it.
  std::chrono::milliseconds request_timeout{10'000};
  RestartOptions restart{.strategy = Strategy::kOneForOne,
                         .intensity = 20,
                         .period = std::chrono::seconds(60),
                         .delay = std::chrono::milliseconds(20),
                         .delay_max = std::chrono::seconds(2)};
  /// Called for every process that ended and is replaced, in an actor's context: its name, "shard 1".
  std::function<void(const std::string& child)> restarted;
  std::function<void(std::string)> log;
};

/// Errors: no folder for the job, no free port.
absl::StatusOr<std::unique_ptr<Cluster>> MakeProcessCluster(const ProcessOptions& options, const ClusterOptions& cluster);

/// The life of a child: argv[1] is "worker" or "shard". Serves until it is killed, or exits within 2 s when its parent is gone;
/// on a node also when its job's driver has not been heard for a minute, or does not know it any more.
int RunExecutor(int argc, char** argv);

}   // namespace troupe
