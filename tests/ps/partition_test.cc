// Every key has one range, every range one shard.
#include "ps/partition.h"

#include <boost/test/unit_test.hpp>
#include <random>
#include <set>
#include <vector>

namespace troupe {

BOOST_AUTO_TEST_SUITE(PartitionTest)

BOOST_AUTO_TEST_CASE(dense_ranges_cover_all_rows_once_in_order) {
  for (const uint64_t rows : {1, 2, 63, 64, 65, 100, 127, 128, 129, 1000}) {
    for (const uint32_t ranges : {1u, 2u, 7u, 64u, 100u}) {
      TableSpec spec;
      spec.rows = rows;
      spec.ranges = ranges;
      const Partition partition(spec, 3);
      BOOST_TEST(partition.dense());
      uint64_t next = 0;
      for (uint32_t range = 0; range < ranges; ++range) {
        BOOST_REQUIRE_EQUAL(partition.FirstRow(range), next);
        for (uint64_t i = 0; i < partition.RowsIn(range); ++i) BOOST_REQUIRE_EQUAL(partition.RangeOf(next + i), range);
        next += partition.RowsIn(range);
      }
      BOOST_REQUIRE_EQUAL(next, rows);
    }
  }
}

BOOST_AUTO_TEST_CASE(sparse_keys_spread_evenly_whatever_their_pattern) {
  for (const uint64_t step : {uint64_t{1}, uint64_t{64}, uint64_t{4096}, uint64_t{64} * 10946, uint64_t{64} * 832040, uint64_t{1'000'000}, uint64_t{1} << 40,
                              uint64_t{0x9e3779b97f4a7c15}, uint64_t{0x9e3779b9} << 32}) {
    const Partition partition(TableSpec{}, 1);
    std::vector<int> count(64);
    for (uint64_t i = 0; i < 64000; ++i) ++count.at(partition.RangeOf(i * step));
    for (const int n : count) BOOST_TEST((n > 800 && n < 1200));
    std::vector<int> many(100);   // not a power of two
    const SparseKeys keys(100);
    for (uint64_t i = 0; i < 100'000; ++i) ++many.at(keys.RangeOf(i * step));
    for (const int n : many) BOOST_TEST((n > 800 && n < 1200));
  }
}

BOOST_AUTO_TEST_CASE(the_first_keys_lie_at_all_shards) {   // the hottest, where keys are sorted by frequency
  for (const uint32_t ranges : {64u, 100u, 1024u, 65536u}) {
    TableSpec spec;
    spec.ranges = ranges;
    const Partition partition(spec, 4);
    std::vector<int> count(4);
    for (Key key = 0; key < 64; ++key) ++count.at(partition.ShardOf(partition.RangeOf(key)));
    for (const int n : count) BOOST_TEST((n >= 15 && n <= 17));
  }
}

BOOST_AUTO_TEST_CASE(keys_of_a_sparse_range_have_numbers_without_gaps) {
  for (const uint32_t ranges : {1u, 2u, 3u, 64u, 100u, 1u << 24, 0xffffffffu}) {
    const SparseKeys keys(ranges);
    std::mt19937_64 random(ranges);
    for (int i = 0; i < 2000; ++i) {
      const Key key = i == 0 ? 0 : i == 1 ? ~Key{0} : random() >> random() % 64;
      const uint32_t range = keys.RangeOf(key);
      BOOST_REQUIRE_LT(range, ranges);
      BOOST_REQUIRE_EQUAL(keys.KeyOf(range, keys.NumberOf(key)), key);
      BOOST_REQUIRE(keys.AreIn(range, {&key, 1}));
      if (ranges > 1) BOOST_REQUIRE(!keys.AreIn(range == 0 ? 1 : range - 1, {&key, 1}));
    }
    for (uint64_t number = 0; ranges <= 100 && number < 100; ++number) {   // every range has one key of each number, and they rise with it
      std::set<uint32_t> met;
      for (uint32_t i = 0; i < ranges; ++i) met.insert(keys.RangeOf(number * ranges + i));
      BOOST_REQUIRE_EQUAL(met.size(), ranges);
    }
  }
}

BOOST_AUTO_TEST_CASE(shards_hold_equal_runs_of_ranges) {
  for (const uint32_t ranges : {1u, 5u, 64u, 100u}) {
    for (const uint32_t shards : {1u, 2u, 3u, 7u, 64u, 70u}) {
      TableSpec spec;
      spec.ranges = ranges;
      const Partition partition(spec, shards);
      std::vector<uint32_t> held(shards);
      for (uint32_t range = 0; range < ranges; ++range) {
        ++held.at(partition.ShardOf(range));
        BOOST_TEST((range == 0 || partition.ShardOf(range) >= partition.ShardOf(range - 1)));
      }
      for (const uint32_t n : held) BOOST_TEST((n == ranges / shards || n == (ranges + shards - 1) / shards));
    }
  }
}

BOOST_AUTO_TEST_CASE(first_ranges_fit_the_shards_of_ranges) {
  for (const uint32_t ranges : {1u, 5u, 64u, 100u}) {
    for (const uint32_t shards : {1u, 2u, 3u, 7u, 64u, 70u}) {
      for (const KeptBy kept_by : {KeptBy::kShards, KeptBy::kRing}) {
        TableSpec spec;
        spec.rows = 1000;
        spec.ranges = ranges;
        spec.kept_by = kept_by;
        const Partition partition(spec, shards);
        for (uint32_t shard = 0; shard <= shards; ++shard) {   // with the place behind them
          for (uint32_t range = 0; range < ranges; ++range) {
            const bool holds = range >= partition.FirstRange(shard) && range < partition.FirstRange(shard + 1);
            BOOST_TEST(holds == (partition.ShardOf(range) == shard));
          }
        }
        for (uint32_t range = 0; kept_by == KeptBy::kRing && range < ranges; ++range) BOOST_TEST(partition.ShardOf(range) == shards);
        BOOST_TEST(PlacesOf({&spec, 1}, shards) == shards + (kept_by == KeptBy::kRing ? 1 : 0));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_hash_is_the_published_one) {   // fmix64 of MurmurHash3
  BOOST_TEST(HashKey(0) == 0u);
  BOOST_TEST(HashKey(1) == 0xb456bcfc34c2cb2cULL);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
