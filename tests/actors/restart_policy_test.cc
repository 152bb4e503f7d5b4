// RestartPolicy: OTP's documented behaviour: strategies, restart types, intensity windows; and back-off.
#include "actors/restart_policy.h"

#include <boost/test/unit_test.hpp>

namespace troupe {
namespace {

using namespace std::chrono_literals;
using Action = Decision::Action;
using Ids = std::vector<std::string>;

Clock::Time At(Clock::Duration since_start) {
  return Clock::Time(1000h + since_start);
}

RestartPolicy Policy(RestartOptions options, const std::vector<ChildSpec>& children) {
  RestartPolicy policy(options);
  for (const ChildSpec& child : children) BOOST_REQUIRE(policy.Add(child).ok());
  return policy;
}
const std::vector<ChildSpec> kThree{{"a"}, {"b"}, {"c"}};

void Check(const Decision& decision, Action action, const Ids& stop = {}, const Ids& start = {}) {
  BOOST_TEST((decision.action == action));
  BOOST_TEST(decision.stop == stop, boost::test_tools::per_element());
  BOOST_TEST(decision.start == start, boost::test_tools::per_element());
}

}   // namespace

BOOST_AUTO_TEST_SUITE(RestartPolicySuite)

BOOST_AUTO_TEST_CASE(a_permanent_child_always_comes_back_a_transient_one_after_a_failure_a_temporary_one_never) {
  auto policy = Policy({}, {{"p", Restart::kPermanent}, {"t", Restart::kTransient}, {"x", Restart::kTemporary}});
  Check(policy.OnExit("p", true, At(1s)), Action::kRestart, {}, {"p"});
  Check(policy.OnExit("p", false, At(2s)), Action::kRestart, {}, {"p"});
  Check(policy.OnExit("t", false, At(3s)), Action::kRestart, {}, {"t"});
  Check(policy.OnExit("t", true, At(4s)), Action::kIgnore);
  Check(policy.OnExit("x", false, At(5s)), Action::kIgnore);
  Check(policy.OnExit("unknown", false, At(6s)), Action::kIgnore);
  BOOST_TEST(policy.restarts() == 3u);
}

BOOST_AUTO_TEST_CASE(one_for_one_touches_nobody_else) {
  auto policy = Policy({.strategy = Strategy::kOneForOne}, kThree);
  Check(policy.OnExit("b", false, At(1s)), Action::kRestart, {}, {"b"});
}

BOOST_AUTO_TEST_CASE(one_for_all_stops_in_reverse_and_starts_all_in_order) {
  auto policy = Policy({.strategy = Strategy::kOneForAll}, kThree);
  Check(policy.OnExit("b", false, At(1s)), Action::kRestart, {"c", "a"}, {"a", "b", "c"});
  Check(policy.OnExit("c", false, At(2s)), Action::kRestart, {"b", "a"}, {"a", "b", "c"});
}

BOOST_AUTO_TEST_CASE(rest_for_one_takes_those_started_after) {
  auto policy = Policy({.strategy = Strategy::kRestForOne}, kThree);
  Check(policy.OnExit("b", false, At(1s)), Action::kRestart, {"c"}, {"b", "c"});
  Check(policy.OnExit("a", false, At(2s)), Action::kRestart, {"c", "b"}, {"a", "b", "c"});
  Check(policy.OnExit("c", false, At(3s)), Action::kRestart, {}, {"c"});
}

BOOST_AUTO_TEST_CASE(a_group_restart_forgets_the_temporary_and_wakes_the_transient_that_had_ended) {
  auto policy = Policy({.strategy = Strategy::kOneForAll}, {{"a"}, {"x", Restart::kTemporary}, {"t", Restart::kTransient}});
  Check(policy.OnExit("t", true, At(1s)), Action::kIgnore);
  Check(policy.OnExit("a", false, At(2s)), Action::kRestart, {"x"}, {"a", "t"});   // t is not running: nothing to stop
  Check(policy.OnExit("x", false, At(3s)), Action::kIgnore);
  Check(policy.OnExit("a", false, At(4s)), Action::kRestart, {"t"}, {"a", "t"});

  auto rest = Policy({.strategy = Strategy::kRestForOne}, {{"x", Restart::kTemporary}, {"a"}, {"y", Restart::kTemporary}, {"b"}});
  Check(rest.OnExit("a", false, At(1s)), Action::kRestart, {"b", "y"}, {"a", "b"});
  BOOST_TEST(rest.Add({"y"}).ok());                     // forgotten
  BOOST_TEST(absl::IsAlreadyExists(rest.Add({"x"})));   // started before: untouched
}

BOOST_AUTO_TEST_CASE(a_removed_child_is_out_of_the_group) {
  auto policy = Policy({.strategy = Strategy::kOneForAll}, kThree);
  policy.Remove("b");
  policy.Remove("unknown");
  Check(policy.OnExit("b", false, At(1s)), Action::kIgnore);
  Check(policy.OnExit("a", false, At(2s)), Action::kRestart, {"c"}, {"a", "c"});
  const absl::Status again = policy.Add({"a"});
  BOOST_TEST(absl::IsAlreadyExists(again));
  BOOST_TEST(again.message() == "child 'a' is there already, expected a new id");
}

BOOST_AUTO_TEST_CASE(one_restart_more_than_the_intensity_escalates_and_stops_the_rest) {
  auto policy = Policy({.intensity = 2, .period = 10s}, kThree);
  Check(policy.OnExit("a", false, At(0s)), Action::kRestart, {}, {"a"});
  Check(policy.OnExit("b", false, At(5s)), Action::kRestart, {}, {"b"});
  const Decision decision = policy.OnExit("b", false, At(10s));   // a restart 10 s ago is still within 10 s
  Check(decision, Action::kEscalate, {"c", "a"});
  BOOST_TEST(decision.reason == "'b' ended again after 2 restarts in 10 s, expected at most 2");
  BOOST_TEST(policy.restarts() == 2u);
}

BOOST_AUTO_TEST_CASE(the_window_slides) {
  auto policy = Policy({.intensity = 2, .period = 10s}, kThree);
  for (int i = 0; i < 50; ++i) {   // two in any 10 s, for ever
    Check(policy.OnExit("a", false, At(i * 11s)), Action::kRestart, {}, {"a"});
    Check(policy.OnExit("b", false, At(i * 11s + 1ns)), Action::kRestart, {}, {"b"});
  }
  // The last two were at 539 s: the window of 549 s still holds both, that of 549 s and 2 ns none.
  auto other = policy;
  BOOST_TEST((policy.OnExit("a", false, At(549s)).action == Action::kEscalate));
  BOOST_TEST((other.OnExit("a", false, At(549s + 2ns)).action == Action::kRestart));
}

BOOST_AUTO_TEST_CASE(what_needs_no_restart_does_not_count) {
  auto policy = Policy({.intensity = 1, .period = 10s}, {{"a"}, {"t", Restart::kTransient}, {"x", Restart::kTemporary}});
  for (int i = 0; i < 5; ++i) {
    BOOST_TEST((policy.OnExit("t", true, At(1s)).action == Action::kIgnore));
    BOOST_TEST((policy.OnExit("x", false, At(1s)).action == Action::kIgnore));
  }
  BOOST_TEST((policy.OnExit("a", false, At(1s)).action == Action::kRestart));
}

BOOST_AUTO_TEST_CASE(a_group_restart_counts_once) {
  auto policy = Policy({.strategy = Strategy::kOneForAll, .intensity = 2, .period = 10s}, kThree);
  BOOST_TEST((policy.OnExit("a", false, At(1s)).action == Action::kRestart));
  BOOST_TEST((policy.OnExit("a", false, At(2s)).action == Action::kRestart));
  BOOST_TEST((policy.OnExit("a", false, At(3s)).action == Action::kEscalate));
}

BOOST_AUTO_TEST_CASE(intensity_zero_allows_none) {
  auto policy = Policy({.intensity = 0}, kThree);
  const Decision decision = policy.OnExit("a", false, At(1s));
  Check(decision, Action::kEscalate, {"c", "b"});
  BOOST_TEST(decision.reason == "'a' ended again after 0 restarts in 1 m 00 s, expected at most 0");
}

BOOST_AUTO_TEST_CASE(quick_restarts_wait_twice_as_long_each_up_to_the_cap) {
  const RestartOptions options{.intensity = 1000, .delay = 100ms, .delay_max = 1s, .first_at_once = true, .calm = 30s};
  auto at_once = Policy(options, kThree);
  for (const auto expected : {0ms, 100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) BOOST_TEST((at_once.OnExit("a", false, At(1s)).delay == expected));
  BOOST_TEST((at_once.OnExit("b", false, At(1s)).delay == 0ms));   // each child for itself

  RestartOptions waiting = options;
  waiting.first_at_once = false;
  auto waits = Policy(waiting, kThree);
  for (const auto expected : {100ms, 200ms, 400ms, 800ms, 1000ms}) BOOST_TEST((waits.OnExit("a", false, At(1s)).delay == expected));
  for (int i = 0; i < 500; ++i) BOOST_TEST((waits.OnExit("a", false, At(2s)).delay == 1s));   // no overflow
}

BOOST_AUTO_TEST_CASE(a_calm_life_resets_the_delay) {
  auto policy = Policy({.intensity = 1000, .delay = 1s, .calm = 30s}, kThree);
  BOOST_TEST((policy.OnExit("a", false, At(0s)).delay == 0s));
  BOOST_TEST((policy.OnExit("a", false, At(29s)).delay == 1s));   // alive again from 30 s on
  BOOST_TEST((policy.OnExit("a", false, At(59s)).delay == 2s));   // lived 29 s; alive again from 61 s on
  BOOST_TEST((policy.OnExit("a", false, At(91s)).delay == 0s));   // lived 30 s
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
