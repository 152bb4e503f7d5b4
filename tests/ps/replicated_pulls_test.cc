// Which rows of a pull copies may answer: never one that is older than its table's consistency allows, only of keys that come often, and the rest is asked.
#include "ps/replicated_pulls.h"

#include <boost/test/unit_test.hpp>
#include <map>

#include "actors/random.h"
#include "actors/text.h"

namespace troupe {
namespace {

TableSpec Spec(const std::string& name, uint32_t width) {
  TableSpec spec;
  spec.name = name;
  spec.width = width;
  return spec;
}

Consistencies Parsed(const std::string& text) {
  return *ParseConsistencies(text);
}

/// Answers as shards give them: value j of row `key` of any table is `value(key)` + j.
template <class Value>
std::vector<Block> Answers(const Router& router, const RoutedPull& pull, Value&& value) {
  std::vector<Block> blocks;
  for (const RoutedPull::Share& share : pull.shards) {
    for (size_t message = 0; message < share.messages(); ++message) {
      std::vector<float> floats;
      const Block block = share.KeysOf(message);
      const Key* key = block.As<Key>().data();
      for (const PullPart& part : share.PartsOf(message)) {
        for (uint32_t i = 0; i < part.count; ++i, ++key) {
          for (uint32_t j = 0; j < router.tables()[part.table].width; ++j) floats.push_back(value(*key) + static_cast<float>(j));
        }
      }
      blocks.push_back(Block::Adopt(std::move(floats)));
    }
  }
  return blocks;
}

std::shared_ptr<const RoutedPull> Route(const Router& router, const std::vector<std::vector<Key>>& keys) {
  std::vector<Router::TablePull> pulls;
  for (uint32_t t = 0; t < keys.size(); ++t) pulls.push_back({.table = t, .keys = keys[t]});
  return std::make_shared<const RoutedPull>(router.Pull(pulls));
}

BOOST_AUTO_TEST_SUITE(ReplicatedPullsTest)

BOOST_AUTO_TEST_CASE(every_row_has_a_value_and_no_copy_is_older_than_the_bound) {
  // A row's value is the clock at which it was read, in rounds of phase 1; clocks rise by chance, each shard's by its own.
  uint64_t copied = 0, asked = 0;
  for (uint64_t seed = 1; seed <= 80; ++seed) {
    Random random(seed);
    const uint32_t shards = static_cast<uint32_t>(1 + random.Below(4)), staleness = static_cast<uint32_t>(random.Below(6));
    const bool asp = random.Below(3) == 0;
    const auto router = std::make_shared<const Router>(std::vector<TableSpec>{Spec("a", 1), Spec("b", 3), Spec("r", 2)}, shards);
    const Consistencies consistencies = Parsed(absl::StrCat(asp ? "asp" : absl::StrCat("ssp:", staleness), ",r=bsp"));
    ReplicatedPulls replicas(router, consistencies,
                             {.bytes_max = random.Below(2) == 0 ? uint64_t{1} << 20 : 2'000, .staleness = asp || random.Below(2) == 0 ? staleness : 1'000});
    std::vector<Round> clocks(shards, kFirstRound);
    for (uint64_t ordinal = 1; ordinal <= 60; ++ordinal) {
      const Round round = MakeRound(1, ordinal);
      for (Round& clock : clocks) clock = std::max(clock, MakeRound(1, ordinal - 1 - std::min(ordinal - 1, random.Below(staleness + 3))));
      std::vector<std::vector<Key>> keys(3);
      for (std::vector<Key>& of : keys) {
        for (Key key = 0; key < 30; ++key)
          if (random.Below(key < 10 ? 2 : 6) == 0) of.push_back(key);
        random.Shuffle(std::span(of));
      }
      const std::shared_ptr<const RoutedPull> pull = Route(*router, keys);
      ReplicatedPulls::Answer answer = replicas.Take(pull, round);
      BOOST_REQUIRE(answer.asked + answer.copied == keys[0].size() + keys[1].size() + keys[2].size());
      BOOST_REQUIRE((answer.rest == nullptr) == (answer.asked == 0));
      copied += answer.copied, asked += answer.asked;
      if (answer.rest != nullptr) {
        uint64_t rows = 0;
        for (const RoutedPull::Share& share : answer.rest->shards) rows += share.rows;
        BOOST_REQUIRE(rows == answer.asked);
        const Partition partition(router->tables()[0], shards);   // all tables here have the same ranges
        const std::vector<Block> blocks =
            Answers(*router, *answer.rest, [&](Key key) { return static_cast<float>(OrdinalOf(clocks[partition.ShardOf(partition.RangeOf(key))])); });
        BOOST_REQUIRE(replicas.Keep(answer, blocks, clocks).ok());
        BOOST_REQUIRE(router->Gather(*answer.rest, blocks, answer.values).ok());
      }
      for (size_t t = 0; t < 3; ++t) {
        const uint32_t width = router->tables()[t].width;
        BOOST_REQUIRE(answer.values[t].size() == keys[t].size() * width);
        const uint64_t least = ordinal > staleness + 1 ? ordinal - 1 - staleness : 0;
        for (size_t i = 0; i < keys[t].size(); ++i) {
          const Partition partition(router->tables()[t], shards);
          const auto now = static_cast<float>(OrdinalOf(clocks[partition.ShardOf(partition.RangeOf(keys[t][i]))]));
          const float value = answer.values[t][i * width];
          BOOST_REQUIRE(value <= now);
          BOOST_REQUIRE_MESSAGE(value == now || (t != 2 && value >= static_cast<float>(least)),
                                "seed " << seed << ", table " << t << ", round " << ordinal << ", staleness " << staleness << ": row of clock " << value);
          for (uint32_t j = 1; j < width; ++j) BOOST_REQUIRE(answer.values[t][i * width + j] == value + static_cast<float>(j));
        }
      }
    }
  }
  BOOST_TEST(copied > 10'000u);
  BOOST_TEST(asked > 10'000u);
}

BOOST_AUTO_TEST_CASE(copies_of_a_phase_do_not_serve_the_next_and_are_forgotten_when_writers_go_back) {
  const auto router = std::make_shared<const Router>(std::vector<TableSpec>{Spec("a", 1)}, 1);
  ReplicatedPulls replicas(router, Parsed("asp"), {.bytes_max = 1 << 20, .staleness = 1'000});
  const std::shared_ptr<const RoutedPull> pull = Route(*router, {{5}});
  const auto batch = [&](Round round, Round clock) {   // was it asked?
    const ReplicatedPulls::Answer answer = replicas.Take(pull, round);
    if (answer.rest == nullptr) return false;
    const std::vector<Round> clocks{clock};
    BOOST_REQUIRE(replicas.Keep(answer, Answers(*router, *answer.rest, [](Key) { return 1.0F; }), clocks).ok());
    return true;
  };
  for (uint64_t i = 1; i <= 4; ++i) BOOST_TEST(batch(MakeRound(1, i), MakeRound(1, i - 1)));   // it becomes hot
  BOOST_TEST(!batch(MakeRound(1, 5), 0));
  BOOST_TEST(batch(MakeRound(2, 1), MakeRound(2, 0)));
  BOOST_TEST(!batch(MakeRound(2, 2), 0));
  replicas.Forget();
  BOOST_TEST(batch(MakeRound(2, 3), MakeRound(2, 2)));
  BOOST_TEST(!batch(MakeRound(2, 4), 0));
}

BOOST_AUTO_TEST_CASE(an_answer_of_another_size_is_refused) {
  const auto router = std::make_shared<const Router>(std::vector<TableSpec>{Spec("a", 2)}, 1);
  ReplicatedPulls replicas(router, Parsed("asp"), {.bytes_max = 1 << 20});
  const ReplicatedPulls::Answer answer = replicas.Take(Route(*router, {{5}}), MakeRound(1, 1));
  const std::vector<Block> blocks{Block::Adopt(std::vector<float>{1})};
  BOOST_TEST(replicas.Keep(answer, blocks, std::vector<Round>{0}).message() == "shard 0 answered 4 bytes, expected 2 numbers");
  BOOST_TEST(replicas.Keep(answer, {}, std::vector<Round>{0}).message() == "0 answers to a pull, expected 1");
}

BOOST_AUTO_TEST_CASE(what_cannot_have_copies_is_refused_by_name) {
  const std::vector<TableSpec> tables{Spec("w", 1), Spec("v", 1)};
  const ReplicaOptions on{.bytes_max = 1000};
  BOOST_TEST(CheckReplicas({}, tables, Parsed("bsp")).ok());
  BOOST_TEST(CheckReplicas(on, tables, Parsed("ssp:3")).ok());
  BOOST_TEST(CheckReplicas(on, tables, Parsed("bsp,v=delay:50")).ok());
  BOOST_TEST(CheckReplicas(on, tables, Parsed("bsp")).message() ==
             "replicas: consistency is 'bsp', expected ssp:K, delay:MS or asp for a table: in rounds a batch needs the rows of the round before");
  BOOST_TEST(absl::IsInvalidArgument(CheckReplicas(on, tables, Parsed("backup:1,w=bsp"))));
  std::vector<TableSpec> delayed = tables;
  delayed[1].delay_compensation = 0.1;
  BOOST_TEST(CheckReplicas(on, delayed, Parsed("asp")).message() ==
             "replicas: table 'v' has delay_compensation, expected none: its shards must know which rows a writer has");
  BOOST_TEST(CheckReplicas(on, delayed, Parsed("asp,v=bsp")).ok());
  delayed[1].staleness_scale = true;
  BOOST_TEST(CheckReplicas(on, delayed, Parsed("asp")).message() ==
             "replicas: table 'v' has staleness_scale, expected none: its shards must know which rows a writer has");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
