// The benchmark of links.
#include "actors/bench_link.h"

#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
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
#include <optional>

#include "absl/strings/str_cat.h"
#include "actors/bench_bare.h"
#include "actors/bench_pair.h"
#include "actors/certificates.h"
#include "actors/internal/tls.h"
#include "actors/rpc_network.h"
#include "actors/status.h"

extern char** environ;

namespace troupe {
namespace {

using Clock = std::chrono::steady_clock;
constexpr NodeId kPeer{1};
constexpr ActorId kShard{1};
constexpr uint64_t kPush = 0, kPull = 1000;   // types of requests: these, and the number of a chunk
constexpr size_t kBytesMax = 40 << 20;
constexpr size_t kBigFrames = kBytesMax / kChunkBytes;
constexpr int kPushesInFlight = 4, kPullsInFlight = 8;   // as ps/client
constexpr size_t kPlaceBytes = 64;                       // in which the peer says where it listens, over TCP and over TLS
constexpr std::chrono::seconds kTimeout{20};

double Seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

RpcNetwork::Options NetworkOptions(NodeId node) {
  RpcNetwork::Options options;
  options.node = node;
  options.incarnation = Incarnation{1};
  options.cluster_id = "bench";
  return options;
}

std::string PlaceIn(const std::string& folder, const char* name) {
  return absl::StrCat("unix:", folder, "/", name);
}

std::string TlsFolder(const std::string& folder) {
  return folder + "/tls";
}

/// A kind of socket: the bare one, and the network that uses it.
struct Way {
  std::string name;
  BareSocket bare;
  std::unique_ptr<RpcNetwork> network;   // TCP: with one bulk connection
};

/// The other process and the ways to it.
struct Bench {
  std::string folder;
  pid_t peer = -1;
  Way local{.name = "Unix socket", .bare = {}, .network = nullptr}, tcp{.name = "TCP", .bare = {}, .network = nullptr},
      tls{.name = "TLS", .bare = {}, .network = nullptr};
  std::unique_ptr<RpcNetwork> tcp4;   // with four
  PinnedHere pinned;

  ~Bench() {
    for (Way* way : {&local, &tcp, &tls}) {
      way->network.reset();
      way->bare.Close();   // which ends the peer
    }
    tcp4.reset();
    if (peer > 0) ::waitpid(peer, nullptr, 0);
    std::error_code ignored;
    if (!folder.empty()) std::filesystem::remove_all(folder, ignored);
  }

  absl::Status Start(const std::vector<std::string>& command);
};

absl::StatusOr<std::unique_ptr<RpcNetwork>> NetworkTo(const std::string& place, size_t bulk_connections, std::optional<TlsCertificates> tls = {}) {
  auto options = NetworkOptions(NodeId{0});
  options.bulk_connections = bulk_connections;
  options.tls = std::move(tls);
  TROUPE_TRY(std::unique_ptr<RpcNetwork> network, RpcNetwork::Start(std::move(options)));
  network->Locate(kPeer, {place});
  return network;
}

absl::Status Bench::Start(const std::vector<std::string>& command) {
  std::error_code error;
  std::string pattern = (std::filesystem::temp_directory_path(error) / "troupe-bench-XXXXXX").string();
  if (error) return absl::InternalError("folder for temporary files ($TMPDIR, else /tmp): " + error.message());
  if (::mkdtemp(pattern.data()) == nullptr) return absl::UnavailableError(absl::StrCat(pattern, ": ", std::strerror(errno)));
  folder = pattern;
  TROUPE_TRY(const BareListener at_path, BareListener::At(PlaceIn(folder, "bare")));
  TROUPE_TRY(const BareListener at_port, BareListener::At(kAnyLoopbackPort));
  TROUPE_TRY(const BareListener at_tls, BareListener::At(kAnyLoopbackPort));
  TROUPE_RETURN_IF_ERROR(MakeCertificates(TlsFolder(folder), {}));
  TROUPE_TRY(const TlsCertificates certificates, ReadTlsFolder(TlsFolder(folder)));
  TROUPE_TRY(const auto context, TlsContext::Make(certificates));
  std::vector<std::string> arguments = command;
  arguments.push_back(folder);
  arguments.push_back(at_port.place());
  arguments.push_back(at_tls.place());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (const int spawn_error = ::posix_spawn(&peer, argv[0], nullptr, nullptr, argv.data(), environ); spawn_error != 0) {
    peer = -1;
    return absl::UnavailableError(absl::StrCat(argv[0], ": ", std::strerror(spawn_error)));
  }
  pinned.Pin(0);   // now that the peer has all of them to choose from
  TROUPE_TRY(local.bare, at_path.Accept(peer));
  TROUPE_TRY(tcp.bare, at_port.Accept(peer));
  TROUPE_TRY(tls.bare, at_tls.Accept(peer));
  TROUPE_RETURN_IF_ERROR(tls.bare.BeginTls(*context, TlsStream::Side::kServer));
  char place[kPlaceBytes + 1] = {}, tls_place[kPlaceBytes + 1] = {};
  if (!local.bare.ReadAll(place, kPlaceBytes) || !local.bare.ReadAll(tls_place, kPlaceBytes)) return absl::UnavailableError("the bare socket was closed");
  TROUPE_TRY(local.network, NetworkTo(PlaceIn(folder, "rpc"), 1));
  TROUPE_TRY(tcp.network, NetworkTo(place, 1));
  TROUPE_TRY(tcp4, NetworkTo(place, 4));
  TROUPE_TRY(tls.network, NetworkTo(tls_place, 1, certificates));
  return absl::OkStatus();
}

/// `count` requests, `in_flight` of them at once, after one more that is not counted: it comes from this thread, each of the others from a reply.
absl::StatusOr<double> TimeRequests(Network& network, Network::Lane lane, int count, int in_flight, const std::function<Frame(int)>& request,
                                    const std::function<void(int, const Frame&)>& take) {
  struct Run {
    std::promise<absl::StatusOr<double>> done;
    std::function<void()> ask;
    int asked = 0, answered = -1;
    bool failed = false;
    Clock::time_point start;
  } run;
  auto future = run.done.get_future();
  run.ask = [&] {
    const int i = run.asked++;
    network.Request({kPeer, Incarnation{1}, kShard}, request(i % count), lane, kTimeout, [&, i](const absl::StatusOr<Frame>& reply) {
      if (run.failed || !reply.ok()) {
        if (!std::exchange(run.failed, true)) run.done.set_value(reply.status());
        return;
      }
      if (i > 0) take(i - 1, *reply);
      if (++run.answered == 0) {
        run.start = Clock::now();
        for (int more = 0; more < std::min(in_flight, count); ++more) run.ask();
      } else if (run.answered == count) {
        run.done.set_value(Seconds(Clock::now() - run.start));
      } else if (run.asked <= count) {
        run.ask();
      }
    });
  };
  run.ask();
  return future.get();
}

double Median(std::vector<double>& times) {
  std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
  return times[times.size() / 2];
}

/// `bare` and `link` in turns, until there is enough of both.
absl::StatusOr<std::pair<double, double>> InTurns(const std::function<absl::StatusOr<double>()>& bare, const std::function<absl::StatusOr<double>()>& link) {
  std::vector<double> limits, ours;
  const auto start = Clock::now();
  for (int turn = 0; turn < 12 || (Seconds(Clock::now() - start) < 0.8 && turn < 400); ++turn) {
    TROUPE_TRY(const double limit, bare());
    TROUPE_TRY(const double mine, link());
    if (turn < 2) continue;   // connections, caches, memory
    limits.push_back(limit);
    ours.push_back(mine);
  }
  return std::pair{Median(limits), Median(ours)};
}

BenchRow Row(std::string name, size_t size, std::pair<double, double> limit_and_ours) {
  const auto [limit, ours] = limit_and_ours;
  BenchRow row{.name = std::move(name), .value = ours * 1e6, .unit = "us", .limit = limit * 1e6, .ratio = limit / ours};
  if (size >= kBulkBytes) {
    const auto bytes = static_cast<double>(size);
    row.value = bytes / ours * 1e-9, row.limit = bytes / limit * 1e-9, row.unit = "GB/s";
  }
  return row;
}

absl::StatusOr<BenchRow> ComparePush(const Way& way, const std::string& name, const Block& block) {
  const int count = static_cast<int>(std::clamp<size_t>((8 << 20) / block.size(), 4, 100));
  const auto lane = block.size() >= kBulkBytes ? Network::Lane::kBulk : Network::Lane::kControl;
  std::vector<std::byte> memory(block.data(), block.data() + block.size());
  TROUPE_TRY(const auto times, InTurns(
                                   [&] {
                                     return way.bare.Time({false, block.size(), static_cast<uint64_t>(count)}, memory);
                                   },
                                   [&]() -> absl::StatusOr<double> {
                                     TROUPE_TRY(const double all, TimeRequests(
                                                                      *way.network, lane, count, 1,
                                                                      [&](int) {
                                                                        return Frame{kPush, {}, {block}};
                                                                      },
                                                                      [](int, const Frame&) {}));
                                     return all / count;
                                   }));
  return Row(absl::StrCat("push ", name, " with SGD and acknowledgement, ", way.name), block.size(), times);
}

/// 40 MiB in frames of 1 MiB, several of them under way; the bare loop sends or receives without a pause.
absl::StatusOr<BenchRow> CompareBig(const BareSocket& bare, Network& network, bool pull, const std::string& name, const Block& block) {
  std::vector<std::byte> memory(kBytesMax);
  const auto request = [&](int i) {
    const auto type = (pull ? kPull : kPush) + static_cast<uint64_t>(i);
    return pull ? Frame{type, {}, {}} : Frame{type, {}, {block.Slice(0, kChunkBytes)}};
  };
  const auto take = [&](int i, const Frame& reply) {
    if (pull && reply.bulk.size() == 1) std::memcpy(memory.data() + static_cast<size_t>(i) * kChunkBytes, reply.bulk[0].data(), reply.bulk[0].size());
  };
  TROUPE_TRY(const auto times,
             InTurns(
                 [&] {
                   return bare.Time({pull, kBytesMax, 1}, memory);
                 },
                 [&] { return TimeRequests(network, Network::Lane::kBulk, kBigFrames, pull ? kPullsInFlight : kPushesInFlight, request, take); }));
  return Row(name, kBytesMax, times);
}

}   // namespace

absl::StatusOr<std::vector<BenchRow>> BenchLink(const std::vector<std::string>& peer_command, bool full) {
  if (peer_command.empty()) return absl::InvalidArgumentError("no command for the other process");
  Bench bench;
  TROUPE_RETURN_IF_ERROR(bench.Start(peer_command));
  std::vector<BenchRow> rows;
  BlockBuilder memory(4 << 20);
  std::ranges::fill(memory.As<float>(), 0.001f);
  const Block block = std::move(memory).Finish();
  std::vector<std::pair<std::string, size_t>> sizes{{"64 B", 64}, {"64 KiB", 64 << 10}, {"1 MiB", 1 << 20}};
  if (full) sizes.emplace_back("4 MiB", block.size());
  for (const Way* way : {&bench.local, &bench.tcp, &bench.tls}) {
    for (const auto& [name, size] : sizes) {
      TROUPE_TRY(BenchRow row, ComparePush(*way, name, Block::Copy(block.data(), size)));
      rows.push_back(std::move(row));
    }
  }
  for (const bool pull : {false, true}) {
    const std::string what = pull ? "pull 40 MiB in chunks, " : "push 40 MiB in chunks with SGD, ";
    TROUPE_TRY(BenchRow local, CompareBig(bench.local.bare, *bench.local.network, pull, what + "Unix socket", block));
    TROUPE_TRY(BenchRow one, CompareBig(bench.tcp.bare, *bench.tcp.network, pull, what + "TCP, 1 connection", block));
    TROUPE_TRY(BenchRow four, CompareBig(bench.tcp.bare, *bench.tcp4, pull, what + "TCP, 4 connections", block));
    TROUPE_TRY(BenchRow encrypted, CompareBig(bench.tls.bare, *bench.tls.network, pull, what + "TLS, 1 connection", block));
    for (BenchRow* row : {&local, &one, &four, &encrypted}) rows.push_back(std::move(*row));
  }
  return rows;
}

int RunBenchLinkPeer(const std::vector<std::string>& arguments) {
  if (arguments.size() != 3) return 2;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  PinnedHere pinned;
  pinned.Pin(1);
  std::vector<float> bare_weights(kBytesMax / sizeof(float));
  BlockBuilder memory(kBytesMax);
  const std::span<float> link_weights = memory.As<float>();
  std::ranges::fill(link_weights, 0.0f);
  RpcNetwork::Options options = NetworkOptions(kPeer);
  options.listen = {PlaceIn(arguments[0], "rpc"), kAnyLoopbackPort};
  options.handlers = {{kShard, [&](const Frame& request, const Network::Reply& reply) {
                         const bool pull = request.type >= kPull;
                         const size_t at = (request.type - (pull ? kPull : kPush)) * kChunkBytes / sizeof(float);
                         if (at >= link_weights.size()) return reply(absl::OutOfRangeError("a chunk that is not there"));
                         if (pull) return reply(Frame{1, {}, {Block::Copy(&link_weights[at], kChunkBytes)}});
                         if (request.bulk.size() != 1 || !request.bulk[0].IsArrayOf<float>())
                           return reply(absl::InvalidArgumentError("a push is one array of floats"));
                         ApplySgd(link_weights.subspan(at), request.bulk[0].As<float>());
                         reply(Frame{});
                       }}};
  RpcNetwork::Options with_tls = options;
  with_tls.listen = {kAnyLoopbackPort};
  const absl::StatusOr<TlsCertificates> certificates = ReadTlsFolder(TlsFolder(arguments[0]));
  if (!certificates.ok()) return 1;
  with_tls.tls = *certificates;
  const auto context = TlsContext::Make(*certificates);
  const auto network = RpcNetwork::Start(std::move(options)), tls_network = RpcNetwork::Start(std::move(with_tls));
  if (!network.ok() || !tls_network.ok() || !context.ok()) return 1;
  const auto local = BareSocket::Connect(PlaceIn(arguments[0], "bare")), tcp = BareSocket::Connect(arguments[1]);
  auto tls = BareSocket::Connect(arguments[2]);
  if (!local.ok() || !tcp.ok() || !tls.ok() || !tls->BeginTls(**context, TlsStream::Side::kClient).ok()) return 1;
  for (std::string place : {(*network)->places()[1], (*tls_network)->places()[0]}) {
    place.resize(kPlaceBytes);
    if (!local->WriteAll(place.data(), kPlaceBytes)) return 1;
  }
  for (;;) {   // an order has been read whole before the next is asked for, so that none waits inside of TLS
    pollfd asked[3] = {{local->fd(), POLLIN, 0}, {tcp->fd(), POLLIN, 0}, {tls->fd(), POLLIN, 0}};
    ::poll(asked, 3, -1);
    if (!(asked[0].revents != 0 ? *local : asked[1].revents != 0 ? *tcp : *tls).Answer(bare_weights)) return 0;
  }
}

}   // namespace troupe
