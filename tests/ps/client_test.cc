// The writers' end against real shards behind gates: what is sent and when, what is held, and what happens when messages, answers or a shard's state are lost.
// Virtual time; every push adds 1 to all rows, so that they say how many rounds were applied.
#include "ps/client.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <deque>
#include <numeric>
#include <string>
#include <utility>

#include "actors/text.h"
#include "caf/send.hpp"
#include "caf/stateful_actor.hpp"
#include "caf/typed_response_promise.hpp"
#include "ps/shard.h"
#include "tests/support/virtual_system.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using Sections = std::vector<SnapshotSection>;

constexpr WriterId kMe{0};
constexpr size_t kKeys = 20;

/// A shard, and what the test does to its messages.
struct Gate {
  ShardOptions options;
  std::optional<Shard> shard;
  std::string came;           // since the test looked last: "open push1 push2.0 push3! push4+pull5 ": .CHUNK of several, ! wants a snapshot
  std::vector<Push> pushes;   // all
  std::vector<Round> held;    // Open::through, all
  absl::Status fault;         // the answer to everything, unless it is ok
  bool deaf = false;          // what is answered by a fault has not arrived
  bool closed = false;        // answers are kept
  std::deque<std::function<void()>> kept;
};

struct OwnerState {
  std::optional<Client> client;
};

std::string Name(const Push& push) {
  std::string name = absl::StrCat("push", OrdinalOf(push.round));
  if (push.chunk > 0 || !push.round_over) absl::StrAppend(&name, ".", push.chunk);
  return name + (push.wants_snapshot ? "!" : "");
}
std::string Name(const Pull& pull) {
  return absl::StrCat("pull", OrdinalOf(pull.round));
}

template <class Reply, class Work>
caf::result<Reply> Pass(caf::event_based_actor* self, Gate& gate, const std::string& name, const Work& work) {
  gate.came += name + ' ';
  absl::StatusOr<Reply> reply = absl::UnknownError("");
  if (!gate.deaf) reply = work();
  if (!gate.fault.ok()) reply = gate.fault;
  auto promise = self->make_response_promise<caf::typed_response_promise<Reply>>();
  auto answer = [promise, reply]() mutable {
    if (reply.ok()) {
      promise.deliver(*reply);
    } else {
      promise.deliver(ToError(reply.status()));
    }
  };
  if (gate.closed) {
    gate.kept.push_back(answer);
  } else {
    answer();
  }
  return promise;
}

absl::StatusOr<Pulled> OnPull(Shard& shard, Pull pull) {
  shard.FillKeys(pull);
  return shard.OnPull(pull);
}
absl::StatusOr<PushPulled> OnBoth(Shard& shard, const PushPull& both) {
  const auto pushed = shard.OnPush(both.push);
  if (!pushed.ok()) return pushed.status();
  if (pushed->outcome != Pushed::Outcome::kApplied) return PushPulled{*pushed, {}};
  return PushPulled{*pushed, *OnPull(shard, both.pull)};
}

caf::behavior GateBehavior(caf::event_based_actor* self, Gate* gate) {
  return {[self, gate](const Open& open) {
            gate->held.push_back(open.through);
            return Pass<Opened>(self, *gate, "open", [&] { return gate->shard->OnOpen(open); });
          },
          [self, gate](const Push& push) {
            gate->pushes.push_back(push);
            return Pass<Pushed>(self, *gate, Name(push), [&] { return gate->shard->OnPush(push); });
          },
          [self, gate](const Pull& pull) { return Pass<Pulled>(self, *gate, Name(pull), [&] { return OnPull(*gate->shard, pull); }); },
          [self, gate](const PushPull& both) {
            gate->pushes.push_back(both.push);
            return Pass<PushPulled>(self, *gate, Name(both.push) + "+" + Name(both.pull), [&] { return OnBoth(*gate->shard, both); });
          },
          [](const Thunk& thunk) { thunk.run(); }};
}

/// Each part alone.
RoutedPush InPieces(const RoutedPush& whole) {
  RoutedPush pieces;
  for (const auto& chunks : whole.shards) {
    std::vector<RoutedPush::Chunk>& cut = pieces.shards.emplace_back();
    size_t row = 0;
    for (const PushPart& part : chunks[0].parts) {
      cut.push_back(
          {{part}, chunks[0].keys.Slice(row * sizeof(Key), part.count * sizeof(Key)), chunks[0].values.Slice(row * sizeof(float), part.count * sizeof(float))});
      row += part.count;
    }
  }
  return pieces;
}

struct Fixture : testing::VirtualSystem {
  std::deque<Gate> gates;
  std::vector<ShardActor> shards;
  std::shared_ptr<const Router> router;
  caf::actor owner;
  Client* client = nullptr;
  std::string told;   // since the test looked last: "begin0 acked pulled failed "
  std::vector<PullNumber> answered;
  std::vector<Block> pulled;
  std::vector<uint64_t> clocks;   // of them, by shard
  absl::Status failure;
  const char* encoding = "none";   // of the tables that Make makes

  void Make(uint32_t n, ClientOptions options = {}) {
    const TableSpec spec{.name = "w", .rows = {}, .rule_options = {}, .ranges = 6, .encoding = *ParseEncoding(encoding)};
    router = std::make_shared<const Router>(std::vector{spec}, n);
    for (uint32_t i = 0; i < n; ++i) {
      Gate& gate = gates.emplace_back();
      gate.options = {.tables = {spec}, .shard = i, .shards = n, .consistency = Consistency{.kind = Consistency::Kind::kAsp}};
      gate.shard = std::move(*Shard::Make(gate.options));
      shards.push_back(caf::actor_cast<ShardActor>(system().actors().spawn(GateBehavior, &gate)));
    }
    owner = system().actors().spawn([this, options](caf::stateful_actor<OwnerState>* self) -> caf::behavior {
      self->state.client.emplace(self, shards, router, options, MakeEvents());
      client = &*self->state.client;
      return {[](const Thunk& thunk) { thunk.run(); }};
    });
    Settle();
  }
  Client::Events MakeEvents() {
    return {.begin_after = [this](WriterId, Round clock) { absl::StrAppend(&told, "begin", OrdinalOf(clock), " "); },
            .pulled =
                [this](WriterId, PullNumber number, std::vector<Block> values) {
                  told += "pulled ";
                  answered.push_back(number);
                  pulled = std::move(values);
                  clocks.clear();
                  for (uint32_t shard = 0; shard < shards.size(); ++shard) clocks.push_back(OrdinalOf(client->pulled_clock(kMe, shard)));
                },
            .acked = [this](WriterId) { told += "acked "; },
            .failed =
                [this](absl::Status status) {
                  told += "failed ";
                  failure = std::move(status);
                }};
  }
  ~Fixture() {
    for (Gate& gate : gates) gate.kept.clear();
    caf::anon_send_exit(owner, caf::exit_reason::kill);
    for (const ShardActor& shard : shards) caf::anon_send_exit(shard, caf::exit_reason::kill);
    Settle();
  }

  /// In the owner; nothing is told before the call has returned.
  void Do(const std::function<void()>& call) {
    System::Deliver(owner, Thunk{[this, call] {
                      const std::string before = told;
                      call();
                      BOOST_TEST(told == before);
                    }});
    Settle();
  }
  void Start() {
    Do([&] { client->Start(kMe); });
  }
  void Push(uint64_t ordinal, bool combine = false, bool in_pieces = false, size_t keys = kKeys) {
    TablePush rows{.table = 0, .keys = std::vector<Key>(keys), .values = std::vector<float>(keys, 1), .nonzeros = {}};
    std::iota(rows.keys.begin(), rows.keys.end(), Key{0});
    RoutedPush routed = router->Push({rows});
    Do([&] { client->Push(kMe, MakeRound(1, ordinal), in_pieces ? InPieces(routed) : std::move(routed), combine); });
  }
  RoutedPull AllRows() const {
    std::vector<Key> keys(kKeys);
    std::iota(keys.begin(), keys.end(), Key{0});
    const Router::TablePull pull{.table = 0, .keys = keys};
    return router->Pull({&pull, 1});
  }
  void Pull(uint64_t ordinal) {
    Do([&] { client->Pull(kMe, MakeRound(1, ordinal), std::make_shared<RoutedPull>(AllRows())); });
  }
  /// Each part in a message of its own.
  RoutedPull AllRowsInPieces() const {
    RoutedPull routed = AllRows();
    for (RoutedPull::Share& share : routed.shards) {
      RoutedPull::Share::Piece piece{};
      for (const PullPart& part : share.parts.As<PullPart>()) {
        ++piece.parts_end;
        piece.keys_end += part.count;
        piece.floats_end += part.count;
        share.pieces.push_back(piece);
      }
    }
    return routed;
  }
  PullNumber PullInPieces(uint64_t ordinal, int priority) {
    PullNumber number = 0;
    Do([&] { number = client->Pull(kMe, MakeRound(1, ordinal), std::make_shared<RoutedPull>(AllRowsInPieces()), priority); });
    return number;
  }
  /// Time passes, with a tick every 10 ms.
  void Wait(int ms) {
    for (int i = 0; i < ms / 10; ++i) {
      Advance(milliseconds(10));
      Do([&] { client->Tick(); });
    }
  }
  /// Shard 0 has a round and shard 1 not, so the writer begins before it; then shard 0 loses it as well.
  void LoseWhatOneIsAheadBy(uint64_t ordinal) {
    const Sections saved[] = {gates[0].shard->Save(), gates[1].shard->Save()};
    Push(ordinal);
    Replace(1, saved[1]);
    Start();
    Push(ordinal);
    Replace(0, saved[0]);
    Told();
    Push(ordinal + 1);
    Wait(20);
  }
  void Release(size_t shard) {
    System::Deliver(shards[shard], Thunk{[this, shard] {
                      const auto answer = std::move(gates[shard].kept.front());
                      gates[shard].kept.pop_front();
                      answer();
                    }});
    Settle();
  }
  /// The shard is another one from here on: what it has is what was saved.
  void Replace(size_t shard, const Sections& saved) {
    gates[shard].shard = std::move(*Shard::Make(gates[shard].options));
    if (!saved.empty()) BOOST_REQUIRE(gates[shard].shard->Load(saved).ok());
  }
  void Break(size_t shard, bool deaf, absl::Status fault = absl::UnavailableError("away")) {
    gates[shard].deaf = deaf;
    gates[shard].fault = std::move(fault);
  }
  void Mend(size_t shard) { Break(shard, false, absl::OkStatus()); }
  std::string Came(size_t shard) { return std::exchange(gates[shard].came, ""); }
  std::string Told() { return std::exchange(told, ""); }
  /// Does every row of these answers say that `rounds` were applied?
  bool AllAre(float rounds, std::span<const Block> answers) const {
    std::vector<std::vector<float>> rows;
    return router->Gather(answers.size() == gates.size() ? AllRows() : AllRowsInPieces(), answers, rows).ok() && rows[0] == std::vector<float>(kKeys, rounds);
  }
  bool Applied(float rounds) {
    const RoutedPull routed = AllRows();
    std::vector<Block> answers;
    for (size_t i = 0; i < gates.size(); ++i)
      answers.push_back(gates[i].shard->OnPull({.parts = routed.shards[i].parts, .keys = routed.shards[i].keys})->values);
    return AllAre(rounds, answers);
  }
};

bool Same(const Block& a, const Block& b) {
  return std::ranges::equal(a.As<std::byte>(), b.As<std::byte>());
}

}   // namespace

BOOST_FIXTURE_TEST_SUITE(ClientTest, Fixture)

BOOST_AUTO_TEST_CASE(a_start_ends_in_begin_after_with_the_least_clock_and_the_shard_ahead_counts_nothing_twice) {
  Make(2);
  BOOST_TEST(!client->ready(kMe));
  BOOST_TEST(client->acked(kMe) == 0u);
  BOOST_TEST(client->rounds_in_flight(kMe) == 0u);
  gates[1].closed = true;
  Start();
  BOOST_TEST(Told() == "");
  BOOST_TEST(!client->ready(kMe));
  gates[1].closed = false;
  Release(1);
  BOOST_TEST(Told() == "begin0 ");
  BOOST_TEST(client->ready(kMe));
  Push(1);
  const Sections saved = gates[1].shard->Save();
  Push(2);
  Replace(1, saved);
  Start();
  BOOST_TEST(Told() == "acked acked begin1 ");
  BOOST_TEST(client->acked(kMe) == MakeRound(1, 1));
  Push(2);
  Push(3);
  BOOST_TEST(Told() == "acked acked ");
  BOOST_TEST(Applied(3));
}

BOOST_AUTO_TEST_CASE(a_start_waits_for_a_shard_that_is_away) {
  Make(2);
  Break(1, true);
  Start();
  Wait(100);
  BOOST_TEST(Told() == "");
  BOOST_TEST(Came(0) == "open ");
  Mend(1);
  Wait(20);
  BOOST_TEST(Told() == "begin0 ");
}

BOOST_AUTO_TEST_CASE(an_answer_in_several_messages_is_as_old_as_the_oldest_of_them) {
  Make(1, {.pulls_in_flight_max = 1});
  Start();
  Push(1);
  Push(2);
  Pull(3);
  BOOST_TEST(clocks == std::vector<uint64_t>{2}, boost::test_tools::per_element());
  Told();
  std::vector<Key> keys(600'000);   // more than a chunk, twice
  std::iota(keys.begin(), keys.end(), Key{0});
  const Router::TablePull all{.table = 0, .keys = keys};
  const auto routed = std::make_shared<RoutedPull>(router->Pull({&all, 1}));
  const size_t messages = routed->shards[0].messages();
  BOOST_REQUIRE(messages > 1);
  gates[0].closed = true;
  Do([&] { client->Pull(kMe, MakeRound(1, 3), routed); });
  Push(3);   // behind the first message
  while (!gates[0].kept.empty()) Release(0);
  BOOST_TEST(Told() == "acked pulled ");
  BOOST_TEST(pulled.size() == messages);
  BOOST_TEST(clocks == std::vector<uint64_t>{2}, boost::test_tools::per_element());
  gates[0].closed = false;
  Pull(4);
  BOOST_TEST(clocks == std::vector<uint64_t>{3}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(pushes_under_way_are_limited_and_leave_in_order) {
  Make(1, {.pushes_in_flight_max = 3});
  Start();
  Came(0);
  gates[0].closed = true;
  for (uint64_t ordinal = 1; ordinal <= 5; ++ordinal) Push(ordinal);
  Pull(6);
  BOOST_TEST(Came(0) == "push1 push2 push3 ");
  BOOST_TEST(client->rounds_in_flight(kMe) == 5u);
  Told();
  Release(0);
  BOOST_TEST(Came(0) == "push4 ");
  BOOST_TEST(Told() == "acked ");
  BOOST_TEST(client->rounds_in_flight(kMe) == 4u);
  Release(0);
  BOOST_TEST(Came(0) == "push5+pull6 ");   // the pull goes with the last push, not before it
  for (int i = 0; i < 3; ++i) Release(0);
  BOOST_TEST(Told() == "acked acked acked acked pulled ");
  BOOST_TEST(client->acked(kMe) == MakeRound(1, 5));
  BOOST_TEST(AllAre(5, pulled));
}

BOOST_AUTO_TEST_CASE(an_urgent_pull_overtakes_a_big_one_between_its_messages) {
  Make(1, {.pulls_in_flight_max = 2});
  Start();
  Push(1);
  Came(0);
  Told();
  gates[0].closed = true;
  const PullNumber big = PullInPieces(2, 0);
  BOOST_TEST(Came(0) == "pull2 pull2 ");
  const PullNumber urgent = PullInPieces(3, 5);
  BOOST_TEST(Came(0) == "pull3 ");   // its first message goes at once
  BOOST_TEST(client->pulls_under_way(kMe) == 2u);
  Release(0);
  BOOST_TEST(Came(0) == "");   // as many are under way as may be
  for (int i = 0; i < 6; ++i) Release(0);
  BOOST_TEST(Came(0) == "pull3 pull3 pull3 pull3 pull3 pull2 ");   // all of the urgent one before the rest of the big one
  BOOST_TEST(Told() == "");
  Release(0);
  BOOST_TEST(Told() == "pulled ");
  BOOST_TEST((answered == std::vector<PullNumber>{urgent}));
  BOOST_TEST(AllAre(1, pulled));
  while (!gates[0].kept.empty()) Release(0);
  BOOST_TEST((answered == std::vector<PullNumber>{urgent, big}));
  BOOST_TEST(AllAre(1, pulled));
  BOOST_TEST(client->pulls_under_way(kMe) == 0u);
}

BOOST_AUTO_TEST_CASE(a_pull_waits_for_pushes_before_it_and_not_for_later_ones) {
  Make(1, {.pushes_in_flight_max = 1});
  Start();
  Came(0);
  gates[0].closed = true;
  Push(1);
  Push(3);
  Push(4);
  BOOST_TEST(Came(0) == "push1 ");
  Pull(2);
  BOOST_TEST(Came(0) == "pull2 ");
  Pull(4);
  BOOST_TEST(Came(0) == "");   // it is to see push 3
  Release(0);
  BOOST_TEST(Came(0) == "push3 pull4 ");
}

BOOST_AUTO_TEST_CASE(first_messages_of_pulls_have_a_bound_too) {
  Make(1, {.pulls_in_flight_max = 2});
  Start();
  Came(0);
  gates[0].closed = true;
  for (int i = 0; i < 100; ++i) {
    const PullNumber number = PullInPieces(1, 0);
    Do([&] { client->Cancel(kMe, number); });
  }
  BOOST_TEST(gates[0].kept.size() <= 2 + Client::kPullsMax);
  const PullNumber last = PullInPieces(1, 0);
  while (!gates[0].kept.empty()) Release(0);
  BOOST_TEST((answered == std::vector<PullNumber>{last}));
}

BOOST_AUTO_TEST_CASE(pulls_of_one_priority_go_out_in_their_order_and_do_not_wait_for_each_other) {
  Make(2);
  Start();
  Came(0);
  gates[0].closed = true;
  const PullNumber first = PullInPieces(1, 0);
  Came(0);
  for (uint64_t ordinal = 2; ordinal <= 5; ++ordinal) Pull(ordinal);
  BOOST_TEST(Came(0) == "pull2 pull3 pull4 pull5 ");
  gates[0].closed = false;
  while (!gates[0].kept.empty()) Release(0);
  BOOST_TEST(answered.size() == 5u);
  BOOST_TEST(answered.front() == first);
  BOOST_TEST(std::ranges::is_sorted(answered));
}

BOOST_AUTO_TEST_CASE(a_cancelled_pull_sends_no_more_and_its_answers_are_nothing) {
  Make(1, {.pulls_in_flight_max = 2});
  Start();
  Came(0);
  gates[0].closed = true;
  const PullNumber big = PullInPieces(1, 0);
  BOOST_TEST(Came(0) == "pull1 pull1 ");
  Do([&] { client->Cancel(kMe, big); });
  BOOST_TEST(client->pulls_under_way(kMe) == 0u);
  const PullNumber next = PullInPieces(2, 0);
  BOOST_TEST(Came(0) == "pull2 ");
  while (!gates[0].kept.empty()) Release(0);
  BOOST_TEST(Came(0) == "pull2 pull2 pull2 pull2 pull2 ");
  BOOST_TEST((answered == std::vector<PullNumber>{next}));
  Do([&] { client->Cancel(kMe, big); });   // it is over: nothing
  Do([&] { client->Cancel(kMe, next); });
  BOOST_TEST(Came(0) == "");
}

BOOST_AUTO_TEST_CASE(a_shard_that_gives_up_a_cancelled_pull_is_not_asked_what_it_has) {
  Make(1);
  Start();
  gates[0].closed = true;
  Break(0, true, absl::CancelledError("a later pull of the same writer came"));
  const PullNumber old = PullInPieces(1, 0);
  Do([&] { client->Cancel(kMe, old); });
  Mend(0);
  const PullNumber next = PullInPieces(2, 0);
  Came(0);
  while (!gates[0].kept.empty()) Release(0);
  Wait(50);
  BOOST_TEST(Came(0) == "pull2 pull2 pull2 pull2 ");   // and no "open"
  BOOST_TEST((answered == std::vector<PullNumber>{next}));
}

BOOST_AUTO_TEST_CASE(after_a_fault_every_pull_under_way_is_asked_again_and_answered_once) {
  Make(2, {.pulls_in_flight_max = 2});
  Start();
  Push(1);
  const PullNumber a = PullInPieces(2, 0);
  BOOST_TEST((answered == std::vector<PullNumber>{a}));
  Break(1, true);
  const PullNumber b = PullInPieces(3, 0), c = PullInPieces(4, 7);
  Wait(50);
  BOOST_TEST(answered.size() == 1u);
  Mend(1);
  Wait(50);
  BOOST_TEST(answered.size() == 3u);
  BOOST_TEST((answered == std::vector<PullNumber>{a, c, b}));
  BOOST_TEST(AllAre(1, pulled));
}

BOOST_AUTO_TEST_CASE(pushes_under_way_take_one_lane_of_the_network) {   // between lanes there is no order
  constexpr auto kControl = Network::Lane::kControl, kBulk = Network::Lane::kBulk;
  constexpr size_t kMany = kBulkBytes / sizeof(Key);
  Make(1);
  Start();
  Came(0);
  gates[0].closed = true;
  Push(1);
  Push(2, false, false, kMany);   // waits
  BOOST_TEST(Came(0) == "push1 ");
  BOOST_TEST((gates[0].pushes.back().lane == kControl));
  Release(0);
  BOOST_TEST(Came(0) == "push2 ");
  BOOST_TEST((gates[0].pushes.back().lane == kBulk));
  Push(3);
  BOOST_TEST(Came(0) == "push3 ");
  BOOST_TEST((gates[0].pushes.back().lane == kBulk));
  Release(0);
  Release(0);
  Push(4);
  BOOST_TEST((gates[0].pushes.back().lane == kControl));
}

BOOST_AUTO_TEST_CASE(a_shard_that_comes_back_hears_what_is_held_and_in_which_order_it_had_it) {
  Make(1);
  Start();
  BOOST_TEST(gates[0].held == std::vector<Round>{0}, boost::test_tools::per_element());
  for (uint64_t ordinal = 1; ordinal <= 2; ++ordinal) Push(ordinal);
  gates[0].closed = true;
  Push(3);   // its answer is lost
  gates[0].pushes.clear();
  gates[0].kept.clear();
  gates[0].closed = false;
  Replace(0, {});
  Break(0, true);
  Push(4);
  Mend(0);
  Wait(20);
  BOOST_TEST(gates[0].held.back() == MakeRound(1, 4));
  std::vector<uint64_t> orders;
  for (const ::troupe::Push& push : gates[0].pushes) orders.push_back(push.order);
  BOOST_TEST(orders == (std::vector<uint64_t>{0, 1, 2, 0, 0}), boost::test_tools::per_element());   // the first of them was the fourth, which found nobody
  BOOST_TEST(Applied(4));
}

BOOST_AUTO_TEST_CASE(a_round_in_chunks_ends_with_a_chunk_that_overtakes_no_other) {
  Make(1);
  Start();
  Came(0);
  gates[0].closed = true;
  Push(1, false, true);
  BOOST_REQUIRE_EQUAL(Came(0), "push1.0 push1.1 push1.2 push1.3 ");
  for (int i = 0; i < 3; ++i) Release(0);
  BOOST_TEST(Came(0) == "push1.4 ");
  Break(0, true);
  Release(0);
  Release(0);
  BOOST_TEST(Came(0) == "push1.5 ");
  Told();
  gates[0].closed = false;
  Release(0);   // the last chunk did not arrive
  Mend(0);
  Wait(20);
  BOOST_TEST(Came(0) == "open push1.0 push1.1 push1.2 push1.3 push1.4 push1.5 ");
  BOOST_TEST(Told() == "acked ");
  BOOST_TEST(Applied(1));
}

BOOST_AUTO_TEST_CASE(a_push_to_be_combined_leaves_with_the_next_pull_as_one_message) {
  Make(2);
  Start();
  Told();
  Push(1, true);
  for (const size_t i : {0, 1}) BOOST_TEST(Came(i) == "open ");
  Pull(2);
  for (const size_t i : {0, 1}) BOOST_TEST(Came(i) == "push1+pull2 ");
  BOOST_TEST(Told() == "acked pulled ");
  BOOST_TEST(AllAre(1, pulled));
  Push(2);
  Pull(3);
  for (const size_t i : {0, 1}) BOOST_TEST(Came(i) == "push2 pull3 ");
  BOOST_TEST(AllAre(2, pulled));
}

BOOST_AUTO_TEST_CASE(after_a_fault_a_shard_is_asked_and_the_held_pushes_are_sent_again_with_the_same_numbers) {
  Make(2);
  Start();
  gates[1].closed = true;
  Break(1, true);
  Push(1);
  Push(2);
  gates[1].closed = false;
  Mend(1);
  Release(1);
  BOOST_TEST(Came(1) == "open push1 push2 ");
  Told();
  Wait(10);
  BOOST_TEST(Came(1) == "");
  Wait(10);
  BOOST_TEST(Came(1) == "open push1 push2 ");
  BOOST_TEST(Told() == "acked acked ");
  BOOST_REQUIRE_EQUAL(gates[1].pushes.size(), 4u);
  for (const size_t i : {0, 1}) {
    const troupe::Push &first = gates[1].pushes[i], &again = gates[1].pushes[2 + i];
    BOOST_TEST((first.round == again.round && first.previous == again.previous && Same(first.parts, again.parts)));
    BOOST_TEST((Same(first.keys, again.keys) && Same(first.values, again.values)));
  }
  Release(1);   // of the second push, as it was sent first: nobody waits for it
  BOOST_TEST(Told() == "");
  BOOST_TEST(Came(0) == "open push1 push2 ");
  BOOST_TEST(Applied(2));
}

BOOST_AUTO_TEST_CASE(what_only_lost_its_answer_is_not_sent_again) {
  Make(1);
  Start();
  gates[0].closed = true;
  Break(0, false);
  Push(1);
  Mend(0);
  Push(2);
  gates[0].closed = false;
  Came(0);
  Told();
  Release(0);
  Release(0);   // good, but the lane is broken until the shard has been asked
  BOOST_TEST(Told() == "");
  Wait(20);
  BOOST_TEST(Came(0) == "open ");
  BOOST_TEST(Told() == "acked ");
  BOOST_TEST(client->acked(kMe) == MakeRound(1, 2));
  BOOST_TEST(Applied(2));
}

BOOST_AUTO_TEST_CASE(a_shard_that_expects_others_is_asked_and_gets_them) {
  Make(2);
  Start();
  Push(1);
  const Sections saved = gates[0].shard->Save();
  Push(2);
  Replace(0, saved);
  for (const size_t i : {0, 1}) Came(i);
  Told();
  Push(3, true);
  Pull(4);
  BOOST_TEST(Came(0) == "push3+pull4 ");
  BOOST_TEST(Told() == "");
  Wait(20);
  BOOST_TEST(Came(0) == "open push2 push3+pull4 ");
  BOOST_TEST(Came(1) == "push3+pull4 ");   // once: its answer is kept
  BOOST_TEST(Told() == "acked pulled ");
  BOOST_TEST(AllAre(3, pulled));
}

BOOST_AUTO_TEST_CASE(a_shard_that_dies_while_nothing_or_a_pull_is_under_way_is_noticed) {
  Make(1);
  Start();
  Push(1);
  Wait(10);
  Came(0);
  Replace(0, {});
  Wait(280);
  BOOST_TEST(Came(0) == "open open push1 ");   // what has it? less than it had: after a while, what has it now?
  gates[0].shard->SetStable(gates[0].shard->AppliedClocks());
  Wait(600);
  BOOST_TEST(Came(0) == "open ");   // all is stable: nothing to ask about
  gates[0].closed = true;
  Pull(2);
  gates[0].closed = false;
  Replace(0, {});
  Told();
  Wait(280);
  BOOST_TEST(Told() == "begin0 ");   // round 1 was no longer held
  Release(0);
  BOOST_TEST(Told() == "");   // the answer of a shard that is no more
}

BOOST_AUTO_TEST_CASE(a_shard_that_has_not_answered_is_not_asked_whether_it_is_there) {
  Make(1);
  Start();
  Push(1);
  Came(0);
  gates[0].closed = true;
  Wait(600);
  BOOST_TEST(Came(0) == "open ");
  Release(0);
  Push(2);
  Wait(600);
  BOOST_TEST(Came(0) == "push2 ");
}

BOOST_AUTO_TEST_CASE(held_pushes_are_dropped_once_they_are_stable) {
  Make(2);
  const auto snapshots = [&] {
    for (Gate& gate : gates) gate.shard->SetStable(gate.shard->AppliedClocks());
  };
  Start();
  Push(1);
  const size_t one = client->held_bytes();
  Push(2);
  BOOST_TEST(client->held_bytes() == 2 * one);
  snapshots();
  Push(3);   // its answers tell
  BOOST_TEST(client->held_bytes() == one);
  snapshots();
  Wait(260);   // the client asks
  BOOST_TEST(client->held_bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(beyond_half_the_limit_snapshots_are_wanted_and_beyond_it_answered_pushes_are_let_go) {
  Make(2, {.held_bytes_max = 4000});
  Start();
  Push(1);
  const size_t one = client->held_bytes();
  for (uint64_t ordinal = 2; ordinal <= 20; ++ordinal) {
    const size_t before = client->held_bytes();
    Push(ordinal);
    BOOST_TEST(client->held_bytes() <= 4000u);
    BOOST_TEST(client->held_bytes() + one > std::min<size_t>(4000, ordinal * one));   // no more than has to be
    BOOST_TEST(gates[1].pushes.back().wants_snapshot == (before + one > 2000), "round " << ordinal);
  }
  Replace(1, {});
  Told();
  Push(21);
  Wait(20);
  BOOST_TEST(Told() == "begin0 ");
  BOOST_TEST(client->held_bytes() == 0u);
  for (uint64_t ordinal = 1; ordinal <= 21; ++ordinal) Push(ordinal);
  BOOST_TEST(Applied(21));
}

BOOST_AUTO_TEST_CASE(what_is_let_go_has_been_answered_and_is_a_whole_round) {
  Make(1, {.held_bytes_max = 1000});   // a round in pieces takes more
  Start();
  Push(1, false, true);
  BOOST_TEST(client->held_bytes() == 0u);
  gates[0].closed = true;
  for (uint64_t ordinal = 2; ordinal <= 4; ++ordinal) Push(ordinal);
  Release(0);
  BOOST_TEST(client->held_bytes() > 1000u);   // two are not answered
}

BOOST_AUTO_TEST_CASE(a_shard_that_was_ahead_from_its_first_round_on_gets_again_what_it_loses) {
  Make(2);
  Start();
  LoseWhatOneIsAheadBy(1);
  BOOST_TEST(Told() == "acked ");
  BOOST_TEST(Applied(2));
}

BOOST_AUTO_TEST_CASE(a_shard_that_was_ahead_later_lacks_numbers_when_it_loses_it_and_the_writer_begins_anew) {
  Make(2);
  Start();
  Push(1);
  LoseWhatOneIsAheadBy(2);
  BOOST_TEST(Told() == "begin1 ");
  Push(2);
  Push(3);
  BOOST_TEST(Applied(3));
}

BOOST_AUTO_TEST_CASE(what_was_under_way_at_a_start_is_forgotten) {
  Make(1, {.pushes_in_flight_max = 1});
  Start();
  Push(1);
  gates[0].closed = true;
  Replace(0, {});
  Push(2, true);
  Pull(3);
  gates[0].closed = false;
  Break(0, true);
  Came(0);
  Start();   // cannot be answered now: it would be asked again
  Mend(0);
  Told();
  Start();
  BOOST_TEST(Told() == "begin0 ");
  BOOST_TEST(client->rounds_in_flight(kMe) == 0u);
  Release(0);   // that there is a gap
  Wait(20);
  BOOST_TEST(Told() == "");
  BOOST_TEST(Came(0) == "open open ");
  Pull(1);
  BOOST_TEST(Told() == "pulled ");
  BOOST_TEST(AllAre(0, pulled));
  Push(1);
  BOOST_TEST(Told() == "acked ");
}

struct Remembering : Fixture {
  Remembering() { encoding = "delta+cache"; }
  /// Of the pushes that came to shard 0 since the last look: did their keys come along?
  std::string Keys() {
    std::string keys;
    for (; looked_at < gates[0].pushes.size(); ++looked_at) {
      const troupe::Push& push = gates[0].pushes[looked_at];
      BOOST_TEST(push.keys_kept == push.keys.empty());
      keys += push.keys_kept ? "hash " : "keys ";
    }
    return keys;
  }
  /// The shard is another one that has all of it but the keys.
  void Forget(size_t shard) { Replace(shard, gates[shard].shard->Save()); }
  size_t looked_at = 0;
};

BOOST_FIXTURE_TEST_CASE(keys_that_the_shard_remembers_do_not_travel_again, Remembering) {
  Make(2);
  Start();
  Push(1);
  Push(2, true);
  Pull(3);
  Push(3);
  BOOST_TEST(Keys() == "keys hash hash ");
  BOOST_TEST(AllAre(2, pulled));
  BOOST_TEST(Applied(3));
}

BOOST_FIXTURE_TEST_CASE(keys_that_the_shard_has_forgotten_are_sent_again_with_the_same_push, Remembering) {
  Make(2);
  Start();
  Push(1);
  Keys();
  Forget(0);
  Came(0);
  Told();
  Push(2);
  BOOST_TEST(Came(0) == "push2 open push2 ");
  BOOST_TEST(Came(1) == "open push1 push2 ");
  BOOST_TEST(Keys() == "hash keys ");
  BOOST_TEST(Told() == "acked ");
  BOOST_TEST(Applied(2));
  Push(3);
  BOOST_TEST(Keys() == "hash ");
  BOOST_TEST(Applied(3));
}

BOOST_FIXTURE_TEST_CASE(several_pushes_whose_keys_are_forgotten_are_each_applied_once, Remembering) {
  Make(1);
  Start();
  Push(1);
  Forget(0);
  Keys();
  gates[0].closed = true;
  for (uint64_t ordinal = 2; ordinal <= 4; ++ordinal) Push(ordinal);
  BOOST_TEST(Keys() == "hash hash hash ");
  gates[0].closed = false;
  for (int i = 0; i < 3; ++i) Release(0);
  BOOST_TEST(Keys() == "keys hash hash ");
  BOOST_TEST(client->acked(kMe) == MakeRound(1, 4));
  BOOST_TEST(Applied(4));
}

BOOST_FIXTURE_TEST_CASE(a_pull_whose_keys_are_forgotten_is_sent_again_alone, Remembering) {
  Make(1);
  Start();
  Push(1);
  Forget(0);
  Came(0);
  Told();
  Pull(2);
  BOOST_TEST(Came(0) == "pull2 pull2 ");
  BOOST_TEST(Told() == "pulled ");
  BOOST_TEST(AllAre(1, pulled));
  Push(2, true);
  Forget(0);
  Pull(3);
  BOOST_TEST(Came(0) == "push2+pull3 open push2+pull3 ");
  BOOST_TEST(AllAre(2, pulled));
}

BOOST_FIXTURE_TEST_CASE(after_a_loss_all_keys_are_sent, Remembering) {
  Make(1);
  Start();
  Push(1);
  const Sections saved = gates[0].shard->Save();
  Push(2);
  Replace(0, saved);
  Keys();
  Push(3);
  Wait(20);
  BOOST_TEST(Keys() == "hash keys hash ");   // then what was lost and the rest
  BOOST_TEST(Applied(3));
}

BOOST_AUTO_TEST_CASE(a_fault_that_lasts_longer_than_the_patience_is_final_and_names_the_shard) {
  Make(3, {.patience = milliseconds(200)});
  Start();
  for (uint64_t ordinal = 1; ordinal <= 2; ++ordinal) {   // two short ones are not one long one
    Break(1, true);
    Push(ordinal);
    Mend(1);
    Wait(300);
  }
  for (const size_t i : {1, 2}) caf::anon_send_exit(shards[i], caf::exit_reason::kill);
  Push(3);
  BOOST_TEST(Told() == "begin0 acked acked ");
  Wait(200);
  BOOST_TEST(Told() == "");
  Wait(1000);
  BOOST_TEST(Told() == "failed ");   // once
  BOOST_TEST(absl::IsUnavailable(failure));
  BOOST_TEST(Message(failure).starts_with("shard 1 does not answer: actor is gone"), failure.ToString());
}

BOOST_AUTO_TEST_CASE(an_error_that_no_retry_heals_is_final_at_once) {
  Make(2);
  Start();
  Told();
  Break(1, true, absl::InvalidArgumentError("push: table is 7, expected < 1"));
  Push(1);
  BOOST_TEST(Told() == "failed ");
  BOOST_TEST(failure == absl::InvalidArgumentError("push: table is 7, expected < 1"));
}

BOOST_AUTO_TEST_CASE(a_start_that_is_refused_fails) {
  Make(1);
  Break(0, true, absl::DataLossError("bad"));
  Start();
  BOOST_TEST(Told() == "failed ");
  BOOST_TEST(!client->ready(kMe));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
