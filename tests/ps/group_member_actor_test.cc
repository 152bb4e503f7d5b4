// Members as actors, asked as their workers and a trainer ask them.
#include "ps/group_member_actor.h"

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "actors/ask.h"
#include "actors/stop_actors.h"
#include "actors/text.h"
#include "ps/router.h"

namespace troupe {
namespace {

constexpr uint32_t kMembers = 3;
constexpr std::chrono::seconds kLimit{20};

std::vector<TableSpec> Tables() {
  std::vector<TableSpec> tables(1);
  tables[0].name = "a";
  tables[0].rows = 5000;   // a ring of three chunks
  tables[0].rule = "sgd";
  tables[0].rule_options = {{"learning_rate", 1.0}};
  tables[0].kept_by = KeptBy::kRing;
  return tables;
}

struct Fixture {
  System system{System::Options{.compute_threads = 1}};
  std::vector<GroupMemberActor> members;
  std::vector<ShardActor> copies;
  std::promise<std::string> failure;
  std::atomic<bool> failed{false};

  explicit Fixture(std::chrono::milliseconds patience = kLimit, bool join = true) {
    for (uint32_t i = 0; i < kMembers; ++i) {
      GroupMemberActorOptions options;
      options.member = {.tables = Tables(), .shards = 1, .member = i, .members = kMembers, .writers = {i}};
      options.copy.shard.tables = Tables();
      options.copy.shard.stable_when_applied = true;
      options.patience = patience;
      options.failed = [this](const absl::Status& status) {
        if (!failed.exchange(true)) failure.set_value(status.ToString());
      };
      auto spawned = SpawnGroupMember(system, options);
      BOOST_REQUIRE_MESSAGE(spawned.ok(), spawned.status().ToString());
      members.push_back(spawned->member);
      copies.push_back(spawned->copy);
    }
    if (join) JoinMembers(members);
  }
  ~Fixture() {
    StopAndWait(system, members);
    StopAndWait(system, copies);
  }
  template <class Reply, class Handle, class Message>
  absl::StatusOr<Reply> Ask(const Handle& to, Message message) {
    return troupe::Ask<Reply>(system, to, std::move(message), kLimit);
  }
  Push PushOf(uint32_t writer, Round round, Round previous, float value) {
    Push push;
    push.writer = WriterId{writer};
    push.round = round;
    push.previous = previous;
    if (OrdinalOf(round) == 0) return push;
    RoutedPush routed = Router(Tables(), 1).PushDense(0, Block::Adopt(std::vector<float>(5000, value)));
    push.parts = Block::Adopt(std::move(routed.shards[1][0].parts));
    push.values = routed.shards[1][0].values;
    return push;
  }
  Pull PullOf(uint32_t writer, Round round) {
    const RoutedPull routed = Router(Tables(), 1).PullDense(0);
    Pull pull;
    pull.writer = WriterId{writer};
    pull.round = round;
    pull.parts = routed.shards[1].parts;
    pull.tables = routed.tables;
    return pull;
  }
};

}   // namespace

BOOST_AUTO_TEST_SUITE(GroupMemberActorTest)

BOOST_AUTO_TEST_CASE(rounds_go_through_all_copies) {
  Fixture group;
  for (uint32_t writer = 0; writer < kMembers; ++writer) {
    const auto pushed = group.Ask<Pushed>(group.members[writer], group.PushOf(writer, MakeRound(1, 1), kFirstRound, static_cast<float>(writer + 1)));
    BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
    BOOST_TEST(pushed->clock == MakeRound(1, 1));
  }
  for (uint32_t writer = 0; writer < kMembers; ++writer) {
    const auto pulled = group.Ask<Pulled>(group.members[writer], group.PullOf(writer, MakeRound(1, 2)));
    BOOST_REQUIRE_MESSAGE(pulled.ok(), pulled.status().ToString());
    for (const float value : pulled->values.As<float>()) BOOST_REQUIRE_EQUAL(value, -2.0f);   // the mean of 1, 2 and 3
  }
}

BOOST_AUTO_TEST_CASE(a_push_with_a_pull_is_answered_when_the_round_is_over) {
  Fixture group;
  for (uint32_t writer = 1; writer < kMembers; ++writer)
    BOOST_REQUIRE(group.Ask<Pushed>(group.members[writer], group.PushOf(writer, MakeRound(1, 1), kFirstRound, 3)).ok());
  const auto both = group.Ask<PushPulled>(group.members[0], PushPull{group.PushOf(0, MakeRound(1, 1), kFirstRound, 0), group.PullOf(0, MakeRound(1, 2))});
  BOOST_REQUIRE_MESSAGE(both.ok(), both.status().ToString());
  BOOST_TEST(both->pushed.clock == MakeRound(1, 1));
  for (const float value : both->pulled.values.As<float>()) BOOST_REQUIRE_EQUAL(value, -2.0f);
  const auto gap = group.Ask<PushPulled>(group.members[0], PushPull{group.PushOf(0, MakeRound(1, 3), MakeRound(1, 2), 0), group.PullOf(0, MakeRound(1, 4))});
  BOOST_REQUIRE(gap.ok());
  BOOST_TEST((gap->pushed.outcome == Pushed::Outcome::kExpect));
}

BOOST_AUTO_TEST_CASE(an_assignment_reaches_every_copy_and_one_copy_is_saved) {
  Fixture group;
  const std::vector<Key> keys{7};
  const std::vector<float> values{42};
  const Assign assign{.table = 0, .keys = Block::Copy(std::span<const Key>(keys)), .values = Block::Copy(std::span<const float>(values))};
  BOOST_REQUIRE(group.Ask<Assigned>(group.members[1], assign).ok());
  for (uint32_t writer = 0; writer < kMembers; ++writer) {
    const auto pulled = group.Ask<Pulled>(group.members[writer], group.PullOf(writer, MakeRound(1, 1)));
    BOOST_REQUIRE(pulled.ok());
    BOOST_TEST(pulled->values.As<float>()[7] == 42.0f);
    const auto saved = group.Ask<RowsSaved>(group.members[writer], SaveRows{.uri = absl::StrCat("mem:/part-", writer), .at = 0, .assigned = {}});
    BOOST_REQUIRE_MESSAGE(saved.ok(), saved.status().ToString());
    BOOST_TEST(saved->rows == 5000u);
  }
  const Assign wrong{.table = 3, .keys = {}, .values = {}};
  BOOST_TEST(Message(group.Ask<Assigned>(group.members[1], wrong).status()) == "assign: table is 3, expected < 1");
}

BOOST_AUTO_TEST_CASE(the_end_of_a_phase_is_answered_to_all_at_once) {
  Fixture group;
  std::vector<std::future<absl::StatusOr<Pushed>>> answers;
  for (uint32_t writer = 0; writer < kMembers; ++writer) {
    answers.push_back(std::async(std::launch::async,
                                 [&, writer] { return group.Ask<Pushed>(group.members[writer], group.PushOf(writer, MakeRound(2, 0), kFirstRound, 0)); }));
  }
  for (auto& answer : answers) {
    const auto pushed = answer.get();
    BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
    BOOST_TEST(pushed->clock == MakeRound(2, 0));
  }
  const auto taken = group.Ask<SnapshotTaken>(group.members[2], TakeSnapshot{.uri = "mem:/snapshot", .at = MakeRound(2, 0)});
  BOOST_REQUIRE_MESSAGE(taken.ok(), taken.status().ToString());
  BOOST_TEST(taken->clock == MakeRound(2, 0));
}

BOOST_AUTO_TEST_CASE(a_member_without_a_group_takes_nothing) {
  Fixture group(kLimit, false);
  const std::string expected = "worker 0 does not know its group yet";
  BOOST_TEST(Message(group.Ask<Pushed>(group.members[0], group.PushOf(0, MakeRound(1, 1), kFirstRound, 1)).status()) == expected);
  BOOST_TEST(Message(group.Ask<Assigned>(group.members[0], Assign{.table = 0, .keys = {}, .values = {}}).status()) == expected);
  BOOST_TEST(Message(group.Ask<ReduceTaken>(group.members[0], ReduceMessage{}).status()) == expected);
  JoinMembers(group.members);
  BOOST_TEST(group.Ask<Pushed>(group.members[0], group.PushOf(0, MakeRound(1, 1), kFirstRound, 1)).ok());
}

BOOST_AUTO_TEST_CASE(a_member_that_sends_nothing_ends_the_wait) {
  Fixture group(std::chrono::milliseconds(50));
  for (uint32_t writer = 0; writer < 2; ++writer)
    BOOST_REQUIRE(group.Ask<Pushed>(group.members[writer], group.PushOf(writer, MakeRound(1, 1), kFirstRound, 1)).ok());
  auto failure = group.failure.get_future();
  BOOST_REQUIRE(failure.wait_for(kLimit) == std::future_status::ready);
  const std::string text = failure.get();
  BOOST_TEST(text.starts_with("UNAVAILABLE: worker "), text);
  BOOST_TEST(text.find(": table 'a' waits in turn 0 for ") != std::string::npos, text);
}

BOOST_AUTO_TEST_CASE(a_copy_that_ends_and_messages_that_are_malformed_are_errors) {
  Fixture group;
  BOOST_TEST(Message(group.Ask<Prepared>(group.members[0], Prepare{.cut = 1, .hold = kLimit}).status()) ==
             "there are no cuts where workers keep tables (ring, tree)");
  BOOST_TEST(Message(group.Ask<Frozen>(group.members[0], Freeze{.cut = 1, .clocks = {}}).status()) ==
             "there are no cuts where workers keep tables (ring, tree)");
  BOOST_TEST(Message(group.Ask<Released>(group.members[0], Release{.cut = 1}).status()) == "there are no cuts where workers keep tables (ring, tree)");
  BOOST_TEST(Message(group.Ask<Opened>(group.members[0], Open{WriterId{1}}).status()) == "open: writer is 1, expected one of member 0's");
  BOOST_TEST(group.Ask<Opened>(group.members[0], Open{WriterId{0}})->clock == kFirstRound);
  BOOST_TEST(Message(group.Ask<Pushed>(group.members[0], group.PushOf(1, MakeRound(1, 1), kFirstRound, 1)).status()) ==
             "push: writer is 1, expected one of member 0's");
  BOOST_TEST(!group.Ask<PushPulled>(group.members[0], PushPull{group.PushOf(1, MakeRound(1, 1), kFirstRound, 1), group.PullOf(1, MakeRound(1, 1))}).ok());
  BOOST_TEST(!group.Ask<ReduceTaken>(group.members[0], ReduceMessage{.table = 5}).ok());
  BOOST_TEST(!group.Ask<Called>(group.members[0], Call{.call = {.function = "no_such"}, .at = 0, .assigned = {}}).ok());
  group.system.Stop(group.copies[1]);
  auto failure = group.failure.get_future();
  BOOST_REQUIRE(failure.wait_for(kLimit) == std::future_status::ready);
  BOOST_TEST(failure.get().find("worker 1") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
