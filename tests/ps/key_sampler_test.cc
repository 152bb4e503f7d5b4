#include "ps/key_sampler.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <set>

namespace troupe {
namespace {

std::map<Key, double> Shares(const KeySampler& sampler, int draws = 400'000) {
  Random random(11);
  std::map<Key, double> shares;
  for (int i = 0; i < draws; ++i) shares[sampler.Draw(random)] += 1.0 / draws;
  return shares;
}

/// Every share within five standard deviations of its probability, which add up to 1.
void CheckShares(const KeySampler& sampler, Key begin, Key end) {
  constexpr int kDraws = 400'000;
  const auto shares = Shares(sampler, kDraws);
  double sum = 0;
  for (Key key = begin; key < end; ++key) {
    const double p = sampler.Probability(key);
    const auto found = shares.find(key);
    BOOST_TEST(std::abs((found == shares.end() ? 0 : found->second) - p) <= 5 * std::sqrt(p * (1 - p) / kDraws) + 1e-7, "key " << key);
    sum += p;
  }
  BOOST_TEST(std::abs(sum - 1) < 1e-5);
  BOOST_TEST((shares.begin()->first >= begin && shares.rbegin()->first < end));
}

std::string ErrorOf(const absl::StatusOr<KeySampler>& sampler) {
  return std::string(sampler.status().message());
}

BOOST_AUTO_TEST_SUITE(KeySamplerTest)

BOOST_AUTO_TEST_CASE(keys_come_as_often_as_their_distribution_says) {
  CheckShares(*KeySampler::Uniform(10, 60), 10, 60);
  CheckShares(*KeySampler::LogUniform(5, 105), 5, 105);
  std::vector<Key> keys;
  std::vector<double> weights;
  for (Key key = 0; key < 100; ++key) {
    keys.push_back((key * 37) % 100 + 1000);
    weights.push_back(key % 10 == 0 ? 0 : static_cast<double>(key * key));
  }
  CheckShares(*KeySampler::Weighted(keys, weights), 1000, 1100);
  CheckShares(*KeySampler::Weighted(keys, weights, 0.75), 1000, 1100);
  CheckShares(*KeySampler::Weighted({7}, std::vector<double>{1e-300}), 7, 8);
  CheckShares(*KeySampler::Weighted({1, 2}, std::vector<double>{1e-310, 9e-310}), 1, 3);
}

BOOST_AUTO_TEST_CASE(the_power_flattens) {
  const auto sampler = KeySampler::Weighted({1, 2}, std::vector<double>{16, 1}, 0.75);
  BOOST_TEST(std::abs(sampler->Probability(1) - 8.0 / 9) < 1e-6);
  BOOST_TEST(sampler->Probability(3) == 0.0);
}

BOOST_AUTO_TEST_CASE(a_key_of_weight_0_is_never_drawn) {
  const auto sampler = KeySampler::Weighted({1, 2, 3}, std::vector<double>{0.1, 0, 0.2});
  BOOST_TEST(sampler->Probability(2) == 0.0);
  BOOST_TEST(!Shares(*sampler).contains(2));
  BOOST_TEST(!Shares(*KeySampler::Weighted({1, 2, 3}, std::vector<double>{0.1, 0, 0.2}, 0.0)).contains(2));
}

BOOST_AUTO_TEST_CASE(the_same_seed_draws_the_same_keys) {
  const auto sampler = KeySampler::LogUniform(0, 1'000'000);
  Random a(5), b(5);
  std::vector<Key> first(100), second(100);
  sampler->Draw(a, first);
  sampler->Draw(b, second);
  BOOST_TEST(first == second);
}

BOOST_AUTO_TEST_CASE(what_is_no_distribution_is_refused) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  BOOST_TEST(ErrorOf(KeySampler::Uniform(5, 5)) == "keys [5, 5) are none, expected at least one");
  BOOST_TEST(ErrorOf(KeySampler::LogUniform(5, 4)) == "keys [5, 4) are none, expected at least one");
  BOOST_TEST(ErrorOf(KeySampler::Weighted({1, 2}, std::vector<double>{1})) == "1 weights for 2 keys");
  BOOST_TEST(ErrorOf(KeySampler::Weighted({1, 1}, std::vector<double>{1, 2})) == "key 1 is there twice");
  BOOST_TEST(ErrorOf(KeySampler::Weighted({1, 2}, std::vector<double>{1, -2})) == "weight of key 2 is -2, expected a finite number >= 0");
  BOOST_TEST(ErrorOf(KeySampler::Weighted({1, 2}, std::vector<double>{1, nan})) == "weight of key 2 is nan, expected a finite number >= 0");
  BOOST_TEST(ErrorOf(KeySampler::Weighted({1}, std::vector<double>{1}, nan)) == "power is nan, expected a finite number");
  BOOST_TEST(ErrorOf(KeySampler::Weighted({1, 2}, std::vector<double>{0, 0})) == "weights add up to 0, expected a finite number > 0");
  BOOST_TEST(ErrorOf(KeySampler::Weighted({}, {})) == "weights add up to 0, expected a finite number > 0");
  BOOST_TEST(ErrorOf(KeySampler::Weighted({1}, std::vector<double>{1e300}, 2)) == "weights add up to inf, expected a finite number > 0");
}

BOOST_AUTO_TEST_CASE(a_pool_is_used_as_often_as_it_says_and_then_drawn_anew) {
  ReusedSampler sampler(*KeySampler::Uniform(0, 1'000'000'000), 50, 4, 3);
  for (int pool = 0; pool < 3; ++pool) {
    const std::multiset<Key> expected(sampler.pool().begin(), sampler.pool().end());
    std::vector<std::vector<Key>> uses;
    for (int use = 0; use < 4; ++use) {
      std::vector<Key> drawn;
      for (int i = 0; i < 50; ++i) {
        BOOST_REQUIRE(sampler.left() == static_cast<uint64_t>(200 - 50 * use - i));
        drawn.push_back(sampler.Draw());
      }
      BOOST_TEST((std::multiset<Key>(drawn.begin(), drawn.end()) == expected));
      uses.push_back(drawn);
    }
    BOOST_TEST((uses[0] != uses[1]));   // in another order
    BOOST_TEST((std::multiset<Key>(sampler.pool().begin(), sampler.pool().end()) != expected));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
