// One shard as its messages see it: each push once, rounds when their last writer has come, pulls as the consistency says, and nothing changed by what is
// refused. The undisturbed run of the same pushes is the oracle, byte for byte.
#include "ps/shard.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "actors/random.h"
#include "actors/text.h"
#include "ps/router.h"

namespace troupe {
namespace {

constexpr Consistency kBsp{}, kSsp{.kind = Consistency::Kind::kSsp, .staleness = 2}, kAsp{.kind = Consistency::Kind::kAsp};
constexpr uint32_t kWriters = 3;
constexpr size_t kWhole = 99;   // parts a message: all of the round's
constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

/// Sparse "w" of width 3 and dense "b" of width 2. Under BSP any numbers give the same bytes; else the order of arrival counts, but for sums of small integers.
std::vector<TableSpec> Tables(const Consistency& consistency) {
  const std::string rule = consistency == kBsp ? "adagrad" : "add";
  return {{.name = "w", .width = 3, .rows = {}, .rule = rule, .rule_options = {}, .ranges = 6},
          {.name = "b", .width = 2, .rows = 20, .rule = rule, .rule_options = {}, .combine = TableSpec::Combine::kSum, .ranges = 5}};
}

Shard Make(const Consistency& consistency, uint32_t shard = 0, uint32_t shards = 1, uint32_t writers = kWriters) {
  auto made = Shard::Make({.tables = Tables(consistency), .shard = shard, .shards = shards, .writers = writers, .consistency = consistency});
  BOOST_REQUIRE_MESSAGE(made.ok(), made.status().ToString());
  return std::move(*made);
}

std::vector<float> Numbers(size_t n, const TableSpec& spec, Random random) {
  std::vector<float> numbers(n);
  for (float& x : numbers) x = spec.rule == "add" ? static_cast<float>(1 + random.Below(9)) : static_cast<float>(random.Normal());
  return numbers;
}

TablePush SomeRows(uint32_t table, const TableSpec& spec, Random random) {
  TablePush push{.table = table, .keys = {}, .values = {}, .nonzeros = {}};
  for (Key key = 0; key < 20; ++key) {
    if (random.Below(3) > 0) continue;
    push.keys.push_back(key);
    push.nonzeros.push_back(static_cast<uint32_t>(random.Below(9)));
  }
  push.values = Numbers(push.keys.size() * spec.width, spec, random);
  return push;
}

/// What a batch changes: the whole dense table, or rows of both by key. A function of its arguments.
RoutedPush Batch(const Router& router, uint32_t writer, Round round) {
  const Random random = Random(round).Fork(writer);
  if (OrdinalOf(round) == 0) return router.Push({});
  if (OrdinalOf(round) == 2) return router.PushDense(1, Block::Adopt(Numbers(40, router.tables()[1], random)));
  return router.Push({SomeRows(0, router.tables()[0], random.Fork(0)), SomeRows(1, router.tables()[1], random.Fork(1))});
}

/// Appends a round as messages of at most `parts` parts each, numbered as the client numbers them.
void Append(const Router& router, Push round, const RoutedPush::Chunk& rows, size_t parts, std::vector<Sequence>& last, std::vector<Push>& messages) {
  size_t key = 0, value = 0;   // bytes of the messages before
  for (size_t begin = 0; begin == 0 || begin < rows.parts.size(); begin += parts, ++round.chunk) {
    const size_t end = std::min(begin + parts, rows.parts.size()), first_key = key, first_value = value;
    std::vector<PushPart> own(rows.parts.begin() + static_cast<ptrdiff_t>(begin), rows.parts.begin() + static_cast<ptrdiff_t>(end));
    for (PushPart& part : own) {
      part.sequence = round.round << 8;
      part.previous = std::exchange(last[router.Slot(part.table, part.range)], part.sequence);
      key += part.dense != 0 ? 0 : part.count * sizeof(Key);
      value += part.count * router.tables()[part.table].width * sizeof(float);
    }
    round.round_over = end == rows.parts.size();
    round.parts = Block::Adopt(std::move(own));
    round.keys = rows.keys.Slice(first_key, key - first_key);
    round.values = rows.values.Slice(first_value, value - first_value);
    messages.push_back(round);
  }
}

/// By writer: what it sends to a shard. Writers have 2 to 4 batches in a phase and end it with an empty push; there are two phases.
using Script = std::vector<std::vector<Push>>;
constexpr Round kEnd = MakeRound(3, 0);

Script MakeScript(const Consistency& consistency, size_t parts = kWhole, uint32_t shard = 0, uint32_t shards = 1) {
  const Router router(Tables(consistency), shards);
  Script script(kWriters);
  for (uint32_t writer = 0; writer < kWriters; ++writer) {
    std::vector<Sequence> last(router.slots());
    Round done = kFirstRound;
    for (uint32_t phase = 1; phase <= 2; ++phase) {
      const uint32_t batches = 2 + (writer + phase) % kWriters;
      for (uint32_t i = 1; i <= batches + 1; ++i) {
        const Round round = i <= batches ? MakeRound(phase, i) : MakeRound(phase + 1, 0);
        const Push header{.writer = WriterId{writer}, .round = round, .previous = std::exchange(done, round), .parts = {}, .keys = {}, .values = {}};
        Append(router, header, Batch(router, writer, round).shards[shard][0], parts, last, script[writer]);
      }
    }
  }
  return script;
}

Pushed Send(Shard& shard, const Push& push) {
  const auto pushed = shard.OnPush(push);
  BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
  return *pushed;
}
/// Is it applied now, or has it been before?
bool Taken(Shard& shard, const Push& push) {
  return Send(shard, push).outcome == Pushed::Outcome::kApplied;
}
void Play(Shard& shard, std::span<const Push> messages) {
  for (const Push& push : messages) BOOST_REQUIRE(Taken(shard, push));
}

std::string BytesOf(const std::vector<SnapshotSection>& sections, bool with_ledger = true) {
  std::string bytes;
  for (const SnapshotSection& section : sections) {
    if (section.name != "ledger" || with_ledger) bytes.append(section.name).append(reinterpret_cast<const char*>(section.bytes.data()), section.bytes.size());
  }
  return bytes;
}
std::string Saved(const Shard& shard) {
  return BytesOf(shard.Save());
}
std::string Rows(const Shard& shard) {
  return BytesOf(shard.Save(), false);
}

/// The state after the whole script, one writer after the other.
std::string Undisturbed(const Consistency& consistency, const Script& script, uint32_t shards = 1) {
  Shard shard = Make(consistency, 0, shards);
  uint64_t nonzeros = 0;
  for (const auto& messages : script) {
    Play(shard, messages);
    for (const Push& push : messages) {
      for (const PushPart& part : push.parts.As<PushPart>()) nonzeros += part.nonzeros;
    }
  }
  BOOST_TEST(shard.nonzeros() == nonzeros);
  return Saved(shard);
}

/// Messages are lost, come again or too early, and the shard falls back to an earlier state, from where its writers go on.
std::string Disturbed(const Consistency& consistency, const Script& script, Random& random) {
  Shard shard = Make(consistency);
  std::vector<SnapshotSection> saved = shard.Save();
  std::vector<size_t> next(kWriters);   // by writer: messages that have arrived
  const auto fall_back = [&] {
    if (random.Below(2) == 0) shard = Make(consistency);
    BOOST_REQUIRE(shard.Load(saved).ok());
    for (uint32_t w = 0; w < kWriters; ++w) {
      const Round clock = shard.OnOpen({WriterId{w}})->clock;
      next[w] = static_cast<size_t>(std::ranges::count_if(script[w], [clock](const Push& push) { return push.round <= clock; }));
    }
  };
  while (shard.applied() < kEnd) {
    const uint64_t writer = random.Below(kWriters), what = random.Below(24);
    if (what == 0) saved = shard.Save();
    if (what == 1) fall_back();
    const size_t message = what < 5 ? random.Below(script[writer].size()) : std::min(next[writer], script[writer].size() - 1);
    BOOST_REQUIRE_EQUAL(Taken(shard, script[writer][message]), message <= next[writer]);
    if (message == next[writer]) ++next[writer];
  }
  return Saved(shard);
}

Pull PullBefore(Round round) {
  return {.round = round, .parts = {}, .keys = {}};
}
Pull PullOf(const RoutedPull& routed) {
  return {.parts = routed.shards[0].parts, .keys = routed.shards[0].keys};
}

/// What changes one array of a message.
template <class T, class Message>
std::function<void(Message&)> Spoil(Block Message::*array, void (*change)(std::vector<T>&)) {
  return [array, change](Message& message) {
    const std::span<const T> before = (message.*array).template As<T>();
    std::vector<T> values(before.begin(), before.end());
    change(values);
    message.*array = Block::Adopt(std::move(values));
  };
}

void CheckRefused(const absl::Status& status, std::string_view says) {
  BOOST_TEST(absl::IsInvalidArgument(status));
  BOOST_TEST(Message(status).find(says) != std::string::npos, "'" << Message(status) << "' does not say '" << says << "'");
}

}   // namespace

BOOST_AUTO_TEST_SUITE(ShardTest)

BOOST_AUTO_TEST_CASE(a_shard_of_nothing_is_refused) {
  CheckRefused(Shard::Make({.tables = {}, .writers = 0, .consistency = {}}).status(), "shard 0 of 1 with 0 writers: expected at least one of each");
  CheckRefused(Shard::Make({.tables = {}, .shards = 0, .consistency = {}}).status(), "shard 0 of 0");
  CheckRefused(Shard::Make({.tables = {}, .shard = 3, .shards = 3, .consistency = {}}).status(), "shard 3 of 3");
  CheckRefused(Shard::Make({.tables = {{.name = "x", .width = 0, .rows = {}, .rule_options = {}}}, .consistency = {}}).status(), "table 'x': width is 0");
}

BOOST_AUTO_TEST_CASE(pushes_in_any_order_count_once_however_often_they_come) {
  for (const Consistency& consistency : {kBsp, kSsp, kAsp}) {
    const Script script = MakeScript(consistency, 2);
    const std::string expected = Undisturbed(consistency, script);
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      Random random(seed);
      std::vector<Push> messages;
      for (const auto& of_writer : script) messages.insert(messages.end(), of_writer.begin(), of_writer.end());
      Shard shard = Make(consistency);
      while (shard.min_clock() < kEnd) {
        random.Shuffle(std::span(messages));
        for (const Push& push : messages) Send(shard, push);
      }
      BOOST_TEST((Saved(shard) == expected), ToString(consistency) << ", seed " << seed);
    }
  }
}

BOOST_AUTO_TEST_CASE(lost_state_and_lost_doubled_and_early_messages_leave_no_trace) {
  for (const Consistency& consistency : {kBsp, kSsp, kAsp}) {
    for (uint64_t seed = 1; seed <= 60; ++seed) {
      Random random(seed);
      const Script script = MakeScript(consistency, 1 + random.Below(8));
      BOOST_TEST((Disturbed(consistency, script, random) == Undisturbed(consistency, script)), ToString(consistency) << ", seed " << seed);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_gap_is_answered_with_the_clock_and_changes_nothing) {
  for (const Consistency& consistency : {kBsp, kAsp}) {
    const std::vector<Push> messages = MakeScript(consistency)[0];
    Shard shard = Make(consistency, 0, 1, 1);
    Play(shard, {messages.data(), 2});
    const std::string before = Saved(shard);
    Push other_chain = messages[2];   // the round follows, a range's number does not
    Spoil<PushPart>(&Push::parts, [](auto& parts) { parts.back().previous += 256; })(other_chain);
    std::vector<Push> gaps(messages.begin() + 3, messages.end());
    gaps.push_back(other_chain);
    for (const Push& push : gaps) {
      const Pushed pushed = Send(shard, push);
      BOOST_TEST((pushed.outcome == Pushed::Outcome::kExpect));
      BOOST_TEST(pushed.clock == messages[1].round);
    }
    BOOST_TEST((Saved(shard) == before));
    Play(shard, messages);
  }
}

BOOST_AUTO_TEST_CASE(a_round_in_chunks_is_over_when_all_of_them_are_there) {
  for (const Consistency& consistency : {kBsp, kAsp}) {
    const std::vector<Push> chunks = MakeScript(consistency, 3)[0], whole = MakeScript(consistency)[0];
    const size_t last = static_cast<size_t>(std::ranges::find(chunks, true, &Push::round_over) - chunks.begin());
    BOOST_REQUIRE_GE(last, 2u);
    Shard shard = Make(consistency, 0, 1, 1), oracle = Make(consistency, 0, 1, 1);
    for (size_t i = 1; i <= last + 1; ++i) BOOST_TEST(!Taken(shard, chunks[i]));
    for (size_t i = 0; i < last; ++i) {
      for (const size_t again : {i, size_t{0}, i}) BOOST_TEST(Send(shard, chunks[again]).clock == kFirstRound);
      BOOST_TEST(Taken(shard, chunks[last]) == (i + 1 == last));   // it says that the round is over, but must not be the first
      BOOST_TEST(shard.applied() == (i + 1 == last ? whole[0].round : kFirstRound));
    }
    Play(oracle, {whole.data(), 1});
    BOOST_TEST((Saved(shard) == Saved(oracle)));
  }
}

BOOST_AUTO_TEST_CASE(bsp_applies_a_round_when_its_last_writer_has_pushed) {
  const Script script = MakeScript(kBsp);
  Shard shard = Make(kBsp);
  const std::string nothing = Rows(shard);
  for (uint32_t w = 0; w + 1 < kWriters; ++w) Play(shard, {script[w].data(), 2});
  BOOST_TEST((Rows(shard) == nothing));
  BOOST_TEST(shard.applied() == kFirstRound);
  BOOST_TEST(shard.nonzeros() == 0u);
  Play(shard, {script.back().data(), 1});
  BOOST_TEST((Rows(shard) != nothing));
  BOOST_TEST(shard.applied() == MakeRound(1, 1));
}

BOOST_AUTO_TEST_CASE(bsp_gives_the_same_rows_whatever_the_order_of_the_writers_and_the_number_of_shards) {
  std::map<std::string, std::string> sections;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const auto shards = static_cast<uint32_t>(1 + seed % 3);
    Random random(seed);
    for (uint32_t i = 0; i < shards; ++i) {
      const Script script = MakeScript(kBsp, 1 + seed, i, shards);
      Shard shard = Make(kBsp, i, shards);
      std::vector<size_t> next(kWriters);
      while (shard.applied() < kEnd) {
        const size_t writer = random.Below(kWriters);
        if (next[writer] < script[writer].size()) BOOST_REQUIRE(Taken(shard, script[writer][next[writer]++]));
      }
      for (const SnapshotSection& section : shard.Save()) {
        if (section.name == "ledger") continue;
        const std::string bytes = BytesOf({section});
        BOOST_TEST((sections.try_emplace(section.name, bytes).first->second == bytes), section.name << " with " << shards << " shards, seed " << seed);
      }
    }
  }
  BOOST_TEST(sections.size() == 11u);
}

BOOST_AUTO_TEST_CASE(bsp_averages_or_adds_up_what_the_writers_of_a_round_push) {
  Shard bsp = *Shard::Make({.tables = Tables(kAsp), .writers = kWriters, .consistency = kBsp}), sums = Make(kAsp);
  for (const auto& messages : MakeScript(kAsp)) {
    for (Shard* shard : {&bsp, &sums}) Play(*shard, {messages.data(), 1});
  }
  for (uint32_t t = 0; t < 2; ++t) {
    for (Key key = 0; key < 20; ++key) {
      std::vector<float> row(bsp.tables()[t].spec().width), sum = row;
      const uint32_t range = bsp.tables()[t].partition().RangeOf(key);
      BOOST_REQUIRE(bsp.tables()[t].Pull(range, {&key, 1}, row.data()).ok());
      BOOST_REQUIRE(sums.tables()[t].Pull(range, {&key, 1}, sum.data()).ok());
      for (size_t i = 0; i < row.size(); ++i) BOOST_TEST(row[i] == (t == 0 ? sum[i] / kWriters : sum[i]));
    }
  }
}

BOOST_AUTO_TEST_CASE(ssp_and_asp_apply_on_arrival) {
  for (const Consistency& consistency : {kSsp, kAsp}) {
    const std::vector<Push> messages = MakeScript(consistency, 1)[1];
    Shard shard = Make(consistency);
    for (size_t i = 0; messages[i].round == MakeRound(1, 1); ++i) {
      const std::string before = Rows(shard);
      Play(shard, {&messages[i], 1});
      BOOST_TEST((Rows(shard) != before));
      BOOST_TEST(shard.version() == i + 1);
      BOOST_TEST(shard.AppliedClocks()[1] == (messages[i].round_over ? MakeRound(1, 1) : kFirstRound));
    }
  }
}

BOOST_AUTO_TEST_CASE(an_empty_push_only_advances_the_clock) {
  for (const Consistency& consistency : {kBsp, kAsp}) {
    const std::vector<Push> messages = MakeScript(consistency)[0];
    Shard shard = Make(consistency, 0, 1, 1);
    Play(shard, {messages.data(), 3});
    const std::string rows = Rows(shard);
    const uint64_t nonzeros = shard.nonzeros();
    const Opened before = *shard.OnOpen({WriterId{0}});
    Play(shard, {&messages[3], 1});
    const Opened after = *shard.OnOpen({WriterId{0}});
    BOOST_TEST(after.clock == MakeRound(2, 0));
    BOOST_TEST(shard.applied() == MakeRound(2, 0));
    BOOST_TEST(std::ranges::equal(before.applied.As<uint64_t>(), after.applied.As<uint64_t>()));
    BOOST_TEST(shard.nonzeros() == nonzeros);
    BOOST_TEST((Rows(shard) == rows));
  }
}

BOOST_AUTO_TEST_CASE(a_pull_waits_for_the_slowest_writer_as_far_as_its_consistency_demands) {
  const Consistency ssp_0{.kind = Consistency::Kind::kSsp, .staleness = 0};
  // The newest round of phase 1 that may be pulled when one writer has pushed three, and the other all.
  for (const auto& [consistency, newest] : {std::pair(kBsp, 4u), std::pair(ssp_0, 4u), std::pair(kSsp, 6u), std::pair(kAsp, 1000u)}) {
    const Script script = MakeScript(consistency);
    Shard shard = Make(consistency, 0, 1, 2);
    Play(shard, {script[0].data(), 3});
    Play(shard, script[1]);
    for (const uint64_t ordinal : {1, 3, 4, 5, 6, 7, 1000}) BOOST_TEST(shard.Ready(PullBefore(MakeRound(1, ordinal))) == (ordinal <= newest));
    BOOST_TEST(shard.Ready(PullBefore(MakeRound(2, 1))) == (consistency == kAsp));   // all of phase 1 first
  }
}

BOOST_AUTO_TEST_CASE(an_answer_says_what_all_writers_have_done_before_it) {
  for (const Consistency& consistency : {kBsp, kSsp, kAsp}) {
    Shard shard = Make(consistency);
    const Script script = MakeScript(consistency);
    std::vector<size_t> sent(kWriters);
    Random random(5);
    for (int i = 0; i < 12; ++i) {
      const auto writer = static_cast<uint32_t>(random.Below(kWriters));
      if (sent[writer] == script[writer].size()) continue;
      Send(shard, script[writer][sent[writer]++]);
      Round all = UINT64_MAX;
      for (uint32_t w = 0; w < kWriters; ++w) all = std::min(all, sent[w] == 0 ? kFirstRound : script[w][sent[w] - 1].round);
      BOOST_TEST(shard.OnPull(Pull{.writer = WriterId{0}, .round = MakeRound(1, 1), .parts = {}, .keys = {}})->clock == all);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_shard_that_holds_after_a_round_stays_there_until_it_resumes) {
  const Script script = MakeScript(kBsp);
  Shard shard = Make(kBsp), oracle = Make(kBsp);
  BOOST_TEST(shard.HoldAfter(MakeRound(1, 2)));
  for (const auto& messages : script) {
    BOOST_TEST(!shard.Reached(MakeRound(1, 2)));
    Play(shard, messages);
    Play(oracle, {messages.data(), 2});
  }
  BOOST_TEST(shard.Reached(MakeRound(1, 2)));
  BOOST_TEST((Saved(shard) == Saved(oracle)));
  BOOST_TEST(shard.HoldAfter(MakeRound(1, 2)));
  BOOST_TEST(shard.Ready(PullBefore(MakeRound(1, 3))));
  BOOST_TEST(!shard.Ready(PullBefore(MakeRound(1, 4))));   // round 3 has arrived, but is not applied
  shard.Resume();
  BOOST_TEST((Saved(shard) == Undisturbed(kBsp, script)));
  BOOST_TEST(!shard.HoldAfter(MakeRound(2, 1)));
  BOOST_TEST(shard.HoldAfter(kEnd));
  BOOST_TEST(Make(kAsp).HoldAfter(MakeRound(1, 1)));
}

BOOST_AUTO_TEST_CASE(what_is_durable_or_dies_with_its_writers_is_stable) {
  for (const Consistency& consistency : {kBsp, kAsp}) {
    const std::vector<Push> messages = MakeScript(consistency)[0];
    Shard shard = Make(consistency);
    BOOST_TEST(Send(shard, messages[0]).stable == kFirstRound);
    const std::vector<Round> covered = shard.AppliedClocks();
    BOOST_TEST(Send(shard, messages[1]).stable == kFirstRound);
    shard.SetStable(covered);
    const Round stable = consistency == kBsp ? kFirstRound : messages[0].round;   // under BSP the round waits for the others
    BOOST_TEST(Send(shard, messages[1]).stable == stable);
    BOOST_TEST(shard.OnOpen({WriterId{0}})->stable == stable);
    Shard in_process = *Shard::Make({.tables = Tables(consistency), .writers = 2, .consistency = consistency, .stable_when_applied = true});
    BOOST_TEST(Send(in_process, messages[0]).stable == stable);
  }
}

BOOST_AUTO_TEST_CASE(a_malformed_push_is_refused_and_changes_nothing) {
  struct Bad {
    size_t message;   // 0, 2: by key; 1: dense
    std::string_view says;
    std::function<void(Push&)> spoil;
  };
  const auto parts = [](auto change) { return Spoil<PushPart>(&Push::parts, change); };
  const auto keys = [](auto change) { return Spoil<Key>(&Push::keys, change); };
  const auto values = [](auto change) { return Spoil<float>(&Push::values, change); };
  const Bad bads[] = {
      {0, "push: writer is 3, expected < 3", [](Push& push) { push.writer = WriterId{3}; }},
      {0, "arrays are cut or not aligned", [](Push& push) { push.parts = push.parts.Slice(0, push.parts.size() - 1); }},
      {0, "arrays are cut or not aligned", [](Push& push) { push.keys = push.keys.Slice(0, push.keys.size() - 1); }},
      {0, "arrays are cut or not aligned", [](Push& push) { push.values = push.values.Slice(1, push.values.size() - 4); }},
      {0, "push: table is 2, expected < 2", parts([](auto& p) { p.back().table = 2; })},
      {0, "range 3 of table 'w' is not this shard's", parts([](auto& p) { p.front().range = 3; })},
      {0, "range 9 of table 'b' is not this shard's", parts([](auto& p) { p.back().range = 9; })},
      {0, "table 'w' is sparse, expected keys", parts([](auto& p) { p.front().dense = 1; })},
      {0, "fewer keys or values than its parts say", keys([](auto& k) { k.pop_back(); })},
      {0, "fewer keys or values than its parts say", values([](auto& v) { v.pop_back(); })},
      {0, "fewer keys or values than its parts say", parts([](auto& p) { p.back().count = UINT32_MAX; })},
      {0, "more keys or values than its parts say", keys([](auto& k) { k.push_back(0); })},
      {0, "more keys or values than its parts say", values([](auto& v) { v.push_back(0); })},
      {2, "push of writer 0: table 'w': key 1000 is in range ", keys([](auto& k) { k.front() = 1000; })},
      {2, "push of writer 0: table 'b': key 20 is no row, expected below 20", keys([](auto& k) { k.back() = 20; })},
      {2, "is nan, expected a finite number", values([](auto& v) { v.back() = kNan; })},
      {2, "is -inf, expected a finite number", values([](auto& v) { v.back() = -kInf; })},
      {1, "push of writer 0: table 'b': 4 rows from 9 are not in range 2", parts([](auto& p) { p.back().first = 9; })},
      {1, "push of writer 0: table 'b': gradient of key 11 is inf", values([](auto& v) { v.back() = kInf; })},
  };
  for (const Consistency& consistency : {kBsp, kAsp}) {
    const Script script = MakeScript(consistency, kWhole, 0, 2);
    for (const Bad& bad : bads) {
      Shard shard = Make(consistency, 0, 2);
      Play(shard, std::span(script[0]).first(bad.message));
      const std::string before = Saved(shard);
      Push push = script[0][bad.message];
      bad.spoil(push);
      CheckRefused(shard.OnPush(push).status(), bad.says);
      BOOST_TEST((Saved(shard) == before), bad.says);
      for (const auto& messages : script) Play(shard, messages);
      BOOST_TEST((Saved(shard) == Undisturbed(consistency, script, 2)), bad.says);   // nor does anything of it wait for the round's end
    }
  }
}

/// A dense table of 320,000 scalars.
struct Lender {
  static constexpr uint64_t kRows = 320'000;
  explicit Lender(const std::string& rule, uint32_t ranges, ValueCode pulled = ValueCode::kFloat32) {
    tables[0].rule = rule;
    tables[0].ranges = ranges;
    tables[0].encoding.pulled = pulled;
    auto made = Shard::Make({.tables = tables, .shard = 0, .shards = 1, .writers = 1, .consistency = kAsp, .stable_when_applied = true});
    BOOST_REQUIRE_MESSAGE(made.ok(), made.status().ToString());
    shard.emplace(std::move(*made));
  }
  void SetAll(float value) {
    std::vector<Key> keys(kRows);
    std::iota(keys.begin(), keys.end(), Key{0});
    BOOST_REQUIRE(shard->OnAssign({.table = 0, .keys = Block::Adopt(std::move(keys)), .values = Block::Adopt(std::vector<float>(kRows, value))}).ok());
  }
  Pull WholePull() const {
    Pull pull = PullOf(Router(tables, 1).PullDense(0));
    pull.in_pieces = true;
    return pull;
  }
  Pulled PullAll() {
    auto pulled = shard->OnPull(WholePull());
    BOOST_REQUIRE_MESSAGE(pulled.ok(), pulled.status().ToString());
    return *std::move(pulled);
  }
  std::vector<TableSpec> tables{{.name = "w", .width = 1, .rows = kRows, .rule_options = {}}};
  std::optional<Shard> shard;
};

BOOST_AUTO_TEST_CASE(whole_ranges_are_lent_and_what_changes_them_changes_copies) {
  Lender f("sgd", 8);
  f.SetAll(1);
  const Pulled first = f.PullAll(), again = f.PullAll();
  BOOST_TEST(first.values.empty());
  BOOST_REQUIRE(first.pieces.size() == 8u);
  for (size_t i = 0; i < 8; ++i) BOOST_TEST(first.pieces[i].data() == again.pieces[i].data());   // nothing was copied
  f.SetAll(2);
  const Pulled later = f.PullAll();
  for (size_t i = 0; i < 8; ++i) {
    BOOST_TEST(first.pieces[i].size() == 160'000u);
    BOOST_TEST(std::ranges::count(first.pieces[i].As<float>(), 1.0f) == 40'000);
    BOOST_TEST(std::ranges::count(later.pieces[i].As<float>(), 2.0f) == 40'000);
  }

  Pull less = f.WholePull();   // a range that is pulled in part is not kept from changing as a whole
  Spoil<PullPart>(&Pull::parts, [](auto& parts) { parts[3].count -= 1; })(less);
  const auto copied = f.shard->OnPull(less);
  BOOST_REQUIRE(copied.ok());
  BOOST_TEST(copied->pieces.empty());
  BOOST_TEST(copied->values.As<float>().size() == Lender::kRows - 1);
  Pull wrong = f.WholePull();
  Spoil<PullPart>(&Pull::parts, [](auto& parts) { parts[3].first = 4; })(wrong);
  CheckRefused(f.shard->OnPull(wrong).status(), "table 'w': 40000 rows from 4 are not in range 3");
  Spoil<PullPart>(&Pull::parts, [](auto& parts) { parts[3].range = 8; })(wrong);
  CheckRefused(f.shard->OnPull(wrong).status(), "pull: 40000 rows of range 8 of table 'w' are not here");
}

BOOST_AUTO_TEST_CASE(what_does_not_lie_there_as_it_is_pulled_or_is_not_worth_it_is_copied) {
  const auto check = [](const char* what, Lender f) {
    f.SetAll(1);
    const Pulled pulled = f.PullAll();
    BOOST_TEST(pulled.pieces.empty(), what);
    const auto near = std::ranges::count_if(pulled.values.As<float>(), [](float x) { return std::fabs(x - 1) < 1e-3f; });
    BOOST_TEST(near == int64_t{Lender::kRows}, what);
  };
  check("made of other numbers", Lender("ftrl", 8));
  check("packed", Lender("sgd", 8, ValueCode::kFloat16));
  check("many", Lender("sgd", 17));
  check("small", Lender("sgd", 64));
}

BOOST_AUTO_TEST_CASE(rows_that_are_assigned_are_pulled_and_what_is_malformed_is_refused) {
  Shard shard = Make(kAsp, 0, 2);
  const Router router(Tables(kAsp), 2);
  std::vector<Key> keys(20);
  std::iota(keys.begin(), keys.end(), Key{0});
  Pull by_key[2];
  for (const uint32_t table : {0u, 1u}) {
    const Router::TablePull wanted{.table = table, .keys = keys};
    const RoutedPull routed = router.Pull({&wanted, 1});
    const Block rows = Block::Adopt(Numbers(routed.shards[0].floats, router.tables()[table], Random(table)));
    for (int times = 0; times < 2; ++times) BOOST_REQUIRE(shard.OnAssign({.table = table, .keys = routed.shards[0].keys, .values = rows}).ok());
    by_key[table] = PullOf(routed);
    BOOST_TEST(std::ranges::equal(shard.OnPull(by_key[table])->values.As<float>(), rows.As<float>()));
  }
  BOOST_TEST(shard.version() == 4u);
  const Pull dense = PullOf(router.PullDense(1));
  BOOST_TEST(std::ranges::equal(shard.OnPull(dense)->values.As<float>(), shard.OnPull(by_key[1])->values.As<float>()));

  const auto pull_refused = [&](std::string_view says, Pull pull, const std::function<void(Pull&)>& spoil) {
    spoil(pull);
    CheckRefused(shard.OnPull(pull).status(), says);
  };
  const auto parts = [](auto change) { return Spoil<PullPart>(&Pull::parts, change); };
  const auto pulled_keys = [](auto change) { return Spoil<Key>(&Pull::keys, change); };
  pull_refused("pull: arrays are cut or not aligned", by_key[0], [](Pull& pull) { pull.parts = pull.parts.Slice(0, pull.parts.size() - 1); });
  pull_refused("pull: arrays are cut or not aligned", by_key[0], [](Pull& pull) { pull.keys = pull.keys.Slice(4, pull.keys.size() - 4); });
  pull_refused("pull: table is 2, expected < 2", by_key[0], parts([](auto& p) { p.back().table = 2; }));
  pull_refused("pull: 9 keys, but its parts ask for 4294967301", by_key[0], parts([](auto& p) { p.front().count = UINT32_MAX; }));
  pull_refused("pull: table 'w' is sparse, expected keys", by_key[0], parts([](auto& p) { p.front().dense = 1; }));
  pull_refused("pull: 8 keys, but its parts ask for 9", by_key[0], pulled_keys([](auto& k) { k.pop_back(); }));
  pull_refused("table 'w': range 3 is not held here, expected 0 .. 2", by_key[0], parts([](auto& p) { p.front().range = 3; }));
  pull_refused("table 'w': key 1000 is in range ", by_key[0], pulled_keys([](auto& k) { k.front() = 1000; }));
  pull_refused("table 'b': 4 rows from 9 are not in range 2", dense, parts([](auto& p) { p.back().first = 9; }));

  const std::string before = Saved(shard);
  const uint64_t version = shard.version();
  const auto assign_refused = [&](std::string_view says, uint32_t table, Key key, std::vector<float> row) {
    CheckRefused(shard.OnAssign({.table = table, .keys = Block::Adopt(std::vector<Key>{key}), .values = Block::Adopt(std::move(row))}), says);
  };
  assign_refused("assign: table is 2, expected < 2", 2, 0, {1});
  assign_refused("assign: keys and values differ in number", 1, 0, {1});
  assign_refused("assign: row is 20, expected < 20", 1, 20, {1, 2});
  assign_refused("table 'b': range 4 is not held here, expected 0 .. 2", 1, 19, {1, 2});
  assign_refused("table 'b': value of key 4 is nan", 1, 4, {1, kNan});
  CheckRefused(shard.OnOpen({WriterId{3}}).status(), "open: writer is 3, expected < 3");
  BOOST_TEST((Saved(shard) == before));
  BOOST_TEST(shard.version() == version);
}

BOOST_AUTO_TEST_CASE(a_state_is_loaded_whole_and_that_of_another_shard_is_refused) {
  Shard shard = Make(kBsp, 0, 2);
  for (const auto& messages : MakeScript(kBsp, kWhole, 0, 2)) Play(shard, messages);
  const std::vector<SnapshotSection> good = shard.Save();
  const auto with = [&](size_t section, const Block& bytes) {
    std::vector<SnapshotSection> sections = good;
    sections[section].bytes = bytes;
    return sections;
  };
  const auto cut = [&](size_t section, size_t bytes) { return with(section, good[section].bytes.Slice(0, bytes)); };
  CheckRefused(shard.Load({good.begin() + 1, good.end()}), "snapshot holds no ledger");
  CheckRefused(shard.Load(cut(0, 10)), "snapshot holds no ledger");
  CheckRefused(shard.Load(cut(0, good[0].bytes.size() - 1)), "snapshot holds no ledger");
  CheckRefused(shard.Load(Make(kBsp, 1, 2).Save()), "snapshot is of shard 1 of 2 with 3 writers, expected shard 0 of 2 with 3");
  CheckRefused(shard.Load(Make(kBsp, 0, 3).Save()), "snapshot is of shard 0 of 3 with 3 writers, expected shard 0 of 2 with 3");
  CheckRefused(shard.Load(Make(kBsp, 0, 2, 4).Save()), "snapshot is of shard 0 of 2 with 4 writers, expected shard 0 of 2 with 3");
  CheckRefused(shard.Load({good.begin(), good.end() - 1}), "snapshot lacks range 2 of table 'b'");
  CheckRefused(shard.Load(with(1, good[2].bytes)), "table 'w': bytes of range 0: ");
  CheckRefused(shard.Load(cut(6, good[6].bytes.size() - 4)), "table 'b': bytes of range 2: ");

  Shard restored = Make(kBsp, 0, 2);
  BOOST_REQUIRE(restored.Load(good).ok());
  for (const Shard* same : {&shard, &restored}) BOOST_TEST((Saved(*same) == BytesOf(good)));
  BOOST_TEST(restored.nonzeros() == shard.nonzeros());
  BOOST_TEST(restored.OnOpen({WriterId{2}})->stable == kEnd);
}

BOOST_AUTO_TEST_CASE(keys_that_are_remembered_need_not_come_and_others_are_asked_for_with_nothing_changed) {
  for (const Consistency& consistency : {kBsp, kAsp}) {
    const Script script = MakeScript(consistency);
    Shard told = Make(consistency), remembering = Make(consistency);
    uint64_t hash = 0;
    for (const std::vector<Push>& pushes : script) {
      for (Push push : pushes) {
        Send(told, push);
        push.keys_hash = ++hash;
        Push kept = push;
        kept.keys = Block();
        kept.keys_kept = true;
        const auto before = Saved(remembering);
        const Pushed unknown = Send(remembering, kept);
        BOOST_TEST((unknown.outcome == Pushed::Outcome::kNeedKeys));
        BOOST_TEST(Saved(remembering) == before);
        Push other = push;   // the keys become known by a message that is refused
        other.values = Block();
        if (!push.values.empty()) BOOST_TEST(!remembering.OnPush(other).ok());
        if (push.values.empty()) Send(remembering, push);
        for (int twice = 0; twice < 2; ++twice) BOOST_TEST((Send(remembering, kept).outcome == Pushed::Outcome::kApplied));
      }
    }
    BOOST_TEST(Saved(remembering) == Saved(told));
    BOOST_TEST(remembering.nonzeros() == told.nonzeros());
  }
}

BOOST_AUTO_TEST_CASE(one_writers_keys_are_not_anothers_and_a_restored_shard_has_none) {
  Shard shard = Make(kAsp);
  Pull pull{.writer = WriterId{0}, .parts = {}, .keys = Block::Adopt(std::vector<Key>{1, 2}), .keys_hash = 7};
  shard.FillKeys(pull);
  const auto known = [&](uint32_t writer) {
    Pull kept{.writer = WriterId{writer}, .parts = {}, .keys = {}, .keys_hash = 7, .keys_kept = true};
    shard.FillKeys(kept);
    BOOST_TEST(kept.keys.size() == (kept.keys_kept ? 0U : 16U));
    if (kept.keys_kept) BOOST_TEST(shard.OnPull(kept)->needs_keys);
    return !kept.keys_kept;
  };
  BOOST_TEST(known(0));
  BOOST_TEST(!known(1));
  BOOST_TEST(!known(kWriters));   // no such writer
  BOOST_REQUIRE(shard.Load(shard.Save()).ok());
  BOOST_TEST(!known(0));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
