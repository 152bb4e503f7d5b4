// Who has which range, and who will: epochs, tables that move together, what is refused.
#include "ps/range_map.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <set>
#include <vector>

#include "actors/random.h"
#include "actors/text.h"
#include "ps/partition.h"

namespace troupe {
namespace {

std::vector<TableSpec> Tables() {
  std::vector<TableSpec> tables{{.name = "a", .rows = {}, .rule_options = {}, .ranges = 8},
                                {.name = "b", .rows = 100, .rule_options = {}, .ranges = 5},
                                {.name = "c", .rows = {}, .rule_options = {}, .ranges = 8},
                                {.name = "d", .rows = 100, .rule_options = {}, .ranges = 5}};
  tables[3].kept_by = KeptBy::kRing;
  return tables;
}
std::string Message(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

BOOST_AUTO_TEST_SUITE(RangeMapTest)

BOOST_AUTO_TEST_CASE(the_first_map_is_the_arithmetic_of_the_partition) {
  for (uint32_t shards = 1; shards < 12; ++shards) {
    const std::vector<TableSpec> tables = Tables();
    const RangeMap map(tables, shards);
    BOOST_TEST(map.epoch() == 0u);
    for (uint32_t t = 0; t < tables.size(); ++t) {
      const Partition partition(tables[t], shards);
      BOOST_REQUIRE_EQUAL(map.ranges(t), partition.ranges());
      for (uint32_t range = 0; range < partition.ranges(); ++range) BOOST_TEST(map.ShardOf(t, range) == partition.ShardOf(range));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_move_makes_the_next_map_and_takes_tables_of_one_shape_along) {
  const std::vector<TableSpec> tables = Tables();
  const RangeMap map(tables, 3);
  BOOST_TEST(map.SameShape(0, 2));
  BOOST_TEST(!map.SameShape(0, 1));
  BOOST_TEST(!map.SameShape(1, 3));   // equal rows, but kept by workers
  BOOST_TEST(map.FirstLike(2) == 0u);
  const std::vector<RangeMove> moves{{2, 0, 2}, {1, 4, 0}};
  const auto next = map.After(moves);
  BOOST_REQUIRE_MESSAGE(next.ok(), Message(next.status()));
  BOOST_TEST(next->epoch() == 1u);
  for (uint32_t t = 0; t < tables.size(); ++t) {
    for (uint32_t range = 0; range < map.ranges(t); ++range) {
      const uint32_t expected = (t == 0 || t == 2) && range == 0 ? 2 : t == 1 && range == 4 ? 0 : map.ShardOf(t, range);
      BOOST_TEST(next->ShardOf(t, range) == expected);
    }
  }
  BOOST_TEST(map.epoch() == 0u);   // as it was
  BOOST_TEST((*next != map));
}

BOOST_AUTO_TEST_CASE(moves_that_make_no_sense_are_refused) {
  const RangeMap map(Tables(), 2);
  const auto refused = [&](std::vector<RangeMove> moves) {
    const auto next = map.After(moves);
    return next.ok() ? std::string("taken") : Message(next.status());
  };
  BOOST_TEST(refused({{4, 0, 1}}) == "move: table is 4, expected < 4");
  BOOST_TEST(refused({{0, 8, 1}}) == "move: range is 8, expected < 8 of table 0");
  BOOST_TEST(refused({{0, 0, 2}}) == "move: shard is 2, expected < 2");
  BOOST_TEST(refused({{0, 0, 0}}) == "move: range 0 of table 0 is at shard 0 already");
  BOOST_TEST(refused({{0, 0, 1}, {2, 0, 1}}) == "move: range 0 of table 2 twice (tables of one shape move together)");
  BOOST_TEST(refused({{3, 0, 1}}) == "move: table 3 is kept by workers, expected one at shards");
}

BOOST_AUTO_TEST_CASE(it_travels_and_nothing_else_is_taken_for_one) {
  const std::vector<TableSpec> tables = Tables();
  Random random(1);
  RangeMap map(tables, 4);
  for (int i = 0; i < 50; ++i) {
    const auto table = static_cast<uint32_t>(random.Below(3)), range = static_cast<uint32_t>(random.Below(map.ranges(table)));
    const RangeMove move{table, range, (map.ShardOf(table, range) + 1 + static_cast<uint32_t>(random.Below(3))) % 4};
    map = *map.After({&move, 1});
    const auto again = RangeMap::Decode(tables, 4, map.Encode());
    BOOST_REQUIRE(again.ok());
    BOOST_TEST((*again == map));
  }
  BOOST_TEST(map.epoch() == 50u);
  const Block bytes = map.Encode();
  BOOST_TEST(!RangeMap::Decode(tables, 3, bytes).ok());
  BOOST_TEST(!RangeMap::Decode(std::span(tables).first(1), 4, bytes).ok());
  BOOST_TEST(!RangeMap::Decode(tables, 4, bytes.Slice(0, bytes.size() - 8)).ok());
  BOOST_TEST(!RangeMap::Decode(tables, 4, bytes.Slice(0, 12)).ok());
  std::vector<uint64_t> numbers(bytes.As<uint64_t>().begin(), bytes.As<uint64_t>().end());
  numbers[3] = 4;   // the first range of the first shape
  BOOST_TEST(!RangeMap::Decode(tables, 4, Block::Adopt(std::vector<uint64_t>(numbers))).ok());
  numbers[3] = 0;
  numbers.back() = 0;   // of the table that workers keep
  BOOST_TEST(!RangeMap::Decode(tables, 4, Block::Adopt(std::vector<uint64_t>(numbers))).ok());
}

BOOST_AUTO_TEST_CASE(a_shard_that_is_to_end_gives_everything_away_evenly) {
  for (uint32_t shards = 2; shards < 6; ++shards) {
    const std::vector<TableSpec> tables = Tables();
    const RangeMap map(tables, shards);
    const auto next = map.After(Drained(map, 1));
    BOOST_REQUIRE(next.ok());
    std::vector<uint32_t> held(shards);
    for (const uint32_t t : {0u, 1u}) {
      for (uint32_t range = 0; range < next->ranges(t); ++range) ++held[next->ShardOf(t, range)];
    }
    BOOST_TEST(held[1] == 0u);
    held.erase(held.begin() + 1);
    const auto [least, most] = std::ranges::minmax(held);
    BOOST_TEST(most - least <= 1u);
  }
  BOOST_TEST(Drained(RangeMap(Tables(), 1), 0).empty());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
