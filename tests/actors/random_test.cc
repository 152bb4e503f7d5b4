// Random: known values of the published generators, and what each distribution promises.
#include "actors/random.h"

#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

namespace troupe {
BOOST_AUTO_TEST_SUITE(RandomSuite)

BOOST_AUTO_TEST_CASE(the_stream_of_a_seed_never_changes) {
  // xoshiro256** with its state filled by splitmix64 from 0, as published: first splitmix64 outputs e220a8397b1dcdaf, 6e789e6aa1b965f4, ...
  Random random(0);
  const std::array<uint64_t, 3> first{random.Next(), random.Next(), random.Next()};
  const std::array<uint64_t, 3> expected{0x99ec5f36cb75f2b4u, 0xbf6e1f784956452au, 0x1a5f849d4933e6e0u};
  BOOST_TEST(first == expected, boost::test_tools::per_element());
  BOOST_TEST(Mix64(0x9e3779b97f4a7c15u) == 0xe220a8397b1dcdafu);
}

BOOST_AUTO_TEST_CASE(a_copy_goes_on_from_the_same_place) {
  Random a(7);
  a.Next();
  Random b = a;
  BOOST_TEST(a.Next() == b.Next());
}

BOOST_AUTO_TEST_CASE(below_is_uniform_and_stays_below) {
  Random random(1);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70000; ++i) ++counts[random.Below(7)];
  for (const int count : counts) BOOST_TEST(std::abs(count - 10000) < 500);   // 5 standard deviations
  BOOST_TEST(random.Below(1) == 0u);
  // With n = 3 * 2^62 a biased method (a plain remainder or product) gives one third of the numbers twice as often as the others.
  const uint64_t n = uint64_t{3} << 62;
  int low = 0;
  for (int i = 0; i < 30000; ++i) low += random.Below(n) < n / 3;
  BOOST_TEST(std::abs(low - 10000) < 500);
}

BOOST_AUTO_TEST_CASE(uniform_and_normal_have_their_moments) {
  Random random(2);
  constexpr int kDraws = 200000;
  double sum = 0, mean = 0, square = 0, fourth = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.Uniform();
    BOOST_TEST_REQUIRE((u >= 0 && u < 1));
    sum += u;
    const double x = random.Normal();
    mean += x;
    square += x * x;
    fourth += x * x * x * x;
  }
  BOOST_TEST(std::abs(sum / kDraws - 0.5) < 0.004);
  BOOST_TEST(std::abs(mean / kDraws) < 0.012);
  BOOST_TEST(std::abs(square / kDraws - 1) < 0.016);
  BOOST_TEST(std::abs(fourth / kDraws - 3) < 0.12);
}

BOOST_AUTO_TEST_CASE(normal_is_the_polar_method_with_an_exact_logarithm) {
  // The same draws through the C library's logarithm: equal to a few ulps.
  Random ours(3), other(3);
  for (int i = 0; i < 10000; ++i) {
    double expected = 0;
    for (double square = 0; square == 0 || square >= 1;) {
      const double u = 2 * other.Uniform() - 1, v = 2 * other.Uniform() - 1;
      square = u * u + v * v;
      expected = u * std::sqrt(-2 * std::log(square) / square);
    }
    BOOST_TEST_REQUIRE(std::abs(ours.Normal() - expected) <= 1e-14 * std::abs(expected) + 1e-12);
  }
}

BOOST_AUTO_TEST_CASE(forks_are_named_by_seed_and_stream_and_differ) {
  Random root(5);
  const uint64_t before = root.Fork(3).Next();
  root.Next();
  BOOST_TEST(root.Fork(3).Next() == before);   // how much was drawn does not matter
  std::set<uint64_t> firsts{Random(5).Next()};
  for (uint64_t stream = 0; stream < 1000; ++stream) firsts.insert(root.Fork(stream).Next());
  BOOST_TEST(firsts.size() == 1001u);
  BOOST_TEST(root.Fork(1).Fork(2).Next() != root.Fork(2).Fork(1).Next());
  BOOST_TEST(Random(6).Fork(3).Next() != before);
}

BOOST_AUTO_TEST_CASE(shuffle_gives_every_order_equally_often) {
  Random random(9);
  std::array<int, 6> counts{};
  for (int i = 0; i < 60000; ++i) {
    std::array<int, 3> order{0, 1, 2};
    random.Shuffle(std::span<int>(order));
    ++counts[static_cast<size_t>(order[0] * 2 + (order[1] > order[2]))];
  }
  for (const int count : counts) BOOST_TEST(std::abs(count - 10000) < 500);
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
