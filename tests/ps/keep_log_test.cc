// A shard that is told to log, as the last of a chain is (KeepLog): what it does where its log fails.
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "actors/ask.h"
#include "actors/status.h"
#include "actors/stop_actors.h"
#include "actors/storage/scratch_folder.h"
#include "actors/system.h"
#include "ps/shard_actor.h"

namespace troupe {
namespace {

struct Fixture {
  System system{{.compute_threads = 1}};
  ScratchFolder folder = *ScratchFolder::Make();
  ShardActorOptions options;
  const KeepLog keep{.uri = "mem:shard.1", .folder = folder.path(), .name = "shard-0.e1"};

  Fixture() {
    options.shard.tables = {TableSpec{.name = "w", .width = 1, .rows = 8, .rule = "add", .rule_options = {}, .ranges = 1}};
    options.shard.consistency = Consistency{.kind = Consistency::Kind::kAsp};
    options.snapshot_interval = std::chrono::hours(1);
  }
  absl::Status Keeps(const ShardActor& shard) { return Ask<LogKept>(system, caf::actor_cast<caf::actor>(shard), keep).status(); }
  /// The n-th file of the log has no room.
  void Full(int n) const { std::filesystem::create_symlink("/dev/full", File(n)); }
  std::string File(int n) const { return folder.path() + "/shard-0.e1." + std::to_string(n) + ".log"; }
  absl::Status Pushes(const ShardActor& shard, Round round) {
    Push push;
    push.round = MakeRound(1, round);
    push.previous = round == 1 ? kFirstRound : MakeRound(1, round - 1);
    const Sequence sequence = push.round << 8, before = round == 1 ? 0 : push.previous << 8;
    push.parts = Block::Adopt(
        std::vector<PushPart>{{.table = 0, .range = 0, .sequence = sequence, .previous = before, .first = 0, .count = 1, .dense = 0, .nonzeros = 1}});
    push.keys = Block::Adopt(std::vector<Key>{3});
    push.values = Block::Adopt(std::vector<float>{1});
    return Ask<Pushed>(system, shard, push).status();
  }
  absl::Status Assigns(const ShardActor& shard, float value) {
    return Ask<Assigned>(system, shard, Assign{.table = 0, .keys = Block::Adopt(std::vector<Key>{5}), .values = Block::Adopt(std::vector<float>{value})})
        .status();
  }
  std::vector<float> Rows(const ShardActor& shard) {
    Pull pull;
    pull.parts = Block::Adopt(std::vector<PullPart>{{.table = 0, .range = 0, .first = 0, .count = 8, .dense = 1}});
    pull.round = MakeRound(1, 0);
    const auto pulled = Ask<Pulled>(system, shard, pull);
    BOOST_REQUIRE_MESSAGE(pulled.ok(), pulled.status().ToString());
    const auto values = pulled->values.As<float>();
    return {values.begin(), values.end()};
  }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(KeepLogSuite, Fixture)

/// Others have been told the same, and may go on without this one.
BOOST_AUTO_TEST_CASE(what_it_is_told_is_applied_and_refused_and_in_the_log_when_it_has_begun_again) {
  const ShardActor shard = *SpawnShard(system, options);
  BOOST_REQUIRE(Keeps(shard).ok());
  Full(2);
  for (const Round round : {1, 2, 3}) {
    const absl::Status status = Pushes(shard, round);
    BOOST_TEST(absl::IsResourceExhausted(status), status.ToString());
    BOOST_TEST(std::string(status.message()) == "shard 0 cannot write its log: " + File(2) + ": no space left on device");
  }
  BOOST_TEST(absl::IsResourceExhausted(Assigns(shard, 7)));
  BOOST_TEST(Rows(shard) == (std::vector<float>{0, 0, 0, 3, 0, 7, 0, 0}), boost::test_tools::per_element());
  Full(3);   // a snapshot has room, the log has none
  BOOST_REQUIRE(Keeps(shard).ok());
  BOOST_TEST(Pushes(shard, 3).ok());   // which is there already, and needs nothing in the log
  BOOST_TEST(Ask<Opened>(system, shard, Open{}).ok());
  BOOST_TEST(absl::IsResourceExhausted(Pushes(shard, 4)));
  BOOST_REQUIRE(Keeps(shard).ok());
  BOOST_TEST(Pushes(shard, 4).ok());
  BOOST_TEST(Pushes(shard, 5).ok());
  BOOST_TEST(Assigns(shard, 8).ok());
  BOOST_TEST((!std::filesystem::exists(File(2)) && !std::filesystem::exists(File(3)) && std::filesystem::exists(File(4))));
  StopAndWait(system, std::vector{shard});
  options.snapshot_uri = keep.uri;
  options.log_folder = keep.folder;
  options.log_name = keep.name;
  const auto again = SpawnShard(system, options);
  BOOST_REQUIRE_MESSAGE(again.ok(), again.status().ToString());
  BOOST_TEST(Rows(*again) == (std::vector<float>{0, 0, 0, 5, 0, 8, 0, 0}), boost::test_tools::per_element());
  StopAndWait(system, std::vector{*again});
}

/// Without a chain around it, it begins again by itself.
BOOST_AUTO_TEST_CASE(a_shard_that_is_alone_goes_on_when_there_is_room) {
  options.snapshot_uri = "mem:alone";
  options.log_folder = folder.path();
  options.log_retry = std::chrono::milliseconds(20);
  const ShardActor shard = *SpawnShard(system, options);
  BOOST_TEST(Pushes(shard, 1).ok());
  std::filesystem::create_symlink("/dev/full", folder.path() + "/shard-0.3.log");
  BOOST_TEST(Pushes(shard, 2).ok());   // to the file that is open
  BOOST_TEST(Ask<SnapshotTaken>(system, shard, TakeSnapshot{.uri = "mem:alone"}).ok());
  const absl::Status status = Pushes(shard, 3);
  BOOST_TEST(absl::IsResourceExhausted(status), status.ToString());
  absl::Status again = Pushes(shard, 3);
  for (int attempt = 0; attempt < 500 && !again.ok(); ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    again = Pushes(shard, 3);
  }
  BOOST_TEST(again.ok(), again.ToString());
  BOOST_TEST(Pushes(shard, 4).ok());
  StopAndWait(system, std::vector{shard});
  const auto there = SpawnShard(system, options);
  BOOST_REQUIRE_MESSAGE(there.ok(), there.status().ToString());
  BOOST_TEST(Rows(*there)[3] == 4.0F);
  StopAndWait(system, std::vector{*there});
}

BOOST_AUTO_TEST_CASE(where_its_snapshot_has_no_room_either_it_has_not_begun_again) {
  system.SetStorage(MakeMemoryStorage(16));
  const ShardActor shard = *SpawnShard(system, options);
  for (int attempt = 0; attempt < 3; ++attempt) {
    const absl::Status status = Keeps(shard);
    BOOST_TEST(absl::IsResourceExhausted(status), status.ToString());
    BOOST_TEST(std::string(status.message()).starts_with("shard 0 cannot begin its log: "), status.ToString());
    BOOST_TEST(absl::IsResourceExhausted(Pushes(shard, 1)));
  }
  StopAndWait(system, std::vector{shard});
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
