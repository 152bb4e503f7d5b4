// The benchmark of links.
#include "actors/bench_link.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "actors/bench_pair.h"
#include "actors/internal/unix_place.h"
#include "actors/rpc_network.h"

extern char** environ;

namespace troupe {
namespace {

using Clock = std::chrono::steady_clock;
constexpr NodeId kPeer{1};
constexpr ActorId kShard{1};
constexpr size_t kBytesMax = 4 << 20;
constexpr size_t kRawChunk = 256 << 10;   // the bare loop reads and applies what fits the processor's cache
constexpr std::chrono::seconds kTimeout{20};

double Seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

/// weights -= 0.01 * gradient
void ApplySgd(std::span<float> weights, std::span<const float> gradient) {
  float* __restrict w = weights.data();
  const float* __restrict g = gradient.data();
  const size_t count = std::min(weights.size(), gradient.size());
  for (size_t i = 0; i < count; ++i) w[i] -= 0.01f * g[i];
}

bool ReadAll(int fd, void* to, size_t size) {
  for (char* at = static_cast<char*>(to); size > 0;) {
    const ssize_t got = ::read(fd, at, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

bool WriteAll(int fd, const void* from, size_t size) {
  for (const char* at = static_cast<const char*>(from); size > 0;) {
    const ssize_t sent = ::send(fd, at, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

/// Pushes of `size` bytes until `count` are done; false when the peer is lost.
bool AnswerBarePushes(int fd, size_t size, uint64_t count, std::span<float> weights, std::vector<float>& chunk) {
  for (uint64_t i = 0; i < count; ++i) {
    for (size_t done = 0; done < size;) {
      const size_t part = std::min(size - done, kRawChunk);
      if (!ReadAll(fd, chunk.data(), part)) return false;
      ApplySgd(weights.subspan(done / sizeof(float)), std::span(chunk).first(part / sizeof(float)));
      done += part;
    }
    if (!WriteAll(fd, "", 1)) return false;
  }
  return true;
}

RpcNetwork::Options NetworkOptions(NodeId node) {
  RpcNetwork::Options options;
  options.node = node;
  options.incarnation = Incarnation{1};
  options.cluster_id = "bench";
  return options;
}

std::string Place(const std::string& folder, const char* name) {
  return absl::StrCat("unix:", folder, "/", name);
}

/// The other process and the two ways to it.
struct Bench {
  std::string folder;
  pid_t peer = -1;
  int bare = -1;
  std::unique_ptr<RpcNetwork> network;
  PinnedHere pinned;

  ~Bench() {
    network.reset();
    if (bare >= 0) ::close(bare);   // which ends the peer
    if (peer > 0) ::waitpid(peer, nullptr, 0);
    std::error_code ignored;
    if (!folder.empty()) std::filesystem::remove_all(folder, ignored);
  }

  absl::Status Start(const std::vector<std::string>& command);
  absl::StatusOr<double> TimeBare(const Block& block, int count);
  absl::StatusOr<double> TimeLink(const Block& block, int count);
};

absl::Status Bench::Start(const std::vector<std::string>& command) {
  std::error_code error;
  std::string pattern = (std::filesystem::temp_directory_path(error) / "troupe-bench-XXXXXX").string();
  if (error) return absl::InternalError("folder for temporary files ($TMPDIR, else /tmp): " + error.message());
  if (::mkdtemp(pattern.data()) == nullptr) return absl::UnavailableError(absl::StrCat(pattern, ": ", std::strerror(errno)));
  folder = pattern;
  auto listening = ListenAt(Place(folder, "bare"));
  if (!listening.ok()) return listening.status();
  const auto close = absl::MakeCleanup([&] { StopListening(*listening); });
  std::vector<std::string> arguments = command;
  arguments.push_back(folder);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (const int spawn_error = ::posix_spawn(&peer, argv[0], nullptr, nullptr, argv.data(), environ); spawn_error != 0) {
    peer = -1;
    return absl::UnavailableError(absl::StrCat(argv[0], ": ", std::strerror(spawn_error)));
  }
  pinned.Pin(0);   // now that the peer has all of them to choose from
  pollfd ready{listening->fd, POLLIN, 0};
  while (::poll(&ready, 1, 100) == 0) {
    if (::waitpid(peer, nullptr, WNOHANG) != peer) continue;
    peer = -1;
    return absl::UnavailableError(absl::StrCat(argv[0], " ended before it connected"));
  }
  bare = ::accept4(listening->fd, nullptr, nullptr, SOCK_CLOEXEC);
  if (bare < 0) return absl::UnavailableError(absl::StrCat("accept: ", std::strerror(errno)));
  EnlargeBuffers(bare);
  auto started = RpcNetwork::Start(NetworkOptions(NodeId{0}));
  if (!started.ok()) return started.status();
  network = *std::move(started);
  network->Locate(kPeer, Place(folder, "rpc"));
  return absl::OkStatus();
}

absl::StatusOr<double> Bench::TimeBare(const Block& block, int count) {
  const uint64_t order[2] = {block.size(), static_cast<uint64_t>(count)};
  char acknowledged;
  bool alive = WriteAll(bare, order, sizeof order);
  const auto start = Clock::now();
  for (int i = 0; i < count && alive; ++i) alive = WriteAll(bare, block.data(), block.size()) && ReadAll(bare, &acknowledged, 1);
  if (!alive) return absl::UnavailableError("the bare socket was closed");
  return Seconds(Clock::now() - start) / count;
}

absl::StatusOr<double> Bench::TimeLink(const Block& block, int count) {
  // The first push is sent from this thread and not counted, the others each from the reply before.
  struct Run {
    std::promise<absl::StatusOr<double>> done;
    std::function<void()> push;
    int left;
    Clock::time_point start;
  } run;
  run.left = count + 1;
  auto future = run.done.get_future();
  const auto lane = block.size() >= kBulkBytes ? Network::Lane::kBulk : Network::Lane::kControl;
  run.push = [&] {
    network->Request({kPeer, Incarnation{1}, kShard}, Frame{1, {}, {block}}, lane, kTimeout, [&](const absl::StatusOr<Frame>& reply) {
      if (run.left-- == count + 1) run.start = Clock::now();
      if (!reply.ok()) {
        run.done.set_value(reply.status());
      } else if (run.left == 0) {
        run.done.set_value(Seconds(Clock::now() - run.start) / count);
      } else {
        run.push();
      }
    });
  };
  run.push();
  return future.get();
}

absl::StatusOr<BenchRow> Compare(Bench& bench, const std::string& name, size_t size) {
  BlockBuilder memory(size);
  std::ranges::fill(memory.As<float>(), 0.001f);
  const Block block = std::move(memory).Finish();
  const int count = static_cast<int>(std::clamp<size_t>((8 << 20) / size, 4, 100));
  std::vector<double> bare, link;
  const auto start = Clock::now();
  for (int turn = 0; turn < 12 || (Seconds(Clock::now() - start) < 0.8 && turn < 400); ++turn) {
    auto first = bench.TimeBare(block, count);
    if (!first.ok()) return first.status();
    auto second = bench.TimeLink(block, count);
    if (!second.ok()) return second.status();
    if (turn < 2) continue;   // connections, caches, memory
    bare.push_back(*first);
    link.push_back(*second);
  }
  const auto median = [](std::vector<double>& times) {
    std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
    return times[times.size() / 2];
  };
  const double ours = median(link), limit = median(bare);
  BenchRow row{.name = absl::StrCat("push ", name, " with SGD and acknowledgement, Unix socket"),
               .value = ours * 1e6,
               .unit = "us",
               .limit = limit * 1e6,
               .ratio = limit / ours};
  if (size >= kBulkBytes) {
    const auto bytes = static_cast<double>(size);
    row.value = bytes / ours * 1e-9, row.limit = bytes / limit * 1e-9, row.unit = "GB/s";
  }
  return row;
}

}   // namespace

absl::StatusOr<std::vector<BenchRow>> BenchLink(const std::vector<std::string>& peer_command, bool full) {
  if (peer_command.empty()) return absl::InvalidArgumentError("no command for the other process");
  Bench bench;
  if (absl::Status status = bench.Start(peer_command); !status.ok()) return status;
  std::vector<BenchRow> rows;
  std::vector<std::pair<std::string, size_t>> sizes{{"64 B", 64}, {"64 KiB", 64 << 10}, {"1 MiB", 1 << 20}};
  if (full) sizes.emplace_back("4 MiB", kBytesMax);
  for (const auto& [name, size] : sizes) {
    auto row = Compare(bench, name, size);
    if (!row.ok()) return row.status();
    rows.push_back(*std::move(row));
  }
  return rows;
}

int RunBenchLinkPeer(const std::vector<std::string>& arguments) {
  if (arguments.size() != 1) return 2;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  PinnedHere pinned;
  pinned.Pin(1);
  std::vector<float> bare_weights(kBytesMax / sizeof(float)), link_weights(bare_weights.size()), chunk(kRawChunk / sizeof(float));
  RpcNetwork::Options options = NetworkOptions(kPeer);
  options.listen = Place(arguments[0], "rpc");
  auto network = RpcNetwork::Start(std::move(options));
  if (!network.ok()) return 1;
  (*network)->Serve(kShard, [&](const Frame& push, const Network::Reply& reply) {
    if (push.bulk.size() != 1 || !push.bulk[0].IsArrayOf<float>()) return reply(absl::InvalidArgumentError("a push is one array of floats"));
    ApplySgd(link_weights, push.bulk[0].As<float>());
    reply(Frame{});
  });
  auto bare = ConnectTo(Place(arguments[0], "bare"));
  if (!bare.ok()) return 1;
  const int fd = *bare;
  ::fcntl(fd, F_SETFL, 0);   // blocking, as the other end is
  uint64_t order[2];
  while (ReadAll(fd, order, sizeof order) && order[0] <= kBytesMax) {
    if (!AnswerBarePushes(fd, order[0], order[1], bare_weights, chunk)) break;
  }
  ::close(fd);
  return 0;
}

}   // namespace troupe
