#include "ps/bench_group.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "actors/ask.h"
#include "actors/bench_pair.h"
#include "actors/proxy.h"
#include "actors/rpc_network.h"
#include "actors/status.h"
#include "actors/stop_actors.h"
#include "actors/system.h"
#include "ps/group/wire.h"
#include "ps/group_member_actor.h"
#include "ps/internal/bench_compare.h"
#include "ps/router.h"

extern char** environ;

namespace troupe {
namespace {

constexpr ActorId kMember{3};
constexpr size_t kFloats = 10'000'000, kHalf = kFloats / 2;
constexpr float kRate = 0.01f;
constexpr std::chrono::seconds kLimit{30};

std::vector<TableSpec> Tables() {
  std::vector<TableSpec> tables(1);
  tables[0] = {.name = "w", .width = 1, .rows = kFloats, .rule = "sgd", .rule_options = {{"learning_rate", double{kRate}}}};
  tables[0].kept_by = KeptBy::kRing;
  return tables;
}

/// Memory that both processes map: what two loops without any runtime would use.
struct Raw {
  std::atomic<uint32_t> at[2];        // by process: how many barriers it has come to
  std::atomic<uint32_t> go;           // rounds of the group that the parent has begun
  alignas(64) float part[2][kHalf];   // by process: its numbers of the other one's half
  float sum[2][kHalf];                // by process: the sum of its own half
};

/// Until it is at least `least`; false: not within kLimit.
bool WaitFor(std::atomic<uint32_t>& word, uint32_t least) {
  const auto begin = std::chrono::steady_clock::now();
  for (int spins = 0;; ++spins) {
    const uint32_t now = word.load(std::memory_order_acquire);
    if (static_cast<int32_t>(now - least) >= 0) return true;
    if (spins < 2000) continue;
    if (std::chrono::steady_clock::now() - begin > kLimit) return false;
    const timespec second{1, 0};
    ::syscall(SYS_futex, &word, FUTEX_WAIT, now, &second, nullptr, 0);
  }
}
void Advance(std::atomic<uint32_t>& word) {
  word.fetch_add(1, std::memory_order_release);
  ::syscall(SYS_futex, &word, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

/// One process's share of the plain way.
struct Plain {
  Raw* raw;
  size_t me;   // 0 or 1
  std::vector<float> gradient = std::vector<float>(kFloats, 1.0f), weights = std::vector<float>(kFloats);

  bool Meet() {
    const uint32_t mine = raw->at[me].load() + 1;
    Advance(raw->at[me]);
    while (!WaitFor(raw->at[1 - me], mine))
      if (me == 0) return false;   // the other process waits as long as this one is there
    return true;
  }
  /// False: the other one has not come.
  bool Round() {
    if (!Meet()) return false;
    const float* own = gradient.data() + me * kHalf;
    std::memcpy(raw->part[me], gradient.data() + (1 - me) * kHalf, kHalf * sizeof(float));
    if (!Meet()) return false;
    const float* theirs = raw->part[1 - me];
    for (size_t i = 0; i < kHalf; ++i) raw->sum[me][i] = (own[i] + theirs[i]) / 2;
    if (!Meet()) return false;
    for (size_t half = 0; half < 2; ++half) {
      float* to = weights.data() + half * kHalf;
      for (size_t i = 0; i < kHalf; ++i) to[i] -= kRate * raw->sum[half][i];
    }
    return Meet();   // before anybody begins anew
  }
};

/// One process's share of ours.
struct Member {
  System system;
  GroupMemberActor other;
  SpawnedMember own;
  std::shared_ptr<const Router> router = std::make_shared<const Router>(Tables(), 1);
  Block gradient = Block::Adopt(std::vector<float>(kFloats, 1.0f));
  uint32_t me;
  Round done = kFirstRound;

  explicit Member(uint32_t which) : system({.node = NodeId{which}, .compute_threads = 1}), me(which) {}
  ~Member() {
    if (own.member) StopAndWait(system, std::vector{own.member});
    if (other) StopAndWait(system, std::vector{other});
  }
  absl::Status Start(const std::string& listen, const std::string& others) {
    auto network = RpcNetwork::Start({.node = system.node(),
                                      .incarnation = system.incarnation(),
                                      .cluster_id = "bench",
                                      .token = {},
                                      .build_id = {},
                                      .listen = {listen},
                                      .run = [this](const std::function<void()>& calls) { system.RunOnLink(calls); }});
    TROUPE_RETURN_IF_ERROR(network.status());
    system.SetNetwork(*std::move(network));
    const NodeId peer{1 - me};
    system.network().Locate(peer, {others});
    GroupMemberActorOptions options;
    options.member = {.tables = Tables(), .shards = 1, .member = me, .members = 2, .writers = {me}};
    options.copy.shard.tables = Tables();
    options.copy.shard.consistency = Consistency{.kept_by = KeptBy::kRing};
    options.copy.shard.stable_when_applied = true;
    TROUPE_TRY(own, SpawnGroupMember(system, options));
    other = SpawnProxy<GroupMemberActor>(system, {.to = {peer, Incarnation{0}, kMember}, .timeout = std::chrono::seconds(20)});
    Expose(system, kMember, own.member);
    System::Deliver(own.member, JoinGroup{me == 0 ? std::vector{own.member, other} : std::vector{other, own.member}});
    return absl::OkStatus();
  }
  /// The gradient into the sum, and the first row of what comes out.
  absl::Status Push() {
    RoutedPush routed = router->PushDense(0, gradient);
    PushPull both;
    both.push.writer = both.pull.writer = WriterId{me};
    both.push.round = done + 1;
    both.push.previous = done;
    both.push.parts = Block::Adopt(std::move(routed.shards[1][0].parts));
    both.push.values = routed.shards[1][0].values;
    both.pull.round = ++done + 1;
    both.pull.parts = Block::Adopt(std::vector<PullPart>{{.table = 0, .range = 0, .first = 0, .count = 1, .dense = 1}});
    both.pull.tables = 1;
    return Ask<PushPulled>(system, own.member, std::move(both), kLimit).status();
  }
};

Raw* MapRaw(int fd) {
  void* memory = ::mmap(nullptr, sizeof(Raw), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<Raw*>(memory);
}

std::string PlaceIn(const std::string& folder, uint32_t which) {
  return absl::StrCat("unix:", folder, "/member-", which);
}

/// The folder, the memory and the other process.
struct Pair {
  std::string folder;
  int fd = -1;
  Raw* raw = nullptr;
  pid_t peer = -1;
  PinnedHere pinned;

  ~Pair() {
    if (peer > 0) {
      ::kill(peer, SIGKILL);
      ::waitpid(peer, nullptr, 0);
    }
    if (raw != nullptr) ::munmap(raw, sizeof(Raw));
    if (fd >= 0) ::close(fd);
    std::error_code ignored;
    if (!folder.empty()) std::filesystem::remove_all(folder, ignored);
  }
  absl::Status Start(std::vector<std::string> command) {
    std::error_code error;
    std::string pattern = (std::filesystem::temp_directory_path(error) / "troupe-bench-XXXXXX").string();
    if (error) return absl::InternalError("folder for temporary files ($TMPDIR, else /tmp): " + error.message());
    if (::mkdtemp(pattern.data()) == nullptr) return absl::UnavailableError(absl::StrCat(pattern, ": ", std::strerror(errno)));
    folder = pattern;
    fd = ::memfd_create("troupe-bench", MFD_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, sizeof(Raw)) != 0 || (raw = MapRaw(fd)) == nullptr)
      return absl::UnavailableError(absl::StrCat("shared memory: ", std::strerror(errno)));
    command.push_back(folder);
    command.push_back(absl::StrCat("/proc/", ::getpid(), "/fd/", fd));
    std::vector<char*> argv;
    for (std::string& argument : command) argv.push_back(argument.data());
    argv.push_back(nullptr);
    if (const int code = ::posix_spawn(&peer, argv[0], nullptr, nullptr, argv.data(), environ); code != 0) {
      peer = -1;
      return absl::UnavailableError(absl::StrCat(argv[0], ": ", std::strerror(code)));
    }
    pinned.Pin(0);   // the threads that follow too
    return absl::OkStatus();
  }
};

}   // namespace

absl::StatusOr<std::vector<BenchRow>> BenchGroup(const std::vector<std::string>& peer_command) {
  Pair pair;
  TROUPE_RETURN_IF_ERROR(pair.Start(peer_command));
  Member member(0);
  TROUPE_RETURN_IF_ERROR(member.Start(PlaceIn(pair.folder, 0), PlaceIn(pair.folder, 1)));
  Plain plain{pair.raw, 0};
  absl::Status status;
  const auto ours = [&] {
    if (!status.ok()) return;
    Advance(pair.raw->go);
    status.Update(member.Push());
  };
  const auto raw = [&] {
    if (status.ok() && !plain.Round()) status.Update(absl::UnavailableError("the other process has ended"));
  };
  BenchRow row = internal::Compare("a round of 40 MB that two processes keep, ring with sgd; limit: the same through shared memory by hand",
                                   kFloats * sizeof(float) * 1e-9, "GB/s", ours, raw, internal::WallSeconds);
  TROUPE_RETURN_IF_ERROR(status);
  return std::vector<BenchRow>{std::move(row)};
}

int RunBenchGroupPeer(const std::vector<std::string>& arguments) {
  if (arguments.size() != 2) return 2;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  PinnedHere pinned;
  pinned.Pin(1);
  const int fd = ::open(arguments[1].c_str(), O_RDWR | O_CLOEXEC);
  Raw* raw = fd < 0 ? nullptr : MapRaw(fd);
  if (raw == nullptr) return 1;
  std::thread([raw] {   // waits for the parent at each of its barriers
    Plain plain{raw, 1};
    for (;;) plain.Round();
  })
      .detach();
  Member member(1);
  if (!member.Start(PlaceIn(arguments[0], 1), PlaceIn(arguments[0], 0)).ok()) return 1;
  for (uint32_t round = 1;; ++round) {
    while (!WaitFor(raw->go, round)) continue;
    if (!member.Push().ok()) return 1;
  }
}

}   // namespace troupe
