// Every message of a shard through its frame and back, and frames that are cut or garbage.
#include "ps/wire.h"

#include <boost/test/unit_test.hpp>

#include "actors/random.h"
#include "actors/text.h"

namespace troupe {
namespace {

template <class T>
Block Array(std::vector<T> values) {
  return Block::Adopt(std::move(values));
}
bool Same(const Block& a, const Block& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}
bool Same(const Frame& a, const Frame& b) {
  bool same = a.type == b.type && Same(a.head, b.head) && a.bulk.size() == b.bulk.size();
  for (size_t i = 0; same && i < a.bulk.size(); ++i) same = Same(a.bulk[i], b.bulk[i]);
  return same;
}

template <class Message>
Message Again(const Message& message) {
  const Frame frame = Codec<Message>::Encode(message);
  BOOST_TEST(frame.type == Codec<Message>::kType);
  BOOST_TEST(frame.bulk.size() <= kFrameBlocksMax);
  auto decoded = Codec<Message>::Decode(frame);
  BOOST_REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
  BOOST_TEST(Same(Codec<Message>::Encode(*decoded), frame));
  return std::move(*decoded);
}

FunctionCall SomeCall() {
  return {.function = "f", .tables = {2, 1}, .numbers = {{"k", {10}}, {"none", {}}}, .words = {{"by", "norm"}}, .keys = {UINT64_MAX, 1}, .values = {0.5F, -1}};
}
Push SomePush() {
  Push push;
  push.writer = WriterId{3};
  push.round = MakeRound(2, 5);
  push.previous = MakeRound(2, 4);
  push.round_over = false;
  push.wants_snapshot = true;
  push.chunk = 4;
  push.parts = Array<PushPart>({{.table = 1, .range = 2, .sequence = 3, .previous = 4, .first = 5, .count = 1, .dense = 0, .nonzeros = 7}});
  push.keys = Array<Key>({UINT64_MAX});
  push.values = Array<float>({1.5F, -2});
  push.after = MakeRound(2, 0);
  push.change = std::make_shared<const FunctionCall>(SomeCall());
  return push;
}
Pull SomePull() {
  return {.writer = WriterId{4},
          .round = MakeRound(7, 1),
          .parts = Array<PullPart>({{.table = 0, .range = 1, .first = 2, .count = 3, .dense = 1}}),
          .keys = Array<Key>({9, 8}),
          .view = UINT64_MAX - 1};
}

void Check(const Push& push) {
  BOOST_TEST(static_cast<uint32_t>(push.writer) == 3U);
  BOOST_TEST(push.round == MakeRound(2, 5));
  BOOST_TEST(push.previous == MakeRound(2, 4));
  BOOST_TEST(!push.round_over);
  BOOST_TEST(push.wants_snapshot);
  BOOST_TEST(push.chunk == 4U);
  BOOST_TEST(push.after == MakeRound(2, 0));
  BOOST_REQUIRE(push.change != nullptr);
  BOOST_TEST((*push.change == SomeCall()));
  BOOST_TEST(push.parts.As<PushPart>()[0].nonzeros == 7U);
  BOOST_TEST(push.keys.As<Key>()[0] == UINT64_MAX);
  BOOST_TEST(push.values.As<float>()[1] == -2.0F);
}
void Check(const Pull& pull) {
  BOOST_TEST(static_cast<uint32_t>(pull.writer) == 4U);
  BOOST_TEST(pull.round == MakeRound(7, 1));
  BOOST_TEST(pull.parts.As<PullPart>()[0].count == 3U);
  BOOST_TEST(pull.keys.As<Key>()[1] == 8U);
  BOOST_TEST(pull.view == UINT64_MAX - 1);
}
void Check(const Pushed& pushed) {
  BOOST_TEST((pushed.outcome == Pushed::Outcome::kExpect));
  BOOST_TEST(pushed.clock == 10U);
  BOOST_TEST(pushed.stable == 9U);
}

/// The frame with a part missing or changed must be refused or decode to something, never crash; what lacks an array is refused.
template <class Message>
void Damage(const Message& message) {
  const Frame whole = Codec<Message>::Encode(message);
  for (size_t size = 0; size < whole.head.size(); ++size) {
    Frame frame = whole;
    frame.head = Block::Copy(whole.head.data(), size);
    const auto decoded = Codec<Message>::Decode(frame);
    if (!decoded.ok()) BOOST_TEST(absl::IsInvalidArgument(decoded.status()));
  }
  Random random(1);
  for (int i = 0; i < 500; ++i) {
    std::vector<std::byte> bytes(whole.head.data(), whole.head.data() + whole.head.size());
    for (uint64_t n = random.Below(4); !bytes.empty() && n < 4; ++n) bytes[random.Below(bytes.size())] = static_cast<std::byte>(random.Next());
    Frame frame = whole;
    frame.head = Block::Adopt(std::move(bytes));
    const auto decoded = Codec<Message>::Decode(frame);
    if (!decoded.ok()) BOOST_TEST(absl::IsInvalidArgument(decoded.status()));
  }
  if (whole.bulk.empty()) return;
  Frame fewer = whole, more = whole;
  fewer.bulk.pop_back();
  more.bulk.emplace_back();
  for (const Frame& frame : {fewer, more}) BOOST_TEST(absl::IsInvalidArgument(Codec<Message>::Decode(frame).status()));
}

ShardActorOptions SomeShardJob() {
  TableSpec spec;
  spec.name = "w";
  spec.width = 3;
  spec.rows = 17;
  spec.rule = "adam";
  spec.rule_options = {{"beta1", 0.5}, {"learning_rate", 0.25}};
  spec.l1 = 0.125;
  spec.l2 = 2;
  spec.penalised_from = 1;
  spec.combine = TableSpec::Combine::kSum;
  spec.ranges = 5;
  spec.weight_decay = 0.5;
  spec.init = {RowInit::Kind::kNormal, 0.25, 9};
  spec.schedule = *ParseSchedule("warmup:3,step:10:0.5");
  spec.clip_value = 3;
  spec.clip_norm = 4;
  spec.non_finite = NonFinite::kDrop;
  spec.staleness_scale = true;
  spec.delay_compensation = 0.04;
  spec.encoding = *ParseEncoding("int8+pull_float16+top_k:0.25+feedback+delta");
  spec.limits = {.admit_after = 3, .ttl = 4, .rows_max = 5, .memory_max = 6};
  TableSpec plain;
  plain.name = "counts";
  plain.branch_of = "w";
  ShardActorOptions options;
  options.shard = {.tables = {spec, plain},
                   .shard = 1,
                   .shards = 3,
                   .writers = 7,
                   .consistency = Consistency{.kind = Consistency::Kind::kSsp, .staleness = 4},
                   .stable_when_applied = true};
  options.snapshot_uri = "file:/tmp/x";
  options.snapshot_interval = std::chrono::milliseconds(123);
  options.restore_uri = "mem:/y";
  options.pull_wait_max = std::chrono::milliseconds(456);
  options.shard.writers_go_on = true;
  options.log_folder = "/z";
  options.log_bytes_max = 789;
  options.tier_folder = "/tmp/rows";
  options.catch_up_max = std::chrono::milliseconds(700);
  return options;
}

BOOST_AUTO_TEST_SUITE(PsWire)

BOOST_AUTO_TEST_CASE(every_message_comes_out_as_it_went_in) {
  Check(Again(SomePush()));
  Check(Again(SomePull()));
  const Pushed pushed{.outcome = Pushed::Outcome::kExpect, .clock = 10, .stable = 9, .closed = 8};
  Check(Again(pushed));
  BOOST_TEST(Again(Pulled{Array<float>({1, 2, 3})}).values.As<float>()[2] == 3.0F);
  const PushPull both = Again(PushPull{SomePush(), SomePull()});
  Check(both.push);
  Check(both.pull);
  BOOST_TEST(Again(Pulled{.values = Array<float>({1}), .packing = {}, .clock = MakeRound(2, 7)}).clock == MakeRound(2, 7));
  BOOST_TEST(Again(Pull{.parts = {}, .keys = {}, .in_pieces = true}).in_pieces);
  const Pulled pieces{.clock = 3, .pieces = {Array<float>({1, 2}), Array<float>({3})}};
  for (const Pulled& again : {Again(pieces), Again(PushPulled{pushed, pieces}).pulled}) {
    BOOST_TEST(again.values.empty());
    BOOST_TEST(again.clock == 3U);
    BOOST_REQUIRE(again.pieces.size() == 2U);
    BOOST_TEST(again.pieces[0].As<float>()[1] == 2.0F);
    BOOST_TEST(again.pieces[1].As<float>()[0] == 3.0F);
  }
  const PushPulled answers = Again(PushPulled{pushed, {.values = Array<float>({4}), .packing = {}, .clock = 5}});
  Check(answers.pushed);
  BOOST_TEST(answers.pulled.clock == 5U);
  BOOST_TEST(answers.pulled.values.As<float>()[0] == 4.0F);
  const Open open = Again(Open{.writer = WriterId{6}, .through = 7});
  BOOST_TEST(static_cast<uint32_t>(open.writer) == 6U);
  BOOST_TEST(open.through == 7U);
  const Opened opened = Again(Opened{.clock = 3, .stable = 2, .applied = Array<uint64_t>({5, 6})});
  BOOST_TEST(opened.clock == 3U);
  BOOST_TEST(opened.stable == 2U);
  BOOST_TEST(opened.applied.As<uint64_t>()[1] == 6U);
  const Assign assign = Again(Assign{.table = 2, .keys = Array<Key>({1}), .values = Array<float>({2})});
  BOOST_TEST(assign.table == 2U);
  BOOST_TEST(assign.values.As<float>()[0] == 2.0F);
  Again(Assigned{});
  const TakeSnapshot take = Again(TakeSnapshot{.uri = "mem:/a b", .at = 12});
  BOOST_TEST(take.uri == "mem:/a b");
  BOOST_TEST(take.at == 12U);
  const TakeSnapshot in_parts = Again(TakeSnapshot{.uri = "mem:/a", .at = 0, .in_parts = true, .base = "mem:/b"});
  BOOST_TEST((!take.in_parts && take.base.empty() && in_parts.in_parts && in_parts.base == "mem:/b"));
  const SnapshotTaken taken = Again(SnapshotTaken{.clock = 8, .bytes = 9, .files = {"a", "b"}});
  BOOST_TEST((taken.clock == 8U && taken.bytes == 9U && taken.files == std::vector<std::string>{"a", "b"}));
  const SaveRows save = Again(SaveRows{.uri = "u", .at = 5, .assigned = {assign, Assign{.table = 7, .keys = {}, .values = {}}}});
  BOOST_TEST(save.uri == "u");
  BOOST_TEST(save.at == 5U);
  BOOST_REQUIRE(save.assigned.size() == 2U);
  BOOST_TEST(save.assigned[0].keys.As<Key>()[0] == 1U);
  BOOST_TEST(save.assigned[1].table == 7U);
  const RowsSaved saved = Again(RowsSaved{.rows = 1, .nonzeros = UINT64_MAX, .late = 4, .dropped = 2, .evicted = 3});
  BOOST_TEST(saved.late == 4U);
  BOOST_TEST(saved.rows == 1U);
  BOOST_TEST(saved.dropped == 2U);
  BOOST_TEST(saved.evicted == 3U);
  BOOST_TEST(saved.nonzeros == UINT64_MAX);
}

/// SomePush with numbers that int8 can hold, of a table with one range.
Push PackedPush() {
  Push push = SomePush();
  push.parts = Array<PushPart>({{.table = 1, .range = 0, .sequence = 3, .previous = 1, .first = 0, .count = 2, .dense = 0, .nonzeros = 7}});
  push.keys = Array<Key>({5, UINT64_MAX});
  push.values = Array<float>({1.5F, -2});
  push.keys_hash = 77;
  push.packing = {.values = {{ValueCode::kInt8, 0.5F, 2}}, .ranges = {1}};
  return push;
}
Pull KeptPull() {
  Pull pull = SomePull();
  pull.keys = Block();
  pull.keys_hash = 78;
  pull.keys_kept = true;
  pull.packing.ranges = {0};
  return pull;
}

BOOST_AUTO_TEST_CASE(packed_messages_come_out_as_they_went_in) {
  const PushPull both = Again(PushPull{PackedPush(), KeptPull()});
  for (const Push& push : {Again(PackedPush()), both.push}) {
    BOOST_TEST(Same(push.parts, PackedPush().parts));
    BOOST_TEST(Same(push.keys, PackedPush().keys));
    BOOST_TEST(Same(push.values, PackedPush().values));
    BOOST_TEST(push.keys_hash == 77U);
    BOOST_TEST(!push.keys_kept);
    BOOST_TEST((push.packing.values == PackedPush().packing.values));
  }
  for (const Pull& pull : {Again(KeptPull()), both.pull}) {
    BOOST_TEST(Same(pull.parts, KeptPull().parts));
    BOOST_TEST(pull.keys.empty());
    BOOST_TEST(pull.keys_hash == 78U);
    BOOST_TEST(pull.keys_kept);
  }
  const Pushed unknown{.outcome = Pushed::Outcome::kNeedKeys, .clock = 10, .stable = 9};
  BOOST_TEST((Again(unknown).outcome == Pushed::Outcome::kNeedKeys));
  const Pulled halves{Array<float>({1, 0.5F}), {.values = {{ValueCode::kFloat16, 1, 2}}, .ranges = {}}};
  BOOST_TEST(Codec<Pulled>::Encode(halves).bulk[0].size() == 4U);
  BOOST_TEST(Again(halves).values.As<float>()[1] == 0.5F);
  const PushPulled answers = Again(PushPulled{unknown, {.values = {}, .packing = {}, .needs_keys = true}});
  BOOST_TEST(answers.pulled.needs_keys);
  BOOST_TEST(Again(PushPulled{unknown, halves}).pulled.values.As<float>()[0] == 1.0F);
}

BOOST_AUTO_TEST_CASE(a_call_and_its_answer_come_out_as_they_went_in) {
  const Call call = Again(Call{.call = SomeCall(), .at = 5, .assigned = {Assign{.table = 7, .keys = Array<Key>({1}), .values = Array<float>({2})}}, .view = 9});
  BOOST_TEST(call.view == 9u);
  BOOST_TEST((call.call == SomeCall()));
  BOOST_TEST(call.at == 5U);
  BOOST_REQUIRE(call.assigned.size() == 1U);
  BOOST_TEST(call.assigned[0].table == 7U);
  BOOST_TEST(call.assigned[0].values.As<float>()[0] == 2.0F);
  const Called called =
      Again(Called{.parts = Array<CalledPart>({{.first = 4, .size = 2, .keys = 1, .numbers = 1}}), .keys = Array<Key>({9}), .numbers = Array<double>({0.5})});
  BOOST_TEST(called.parts.As<CalledPart>()[0].first == 4U);
  BOOST_TEST(called.keys.As<Key>()[0] == 9U);
  BOOST_TEST(called.numbers.As<double>()[0] == 0.5);
  const auto alone = DecodeFunctionCall(EncodeFunctionCall(SomeCall()));
  BOOST_REQUIRE_MESSAGE(alone.ok(), alone.status().ToString());
  BOOST_TEST((*alone == SomeCall()));
  BOOST_TEST(absl::IsInvalidArgument(DecodeFunctionCall(Block::Copy("12345678", 8)).status()));
}

BOOST_AUTO_TEST_CASE(a_cuts_messages_come_out_as_they_went_in) {
  using std::chrono::milliseconds;
  const Prepare prepare = Again(Prepare{.cut = UINT64_MAX, .hold = milliseconds(3)});
  BOOST_TEST(prepare.cut == UINT64_MAX);
  BOOST_TEST((prepare.hold == milliseconds(3)));
  BOOST_TEST(Again(Prepared{Array<Round>({5, 7})}).clocks.As<Round>()[1] == 7U);
  const Freeze freeze = Again(Freeze{.cut = 4, .clocks = Array<Round>({9}), .wait = milliseconds(5), .lease = milliseconds(6)});
  BOOST_TEST(freeze.cut == 4U);
  BOOST_TEST(freeze.clocks.As<Round>()[0] == 9U);
  BOOST_TEST((freeze.wait == milliseconds(5)));
  BOOST_TEST((freeze.lease == milliseconds(6)));
  Again(Frozen{});
  BOOST_TEST(Again(Release{.cut = 8}).cut == 8U);
  Again(Released{});
}

BOOST_AUTO_TEST_CASE(a_moves_messages_and_the_epoch_of_the_others_come_out_as_they_went_in) {
  using std::chrono::milliseconds;
  BOOST_TEST(Again(Push{.writer = WriterId{1}, .parts = {}, .keys = {}, .values = {}, .epoch = 7}).epoch == 7U);
  BOOST_TEST(Again(Push{.writer = WriterId{1}, .parts = {}, .keys = {}, .values = {}, .order = 6}).order == 6U);
  BOOST_TEST(Again(Pull{.writer = WriterId{1}, .parts = {}, .keys = {}, .epoch = 8}).epoch == 8U);
  const Pushed moved = Again(Pushed{.outcome = Pushed::Outcome::kMoved, .clock = 3, .epoch = 9});
  BOOST_TEST((moved.outcome == Pushed::Outcome::kMoved));
  BOOST_TEST(moved.epoch == 9U);
  BOOST_TEST(Again(Pushed{.clock = 3, .order = 10}).order == 10U);
  BOOST_TEST(Again(Pulled{.values = {}, .moved = 10}).moved == 10U);
  BOOST_TEST(Again(Opened{.clock = 1, .stable = 1, .applied = Array<uint64_t>({1}), .epoch = 11}).epoch == 11U);
  BOOST_TEST(Again(RowsSaved{.epoch = 12}).epoch == 12U);
  BOOST_TEST(Again(Called{.parts = {}, .keys = {}, .numbers = {}, .epoch = 13}).epoch == 13U);
  BOOST_TEST(Again(Prepared{Array<Round>({5}), 14}).epoch == 14U);
  BOOST_TEST(Again(AskRanges{.loads = true}).loads);
  const Ranges ranges =
      Again(Ranges{.map = Array<uint64_t>({1, 2}), .loads = Array<RangeLoad>({{.table = 1, .range = 2, .pushed = 3, .pulled = 4, .bytes = 5}}), .in_doubt = 6});
  BOOST_TEST(ranges.map.As<uint64_t>()[1] == 2U);
  BOOST_TEST(ranges.loads.As<RangeLoad>()[0].pulled == 4U);
  BOOST_TEST(ranges.in_doubt == 6U);
  const Stand stand =
      Again(Stand{.cut = 4, .clocks = Array<Round>({9}), .map = Array<uint64_t>({3}), .uri = "mem:/x", .wait = milliseconds(5), .hold = milliseconds(6)});
  BOOST_TEST(stand.cut == 4U);
  BOOST_TEST(stand.clocks.As<Round>()[0] == 9U);
  BOOST_TEST(stand.map.As<uint64_t>()[0] == 3U);
  BOOST_TEST(stand.uri == "mem:/x");
  BOOST_TEST((stand.wait == milliseconds(5)));
  BOOST_TEST((stand.hold == milliseconds(6)));
  Again(Standing{});
  const TakeIn take = Again(TakeIn{.cut = 2, .uris = {"a", "b"}});
  BOOST_TEST(take.cut == 2U);
  BOOST_TEST((take.uris == std::vector<std::string>{"a", "b"}));
  Again(TakenIn{});
  const Settle settle = Again(Settle{.cut = 3, .epoch = 4, .commit = true});
  BOOST_TEST(settle.cut == 3U);
  BOOST_TEST(settle.epoch == 4U);
  BOOST_TEST(settle.commit);
  Again(Settled{});
}

BOOST_AUTO_TEST_CASE(a_shards_job_comes_out_as_it_went_in) {
  const ShardActorOptions options = SomeShardJob();
  const auto decoded = DecodeShardJob(EncodeShardJob(options));
  BOOST_REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
  BOOST_TEST(Same(EncodeShardJob(*decoded), EncodeShardJob(options)));
  BOOST_TEST((decoded->shard.tables == options.shard.tables));
  BOOST_TEST(!decoded->shard.tables.at(1).rows);
  BOOST_TEST(decoded->shard.shard == 1U);
  BOOST_TEST(decoded->shard.shards == 3U);
  BOOST_TEST(decoded->shard.writers == 7U);
  BOOST_TEST((decoded->shard.consistency == options.shard.consistency));
  BOOST_TEST(decoded->shard.stable_when_applied);
  BOOST_TEST(decoded->snapshot_uri == options.snapshot_uri);
  BOOST_TEST(decoded->restore_uri == options.restore_uri);
  BOOST_TEST((decoded->snapshot_interval == options.snapshot_interval));
  BOOST_TEST((decoded->pull_wait_max == options.pull_wait_max));
  BOOST_TEST(decoded->shard.writers_go_on);
  BOOST_TEST(decoded->log_folder == "/z");
  BOOST_TEST(decoded->log_bytes_max == 789u);
  BOOST_TEST(decoded->tier_folder == options.tier_folder);
  BOOST_TEST((decoded->catch_up_max == options.catch_up_max));
  const Block bytes = EncodeShardJob(options);
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto cut = DecodeShardJob(Block::Copy(bytes.data(), size));
    if (!cut.ok()) BOOST_TEST(absl::IsInvalidArgument(cut.status()));
  }
}

BOOST_AUTO_TEST_CASE(damaged_frames_are_refused) {
  Damage(SomePush());
  Damage(SomePull());
  Damage(Pushed{});
  Damage(Pulled{Array<float>({1})});
  Damage(Pulled{.pieces = {Array<float>({1, 2}), Array<float>({3})}});
  Damage(PushPull{SomePush(), SomePull()});
  Damage(PushPulled{});
  Damage(PackedPush());
  Damage(PushPull{PackedPush(), KeptPull()});
  Damage(PushPulled{{}, {Array<float>({1}), {.values = {{ValueCode::kBfloat16, 1, 1}}, .ranges = {}}}});
  Damage(Open{WriterId{1}});
  Damage(Opened{});
  Damage(Assign{});
  Damage(TakeSnapshot{.uri = "uri"});
  Damage(SnapshotTaken{.clock = 1, .bytes = 2, .files = {"a"}});
  Damage(SaveRows{.uri = "uri", .at = 1, .assigned = {Assign{.table = 1, .keys = {}, .values = {}}}});
  Damage(RowsSaved{.rows = 1});
  Damage(Call{.call = SomeCall(), .at = 1, .assigned = {Assign{.table = 1, .keys = {}, .values = {}}}});
  Damage(Called{});
  Damage(Prepare{.cut = 1});
  Damage(Prepared{});
  Damage(Freeze{.cut = 1, .clocks = {}});
  Damage(Release{.cut = 1});
  const Frame odd{Codec<Opened>::kType, Codec<Opened>::Encode({}).head, {Block::Copy("abc", 3)}};
  BOOST_TEST(Message(Codec<Opened>::Decode(odd).status()) == "opened: array is cut or not aligned");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
