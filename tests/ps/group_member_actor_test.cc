// Members as actors, asked as their workers and a trainer ask them.
#include "ps/group_member_actor.h"

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/ask.h"
#include "actors/caf_status.h"
#include "actors/stop_actors.h"
#include "actors/text.h"
#include "ps/router.h"

namespace troupe {
namespace {

constexpr uint32_t kMembers = 3;
constexpr std::chrono::seconds kLimit{20};

constexpr uint64_t kRows = 5000;   // a ring of three chunks

std::vector<TableSpec> Tables(uint64_t rows = kRows) {
  std::vector<TableSpec> tables(1);
  tables[0].name = "a";
  tables[0].rows = rows;
  tables[0].rule = "momentum";   // of which nothing stays but the place for it
  tables[0].rule_options = {{"learning_rate", 1.0}, {"momentum", 0.0}};
  tables[0].kept_by = KeptBy::kRing;
  return tables;
}

struct FixtureOptions {
  std::chrono::milliseconds patience = kLimit;
  bool join = true;
  uint64_t rows = kRows;
  std::string snapshot_uri = "";   // of member 0
};

struct Fixture {
  const FixtureOptions options;
  System system{System::Options{.compute_threads = 1}};
  std::vector<GroupMemberActor> members;
  std::vector<ShardActor> copies;
  std::vector<uint64_t> incarnations;
  std::promise<std::string> failure;
  std::atomic<bool> failed{false};

  explicit Fixture(FixtureOptions given = {}) : options(std::move(given)), members(kMembers), copies(kMembers), incarnations(kMembers) {
    for (uint32_t i = 0; i < kMembers; ++i) Spawn(i);
    if (options.join) JoinMembers(members);
  }
  void Spawn(uint32_t i) {
    GroupMemberActorOptions member;
    member.member = {.tables = Tables(options.rows), .shards = 1, .member = i, .members = kMembers, .writers = {i}};
    member.incarnation = ++incarnations[i];
    member.copy.shard.tables = Tables(options.rows);
    member.copy.shard.stable_when_applied = true;
    member.copy.snapshot_interval = std::chrono::hours(1);
    if (i == 0) member.copy.snapshot_uri = options.snapshot_uri;
    member.patience = options.patience;
    member.retry = std::chrono::milliseconds(1);
    member.failed = [this](const absl::Status& status) {
      if (!failed.exchange(true)) failure.set_value(status.ToString());
    };
    auto spawned = SpawnGroupMember(system, member);
    BOOST_REQUIRE_MESSAGE(spawned.ok(), spawned.status().ToString());
    members[i] = spawned->member;
    copies[i] = spawned->copy;
  }
  /// Members that fall all at once and are replaced by others, which have nothing of theirs.
  void Replace(const std::vector<uint32_t>& which) {
    for (const uint32_t i : which) StopAndWait(system, std::vector{members[i]});
    for (const uint32_t i : which) Spawn(i);
    JoinMembers(members);   // in a process of its own it would be there under the same address
  }
  std::string Failure() {
    auto future = failure.get_future();
    BOOST_REQUIRE(future.wait_for(kLimit) == std::future_status::ready);
    return future.get();
  }
  /// As soon as it is not refused for the time being.
  template <class Reply, class Message>
  absl::StatusOr<Reply> AskUntil(uint32_t member, const Message& message) {
    const auto start = std::chrono::steady_clock::now();
    for (;;) {
      auto reply = Ask<Reply>(members[member], message);
      if (reply.ok() || !absl::IsUnavailable(reply.status()) || std::chrono::steady_clock::now() - start > kLimit) return reply;
    }
  }
  /// Every copy's bytes; equal where their rows, state and ledger are.
  std::string Bytes(uint32_t member) {
    const std::string uri = absl::StrCat("mem:/bytes-", member);
    const auto taken = AskUntil<SnapshotTaken>(member, TakeSnapshot{.uri = uri, .at = 0});
    BOOST_REQUIRE_MESSAGE(taken.ok(), taken.status().ToString());
    const auto file = system.storage().Read(uri);
    BOOST_REQUIRE(file.ok());
    return {reinterpret_cast<const char*>(file->data()), file->size()};
  }
  void CheckValues(Round round, float expected) {
    for (uint32_t writer = 0; writer < kMembers; ++writer) {
      const auto pulled = AskUntil<Pulled>(writer, PullOf(writer, round));
      BOOST_REQUIRE_MESSAGE(pulled.ok(), pulled.status().ToString());
      BOOST_REQUIRE_EQUAL(pulled->values.As<float>().size(), options.rows);
      for (const float value : pulled->values.As<float>()) BOOST_REQUIRE_EQUAL(value, expected);
      BOOST_TEST((Bytes(writer) == Bytes(0)));
    }
  }
  void PushAll(Round round, Round previous, float value, uint32_t but = kMembers) {
    for (uint32_t writer = 0; writer < kMembers; ++writer) {
      if (writer == but) continue;
      const auto pushed = AskUntil<Pushed>(writer, PushOf(writer, round, previous, value));
      BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
      BOOST_REQUIRE(pushed->outcome == Pushed::Outcome::kApplied);
    }
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
    RoutedPush routed = Router(Tables(options.rows), 1).PushDense(0, Block::Adopt(std::vector<float>(options.rows, value)));
    push.parts = Block::Adopt(std::move(routed.shards[1][0].parts));
    push.values = routed.shards[1][0].values;
    return push;
  }
  Pull PullOf(uint32_t writer, Round round) {
    const RoutedPull routed = Router(Tables(options.rows), 1).PullDense(0);
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
  BOOST_REQUIRE(group.AskUntil<Assigned>(1, assign).ok());
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
  Fixture group({.join = false});
  const std::string expected = "worker 0 does not know its group yet";
  BOOST_TEST(Message(group.Ask<Pushed>(group.members[0], group.PushOf(0, MakeRound(1, 1), kFirstRound, 1)).status()) == expected);
  BOOST_TEST(Message(group.Ask<Assigned>(group.members[0], Assign{.table = 0, .keys = {}, .values = {}}).status()) == expected);
  BOOST_TEST(Message(group.Ask<ReduceTaken>(group.members[0], ReduceMessage{}).status()) == expected);
  JoinMembers(group.members);
  BOOST_TEST(group.Ask<Pushed>(group.members[0], group.PushOf(0, MakeRound(1, 1), kFirstRound, 1)).ok());
}

BOOST_AUTO_TEST_CASE(a_member_that_sends_nothing_ends_the_wait) {
  Fixture group({.patience = std::chrono::milliseconds(50)});
  for (uint32_t writer = 0; writer < 2; ++writer)
    BOOST_REQUIRE(group.Ask<Pushed>(group.members[writer], group.PushOf(writer, MakeRound(1, 1), kFirstRound, 1)).ok());
  const std::string text = group.Failure();
  BOOST_TEST(text.starts_with("ABORTED: worker "), text);
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
  BOOST_TEST(group.AskUntil<StatePiece>(0, FetchState{.group = kMembers, .at = 0}).ok());   // it works in its group from here on
  BOOST_TEST(!group.Ask<ReduceTaken>(group.members[0], ReduceMessage{.group = kMembers, .table = 5}).ok());
  BOOST_TEST(!group.Ask<Called>(group.members[0], Call{.call = {.function = "no_such"}, .at = 0, .assigned = {}}).ok());
  group.system.Stop(group.copies[1]);
  BOOST_TEST(group.Failure().find("worker 1: the copy of the tables: ") != std::string::npos);
  BOOST_TEST(absl::IsAborted(group.Ask<Opened>(group.members[1], Open{WriterId{1}}).status()));   // whoever asks is told
  BOOST_TEST(!IsRetryable(group.Ask<Greeting>(group.members[1], Greeting{}).status()));
  BOOST_TEST(!group.Ask<Greeting>(group.members[0], Greeting{.member = 7, .incarnations = {1, 1, 1}}).ok());
}

BOOST_AUTO_TEST_CASE(gradients_that_are_finite_and_whose_sum_is_not_are_named) {
  Fixture group;
  for (uint32_t writer = 0; writer < kMembers; ++writer)
    BOOST_REQUIRE(group.Ask<Pushed>(group.members[writer], group.PushOf(writer, MakeRound(1, 1), kFirstRound, -3e38f)).ok());
  const std::string text = group.Failure();
  BOOST_TEST(text.find("table 'a': in batch 1 of phase 1 the gradients of all workers add up to -inf for row 0: each of them is finite, their sum is too large "
                       "for a float") != std::string::npos,
             text);
}

BOOST_AUTO_TEST_CASE(a_member_that_is_replaced_takes_the_groups_state_and_the_round_begins_anew) {
  for (const uint64_t rows : {kRows, uint64_t{250'000}}) {   // of the latter, with its rule's state, the state travels in several pieces
    Fixture group({.rows = rows});
    group.PushAll(MakeRound(1, 1), kFirstRound, 1);
    group.CheckValues(MakeRound(1, 2), -1);
    const std::vector<Key> keys{7};
    const std::vector<float> values{-1};
    const Assign assign{.table = 0, .keys = Block::Copy(std::span<const Key>(keys)), .values = Block::Copy(std::span<const float>(values))};
    BOOST_REQUIRE(group.Ask<Assigned>(group.members[0], assign).ok());
    group.PushAll(MakeRound(1, 2), MakeRound(1, 1), 2, 1);   // of all but the one that falls
    group.Replace({1});
    const auto opened = group.AskUntil<Opened>(1, Open{WriterId{1}});
    BOOST_REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
    BOOST_TEST(opened->clock == MakeRound(1, 1));
    BOOST_REQUIRE(group.Ask<Pushed>(group.members[1], group.PushOf(1, MakeRound(1, 2), MakeRound(1, 1), 2)).ok());
    group.CheckValues(MakeRound(1, 3), -3);
    BOOST_REQUIRE(group.AskUntil<Assigned>(0, assign).ok());
    group.Replace({0, 2});   // two of three: what the third has is enough
    group.PushAll(MakeRound(1, 3), MakeRound(1, 2), 1);
    group.Replace({2});
    BOOST_TEST(group.AskUntil<Opened>(2, Open{WriterId{2}}).ok());
    group.PushAll(MakeRound(1, 3), MakeRound(1, 2), 1);   // again, whoever has had it
    const auto row = group.AskUntil<Pulled>(2, group.PullOf(2, MakeRound(1, 4)));
    BOOST_REQUIRE(row.ok());
    BOOST_TEST(row->values.As<float>()[7] == -2.0f);   // assigned, and one round more
    BOOST_TEST(row->values.As<float>()[8] == -4.0f);
  }
}

BOOST_AUTO_TEST_CASE(a_group_that_has_lost_all_members_goes_on_from_what_one_has_kept) {
  Fixture group({.snapshot_uri = "mem:/tables"});
  group.PushAll(MakeRound(1, 1), kFirstRound, 1);
  group.CheckValues(MakeRound(1, 2), -1);
  const std::vector<Key> keys{7};
  const std::vector<float> values{42};
  const Assign assign{.table = 0, .keys = Block::Copy(std::span<const Key>(keys)), .values = Block::Copy(std::span<const float>(values))};
  BOOST_REQUIRE(group.Ask<Assigned>(group.members[0], assign).ok());   // is kept with them
  group.PushAll(MakeRound(1, 2), MakeRound(1, 1), 1);
  group.Replace({0, 1, 2});
  for (uint32_t writer = 0; writer < kMembers; ++writer) {
    const auto opened = group.AskUntil<Opened>(writer, Open{WriterId{writer}});
    BOOST_REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
    BOOST_TEST(opened->clock == MakeRound(1, 1));
  }
  group.PushAll(MakeRound(1, 2), MakeRound(1, 1), 1);
  for (uint32_t writer = 0; writer < kMembers; ++writer) {
    const auto pulled = group.Ask<Pulled>(group.members[writer], group.PullOf(writer, MakeRound(1, 3)));
    BOOST_REQUIRE(pulled.ok());
    BOOST_TEST(pulled->values.As<float>()[7] == 41.0f);
    BOOST_TEST(pulled->values.As<float>()[8] == -2.0f);
    BOOST_TEST((group.Bytes(writer) == group.Bytes(0)));
  }
}

BOOST_AUTO_TEST_CASE(messages_of_another_view_are_not_taken) {
  Fixture group;
  group.PushAll(MakeRound(1, 1), kFirstRound, 1);
  group.CheckValues(MakeRound(1, 2), -1);
  BOOST_TEST(!group.Ask<ReduceTaken>(group.members[0], ReduceMessage{.group = kMembers + 1, .from = 2}).value().taken);
  BOOST_TEST(Message(group.Ask<StatePiece>(group.members[0], FetchState{.group = kMembers - 1, .at = 0}).status()) ==
             "worker 0 is not in this view of its group");
  BOOST_TEST(Message(group.Ask<Assigned>(group.members[0], AssignCopy{.group = 1, .assign = {}}).status()) == "worker 0 is not in this view of its group");
  const auto piece = group.AskUntil<StatePiece>(0, FetchState{.group = kMembers, .at = 0});
  BOOST_REQUIRE_MESSAGE(piece.ok(), piece.status().ToString());
  BOOST_TEST(piece->over == MakeRound(1, 1));
  BOOST_TEST(piece->bytes.size() == piece->total);
  BOOST_TEST(Message(group.Ask<StatePiece>(group.members[0], FetchState{.group = kMembers, .at = piece->total}).status()) ==
             absl::StrCat("fetch: from byte ", piece->total, ", expected below ", piece->total));
}

BOOST_AUTO_TEST_CASE(a_member_that_never_comes_ends_the_wait) {
  Fixture group({.patience = std::chrono::milliseconds(50), .join = false});
  group.system.Stop(group.members[2]);
  JoinMembers(group.members);
  const std::string text = group.Failure();
  BOOST_TEST(text.starts_with("ABORTED: worker "), text);
  BOOST_TEST(text.find(": it waits for workers 2 to be there: nothing has come for ") != std::string::npos, text);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
