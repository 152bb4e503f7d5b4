// Supervisors over children that end when they are told to, in virtual time: who is started again, when, and in which order.
#include "actors/supervisor_actor.h"

#include <boost/test/unit_test.hpp>
#include <string>

#include "caf/exit_reason.hpp"
#include "caf/send.hpp"
#include "tests/support/supervised_children.h"

namespace troupe {
namespace {

using caf::exit_reason;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Fixture = testing::SupervisedChildren;

BOOST_FIXTURE_TEST_SUITE(SupervisorActorSuite, Fixture)

BOOST_AUTO_TEST_CASE(children_are_started_in_order_and_stopped_with_the_supervisor_the_last_first) {
  Start(Strategy::kOneForOne);
  BOOST_TEST(News() == "+a, +b, +c");
  Stop();
  BOOST_TEST(News() == "-c, -b, -a");
  BOOST_TEST(over);
}

BOOST_AUTO_TEST_CASE(one_for_one_starts_only_the_child_that_ended) {
  Start(Strategy::kOneForOne);
  News();
  End("b");
  BOOST_TEST(News() == "-b, +b, again b");
}

BOOST_AUTO_TEST_CASE(one_for_all_stops_the_others_the_last_first_and_starts_all_in_order) {
  Start(Strategy::kOneForAll);
  News();
  End("b");
  BOOST_TEST(News() == "-b, -c, -a, +a, again a, +b, again b, +c, again c");
}

BOOST_AUTO_TEST_CASE(rest_for_one_leaves_those_before_it_alone) {
  Start(Strategy::kRestForOne);
  News();
  End("b");
  BOOST_TEST(News() == "-b, -c, +b, again b, +c, again c");
}

BOOST_AUTO_TEST_CASE(a_normal_end_is_an_end_only_of_permanent_children) {
  Start({}, {Make("p"), Make("t", Restart::kTransient), Make("x", Restart::kTemporary)});
  News();
  for (const std::string id : {"p", "t", "x"}) End(id, exit_reason::normal);
  BOOST_TEST(News() == "-p, +p, again p, -t, -x");
}

BOOST_AUTO_TEST_CASE(any_other_end_is_one_of_transient_children_too_and_temporary_ones_stay_away) {
  for (const exit_reason how : {exit_reason::unhandled_exception, exit_reason::user_shutdown, exit_reason::kill}) {
    Start({}, {Make("p"), Make("t", Restart::kTransient), Make("x", Restart::kTemporary)});
    News();
    for (const std::string id : {"p", "t", "x"}) End(id, how);
    BOOST_TEST(News() == "-p, +p, again p, -t, +t, again t, -x");
    Stop();
  }
}

BOOST_AUTO_TEST_CASE(quick_restarts_wait_twice_as_long_each_time_up_to_a_limit) {
  Start({.delay = milliseconds(100), .delay_max = milliseconds(400)}, {Make("a")});
  for (const milliseconds delay : {milliseconds(0), milliseconds(100), milliseconds(200), milliseconds(400), milliseconds(400)}) {
    News();
    End("a");
    if (delay > milliseconds(0)) {
      BOOST_TEST(News() == "-a");
      Advance(delay - milliseconds(1));
      BOOST_TEST(News() == "");
      Advance(milliseconds(1));
      BOOST_TEST(News() == "+a, again a");
    } else {
      BOOST_TEST(News() == "-a, +a, again a");
    }
  }
}

BOOST_AUTO_TEST_CASE(a_child_that_has_lived_calmly_is_started_at_once_again) {
  Start({.delay = milliseconds(100), .calm = seconds(30)}, {Make("a")});
  for (int i = 0; i < 2; ++i) End("a");
  Advance(milliseconds(100) + seconds(30));
  News();
  End("a");
  BOOST_TEST(News() == "-a, +a, again a");
}

BOOST_AUTO_TEST_CASE(nobody_is_started_before_all_that_were_stopped_have_ended_and_the_delay_runs_from_there) {
  Start({.strategy = Strategy::kOneForAll, .delay = milliseconds(100), .first_at_once = false},
        {Make("a", Restart::kPermanent, true), Make("b"), Make("c", Restart::kPermanent, true)});
  News();
  End("b");
  Advance(seconds(2));
  BOOST_TEST(News() == "-b, ?c, ?a");
  End("a");
  Advance(seconds(2));
  BOOST_TEST(News() == "-a");
  End("c", exit_reason::normal);
  Advance(milliseconds(99));
  BOOST_TEST(News() == "-c");
  Advance(milliseconds(1));
  BOOST_TEST(News() == "+a, again a, +b, again b, +c, again c");
}

BOOST_AUTO_TEST_CASE(a_child_that_does_not_end_within_five_seconds_is_killed) {
  Start({.strategy = Strategy::kOneForAll}, {Make("a", Restart::kPermanent, true), Make("b")});
  News();
  End("b");
  Advance(milliseconds(4999));
  BOOST_TEST(News() == "-b, ?a");
  Advance(milliseconds(1));
  BOOST_TEST(News() == "-a, +a, again a, +b, again b");
  Stop();
  Advance(milliseconds(4999));
  BOOST_TEST(News() == "-b, ?a");
  Advance(milliseconds(1));
  BOOST_TEST(News() == "-a");
  BOOST_TEST(over);
}

BOOST_AUTO_TEST_CASE(a_child_that_waits_for_its_restart_joins_the_group_of_one_before_it) {
  Start(Strategy::kRestForOne);
  for (int i = 0; i < 2; ++i) End("c");   // the second time it waits 100 ms
  News();
  End("a");
  BOOST_TEST(News() == "-a, -b, +a, again a, +b, again b, +c, again c");
  Advance(seconds(1));
  BOOST_TEST(News() == "");
}

BOOST_AUTO_TEST_CASE(the_end_of_one_before_it_while_a_group_is_being_stopped_makes_one_group_of_both) {
  Start({.strategy = Strategy::kRestForOne}, {Make("a"), Make("b"), Make("c", Restart::kPermanent, true)});
  News();
  End("b");
  End("a");
  BOOST_TEST(News() == "-b, ?c, -a");
  End("c");
  BOOST_TEST(News() == "-c, +a, again a, +b, again b, +c, again c");
}

BOOST_AUTO_TEST_CASE(one_restart_too_many_stops_everything_says_why_and_ends_the_supervisor) {
  for (const Strategy strategy : {Strategy::kOneForOne, Strategy::kOneForAll, Strategy::kRestForOne}) {
    over = false;
    Start({.strategy = strategy, .intensity = 2, .period = seconds(60)}, {Make("a"), Make("b"), Make("c")});
    for (int i = 0; i < 2; ++i) {
      End("b");
      Advance(milliseconds(100));
    }
    BOOST_TEST(!over);
    News();
    End("b");
    BOOST_TEST(News() == "-b, -c, -a, over");
    BOOST_TEST(reason == "'b' ended again after 2 restarts in 1 m 00 s, expected at most 2");
    BOOST_TEST(over);
    Advance(seconds(100));
    BOOST_TEST(News() == "");
  }
}

BOOST_AUTO_TEST_CASE(a_restart_that_waits_is_forgotten_when_the_supervisor_gives_up_or_is_stopped) {
  for (const bool gives_up : {true, false}) {
    Start({.intensity = 2}, {Make("a"), Make("b")});
    for (int i = 0; i < 2; ++i) End("a");   // it waits
    News();
    if (gives_up)
      End("b");
    else
      Stop();
    BOOST_TEST(News() == (gives_up ? "-b, over" : "-b"));
    Advance(seconds(10));
    BOOST_TEST(News() == "");
  }
}

BOOST_AUTO_TEST_CASE(a_child_that_was_to_end_is_replaced_at_once_and_counts_as_no_restart) {
  bool planned = true;
  SupervisedChild a = Make("a");
  a.planned = [&planned] { return planned; };
  Start({.intensity = 1}, {a, Make("b")});
  News();
  for (int i = 0; i < 5; ++i) End("a", i % 2 == 0 ? exit_reason::normal : exit_reason::unhandled_exception);
  BOOST_TEST(News() == "-a, +a, -a, +a, -a, +a, -a, +a, -a, +a");
  failures["a"] = 1;
  End("a");
  BOOST_TEST(News() == "-a, !a, +a, again a");   // a start that fails is one
  planned = false;
  End("a");
  BOOST_TEST(News() == "-a, -b, over");
}

BOOST_AUTO_TEST_CASE(restarts_longer_ago_than_the_period_do_not_count) {
  Start({.intensity = 1, .period = seconds(60)}, {Make("a")});
  for (int i = 0; i < 5; ++i) {
    End("a");
    Advance(seconds(61));
  }
  BOOST_TEST(!over);
  for (int i = 0; i < 2; ++i) End("a");
  BOOST_TEST(over);
}

BOOST_AUTO_TEST_CASE(a_start_that_fails_is_tried_again_with_back_off) {
  failures["b"] = 3;
  Start(Strategy::kOneForOne);
  Advance(milliseconds(0));
  BOOST_TEST(News() == "+a, !b, +c, !b");   // the others do not wait for it
  Advance(milliseconds(100));
  BOOST_TEST(News() == "!b");
  Advance(milliseconds(200));
  BOOST_TEST(News() == "+b, again b");
}

BOOST_AUTO_TEST_CASE(those_that_belong_to_a_failed_start_wait_with_it) {
  for (const Strategy strategy : {Strategy::kOneForAll, Strategy::kRestForOne}) {
    failures["b"] = 2;
    Start(strategy);
    Advance(milliseconds(0));
    const bool all = strategy == Strategy::kOneForAll;
    BOOST_TEST(News() == (all ? "+a, !b, -a, +a, again a, !b, -a" : "+a, !b, !b"));
    Advance(milliseconds(100));
    BOOST_TEST(News() == (all ? "+a, again a, +b, again b, +c, again c" : "+b, again b, +c, again c"));
    Stop();
    News();
  }
}

BOOST_AUTO_TEST_CASE(failed_starts_use_intensity_up) {
  failures["b"] = 1000;
  Start({.intensity = 3}, {Make("a"), Make("b")});
  Advance(seconds(10));
  BOOST_TEST(News() == "+a, !b, !b, !b, !b, -a, over");
  BOOST_TEST(reason == "'b' ended again after 3 restarts in 1 m 00 s, expected at most 3");
  BOOST_TEST(over);
}

BOOST_AUTO_TEST_CASE(without_any_intensity_the_first_failed_start_is_the_end) {
  failures["b"] = 1;
  Start({.intensity = 0}, {Make("a"), Make("b"), Make("c")});
  BOOST_TEST(News() == "+a, !b, -a, over");
  BOOST_TEST(over);
}

BOOST_AUTO_TEST_CASE(a_temporary_child_that_is_stopped_with_its_group_before_it_has_begun_stays_away) {
  failures["a"] = 1;
  Start({.strategy = Strategy::kOneForAll, .intensity = 1}, {Make("a"), Make("x", Restart::kTemporary), Make("b")});
  Advance(seconds(1));
  BOOST_TEST(News() == "!a, +a, again a, +b, again b");
  End("a");
  BOOST_TEST(News() == "-a, -b, over");
}

BOOST_AUTO_TEST_CASE(a_child_that_had_ended_before_it_was_watched_counts_as_ended) {
  caf::actor gone = system().actors().spawn(testing::Child);
  caf::anon_send(gone, exit_reason::unhandled_exception);
  Settle();
  SupervisedChild child = Make("gone");
  child.start = [gone]() -> absl::StatusOr<caf::actor> { return gone; };
  Start({.intensity = 0}, {child, Make("a")});
  BOOST_TEST(News() == "+a, -a, over");
}

BOOST_AUTO_TEST_CASE(a_supervisor_may_be_a_child) {
  SupervisedChild inner{.spec = {.id = "inner"}, .start = [this]() -> absl::StatusOr<caf::actor> {
                          return now["inner"] = SpawnSupervisor(system(), {.intensity = 0}, {Make("a"), Make("b")}, {});
                        }};
  Start({.strategy = Strategy::kRestForOne}, {inner, Make("c")});
  BOOST_TEST(News() == "+c, +a, +b");
  End("b");   // too much for the inner one, whose end is the outer one's business
  BOOST_TEST(News() == "-b, -a, -c, again inner, +c, again c, +a, +b");
  Stop();
  BOOST_TEST(News() == "-c, -b, -a");
}

BOOST_AUTO_TEST_CASE(nobody_needs_to_listen) {
  supervisor = SpawnSupervisor(system(), {.intensity = 1}, {Make("a"), Make("b")}, {});
  Settle();
  for (int i = 0; i < 2; ++i) End("a");
  BOOST_TEST(News() == "+a, +b, -a, +a, -a, -b");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
