#include "algorithms/run/executor.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/cluster/node_actor.h"
#include "actors/process_table.h"
#include "actors/rpc_network.h"
#include "actors/spawner_actor.h"
#include "actors/status.h"
#include "actors/system.h"
#include "actors/text.h"
#include "algorithms/run/process_cluster.h"
#include "algorithms/run/start_worker.h"
#include "algorithms/run/wire.h"
#include "ps/chain_member_actor.h"
#include "ps/wire.h"

namespace troupe {
namespace {

constexpr std::chrono::milliseconds kAttachEvery = kShardLease / 4, kAttachTimeout = kShardLease;
constexpr std::chrono::milliseconds kLogPatience{1'000};   // less than a driver waits for a word of this process
constexpr std::chrono::seconds kOrphanMax{60};             // a process that no driver claims any more

absl::Status MakeShardHere(System& system, ActorId id, const Block& arguments) {
  TROUPE_TRY(ShardActorOptions options, DecodeShardJob(arguments));
  options.log_patience = kLogPatience;
  absl::StatusOr<ShardActor> shard = SpawnShard(system, options);
  // An earlier life that nobody has heard may still have the log: it will end, and this one is asked again until then.
  if (absl::IsFailedPrecondition(shard.status()) && !options.log_folder.empty()) return absl::UnavailableError(shard.status().message());
  TROUPE_RETURN_IF_ERROR(shard.status());
  Expose(system, id, *shard);
  return absl::OkStatus();
}

/// The members of chains in this process, at most one: who is to hear that the driver has been heard, also of the last time before it was there.
struct Leased {
  std::mutex mutex;
  ChainMemberActor member;
  std::chrono::steady_clock::time_point until{};
};

/// Its chain takes another process in, which gets the first one's state.
void EndMember(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  _exit(1);
}

absl::Status MakeReplicaHere(System& system, const Block& arguments, std::chrono::milliseconds request_timeout, Leased* leased) {
  TROUPE_TRY(ReplicaJob job, DecodeReplicaJob(arguments));
  job.shard.log_patience = kLogPatience;
  for (const ShardPlace& place : job.places) {
    if (place.node != system.node() && !place.places.empty()) system.network().Locate(place.node, place.places);
  }
  TROUPE_TRY(ChainMemberActor member, SpawnChainMember(system, {.shard = std::move(job.shard),
                                                                .self = {system.node(), system.incarnation()},
                                                                .request_timeout = request_timeout,
                                                                .failed = EndMember,
                                                                .leased = leased != nullptr}));
  if (leased == nullptr) return absl::OkStatus();
  const std::lock_guard lock(leased->mutex);
  leased->member = std::move(member);
  System::Deliver(leased->member, GrantLease{leased->until});
  return absl::OkStatus();
}

absl::Status MakeWorkerHere(System& system, ActorId id, const Block& arguments, std::chrono::milliseconds request_timeout) {
  TROUPE_TRY(const WorkerJob job, DecodeWorkerJob(arguments));
  return StartWorker(system, id, job, request_timeout).status();
}

void RegisterFactories(System& system, std::chrono::milliseconds request_timeout, Leased* leased) {
  system.RegisterFactory("shard", MakeShardHere);
  system.RegisterFactory("replica", [request_timeout, leased](System& here, ActorId, const Block& arguments) {
    return MakeReplicaHere(here, arguments, request_timeout, leased);
  });
  system.RegisterFactory("worker",
                         [request_timeout](System& here, ActorId id, const Block& arguments) { return MakeWorkerHere(here, id, arguments, request_timeout); });
}

/// What is left of the job's folder when its parent is gone.
void RemoveJobFolder(const std::string& folder) {
  std::error_code ignored;
  for (int i = 0; i < 10 && std::filesystem::exists(folder, ignored); ++i) std::filesystem::remove_all(folder, ignored);   // a snapshot may come in between
}

/// The exit code of a process that cannot begin, and why, for troupe job logs.
int EndWith(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", std::string(Message(status)).c_str());
  return 1;
}

/// Says that this process is there, every second, as long as the driver wants it.
int StayAttached(System& system, const std::string& driver, const Attach& attach, Leased& leased) {
  system.network().Locate(NodeId{0}, {driver});
  for (auto answered = std::chrono::steady_clock::now(); std::chrono::steady_clock::now() - answered < kOrphanMax;) {
    struct Asked {
      Ending ending;
      absl::Status status;
    };
    const auto asked = std::make_shared<Asked>();
    const auto asked_at = std::chrono::steady_clock::now();
    system.network().Request({NodeId{0}, Incarnation{0}, kDirectoryActor}, Codec<Attach>::Encode(attach), Network::Lane::kControl, kAttachTimeout,
                             [asked](const absl::StatusOr<Frame>& answer) {
                               asked->status = answer.status();
                               asked->ending.Set();
                             });
    while (!asked->ending.WaitFor(kAttachEvery)) continue;   // every request has an end
    if (asked->status.ok()) {
      answered = std::chrono::steady_clock::now();
      const std::lock_guard lock(leased.mutex);
      leased.until = asked_at + kShardLease;
      if (leased.member) System::Deliver(leased.member, GrantLease{leased.until});
    }
    if (!asked->status.ok() && !IsRetryable(asked->status)) _exit(1);   // replaced
    std::this_thread::sleep_for(asked->status.ok() ? kAttachEvery : kAttachEvery / 20);
  }
  _exit(1);
}

}   // namespace

std::string BuildId() {
  if (const char* program = getenv(kEnvProgram)) return program;   // on nodes: the hash of its bytes
  struct stat status {};
  if (stat("/proc/self/exe", &status) != 0) return TROUPE_VERSION;
  return absl::StrCat(TROUPE_VERSION, "-", status.st_size, "-", status.st_mtim.tv_sec, ".", status.st_mtim.tv_nsec);
}

void RegisterJobFactories(System& system, std::chrono::milliseconds request_timeout) {
  RegisterFactories(system, request_timeout, nullptr);
}

int RunExecutor(int argc, char** argv) {
  std::map<std::string_view, std::string> flags;   // --name value, as written by process_cluster_actor.cc and local_launcher.cc
  for (int i = 3; i + 1 < argc; i += 2) flags[argv[i]] = argv[i + 1];
  const auto number = [&flags](std::string_view name) {
    uint64_t value = 0;
    const std::string& text = flags[name];
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  };
  const char* token = getenv(kJobTokenVariable);
  const std::string driver = flags["--driver"];   // on a node; else the parent is the driver
  if (!driver.empty()) {
    const auto variable = [](const char* name) { return std::string(getenv(name) == nullptr ? "" : getenv(name)); };
    flags["--listen"] = absl::StrCat("tcp:", variable(kEnvHost), ":", variable(kEnvPorts).empty() ? "0" : variable(kEnvPorts));
    flags["--parent"] = variable(kEnvParent);
  }
  if (argc < 3 || token == nullptr || number("--parent") == 0) return 2;   // nobody types this
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  signal(SIGINT, SIG_IGN);   // a terminal sends it to the whole group: the parent decides
  EndWithParent(static_cast<pid_t>(number("--parent")),
                [folder = driver.empty() ? flags["--folder"] : ""] { RemoveJobFolder(folder); });   // a job outlives a node

  const NodeId node{static_cast<uint32_t>(number("--node"))};
  const Incarnation incarnation{number("--incarnation")};
  Leased leased;   // on a node
  System system({.node = node, .incarnation = incarnation, .compute_threads = 1});
  RegisterFactories(system, std::chrono::milliseconds(number("--request-timeout-ms")), driver.empty() ? nullptr : &leased);
  RpcNetwork::Options options{.node = node,
                              .incarnation = incarnation,
                              .cluster_id = flags["--job"],
                              .token = token,
                              .build_id = flags["--build"].empty() ? BuildId() : flags["--build"],
                              .listen = {flags["--listen"]},
                              .run = [&system](const std::function<void()>& calls) { system.RunOnLink(calls); }};
  const char* tls = getenv(kEnvTls);
  if (!driver.empty() && tls != nullptr) {
    absl::StatusOr<TlsCertificates> certificates = ReadTlsFolder(tls);
    if (!certificates.ok()) return EndWith(certificates.status());
    options.tls = *std::move(certificates);
  }
  auto network = RpcNetwork::Start(std::move(options));
  if (!network.ok()) return EndWith(network.status());
  const std::vector<std::string> places = (*network)->places();
  system.SetNetwork(std::move(*network));
  if (!driver.empty()) {
    system.network().Serve(kDirectoryActor, [&system](const Frame& frame, const Network::Reply& reply) {
      if (frame.type == Codec<Leave>::kType) _exit(0);
      const absl::StatusOr<Locations> locations = Codec<Locations>::Decode(frame);
      if (!locations.ok()) return reply(locations.status());
      for (const ShardPlace& other : locations->nodes) system.network().Locate(other.node, other.places);
      reply(Codec<Located>::Encode({}));
    });
  }
  StartSpawner(system);
  if (!driver.empty()) return StayAttached(system, driver, {node, incarnation, places}, leased);
  for (;;) pause();   // killed by its parent at the end of the job
}

}   // namespace troupe
