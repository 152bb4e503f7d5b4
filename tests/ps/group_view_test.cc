// Who is in a group, as its members tell each other: by hand, and groups whose members fall at any moment, with greetings that come late and twice.
#include "ps/group_view.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <string>
#include <utility>
#include <vector>

#include "actors/random.h"
#include "actors/text.h"

namespace troupe {
namespace {

GroupView View(uint32_t member, uint32_t members, uint64_t incarnation = 1) {
  auto view = GroupView::Make(member, members, incarnation);
  BOOST_REQUIRE_MESSAGE(view.ok(), view.status().ToString());
  return *view;
}

bool Hear(GroupView& view, const Greeting& greeting) {
  const auto grown = view.Hear(greeting);
  BOOST_REQUIRE_MESSAGE(grown.ok(), grown.status().ToString());
  return *grown;
}

}   // namespace

BOOST_AUTO_TEST_SUITE(GroupViewTest)

BOOST_AUTO_TEST_CASE(members_that_have_greeted_each_other_are_in_one_view) {
  GroupView a = View(0, 2), b = View(1, 2);
  BOOST_TEST((a.Missing() == std::vector<uint32_t>{1}));
  BOOST_TEST(Hear(b, a.Own()));                            // it did not know a
  BOOST_TEST((b.Missing() == std::vector<uint32_t>{0}));   // which did not know b when it spoke
  BOOST_TEST(Hear(a, b.Own()));
  BOOST_TEST(a.Missing().empty());
  BOOST_TEST(!Hear(b, a.Own()));
  BOOST_TEST(b.Missing().empty());
  BOOST_TEST(a.number() == 2u);
  BOOST_TEST(b.number() == 2u);
  BOOST_TEST(!a.Source().has_value());
  BOOST_TEST(!b.Source().has_value());
  BOOST_TEST(!Hear(a, b.Own()));   // again
}

BOOST_AUTO_TEST_CASE(a_replacement_begins_a_new_view_and_takes_the_state_of_one_that_is_furthest) {
  GroupView a = View(0, 3), b = View(1, 3), c = View(2, 3);
  for (int i = 0; i < 2; ++i) {
    for (GroupView* one : {&a, &b, &c})
      for (GroupView* other : {&a, &b, &c}) Hear(*one, other->Own());
  }
  BOOST_TEST(a.Missing().empty());
  const Greeting late = c.Own();
  a.Stand(MakeRound(1, 7), true);
  b.Stand(MakeRound(1, 8), true);   // is ahead
  GroupView d = View(2, 3, 2);
  d.Stand(MakeRound(3, 1), false);   // what it has found on its disk counts for nothing while others are in step
  BOOST_TEST(Hear(a, d.Own()));
  BOOST_TEST((a.Missing() == std::vector<uint32_t>{1, 2}));
  BOOST_TEST(!Hear(a, late));   // of the one that fell
  BOOST_TEST(Hear(d, a.Own()));
  BOOST_TEST(Hear(b, a.Own()));
  for (GroupView* one : {&a, &b, &d})
    for (GroupView* other : {&a, &b, &d}) Hear(*one, other->Own());
  BOOST_TEST(a.number() == 4u);
  BOOST_TEST(a.Source().value() == 1u);
  BOOST_TEST(d.Source().value() == 1u);
  BOOST_TEST(!b.Source().has_value());
  d.Stand(MakeRound(1, 8), true);
  BOOST_TEST(!d.Source().has_value());
  BOOST_TEST(Hear(a, View(1, 3, 2).Own()));
  BOOST_TEST(a.number() == 5u);
}

BOOST_AUTO_TEST_CASE(where_all_have_been_replaced_the_furthest_of_them_is_the_source) {
  GroupView a = View(0, 3, 2), b = View(1, 3, 4), c = View(2, 3, 2);
  b.Stand(MakeRound(1, 5), false);
  c.Stand(MakeRound(1, 5), false);
  for (int i = 0; i < 3; ++i) {
    for (GroupView* one : {&a, &b, &c})
      for (GroupView* other : {&a, &b, &c}) Hear(*one, other->Own());
  }
  BOOST_TEST(a.Source().value() == 1u);
  BOOST_TEST(!b.Source().has_value());
  BOOST_TEST(c.Source().value() == 1u);   // of two that are as far the first: they may differ in rows that were assigned
}

BOOST_AUTO_TEST_CASE(what_cannot_be_is_refused) {
  BOOST_TEST(Message(GroupView::Make(2, 2, 1).status()) == "group: member is 2, expected below the number of members, 2");
  BOOST_TEST(Message(GroupView::Make(0, 2, 0).status()) == "group: incarnation is 0, expected at least 1");
  GroupView a = View(0, 2);
  BOOST_TEST(Message(a.Hear({.member = 1, .incarnations = {1}}).status()) == "greeting of member 1 of 1, expected one of 2 members");
  BOOST_TEST(Message(a.Hear({.member = 2, .incarnations = {1, 1}}).status()) == "greeting of member 2 of 2, expected one of 2 members");
  BOOST_TEST(a.number() == 1u);
}

/// Members that fall and come back, with messages of all of them in any order, some twice. Whoever works in a view of one number must agree with all others
/// that do on the incarnations, and none may work while another of the same view has not stopped.
BOOST_AUTO_TEST_CASE(members_that_work_in_views_of_one_number_agree_whatever_falls) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    const auto n = static_cast<uint32_t>(2 + random.Below(4));
    std::vector<GroupView> views;
    std::vector<std::pair<uint64_t, std::vector<uint64_t>>> views_worked;
    std::vector<bool> working(n);
    for (uint32_t i = 0; i < n; ++i) views.push_back(View(i, n));
    std::vector<Greeting> said;
    const auto give = [&](uint32_t to, const Greeting& greeting) {
      if (Hear(views[to], greeting)) working[to] = false;
      if (working[to] || !views[to].Missing().empty()) return;
      working[to] = true;
      const auto now = std::pair(views[to].number(), views[to].Own().incarnations);
      for (const auto& [number, incarnations] : views_worked) BOOST_REQUIRE(number != now.first || incarnations == now.second);
      views_worked.push_back(now);
    };
    int falls = 0;
    for (int step = 0; step < 400; ++step) {
      const auto i = static_cast<uint32_t>(random.Below(n));
      if (random.Below(20) == 0 && falls < 8) {
        ++falls;
        views[i] = View(i, n, views[i].Own().incarnations[i] + 1);
        working[i] = false;
      } else if (random.Below(2) == 0 || said.empty()) {
        said.push_back(views[i].Own());
      } else {
        give(i, said[random.Below(said.size())]);
      }
    }
    for (int round = 0; round < 3; ++round) {
      for (uint32_t i = 0; i < n; ++i)
        for (uint32_t j = 0; j < n; ++j) give(i, views[j].Own());
    }
    for (uint32_t i = 0; i < n; ++i) {
      BOOST_TEST(working[i]);
      BOOST_TEST(views[i].number() == n + static_cast<uint64_t>(falls));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
