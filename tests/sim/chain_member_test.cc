// Members of a chain on simulated nodes, one message at a time: who takes what, from when on, and until when.
#include "ps/chain_member_actor.h"

#include <signal.h>
#include <sys/resource.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "actors/status.h"
#include "actors/storage/scratch_folder.h"
#include "actors/text.h"
#include "ps/chain/state_transfer.h"
#include "ps/chain/wire.h"
#include "ps/chain_client_actor.h"
#include "ps/chain_keeper_actor.h"
#include "ps/partition.h"
#include "ps/snapshot_places.h"
#include "tests/support/faulty_tier.h"
#include "tests/support/sim.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using testing::FaultyTiers;
using testing::Sim;
using testing::TierFaults;

Push PushOf(Round round, Key key, float value) {
  Push push;
  push.writer = WriterId{0};
  push.round = MakeRound(1, round);
  push.previous = round == 1 ? kFirstRound : MakeRound(1, round - 1);
  const Sequence sequence = push.round << 8, before = round == 1 ? 0 : push.previous << 8;
  push.parts = Block::Adopt(
      std::vector<PushPart>{{.table = 0, .range = 0, .sequence = sequence, .previous = before, .first = 0, .count = 1, .dense = 0, .nonzeros = 1}});
  push.keys = Block::Adopt(std::vector<Key>{key});
  push.values = Block::Adopt(std::vector<float>{value});
  return push;
}
Pull PullOf(Key key) {
  Pull pull;
  pull.writer = WriterId{0};
  pull.round = MakeRound(1, 1);
  pull.parts = Block::Adopt(std::vector<PullPart>{{.table = 0, .range = 0, .first = 0, .count = 1, .dense = 0}});
  pull.keys = Block::Adopt(std::vector<Key>{key});
  return pull;
}

/// Files do not grow beyond 2,000 bytes, as if a disk were full, for as long as it lives.
class LittleRoom {
 public:
  LittleRoom() {
    BOOST_REQUIRE(getrlimit(RLIMIT_FSIZE, &before_) == 0);
    handler_ = signal(SIGXFSZ, SIG_IGN);
    const rlimit little{.rlim_cur = 2'000, .rlim_max = before_.rlim_max};
    BOOST_REQUIRE(setrlimit(RLIMIT_FSIZE, &little) == 0);
  }
  ~LittleRoom() {
    BOOST_TEST(setrlimit(RLIMIT_FSIZE, &before_) == 0);
    signal(SIGXFSZ, handler_);
  }
  LittleRoom(const LittleRoom&) = delete;
  LittleRoom& operator=(const LittleRoom&) = delete;

 private:
  rlimit before_{};
  sighandler_t handler_ = nullptr;
};

struct Fixture {
  ScratchFolder folder;   // of logs
  Sim sim{1, {}};
  ChainMemberOptions options;
  std::vector<NodeId> nodes;
  std::vector<ChainMemberActor> members;

  Fixture() {
    TableSpec table;
    table.name = "w";
    table.rule = "add";
    table.ranges = 1;
    options.shard.shard.tables = {table};
    options.shard.shard.consistency = Consistency{.kind = Consistency::Kind::kAsp};
  }
  ChainMember Add() {
    nodes.push_back(sim.AddNode([this, of = options](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
      ChainMemberOptions own = of;
      own.self = {system.node(), system.incarnation()};
      TROUPE_TRY(const ChainMemberActor member, SpawnChainMember(system, own));
      members.push_back(member);
      return std::vector<caf::actor>{caf::actor_cast<caf::actor>(member)};
    }));
    return {nodes.back(), Incarnation{1}};
  }
  /// What `actor`, in node 0 or as another node's frame would, answers.
  template <class Reply, class Message>
  absl::StatusOr<Reply> AskAt(const Address& to, const Message& message, milliseconds wait = milliseconds(1'000)) {
    std::optional<absl::StatusOr<Reply>> answer;
    sim.system(NodeId{0}).network().Request(to, Codec<Message>::Encode(message), Network::Lane::kControl, wait, [&](const absl::StatusOr<Frame>& frame) {
      answer = frame.ok() ? Codec<Reply>::Decode(*frame) : absl::StatusOr<Reply>(frame.status());
    });
    BOOST_REQUIRE(sim.Run([&] { return answer.has_value(); }).ok());
    return *answer;
  }
  Address Peer(const ChainMember& member) const { return {member.node, member.incarnation, kChainPeerActor}; }
  Address Shard(const ChainMember& member, uint64_t epoch) const { return {member.node, member.incarnation, ChainActorId(epoch)}; }
  void Configured(const ChainMember& member, const ChainView& view) {
    const auto done = AskAt<troupe::Configured>(Peer(member), Configure{view});
    BOOST_REQUIRE_MESSAGE(done.ok(), done.status().ToString());
  }
  /// a and b in a chain, in epoch 2.
  void Pair(const ChainMember& a, const ChainMember& b) {
    BOOST_REQUIRE(AskAt<troupe::Configured>(Peer(a), Configure{{.number = 1, .epoch = 1, .members = {a}, .joining = b}})->joined);
    const ChainView both{.number = 2, .epoch = 2, .members = {a, b}};
    Configured(b, both);
    Configured(a, both);
    Pass(milliseconds(100));
  }
  /// Members that are added from now on log what they are told.
  void Log() {
    auto made = ScratchFolder::Make();
    BOOST_REQUIRE(made.ok());
    folder = *std::move(made);
    options.shard.log_folder = folder.path();
    options.shard.snapshot_uri = "mem:/job/shard-0.snapshot";
    options.shard.log_patience = milliseconds(0);   // it is real time
  }
  /// Pushes 1 to `member`, in epoch 1, from round `round` on, until its log cannot take one: that one's round.
  Round FillLog(const ChainMember& member, Round round, absl::Status& status) {
    const LittleRoom little;
    for (;; ++round) {
      status = AskAt<Pushed>(Shard(member, 1), PushOf(round, 5, 1)).status();
      if (!status.ok() || round > 50) return round;
    }
  }
  void Pass(milliseconds time) {
    bool over = false;
    sim.After(time, [&] { over = true; });
    BOOST_REQUIRE(sim.Run([&] { return over; }).ok());
  }
  void Grant(size_t member, milliseconds time) { System::Deliver(members[member], GrantLease{sim.now() + time}); }
};

bool Says(const absl::Status& status, absl::StatusCode code, const std::string& what) {
  BOOST_TEST_INFO(status);
  return status.code() == code && std::string(Message(status)).find(what) != std::string::npos;
}

}   // namespace

BOOST_FIXTURE_TEST_SUITE(ChainMemberSuite, Fixture)

BOOST_AUTO_TEST_CASE(the_first_takes_changes_and_the_last_is_read) {
  const ChainMember a = Add(), b = Add();
  const ChainView alone{.number = 1, .epoch = 1, .members = {a}};
  Configured(a, alone);
  BOOST_TEST(AskAt<Pushed>(Shard(a, 1), PushOf(1, 5, 2)).ok());
  ChainView joins = alone;
  joins.number = 2;
  joins.joining = b;
  const auto joined = AskAt<troupe::Configured>(Peer(a), Configure{joins});
  BOOST_TEST((joined.ok() && joined->joined));
  const ChainView both{.number = 3, .epoch = 3, .members = {a, b}};
  Configured(b, both);
  BOOST_TEST(Says(AskAt<Pulled>(Shard(b, 3), PullOf(5)).status(), absl::StatusCode::kUnavailable, "it may not have all yet"));   // a has not said so
  Configured(a, both);
  Pass(milliseconds(100));
  const auto pushed = AskAt<Pushed>(Shard(a, 3), PushOf(2, 5, 3));
  BOOST_TEST_REQUIRE(pushed.ok(), pushed.status().ToString());
  BOOST_TEST(pushed->stable == pushed->clock);   // two have it
  const auto pulled = AskAt<Pulled>(Shard(b, 3), PullOf(5));
  BOOST_TEST_REQUIRE(pulled.ok(), pulled.status().ToString());
  BOOST_TEST(pulled->values.As<float>()[0] == 5.0F);
  BOOST_TEST(Says(AskAt<Pulled>(Shard(a, 3), PullOf(5)).status(), absl::StatusCode::kUnavailable, "not the last of its chain"));
  BOOST_TEST(Says(AskAt<Pushed>(Shard(b, 3), PushOf(3, 5, 3)).status(), absl::StatusCode::kUnavailable, "not the first of its chain"));
  // By an older route, or from a member of an older chain.
  BOOST_TEST(Says(AskAt<Pushed>(Shard(a, 1), PushOf(3, 5, 3)).status(), absl::StatusCode::kUnavailable, "has no actor"));
  BOOST_TEST(Says(AskAt<Forwarded>(Peer(b), Forward{.epoch = 1, .number = 3, .change = PushOf(3, 5, 3)}).status(), absl::StatusCode::kUnavailable,
                  "not next in this chain"));
  BOOST_TEST(Says(AskAt<Aligned>(Peer(b), Align{.epoch = 1, .number = 0}).status(), absl::StatusCode::kUnavailable, "not next in this chain"));
  // Without a it is the whole chain.
  Configured(b, {.number = 4, .epoch = 4, .members = {b}});
  BOOST_TEST(AskAt<Pushed>(Shard(b, 4), PushOf(3, 5, 4)).ok());
  BOOST_TEST(AskAt<Pulled>(Shard(b, 4), PullOf(5))->values.As<float>()[0] == 9.0F);
  BOOST_TEST(AskAt<PushPulled>(Shard(b, 4), PushPull{PushOf(4, 5, 1), PullOf(5)})->pulled.values.As<float>()[0] == 10.0F);
  BOOST_TEST(!AskAt<Pushed>(Shard(a, 3), PushOf(4, 5, 4)).ok());   // nobody behind it agrees
}

BOOST_AUTO_TEST_CASE(pushes_go_on_while_one_joins_and_count_once_in_each) {
  options.shard.shard.tables[0].ranges = 8;
  options.slice_bytes = 1;   // a slice a range
  const ChainMember a = Add(), b = Add();
  const Partition partition(options.shard.shard.tables[0], 1);
  std::map<uint32_t, Sequence> last;
  std::vector<float> expected(40);
  const auto next = [&](Round round) {
    const Key key = round % 40;
    Push push = PushOf(round, key, 1);
    const uint32_t range = partition.RangeOf(key);
    const Sequence before = std::exchange(last[range], push.round << 8);
    push.parts = Block::Adopt(std::vector<PushPart>{
        {.table = 0, .range = range, .sequence = push.round << 8, .previous = before, .first = 0, .count = 1, .dense = 0, .nonzeros = 1}});
    ++expected[key];
    return push;
  };
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  Round round = 0;
  while (round < 60) BOOST_REQUIRE(AskAt<Pushed>(Shard(a, 1), next(++round)).ok());
  std::optional<absl::StatusOr<troupe::Configured>> joined;
  sim.system(NodeId{0}).network().Request(Peer(a), Codec<Configure>::Encode(Configure{{.number = 2, .epoch = 1, .members = {a}, .joining = b}}),
                                          Network::Lane::kControl, milliseconds(10'000),
                                          [&](const absl::StatusOr<Frame>& frame) { joined = Codec<troupe::Configured>::Decode(*frame); });
  const Round before = round;
  while (!joined) {
    const auto pushed = AskAt<Pushed>(Shard(a, 1), next(++round));
    BOOST_REQUIRE(pushed.ok());
    BOOST_TEST(pushed->stable == 0u);   // one is no replica, and what joins may be all that is left
  }
  BOOST_TEST((joined->ok() && (*joined)->joined));
  BOOST_TEST(round - before > 8u);   // at least one between any two slices
  const ChainView both{.number = 3, .epoch = 3, .members = {a, b}};
  Configured(b, both);
  Configured(a, both);
  while (round < before + 100) BOOST_REQUIRE(AskAt<Pushed>(Shard(a, 3), next(++round)).ok());
  Configured(b, {.number = 4, .epoch = 4, .members = {b}});
  for (Key key = 0; key < 40; ++key) {
    Pull pull = PullOf(key);
    pull.parts = Block::Adopt(std::vector<PullPart>{{.table = 0, .range = partition.RangeOf(key), .first = 0, .count = 1, .dense = 0}});
    const auto pulled = AskAt<Pulled>(Shard(b, 4), pull);
    BOOST_REQUIRE(pulled.ok());
    BOOST_TEST(pulled->values.As<float>()[0] == expected[key]);
  }
}

/// One that joins and takes nothing makes nobody wait for ever, and what is kept for it is bounded.
BOOST_AUTO_TEST_CASE(who_joins_and_does_not_answer_holds_writers_up_until_its_state_is_begun_anew) {
  options.backlog_bytes_max = 10 * (sizeof(Push) + sizeof(PushPart));
  options.request_timeout = milliseconds(200);
  const ChainMember a = Add();
  const ChainMember b{sim.AddNode([](System&) -> absl::StatusOr<std::vector<caf::actor>> { return std::vector<caf::actor>{}; }), Incarnation{1}};
  sim.Crash(b.node, std::chrono::hours(1));   // its frames go nowhere
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  sim.system(NodeId{0}).network().Request(Peer(a), Codec<Configure>::Encode(Configure{{.number = 2, .epoch = 1, .members = {a}, .joining = b}}),
                                          Network::Lane::kControl, milliseconds(100), [](const absl::StatusOr<Frame>&) {});
  Pass(milliseconds(50));
  milliseconds longest{0};
  for (Round round = 1; round <= 60; ++round) {
    const auto start = sim.now();
    const auto pushed = AskAt<Pushed>(Shard(a, 1), PushOf(round, 5, 1));
    BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
    longest = std::max(longest, std::chrono::duration_cast<milliseconds>(sim.now() - start));
  }
  BOOST_TEST((longest > milliseconds(20)), longest.count());   // somebody waited
  BOOST_TEST((longest < milliseconds(500)), longest.count());
}

BOOST_AUTO_TEST_CASE(parts_of_a_state_are_taken_in_their_order_and_of_the_newest_attempt) {
  const ChainMember a = Add();
  auto made = troupe::Shard::Make(options.shard.shard);
  troupe::Shard& giver = *made;
  const auto adopt = [&](StatePart of, const std::vector<SnapshotSection>& sections) {
    absl::Status last;
    for (const Adopt& piece : CutState({.sections = sections, .waiting = {}}, of)) last = AskAt<Adopted>(Peer(a), piece).status();
    return last;
  };
  const StatePart base{.view = 5, .attempt = 2, .part = 0, .more = true, .number = 7};
  StatePart slice{.view = 5, .attempt = 2, .part = 1, .more = false, .number = 8};
  BOOST_TEST(Says(adopt(slice, giver.SaveSlice(0, 1)), absl::StatusCode::kUnavailable, "another part"));
  BOOST_TEST(adopt(base, giver.SaveForReplica()).ok());
  BOOST_TEST(adopt(base, giver.SaveForReplica()).ok());   // it comes twice
  BOOST_TEST(
      Says(adopt({.view = 5, .attempt = 1, .part = 0, .more = true, .number = 3}, giver.SaveForReplica()), absl::StatusCode::kUnavailable, "does not join"));
  BOOST_TEST(Says(adopt(slice, giver.SaveSlice(0, 1)), absl::StatusCode::kUnavailable, "another part"));   // a change is missing
  BOOST_TEST(AskAt<Forwarded>(Peer(a), Forward{.epoch = 5, .number = 8, .change = PushOf(1, 5, 2)}).ok());
  BOOST_REQUIRE(giver.OnPush(PushOf(1, 5, 2)).ok());
  BOOST_TEST(adopt(slice, giver.SaveSlice(0, 1)).ok());
  BOOST_TEST(adopt(slice, giver.SaveSlice(0, 1)).ok());
  BOOST_TEST(AskAt<Forwarded>(Peer(a), Forward{.epoch = 5, .number = 9, .change = PushOf(2, 5, 2)}).ok());
  slice = {.view = 6, .attempt = 0, .part = 0, .more = true, .number = 20};   // begun anew by another one
  BOOST_TEST(adopt(slice, giver.SaveForReplica()).ok());
  BOOST_TEST(Says(AskAt<Forwarded>(Peer(a), Forward{.epoch = 5, .number = 10, .change = PushOf(3, 5, 2)}).status(), absl::StatusCode::kUnavailable,
                  "not next in this chain"));
  // Half a state is none.
  BOOST_TEST(
      Says(AskAt<troupe::Configured>(Peer(a), Configure{{.number = 7, .epoch = 7, .members = {{}, a}}}).status(), absl::StatusCode::kInternal, "no state"));
}

BOOST_AUTO_TEST_CASE(a_state_that_cannot_be_taken_over_ends_the_one_that_joins) {
  std::string failed;
  options.failed = [&failed](const std::string& what) { failed = what; };
  const ChainMember a = Add();
  auto giver = troupe::Shard::Make(options.shard.shard);
  StatePart of{.view = 5, .attempt = 1, .part = 0, .more = true, .number = 0};
  const auto adopt = [&](const std::vector<SnapshotSection>& sections) {
    return AskAt<Adopted>(Peer(a), CutState({.sections = sections, .waiting = {}}, of)[0]).status();
  };
  std::vector<SnapshotSection> state = giver->SaveForReplica();
  BOOST_TEST(Says(adopt({state.back()}), absl::StatusCode::kUnavailable, "snapshot"));   // without a ledger
  BOOST_TEST(failed.find("shard 0: it cannot take over the state: ") == 0u, failed);
  failed.clear();
  ++of.attempt;
  for (const Adopt& piece : CutState({.sections = state, .waiting = {}}, of)) BOOST_TEST(AskAt<Adopted>(Peer(a), piece).ok());
  of.part = 1;
  BOOST_TEST(Says(adopt({{"slice", Block()}}), absl::StatusCode::kUnavailable, "does not say which"));
  BOOST_TEST(failed.find("does not say which") != std::string::npos, failed);
}

BOOST_AUTO_TEST_CASE(a_member_whose_rows_are_not_the_firsts_is_found) {
  std::string found;
  options.failed = [&found](const std::string& what) { found = what; };
  options.compare_every = milliseconds(20);
  const ChainMember a = Add(), b = Add();
  Configured(a, {.number = 1, .epoch = 1, .members = {a}, .joining = b});
  const ChainView both{.number = 2, .epoch = 2, .members = {a, b}};
  Configured(b, both);
  Configured(a, both);
  for (Round round = 1; round <= 3; ++round) {
    BOOST_TEST(AskAt<Pushed>(Shard(a, 2), PushOf(round, 5, 2)).ok());
    Pass(milliseconds(100));
  }
  BOOST_TEST(found.empty(), found);
  // Something that a has not been told.
  const Assign wrong{.table = 0, .keys = Block::Adopt(std::vector<Key>{5}), .values = Block::Adopt(std::vector<float>{9})};
  uint64_t next = 1;
  for (int attempt = 0; attempt < 20 && found.empty(); ++attempt) {   // a may be faster
    while (AskAt<Aligned>(Peer(b), Align{.epoch = 2, .number = next}).ok()) ++next;
    BOOST_TEST(AskAt<Forwarded>(Peer(b), Forward{.epoch = 2, .number = next, .change = wrong}).ok());
    Pass(milliseconds(50));
  }
  BOOST_TEST(found == "shard 0: range 0 of table 'w' differs from that of the first process that holds it");
}

BOOST_AUTO_TEST_CASE(who_has_left_the_chain_says_so) {
  const ChainMember a = Add(), b = Add();
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  Configured(a, {.number = 2, .epoch = 2, .members = {b}});
  BOOST_TEST(Says(AskAt<Pushed>(Shard(a, 1), PushOf(1, 5, 2)).status(), absl::StatusCode::kUnavailable, "has no actor"));
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});   // an old word
  BOOST_TEST(!AskAt<Pushed>(Shard(a, 1), PushOf(1, 5, 2)).ok());
  BOOST_TEST(
      Says(AskAt<troupe::Configured>(Peer(b), Configure{{.number = 3, .epoch = 3, .members = {a, b}}}).status(), absl::StatusCode::kInternal, "no state"));
}

BOOST_AUTO_TEST_CASE(without_a_lease_it_takes_and_answers_nothing) {
  options.leased = true;
  const ChainMember a = Add();
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  BOOST_TEST(Says(AskAt<Pushed>(Shard(a, 1), PushOf(1, 5, 2)).status(), absl::StatusCode::kUnavailable, "has not heard of its keeper"));
  Grant(0, milliseconds(500));
  BOOST_TEST(AskAt<Pushed>(Shard(a, 1), PushOf(1, 5, 2)).ok());
  BOOST_TEST(AskAt<Pulled>(Shard(a, 1), PullOf(5)).ok());
  Pass(milliseconds(600));
  BOOST_TEST(Says(AskAt<Pushed>(Shard(a, 1), PushOf(2, 5, 2)).status(), absl::StatusCode::kUnavailable, "has not heard of its keeper"));
  BOOST_TEST(Says(AskAt<Pulled>(Shard(a, 1), PullOf(5)).status(), absl::StatusCode::kUnavailable, "has not heard of its keeper"));
  BOOST_TEST(Says(AskAt<Opened>(Shard(a, 1), Open{WriterId{0}}).status(), absl::StatusCode::kUnavailable, "has not heard of its keeper"));
  // What waits for another member is refused as soon as it is over.
  const ChainMember b = Add();   // does not answer: it knows nothing of a chain
  Grant(0, milliseconds(300));
  Configured(a, {.number = 2, .epoch = 2, .members = {a, b}});
  const auto before = sim.now();
  BOOST_TEST(Says(AskAt<Pushed>(Shard(a, 2), PushOf(2, 5, 2), milliseconds(5'000)).status(), absl::StatusCode::kUnavailable, "has not heard of its keeper"));
  BOOST_TEST((sim.now() - before < milliseconds(600)));
}

BOOST_AUTO_TEST_CASE(what_shards_with_replicas_cannot_do_they_refuse) {
  const ChainMember a = Add();
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  const auto moves = absl::StatusCode::kFailedPrecondition;
  BOOST_TEST(Says(AskAt<Standing>(Shard(a, 1), Stand{}).status(), moves, "do not move"));
  BOOST_TEST(Says(AskAt<TakenIn>(Shard(a, 1), TakeIn{}).status(), moves, "do not move"));
  BOOST_TEST(Says(AskAt<Settled>(Shard(a, 1), Settle{}).status(), moves, "do not move"));
  ShardActorOptions shard = options.shard;
  BOOST_TEST(ValidateChain(shard).ok());
  shard.log_folder = "/somewhere";
  BOOST_TEST(ValidateChain(shard).ok());
  shard.shard.consistency = Consistency{.kind = Consistency::Kind::kBsp};
  BOOST_TEST(absl::IsInvalidArgument(ValidateChain(shard)));   // a log has what is applied when it comes
  shard = options.shard;
  shard.shard.tables[0].staleness_scale = true;
  BOOST_TEST(absl::IsInvalidArgument(ValidateChain(shard)));
}

/// Pushes beyond a cut have no place in the order of the chain yet: nobody but the first member knows of it.
BOOST_AUTO_TEST_CASE(the_first_holds_pushes_back_for_a_cut_and_all_keep_its_view) {
  const ChainMember a = Add(), b = Add();
  Pair(a, b);
  BOOST_TEST(AskAt<Pushed>(Shard(a, 2), PushOf(1, 5, 2)).ok());
  const Address first = Shard(a, 2), last = Shard(b, 2);
  const auto code = absl::StatusCode::kUnavailable;
  BOOST_TEST(absl::IsInvalidArgument(AskAt<Prepared>(first, Prepare{.cut = 7, .hold = milliseconds(0)}).status()));
  BOOST_TEST(absl::IsInvalidArgument(AskAt<Prepared>(first, Prepare{.cut = 0, .hold = milliseconds(10)}).status()));
  BOOST_TEST(Says(AskAt<Prepared>(last, Prepare{.cut = 7, .hold = milliseconds(500)}).status(), code, "not the first of its chain"));
  const auto prepared = AskAt<Prepared>(first, Prepare{.cut = 7, .hold = milliseconds(2'000)});
  BOOST_TEST_REQUIRE(prepared.ok(), prepared.status().ToString());
  BOOST_TEST(prepared->clocks.As<Round>()[0] == MakeRound(1, 1));
  BOOST_TEST(AskAt<Prepared>(first, Prepare{.cut = 7, .hold = milliseconds(2'000)}).ok());   // it came twice
  BOOST_TEST(Says(AskAt<Prepared>(first, Prepare{.cut = 8, .hold = milliseconds(500)}).status(), code, "another cut"));
  std::optional<absl::StatusOr<Pushed>> held;
  sim.system(NodeId{0}).network().Request(first, Codec<Push>::Encode(PushOf(2, 5, 3)), Network::Lane::kControl, milliseconds(5'000),
                                          [&](const absl::StatusOr<Frame>& frame) { held = frame.ok() ? Codec<Pushed>::Decode(*frame) : frame.status(); });
  Pass(milliseconds(200));
  BOOST_TEST(!held);
  BOOST_TEST(AskAt<Pulled>(last, PullOf(5))->values.As<float>()[0] == 2.0F);
  const Freeze freeze{.cut = 7, .clocks = prepared->clocks, .wait = milliseconds(500), .lease = milliseconds(2'000)};
  BOOST_TEST(absl::IsInvalidArgument(
      AskAt<Frozen>(first, Freeze{.cut = 9, .clocks = Block::Copy("abc", 3), .wait = milliseconds(500), .lease = milliseconds(500)}).status()));
  BOOST_TEST(Says(AskAt<Frozen>(first, Freeze{.cut = 9, .clocks = prepared->clocks, .wait = milliseconds(500), .lease = milliseconds(500)}).status(), code,
                  "does not hold"));
  BOOST_TEST(AskAt<Frozen>(first, freeze).ok());
  Pass(milliseconds(100));
  BOOST_TEST((held && held->ok()));
  Pull old = PullOf(5);
  old.view = 7;
  BOOST_TEST(AskAt<Pulled>(last, old)->values.As<float>()[0] == 2.0F);
  BOOST_TEST(AskAt<Pulled>(last, PullOf(5))->values.As<float>()[0] == 5.0F);
  Configured(b, {.number = 3, .epoch = 3, .members = {b}});   // who is left has the view as well
  BOOST_TEST(AskAt<Pulled>(Shard(b, 3), old)->values.As<float>()[0] == 2.0F);
  Pass(milliseconds(2'100));
  BOOST_TEST(absl::IsNotFound(AskAt<Pulled>(Shard(b, 3), old).status()));   // its lease is over
}

BOOST_AUTO_TEST_CASE(a_cut_that_is_not_reached_or_whose_first_falls_holds_nobody) {
  const ChainMember a = Add(), b = Add();
  Pair(a, b);
  const auto prepared = AskAt<Prepared>(Shard(a, 2), Prepare{.cut = 7, .hold = milliseconds(300)});
  BOOST_REQUIRE(prepared.ok());
  BOOST_TEST(AskAt<Pushed>(Shard(a, 2), PushOf(1, 5, 2)).ok());   // when the hold is over
  BOOST_TEST(AskAt<Prepared>(Shard(a, 2), Prepare{.cut = 8, .hold = milliseconds(2'000)}).ok());
  const Freeze freeze{.cut = 8, .clocks = Block::Adopt(std::vector<Round>{MakeRound(1, 3)}), .wait = milliseconds(200), .lease = milliseconds(500)};
  std::optional<absl::Status> frozen;
  sim.system(NodeId{0}).network().Request(Shard(a, 2), Codec<Freeze>::Encode(freeze), Network::Lane::kControl, milliseconds(5'000),
                                          [&](const absl::StatusOr<Frame>& frame) { frozen = frame.status(); });
  BOOST_TEST(AskAt<Pushed>(Shard(a, 2), PushOf(2, 5, 2)).ok());   // it passes: the cut has it
  BOOST_TEST(!frozen.has_value());
  Pass(milliseconds(300));
  BOOST_TEST((frozen && absl::IsDeadlineExceeded(*frozen)));   // round 3 has not come
  BOOST_TEST(AskAt<Pushed>(Shard(a, 2), PushOf(3, 5, 2)).ok());
  BOOST_TEST(AskAt<Prepared>(Shard(a, 2), Prepare{.cut = 9, .hold = milliseconds(2'000)}).ok());
  std::optional<absl::Status> held;
  sim.system(NodeId{0}).network().Request(Shard(a, 2), Codec<Push>::Encode(PushOf(4, 5, 3)), Network::Lane::kControl, milliseconds(5'000),
                                          [&](const absl::StatusOr<Frame>& frame) { held = frame.status(); });
  Pass(milliseconds(50));
  BOOST_TEST(!held.has_value());
  Configured(a, {.number = 3, .epoch = 3, .members = {b}});   // a is given up
  Pass(milliseconds(50));
  BOOST_TEST((held && absl::IsUnavailable(*held)));   // its writer sends it to the next first one
  Configured(b, {.number = 3, .epoch = 3, .members = {b}});
  BOOST_TEST(AskAt<Pushed>(Shard(b, 3), PushOf(4, 5, 3)).ok());
}

/// One member logs, the last; whoever begins the chain anew finds all that was acknowledged.
BOOST_AUTO_TEST_CASE(what_was_acknowledged_is_in_the_log_of_the_last) {
  Log();
  const auto logs = [&] {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      if (entry.path().extension() == ".log") names.insert(entry.path().filename());
    }
    return names;
  };
  const ChainMember a = Add(), b = Add();
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  const auto alone = AskAt<Pushed>(Shard(a, 1), PushOf(1, 5, 2));
  BOOST_TEST_REQUIRE(alone.ok(), alone.status().ToString());
  BOOST_TEST(alone->stable == alone->clock);   // in the log
  BOOST_TEST((logs() == std::set<std::string>{"shard-0.e1.2.log"}));
  BOOST_REQUIRE(AskAt<troupe::Configured>(Peer(a), Configure{{.number = 2, .epoch = 1, .members = {a}, .joining = b}})->joined);
  const ChainView both{.number = 3, .epoch = 3, .members = {a, b}};
  Configured(b, both);
  Configured(a, both);
  Pass(milliseconds(100));
  BOOST_TEST(AskAt<Pushed>(Shard(a, 3), PushOf(2, 5, 3)).ok());
  BOOST_TEST(logs().contains("shard-0.e3.2.log"));   // b's
  BOOST_TEST(sim.storage().Exists("mem:/job/shard-0.snapshot.3").value());
  BOOST_TEST(!sim.storage().Exists("mem:/job/shard-0.snapshot.1").value());
  // The first falls: the last goes on with its log. The last falls: who was before it begins one, and acknowledges nothing before.
  Configured(b, {.number = 4, .epoch = 4, .members = {b}});
  BOOST_TEST(AskAt<Pushed>(Shard(b, 4), PushOf(3, 5, 4)).ok());
  BOOST_TEST(!sim.storage().Exists("mem:/job/shard-0.snapshot.4").value());
  // All fall.
  sim.Stop(a.node);
  sim.Stop(b.node);
  const ChainMember c = Add();
  Configured(c, {.number = 5, .epoch = 5, .members = {c}});
  BOOST_TEST(AskAt<Pulled>(Shard(c, 5), PullOf(5))->values.As<float>()[0] == 9.0F);
  BOOST_TEST(AskAt<Pushed>(Shard(c, 5), PushOf(4, 5, 1)).ok());
  BOOST_TEST(sim.storage().Exists("mem:/job/shard-0.snapshot.5").value());
}

BOOST_AUTO_TEST_CASE(a_log_that_cannot_be_written_acknowledges_nothing) {
  std::vector<std::string> failed;
  options.failed = [&failed](const std::string& what) { failed.push_back(what); };
  const auto folder = ScratchFolder::Make();
  BOOST_REQUIRE(folder.ok());
  const std::string file = folder->path() + "/file";
  std::ofstream(file) << "no folder";
  options.shard.log_folder = file;
  options.shard.snapshot_uri = "mem:/job/shard-0.snapshot";
  const ChainMember a = Add();
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  const auto pushed = AskAt<Pushed>(Shard(a, 1), PushOf(1, 5, 2));
  BOOST_TEST(Says(pushed.status(), absl::StatusCode::kFailedPrecondition, "shard 0 cannot begin its log"), pushed.status().ToString());
  BOOST_TEST(failed.empty());   // alone, its disk is the table's
}

BOOST_AUTO_TEST_CASE(a_log_that_comes_to_its_end_refuses_what_it_has_not) {
  Log();
  const ChainMember a = Add();
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  BOOST_TEST(AskAt<Pushed>(Shard(a, 1), PushOf(1, 5, 2)).ok());
  absl::Status status;
  const Round round = FillLog(a, 2, status);
  BOOST_TEST(Says(status, absl::StatusCode::kInternal, "shard 0 cannot write its log"), status.ToString());
  const Assign assign{.table = 0, .keys = Block::Adopt(std::vector<Key>{5}), .values = Block::Adopt(std::vector<float>{1})};
  BOOST_TEST(Says(AskAt<Assigned>(Shard(a, 1), assign).status(), absl::StatusCode::kInternal, "shard 0 cannot write its log"));
  sim.Stop(a.node);
  const ChainMember b = Add();   // in its place
  Configured(b, {.number = 2, .epoch = 2, .members = {b}});
  BOOST_TEST(AskAt<Pulled>(Shard(b, 2), PullOf(5))->values.As<float>()[0] == static_cast<float>(round));   // 2, and 1 for each round from 2 on but the last
}

/// With what was refused: it had been applied, so that it counts when it is sent again. Who joins waits for it.
BOOST_AUTO_TEST_CASE(a_log_that_has_failed_begins_again_when_there_is_room) {
  Log();
  const ChainMember a = Add(), b = Add();
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  absl::Status status;
  const Round round = FillLog(a, 1, status);
  BOOST_TEST(Says(status, absl::StatusCode::kInternal, "shard 0 cannot write its log"), status.ToString());
  std::optional<absl::StatusOr<troupe::Configured>> joined;
  sim.system(NodeId{0}).network().Request(
      Peer(a), Codec<Configure>::Encode(Configure{{.number = 2, .epoch = 1, .members = {a}, .joining = b}}), Network::Lane::kControl, milliseconds(60'000),
      [&](const absl::StatusOr<Frame>& frame) { joined = frame.ok() ? Codec<troupe::Configured>::Decode(*frame) : frame.status(); });
  Pass(milliseconds(500));
  BOOST_TEST(!joined.has_value());
  BOOST_TEST(Says(AskAt<Pushed>(Shard(a, 1), PushOf(round, 5, 1)).status(), absl::StatusCode::kInternal, "shard 0 cannot write its log"));
  Pass(milliseconds(1'000));
  BOOST_TEST_REQUIRE(joined.has_value());
  BOOST_TEST((joined->ok() && (*joined)->joined));
  BOOST_TEST(AskAt<Opened>(Shard(a, 1), Open{.writer = WriterId{0}, .through = 0}).ok());   // what nothing comes into the log for waits for it as well
  const auto again = AskAt<Pushed>(Shard(a, 1), PushOf(round, 5, 1));
  BOOST_TEST_REQUIRE(again.ok(), again.status().ToString());
  BOOST_TEST(again->stable == again->clock);
  BOOST_TEST(AskAt<Pushed>(Shard(a, 1), PushOf(round + 1, 5, 1)).ok());
  BOOST_TEST(std::filesystem::exists(folder.path() + "/shard-0.e1.3.log"));
  BOOST_TEST(!std::filesystem::exists(folder.path() + "/shard-0.e1.2.log"));   // the one that failed
  sim.Stop(a.node);
  const ChainMember c = Add();   // in its place
  Configured(c, {.number = 3, .epoch = 3, .members = {c}});
  BOOST_TEST(AskAt<Pulled>(Shard(c, 3), PullOf(5))->values.As<float>()[0] == static_cast<float>(round + 1));
}

/// It has heard of pushes that were under way when the log failed, and may be the one that is read soon.
BOOST_AUTO_TEST_CASE(who_joins_a_member_whose_log_failed_has_the_same_rows) {
  std::string found;
  options.failed = [&found](const std::string& what) { found = what; };
  options.compare_every = milliseconds(20);
  Log();
  const ChainMember a = Add(), b = Add();
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  BOOST_REQUIRE(AskAt<troupe::Configured>(Peer(a), Configure{{.number = 2, .epoch = 1, .members = {a}, .joining = b}})->joined);
  constexpr Round kPushes = 40;
  int refused = 0;
  {
    const LittleRoom little;
    Round answers = 0;
    for (Round round = 1; round <= kPushes; ++round) {
      sim.system(NodeId{0}).network().Request(Shard(a, 1), Codec<Push>::Encode(PushOf(round, 5, 1)), Network::Lane::kControl, milliseconds(900),
                                              [&](const absl::StatusOr<Frame>& frame) {
                                                ++answers;
                                                refused += !frame.ok();
                                              });
    }
    BOOST_REQUIRE(sim.Run([&] { return answers == kPushes; }).ok());
  }
  BOOST_TEST(refused > 1);
  Pass(milliseconds(1'500));
  const ChainView both{.number = 3, .epoch = 3, .members = {a, b}};
  Configured(b, both);
  Configured(a, both);
  Pass(milliseconds(500));
  for (Round round = 1; round <= kPushes + 1; ++round) {   // whoever was refused sends again
    const auto pushed = AskAt<Pushed>(Shard(a, 3), PushOf(round, 5, 1));
    BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
  }
  Pass(milliseconds(500));
  BOOST_TEST(found.empty(), found);
  BOOST_TEST(AskAt<Pulled>(Shard(b, 3), PullOf(5))->values.As<float>()[0] == static_cast<float>(kPushes + 1));
}

BOOST_AUTO_TEST_CASE(files_of_earlier_epochs_go_as_soon_as_there_is_a_lease) {
  Log();
  options.leased = true;
  const ChainMember a = Add();
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  Pass(milliseconds(100));
  sim.Stop(a.node);
  const ChainMember b = Add();
  Configured(b, {.number = 2, .epoch = 2, .members = {b}});
  Pass(milliseconds(100));
  BOOST_TEST(sim.storage().Exists("mem:/job/shard-0.snapshot.2").value());
  BOOST_TEST(sim.storage().Exists("mem:/job/shard-0.snapshot.1").value());   // somebody may be reading it
  Grant(1, milliseconds(2'000));
  Pass(milliseconds(100));
  BOOST_TEST(!sim.storage().Exists("mem:/job/shard-0.snapshot.1").value());
}

/// What the last member has in no log yet, one that joins may have: it acknowledges it when it has a log of its own.
BOOST_AUTO_TEST_CASE(what_joins_acknowledges_nothing_before_its_log_has_begun) {
  Log();
  const ChainMember a = Add(), b = Add();
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  BOOST_TEST(AskAt<Pushed>(Shard(a, 1), PushOf(1, 5, 2)).ok());
  BOOST_REQUIRE(AskAt<troupe::Configured>(Peer(a), Configure{{.number = 2, .epoch = 1, .members = {a}, .joining = b}})->joined);
  sim.SetPace(a.node, 1e5);
  sim.SetPace(b.node, 1e5);
  std::optional<absl::Status> pushed;
  sim.system(NodeId{0}).network().Request(Shard(a, 1), Codec<Push>::Encode(PushOf(2, 5, 3)), Network::Lane::kControl, milliseconds(600'000),
                                          [&](const absl::StatusOr<Frame>& frame) { pushed = frame.status(); });
  Pass(milliseconds(100));   // b has it
  const ChainView both{.number = 3, .epoch = 3, .members = {a, b}};
  Configured(b, both);
  Configured(a, both);
  Pass(milliseconds(1'000));
  BOOST_TEST(!pushed.has_value());
  BOOST_TEST(!sim.storage().Exists("mem:/job/shard-0.snapshot.3").value());
  BOOST_REQUIRE(sim.Run([&] { return pushed.has_value(); }).ok());
  BOOST_TEST(pushed->ok(), pushed->ToString());
  BOOST_TEST(sim.storage().Exists("mem:/job/shard-0.snapshot.3").value());
}

/// Slices go out when what joins has all changes before them, whether or not they are in the giver's log yet.
BOOST_AUTO_TEST_CASE(one_joins_while_the_log_is_slow) {
  Log();
  options.shard.shard.tables[0].ranges = 8;
  options.slice_bytes = 1;
  const ChainMember a = Add(), b = Add();
  const Partition partition(options.shard.shard.tables[0], 1);
  std::map<uint32_t, Sequence> last;
  const auto next = [&](Round round) {
    Push push = PushOf(round, round % 40, 1);
    const uint32_t range = partition.RangeOf(round % 40);
    const Sequence before = std::exchange(last[range], push.round << 8);
    push.parts = Block::Adopt(std::vector<PushPart>{
        {.table = 0, .range = range, .sequence = push.round << 8, .previous = before, .first = 0, .count = 1, .dense = 0, .nonzeros = 1}});
    return push;
  };
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  Round round = 0;
  while (round < 60) BOOST_REQUIRE(AskAt<Pushed>(Shard(a, 1), next(++round)).ok());
  sim.SetPace(a.node, 200);   // a sync takes up to 0.2 s
  std::optional<absl::StatusOr<troupe::Configured>> joined;
  const auto join = [&] {
    sim.system(NodeId{0}).network().Request(
        Peer(a), Codec<Configure>::Encode(Configure{{.number = 2, .epoch = 1, .members = {a}, .joining = b}}), Network::Lane::kControl, milliseconds(60'000),
        [&](const absl::StatusOr<Frame>& frame) { joined = frame.ok() ? Codec<troupe::Configured>::Decode(*frame) : frame.status(); });
  };
  join();
  const Round before = round;
  while (!joined && round < before + 200) BOOST_REQUIRE(AskAt<Pushed>(Shard(a, 1), next(++round), milliseconds(5'000)).ok());
  BOOST_REQUIRE(joined.has_value());
  BOOST_TEST((joined->ok() && (*joined)->joined));
}

/// Nor is anybody taken for one that has all as long as what it was given is in no log: then nothing of it would have one when it is the last.
BOOST_AUTO_TEST_CASE(nobody_joins_a_member_whose_log_has_not_begun) {
  Log();
  const ChainMember a = Add(), b = Add(), c = Add();
  Pair(a, b);
  BOOST_TEST(AskAt<Pushed>(Shard(a, 2), PushOf(1, 5, 2)).ok());
  sim.SetPace(a.node, 1e5);
  std::optional<absl::Status> pushed;
  sim.system(NodeId{0}).network().Request(Shard(a, 2), Codec<Push>::Encode(PushOf(2, 5, 3)), Network::Lane::kControl, milliseconds(600'000),
                                          [&](const absl::StatusOr<Frame>& frame) { pushed = frame.status(); });
  sim.Stop(b.node);
  std::optional<absl::StatusOr<troupe::Configured>> joined;
  sim.system(NodeId{0}).network().Request(
      Peer(a), Codec<Configure>::Encode(Configure{{.number = 3, .epoch = 3, .members = {a}, .joining = c}}), Network::Lane::kControl, milliseconds(600'000),
      [&](const absl::StatusOr<Frame>& frame) { joined = frame.ok() ? Codec<troupe::Configured>::Decode(*frame) : frame.status(); });
  Pass(milliseconds(2'000));   // c has all
  BOOST_TEST(!joined.has_value());
  BOOST_REQUIRE(sim.Run([&] { return joined.has_value(); }).ok());
  BOOST_TEST((joined->ok() && (*joined)->joined));
  BOOST_TEST(sim.storage().Exists("mem:/job/shard-0.snapshot.3").value());
}

BOOST_AUTO_TEST_CASE(a_client_has_no_route_until_it_is_told) {
  const ChainMember a = Add();
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  System& system = sim.system(NodeId{0});
  const ShardActor client = SpawnChainClient(system, {.shard = 3, .request_timeout = milliseconds(1'000)});
  Expose(system, ActorId{900}, client);
  const Address at{NodeId{0}, Incarnation{0}, ActorId{900}};
  BOOST_TEST(Says(AskAt<Opened>(at, Open{WriterId{0}}).status(), absl::StatusCode::kUnavailable, "shard 3 has no chain yet"));
  SetRoute(client, {.shard = 3, .epoch = 1, .first = a, .last = a});
  SetRoute(client, {.shard = 3, .epoch = 0, .first = {}, .last = {}});   // an older word
  BOOST_TEST(AskAt<Opened>(at, Open{WriterId{0}}).ok());
  BOOST_TEST(AskAt<PushPulled>(at, PushPull{PushOf(1, 5, 2), PullOf(5)})->pulled.values.As<float>()[0] == 2.0F);
  // Rows that are assigned with a call reach the shard first.
  Call call{.call = {.function = "sum", .tables = {0}},
            .at = 0,
            .assigned = {{.table = 0, .keys = Block::Adopt(std::vector<Key>{6}), .values = Block::Adopt(std::vector<float>{7})}}};
  const auto called = AskAt<Called>(at, call);
  BOOST_TEST(called.ok(), called.status().ToString());
  BOOST_TEST(AskAt<Pulled>(at, PullOf(6))->values.As<float>()[0] == 7.0F);
}

/// Each last member writes files of its own; what the request names only says where the rows are.
BOOST_AUTO_TEST_CASE(two_last_members_never_write_the_same_file) {
  options.shard.shard.tables[0].ranges = 4;
  const ChainMember a = Add();
  Configured(a, {.number = 1, .epoch = 1, .members = {a}});
  System& system = sim.system(NodeId{0});
  const ShardActor client = SpawnChainClient(system, {.request_timeout = milliseconds(1'000)});
  Expose(system, ActorId{900}, client);
  const Address at{NodeId{0}, Incarnation{0}, ActorId{900}};
  SetRoute(client, {.shard = 0, .epoch = 1, .first = a, .last = a});
  const Partition partition(options.shard.shard.tables[0], 1);
  const auto set = [&](Key key, float value) {
    const Assign assign{.table = 0, .keys = Block::Adopt(std::vector<Key>{key}), .values = Block::Adopt(std::vector<float>{value})};
    BOOST_REQUIRE(AskAt<Assigned>(at, assign).ok());
  };
  for (Key key = 0; key < 100; ++key) set(key, 1);
  const auto take = [&](uint64_t id, uint64_t base) {
    const auto uri = [](uint64_t of) { return of == 0 ? std::string() : "mem:/c/shard-0." + std::to_string(of) + ".snapshot"; };
    const auto taken = AskAt<SnapshotTaken>(at, TakeSnapshot{.uri = uri(id), .at = 0, .in_parts = true, .base = uri(base)});
    BOOST_REQUIRE_MESSAGE(taken.ok(), taken.status().ToString());
    const auto sections = ReadPlacedSnapshot(sim.storage(), uri(id));
    BOOST_REQUIRE_MESSAGE(sections.ok(), sections.status().ToString());
    auto read = troupe::Shard::Make(options.shard.shard);
    BOOST_TEST(read->Load(*sections).ok());
    std::string files;
    for (const std::string& file : taken->files) files += (files.empty() ? "" : " ") + file;
    for (const std::string& file : taken->files) BOOST_TEST(sim.storage().Exists("mem:/c/" + file).value());
    return files;
  };
  BOOST_TEST(take(1, 0) == "shard-0.1.e1.snapshot shard-0.1.snapshot");
  set(7, 2);
  BOOST_TEST(take(2, 1) == "shard-0.1.e1.snapshot shard-0.2.e1.snapshot shard-0.2.snapshot");   // most of it has not changed
  // Another one is the last; what the first one is still asked for, or has been, is called otherwise.
  const ChainMember b = Add();
  BOOST_REQUIRE(AskAt<troupe::Configured>(Peer(a), Configure{{.number = 2, .epoch = 1, .members = {a}, .joining = b}})->joined);
  const ChainView both{.number = 3, .epoch = 3, .members = {a, b}};
  Configured(b, both);
  Configured(a, both);
  Pass(milliseconds(100));
  SetRoute(client, {.shard = 0, .epoch = 3, .first = a, .last = b});
  BOOST_TEST(take(3, 2) == "shard-0.3.e3.snapshot shard-0.3.snapshot");   // it knows of no earlier one
  SetRoute(client, {.shard = 0, .epoch = 4, .first = a, .last = a});
  BOOST_TEST(!AskAt<SnapshotTaken>(at, TakeSnapshot{.uri = "mem:/c/shard-0.4.snapshot", .at = 0, .in_parts = true, .base = {}}).ok());
  BOOST_TEST(!sim.storage().Exists("mem:/c/shard-0.4.snapshot").value());
  // One file that has all is written as it is called.
  SetRoute(client, {.shard = 0, .epoch = 5, .first = a, .last = b});
  Configured(b, {.number = 5, .epoch = 5, .members = {b}});
  BOOST_REQUIRE(AskAt<SnapshotTaken>(at, TakeSnapshot{.uri = "mem:/whole.snapshot", .at = 0}).ok());
  BOOST_TEST(ReadSnapshot(sim.storage(), "mem:/whole.snapshot").ok());
}

/// What its host alone lacks ends a member, not the job.
BOOST_AUTO_TEST_CASE(a_first_member_whose_disk_is_full_leaves_and_the_push_counts_at_the_others) {
  std::vector<std::string> failed;
  options.failed = [&failed](const std::string& what) { failed.push_back(what); };
  options.shard.shard.tables[0].limits.memory_max = 1 << 20;
  const auto full = std::make_shared<TierFaults>(), room = std::make_shared<TierFaults>();
  options.shard.shard.tiers = FaultyTiers(full);
  const ChainMember a = Add();
  options.shard.shard.tiers = FaultyTiers(room);
  const ChainMember b = Add();
  Pair(a, b);
  const auto many = [](Round round) {
    Push push = PushOf(round, 0, 1);
    std::vector<Key> keys(4'000);
    for (Key i = 0; i < keys.size(); ++i) keys[i] = round * keys.size() + i;
    push.parts = Block::Adopt(std::vector<PushPart>{{.table = 0,
                                                     .range = 0,
                                                     .sequence = push.round << 8,
                                                     .previous = round == 1 ? 0 : push.previous << 8,
                                                     .first = 0,
                                                     .count = static_cast<uint32_t>(keys.size()),
                                                     .dense = 0,
                                                     .nonzeros = keys.size()}});
    push.keys = Block::Adopt(std::move(keys));
    push.values = Block::Adopt(std::vector<float>(4'000, 1));
    return push;
  };
  BOOST_TEST(AskAt<Pushed>(Shard(a, 2), many(1)).ok());
  full->rows_left = 0;
  Round round = 1;
  absl::Status status;
  while (status.ok() && round < 20) status = AskAt<Pushed>(Shard(a, 2), many(++round)).status();
  BOOST_TEST(Says(status, absl::StatusCode::kUnavailable, "no space left on device"));   // asked again it goes to another one
  BOOST_REQUIRE(!failed.empty());
  BOOST_TEST(failed[0].find("shard 0: ") == 0u, failed[0]);
  BOOST_TEST(failed[0].find("no space left on device") != std::string::npos, failed[0]);
  Pass(milliseconds(100));
  Configured(b, {.number = 3, .epoch = 3, .members = {b}});
  BOOST_TEST(AskAt<Pushed>(Shard(b, 3), many(round)).ok());   // it has it already
  const auto pulled = AskAt<Pulled>(Shard(b, 3), PullOf(round * 4'000));
  BOOST_REQUIRE_MESSAGE(pulled.ok(), pulled.status().ToString());
  BOOST_TEST(pulled->values.As<float>()[0] == 1.0F);
  // Alone, its disk is the job's.
  room->rows_left = 0;
  failed.clear();
  status = absl::OkStatus();
  while (status.ok() && round < 40) status = AskAt<Pushed>(Shard(b, 3), many(++round)).status();
  BOOST_TEST(Says(status, absl::StatusCode::kResourceExhausted, "no space left on device"));
  BOOST_TEST(failed.empty());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
