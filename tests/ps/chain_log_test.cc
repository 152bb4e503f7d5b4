#include "ps/chain_log.h"

#include <boost/test/unit_test.hpp>

namespace troupe {
namespace {

BOOST_AUTO_TEST_SUITE(ChainLogTest)

BOOST_AUTO_TEST_CASE(without_a_log_what_was_told_is_there) {
  ChainLog log(false);
  log.Tell(1);
  BOOST_TEST(log.Through(1, 0) == 1u);
  BOOST_TEST((!log.on() && !log.kept()));
}

BOOST_AUTO_TEST_CASE(until_its_first_snapshot_is_there_only_what_was_acknowledged_is) {
  ChainLog log(true);
  for (uint64_t change = 1; change <= 5; ++change) log.Tell(change);
  log.OnTold(1, log.shard());
  const auto begun = log.Begin(3, 4);
  BOOST_REQUIRE(begun.has_value());
  BOOST_TEST((log.kept() && !log.Begin(4, 5)));
  BOOST_TEST(log.Through(5, 2) == 2u);
  BOOST_TEST(log.OnBegun(*begun, absl::OkStatus()));
  BOOST_TEST(log.Through(5, 2) == 4u);   // the snapshot has 2, 3 and 4, though the shard has not answered them yet
  log.OnTold(3, log.shard());
  BOOST_TEST(log.Through(5, 2) == 4u);
  log.OnTold(5, log.shard());
  BOOST_TEST(log.Through(5, 2) == 5u);
}

BOOST_AUTO_TEST_CASE(changes_are_there_up_to_the_first_that_is_not) {
  ChainLog log(true);
  BOOST_TEST(log.OnBegun(*log.Begin(1, 0), absl::OkStatus()));
  for (uint64_t change = 1; change <= 3; ++change) log.Tell(change);
  BOOST_TEST(log.Through(3, 0) == 0u);
  log.OnTold(2, log.shard());
  BOOST_TEST(log.Through(3, 0) == 0u);
  log.OnTold(1, log.shard());
  BOOST_TEST(log.Through(3, 0) == 2u);
}

BOOST_AUTO_TEST_CASE(answers_for_another_log_or_of_another_shard_do_not_count) {
  ChainLog log(true);
  const auto first = log.Begin(1, 0);
  BOOST_TEST(log.End());
  BOOST_TEST(!log.End());
  BOOST_TEST(!log.OnBegun(*first, absl::OkStatus()));
  const auto second = log.Begin(2, 0);
  BOOST_TEST(!log.OnBegun(*first, absl::OkStatus()));
  log.Tell(1);
  const uint64_t shard = log.shard();
  log.OnOtherShard();
  BOOST_TEST(!log.kept());
  BOOST_TEST(!log.OnBegun(*second, absl::OkStatus()));
  BOOST_TEST(log.OnBegun(*log.Begin(2, 0), absl::OkStatus()));   // the same name, another shard
  log.Tell(1);
  log.OnTold(1, shard);
  BOOST_TEST(log.Through(1, 0) == 0u);
}

BOOST_AUTO_TEST_CASE(a_log_that_failed_has_failed_until_it_begins_again_or_none_is_needed) {
  ChainLog log(true);
  const auto begun = log.Begin(1, 0);
  log.Tell(1);
  BOOST_TEST(log.OnBegun(*begun, absl::InternalError("no disk")));   // it is this log's answer; nothing has come into it
  log.Fail(absl::InternalError("no disk"));
  BOOST_TEST(log.failed().message() == "no disk");
  BOOST_TEST(log.Through(1, 0) == 0u);
  const ChainLog::Begun again = log.BeginAgain(1);
  BOOST_TEST((again.epoch == 1 && !log.failed().ok()));
  BOOST_TEST((log.begins() && log.OnBegun(again, absl::OkStatus()) && !log.begins() && log.failed().ok()));
  BOOST_TEST(log.Through(1, 0) == 1u);   // what was refused is in its snapshot
  const ChainLog::Begun once_more = log.BeginAgain(1);
  log.Fail(absl::InternalError("no disk, again"));
  BOOST_TEST((log.OnBegun(once_more, absl::OkStatus()) && !log.failed().ok()));   // what failed since is not in its snapshot
  log.Fail(absl::InternalError("no disk"));
  BOOST_TEST((log.kept() && log.End() && log.failed().ok()));
  log.Fail(absl::InternalError("no disk"));
  BOOST_TEST((log.Begin(2, 1) && log.failed().ok()));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
