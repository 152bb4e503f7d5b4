// The head, by hand in virtual time: who is a member, and what is shown of it.
#include "actors/cluster/head.h"

#include "tests/actors/cluster/head_fixture.h"

namespace troupe {

using namespace testing;
using Names = std::vector<std::string>;

BOOST_FIXTURE_TEST_SUITE(HeadMembersSuite, HeadFixture)

BOOST_AUTO_TEST_CASE(a_node_that_reports_is_up_and_one_without_a_name_is_refused) {
  Member a(1, 4);
  BOOST_TEST(Send(a).ok());
  CheckState(a, NodeState::kUp);
  BOOST_TEST((Node(a).capacity == a.capacity));
  BOOST_TEST(head->PlacesOf(a.node) == (Names{"tcp:host:1"}), boost::test_tools::per_element());
  BOOST_TEST(head->PlacesOf(NodeId{77}).empty());
  Report report = a.MakeReport();
  report.name.clear();
  BOOST_TEST(absl::IsInvalidArgument(head->OnReport(report, now, 0)));
  report = a.MakeReport();
  report.node = NodeId{8};
  report.name = "x\ty";
  BOOST_TEST(head->OnReport(report, now, 0).message() == "a node's name is 'x\\ty', expected no control characters");
  report = a.MakeReport();
  report.capacity.labels["zone"] = "\xc2\x9b";
  BOOST_TEST(absl::IsInvalidArgument(head->OnReport(report, now, 0)));
  report = a.MakeReport();
  report.node = kHeadNode;
  BOOST_TEST(absl::IsInvalidArgument(head->OnReport(report, now, 0)));
  report = a.MakeReport();
  report.incarnation = Incarnation{};
  BOOST_TEST(absl::IsInvalidArgument(head->OnReport(report, now, 0)));
}

BOOST_AUTO_TEST_CASE(a_name_that_is_taken_is_refused_until_its_node_is_down) {
  Member a(1, 4), other(2, 4);
  other.name = a.name;
  BOOST_TEST(Send(a).ok());
  const absl::Status taken = Send(other);
  BOOST_TEST(absl::IsAlreadyExists(taken));
  BOOST_TEST(taken.message() == "a node named 'n1' is a member already (up): choose another --name, or wait until that one is down");
  Run(10s, {});
  CheckState(a, NodeState::kDown);
  BOOST_TEST(Send(other).ok());
  CheckState(other, NodeState::kUp);
  BOOST_TEST(head->OnInspect({})->nodes.size() == 1u);
  BOOST_TEST(absl::IsAlreadyExists(Send(a)));   // the first one is a stranger now
  BOOST_TEST(records.size() == 1u);
}

BOOST_AUTO_TEST_CASE(silence_makes_a_node_suspect_then_down_and_its_life_is_over) {
  Member a(1, 4), b(2, 4);
  Run(5s, {&a, &b});
  Run(300ms, {&b});
  CheckState(a, NodeState::kUp);
  Run(700ms, {&b});
  CheckState(a, NodeState::kSuspect);
  Run(100ms, {&a, &b});
  CheckState(a, NodeState::kUp);   // it was only late
  Run(10s, {&b});
  CheckState(a, NodeState::kDown);
  CheckState(b, NodeState::kUp);
  const Report late = a.MakeReport();
  BOOST_TEST(head->OnReport(late, now, Wall()).ok());
  CheckState(a, NodeState::kDown);   // quarantined
  BOOST_TEST((head->OrdersFor(a.node, late.incarnation, late.seen).verdict == Orders::Verdict::kRejoin));
  BOOST_TEST(Send(a).ok());
  BOOST_TEST((a.incarnation == Incarnation{2}));
  BOOST_TEST(Send(a).ok());
  CheckState(a, NodeState::kUp);
}

BOOST_AUTO_TEST_CASE(an_older_life_is_told_to_come_back_as_a_newer_one_and_changes_nothing) {
  Member a(1, 4);
  a.incarnation = Incarnation{5};
  BOOST_TEST(Send(a).ok());
  Member ghost(1, 64);
  ghost.incarnation = Incarnation{4};
  const Report report = ghost.MakeReport();
  BOOST_TEST(head->OnReport(report, now, 0).ok());
  BOOST_TEST(Node(a).capacity.cores == 4u);
  BOOST_TEST(head->HasOrders(a.node, report.incarnation, 0));
  const Orders orders = head->OrdersFor(a.node, report.incarnation, 0);
  BOOST_TEST((orders.verdict == Orders::Verdict::kRejoin && orders.incarnation == Incarnation{5}));
  BOOST_TEST((head->OrdersFor(NodeId{9}, Incarnation{1}, 0).verdict == Orders::Verdict::kRejoin));   // nobody knows it
}

BOOST_AUTO_TEST_CASE(a_head_that_was_asleep_does_not_take_its_own_silence_for_that_of_nodes) {
  Member a(1, 4);
  Run(5s, {&a});
  const JobId job = Submit();
  Run(1s, {&a});
  now += 60s;   // stopped by a signal, a machine asleep, a disk that took long: reports are still to be read
  head->Tick(now, Wall());
  CheckState(a, NodeState::kUp);
  Run(1s, {&a});
  BOOST_TEST(a.started[Driver(job)] == 1);
  Run(10s, {});
  CheckState(a, NodeState::kDown);   // and is not deaf now
}

BOOST_AUTO_TEST_CASE(a_node_that_has_obeyed_a_later_head_is_not_this_head_s) {
  const Report report{.node = NodeId{7},
                      .incarnation = Incarnation{1},
                      .number = 1,
                      .name = "late",
                      .host = "h",
                      .places = {},
                      .capacity = {},
                      .generation = head->generation() + 1};
  BOOST_TEST(absl::IsUnavailable(head->OnReport(report, now, Wall())));
  BOOST_TEST(head->OnInspect({})->nodes.empty());
}

BOOST_AUTO_TEST_CASE(a_report_that_was_overtaken_says_nothing) {
  Member a(1, 4);
  Run(1s, {&a});
  const JobId job = Submit();
  const Report before = a.MakeReport();   // without the driver
  Run(500ms, {&a});
  BOOST_TEST(a.Runs(Driver(job)));
  BOOST_TEST(head->OnReport(before, now, Wall()).ok());
  BOOST_TEST(ToString(Process(job, kDriverName).state) == std::string("running"));
}

BOOST_AUTO_TEST_CASE(a_node_that_has_been_gone_for_a_day_is_forgotten) {
  Member a(1, 1), b(2, 1), c(3, 1);
  Run(1s, {&a, &b, &c});
  BOOST_TEST(head->OnDrain({"n2"}, now, Wall()).ok());
  Run(5s, {&b, &c});   // a is down, b has left
  CheckState(a, NodeState::kDown);
  CheckState(b, NodeState::kLeft);
  wall_ahead += 12 * 3'600'000;
  Run(1s, {&c});
  Restart();
  Run(1s, {&c});
  BOOST_TEST(head->OnInspect({})->nodes.size() == 3u);
  wall_ahead += 12 * 3'600'000;
  Run(1s, {&c});
  BOOST_TEST(head->OnInspect({})->nodes.size() == 1u);
  BOOST_TEST(records.size() == 1u);
  CheckState(c, NodeState::kUp);
  Run(1s, {&a, &c});   // it comes back as one that nobody knows
  CheckState(a, NodeState::kUp);
}

BOOST_AUTO_TEST_CASE(suspicion_is_not_kept_but_what_a_node_has_is) {
  Member a(1, 4);
  Run(2s, {&a});
  const auto before = records;
  now += 900ms;
  head->Tick(now, Wall());
  CheckState(a, NodeState::kSuspect);
  Run(300ms, {&a});
  CheckState(a, NodeState::kUp);
  Commit();
  BOOST_TEST((records == before));
  a.capacity.accelerators["gpu"] = 1;
  Run(300ms, {&a});
  BOOST_TEST((records != before));
}

BOOST_AUTO_TEST_CASE(the_hold_of_reports_grows_with_the_nodes_between_its_limits) {
  BOOST_TEST((head->report_hold() == 250ms));
  for (uint32_t i = 1; i <= 300; ++i) {
    Member member(i, 1);
    BOOST_TEST(Send(member).ok());
  }
  BOOST_TEST((head->report_hold() == 300ms));
  BOOST_TEST((ReportHold(250) == 250ms && ReportHold(251) == 251ms && ReportHold(5000) == 1s && ReportHold(5000) * 2 <= kHeadTimeout));
  now += 10s;
  head->Tick(now, Wall());   // a head that was away: nobody is suspected
  now += 500ms;
  for (int i = 0; i < 60; ++i) head->Tick(now += 100ms, Wall());
  BOOST_TEST((head->report_hold() == 250ms));   // all are down
}

BOOST_AUTO_TEST_CASE(versions_go_up_with_what_is_shown_and_are_never_zero_for_what_there_is) {
  Member a(1, 4);
  Run(1s, {&a});
  uint64_t before = head->version();
  const JobId job = Submit();
  BOOST_TEST(head->version() > before);
  Run(500ms, {&a});
  before = head->version();
  Run(5s, {&a});
  BOOST_TEST(head->version() == before);   // nothing happens
  BOOST_TEST(head->OrdersFor(a.node, a.incarnation, a.seen).unchanged);
  BOOST_TEST(!head->HasOrders(a.node, a.incarnation, a.seen));
  a.End(Driver(job), 0);
  Run(200ms, {&a});
  BOOST_TEST(head->version() > before);
  Restart();
  BOOST_TEST(head->VersionOf(job) != 0u);
  BOOST_TEST(head->VersionOf(99) == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
