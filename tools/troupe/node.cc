// troupe node: the head of a cluster, or a member that runs its processes.
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>

#include "absl/strings/str_cat.h"
#include "actors/cgroup.h"
#include "actors/cluster/cluster_link.h"
#include "actors/cluster/node_actor.h"
#include "actors/cluster/programs.h"
#include "actors/log.h"
#include "actors/status.h"
#include "actors/stop_actors.h"
#include "actors/storage/scratch_folder.h"
#include "actors/text.h"
#include "actors/this_process.h"
#include "actors/unreachable.h"
#include "algorithms/run/cluster.h"
#include "tools/troupe/cluster_flags.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/head.h"
#include "tools/troupe/node_flags.h"

namespace troupe {
namespace {

constexpr char kSummary[] =
    "Starts the head of a cluster, or a node that joins one and runs its processes. The first line printed is where it listens. SIGTERM: a node is drained\n"
    "and leaves; a second one ends it at once. A head that is started again with the same --state goes on where it was; of several heads with one --store the\n"
    "first leads, and the others wait until it does no more.";
constexpr char kExamples[] =
    "  troupe node --head --listen 127.0.0.1:7460 --state /var/lib/troupe --queue night=2\n"
    "  troupe node --head --listen 127.0.0.1:7460 --store etcd:127.0.0.1:2379\n"
    "  troupe node --join 127.0.0.1:7460 --cores 8 --accelerator gpu=2 --label zone=a\n"
    "  troupe train --cluster 127.0.0.1:7460 --algorithm logistic_regression --data clicks.svm --model model\n";
constexpr std::chrono::seconds kLeaveMax{60};

/// A file in the state folder that says who this node is and which life it is in: "NODE INCARNATION".
class Identity {
 public:
  static absl::StatusOr<Identity> Load(const std::string& folder) {
    Identity identity(folder + "/node");
    std::ifstream file(identity.path_);
    uint32_t node = 0;
    uint64_t incarnation = 0;
    if (file && !(file >> node >> incarnation)) return absl::DataLossError(absl::StrCat(identity.path_, ": expected a node's number and incarnation"));
    while (node == 0) node = std::random_device()();
    identity.node_ = NodeId{node};
    TROUPE_RETURN_IF_ERROR(identity.Begin(Incarnation{incarnation + 1}).status());
    return identity;
  }
  /// Keeps `incarnation`, so that no later life has it again.
  absl::StatusOr<Incarnation> Begin(Incarnation incarnation) {
    const std::string text = absl::StrCat(static_cast<uint32_t>(node_), " ", static_cast<uint64_t>(incarnation), "\n");
    TROUPE_RETURN_IF_ERROR(MakeLocalStorage()->Write(path_, {Block::Copy(text.data(), text.size())}, true));
    incarnation_ = incarnation;
    return incarnation;
  }
  NodeId node() const { return node_; }
  Incarnation incarnation() const { return incarnation_; }

 private:
  explicit Identity(std::string path) : path_(std::move(path)) {}
  std::string path_;
  NodeId node_{};
  Incarnation incarnation_{};
};

std::string HostName() {
  char name[256] = "node";
  ::gethostname(name, sizeof name - 1);
  return name;
}

absl::StatusOr<NodeCapacity> CapacityOf(const NodeFlags& flags, const std::string& state) {
  NodeCapacity capacity{.cores = static_cast<uint32_t>(Cores()), .memory = 0, .disk = 0, .labels = {}};
  if (!flags.cores.empty()) {
    uint64_t cores = 0;
    TROUPE_RETURN_IF_ERROR(ParseWhole("--cores", flags.cores, 1, 1 << 16, &cores));
    capacity.cores = static_cast<uint32_t>(cores);
  }
  capacity.memory = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  if (!flags.memory.empty()) {
    if (const absl::Status status = ParseBytes(flags.memory, &capacity.memory); !status.ok()) return WithContext(status, "--memory");
  }
  std::error_code ignored;
  capacity.disk = std::filesystem::space(state, ignored).available;
  if (!flags.disk.empty()) {
    if (const absl::Status status = ParseBytes(flags.disk, &capacity.disk); !status.ok()) return WithContext(status, "--disk");
  }
  for (const std::string& accelerator : flags.accelerators) {
    TROUPE_RETURN_IF_ERROR(ParseCount("--accelerator", accelerator, "N", 1, 1 << 16, &capacity.accelerators));
  }
  for (const std::string& label : flags.labels) TROUPE_RETURN_IF_ERROR(ParsePair("--label", label, &capacity.labels));
  return capacity;
}

/// What limits the memory of processes. Errors only where --cgroup names a group.
absl::StatusOr<std::optional<CgroupPlace>> CgroupsOf(const NodeFlags& flags, const Log& log) {
  const bool named = !flags.cgroup.empty();
  if (flags.cgroup == "none") return std::nullopt;
  const absl::StatusOr<CgroupPlace> place = PrepareCgroups(flags.cgroup);
  if (named && !place.ok()) return WithContext(place.status(), "--cgroup");
  if (!place.ok()) {
    log.Warning("memory limits", {{"by", "watching"}, {"no cgroup", Message(place.status())}});
    return std::nullopt;
  }
  log.Info("memory limits", {{"by", absl::StrCat("cgroup v", place->version)}, {"folder", place->folder}});
  return *place;
}

absl::Status BeNode(const NodeFlags& flags, const NodeAccess& access, const Log& log) {
  ScratchFolder scratch;
  std::string state = flags.state;
  if (state.empty()) {
    TROUPE_TRY(scratch, ScratchFolder::Make(""));
    state = scratch.path();
  }
  TROUPE_RETURN_IF_ERROR(MakeLocalStorage()->MakeFolder(state));
  TROUPE_RETURN_IF_ERROR(LockState(state));
  state = std::filesystem::absolute(state).string();
  TROUPE_TRY(Identity identity, Identity::Load(state));
  TROUPE_TRY(NodeCapacity capacity, CapacityOf(flags, state));
  TROUPE_TRY(const std::optional<CgroupPlace> cgroups, CgroupsOf(flags, log));
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);   // what a guard that is killed has guarded comes to this process
  capacity.memory_kept_by = cgroups ? absl::StrCat("cgroup v", cgroups->version) : "watching";
  TROUPE_TRY(const std::string hash, HashOfProgram("/proc/self/exe"));
  TROUPE_TRY(const std::unique_ptr<ClusterLink> link, ClusterLink::Open({.address = {flags.join, access.token, access.tls},
                                                                         .node = identity.node(),
                                                                         .incarnation = identity.incarnation(),
                                                                         .listen = {flags.ListenAt()},
                                                                         .log = [&log](const std::string& what) {
                                                                           log.Info("network", {{"what", what}});
                                                                         }}));
  const std::string& place = link->place();
  const std::string host = flags.advertise.empty() ? HostOf(place) : flags.advertise;
  const std::string port = place.substr(place.rfind(':') + 1);
  Outcome outcome;
  Ending joined;
  const caf::actor node =
      SpawnNode(link->system(), link->head(),
                {.node = identity.node(),
                 .incarnation = identity.incarnation(),
                 .name = flags.name.empty() ? absl::StrCat(HostName(), ":", port) : flags.name,
                 .host = host,
                 .places = {absl::StrCat("tcp:", host, ":", port)},
                 .capacity = capacity,
                 .state_folder = state,
                 .program_hash = hash,
                 .head_place = flags.join,
                 .ports = flags.ports,
                 .token = access.token,
                 .tls = access.tls,
                 .cgroups = cgroups,
                 .log = &log,
                 .next_incarnation = [&identity](Incarnation at_least) { return identity.Begin(std::max(at_least, identity.incarnation())); },
                 .ended = [&outcome](const absl::Status& status) { outcome.Set(status); },
                 .unanswered =
                     [&flags](const absl::Status& status) {
                       const std::string why = IsUnreachable(status) ? WhyUnreachable(status) : std::string(Message(status));
                       std::fprintf(stderr, "no answer of the head at %s, this node goes on trying: %s\n", flags.join.c_str(), why.c_str());
                     },
                 .joined =
                     [&joined, &log] {
                       log.Info("joined", {});
                       joined.Set();
                     }});
  absl::Status status = SayLine(absl::StrCat("listening on ", place));
  bool leaving = false;
  auto leave_by = std::chrono::steady_clock::time_point::max();
  while (status.ok() && !outcome.WaitFor(std::chrono::milliseconds(50))) {
    if (StopAsked() && !leaving) {
      leaving = true;
      leave_by = std::chrono::steady_clock::now() + kLeaveMax;
      if (!joined.IsSet()) break;   // nobody knows of it
      System::Deliver(node, LeaveCluster{});
    }
    if (std::chrono::steady_clock::now() < leave_by) continue;
    status = absl::DeadlineExceededError(absl::StrCat("the node could not be drained within ", kLeaveMax.count(), " s"));
  }
  StopAndWait(link->system(), std::vector{node});
  if (status.ok() && outcome.WaitFor(std::chrono::milliseconds(0))) status = outcome.status();
  return status;
}

}   // namespace

absl::Status RunNode(const Arguments& arguments) {
  CommandLine line("node", "--head | --join HOST:PORT [FLAGS]", kSummary, kExamples);
  NodeFlags flags;
  flags.Declare(line);
  line.Settings({"log_level"});
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  TROUPE_RETURN_IF_ERROR(flags.Check());
  TROUPE_TRY(const Config config, line.LoadConfig(*MakeStorage()));
  TROUPE_TRY(NodeAccess access, ReadAccess(flags));
  const RealClock clock;
  Log log;
  if (!flags.log.empty()) {
    TROUPE_TRY(const Log::Level level, Log::ParseLevel(config.Text("log_level")));
    TROUPE_TRY(log, Log::Open(flags.log, level, flags.head ? "head" : "node", &clock));
  }
  CatchStopSignals();
  return flags.head ? BeHead(flags, std::move(access), log) : BeNode(flags, access, log);
}

}   // namespace troupe
