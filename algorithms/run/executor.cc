#include "algorithms/run/executor.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <thread>

#include "absl/strings/str_cat.h"
#include "actors/rpc_network.h"
#include "actors/spawner_actor.h"
#include "actors/status.h"
#include "actors/system.h"
#include "actors/text.h"
#include "algorithms/run/process_cluster.h"
#include "algorithms/run/start_worker.h"
#include "algorithms/run/wire.h"
#include "ps/wire.h"

namespace troupe {
namespace {

absl::Status MakeShardHere(System& system, ActorId id, const Block& arguments) {
  TROUPE_TRY(ShardActorOptions options, DecodeShardJob(arguments));
  TROUPE_TRY(ShardActor shard, SpawnShard(system, options));
  Expose(system, id, shard);
  return absl::OkStatus();
}

absl::Status MakeWorkerHere(System& system, ActorId id, const Block& arguments, std::chrono::milliseconds request_timeout) {
  TROUPE_TRY(const WorkerJob job, DecodeWorkerJob(arguments));
  return StartWorker(system, id, job, request_timeout).status();
}

/// Ends this process when its parent is gone, and what is left of the job's folder with it.
void WatchParent(pid_t parent, std::string folder) {
  std::thread([parent, folder = std::move(folder)] {
    while (getppid() == parent) std::this_thread::sleep_for(std::chrono::milliseconds(200));
    std::error_code ignored;
    for (int i = 0; i < 10 && std::filesystem::exists(folder, ignored); ++i) std::filesystem::remove_all(folder, ignored);   // a snapshot may come in between
    _exit(0);
  }).detach();
}

}   // namespace

std::string BuildId() {
  struct stat status {};
  if (stat("/proc/self/exe", &status) != 0) return TROUPE_VERSION;
  return absl::StrCat(TROUPE_VERSION, "-", status.st_size, "-", status.st_mtim.tv_sec, ".", status.st_mtim.tv_nsec);
}

void RegisterJobFactories(System& system, std::chrono::milliseconds request_timeout) {
  system.RegisterFactory("shard", MakeShardHere);
  system.RegisterFactory("worker",
                         [request_timeout](System& here, ActorId id, const Block& arguments) { return MakeWorkerHere(here, id, arguments, request_timeout); });
}

int RunExecutor(int argc, char** argv) {
  std::map<std::string_view, std::string> flags;   // --name value, as written by process_cluster.cc
  for (int i = 3; i + 1 < argc; i += 2) flags[argv[i]] = argv[i + 1];
  const auto number = [&flags](std::string_view name) {
    uint64_t value = 0;
    const std::string& text = flags[name];
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  };
  const char* token = getenv("TROUPE_JOB_TOKEN");
  if (argc < 3 || token == nullptr || number("--parent") == 0) return 2;   // nobody types this
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  signal(SIGINT, SIG_IGN);   // a terminal sends it to the whole group: the parent decides
  WatchParent(static_cast<pid_t>(number("--parent")), flags["--folder"]);

  const NodeId node{static_cast<uint32_t>(number("--node"))};
  const Incarnation incarnation{number("--incarnation")};
  System system({.node = node, .incarnation = incarnation, .compute_threads = 1});
  RegisterJobFactories(system, std::chrono::milliseconds(number("--request-timeout-ms")));
  auto network = RpcNetwork::Start({.node = node,
                                    .incarnation = incarnation,
                                    .cluster_id = flags["--job"],
                                    .token = token,
                                    .build_id = BuildId(),
                                    .listen = {flags["--listen"]},
                                    .run = [&system](const std::function<void()>& calls) { system.RunOnLink(calls); }});
  if (!network.ok()) return 1;
  system.SetNetwork(std::move(*network));
  StartSpawner(system);
  for (;;) pause();   // killed by its parent at the end of the job
}

}   // namespace troupe
