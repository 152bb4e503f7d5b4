// Copies of rows against a plain list in the order of their use.
#include "ps/replicas.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <list>

#include "actors/random.h"

namespace troupe {
namespace {

/// The same, slowly.
struct Model {
  struct Copy {
    Key key;
    uint64_t stamp;
    std::vector<float> row;
  };
  size_t rows_max;
  std::list<Copy> copies;   // the most recently used first

  std::list<Copy>::iterator Of(Key key) { return std::ranges::find(copies, key, &Copy::key); }
  const Copy* Find(Key key, uint64_t oldest) {
    const auto copy = Of(key);
    if (copy == copies.end() || copy->stamp < oldest) return nullptr;
    copies.splice(copies.begin(), copies, copy);
    return &copies.front();
  }
  void Put(Key key, uint64_t stamp, std::vector<float> row) {
    const auto copy = Of(key);
    if (copy != copies.end() && copy->stamp > stamp) return;
    if (copy != copies.end()) copies.erase(copy);
    if (copies.size() == rows_max) copies.pop_back();
    copies.push_front({key, stamp, std::move(row)});
  }
  void Drop(Key key) {
    if (const auto copy = Of(key); copy != copies.end()) copies.erase(copy);
  }
};

BOOST_AUTO_TEST_SUITE(ReplicasTest)

BOOST_AUTO_TEST_CASE(any_calls_give_what_a_plain_list_gives) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Random random(seed);
    const uint32_t width = static_cast<uint32_t>(1 + random.Below(5));
    const size_t rows = 1 + random.Below(300);
    const size_t row_bytes = Replicas(width, 0).RowBytes();
    Replicas replicas(width, rows * row_bytes + random.Below(row_bytes));
    BOOST_REQUIRE(replicas.rows_max() == rows);
    Model model{rows, {}};
    const uint64_t keys = 1 + random.Below(2 * rows + 10);
    for (int i = 0; i < 4'000; ++i) {
      const Key key = random.Below(keys) * (seed % 2 == 0 ? 1 : 0x9e3779b97f4a7c15ULL);
      const uint64_t what = random.Below(100);
      if (what < 50) {
        const uint64_t oldest = random.Below(3) == 0 ? random.Below(100) : 0;
        const float* row = replicas.Find(key, oldest);
        const Model::Copy* copy = model.Find(key, oldest);
        BOOST_REQUIRE((row != nullptr) == (copy != nullptr));
        if (row != nullptr) BOOST_REQUIRE(std::equal(copy->row.begin(), copy->row.end(), row));
      } else if (what < 90) {
        std::vector<float> row(width);
        for (float& value : row) value = static_cast<float>(random.Uniform());
        const uint64_t stamp = random.Below(100);
        replicas.Put(key, stamp, row.data());
        model.Put(key, stamp, row);
      } else if (what < 99 || i % 500 != 0) {
        replicas.Drop(key);
        model.Drop(key);
      } else {
        replicas.Clear();
        model.copies.clear();
      }
      BOOST_REQUIRE(replicas.rows() == model.copies.size());
      BOOST_REQUIRE(replicas.bytes() <= rows * row_bytes);
    }
  }
}

BOOST_AUTO_TEST_CASE(without_room_for_a_row_nothing_is_kept) {
  Replicas replicas(4, Replicas(4, 0).RowBytes() - 1);
  const float row[4] = {1, 2, 3, 4};
  replicas.Put(1, 1, row);
  BOOST_TEST(replicas.rows() == 0u);
  BOOST_TEST(replicas.Find(1, 0) == nullptr);
}

BOOST_AUTO_TEST_CASE(an_older_row_does_not_take_the_place_of_a_newer_one) {
  Replicas replicas(1, 1000);
  const float old = 1, now = 2;
  replicas.Put(5, 20, &now);
  replicas.Put(5, 19, &old);
  BOOST_TEST(*replicas.Find(5, 20) == 2);
  BOOST_TEST(replicas.Find(5, 21) == nullptr);
  BOOST_TEST(replicas.rows() == 1u);   // too old for one is still there for another
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
