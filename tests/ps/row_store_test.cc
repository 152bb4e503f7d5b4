#include "ps/internal/row_store.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "ps/internal/row_walk.h"

namespace troupe::internal {
namespace {

/// A key of `range`: half of them numbered without gaps, some with many, some like hashes.
Key AnyKey(std::mt19937_64& random, const SparseKeys& keys, uint32_t range) {
  switch (random() % 6) {
    case 0:
      return keys.KeyOf(range, random() % 1000 * 1000);
    case 1:
      return keys.KeyOf(range, random() % 500 * 0x100000001ULL);
    case 2:
      return keys.KeyOf(range, random() % 50);
    default:
      return keys.KeyOf(range, random() % 4000);
  }
}

/// A store against a map: rows of any length, made, changed, erased (where none may be numbered) and found.
void RandomCalls(uint32_t floats, uint32_t ranges, bool numbers, uint64_t seed) {
  std::mt19937_64 random(seed);
  const SparseKeys keys(ranges);
  const uint32_t range = ranges / 2;
  RowStore store(std::make_shared<Arena>(), floats, numbers ? std::optional(keys) : std::nullopt);
  std::map<Key, float> expected;
  for (int step = 0; step < 30000; ++step) {
    const Key key = AnyKey(random, keys, range);
    const uint64_t hash = store.Ask(key);
    const RowStore::Slot guess = store.Guess(key, hash), found = store.Find(key, hash, guess);
    BOOST_REQUIRE_EQUAL(found, store.Find(key));
    BOOST_REQUIRE_EQUAL(found == RowStore::kMissing, !expected.contains(key));
    if (found != RowStore::kMissing) BOOST_REQUIRE_EQUAL(store.Row(found)[floats - 1], expected[key]);
    switch (random() % 4) {
      case 0:
        if (found == RowStore::kMissing || numbers) break;
        store.Erase(found);
        expected.erase(key);
        break;
      default: {
        store.MakeRoom(1);
        bool made;
        const RowStore::Slot slot = store.FindOrMake(key, hash, guess, &made);   // a guess from before it may have grown
        BOOST_REQUIRE_EQUAL(made, !expected.contains(key));
        if (made)
          for (uint32_t i = 0; i < floats; ++i) BOOST_REQUIRE_EQUAL(store.Row(slot)[i], 0);
        std::fill_n(store.Row(slot), floats, static_cast<float>(step));
        expected[key] = static_cast<float>(step);
      }
    }
    BOOST_REQUIRE_EQUAL(store.rows(), expected.size());
  }
  BOOST_REQUIRE_EQUAL(store.numbered() >= 3000, numbers);
  BOOST_REQUIRE_EQUAL(store.numbered() < 10'000, true);
  RowStore copy(store);
  for (const auto& [key, value] : expected) BOOST_REQUIRE_EQUAL(std::exchange(copy.Row(copy.Find(key))[floats - 1], -1.0f), value);
  const auto sorted = store.Sorted(range);
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
  for (const uint32_t floats : {1u, 2u, 8u, 9u, 128u}) {
    for (const uint32_t ranges : {1u, 64u, 100u}) {
      RandomCalls(floats, ranges, true, ++seed);
      RandomCalls(floats, ranges, false, ++seed);
    }
  }
}

BOOST_AUTO_TEST_CASE(erasing_and_making_again_does_not_grow_for_ever) {
  RowStore store(std::make_shared<Arena>(), 2, std::nullopt);
  for (Key key = 0; key < 200'000; ++key) {
    store.MakeRoom(1);
    store.FindOrMake(key);
    if (key >= 1000) store.Erase(store.Find(key - 1000));
  }
  BOOST_TEST(store.rows() == 1000u);
  BOOST_TEST(store.bytes() < 100'000u);
}

BOOST_AUTO_TEST_CASE(rows_in_slabs_stay_where_they_are) {
  for (const std::optional<SparseKeys>& keys : {std::optional(SparseKeys()), std::optional<SparseKeys>()}) {
    RowStore store(std::make_shared<Arena>(), 64, keys);
    store.MakeRoom(1);
    float* first = store.Row(store.FindOrMake(7));
    for (Key key = 100; key < 20'000; ++key) {
      store.MakeRoom(1);
      store.FindOrMake(key);
    }
    BOOST_TEST((store.numbered() > 7) == keys.has_value());
    BOOST_TEST(store.Row(store.Find(7)) == first);
  }
}

BOOST_AUTO_TEST_CASE(a_store_with_room_for_rows_takes_what_it_says) {
  for (const uint32_t floats : {2u, 9u, 17u, 65u}) {
    for (const uint64_t rows : {1u, 1000u, 1024u, 2048u, 2560u, 4096u}) {
      RowStore store(std::make_shared<Arena>(), floats, std::nullopt, 16 << 10);
      store.MakeRoom(rows);
      for (Key key = 0; key < rows; ++key) store.FindOrMake(key);
      BOOST_TEST(store.bytes() == store.BytesFor(rows));
    }
  }
}

/// The most bytes a row while rows of z and n of these keys come one after the other.
template <class KeyAt>
double MostBytesARow(const KeyAt& key_at, std::optional<SparseKeys> keys, uint32_t* numbered) {
  RowStore store(std::make_shared<Arena>(), 2, keys);
  double most = 0;
  for (Key i = 0; i < 500'000; ++i) {
    store.MakeRoom(1);
    store.FindOrMake(key_at(i));
    if (i > 20'000) most = std::max(most, static_cast<double>(store.bytes()) / static_cast<double>(store.rows()));
  }
  *numbered = store.numbered();
  return most;
}

BOOST_AUTO_TEST_CASE(scalar_rows_with_one_float_of_state_take_at_most_24_bytes) {
  uint32_t numbered;
  BOOST_TEST(MostBytesARow([](Key i) { return i; }, std::nullopt, &numbered) <= 24);
  BOOST_TEST(numbered == 0u);
  BOOST_TEST(MostBytesARow([](Key i) { return i; }, SparseKeys(), &numbered) <= 14);   // numbered in order
  BOOST_TEST(numbered >= 400'000u);
  BOOST_TEST(MostBytesARow([](Key i) { return i * 0x9e3779b97f4a7c15ULL; }, SparseKeys(), &numbered) <= 24);   // hashes
  BOOST_TEST(numbered <= 1u);
  BOOST_TEST(MostBytesARow([](Key i) { return i * 786433 % 500'000; }, SparseKeys(), &numbered) <= 24);   // numbered, in no order
  BOOST_TEST(numbered == 500'000u);
  BOOST_TEST(MostBytesARow([](Key i) { return i % 2 == 0 ? i / 2 : i * 0x9e3779b97f4a7c15ULL; }, SparseKeys(), &numbered) <= 24);   // half and half
  BOOST_TEST(numbered >= 200'000u);
}

BOOST_AUTO_TEST_CASE(keys_with_gaps_lie_in_an_array_as_far_as_it_is_no_larger) {
  for (const uint64_t step : {1, 2, 3, 5, 20}) {   // of a scalar, 14.9 bytes hashed and 4.1 in the array: up to every third number
    uint32_t numbered;
    RowStore store(std::make_shared<Arena>(), 1, SparseKeys());
    std::vector<Key> keys;
    for (Key i = 0; i < 10'000; ++i) keys.push_back(i * step);
    store.MakeRoom(keys);
    numbered = store.numbered();
    BOOST_TEST(numbered == (step <= 3 ? (keys.size() - 1) * step + 1 : step == 5 ? 0u : 1u));
  }
}

BOOST_AUTO_TEST_CASE(a_walk_meets_every_key_once_with_its_row) {
  for (const auto& [floats, hashes] : {std::pair{1u, false}, {2u, false}, {40u, false}, {1u, true}, {2u, true}, {40u, true}}) {
    std::mt19937_64 random(floats);
    const auto arena = std::make_shared<Arena>();
    std::vector<RowStore> stores;
    for (int i = 0; i < 5; ++i) stores.emplace_back(arena, floats, i == 4 ? std::nullopt : std::optional(SparseKeys()));
    for (int walk = 0; walk < 60; ++walk) {
      std::vector<std::vector<Key>> keys(stores.size());
      std::vector<KeyRun> runs;
      for (size_t i = 0; i < stores.size(); ++i) {
        std::set<Key> distinct;
        for (size_t n = random() % 3 == 0 ? 0 : random() % 300; n > 0; --n)
          distinct.insert(random() % 2000 * (hashes || random() % 50 == 0 ? 0x100000001ULL : 1));
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
