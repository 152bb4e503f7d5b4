// Rows by key go out in messages by shard and range, and answers come back in the asker's order: random tables against plain maps.
#include "ps/router.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "actors/network.h"
#include "actors/random.h"
#include "actors/text.h"

namespace troupe {
namespace {

constexpr uint64_t kSeeds = 100;

TableSpec Spec(uint32_t width, std::optional<uint64_t> rows, uint32_t ranges) {
  TableSpec spec;
  spec.name = "w";
  spec.width = width;
  spec.rows = rows;
  spec.ranges = ranges;
  return spec;
}

std::vector<TableSpec> RandomTables(Random& random) {
  constexpr uint32_t kWidths[] = {1, 3, 64}, kRanges[] = {0, 1, 2, 7, 64};
  std::vector<TableSpec> tables;
  for (uint64_t n = 1 + random.Below(4); tables.size() < n;) {
    const std::optional<uint64_t> rows = random.Below(2) == 0 ? std::nullopt : std::optional<uint64_t>(1 + random.Below(300));
    tables.push_back(Spec(kWidths[random.Below(3)], rows, kRanges[random.Below(5)]));
  }
  return tables;
}

Router RandomRouter(Random& random, uint64_t seed) {
  return Router(RandomTables(random), static_cast<uint32_t>(1 + seed % 5));
}

/// At most `wanted` distinct keys in random order.
std::vector<Key> RandomKeys(const TableSpec& spec, uint64_t wanted, Random& random) {
  std::set<Key> keys;
  for (uint64_t i = 0; i < wanted; ++i) keys.insert(spec.rows ? random.Below(*spec.rows) : random.Below(2) == 0 ? random.Next() : random.Below(1000));
  std::vector<Key> shuffled(keys.begin(), keys.end());
  random.Shuffle(std::span(shuffled));
  return shuffled;
}

TablePush RandomPush(const Router& router, uint32_t table, uint64_t wanted, Random& random) {
  const TableSpec& spec = router.tables()[table];
  TablePush push{.table = table, .keys = RandomKeys(spec, wanted, random), .values = {}, .nonzeros = {}};
  push.values.resize(push.keys.size() * spec.width);
  for (float& value : push.values) value = static_cast<float>(random.Uniform());
  if (random.Below(3) == 0) return push;
  push.nonzeros.resize(push.keys.size());
  for (uint32_t& nonzeros : push.nonzeros) nonzeros = static_cast<uint32_t>(random.Next());   // their sums need 64 bits
  return push;
}

/// One push for some of the tables, in any order.
std::vector<TablePush> RandomPushes(const Router& router, Random& random) {
  std::vector<uint32_t> tables(router.tables().size());
  std::iota(tables.begin(), tables.end(), 0u);
  random.Shuffle(std::span(tables));
  tables.resize(random.Below(tables.size() + 1));
  std::vector<TablePush> pushes;
  for (const uint32_t table : tables) pushes.push_back(RandomPush(router, table, random.Below(300), random));
  return pushes;
}

/// What a push says, by table and key, and by table and range.
struct Contents {
  std::map<std::pair<uint32_t, Key>, std::vector<float>> rows;
  std::map<std::pair<uint32_t, uint32_t>, uint64_t> nonzeros;
  bool operator==(const Contents&) const = default;
};

void Put(const Router& router, uint32_t table, Key key, const float* values, Contents& contents) {
  const bool fresh = contents.rows.try_emplace({table, key}, values, values + router.tables()[table].width).second;
  BOOST_REQUIRE_MESSAGE(fresh, "key " << key << " of table " << table << " is there twice");
}

Contents ContentsOf(const Router& router, std::span<const TablePush> pushes) {
  Contents contents;
  for (const TablePush& push : pushes) {
    const Partition partition(router.tables()[push.table], router.shards());
    for (size_t i = 0; i < push.keys.size(); ++i) {
      Put(router, push.table, push.keys[i], push.values.data() + i * router.tables()[push.table].width, contents);
      contents.nonzeros[{push.table, partition.RangeOf(push.keys[i])}] += push.nonzeros.empty() ? 0 : push.nonzeros[i];
    }
  }
  return contents;
}

/// The rows of a message, each in the range and on the shard that it belongs to, with nothing left over.
void Unpack(const Router& router, uint32_t shard, const RoutedPush::Chunk& chunk, Contents& contents) {
  std::span<const Key> keys = chunk.keys.As<Key>();
  std::span<const float> values = chunk.values.As<float>();
  for (const PushPart& part : chunk.parts) {
    const TableSpec& spec = router.tables()[part.table];
    const Partition partition(spec, router.shards());
    BOOST_REQUIRE_EQUAL(partition.ShardOf(part.range), shard);
    BOOST_REQUIRE_MESSAGE(contents.nonzeros.try_emplace({part.table, part.range}, part.nonzeros).second, "range " << part.range << " has two parts");
    BOOST_REQUIRE_GT(part.count, 0u);
    BOOST_REQUIRE_LE(part.dense != 0 ? 0 : part.count, keys.size());
    BOOST_REQUIRE_LE(part.count * spec.width, values.size());
    for (uint32_t i = 0; i < part.count; ++i) {
      const Key key = part.dense != 0 ? part.first + i : keys[i];
      BOOST_REQUIRE_EQUAL(partition.RangeOf(key), part.range);
      Put(router, part.table, key, values.data() + size_t{i} * spec.width, contents);
    }
    if (part.dense == 0) keys = keys.subspan(part.count);
    values = values.subspan(part.count * spec.width);
  }
  BOOST_REQUIRE(keys.empty());
  BOOST_REQUIRE(values.empty());
}

Contents Unpacked(const Router& router, const RoutedPush& routed) {
  BOOST_REQUIRE_EQUAL(routed.shards.size(), router.shards());
  Contents contents;
  for (uint32_t shard = 0; shard < router.shards(); ++shard) {
    const std::vector<RoutedPush::Chunk>& chunks = routed.shards[shard];
    BOOST_REQUIRE(!chunks.empty());
    for (const RoutedPush::Chunk& chunk : chunks) {
      BOOST_TEST((chunks.size() == 1 || !chunk.parts.empty()));
      BOOST_TEST((chunk.parts.size() <= 1 || chunk.keys.size() + chunk.values.size() <= kChunkBytes));
      Unpack(router, shard, chunk, contents);
    }
  }
  return contents;
}

size_t Chunks(const RoutedPush& routed) {
  size_t chunks = 0;
  for (const auto& of_shard : routed.shards) chunks += of_shard.size();
  return chunks;
}

bool LiesIn(const Block& part, const Block& whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

/// Do all the push's messages refer to the keys that were pulled?
bool WentTheWayOf(const RoutedPull& pulled, const RoutedPush& routed) {
  for (size_t shard = 0; shard < routed.shards.size(); ++shard) {
    for (const RoutedPush::Chunk& chunk : routed.shards[shard]) {
      if (!LiesIn(chunk.keys, pulled.shards[shard].keys)) return false;
    }
  }
  return true;
}

float ValueOf(uint32_t table, Key key, uint32_t column) {
  return static_cast<float>(Mix64(key * 64 + column + table) >> 40);
}

/// What a shard that holds ValueOf in every row answers. Also: its parts are of its ranges, and the sums that come with them are right.
Block AnswerOf(const Router& router, uint32_t shard, const RoutedPull::Share& share) {
  std::span<const Key> keys = share.keys.As<Key>();
  std::vector<float> values;
  uint64_t rows = 0;
  for (const PullPart& part : share.parts.As<PullPart>()) {
    const Partition partition(router.tables()[part.table], router.shards());
    BOOST_REQUIRE_EQUAL(partition.ShardOf(part.range), shard);
    for (uint32_t i = 0; i < part.count; ++i) {
      const Key key = part.dense != 0 ? part.first + i : keys[i];
      BOOST_REQUIRE_EQUAL(partition.RangeOf(key), part.range);
      for (uint32_t column = 0; column < router.tables()[part.table].width; ++column) values.push_back(ValueOf(part.table, key, column));
    }
    if (part.dense == 0) keys = keys.subspan(part.count);
    rows += part.count;
  }
  BOOST_REQUIRE(keys.empty());
  BOOST_REQUIRE_EQUAL(rows, share.rows);
  BOOST_REQUIRE_EQUAL(values.size(), share.floats);
  return Block::Adopt(std::move(values));
}

std::vector<Block> AnswersOf(const Router& router, const RoutedPull& routed) {
  BOOST_REQUIRE_EQUAL(routed.shards.size(), router.shards());
  std::vector<Block> answers;
  for (uint32_t shard = 0; shard < router.shards(); ++shard) {
    const RoutedPull::Share& share = routed.shards[shard];
    const Block whole = AnswerOf(router, shard, share);
    size_t begin = 0;
    for (size_t message = 0; message < share.messages(); ++message) {
      const size_t size = share.FloatsOf(message) * sizeof(float);
      answers.push_back(whole.Slice(begin, size));
      begin += size;
    }
    BOOST_REQUIRE_EQUAL(begin, whole.size());
  }
  return answers;
}

/// Are these the rows of `keys`, in that order?
void CheckRows(const Router& router, uint32_t table, std::span<const Key> keys, const std::vector<float>& rows) {
  const uint32_t width = router.tables()[table].width;
  BOOST_REQUIRE_EQUAL(rows.size(), keys.size() * width);
  for (size_t i = 0; i < rows.size(); ++i) BOOST_REQUIRE_EQUAL(rows[i], ValueOf(table, keys[i / width], static_cast<uint32_t>(i % width)));
}

Block Numbers(uint64_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 0.0f);
  return Block::Adopt(std::move(values));
}

/// The rows of a whole dense table as a push by keys.
TablePush AllRows(const Router& router, uint32_t table, const Block& values) {
  TablePush push{.table = table, .keys = std::vector<Key>(*router.tables()[table].rows), .values = {}, .nonzeros = {}};
  std::iota(push.keys.begin(), push.keys.end(), Key{0});
  push.values.assign(values.As<float>().begin(), values.As<float>().end());
  return push;
}

void CheckPushDense(const Router& router, uint32_t table) {
  const Block values = Numbers(*router.tables()[table].rows * router.tables()[table].width);
  const RoutedPush routed = router.PushDense(table, values);
  const TablePush all = AllRows(router, table, values);
  BOOST_TEST((Unpacked(router, routed) == ContentsOf(router, {&all, 1})));
  for (const auto& chunks : routed.shards) {
    for (const RoutedPush::Chunk& chunk : chunks) BOOST_TEST(LiesIn(chunk.values, values));   // nothing is copied
  }
}

void CheckPullDense(const Router& router, uint32_t table) {
  const RoutedPull routed = router.PullDense(table);
  std::vector<std::vector<float>> rows;
  BOOST_REQUIRE(router.Gather(routed, AnswersOf(router, routed), rows).ok());
  std::vector<Key> keys(*router.tables()[table].rows);
  std::iota(keys.begin(), keys.end(), Key{0});
  BOOST_REQUIRE_EQUAL(rows.size(), 1u);
  CheckRows(router, table, keys, rows[0]);
}

}   // namespace

BOOST_AUTO_TEST_SUITE(RouterTest)

BOOST_AUTO_TEST_CASE(slots_number_the_ranges_of_all_tables_in_a_row) {
  const Router router({Spec(1, {}, 5), Spec(3, 100, 7), Spec(1, {}, 0)}, 2);
  BOOST_TEST(router.slots() == 5u + 7u + 64u);
  BOOST_TEST(router.Slot(0, 4) == 4u);
  BOOST_TEST(router.Slot(1, 0) == 5u);
  BOOST_TEST(router.Slot(2, 63) == router.slots() - 1);
}

BOOST_AUTO_TEST_CASE(every_row_of_a_push_ends_in_the_one_part_of_its_range) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Random random(seed);
    const Router router = RandomRouter(random, seed);
    const std::vector<TablePush> pushes = RandomPushes(router, random);
    BOOST_TEST((Unpacked(router, router.Push(pushes)) == ContentsOf(router, pushes)), "seed " << seed);
  }
}

BOOST_AUTO_TEST_CASE(a_dense_table_is_pushed_and_pulled_whole_without_keys) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Random random(seed);
    const Router router = RandomRouter(random, seed);
    for (uint32_t table = 0; table < router.tables().size(); ++table) {
      if (!router.tables()[table].rows) continue;
      CheckPushDense(router, table);
      CheckPullDense(router, table);
    }
  }
}

BOOST_AUTO_TEST_CASE(pulled_rows_come_back_in_the_order_in_which_they_were_asked) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Random random(seed);
    const Router router = RandomRouter(random, seed);
    const std::vector<TablePush> wanted = RandomPushes(router, random);
    std::vector<Router::TablePull> pulls;
    for (const TablePush& push : wanted) pulls.push_back({.table = push.table, .keys = push.keys});
    const RoutedPull routed = router.Pull(pulls);
    std::vector<std::vector<float>> rows(9, std::vector<float>(7));   // what an earlier call has left
    BOOST_REQUIRE(router.Gather(routed, AnswersOf(router, routed), rows).ok());
    BOOST_REQUIRE_EQUAL(rows.size(), pulls.size());
    for (size_t i = 0; i < pulls.size(); ++i) CheckRows(router, pulls[i].table, pulls[i].keys, rows[i]);
  }
}

BOOST_AUTO_TEST_CASE(the_rest_of_a_pull_asks_for_what_is_not_known_and_leaves_alone_what_is) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Random random(seed);
    const Router router = RandomRouter(random, seed);
    std::vector<std::vector<Key>> keys;
    std::vector<Router::TablePull> pulls;
    for (uint32_t t = 0; t < router.tables().size(); ++t) keys.push_back(RandomKeys(router.tables()[t], random.Below(200), random));
    for (uint32_t t = 0; t < router.tables().size(); ++t) pulls.push_back({.table = t, .keys = keys[t]});
    const RoutedPull whole = router.Pull(pulls);
    std::vector<std::vector<uint8_t>> known;
    std::vector<std::set<Key>> asked(keys.size());
    std::vector<std::vector<float>> rows(keys.size());
    for (size_t i = 0; i < keys.size(); ++i) {
      known.emplace_back(keys[i].size());
      rows[i].assign(keys[i].size() * router.tables()[i].width, -7);
      for (size_t j = 0; j < keys[i].size(); ++j) {
        known[i][j] = random.Below(2) == 0;
        if (known[i][j] == 0) asked[i].insert(keys[i][whole.orders[i].position[j]]);
      }
    }
    const RoutedPull rest = router.Rest(whole, known);
    const std::vector<Block> answers = AnswersOf(router, rest);
    std::vector<std::set<Key>> came(keys.size());
    BOOST_REQUIRE(router
                      .ForEachRow(rest, answers,
                                  [&](uint32_t shard, size_t order, Key key, const float*) {
                                    const Partition partition(router.tables()[order], router.shards());
                                    BOOST_TEST(partition.ShardOf(partition.RangeOf(key)) == shard);
                                    BOOST_TEST(came[order].insert(key).second);
                                  })
                      .ok());
    BOOST_TEST((came == asked));
    std::vector<std::vector<float>> all;
    BOOST_REQUIRE(router.Gather(whole, AnswersOf(router, whole), all).ok());
    BOOST_REQUIRE(router.Gather(rest, answers, rows).ok());
    uint64_t tables = 0;
    for (size_t i = 0; i < keys.size(); ++i) {
      const uint32_t width = router.tables()[i].width;
      if (!asked[i].empty()) tables |= uint64_t{1} << i;
      for (size_t k = 0; k < keys[i].size(); ++k) {
        for (uint32_t c = 0; c < width; ++c) BOOST_REQUIRE(rows[i][k * width + c] == (asked[i].contains(keys[i][k]) ? all[i][k * width + c] : -7));
      }
    }
    BOOST_TEST(rest.tables == tables);
  }
}

BOOST_AUTO_TEST_CASE(an_answer_of_more_than_a_chunk_is_asked_for_in_several_messages) {
  const Router router({Spec(48, {}, 64), Spec(5, 700'000, 0), Spec(1, {}, 8)}, 3);
  CheckPullDense(router, 1);
  std::vector<Key> wide(40'000), narrow(1'000);
  Random random(1);
  for (size_t i = 0; i < wide.size(); ++i) wide[i] = i * 17 + 5;
  std::iota(narrow.begin(), narrow.end(), Key{3});
  random.Shuffle(std::span(wide));
  const Router::TablePull pulls[] = {{.table = 2, .keys = narrow}, {.table = 0, .keys = wide}};
  const RoutedPull routed = router.Pull(pulls);
  for (const RoutedPull::Share& share : routed.shards) {
    BOOST_TEST(share.messages() >= 3u);
    size_t parts = 0, keys = 0, floats = 0;
    for (size_t i = 0; i < share.messages(); ++i) {
      BOOST_TEST(share.FloatsOf(i) * sizeof(float) <= kChunkBytes);
      parts += share.PartsOf(i).size();
      keys += share.KeysOf(i).size() / sizeof(Key);
      floats += share.FloatsOf(i);
      size_t of_parts = 0;
      for (const PullPart& part : share.PartsOf(i)) of_parts += part.count;
      BOOST_TEST(of_parts == share.KeysOf(i).size() / sizeof(Key));
    }
    BOOST_TEST(parts == share.parts.As<PullPart>().size());
    BOOST_TEST(keys == share.rows);
    BOOST_TEST(floats == share.floats);
  }
  std::vector<std::vector<float>> rows;
  std::vector<Block> answers = AnswersOf(router, routed);
  BOOST_REQUIRE(router.Gather(routed, answers, rows).ok());
  CheckRows(router, 2, narrow, rows[0]);
  CheckRows(router, 0, wide, rows[1]);
  const std::string all = absl::StrCat(routed.shards[2].messages());
  answers.pop_back();
  BOOST_TEST(Message(router.Gather(routed, answers, rows)) == absl::StrCat("shard 2 answered ", routed.shards[2].messages() - 1, " messages of ", all));
}

BOOST_AUTO_TEST_CASE(a_push_of_what_was_pulled_says_the_same_and_goes_the_same_way) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Random random(seed);
    const Router router = RandomRouter(random, seed);
    const auto table = static_cast<uint32_t>(random.Below(router.tables().size()));
    const TablePush push = RandomPush(router, table, random.Below(300), random);
    const Router::TablePull pull{.table = table, .keys = push.keys};
    const RoutedPull pulled = router.Pull({&pull, 1});
    const RoutedPush routed = router.Push({push}, &pulled);
    BOOST_TEST((Unpacked(router, routed) == ContentsOf(router, {&push, 1})), "seed " << seed);
    if (!router.tables()[table].rows) BOOST_TEST(WentTheWayOf(pulled, routed), "seed " << seed);
  }
}

BOOST_AUTO_TEST_CASE(a_push_of_other_keys_than_were_pulled_is_routed_by_itself) {
  const Router router({Spec(3, {}, 7), Spec(1, 50, 4), Spec(3, {}, 5)}, 3);
  Random random(5);
  const TablePush push = RandomPush(router, 0, 100, random), dense = RandomPush(router, 1, 20, random);
  TablePush reordered = push, fewer = push, changed = push, elsewhere = push;
  std::swap(reordered.keys.front(), reordered.keys.back());
  fewer.keys.pop_back();
  changed.keys[50] += 1;
  elsewhere.table = 2;
  for (const TablePush& other : {reordered, fewer, changed, elsewhere, dense}) {
    const Router::TablePull pull[] = {{.table = other.table, .keys = other.keys}, {.table = 1, .keys = dense.keys}};
    for (const size_t tables : {1, 2}) {
      const RoutedPull pulled = router.Pull(std::span(pull).first(tables));
      BOOST_TEST((Unpacked(router, router.Push({push}, &pulled)) == ContentsOf(router, {&push, 1})));
      const std::vector<TablePush> two{push, dense};
      BOOST_TEST((Unpacked(router, router.Push(two, &pulled)) == ContentsOf(router, two)));
    }
  }
  const RoutedPull whole = router.PullDense(1);
  BOOST_TEST((Unpacked(router, router.Push({dense}, &whole)) == ContentsOf(router, {&dense, 1})));
}

BOOST_AUTO_TEST_CASE(a_big_push_leaves_in_chunks_that_only_one_big_range_can_exceed) {
  constexpr uint64_t kRows = 12'000;   // 3 MB of values, of which a push has two thirds
  Random random(6);
  for (const uint32_t shards : {1u, 3u}) {
    for (const uint32_t ranges : {1u, 4u, 64u}) {   // one of them alone is: too big, as big as a chunk allows, small
      const Router router({Spec(64, {}, ranges), Spec(64, kRows, ranges)}, shards);
      const std::vector<TablePush> pushes{RandomPush(router, 0, kRows, random), RandomPush(router, 1, kRows, random)};
      const Router::TablePull pull{.table = 0, .keys = pushes[0].keys};
      const RoutedPull pulled = router.Pull({&pull, 1});
      const RoutedPush both = router.Push(pushes), same_way = router.Push({pushes[0]}, &pulled);
      BOOST_TEST((Unpacked(router, both) == ContentsOf(router, pushes)));
      BOOST_TEST((Unpacked(router, same_way) == ContentsOf(router, {pushes.data(), 1})));
      BOOST_TEST(WentTheWayOf(pulled, same_way));
      BOOST_TEST(Chunks(same_way) == Chunks(router.Push({pushes[0]})));
      BOOST_TEST(Chunks(both) > shards);
      CheckPushDense(router, 1);
    }
  }
}

BOOST_AUTO_TEST_CASE(an_answer_may_come_in_one_block_or_in_one_a_part) {
  const Router router({Spec(3, 100, 10)}, 2);
  const RoutedPull routed = router.PullDense(0);
  const std::vector<Block> answers = AnswersOf(router, routed);
  BOOST_TEST(routed.by_message);
  std::vector<float> whole(300), pieces(300, -1);
  for (uint32_t shard = 0; shard < 2; ++shard) {
    std::vector<Block> parts;
    size_t at = 0;
    for (const PullPart& part : routed.shards[shard].PartsOf(0)) {
      const size_t bytes = part.count * 3 * sizeof(float);
      parts.push_back(Block::Copy(answers[shard].data() + at, bytes));   // they lie anywhere
      at += bytes;
    }
    BOOST_TEST(parts.size() == 5u);
    BOOST_TEST(router.GatherPiece(routed, 0, shard, 0, {&answers[shard], 1}, whole).ok());
    BOOST_TEST(router.GatherPiece(routed, 0, shard, 0, parts, pieces).ok());
    parts[2] = parts[2].Slice(0, parts[2].size() - 4);
    BOOST_TEST(Message(router.GatherPiece(routed, 0, shard, 0, parts, pieces)) == absl::StrCat("shard ", shard, " answered 116 bytes, expected 30 numbers"));
    parts.pop_back();
    BOOST_TEST(Message(router.GatherPiece(routed, 0, shard, 0, parts, pieces)) == absl::StrCat("shard ", shard, " answered 4 blocks, expected one or 5"));
    BOOST_TEST(Message(router.GatherPiece(routed, 0, shard, 0, {}, pieces)) == absl::StrCat("shard ", shard, " answered 0 blocks, expected one or 5"));
  }
  BOOST_TEST(pieces == whole, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(an_answer_of_another_size_is_refused_with_its_shard) {
  const Router router({Spec(3, 100, 10)}, 5);
  const RoutedPull routed = router.PullDense(0);
  const std::vector<Block> good = AnswersOf(router, routed);
  std::vector<std::vector<float>> rows;
  for (uint32_t shard = 0; shard < 5; ++shard) {
    for (const uint64_t floats : {0, 59, 61}) {
      std::vector<Block> answers = good;
      answers[shard] = Numbers(floats);
      const absl::Status status = router.Gather(routed, answers, rows);
      BOOST_TEST(absl::IsInvalidArgument(status));
      BOOST_TEST(Message(status) == absl::StrCat("shard ", shard, " answered ", floats * 4, " bytes, expected 60 numbers"));
    }
    std::vector<Block> answers = good;
    answers[shard] = Numbers(60).Slice(0, 239);
    BOOST_TEST(Message(router.Gather(routed, answers, rows)) == absl::StrCat("shard ", shard, " answered 239 bytes, expected 60 numbers"));
  }
  BOOST_TEST(router.Gather(routed, good, rows).ok());
}

BOOST_AUTO_TEST_CASE(messages_and_their_nonzeros_are_the_same_whatever_a_filter_keeps) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Random random(seed);
    const Router router({Spec(seed % 2 == 0 ? 1 : 3000, std::nullopt, 64)}, static_cast<uint32_t>(1 + seed % 3));
    const TablePush whole = RandomPush(router, 0, 200, random);
    const auto outline = [&router](TablePush push) {   // by shard and message: ranges and nonzeros
      std::vector<std::vector<std::vector<std::pair<uint32_t, uint64_t>>>> all;
      for (const auto& chunks : router.Push({std::move(push)}).shards) {
        all.emplace_back();
        for (const RoutedPush::Chunk& chunk : chunks) {
          all.back().emplace_back();
          for (const PushPart& part : chunk.parts) all.back().back().emplace_back(part.range, part.nonzeros);
        }
      }
      return all;
    };
    TablePush some{.table = 0, .keys = {}, .values = {}, .nonzeros = {}};
    const uint32_t width = router.tables()[0].width;
    for (size_t i = 0; i < whole.keys.size(); ++i) {
      const bool kept = random.Below(4) == 0;
      (kept ? some.keys : some.filtered).push_back(whole.keys[i]);
      if (!whole.nonzeros.empty()) (kept ? some.nonzeros : some.filtered_nonzeros).push_back(whole.nonzeros[i]);
      if (kept) some.values.insert(some.values.end(), &whole.values[i * width], &whole.values[i * width] + width);
    }
    BOOST_TEST((outline(some) == outline(whole)), "seed " << seed);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
