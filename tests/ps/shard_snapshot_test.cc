// The shard's actor writes what has changed since a checkpoint that stands, and goes on from one.
#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/ask.h"
#include "actors/text.h"
#include "ps/shard_actor.h"
#include "ps/snapshot_parts.h"

namespace troupe {
namespace {

struct Fixture {
  System system{{.compute_threads = 1}};
  ShardActorOptions options;
  ShardActor shard;

  Fixture() {
    options.shard = {.tables = {{.name = "w", .width = 4, .rows = 10'000, .rule = "adagrad", .rule_options = {}, .ranges = 100}},
                     .shard = 0,
                     .shards = 1,
                     .writers = 1,
                     .consistency = Consistency{.kind = Consistency::Kind::kAsp}};
    Spawn();
  }
  ~Fixture() { system.Stop(caf::actor_cast<caf::actor>(shard)); }
  void Spawn() {
    if (shard) system.Stop(caf::actor_cast<caf::actor>(shard));
    auto spawned = SpawnShard(system, options);
    BOOST_REQUIRE_MESSAGE(spawned.ok(), spawned.status().ToString());
    shard = *spawned;
  }
  void Set(Key row, float value) {
    const Assign assign{.table = 0, .keys = Block::Adopt(std::vector<Key>{row}), .values = Block::Adopt(std::vector<float>(4, value))};
    BOOST_REQUIRE(Ask<Assigned>(system, shard, assign).ok());
  }
  static std::string Uri(uint64_t id) { return absl::StrCat("mem:/c/shard-0.", id, ".snapshot"); }
  absl::StatusOr<SnapshotTaken> Take(uint64_t id, uint64_t base, bool in_parts = true) {
    return Ask<SnapshotTaken>(system, shard, TakeSnapshot{.uri = Uri(id), .at = 0, .in_parts = in_parts, .base = base == 0 ? "" : Uri(base)});
  }
  std::string Files(uint64_t id, uint64_t base) {
    const auto taken = Take(id, base);
    BOOST_REQUIRE_MESSAGE(taken.ok(), taken.status().ToString());
    return absl::StrJoin(taken->files, " ");
  }
  float Value(uint64_t id, Key row) {
    const auto sections = ReadPlacedSnapshot(system.storage(), Uri(id));
    BOOST_REQUIRE_MESSAGE(sections.ok(), sections.status().ToString());
    Shard read = *Shard::Make(options.shard);
    BOOST_REQUIRE(read.Load(*sections).ok());
    std::vector<float> values(4);
    BOOST_REQUIRE(read.tables()[0].Pull(static_cast<uint32_t>(row / 100), std::vector<Key>{row}, values.data()).ok());
    return values[2];
  }
};

BOOST_AUTO_TEST_SUITE(ShardSnapshotTest)

BOOST_FIXTURE_TEST_CASE(what_has_not_changed_since_the_one_that_stands_is_not_written_again, Fixture) {
  Set(7, 1);
  const auto first = Take(1, 0);
  BOOST_REQUIRE(first.ok());
  BOOST_TEST(absl::StrJoin(first->files, " ") == "shard-0.1.snapshot");
  Set(7, 2);
  const auto second = Take(2, 1);
  BOOST_REQUIRE(second.ok());
  BOOST_TEST(absl::StrJoin(second->files, " ") == "shard-0.1.snapshot shard-0.2.snapshot");
  BOOST_TEST(second->bytes * 10 < first->bytes);
  BOOST_TEST(Value(1, 7) == 1.0F);
  BOOST_TEST(Value(2, 7) == 2.0F);
  // 2 came to nothing, says the trainer: the shard does not know 1 any more, and writes all.
  BOOST_TEST(Files(3, 1) == "shard-0.3.snapshot");
  BOOST_TEST(Files(4, 3) == "shard-0.3.snapshot shard-0.4.snapshot");
  BOOST_TEST(Files(5, 0) == "shard-0.5.snapshot");
}

BOOST_FIXTURE_TEST_CASE(one_that_is_asked_for_again_is_answered_as_before_and_nothing_that_stands_is_written_over, Fixture) {
  Set(7, 1);
  BOOST_REQUIRE(Take(1, 0).ok());
  BOOST_TEST(Files(2, 1) == "shard-0.1.snapshot shard-0.2.snapshot");
  Set(7, 2);
  BOOST_TEST(Files(2, 1) == "shard-0.1.snapshot shard-0.2.snapshot");   // a message that came twice, or whose answer was lost
  BOOST_TEST(Value(2, 7) == 1.0F);
  BOOST_TEST(Files(3, 2) == "shard-0.1.snapshot shard-0.3.snapshot");
  const auto late = Take(1, 0);
  BOOST_TEST(absl::IsAborted(late.status()));
  BOOST_TEST(Message(late.status()) == Uri(1) + ": was written before the last one: whoever wants it anew has an answer");
  BOOST_TEST(Value(1, 7) == 1.0F);
  BOOST_TEST(Value(3, 7) == 2.0F);
  BOOST_TEST(Files(4, 3) == "shard-0.1.snapshot shard-0.3.snapshot shard-0.4.snapshot");   // what the last one has is known still
}

BOOST_FIXTURE_TEST_CASE(a_snapshot_that_is_one_file_is_that_whatever_was_before, Fixture) {
  BOOST_REQUIRE(Take(1, 0).ok());
  const auto whole = Take(2, 1, false);
  BOOST_REQUIRE(whole.ok());
  BOOST_TEST(whole->files.empty());
  const auto sections = ReadSnapshot(system.storage(), Uri(2));
  BOOST_REQUIRE(sections.ok());
  for (const SnapshotSection& section : *sections) BOOST_TEST(!section.name.starts_with("at/"));
  BOOST_TEST(Files(3, 1) == "shard-0.1.snapshot shard-0.3.snapshot");
}

BOOST_FIXTURE_TEST_CASE(a_shard_goes_on_from_what_it_began_with, Fixture) {
  Set(7, 1);
  BOOST_REQUIRE(Take(1, 0).ok());
  Set(307, 3);
  BOOST_REQUIRE(Take(2, 1).ok());
  options.restore_uri = Uri(2);
  Spawn();
  Set(9, 5);
  BOOST_TEST(Files(3, 2) == "shard-0.1.snapshot shard-0.2.snapshot shard-0.3.snapshot");
  BOOST_TEST(Value(3, 7) == 1.0F);
  BOOST_TEST(Value(3, 307) == 3.0F);
  BOOST_TEST(Value(3, 9) == 5.0F);
}

BOOST_FIXTURE_TEST_CASE(a_disk_that_is_full_is_said_and_the_next_one_is_written, Fixture) {
  BOOST_REQUIRE(Take(1, 0).ok());
  BOOST_REQUIRE(system.storage().Write(Uri(2) + "/in-the-way", {}, false).ok());   // a folder where the file would be
  Set(7, 2);
  BOOST_TEST(!Take(2, 1).ok());
  BOOST_TEST(Files(3, 1) == "shard-0.1.snapshot shard-0.3.snapshot");
  BOOST_TEST(Value(3, 7) == 2.0F);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
