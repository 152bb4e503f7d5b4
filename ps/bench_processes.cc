#include "ps/bench_processes.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "actors/bench_bare.h"
#include "actors/bench_pair.h"
#include "actors/proxy.h"
#include "actors/rpc_network.h"
#include "actors/status.h"
#include "actors/system.h"
#include "ps/bench_intent.h"
#include "ps/shard_actor.h"
#include "ps/table_set_actor.h"
#include "ps/wire.h"

extern char** environ;

namespace troupe {
namespace {

constexpr NodeId kPeer{1};
constexpr ActorId kShard{7};
constexpr size_t kFloats = 10'000'000;
constexpr int kRuns = 11;
constexpr std::chrono::seconds kLimit{30};
constexpr int kEcho = 3;        // the peer's descriptor of a socket that sends back what it gets
constexpr size_t kSmall = 64;   // bytes of it
constexpr int kSmallRuns = 40, kSmallPushes = 100;

/// 0: a big dense table, 1: scalars by key, 2: wide rows.
std::vector<TableSpec> Tables() {
  return {{.name = "w", .width = 1, .rows = kFloats, .rule = "sgd", .rule_options = {{"learning_rate", 0.01}}},
          {.name = "s", .width = 1, .rows = std::nullopt, .rule = "sgd", .rule_options = {{"learning_rate", 0.01}}},
          IntentTable()};
}

/// Memory that both processes map: what two loops without any runtime would use.
struct Raw {
  std::atomic<uint32_t> asked, answered;   // counts; a futex each
  char place[64];                          // where the peer listens with TCP, before its first answer
  alignas(64) float numbers[kFloats];
};

void Wait(std::atomic<uint32_t>& word, uint32_t old) {
  for (int i = 0; i < 2000; ++i) {
    if (word.load(std::memory_order_acquire) != old) return;
  }
  while (word.load(std::memory_order_acquire) == old) ::syscall(SYS_futex, &word, FUTEX_WAIT, old, nullptr, nullptr, 0);
}

void Advance(std::atomic<uint32_t>& word) {
  word.fetch_add(1, std::memory_order_release);
  ::syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

Raw* MapRaw(int fd) {
  void* memory = ::mmap(nullptr, sizeof(Raw), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<Raw*>(memory);
}

double Seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

RpcNetwork::Options NetworkOptions(System& system, std::vector<std::string> listen) {
  return {.node = system.node(),
          .incarnation = system.incarnation(),
          .cluster_id = "bench",
          .token = {},
          .build_id = {},
          .listen = std::move(listen),
          .run = [&system](const std::function<void()>& calls) { system.RunOnLink(calls); }};
}

std::string PlaceIn(const std::string& folder) {
  return absl::StrCat("unix:", folder, "/shard");
}

/// This process's end.
struct Pair {
  std::string folder;
  int raw_fd = -1;
  Raw* raw = nullptr;
  int echo = -1;
  BareSocket bare;   // TCP
  pid_t peer = -1;
  std::unique_ptr<System> system;
  PinnedHere pinned;

  ~Pair() {
    if (system != nullptr) system.reset();
    if (peer > 0) {
      ::kill(peer, SIGKILL);
      ::waitpid(peer, nullptr, 0);
    }
    if (raw != nullptr) ::munmap(raw, sizeof(Raw));
    if (raw_fd >= 0) ::close(raw_fd);
    if (echo >= 0) ::close(echo);
    std::error_code ignored;
    if (!folder.empty()) std::filesystem::remove_all(folder, ignored);
  }

  absl::Status Start(const std::vector<std::string>& command) {
    std::error_code error;
    std::string pattern = (std::filesystem::temp_directory_path(error) / "troupe-bench-XXXXXX").string();
    if (error) return absl::InternalError("folder for temporary files ($TMPDIR, else /tmp): " + error.message());
    if (::mkdtemp(pattern.data()) == nullptr) return absl::UnavailableError(absl::StrCat(pattern, ": ", std::strerror(errno)));
    folder = pattern;
    raw_fd = ::memfd_create("troupe-bench", MFD_CLOEXEC);
    if (raw_fd < 0 || ::ftruncate(raw_fd, sizeof(Raw)) != 0 || (raw = MapRaw(raw_fd)) == nullptr) {
      return absl::UnavailableError(absl::StrCat("shared memory: ", std::strerror(errno)));
    }
    std::vector<std::string> arguments = command;
    arguments.push_back(folder);
    arguments.push_back(absl::StrCat("/proc/", ::getpid(), "/fd/", raw_fd));
    TROUPE_TRY(const BareListener listener, BareListener::At(kAnyLoopbackPort));
    arguments.push_back(listener.place());
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return absl::UnavailableError(absl::StrCat("socketpair: ", std::strerror(errno)));
    echo = ends[0];
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], kEcho);
    const int spawn_error = ::posix_spawn(&peer, argv[0], &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (spawn_error != 0) {
      peer = -1;
      return absl::UnavailableError(absl::StrCat(argv[0], ": ", std::strerror(spawn_error)));
    }
    TROUPE_TRY(bare, listener.Accept(peer));
    pinned.Pin(0);   // the threads that follow too
    system = std::make_unique<System>(System::Options{.node = NodeId{0}, .compute_threads = 1});
    auto network = RpcNetwork::Start(NetworkOptions(*system, {}));
    if (!network.ok()) return network.status();
    system->SetNetwork(*std::move(network));
    system->network().Locate(kPeer, {PlaceIn(folder)});
    return absl::OkStatus();
  }
  /// 64 bytes there and back, both ends blocking.
  bool Echo() {
    char bytes[kSmall] = {};
    return ::send(echo, bytes, sizeof bytes, MSG_NOSIGNAL) == ssize_t{sizeof bytes} && ::recv(echo, bytes, sizeof bytes, MSG_WAITALL) == ssize_t{sizeof bytes};
  }
  void AskRaw() {
    const uint32_t before = raw->answered.load();
    Advance(raw->asked);
    Wait(raw->answered, before);
  }
};

}   // namespace

absl::StatusOr<std::vector<BenchRow>> BenchProcesses(const std::vector<std::string>& peer_command) {
  Pair pair;
  TROUPE_RETURN_IF_ERROR(pair.Start(peer_command));
  const ShardActor shard = SpawnProxy<ShardActor>(*pair.system, {.to = {kPeer, Incarnation{0}, kShard}, .timeout = std::chrono::seconds(20)});
  const auto set = MakeTableSet(*pair.system, {shard}, {.tables = Tables(), .replicas = {{IntentTable().name, IntentReplicas()}}});
  TROUPE_TRY(const TableRef big, set->Find("w"));
  TROUPE_TRY(const TableRef few, set->Find("s"));
  const std::vector<float> gradient(kFloats, 0.5f);
  std::vector<float> weights(kFloats), copy(kFloats, 1.0f);
  const Block block = Block::Copy(std::span<const float>(gradient));
  absl::Status status;
  std::vector<float> rows;
  const auto time_push = [&] { return Seconds([&] { status.Update(big.PushAll(block).Wait(kLimit)); }); };
  const auto time_pull = [&] { return Seconds([&] { status.Update(big.PullAll(rows)); }); };
  std::vector<double> push, raw_push, pulls, raw_pull;
  for (int run = 0; run < kRuns && status.ok(); ++run) {
    push.push_back(time_push());
    raw_push.push_back(Seconds([&] {
      std::memcpy(pair.raw->numbers, gradient.data(), kFloats * sizeof(float));
      pair.AskRaw();
    }));
    pulls.push_back(time_pull());
    raw_pull.push_back(Seconds([&] {
      std::memcpy(copy.data(), weights.data(), kFloats * sizeof(float));
      asm volatile("" : : "r"(copy.data()) : "memory");
    }));
  }
  std::vector<double> small, echo;
  for (int run = 0; run < kSmallRuns && status.ok(); ++run) {
    small.push_back(Seconds([&] {
      for (int i = 0; i < kSmallPushes; ++i) {
        status.Update(few.Push({7}, {0.5f}).Wait(kLimit));
      }
    }));
    echo.push_back(Seconds([&] {
      for (int i = 0; i < kSmallPushes; ++i) {
        if (!pair.Echo()) status.Update(absl::UnavailableError("the other process has ended"));
      }
    }));
  }
  TROUPE_RETURN_IF_ERROR(status);
  TROUPE_TRY(std::vector<BenchRow> intent, BenchIntent(*pair.system, *set));
  std::vector<double> tcp_push, bare_push, tcp_pull, bare_pull;
  pair.system->network().Locate(kPeer, {pair.raw->place});
  for (int run = 0; run < kRuns && status.ok(); ++run) {
    const auto time_bare = [&](bool pulled) {
      auto seconds = pair.bare.Time({pulled, kFloats * sizeof(float)}, std::as_writable_bytes(std::span(copy)));
      status.Update(seconds.status());
      return seconds.value_or(0);
    };
    tcp_push.push_back(time_push());
    bare_push.push_back(time_bare(false));
    tcp_pull.push_back(time_pull());
    bare_pull.push_back(time_bare(true));
  }
  pair.system->Stop(shard);
  TROUPE_RETURN_IF_ERROR(status);
  const auto row = [](std::string name, std::vector<double>& ours, std::vector<double>& limit) {
    const double gigabytes = kFloats * sizeof(float) * 1e-9, mine = gigabytes / Median(ours), best = gigabytes / Median(limit);
    return BenchRow{std::move(name), mine, "GB/s", best, mine / best};
  };
  std::vector<BenchRow> rows_of{row("push of 40 MB with sgd to another process, acknowledged; limit: copy to shared memory, sgd there", push, raw_push),
                                row("pull of 40 MB from another process; limit: one copy", pulls, raw_pull),
                                {"push of one number to another process, acknowledged; limit: a blocking echo", Median(small) / kSmallPushes * 1e6, "us",
                                 Median(echo) / kSmallPushes * 1e6, Median(echo) / Median(small)},
                                row("push of 40 MB with sgd over TCP, acknowledged; limit: one bare TCP socket, sgd there", tcp_push, bare_push),
                                row("pull of 40 MB over TCP; limit: one bare TCP socket", tcp_pull, bare_pull)};
  for (BenchRow& of_intent : intent) rows_of.push_back(std::move(of_intent));
  return rows_of;
}

int RunBenchProcessesPeer(const std::vector<std::string>& arguments) {
  if (arguments.size() != 3) return 2;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  PinnedHere pinned;
  pinned.Pin(1);
  const int fd = ::open(arguments[1].c_str(), O_RDWR | O_CLOEXEC);
  Raw* raw = fd < 0 ? nullptr : MapRaw(fd);
  if (raw == nullptr) return 1;
  System system({.node = kPeer, .compute_threads = 1});
  ShardActorOptions options;
  options.shard = {
      .tables = Tables(), .shard = 0, .shards = 1, .writers = 1, .consistency = Consistency{.kind = Consistency::Kind::kAsp}, .stable_when_applied = true};
  auto shard = SpawnShard(system, options);
  auto network = RpcNetwork::Start(NetworkOptions(system, {PlaceIn(arguments[0]), kAnyLoopbackPort}));
  if (!shard.ok() || !network.ok()) return 1;
  std::strncpy(raw->place, (*network)->places()[1].c_str(), sizeof raw->place - 1);
  system.SetNetwork(*std::move(network));
  Expose(system, kShard, *shard);
  auto bare = BareSocket::Connect(arguments[2]);   // which tells that the shard is there
  if (!bare.ok()) return 1;
  std::thread([] {
    char bytes[kSmall];
    while (::recv(kEcho, bytes, sizeof bytes, MSG_WAITALL) == ssize_t{sizeof bytes}) ::send(kEcho, bytes, sizeof bytes, MSG_NOSIGNAL);
  }).detach();
  std::thread([bare = std::move(*bare)] {
    std::vector<float> weights(kFloats);
    while (bare.Answer(weights)) continue;
  }).detach();
  std::vector<float> weights(kFloats);
  for (uint32_t asked = 0;;) {
    Wait(raw->asked, asked);
    asked = raw->asked.load();
    for (size_t i = 0; i < kFloats; ++i) weights[i] -= 0.01f * raw->numbers[i];
    asm volatile("" : : "r"(weights.data()) : "memory");
    Advance(raw->answered);
  }
}

}   // namespace troupe
