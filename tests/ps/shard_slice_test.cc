// A shard's state in slices, taken while it goes on: whoever is told what it is told has its rows at the end, to the bit.
#include <boost/test/unit_test.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/random.h"
#include "actors/text.h"
#include "ps/internal/shard_sections.h"
#include "tests/support/shard_job.h"

namespace troupe::testing {
namespace {

bool Says(const absl::Status& status, const std::string& what) {
  return absl::IsInvalidArgument(status) && std::string(Message(status)).find(what) != std::string::npos;
}

/// The job's one shard gives its state to another while writers push, functions change tables, and rounds are held back.
void Give(const Consistency& consistency, uint64_t seed) {
  ShardJob job(consistency, 1, seed);
  Shard& giver = job.all[0];
  std::optional<Shard> joiner;
  const std::string about = absl::StrCat("seed ", seed, ", ", ToString(consistency));
  const auto push = [&] {
    const auto writer = static_cast<uint32_t>(job.random.Below(kWriters));
    if (consistency.in_rounds() && job.done[writer] > job.done[1 - writer]) return;   // at most one round ahead, as a pull would hold it
    const Round round = MakeRound(1, OrdinalOf(job.done[writer]) + 1);
    std::shared_ptr<const FunctionCall> change;
    const auto branch = static_cast<uint32_t>(job.tables.size() - 1);
    switch (job.random.Below(12)) {
      case 0:
        change = job.Fork();
        break;
      case 1:
        change = std::make_shared<const FunctionCall>(FunctionCall{.function = "merge", .tables = {0, branch}, .numbers = {{"weight", {0.25}}}});
        break;
      case 2:
        change = std::make_shared<const FunctionCall>(FunctionCall{.function = "drop", .tables = {branch}});
        break;
      case 3:
        change = std::make_shared<const FunctionCall>(FunctionCall{.function = "apply", .tables = {1}, .numbers = {{"by", {0.5}}}, .words = {{"op", "scale"}}});
        break;
      default:
        break;
    }
    const Push message = job.Messages(*job.router, writer, round, change)[0];
    const auto told = giver.OnPush(message);
    BOOST_REQUIRE_MESSAGE(told.ok(), about << ": " << told.status().ToString());
    if (joiner) BOOST_REQUIRE((joiner->OnPush(message)->outcome == told->outcome));
    job.Sent(writer, round, change);
  };
  const auto some_pushes = [&](uint64_t most) {
    for (uint64_t i = job.random.Below(most + 1); i > 0; --i) push();
  };
  some_pushes(20);
  const bool holds = consistency.in_rounds() && job.random.Below(2) == 0;
  if (holds) BOOST_REQUIRE(giver.HoldAfter(giver.applied()));   // a checkpoint begins
  some_pushes(3);
  const std::vector<SnapshotSection> state = giver.SaveForReplica();
  joiner.emplace(job.Make(0, 1));
  BOOST_REQUIRE(joiner->Load(state).ok());
  for (const Push& waiting : giver.Waiting()) BOOST_REQUIRE(joiner->OnPush(waiting).ok());
  some_pushes(3);
  uint32_t slices = 0;
  bool resumed = !holds;
  for (uint32_t first = 0; first < giver.ranges();) {
    if (!resumed && (giver.HoldsRounds() || job.random.Below(2) == 0)) {
      giver.Resume();
      resumed = true;
    }
    BOOST_REQUIRE(!giver.HoldsRounds());
    const uint32_t end = giver.SliceEnd(first, 1 + job.random.Below(400));
    BOOST_REQUIRE(end > first);
    const absl::Status taken = joiner->TakeSlice(giver.SaveSlice(first, end));
    BOOST_REQUIRE_MESSAGE(taken.ok(), about << ": " << taken.ToString());
    first = end;
    ++slices;
    some_pushes(4);
  }
  giver.Resume();
  some_pushes(4);
  BOOST_TEST(slices > 0u);
  BOOST_TEST(ShardJob::Same(giver.Save(), joiner->Save()), about);
  for (uint32_t table = 0; table < job.tables.size(); ++table) {
    for (uint32_t range = 0; range < job.tables[table].ranges; ++range) {
      const Shard::Digest a = giver.DigestOf(table, range), b = joiner->DigestOf(table, range);
      BOOST_TEST((a.rows == b.rows && a.clocks == b.clocks), about << ": table " << table << " range " << range);
    }
  }
  job.Compare(about);   // and with the one that was told everything from the start
}

BOOST_AUTO_TEST_SUITE(ShardSliceTest)

BOOST_AUTO_TEST_CASE(a_shard_that_takes_slices_between_pushes_becomes_the_one_that_gives_them) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Give({}, seed);
    Give({.kind = Consistency::Kind::kAsp}, seed);
  }
}

BOOST_AUTO_TEST_CASE(slices_are_of_about_the_bytes_asked_for) {
  ShardJob job({.kind = Consistency::Kind::kAsp}, 1, 1);
  for (int i = 0; i < 10; ++i) job.PushRound(0);
  const Shard& shard = job.all[0];
  BOOST_TEST(shard.ranges() == 6u);
  BOOST_TEST(shard.SliceEnd(0, 1) == 1u);
  BOOST_TEST(shard.SliceEnd(2, UINT64_MAX) == 6u);
  BOOST_TEST(shard.SliceEnd(6, 1) == 6u);
  uint64_t two = 0;
  for (const Table& table : shard.tables()) two += table.bytes(0) + table.bytes(1);
  BOOST_TEST(shard.SliceEnd(0, two) == 2u);
  BOOST_TEST(shard.SliceEnd(0, two + 1) == 3u);
}

BOOST_AUTO_TEST_CASE(slices_that_do_not_fit_are_refused) {
  ShardJob job({.kind = Consistency::Kind::kAsp}, 1, 1);
  job.PushRound(0);
  Shard other = job.Make(0, 1);
  BOOST_REQUIRE(other.Load(job.all[0].SaveForReplica()).ok());
  const std::vector<SnapshotSection> slice = job.all[0].SaveSlice(1, 3);
  BOOST_TEST(other.TakeSlice(slice).ok());
  BOOST_TEST(other.TakeSlice(job.all[0].SaveSlice(6, 6)).ok());   // there is nothing more
  std::vector<SnapshotSection> spoilt = slice;
  spoilt.erase(spoilt.begin());
  BOOST_TEST(Says(other.TakeSlice(spoilt), "does not say which"));
  spoilt = slice;
  spoilt[0].bytes = spoilt[0].bytes.Slice(0, 4);
  BOOST_TEST(Says(other.TakeSlice(spoilt), "does not say which"));
  const internal::SliceBounds beyond{0, 7}, backwards{2, 1};
  spoilt[0].bytes = Block::Copy(&beyond, sizeof beyond);
  BOOST_TEST(Says(other.TakeSlice(spoilt), "does not say which"));
  spoilt[0].bytes = Block::Copy(&backwards, sizeof backwards);
  BOOST_TEST(Says(other.TakeSlice(spoilt), "does not say which"));
  spoilt = slice;
  spoilt.pop_back();
  BOOST_TEST(Says(other.TakeSlice(spoilt), "lacks range 2 of table 'b'"));
  spoilt = slice;
  spoilt[1].bytes = spoilt[1].bytes.Slice(0, 10);
  BOOST_TEST(Says(other.TakeSlice(spoilt), "cut"));
  // A snapshot that is to be whole must be.
  std::vector<SnapshotSection> whole = job.all[0].SaveForReplica();
  std::erase_if(whole, [](const SnapshotSection& section) { return section.name == internal::kSlicesSection; });
  BOOST_TEST(Says(job.Make(0, 1).Load(whole), "lacks range"));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::testing
