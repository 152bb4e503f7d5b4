#include "ps/internal/step_counts.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace troupe::internal {
namespace {

constexpr uint64_t kPiece = StepCounts::kPiece;

/// Counts beside a plain vector of them.
struct Both {
  std::vector<float> memory, plain;
  explicit Both(uint64_t rows) : memory(rows + 1), plain(rows) { memory.back() = 77; }   // 77: what must stay as it is

  /// How many runs there were.
  size_t Add(uint64_t first, uint64_t n) {
    for (uint64_t row = first; row < first + n; ++row) plain[row] += 1;
    uint64_t at = first;
    size_t runs = 0;
    float last = -1;
    StepCounts(memory.data()).Add(first, n, [&](uint64_t row, uint64_t length, float count) {
      BOOST_REQUIRE_EQUAL(row, at);
      BOOST_REQUIRE(length > 0 && count != last);   // else it would be one run with the one before
      for (uint64_t i = row; i < row + length; ++i) BOOST_REQUIRE_EQUAL(count, plain[i]);
      last = count;
      at += length;
      ++runs;
    });
    BOOST_REQUIRE_EQUAL(at, first + n);
    return runs;
  }
  void Check() {
    const StepCounts counts(memory.data());
    std::vector<float> out(plain.size());
    counts.CopyTo(out.size(), out.data());
    BOOST_REQUIRE(out == plain);
    for (uint64_t row = 0; row < plain.size(); ++row) BOOST_REQUIRE_EQUAL(counts.At(row), plain[row]);
    BOOST_REQUIRE_EQUAL(memory.back(), 77);
  }
};

}   // namespace

BOOST_AUTO_TEST_SUITE(StepCountsTest)

BOOST_AUTO_TEST_CASE(random_pushes_count_as_a_plain_vector_does) {
  for (const uint64_t rows : {uint64_t{1}, kPiece - 1, kPiece, kPiece + 1, 5 * kPiece + 3}) {
    std::mt19937_64 random(rows);
    Both both(rows);
    for (int push = 0; push < 300; ++push) {
      uint64_t first = 0, n = rows;
      if (random() % 4 == 0) {
        first = random() % rows;
        n = random() % (rows - first + 1);
      } else if (random() % 3 == 0) {   // whole pieces
        first = random() % rows / kPiece * kPiece;
        n = std::min(rows - first, (1 + random() % 3) * kPiece);
      }
      both.Add(first, n);
      both.Check();
    }
  }
}

BOOST_AUTO_TEST_CASE(pushes_of_everything_are_one_run_and_touch_a_float_a_piece) {
  Both both(3 * kPiece + 10);
  BOOST_TEST(both.Add(0, both.plain.size()) == 1u);
  both.Add(0, both.plain.size());
  for (uint64_t row = 0; row < 3 * kPiece; ++row) BOOST_REQUIRE_EQUAL(both.memory[row], row % kPiece == 0 ? -2 : 0);
  BOOST_TEST(both.memory[3 * kPiece] == 2);   // the rest is no whole piece
}

BOOST_AUTO_TEST_CASE(rows_that_differ_have_counts_of_their_own_until_they_meet_again) {
  Both both(2 * kPiece);
  both.Add(0, 2 * kPiece);
  both.Add(5, 1);
  both.Check();
  BOOST_TEST(both.memory[0] == 1);
  BOOST_TEST(both.memory[kPiece] == -1);
  BOOST_TEST(both.Add(0, 2 * kPiece) == 3u);
  both.Add(0, 5);
  both.Add(6, kPiece - 6);
  both.Check();
  BOOST_TEST(both.Add(0, 2 * kPiece) == 2u);   // the pieces are one push apart
  BOOST_TEST(both.memory[0] == -4);
  both.Check();
}

BOOST_AUTO_TEST_CASE(what_is_no_count_is_read_as_none) {
  std::vector<float> memory(kPiece + 2), out(kPiece + 1);
  memory.back() = 77;
  StepCounts counts(memory.data());
  std::vector<float> in(kPiece + 1, 3.0f);
  in[0] = -5;
  in[1] = std::nanf("");
  in[kPiece] = -std::numeric_limits<float>::infinity();
  counts.CopyFrom(in.size(), in.data());
  counts.Add(kPiece, 1, [](uint64_t, uint64_t, float count) { BOOST_TEST(count == 1); });
  counts.CopyTo(out.size(), out.data());
  for (uint64_t row = 0; row < in.size(); ++row) BOOST_REQUIRE_EQUAL(out[row], row < 2 ? 0 : row == kPiece ? 1 : 3);
  BOOST_TEST(memory.back() == 77);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe::internal
