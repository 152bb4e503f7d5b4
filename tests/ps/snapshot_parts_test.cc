// States in parts: read back they are the whole state, and only what has changed is written again.
#include "ps/snapshot_parts.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/text.h"
#include "tests/support/shard_job.h"

namespace troupe {
namespace {

using Job = testing::ShardJob;
using testing::kWriters;

constexpr char kFirst[] = "mem:/c/shard-0.1.snapshot", kSecond[] = "mem:/c/shard-0.2.snapshot", kThird[] = "mem:/c/shard-0.3.snapshot";

std::vector<SnapshotSection> SectionsOf(Storage& storage, const std::string& uri) {
  auto sections = ReadSnapshot(storage, uri);
  BOOST_REQUIRE_MESSAGE(sections.ok(), sections.status().ToString());
  return *std::move(sections);
}

/// One sparse table of 200 ranges with some rows in each, and a dense one.
struct Wide {
  std::vector<TableSpec> tables{{.name = "s", .width = 4, .rows = {}, .rule = "adagrad", .rule_options = {}, .ranges = 200},
                                {.name = "d", .width = 2, .rows = 2'000, .rule = "adam", .rule_options = {}, .ranges = 100}};
  Shard shard = *Shard::Make({.tables = tables, .shard = 0, .shards = 1, .writers = 1, .consistency = Consistency{.kind = Consistency::Kind::kAsp}});
  Router router{tables, 1};
  uint64_t pushes = 0;
  std::vector<Sequence> last = std::vector<Sequence>(router.slots());
  std::unique_ptr<Storage> storage = MakeMemoryStorage();

  void Push(uint32_t table, std::vector<Key> keys) {
    TablePush rows{.table = table, .keys = std::move(keys), .values = {}, .nonzeros = {}};
    rows.values.assign(rows.keys.size() * tables[table].width, 0.25F * static_cast<float>(1 + pushes % 3));
    rows.nonzeros.assign(rows.keys.size(), 1);
    std::vector<TablePush> all;
    all.push_back(std::move(rows));
    RoutedPush routed = router.Push(std::move(all));
    const Round round = MakeRound(1, ++pushes);
    for (PushPart& part : routed.shards[0][0].parts) {
      part.sequence = round << 8;
      part.previous = std::exchange(last[router.Slot(part.table, part.range)], part.sequence);
    }
    const auto pushed = shard.OnPush({.writer = WriterId{0},
                                      .round = round,
                                      .previous = pushes == 1 ? kFirstRound : MakeRound(1, pushes - 1),
                                      .parts = Block::Adopt(std::move(routed.shards[0][0].parts)),
                                      .keys = routed.shards[0][0].keys,
                                      .values = routed.shards[0][0].values});
    BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
    BOOST_REQUIRE((pushed->outcome == Pushed::Outcome::kApplied));
  }
  void Fill() {
    std::vector<Key> keys(20'000), rows(2'000);
    for (Key key = 0; key < keys.size(); ++key) keys[key] = key;
    for (Key row = 0; row < rows.size(); ++row) rows[row] = row;
    Push(0, keys);
    Push(1, rows);
  }
  WrittenParts Write(const std::string& uri, const SnapshotRecord* base, uint64_t part_bytes = kPartBytes) {
    ShardView view = shard.View();
    auto written = WriteParts(*storage, uri, view, base, part_bytes);
    BOOST_REQUIRE_MESSAGE(written.ok(), written.status().ToString());
    CheckWhole(uri);
    return *std::move(written);
  }
  /// What is there is what the shard is, and another one goes on from it.
  void CheckWhole(const std::string& uri) {
    const auto read = ReadPlacedSnapshot(*storage, uri);
    BOOST_REQUIRE_MESSAGE(read.ok(), read.status().ToString());
    BOOST_TEST(Job::Same(*read, shard.Save()));
    Shard other = *Shard::Make(shard.options());
    BOOST_REQUIRE(other.Load(*read).ok());
    BOOST_TEST(Job::Same(other.Save(), shard.Save()));
  }
};

BOOST_AUTO_TEST_SUITE(SnapshotPartsTest)

BOOST_AUTO_TEST_CASE(rows_of_few_bytes_are_in_each_file_and_are_not_referred_to) {   // whoever keeps the files that are referred to would not know of them
  const TableSpec spec{.name = "s", .width = 4, .rows = {}, .rule = "adagrad", .rule_options = {}, .ranges = 20};
  const Shard shard = *Shard::Make({.tables = {spec}, .shard = 0, .shards = 1, .writers = 1, .consistency = Consistency{.kind = Consistency::Kind::kAsp}});
  const auto storage = MakeMemoryStorage();
  ShardView view = shard.View();
  const auto first = WriteParts(*storage, kFirst, view, nullptr);
  BOOST_REQUIRE(first.ok());
  BOOST_TEST(FilesOf(*ReadPlaces(*storage, kFirst))->empty());
  ShardView again = shard.View();
  const auto second = WriteParts(*storage, kSecond, again, &first->record);
  BOOST_REQUIRE(second.ok());
  BOOST_TEST(absl::StrJoin(second->files, " ") == "shard-0.2.snapshot");
  BOOST_TEST(ReadPlacedSnapshot(*storage, kSecond)->size() == ReadPlacedSnapshot(*storage, kFirst)->size());
}

BOOST_AUTO_TEST_CASE(a_large_state_is_several_files_and_a_small_one_is_one) {
  Wide wide;
  wide.Fill();
  const WrittenParts one = wide.Write(kFirst, nullptr);
  BOOST_TEST(absl::StrJoin(one.files, " ") == "shard-0.1.snapshot");
  const WrittenParts several = wide.Write(kSecond, nullptr, 300'000);
  BOOST_TEST(absl::StrJoin(several.files, " ") == "shard-0.2.1.part shard-0.2.2.part shard-0.2.snapshot");
  BOOST_TEST(absl::StrJoin(*wide.storage->List("mem:/c"), " ") == "shard-0.1.snapshot shard-0.2.1.part shard-0.2.2.part shard-0.2.snapshot");
  BOOST_TEST(several.bytes >= one.bytes);
}

BOOST_AUTO_TEST_CASE(of_a_table_of_which_one_percent_of_ranges_changed_one_percent_is_written) {
  Wide wide;
  wide.Fill();
  const WrittenParts first = wide.Write(kFirst, nullptr);
  wide.Push(0, {3, 4});   // two ranges of 200
  wide.Push(1, {7});      // one of 100
  const WrittenParts second = wide.Write(kSecond, &first.record);
  BOOST_TEST_MESSAGE("first " << first.bytes << " bytes, second " << second.bytes);
  BOOST_TEST(absl::StrJoin(second.files, " ") == "shard-0.1.snapshot shard-0.2.snapshot");
  uint64_t rows = 0, said = 0;   // of the second's file: rows, and what it says of other ranges
  for (const SnapshotSection& section : SectionsOf(*wide.storage, kSecond)) {
    if (section.name.starts_with("table/")) rows += section.bytes.size();
    said += section.name.starts_with("at/");
  }
  BOOST_TEST(said == 297u);
  BOOST_TEST(rows * 50 < first.bytes);
  // Nothing has changed; and a third one refers to where the bytes are, not to the second.
  const WrittenParts third = wide.Write(kThird, &second.record);
  BOOST_TEST(absl::StrJoin(third.files, " ") == "shard-0.1.snapshot shard-0.2.snapshot shard-0.3.snapshot");
  for (const SnapshotSection& section : SectionsOf(*wide.storage, kThird)) BOOST_TEST(!section.name.starts_with("table/"));
}

BOOST_AUTO_TEST_CASE(a_file_that_is_mostly_out_of_date_is_not_kept_for_the_rest) {
  Wide wide;
  wide.Fill();
  const WrittenParts first = wide.Write(kFirst, nullptr);
  std::vector<Key> half(300), rows(2'000);   // of 200 ranges about three quarters
  for (Key key = 0; key < half.size(); ++key) half[key] = key;
  for (Key row = 0; row < rows.size(); ++row) rows[row] = row;
  wide.Push(0, half);
  wide.Push(1, rows);
  const WrittenParts second = wide.Write(kSecond, &first.record);
  BOOST_TEST(absl::StrJoin(second.files, " ") == "shard-0.2.snapshot");
}

BOOST_AUTO_TEST_CASE(whatever_writes_to_ranges_is_noticed) {
  for (const Consistency::Kind kind : {Consistency::Kind::kBsp, Consistency::Kind::kAsp}) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      const std::string about = absl::StrCat("seed ", seed);
      Job job({.kind = kind}, 2, seed);   // with a branch, limits, and moves of ranges
      const auto storage = MakeMemoryStorage();
      std::vector<SnapshotRecord> records(2);
      for (uint64_t id = 1; id <= 12; ++id) {
        const bool forks = job.random.Below(3) == 0;
        for (uint32_t writer = 0; writer < kWriters && job.random.Below(4) != 0; ++writer) {
          for (uint32_t other = 0; other < kWriters; ++other) job.PushRound(other, forks && other == 0 ? job.Fork() : nullptr);
        }
        if (job.random.Below(3) == 0) job.Move(job.random.Below(3) != 0);
        if (job.random.Below(4) == 0) BOOST_REQUIRE(job.all[0].OnAssign({.table = 0, .keys = {}, .values = {}}).ok());
        for (uint32_t s = 0; s < 2; ++s) {
          const std::string uri = absl::StrCat("mem:/c/shard-", s, ".", id, ".snapshot");
          ShardView view = job.all[s].View();
          // Shards that were replaced (by Move) have versions of another life.
          auto written = WriteParts(*storage, uri, view, nullptr, 400);
          BOOST_REQUIRE(written.ok());
          Shard again = job.Make(s, 2);
          BOOST_REQUIRE(again.Load(*ReadPlacedSnapshot(*storage, uri)).ok());
          BOOST_TEST(Job::Same(again.Save(), job.all[s].Save()), about);
          job.all[s] = std::move(again);
          auto record = RecordOf(*storage, uri, job.all[s].tables());
          BOOST_REQUIRE(record.ok());
          records[s] = *std::move(record);
        }
        // On from what each has just begun with, without any other life in between.
        for (uint32_t writer = 0; writer < kWriters; ++writer) job.PushRound(writer, job.random.Below(3) == 0 && writer == 0 ? job.Fork() : nullptr);
        for (uint32_t s = 0; s < 2; ++s) {
          const std::string uri = absl::StrCat("mem:/c/shard-", s, ".", id, "-b.snapshot");
          ShardView view = job.all[s].View();
          BOOST_REQUIRE(WriteParts(*storage, uri, view, &records[s], 400).ok());
          const auto read = ReadPlacedSnapshot(*storage, uri);
          BOOST_REQUIRE_MESSAGE(read.ok(), read.status().ToString());
          BOOST_TEST(Job::Same(*read, job.all[s].Save()), about);
        }
      }
      job.Compare(about);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_view_is_of_its_moment_whatever_another_thread_does_with_it) {
  Wide wide;
  wide.Fill();
  for (int turn = 0; turn < 20; ++turn) {
    const std::vector<SnapshotSection> expected = wide.shard.Save();
    ShardView view = wide.shard.View();
    std::vector<SnapshotSection> taken;
    std::thread writes([&] { taken = view.TakeAll(); });
    for (Key key = 0; key < 300; ++key) {
      wide.Push(0, {key, key + 1'000, 100'000 + key});
      wide.Push(1, {key});
    }
    writes.join();
    BOOST_TEST(Job::Same(taken, expected));
  }
}

BOOST_AUTO_TEST_CASE(errors_of_the_disk_are_the_writers) {
  Wide wide;
  wide.Fill();
  for (const uint64_t part_bytes : {kPartBytes, uint64_t{100'000}}) {
    const auto full = MakeMemoryStorage(150'000);
    ShardView view = wide.shard.View();
    BOOST_TEST(absl::IsResourceExhausted(WriteParts(*full, kFirst, view, nullptr, part_bytes).status()));
    BOOST_TEST(!*full->Exists(kFirst));
  }
  BOOST_TEST(absl::IsNotFound(RecordOf(*wide.storage, kFirst, wide.shard.tables()).status()));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
