// Bounds of delay at the shard's actor: who is waited for, and until when. Virtual time.
#include <boost/test/unit_test.hpp>
#include <utility>
#include <vector>

#include "caf/send.hpp"
#include "ps/router.h"
#include "ps/shard_actor.h"
#include "tests/support/ask_later.h"
#include "tests/support/virtual_system.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using testing::AskLater;
using testing::Later;

struct Fixture : testing::VirtualSystem {
  std::vector<TableSpec> tables{{.name = "w", .rows = {}, .rule = "add", .rule_options = {}}, {.name = "free", .rows = {}, .rule = "add", .rule_options = {}}};
  Router router{tables, 1};
  ShardActor shard;
  std::vector<Round> done{kFirstRound, kFirstRound};

  Fixture() {
    ShardActorOptions options;
    options.shard = {.tables = tables, .writers = 2, .consistency = *ParseConsistencies("delay:50,free=asp")};
    options.pull_wait_max = milliseconds(400);
    shard = *SpawnShard(system(), options);
  }
  ~Fixture() { caf::anon_send_exit(shard, caf::exit_reason::kill); }
  void Push(uint32_t writer) {
    const Round round = done[writer] + 1;
    const auto pushed = AskLater<Pushed>(
        system(), shard,
        ::troupe::Push{.writer = WriterId{writer}, .round = round, .previous = std::exchange(done[writer], round), .parts = {}, .keys = {}, .values = {}});
    Settle();
    BOOST_REQUIRE(pushed->has_value() && (*pushed)->ok());
  }
  Later<Pulled> Pull(uint32_t writer, uint32_t table = 0) {
    const Key key = 7;
    const Router::TablePull wanted[] = {{.table = table, .keys = {&key, 1}}};
    const RoutedPull pull = router.Pull(wanted);
    auto pulled = AskLater<Pulled>(
        system(), shard,
        ::troupe::Pull{
            .writer = WriterId{writer}, .round = done[writer] + 1, .parts = pull.shards[0].parts, .keys = pull.shards[0].keys, .tables = pull.tables});
    Settle();
    return pulled;
  }
};

BOOST_FIXTURE_TEST_SUITE(DelayTest, Fixture)

BOOST_AUTO_TEST_CASE(a_writer_that_is_behind_is_waited_for_once_it_is_silent_for_too_long) {
  for (int i = 0; i < 5; ++i) Push(0);   // far ahead, but writer 1 was heard of just now
  BOOST_TEST(Pull(0)->has_value());
  Advance(milliseconds(60));
  BOOST_TEST(Pull(1)->has_value());      // who is behind waits for nobody
  BOOST_TEST(Pull(0, 1)->has_value());   // nor does a pull of a table that is free
  const auto waits = Pull(0);
  BOOST_TEST(!waits->has_value());
  Advance(milliseconds(100));
  BOOST_TEST(!waits->has_value());
  Push(1);   // still four rounds behind
  BOOST_REQUIRE(waits->has_value());
  BOOST_TEST((*waits)->ok());
}

BOOST_AUTO_TEST_CASE(nobody_is_waited_for_who_keeps_up_and_nobody_for_ever) {
  for (int i = 0; i < 3; ++i) Push(0), Push(1);
  Advance(milliseconds(200));
  BOOST_TEST(Pull(0)->has_value());
  Push(0), Push(0);
  Advance(milliseconds(60));
  const auto waits = Pull(0);
  BOOST_TEST(!waits->has_value());
  Advance(milliseconds(500));
  BOOST_REQUIRE(waits->has_value());
  BOOST_TEST(absl::IsDeadlineExceeded((*waits)->status()));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
