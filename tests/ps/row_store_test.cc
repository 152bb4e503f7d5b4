#include "ps/internal/row_store.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <random>
#include <set>

#include "ps/internal/row_walk.h"

namespace troupe::internal {
namespace {

/// A store against a map: rows of any length, made, changed, erased and found.
void RandomCalls(uint32_t floats, uint64_t seed) {
  std::mt19937_64 random(seed);
  RowStore store(std::make_shared<Arena>(), floats);
  std::map<Key, float> expected;
  for (int step = 0; step < 30000; ++step) {
    const Key key = random() % 3 == 0 ? random() % 50 : random() % 7000 * 0x100000001ULL;
    const uint64_t hash = HashKey(key);
    const RowStore::Slot found = store.Find(key, hash);
    BOOST_REQUIRE_EQUAL(found == RowStore::kMissing, !expected.contains(key));
    if (found != RowStore::kMissing) BOOST_REQUIRE_EQUAL(store.Row(found)[floats - 1], expected[key]);
    switch (random() % 4) {
      case 0:
        if (found == RowStore::kMissing) break;
        store.Erase(found);
        expected.erase(key);
        break;
      default: {
        store.MakeRoom(1);
        bool made;
        const RowStore::Slot slot = store.FindOrMake(key, hash, store.Guess(hash), &made);
        BOOST_REQUIRE_EQUAL(made, !expected.contains(key));
        if (made)
          for (uint32_t i = 0; i < floats; ++i) BOOST_REQUIRE_EQUAL(store.Row(slot)[i], 0);
        std::fill_n(store.Row(slot), floats, static_cast<float>(step));
        expected[key] = static_cast<float>(step);
      }
    }
    BOOST_REQUIRE_EQUAL(store.rows(), expected.size());
  }
  const auto sorted = store.Sorted();
  BOOST_REQUIRE_EQUAL(sorted.size(), expected.size());
  size_t i = 0;
  for (const auto& [key, value] : expected) {
    BOOST_REQUIRE_EQUAL(sorted[i].first, key);
    BOOST_REQUIRE_EQUAL(store.Row(sorted[i++].second)[0], value);
  }
}

BOOST_AUTO_TEST_SUITE(RowStoreTest)

BOOST_AUTO_TEST_CASE(random_calls_leave_what_a_map_holds) {
  uint64_t seed = 1;
  for (const uint32_t floats : {1u, 2u, 8u, 9u, 128u}) RandomCalls(floats, ++seed);
}

BOOST_AUTO_TEST_CASE(erasing_and_making_again_does_not_grow_for_ever) {
  RowStore store(std::make_shared<Arena>(), 2);
  for (Key key = 0; key < 200'000; ++key) {
    store.MakeRoom(1);
    store.FindOrMake(key);
    if (key >= 1000) store.Erase(store.Find(key - 1000));
  }
  BOOST_TEST(store.rows() == 1000u);
  BOOST_TEST(store.bytes() < 100'000u);
}

BOOST_AUTO_TEST_CASE(rows_in_slabs_stay_where_they_are) {
  RowStore store(std::make_shared<Arena>(), 64);
  store.MakeRoom(1);
  float* first = store.Row(store.FindOrMake(7));
  for (Key key = 100; key < 20'000; ++key) {
    store.MakeRoom(1);
    store.FindOrMake(key);
  }
  BOOST_TEST(store.Row(store.Find(7)) == first);
}

BOOST_AUTO_TEST_CASE(scalar_rows_with_one_float_of_state_take_at_most_24_bytes) {
  RowStore store(std::make_shared<Arena>(), 2);
  double most = 0;
  for (Key key = 0; key < 500'000; ++key) {
    store.MakeRoom(1);
    store.FindOrMake(key);
    if (key > 20'000) most = std::max(most, static_cast<double>(store.bytes()) / static_cast<double>(store.rows()));
  }
  BOOST_TEST(most <= 24);
}

BOOST_AUTO_TEST_CASE(a_walk_meets_every_key_once_with_its_row) {
  for (const uint32_t floats : {1u, 2u, 40u}) {
    std::mt19937_64 random(floats);
    const auto arena = std::make_shared<Arena>();
    std::vector<RowStore> stores;
    for (int i = 0; i < 5; ++i) stores.emplace_back(arena, floats);
    for (int walk = 0; walk < 60; ++walk) {
      std::vector<std::vector<Key>> keys(stores.size());
      std::vector<KeyRun> runs;
      for (size_t i = 0; i < stores.size(); ++i) {
        std::set<Key> distinct;
        for (size_t n = random() % 3 == 0 ? 0 : random() % 300; n > 0; --n) distinct.insert(random() % 2000);
        keys[i].assign(distinct.begin(), distinct.end());
        std::shuffle(keys[i].begin(), keys[i].end(), random);
        runs.push_back({&stores[i], keys[i].data(), keys[i].size()});
      }
      std::set<std::pair<size_t, size_t>> met, made;
      WalkRows<true>(
          runs,
          [&](size_t run, size_t i, float* row) {
            BOOST_REQUIRE(made.emplace(run, i).second);
            row[0] = static_cast<float>(keys[run][i]);
          },
          [&](size_t run, size_t at, std::span<float* const> rows) {
            BOOST_REQUIRE(rows.size() <= kWalkBlock);
            for (size_t i = 0; i < rows.size(); ++i) {
              BOOST_REQUIRE(met.emplace(run, at + i).second);
              BOOST_REQUIRE_EQUAL(rows[i][0], static_cast<float>(keys[run][at + i]));
            }
          });
      size_t total = 0;
      for (const auto& k : keys) total += k.size();
      BOOST_REQUIRE_EQUAL(met.size(), total);
      size_t seen = 0;
      WalkRows<false>(
          runs, [](size_t, size_t, float*) {},
          [&](size_t run, size_t at, std::span<float* const> rows) {
            seen += rows.size();
            for (size_t i = 0; i < rows.size(); ++i) BOOST_REQUIRE(rows[i] != nullptr && rows[i][0] == static_cast<float>(keys[run][at + i]));
          });
      BOOST_REQUIRE_EQUAL(seen, total);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::internal
