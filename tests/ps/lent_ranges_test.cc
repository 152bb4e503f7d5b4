// Whole tables pulled over links while somebody pushes: each range is what it was at one moment, wherever it lay when it was sent.
#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <thread>

#include "actors/proxy.h"
#include "actors/rpc_network.h"
#include "actors/storage/scratch_folder.h"
#include "ps/partition.h"
#include "ps/shard_actor.h"
#include "ps/table_set_actor.h"
#include "ps/wire.h"

namespace troupe {
namespace {

using std::chrono::seconds;

constexpr NodeId kShardNode{1};
constexpr ActorId kShard{7};

/// 64 ranges of 128 KiB, which are worth lending; a push of all -1 adds 1 to each number.
TableSpec Spec() {
  return {.name = "w", .width = 1, .rows = 1 << 21, .rule = "sgd", .rule_options = {{"learning_rate", 1}}, .ranges = 64};
}

/// A process's system with its network, but for the process.
struct Node {
  Node(NodeId node, std::vector<std::string> listen) : system({.node = node, .compute_threads = 1}) {
    auto made = RpcNetwork::Start({.node = system.node(),
                                   .incarnation = system.incarnation(),
                                   .cluster_id = "test",
                                   .token = {},
                                   .build_id = {},
                                   .listen = std::move(listen),
                                   .run = [this](const std::function<void()>& calls) { system.RunOnLink(calls); }});
    BOOST_REQUIRE_MESSAGE(made.ok(), made.status().ToString());
    places = (*made)->places();
    system.SetNetwork(*std::move(made));
  }
  System system;
  std::vector<std::string> places;
};

/// Pulls all of it again and again over `place` while another one pushes to it.
void PullBesidePushes(const std::string& listen) {
  constexpr int kPulls = 15;
  Node there(kShardNode, {listen}), here(NodeId{0}, {});
  ShardActorOptions options;
  options.shard = {
      .tables = {Spec()}, .shard = 0, .shards = 1, .writers = 2, .consistency = Consistency{.kind = Consistency::Kind::kAsp}, .stable_when_applied = true};
  const auto shard = SpawnShard(there.system, options);
  BOOST_REQUIRE(shard.ok());
  Expose(there.system, kShard, *shard);
  here.system.network().Locate(kShardNode, there.places);
  const ShardActor proxy = SpawnProxy<ShardActor>(here.system, {.to = {kShardNode, Incarnation{0}, kShard}, .timeout = seconds(20)});
  const auto pushing = MakeTableSet(there.system, {*shard}, {.tables = {Spec()}}, WriterId{0});
  const auto pulling = MakeTableSet(here.system, {proxy}, {.tables = {Spec()}}, WriterId{1});
  const TableRef pushed = *pushing->Find("w"), pulled = *pulling->Find("w");

  std::atomic<bool> over{false};
  std::atomic<int> pushes{0};
  std::thread pusher([&] {
    const Block ones = Block::Adopt(std::vector<float>(*Spec().rows, -1.0f));
    while (!over && pushed.PushAll(ones).Wait(seconds(20)).ok()) ++pushes;
  });
  const Partition partition(Spec(), 1);
  std::vector<float> all, least(partition.ranges(), 0);
  const auto pull = [&] {
    BOOST_REQUIRE(pulled.PullAll(all).ok());
    size_t torn = 0, went_back = 0;
    for (uint32_t range = 0; range < partition.ranges(); ++range) {
      const std::span<const float> rows(all.data() + partition.FirstRow(range), partition.RowsIn(range));
      torn += std::ranges::any_of(rows, [&](float x) { return x != rows[0]; });
      went_back += rows[0] < least[range];
      least[range] = rows[0];
    }
    BOOST_TEST(torn == 0u);
    BOOST_TEST(went_back == 0u);
  };
  for (int i = 0; i < kPulls; ++i) pull();
  over = true;
  pusher.join();
  pull();
  BOOST_TEST(pushes > 0);
  BOOST_TEST(std::ranges::count(all, static_cast<float>(pushes)) == static_cast<std::ptrdiff_t>(all.size()));
  there.system.Stop(*shard);
  here.system.Stop(proxy);
}

}   // namespace

BOOST_AUTO_TEST_SUITE(LentRanges)

BOOST_AUTO_TEST_CASE(a_range_is_not_torn_on_its_way_through_a_socket) {
  PullBesidePushes("tcp:127.0.0.1:0");
}

BOOST_AUTO_TEST_CASE(nor_on_its_way_through_shared_memory) {
  const auto folder = ScratchFolder::Make();
  BOOST_REQUIRE(folder.ok());
  PullBesidePushes("unix:" + folder->path() + "/shard");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
