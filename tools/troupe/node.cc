// troupe node: the head of a cluster, or a member that runs its processes.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "actors/cluster/cluster_link.h"
#include "actors/cluster/head_actor.h"
#include "actors/cluster/node_actor.h"
#include "actors/cluster/programs.h"
#include "actors/log.h"
#include "actors/status.h"
#include "actors/stop_actors.h"
#include "actors/storage/scratch_folder.h"
#include "actors/text.h"
#include "algorithms/run/cluster.h"
#include "tools/troupe/cluster_flags.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/process.h"

namespace troupe {
namespace {

constexpr char kSummary[] =
    "Starts the head of a cluster, or a node that joins one and runs its processes. The first line printed is where it listens. SIGTERM: a node is drained\n"
    "and leaves; a second one ends it at once. A head that is started again with the same --state goes on where it was.";
constexpr char kExamples[] =
    "  troupe node --head --listen 127.0.0.1:7460 --state /var/lib/troupe --queue night=2\n"
    "  troupe node --join 127.0.0.1:7460 --cores 8 --accelerator gpu=2 --label zone=a\n"
    "  troupe train --cluster 127.0.0.1:7460 --algorithm logistic_regression --data clicks.svm --model model\n";
constexpr std::chrono::seconds kLeaveMax{60};

struct NodeFlags {
  bool head = false;
  std::string join, listen, state, advertise, name, cores, memory, disk, token_file, tls, log;
  std::vector<std::string> labels, accelerators, queues;

  void Declare(CommandLine& line) {
    line.Switch("--head", &head, "be the head: it keeps jobs and nodes, and runs nothing itself");
    line.Value("--join", "HOST:PORT", &join, "join the cluster of this head");
    line.Value("--listen", "HOST:PORT", &listen,
               "where to listen; beyond loopback with --token-file and --tls; port 0: one that is free (default 127.0.0.1:0)");
    line.Value("--state", "DIR", &state, "what must outlive this process (default: a head's ~/.troupe, a node's fresh temporary folder)");
    line.Value("--advertise", "HOST", &advertise, "where others reach the processes of this node (default: the host of --listen)");
    line.Value("--name", "NAME", &name, "of a node, for people (default: its host name and port)");
    line.Value("--cores", "N", &cores, "that a node offers (default: all that this process may use)");
    line.Value("--memory", "BYTES", &memory, "that a node offers, as 8G (default: the machine's)");
    line.Value("--disk", "BYTES", &disk, "that a node offers where its state lies, as 100G (default: what is free there now)");
    line.Values("--accelerator", "KIND=N", &accelerators, "that a node offers, as gpu=2, as often as needed");
    line.Values("--label", "NAME=VALUE", &labels, "what processes may ask for of a node, as often as needed");
    line.Values("--queue", "NAME=WEIGHT", &queues,
                "of a head: the queue's share of the cluster's cores is WEIGHT beside 1 for a queue that has none (1 to 1000)");
    line.Value("--token-file", "FILE", &token_file,
               "the cluster's token, or a line ROLE TOKEN for each of read, submit and admin: whoever has none is refused");
    line.Value("--tls", "DIR", &tls, "ca.pem, cert.pem and key.pem: speak TLS with members of that authority only (default: $TROUPE_TLS, else none)");
    line.Value("--log", "FILE", &log, "append what happens to this file");
  }
};

/// Flags of a node mean nothing to a head, and the reverse.
absl::Status CheckRole(const NodeFlags& flags) {
  if (flags.head == !flags.join.empty()) return absl::InvalidArgumentError("expected either --head or --join HOST:PORT");
  const std::vector<std::pair<const char*, bool>> node_only = {{"--advertise", !flags.advertise.empty()}, {"--name", !flags.name.empty()},
                                                               {"--cores", !flags.cores.empty()},         {"--memory", !flags.memory.empty()},
                                                               {"--disk", !flags.disk.empty()},           {"--accelerator", !flags.accelerators.empty()},
                                                               {"--label", !flags.labels.empty()}};
  for (const auto& [flag, given] : node_only) {
    if (flags.head && given) return absl::InvalidArgumentError(absl::StrCat(flag, " is for nodes: a head runs nothing itself"));
  }
  if (!flags.head && !flags.queues.empty()) return absl::InvalidArgumentError("--queue is for heads: nodes know no queues");
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, uint32_t>> QueuesOf(const NodeFlags& flags) {
  std::map<std::string, uint32_t> queues;
  for (const std::string& queue : flags.queues) {
    if (const absl::Status status = ParseCount("--queue", queue, "WEIGHT", 1, 1000, &queues); !status.ok()) return status;
  }
  return queues;
}

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

/// "HOST:PORT" -> HOST, which may be in brackets.
std::string HostOf(const std::string& place) {
  return place.substr(0, place.rfind(':'));
}

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
  for (const std::string& label : flags.labels) {
    const std::vector<std::string> parts = absl::StrSplit(label, absl::MaxSplits('=', 1));
    if (parts.size() != 2 || parts[0].empty()) return absl::InvalidArgumentError(absl::StrCat("--label is '", label, "', expected NAME=VALUE"));
    capacity.labels[parts[0]] = parts[1];
  }
  return capacity;
}

/// How this process gets in elsewhere, and who gets in here.
struct Access {
  std::string token;               // an admin's; empty: none
  std::vector<RoleToken> others;   // of a head
  std::string tls;                 // folder; empty: none
};
absl::StatusOr<Access> ReadAccess(const NodeFlags& flags) {
  Access access;
  access.tls = FlagOr(flags.tls, "TROUPE_TLS");
  if (!access.tls.empty()) access.tls = std::filesystem::absolute(access.tls).string();   // processes of jobs start in other folders
  TROUPE_TRY(access.others, ReadTokens(FlagOr(flags.token_file, "TROUPE_TOKEN_FILE")));
  if (access.others.empty()) return access;
  if (access.others.front().role != Role::kAdmin) {
    return absl::InvalidArgumentError(absl::StrCat(flags.token_file, ": no token for 'admin', which heads and nodes need"));
  }
  access.token = std::move(access.others.front().token);
  access.others.erase(access.others.begin());
  return access;
}

/// One process at a time has the state folder, as long as it lives. Unavailable: another one has it.
absl::Status LockState(const std::string& folder) {
  const std::string path = folder + "/lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);   // closed with the process
  if (fd < 0) return absl::InternalError(absl::StrCat(path, ": ", std::strerror(errno)));
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  ::close(fd);
  return absl::UnavailableError(absl::StrCat(folder, ": another head or node has this state folder"));
}

/// The first line, at once: scripts read it.
absl::Status SayWhere(const std::string& place) {
  std::printf("listening on %s\n", place.c_str());
  return FlushOutput();
}

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

absl::Status BeHead(const NodeFlags& flags, Access access, const Log& log) {
  std::string state = flags.state;
  if (state.empty()) {
    const char* home = std::getenv("HOME");
    if (home == nullptr || *home == '\0') return absl::InvalidArgumentError("--state is missing, and $HOME is not set");
    state = absl::StrCat(home, "/.troupe");
  }
  TROUPE_RETURN_IF_ERROR(MakeLocalStorage()->MakeFolder(state));
  TROUPE_RETURN_IF_ERROR(LockState(state));
  TROUPE_TRY(std::shared_ptr<Store> store, OpenSqliteStore(state + "/head.sqlite"));
  TROUPE_TRY(const std::unique_ptr<ClusterLink> link, ClusterLink::Open({.address = {{}, access.token, access.tls},
                                                                         .node = kHeadNode,
                                                                         .listen = {absl::StrCat("tcp:", flags.listen.empty() ? "127.0.0.1:0" : flags.listen)},
                                                                         .tokens = std::move(access.others),
                                                                         .log = [&log](const std::string& what) {
                                                                           log.Info("network", {{"what", what}});
                                                                         }}));
  const RealClock clock;
  Outcome outcome;
  HeadActorOptions options;
  TROUPE_TRY(options.head.queues, QueuesOf(flags));
  options.store = store;
  options.program_folder = state + "/programs";
  options.clock = &clock;
  options.log = &log;
  options.ended = [&outcome](const absl::Status& status) { outcome.Set(status); };
  TROUPE_TRY(const HeadActor head, SpawnHead(link->system(), std::move(options)));
  Expose(link->system(), kHeadActor, head);
  log.Info("head", {{"listening", link->place()}, {"state", state}});
  TROUPE_RETURN_IF_ERROR(SayWhere(link->place()));
  while (!outcome.WaitFor(std::chrono::milliseconds(100))) {
    if (!StopAsked()) continue;
    StopAndWait(link->system(), std::vector{head});
    return absl::OkStatus();
  }
  return outcome.status();
}

absl::Status BeNode(const NodeFlags& flags, const Access& access, const Log& log) {
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
  TROUPE_TRY(const NodeCapacity capacity, CapacityOf(flags, state));
  std::error_code error;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", error).string();
  TROUPE_TRY(const std::string hash, HashOfProgram("/proc/self/exe"));
  TROUPE_TRY(const std::unique_ptr<ClusterLink> link, ClusterLink::Open({.address = {flags.join, access.token, access.tls},
                                                                         .node = identity.node(),
                                                                         .incarnation = identity.incarnation(),
                                                                         .listen = {absl::StrCat("tcp:", flags.listen.empty() ? "127.0.0.1:0" : flags.listen)},
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
                 .program = program,
                 .program_hash = hash,
                 .head_place = flags.join,
                 .token = access.token,
                 .tls = access.tls,
                 .log = &log,
                 .next_incarnation = [&identity](Incarnation at_least) { return identity.Begin(std::max(at_least, identity.incarnation())); },
                 .ended = [&outcome](const absl::Status& status) { outcome.Set(status); },
                 .joined =
                     [&joined, &log] {
                       log.Info("joined", {});
                       joined.Set();
                     }});
  absl::Status status = SayWhere(place);
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
  TROUPE_RETURN_IF_ERROR(CheckRole(flags));
  TROUPE_TRY(const Config config, line.LoadConfig(*MakeStorage()));
  TROUPE_TRY(Access access, ReadAccess(flags));
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
