// How and where the processes of a job run: as children of this process (local_launcher.cc), or on the nodes of a cluster (node_launcher_actor.cc).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/address.h"
#include "actors/cluster/cluster_link.h"
#include "actors/cluster/messages.h"

namespace troupe {

/// Where a process of a job finds the token of the job's links.
inline constexpr char kJobTokenVariable[] = "TROUPE_JOB_TOKEN";

inline constexpr std::chrono::milliseconds kHandOverMax{50'000};   ///< a node that is stopped by systemd waits 60 s

/// One life of a process of a job.
struct Launch {
  std::string role, index;   ///< "worker", "1": its first words, and its name
  NodeId node{};             ///< in the job: the same in all its lives
  uint64_t incarnation = 1;
  std::vector<std::string> flags;         ///< what follows its first words
  std::vector<int> inherit;               ///< descriptors; only of a child of this machine
  Placing placing = Placing::kTogether;   ///< on a cluster
  /// How it has ended. Not `certain`: it was given up, as its node is lost, and may live on there.
  struct End {
    bool normally = false;
    bool certain = true;
    std::string how;
  };
  /// Called once, from any thread.
  std::function<void(const End&)> ended;
  /// Called from any thread, each time that it is to leave its node: that is drained, and it goes on for kHandOverMax or until it is ended, or another one has
  /// more room for it, and it may stay. Null: it ends at once where its node is drained.
  std::function<void()> leaves = nullptr;
  std::string name() const { return role + " " + index; }
};

class Launcher {
 public:
  virtual ~Launcher() = default;
  /// A folder that all processes of the job reach under this path; the launcher removes it at its end.
  virtual const std::string& folder() const = 0;
  /// Where this process is to listen for the others; none: they never call it.
  virtual std::vector<std::string> listen() const = 0;
  /// Where the process `node` listens in all its lives; empty: it says so itself when it has started (Attach).
  virtual std::string PlaceOf(NodeId node) const = 0;
  /// Does a later life of a shard find the file that an earlier one may still be writing? Then each life has a file of its own.
  virtual bool lives_overlap() const = 0;
  /// A process may end before this returns. `token`: the job's, for its environment.
  virtual absl::Status Start(Launch launch, const std::string& token) = 0;
  /// What others may hear of this process, of the head; before the first Start.
  virtual void Publish(const Endpoint&) {}
  virtual void Kill(const std::string& name, uint64_t incarnation) = 0;
  /// Ends all; none is started any more.
  virtual void KillAll() = 0;
};

struct ProcessOptions;

/// Child processes of this one. Errors: no folder, no port.
absl::StatusOr<std::unique_ptr<Launcher>> MakeLocalLauncher(const ProcessOptions& options, uint32_t processes);

/// What the driver of a job of a cluster was told when it was started (node_actor.h).
struct NodeJob {
  ClusterAddress head;
  JobId job = 0;
  uint64_t attempt = 1;
  std::string host;     ///< where the job's other processes reach this one
  std::string ports;    ///< of these one to listen at, "A-B", or "0": any
  std::string folder;   ///< beside the model, say: all nodes reach it
};
/// The job that this process drives, by its environment; nothing: it is no driver. `folder` is left empty.
std::optional<NodeJob> JobOfThisProcess();
/// `lost` is called once, from any thread, where the cluster has given the job up, or another driver has it.
absl::StatusOr<std::unique_ptr<Launcher>> MakeNodeLauncher(NodeJob job, std::function<void(const absl::Status&)> lost);

}   // namespace troupe
