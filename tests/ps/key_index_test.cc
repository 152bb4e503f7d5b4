#include "ps/key_index.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <random>

namespace troupe {
namespace {

BOOST_AUTO_TEST_SUITE(KeyIndexTest)

BOOST_AUTO_TEST_CASE(keys_are_numbered_as_they_are_met_and_counted) {
  KeyIndex index;
  std::mt19937_64 random(1);
  for (int batch = 0; batch < 30; ++batch) {
    index.Start(random() % 2 == 0 ? 1 : 3000);
    std::map<Key, uint32_t> columns, counts;
    std::vector<Key> order;
    const uint64_t mask = batch % 3 == 0 ? 255 : batch % 3 == 1 ? UINT32_MAX : UINT64_MAX;
    for (int row = 0; row < 50; ++row) {
      std::vector<Key> keys(random() % 100);
      for (Key& key : keys) key = random() & mask;
      std::vector<uint32_t> narrow(keys.begin(), keys.end()), found(keys.size());
      if (mask <= UINT32_MAX && row % 2 == 0) {
        index.Columns(std::span<const uint32_t>(narrow), found.data());
      } else {
        index.Columns(std::span<const Key>(keys), found.data());
      }
      for (size_t i = 0; i < keys.size(); ++i) {
        const auto [at, fresh] = columns.try_emplace(keys[i], static_cast<uint32_t>(columns.size()));
        if (fresh) order.push_back(keys[i]);
        ++counts[keys[i]];
        BOOST_REQUIRE_EQUAL(found[i], at->second);
      }
    }
    BOOST_TEST((index.keys() == order));
    for (size_t i = 0; i < order.size(); ++i) BOOST_REQUIRE_EQUAL(index.counts()[i], counts[order[i]]);
  }
}

BOOST_AUTO_TEST_CASE(a_column_that_is_only_asked_for_is_not_counted) {
  KeyIndex index;
  index.Start(4);
  BOOST_TEST(index.Column(7) == 0u);
  BOOST_TEST(index.Column(9) == 1u);
  BOOST_TEST(index.Column(7) == 0u);
  BOOST_TEST((index.counts() == std::vector<uint32_t>{0, 0}));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
