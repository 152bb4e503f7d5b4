// Messages through their packed form: what comes back, what is refused, how many bytes it takes.
#include "ps/encoding/packing.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <set>

#include "actors/random.h"
#include "actors/text.h"
#include "ps/encoding/compressor.h"
#include "ps/router.h"
#include "ps/shard.h"
#include "ps/wire.h"

namespace troupe {
namespace {

constexpr const char* kEncodings[] = {
    "none", "delta", "cache", "int8+delta", "float16", "onebit+delta+cache", "bfloat16+delta", "top_k:0.5+int8+delta+feedback"};

bool Same(const Block& a, const Block& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}
void CheckSame(const Push& a, const Push& b) {
  BOOST_TEST(Same(a.parts, b.parts));
  BOOST_TEST(Same(a.keys, b.keys));
  BOOST_TEST(Same(a.values, b.values));
  BOOST_TEST(a.keys_hash == b.keys_hash);
  BOOST_TEST(a.keys_kept == b.keys_kept);
}

TableSpec Spec(const char* encoding, uint32_t width, std::optional<uint64_t> rows, uint32_t ranges) {
  TableSpec spec{.name = "w", .width = width, .rows = rows, .rule = "sgd", .rule_options = {{"learning_rate", 0.1}}, .ranges = ranges};
  spec.encoding = *ParseEncoding(encoding);
  return spec;
}
std::vector<TableSpec> RandomTables(Random& random) {
  constexpr uint32_t kRanges[] = {0, 1, 7, 64, 5000};
  std::vector<TableSpec> tables;
  for (uint64_t n = 1 + random.Below(3); tables.size() < n;) {
    const std::optional<uint64_t> rows = random.Below(4) == 0 ? std::optional<uint64_t>(1 + random.Below(300)) : std::nullopt;
    tables.push_back(Spec(kEncodings[random.Below(std::size(kEncodings))], random.Below(2) == 0 ? 1 : 3, rows, kRanges[random.Below(5)]));
  }
  return tables;
}
TablePush RandomPush(const TableSpec& spec, uint32_t table, Random& random) {
  std::set<Key> keys;
  const uint64_t wanted = random.Below(200), space = spec.rows.value_or(random.Below(2) == 0 ? UINT64_MAX : 100'000);
  for (uint64_t i = 0; i < wanted; ++i) keys.insert(random.Below(space));
  TablePush push{.table = table, .keys = {keys.begin(), keys.end()}, .values = {}, .nonzeros = {}};
  random.Shuffle(std::span(push.keys));
  for (size_t i = 0; i < push.keys.size() * spec.width; ++i) push.values.push_back(static_cast<float>(random.Normal()));
  for (size_t i = 0; i < push.keys.size(); ++i) push.nonzeros.push_back(static_cast<uint32_t>(random.Below(1000)));
  return push;
}
/// What a client makes of a chunk.
Push MessageOf(const RoutedPush::Chunk& chunk, Random& random) {
  Push push;
  std::vector<PushPart> parts = chunk.parts;
  for (PushPart& part : parts) {
    part.sequence = MakeRound(3, 17) << 8;
    part.previous = MakeRound(3, 16 - random.Below(2)) << 8;
  }
  push.round = MakeRound(3, 17);
  push.parts = Block::Adopt(std::move(parts));
  push.keys = chunk.keys;
  push.values = chunk.values;
  push.keys_hash = chunk.keys_hash;
  push.packing = chunk.packing;
  return push;
}
template <class Message>
Message Again(const Message& message) {
  const auto again = Codec<Message>::Decode(Codec<Message>::Encode(message));
  BOOST_REQUIRE_MESSAGE(again.ok(), again.status().ToString());
  return *again;
}

BOOST_AUTO_TEST_SUITE(PackingTest)

BOOST_AUTO_TEST_CASE(routed_pushes_and_pulls_come_back_as_they_were) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    BOOST_TEST_CONTEXT("seed " << seed) {
      const Router router(RandomTables(random), static_cast<uint32_t>(1 + random.Below(3)));
      Compressor compressor(router.tables(), 1, 0);
      std::vector<TablePush> pushes;
      std::vector<Router::TablePull> wanted;
      for (uint32_t table = 0; table < router.tables().size(); ++table) pushes.push_back(RandomPush(router.tables()[table], table, random));
      compressor.Compress(pushes, {});
      for (const TablePush& push : pushes) wanted.push_back({push.table, push.keys});
      const RoutedPull pull = router.Pull(wanted);
      for (const RoutedPull::Share& share : pull.shards) {
        Pull message{.parts = share.parts, .keys = share.keys, .keys_hash = share.keys_hash, .packing = share.packing};
        const Pull again = Again(message);
        BOOST_TEST(Same(again.parts, message.parts));
        BOOST_TEST(Same(again.keys, message.keys));
        BOOST_TEST(again.keys_hash == message.keys_hash);
      }
      const RoutedPush routed = router.Push(std::move(pushes), &pull);
      for (const auto& chunks : routed.shards) {
        for (const RoutedPush::Chunk& chunk : chunks) {
          Push push = MessageOf(chunk, random);
          CheckSame(Again(push), push);
          push.keys = Block();   // the shard has them
          push.keys_kept = true;
          CheckSame(Again(push), push);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(keys_of_an_unexpected_order_or_range_travel_as_they_are) {
  Push push;
  push.parts = Block::Adopt(std::vector<PushPart>{{.table = 2, .range = 1, .sequence = 9, .previous = 1, .first = 0, .count = 2, .dense = 0, .nonzeros = 7},
                                                  {.table = 2, .range = 0, .sequence = 3, .previous = 4, .first = 0, .count = 1, .dense = 0, .nonzeros = 7},
                                                  {.table = 5, .range = 9, .sequence = 1, .previous = 0, .first = 44, .count = 9, .dense = 1, .nonzeros = 7}});
  push.keys = Block::Adopt(std::vector<Key>{9, 3, UINT64_MAX});
  push.packing.ranges = {2, 3};
  Push again = Again(push);
  CheckSame(again, push);
  BOOST_TEST((again.packing.ranges == std::vector<uint32_t>{0, 0}));
  push.packing.ranges = {2};   // of fewer tables than there are
  CheckSame(Again(push), push);
  push.keys = Block::Adopt(std::vector<Key>{9, 3});   // fewer than the parts say: the shard's to refuse
  CheckSame(Again(push), push);
  push.parts = Block();
  again = Again(push);
  CheckSame(again, push);
  BOOST_TEST(again.packing.ranges.empty());
}

BOOST_AUTO_TEST_CASE(a_push_takes_the_bytes_that_its_encoding_promises) {
  // 2000 of a million keys: two bytes of difference or one and a quarter of length, of 64 ranges some three bytes each.
  Random random(5);
  std::set<Key> keys;
  while (keys.size() < 2000) keys.insert(random.Below(1'000'000));
  const auto bytes = [&](const char* encoding, bool kept) {
    const Router router({Spec(encoding, 1, std::nullopt, 0)}, 1);
    std::vector<TablePush> pushes(1);
    pushes[0].keys = {keys.begin(), keys.end()};
    for (size_t i = 0; i < keys.size(); ++i) pushes[0].values.push_back(static_cast<float>(random.Normal()));
    Compressor(router.tables(), 1, 0).Compress(pushes, {});
    Push push = MessageOf(router.Push(std::move(pushes)).shards[0][0], random);
    push.keys_kept = kept;
    if (kept) push.keys = Block();
    return Codec<Push>::Encode(push).size();
  };
  const size_t raw = bytes("none", false), overhead = 500;
  BOOST_TEST(raw >= 2000U * 12 + 64 * 48);
  BOOST_TEST(bytes("delta", false) < 2000U * (4 + 2) + overhead);
  BOOST_TEST(bytes("float16+delta", false) < 2000U * (2 + 2) + overhead);
  BOOST_TEST(bytes("int8+delta", false) < 2000U * (1 + 2) + overhead);
  BOOST_TEST(bytes("onebit+delta", false) < 2000U * 17 / 8 + overhead);
  BOOST_TEST(bytes("int8+delta+cache", true) < 2000U + overhead + 2 * 64);
  BOOST_TEST(bytes("onebit+cache", true) < 2000U / 8 + overhead + 2 * 64);
  BOOST_TEST(bytes("top_k:0.1+float16+delta", false) < 200U * (2 + 3) + overhead);
}

BOOST_AUTO_TEST_CASE(damaged_packings_are_refused_or_are_messages) {
  uint64_t refused = 0;
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    Random random(seed);
    const Router router(RandomTables(random), 1);
    std::vector<TablePush> pushes;
    for (uint32_t table = 0; table < router.tables().size(); ++table) pushes.push_back(RandomPush(router.tables()[table], table, random));
    Compressor(router.tables(), 1, 0).Compress(pushes, {});
    Packed packed = Pack(MessageOf(router.Push(std::move(pushes)).shards[0][0], random));
    for (Block* block : {&packed.parts, &packed.keys, &packed.values}) {
      std::vector<std::byte> bytes(block->data(), block->data() + block->size());
      if (random.Below(3) == 0) bytes.resize(random.Below(bytes.size() + 1));
      for (uint64_t n = random.Below(4); !bytes.empty() && n > 0; --n) bytes[random.Below(bytes.size())] = static_cast<std::byte>(random.Next());
      *block = Block::Adopt(std::move(bytes));
    }
    if (!packed.packing.ranges.empty() && random.Below(4) == 0) packed.packing.ranges[0] = static_cast<uint32_t>(random.Next());
    if (!packed.packing.values.empty() && random.Below(4) == 0) packed.packing.values[0].floats = random.Next();
    if (!packed.packing.values.empty() && random.Below(8) == 0) packed.packing.values[0].code = static_cast<ValueCode>(random.Below(256));
    if (!packed.packing.values.empty() && random.Below(8) == 0) packed.packing.values[0].scale = -1;
    Push push;
    const absl::Status status = Unpack(packed, push);
    refused += !status.ok();
    if (!status.ok()) {
      BOOST_TEST(absl::IsInvalidArgument(status));
    } else if (push.parts.IsArrayOf<PushPart>() && push.keys.IsArrayOf<Key>() && push.values.IsArrayOf<float>()) {
      CheckSame(Again(push), push);
    }
  }
  BOOST_TEST(refused > 500U);
}

BOOST_AUTO_TEST_CASE(runs_that_promise_more_than_there_is_are_refused_before_memory_is_made) {
  const Block bytes = Block::Copy("12345678", 8);
  const auto status = [&](std::vector<ValueRun> runs) { return UnpackRuns(bytes, runs).status(); };
  BOOST_TEST(status({{ValueCode::kOneBit, 1, 64}}).ok());
  BOOST_TEST(status({{ValueCode::kInt8, 1, 4}, {ValueCode::kFloat32, 1, 1}}).ok());
  for (const ValueRun& run : {ValueRun{ValueCode::kOneBit, 1, 65}, ValueRun{ValueCode::kFloat32, 1, UINT64_MAX / 4 + 3}, ValueRun{ValueCode::kInt8, 1, 7},
                              ValueRun{ValueCode::kInt8, -1, 8}, ValueRun{ValueCode::kInt8, INFINITY, 8}, ValueRun{static_cast<ValueCode>(5), 1, 0},
                              ValueRun{ValueCode::kFloat16, NAN, 4}}) {
    BOOST_TEST(Message(status({run})) == "message: packed values are cut or garbage");
  }
}

BOOST_AUTO_TEST_CASE(pulled_rows_are_rounded_by_the_shard_and_travel_in_16_bits) {
  const TableSpec exact = Spec("none", 3, std::nullopt, 4), half = Spec("pull_float16", 1, std::nullopt, 4);
  Shard shard = *Shard::Make({.tables = {exact, half}, .consistency = {}});
  const std::vector<Key> keys = {1, 2, 3};
  const Router router({exact, half}, 1);
  const std::vector<float> values = {0.1F, 0.2F, 0.3F};
  for (uint32_t table = 0; table < 2; ++table) {
    std::vector<float> rows;
    for (const float value : values) rows.insert(rows.end(), router.tables()[table].width, value);
    BOOST_REQUIRE(shard.OnAssign({.table = table, .keys = Block::Copy(std::span<const Key>(keys)), .values = Block::Adopt(rows)}).ok());
  }
  const Router::TablePull wanted[] = {{0, keys}, {1, keys}};
  const RoutedPull routed = router.Pull(wanted);
  const auto pulled = shard.OnPull({.parts = routed.shards[0].parts, .keys = routed.shards[0].keys});
  BOOST_REQUIRE_MESSAGE(pulled.ok(), pulled.status().ToString());
  const Frame frame = Codec<Pulled>::Encode(*pulled);
  BOOST_TEST(frame.bulk[0].size() == 9U * 4 + 3 * 2);
  const Pulled again = Again(*pulled);
  BOOST_TEST(Same(again.values, pulled->values));
  std::vector<std::vector<float>> rows;
  BOOST_REQUIRE(router.Gather(routed, std::vector<Block>{again.values}, rows).ok());
  BOOST_TEST(rows[0][0] == 0.1F);
  BOOST_TEST(rows[1][0] == 0x1.998p-4F);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
