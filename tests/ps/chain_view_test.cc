// What a chain's keeper decides when members come and go.
#include "ps/chain_view.h"

#include <boost/test/unit_test.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using Time = ChainKeeper::Time;

ChainMember Process(uint32_t node, uint64_t life = 1) {
  return {NodeId{node}, Incarnation{life}};
}
/// "1.1 2.1 +3.1": members, and who joins.
std::string Shown(const ChainKeeper& keeper) {
  std::vector<std::string> words;
  const auto name = [](const ChainMember& member) { return absl::StrCat(static_cast<uint32_t>(member.node), ".", static_cast<uint64_t>(member.incarnation)); };
  for (const ChainMember& member : keeper.view().members) words.push_back(name(member));
  if (keeper.view().joining) words.push_back("+" + name(*keeper.view().joining));
  return absl::StrJoin(words, " ");
}

struct Fixture {
  ChainKeeper keeper;
  /// A chain of these, in their order.
  void Join(std::initializer_list<uint32_t> nodes) {
    for (const uint32_t node : nodes) {
      keeper.Ready(Process(node));
      keeper.Joined(keeper.view().number);
    }
  }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(ChainViewSuite, Fixture)

BOOST_AUTO_TEST_CASE(the_first_begins_and_others_join_behind_it) {
  BOOST_TEST(!keeper.route(0));
  BOOST_TEST(keeper.Ready(Process(1)));
  BOOST_TEST(Shown(keeper) == "1.1");
  BOOST_TEST(keeper.view().epoch == 1u);
  BOOST_TEST(!keeper.Ready(Process(1)));   // said twice
  BOOST_TEST(keeper.Ready(Process(2)));
  BOOST_TEST(Shown(keeper) == "1.1 +2.1");
  BOOST_TEST(keeper.view().number == 2u);
  BOOST_TEST(keeper.view().epoch == 1u);   // for clients nothing has changed
  BOOST_TEST(!keeper.Ready(Process(3)));   // one after the other
  BOOST_TEST(!keeper.Joined(1));           // of an older view
  BOOST_TEST(keeper.Joined(2));
  BOOST_TEST(Shown(keeper) == "1.1 2.1 +3.1");
  BOOST_TEST(keeper.view().epoch == 3u);
  const auto route = keeper.route(7);
  BOOST_TEST((route && *route == ChainRoute{.shard = 7, .epoch = 3, .first = Process(1), .last = Process(2)}));
}

BOOST_AUTO_TEST_CASE(whoever_is_gone_is_left_out) {
  Join({1, 2, 3});
  const uint64_t epoch = keeper.view().epoch;
  BOOST_TEST(keeper.Gone(Process(1)));
  BOOST_TEST(Shown(keeper) == "2.1 3.1");
  BOOST_TEST(keeper.view().epoch > epoch);
  BOOST_TEST(!keeper.Gone(Process(1)));
  BOOST_TEST(!keeper.Ready(Process(1)));   // told of late
  BOOST_TEST(keeper.Ready(Process(1, 2)));
  BOOST_TEST(Shown(keeper) == "2.1 3.1 +1.2");
  BOOST_TEST(keeper.Gone(Process(3)));   // whoever joined got its state from it
  BOOST_TEST(Shown(keeper) == "2.1 +1.2");
  BOOST_TEST(keeper.Gone(Process(1, 2)));
  BOOST_TEST(Shown(keeper) == "2.1");
}

BOOST_AUTO_TEST_CASE(without_members_it_begins_anew_with_who_is_there) {
  Join({1});
  keeper.Ready(Process(2));
  keeper.Ready(Process(3));
  BOOST_TEST(Shown(keeper) == "1.1 +2.1");
  BOOST_TEST(keeper.Gone(Process(1)));
  BOOST_TEST(Shown(keeper) == "2.1 +3.1");   // who had joined nearly may have most of it
  BOOST_TEST(keeper.Gone(Process(2)));
  BOOST_TEST(Shown(keeper) == "3.1");
  BOOST_TEST(keeper.Gone(Process(3)));
  BOOST_TEST(Shown(keeper) == "");
  BOOST_TEST(!keeper.route(0));
  BOOST_TEST(keeper.Ready(Process(1, 2)));
  BOOST_TEST(Shown(keeper) == "1.2");
}

BOOST_AUTO_TEST_CASE(a_lost_members_place_is_free_when_its_lease_is_over) {
  const Time now{};
  Join({1, 2});
  BOOST_TEST(keeper.Grant(Process(1), now, milliseconds(2'000)));
  BOOST_TEST(!keeper.Lost(Process(1), now + milliseconds(500)));
  BOOST_TEST(Shown(keeper) == "1.1 2.1");
  BOOST_TEST(!keeper.Grant(Process(1), now + milliseconds(600), milliseconds(2'000)));   // it asks on: too late
  BOOST_TEST((keeper.next_tick() == now + milliseconds(2'000)));
  BOOST_TEST(!keeper.Tick(now + milliseconds(1'999)));
  BOOST_TEST(keeper.Tick(now + milliseconds(2'000)));
  BOOST_TEST(Shown(keeper) == "2.1");
  BOOST_TEST(!keeper.next_tick().has_value());
  BOOST_TEST(keeper.Lost(Process(2), now + milliseconds(2'000)));   // it was granted nothing
  BOOST_TEST(Shown(keeper) == "");
}

BOOST_AUTO_TEST_CASE(the_end_of_a_lost_member_may_become_known_before) {
  const Time now{};
  Join({1, 2});
  BOOST_TEST(keeper.Grant(Process(2), now, milliseconds(2'000)));
  keeper.Lost(Process(2), now);
  BOOST_TEST(keeper.Gone(Process(2)));
  BOOST_TEST(!keeper.Grant(Process(2), now, milliseconds(2'000)));
  BOOST_TEST(!keeper.next_tick().has_value());
  BOOST_TEST(Shown(keeper) == "1.1");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
