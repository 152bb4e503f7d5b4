// Who takes whose place when nodes are drained.
#include "algorithms/run/hand_over.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <optional>
#include <vector>

namespace troupe {
namespace {

using Life = HandOvers::Life;

/// Three places, of which 0 and 2 hold shard 0; its idle process is 3, that of shard 1 is 4.
struct Fixture {
  HandOvers all{3, 2};
  static auto Are(std::vector<Life> members) {
    return [members](const Life& life) { return std::find(members.begin(), members.end(), life) != members.end(); };
  }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(HandOversTest, Fixture)

BOOST_AUTO_TEST_CASE(the_leaving_process_ends_when_its_heir_has_joined_and_the_heir_takes_its_place) {
  BOOST_TEST((all.Leaves(0, {2, 5}) == std::optional<uint32_t>(3)));
  BOOST_TEST(!all.Leaves(0, {2, 5}));   // it is told again
  BOOST_TEST(!all.ChainChanged(0, Are({{0, 1}, {2, 5}})));
  all.Starts(0, 1);
  BOOST_TEST(!all.ChainChanged(0, Are({{0, 1}, {2, 5}})));
  BOOST_TEST((all.ChainChanged(0, Are({{0, 1}, {2, 5}, {3, 1}})) == std::optional<Life>(Life{2, 5})));
  BOOST_TEST(!all.ChainChanged(0, Are({{0, 1}, {2, 5}, {3, 1}})));   // once
  BOOST_TEST(!all.Ended(0, {2, 5}));
  const HandOvers::Replaced replaced = all.Replace(2, 0, 5);
  BOOST_TEST((replaced.heir == std::optional<uint32_t>(3)));
  BOOST_TEST(!replaced.begins);
  BOOST_TEST(all.HolderOf(2) == 3u);
  // From now on 2 is the idle one, and 3 is replaced as any process.
  BOOST_TEST(!all.Replace(2, 0, 1).heir);
  BOOST_TEST((all.Leaves(0, {0, 1}) == std::optional<uint32_t>(2)));
}

BOOST_AUTO_TEST_CASE(of_several_that_leave_one_goes_after_the_other) {
  BOOST_TEST(all.Leaves(0, {0, 1}).has_value());
  BOOST_TEST(!all.Leaves(0, {2, 1}));
  BOOST_TEST((all.Leaves(1, {1, 1}) == std::optional<uint32_t>(4)));   // another shard
  all.Starts(0, 1);
  BOOST_TEST((all.ChainChanged(0, Are({{3, 1}})) == std::optional<Life>(Life{0, 1})));
  const HandOvers::Replaced first = all.Replace(0, 0, 1);
  BOOST_TEST((first.heir == std::optional<uint32_t>(3)));
  BOOST_TEST((first.begins == std::optional<uint32_t>(0)));   // in place of 2, the process that has just left
  all.Starts(0, 2);
  BOOST_TEST((all.ChainChanged(0, Are({{3, 1}, {0, 2}})) == std::optional<Life>(Life{2, 1})));
  BOOST_TEST((all.Replace(2, 0, 1).heir == std::optional<uint32_t>(0)));
}

BOOST_AUTO_TEST_CASE(an_heir_that_ends_is_started_again_some_times) {
  BOOST_TEST(all.Leaves(0, {0, 1}).has_value());
  for (uint64_t life = 1; life <= HandOvers::kTriesMax; ++life) {
    all.Starts(0, life);
    BOOST_TEST(!all.Ended(0, {3, life - 1}));   // an old word
    BOOST_TEST(all.Ended(0, {3, life}).has_value() == (life < HandOvers::kTriesMax));
  }
  BOOST_TEST(!all.ChainChanged(0, Are({{3, 3}})));
  BOOST_TEST(!all.Replace(0, 0, 1).heir);   // its time is over: its own next life follows
  BOOST_TEST(all.HolderOf(0) == 0u);
  BOOST_TEST(all.Leaves(0, {0, 2}).has_value());
}

BOOST_AUTO_TEST_CASE(who_is_told_again_or_comes_after_one_whose_heirs_have_all_ended_has_tries_of_its_own) {
  BOOST_TEST(all.Leaves(0, {0, 1}).has_value());
  const auto fail = [&](uint64_t first) {
    for (uint64_t life = first; life < first + HandOvers::kTriesMax; ++life) {
      all.Starts(0, life);
      BOOST_TEST(all.Ended(0, {3, life}).has_value() == (life + 1 < first + HandOvers::kTriesMax));
    }
  };
  fail(1);
  BOOST_TEST((all.Leaves(0, {0, 1}) == std::optional<uint32_t>(3)));   // its node is drained now
  fail(4);
  BOOST_TEST((all.Leaves(0, {2, 1}) == std::optional<uint32_t>(3)));   // before the other, which stays
  all.Starts(0, 7);
  BOOST_TEST((all.ChainChanged(0, Are({{0, 1}, {2, 1}, {3, 7}})) == std::optional<Life>(Life{2, 1})));
  const HandOvers::Replaced replaced = all.Replace(2, 0, 1);
  BOOST_TEST((replaced.heir == std::optional<uint32_t>(3)));
  BOOST_TEST((replaced.begins == std::optional<uint32_t>(2)));   // the other's turn
}

BOOST_AUTO_TEST_CASE(who_has_ended_does_not_leave_any_more) {
  BOOST_TEST(!all.Replace(2, 0, 5).heir);
  BOOST_TEST(!all.Leaves(0, {2, 5}));
  BOOST_TEST(!all.Leaves(0, {2, 4}));
  BOOST_TEST(!all.Ended(0, {0, 1}));
  BOOST_TEST(!all.Leaves(0, {0, 1}));
  BOOST_TEST((all.Leaves(0, {2, 6}) == std::optional<uint32_t>(3)));
}

BOOST_AUTO_TEST_CASE(who_ends_before_its_time_is_replaced_by_its_heir_or_by_its_next_life) {
  BOOST_TEST(all.Leaves(0, {0, 1}).has_value());
  BOOST_TEST(!all.Leaves(0, {2, 1}));
  all.Starts(0, 1);
  const HandOvers::Replaced second = all.Replace(2, 0, 1);   // it has no heir yet
  BOOST_TEST((!second.heir && !second.begins));
  BOOST_TEST((all.Replace(0, 0, 1).heir == std::optional<uint32_t>(3)));   // which joins still
  // An heir that ends after its turn has come leaves the place to the next life.
  BOOST_TEST(all.Leaves(0, {3, 1}).has_value());
  all.Starts(0, 2);
  BOOST_TEST(all.ChainChanged(0, Are({{0, 2}})).has_value());
  BOOST_TEST(!all.Ended(0, {0, 2}));
  BOOST_TEST(!all.Replace(0, 0, 1).heir);
  BOOST_TEST(all.HolderOf(0) == 3u);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
