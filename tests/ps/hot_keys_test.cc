// Keys that come often are found, and the bounds of their counts hold, against plain counts.
#include "ps/hot_keys.h"

#include <boost/test/unit_test.hpp>
#include <map>

#include "actors/random.h"

namespace troupe {
namespace {

BOOST_AUTO_TEST_SUITE(HotKeysTest)

BOOST_AUTO_TEST_CASE(true_counts_lie_within_the_bounds_whatever_comes) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Random random(seed);
    HotKeys hot({.counters = size_t{8} << random.Below(6), .hot = 3, .window = 1000});
    std::map<Key, uint32_t> counts;
    for (int i = 0; i < 5'000; ++i) {
      const Key key = random.Below(2) == 0 ? random.Below(10) : random.Below(2'000);   // key 0 too
      ++counts[key];
      const bool is_hot = hot.See(key);
      const HotKeys::Count count = hot.CountOf(key);
      BOOST_REQUIRE(is_hot == (count.least >= 3));
      BOOST_REQUIRE(is_hot == hot.IsHot(key));
    }
    for (Key key = 0; key < 2'100; ++key) {
      const HotKeys::Count count = hot.CountOf(key);
      const uint32_t is = counts.contains(key) ? counts[key] : 0;
      BOOST_TEST(count.least <= is, "seed " << seed << ", key " << key);
      BOOST_TEST(count.most >= is, "seed " << seed << ", key " << key);
    }
  }
}

BOOST_AUTO_TEST_CASE(keys_above_their_share_are_found_among_any_number_of_others) {
  HotKeys hot({.counters = 1024, .hot = 4, .window = 1'000'000});
  Random random(7);
  uint64_t cold_found = 0;
  for (int i = 0; i < 200'000; ++i) {
    hot.See(i % 20 == 0 ? Key{1'000'000} + static_cast<Key>(i / 20 % 10) : random.Next());   // ten keys with 1/200 of the stream each
  }
  for (Key key = 1'000'000; key < 1'000'010; ++key) BOOST_TEST(hot.IsHot(key));
  for (int i = 0; i < 10'000; ++i) cold_found += hot.IsHot(random.Next());
  BOOST_TEST(cold_found == 0u);
}

BOOST_AUTO_TEST_CASE(many_keys_are_seen_as_one_by_one) {
  HotKeys one({.counters = 64, .hot = 2, .window = 4}), many({.counters = 64, .hot = 2, .window = 4});
  Random random(3);
  for (int batch = 0; batch < 50; ++batch) {
    std::vector<Key> keys(100);
    for (Key& key : keys) key = random.Below(60);
    std::vector<uint8_t> hot(keys.size());
    many.See(keys, hot.data());
    for (size_t i = 0; i < keys.size(); ++i) BOOST_REQUIRE(one.See(keys[i]) == (hot[i] != 0));
    one.EndBatch(), many.EndBatch();
  }
}

BOOST_AUTO_TEST_CASE(what_was_hot_long_ago_is_forgotten) {
  HotKeys hot({.counters = 64, .hot = 4, .window = 2});
  for (int i = 0; i < 8; ++i) hot.See(5);
  BOOST_TEST(hot.IsHot(5));
  hot.EndBatch();
  BOOST_TEST(hot.CountOf(5).least == 8u);
  hot.EndBatch();   // a window is over
  BOOST_TEST(hot.CountOf(5).least == 4u);
  BOOST_TEST(hot.IsHot(5));
  for (int i = 0; i < 2; ++i) hot.EndBatch();
  BOOST_TEST(!hot.IsHot(5));
  for (int i = 0; i < 20; ++i) hot.EndBatch();
  BOOST_TEST(hot.CountOf(5).most == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
