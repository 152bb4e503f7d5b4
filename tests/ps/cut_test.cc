// What a shard holds back for a cut, as plain logic.
#include "ps/cut.h"

#include <boost/test/unit_test.hpp>

#include "actors/text.h"

namespace troupe {
namespace {

Prepared Clocks(std::vector<Round> clocks) {
  return {Block::Adopt(std::move(clocks))};
}

BOOST_AUTO_TEST_SUITE(CutTest)

BOOST_AUTO_TEST_CASE(a_cut_is_where_the_first_shard_has_anything_of_each_writer) {
  const std::vector<Prepared> shards = {Clocks({3, 1, 2}), Clocks({1, 4, 2})};
  BOOST_TEST((*CutOf(shards) == std::vector<Round>{3, 4, 2}));
  const std::vector<Prepared> differ = {Clocks({3}), Clocks({1, 4})};
  BOOST_TEST(Message(CutOf(differ).status()) == "cut: shard 1 has 2 writers, expected 1 as shard 0");
  const std::vector<Prepared> odd = {Prepared{Block::Copy("abc", 3)}};
  BOOST_TEST(absl::IsInvalidArgument(CutOf(odd).status()));
}

BOOST_AUTO_TEST_CASE(what_passes_and_what_waits) {
  CutGate gate;
  BOOST_TEST(gate.Passes(1, 99));
  BOOST_TEST(gate.Passes(99));
  BOOST_TEST(gate.Hold(7, {3, 5}).ok());
  BOOST_TEST(gate.Passes(0, 3));
  BOOST_TEST(!gate.Passes(0, 4));
  BOOST_TEST(gate.Passes(5));
  BOOST_TEST(!gate.Passes(6));
  BOOST_TEST(!gate.Reached({3, 5}));   // nobody has said where to
  BOOST_TEST(gate.Aim(7, {4, 5}).ok());
  BOOST_TEST(gate.Passes(0, 4));
  BOOST_TEST(!gate.Passes(1, 6));
  BOOST_TEST(!gate.Reached({3, 5}));
  BOOST_TEST(gate.Reached({4, 5}));
  BOOST_TEST(gate.Hold(7, {1, 1}).ok());   // it came twice: nothing changes
  BOOST_TEST(gate.Passes(0, 4));
  BOOST_TEST(gate.End(7));
  BOOST_TEST(gate.Passes(0, 99));
  BOOST_TEST(!gate.End(7));
}

BOOST_AUTO_TEST_CASE(one_cut_at_a_time_and_none_that_is_over) {
  CutGate gate;
  BOOST_TEST(absl::IsInvalidArgument(gate.Hold(0, {1})));
  BOOST_TEST(gate.Hold(7, {1}).ok());
  BOOST_TEST(absl::IsUnavailable(gate.Hold(8, {1})));
  BOOST_TEST(absl::IsUnavailable(gate.Aim(8, {1})));
  BOOST_TEST(!gate.End(8));   // it comes before its Hold
  BOOST_TEST(gate.holds(7));
  BOOST_TEST(gate.End(7));
  BOOST_TEST(Message(gate.Hold(7, {1})) == "the cut is over");
  BOOST_TEST(Message(gate.Hold(8, {1})) == "the cut is over");
  BOOST_TEST(Message(gate.Aim(7, {1})) == "the cut does not hold here: its time was over, or the shard was replaced");
  BOOST_TEST(gate.Hold(9, {1}).ok());
  for (uint64_t cut = 100; cut < 200; ++cut) gate.End(cut);   // so many are remembered and no more
  BOOST_TEST(gate.End(9));
  BOOST_TEST(absl::IsUnavailable(gate.Hold(9, {1})));
  BOOST_TEST(absl::IsUnavailable(gate.Hold(199, {1})));
  BOOST_TEST(gate.Hold(8, {1}).ok());
}

BOOST_AUTO_TEST_CASE(clocks_of_others_are_refused) {
  CutGate gate;
  BOOST_TEST(gate.Hold(7, {3, 5}).ok());
  BOOST_TEST(Message(gate.Aim(7, {3})) == "cut: clocks of 1 writers, expected 2");
  BOOST_TEST(Message(gate.Aim(7, {3, 4})) == "cut: clock of writer 1 is 4, expected at least 5");
  BOOST_TEST(!gate.Reached({3, 5}));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
