// What a member that joins a chain costs those who push: the longest push while it is given the state, in slices and in one go (which is what it was before
// there were slices), beside pushes while nobody joins; and how long joining takes beside serialising and loading the same rows without a chain. usage:
// measure_joining [MIB [TURNS [RANGES]]]: 1024 MiB of rows of 64 floats, half of them dense; 3 turns; 512 ranges a table; both members in this process
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/ask.h"
#include "actors/random.h"
#include "actors/rpc_network.h"
#include "ps/chain_client_actor.h"
#include "ps/chain_keeper_actor.h"
#include "ps/chain_member_actor.h"
#include "ps/router.h"

namespace troupe {
namespace {

using Clock = std::chrono::steady_clock;
constexpr uint32_t kWidth = 64, kRowsAPush = 1'000;

double Since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}
double Median(std::vector<double> numbers) {
  std::nth_element(numbers.begin(), numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2), numbers.end());
  return numbers[numbers.size() / 2];
}
template <class T>
T Get(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
  std::_Exit(1);
}

/// One writer's pushes to one shard.
class Pusher {
 public:
  Pusher(const std::vector<TableSpec>& tables, uint64_t rows) : router_(tables, 1), rows_(rows), last_(router_.slots()) {}
  Push Next(const std::vector<Key>& keys) {
    std::vector<TablePush> tables(2);
    for (uint32_t t = 0; t < 2; ++t) {
      tables[t].table = t;
      tables[t].keys = keys;
      tables[t].values.assign(keys.size() * kWidth, 1e-3F);
      tables[t].nonzeros.assign(keys.size(), 1);
    }
    RoutedPush routed = router_.Push(std::move(tables));
    const Round before = round_ == 0 ? kFirstRound : MakeRound(1, round_), round = MakeRound(1, ++round_);
    RoutedPush::Chunk& chunk = routed.shards[0][0];
    for (PushPart& part : chunk.parts) {
      part.sequence = round << 8;
      part.previous = std::exchange(last_[router_.Slot(part.table, part.range)], part.sequence);
    }
    return {
        .writer = WriterId{0}, .round = round, .previous = before, .parts = Block::Adopt(std::move(chunk.parts)), .keys = chunk.keys, .values = chunk.values};
  }
  /// Every row once.
  template <class Take>
  void Fill(const Take& take) {
    for (Key first = 0; first < rows_; first += kRowsAPush) {
      std::vector<Key> keys;
      for (Key key = first; key < std::min<Key>(rows_, first + kRowsAPush); ++key) keys.push_back(key);
      take(Next(keys));
    }
  }
  std::vector<Key> AnyKeys() {
    std::vector<Key> keys(kRowsAPush);
    for (Key& key : keys) key = random_.Below(rows_);
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    return keys;
  }

 private:
  const Router router_;
  const uint64_t rows_;
  std::vector<Sequence> last_;
  uint64_t round_ = 0;
  Random random_{1};
};

/// A process of its own, but for the process.
struct Node {
  System system;
  Node(uint32_t number, const std::string& folder) : system({.node = NodeId{number}, .incarnation = Incarnation{1}, .compute_threads = 1}) {
    system.SetNetwork(Get(RpcNetwork::Start({.node = NodeId{number},
                                             .incarnation = Incarnation{1},
                                             .cluster_id = "bench",
                                             .token = "bench",
                                             .build_id = "bench",
                                             .listen = {absl::StrCat("unix:", folder, "/", number)},
                                             .run = [this](const std::function<void()>& calls) { system.RunOnLink(calls); }})));
    for (uint32_t other = 0; other < 3; ++other) {
      if (other != number) system.network().Locate(NodeId{other}, {absl::StrCat("unix:", folder, "/", other)});
    }
  }
};

struct Times {
  double join_s = 0, longest_ms = 0, calm_ms = 0, pushes_per_s = 0, calm_per_s = 0;
};

/// A chain of one that another one joins.
Times Run(const ShardOptions& shard, uint64_t rows, uint64_t slice_bytes) {
  std::string folder = (std::filesystem::temp_directory_path() / "troupe-joining-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) std::_Exit(1);
  Times times;
  {
    Node driver(0, folder), first(1, folder), second(2, folder);
    std::vector<std::pair<Node*, ChainMemberActor>> members;
    for (Node* node : {&first, &second}) {
      ChainMemberOptions options{.shard = {.shard = shard, .snapshot_uri = {}, .snapshot_interval = {}, .restore_uri = {}},
                                 .self = {node->system.node(), node->system.incarnation()},
                                 .failed = [](const std::string& what) {
                                   std::fprintf(stderr, "%s\n", what.c_str());
                                   std::_Exit(1);
                                 }};
      options.slice_bytes = slice_bytes;
      members.emplace_back(node, Get(SpawnChainMember(node->system, options)));
    }
    const ShardActor client = SpawnChainClient(driver.system, {.request_timeout = std::chrono::minutes(1)});
    std::atomic<size_t> size{0};
    ChainKeepersOptions keeper;
    keeper.routed = [&client](const ChainRoute& route) { SetRoute(client, route); };
    keeper.changed = [&size](uint32_t, const ChainView& view) { size = view.members.size(); };
    keeper.failed = [](const absl::Status& status) { Get(absl::StatusOr<int>(status)); };
    auto chains = std::make_unique<ChainKeepers>(driver.system, keeper);
    Pusher pusher(shard.tables, rows);
    const auto push = [&](const Push& message) {   // by another route it is known already, or asked for again
      for (;;) {
        const auto pushed = Ask<Pushed>(driver.system, client, message, std::chrono::minutes(1));
        if (pushed.ok() && pushed->outcome == Pushed::Outcome::kApplied) return;
        if (pushed.ok()) std::_Exit(3);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    };
    chains->Ready(0, {NodeId{1}, Incarnation{1}});
    pusher.Fill(push);
    const auto window = [&](const auto& over, double* longest, double* per_s) {
      uint64_t pushes = 0;
      const auto begin = Clock::now();
      while (!over()) {
        const Push message = pusher.Next(pusher.AnyKeys());
        const auto pushing = Clock::now();
        push(message);
        *longest = std::max(*longest, 1e3 * Since(pushing));
        ++pushes;
      }
      *per_s = static_cast<double>(pushes) / Since(begin);
      return Since(begin);
    };
    const auto begin = Clock::now();
    window([&] { return Since(begin) > 3; }, &times.calm_ms, &times.calm_per_s);
    chains->Ready(0, {NodeId{2}, Incarnation{1}});
    times.join_s = window([&] { return size == 2; }, &times.longest_ms, &times.pushes_per_s);
    driver.system.Stop(caf::actor_cast<caf::actor>(client));
    chains = nullptr;
    for (auto& [node, member] : members) node->system.Stop(caf::actor_cast<caf::actor>(member));
  }
  std::filesystem::remove_all(folder);
  return times;
}

/// The same rows from one plain shard to another: what no chain can do in less.
double PlainSeconds(const ShardOptions& options, uint64_t rows) {
  Shard from = Get(Shard::Make(options)), to = Get(Shard::Make(options));
  Pusher(options.tables, rows).Fill([&](const Push& push) { Get(from.OnPush(push)); });
  const auto begin = Clock::now();
  for (uint32_t first = 0; first < from.ranges();) {
    const uint32_t end = from.SliceEnd(first, 8 << 20);
    if (!to.TakeSlice(from.SaveSlice(first, end)).ok()) std::_Exit(4);
    first = end;
  }
  return Since(begin);
}

int Main(int argc, char** argv) {
  const uint64_t mib = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1024;
  const int turns = argc > 2 ? std::atoi(argv[2]) : 3;
  const auto ranges = static_cast<uint32_t>(argc > 3 ? std::atoi(argv[3]) : 512);
  const uint64_t rows = (mib << 20) / 2 / (kWidth * sizeof(float));
  ShardOptions options{.tables = {{.name = "dense", .width = kWidth, .rows = rows, .rule = "sgd", .rule_options = {}, .ranges = ranges},
                                  {.name = "sparse", .width = kWidth, .rows = {}, .rule = "sgd", .rule_options = {}, .ranges = ranges}},
                       .shard = 0,
                       .shards = 1,
                       .writers = 1,
                       .consistency = Consistency{.kind = Consistency::Kind::kAsp}};
  std::vector<double> join, longest, whole_longest, calm, plain;
  for (int turn = 0; turn < turns; ++turn) {
    const double alone = PlainSeconds(options, rows);
    const Times slices = Run(options, rows, 8 << 20), whole = Run(options, rows, UINT64_MAX);
    std::printf(
        "turn %d: in slices: joins in %.1f s, longest push %.0f ms, %.0f pushes/s; in one go: %.1f s, %.0f ms, %.0f pushes/s; nobody joins: %.0f ms, "
        "%.0f pushes/s; plain copy %.1f s\n",
        turn + 1, slices.join_s, slices.longest_ms, slices.pushes_per_s, whole.join_s, whole.longest_ms, whole.pushes_per_s, slices.calm_ms, slices.calm_per_s,
        alone);
    std::fflush(stdout);
    join.push_back(slices.join_s);
    longest.push_back(slices.longest_ms);
    whole_longest.push_back(whole.longest_ms);
    calm.push_back(slices.calm_ms);
    plain.push_back(alone);
  }
  std::printf(
      "%llu MiB, %u ranges a table: longest push %.0f ms while one joins, %.0f if the state were given in one go, %.0f while nobody does; joins in %.1f s, "
      "plain copy %.1f s, ratio %.2f\n",
      static_cast<unsigned long long>(mib), ranges, Median(longest), Median(whole_longest), Median(calm), Median(join), Median(plain),
      Median(join) / Median(plain));
  return 0;
}

}   // namespace
}   // namespace troupe

int main(int argc, char** argv) {
  return troupe::Main(argc, argv);
}
