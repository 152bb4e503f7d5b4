// Files of the last members of a chain: which are the newest, and which go.
#include "ps/chain/epoch_files.h"

#include <boost/test/unit_test.hpp>
#include <set>
#include <string>

#include "actors/storage/faulty.h"
#include "actors/storage/scratch_folder.h"
#include "actors/storage/storage.h"

namespace troupe {
namespace {

struct Folder {
  ScratchFolder scratch = *ScratchFolder::Make();
  std::unique_ptr<Storage> storage = MakeLocalStorage();
  const std::string uri = scratch.path() + "/shard-1.snapshot";

  void Write(const std::string& name) { BOOST_REQUIRE(storage->Write(scratch.path() + "/" + name, {}, false).ok()); }
  std::set<std::string> Names() {
    const auto names = storage->List(scratch.path());
    BOOST_REQUIRE(names.ok());
    return {names->begin(), names->end()};
  }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(EpochFilesTest, Folder)

BOOST_AUTO_TEST_CASE(the_newest_before_an_epoch_is_found_among_other_files) {
  BOOST_TEST(NewestEpoch(*storage, scratch.path() + "/none/shard-1.snapshot", 9).value() == 0u);
  BOOST_TEST(NewestEpoch(*storage, uri, 9).value() == 0u);
  for (const char* name : {"shard-1.snapshot", "shard-1.snapshot.", "shard-1.snapshot.x", "shard-1.snapshot.7.new", "shard-1.snapshot.-3",
                           "shard-11.snapshot.8", "shard-1.e6.1.log", "shard-1.snapshot.007"})
    Write(name);
  BOOST_TEST(NewestEpoch(*storage, uri, 9).value() == 0u);
  Write("shard-1.snapshot.3");
  Write("shard-1.snapshot.20");
  Write("shard-1.snapshot.4294967296");
  BOOST_TEST(NewestEpoch(*storage, uri, 3).value() == 0u);
  BOOST_TEST(NewestEpoch(*storage, uri, 4).value() == 3u);
  BOOST_TEST(NewestEpoch(*storage, uri, 21).value() == 20u);
  BOOST_TEST(NewestEpoch(*storage, uri, UINT64_MAX).value() == 4294967296u);
}

BOOST_AUTO_TEST_CASE(looking_anew_leaves_nothing) {
  Write("shard-1.snapshot.3");
  BOOST_TEST(LookAnew(*storage, uri).ok());
  BOOST_TEST(Names() == std::set<std::string>{"shard-1.snapshot.3"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(without_room_one_looks_again_later) {
  FaultyStorage full(storage.get());
  full.FailChange(1);
  BOOST_TEST(absl::IsUnavailable(LookAnew(full, uri)));
  BOOST_TEST(LookAnew(full, uri).ok());
}

BOOST_AUTO_TEST_CASE(earlier_ones_of_this_shard_go) {
  BOOST_TEST(LogOfEpoch(1, 5) == "shard-1.e5");
  BOOST_TEST(SnapshotOfEpoch(uri, 5) == uri + ".5");
  const std::set<std::string> stay = {"shard-1.snapshot",   "shard-1.1.log",     "shard-1.snapshot.5", "shard-1.e5.1.log", "shard-1.e5.lock",
                                      "shard-1.snapshot.6", "shard-11.e1.1.log", "shard-0.snapshot.1", "shard-0.e1.1.log", "table"};
  for (const std::string& name : stay) Write(name);
  for (const char* name : {"shard-1.snapshot.1", "shard-1.snapshot.4", "shard-1.e4.1.log", "shard-1.e4.2.log", "shard-1.e4.lock"}) Write(name);
  DropEarlierEpochs(*storage, uri, scratch.path(), 1, 5);
  BOOST_TEST(Names() == stay, boost::test_tools::per_element());
  DropEarlierEpochs(*storage, scratch.path() + "/none/x.snapshot", scratch.path() + "/none", 1, 5);   // nothing to be done, and no harm
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
