#include "ps/encoding/compressor.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <numeric>

#include "ps/encoding/filter.h"
#include "ps/encoding/value_codec.h"

namespace troupe {
namespace {

std::vector<TableSpec> Tables(const char* encoding, uint32_t width = 1) {
  TableSpec spec{.name = "w", .width = width, .rows = {}, .rule = "sgd", .rule_options = {{"learning_rate", 0.1}}, .l1 = 0.5, .penalised_from = 1};
  spec.encoding = *ParseEncoding(encoding);
  BOOST_REQUIRE(Validate(spec).ok());
  return {spec};
}
TablePush RandomPush(Random& random, uint32_t width) {
  TablePush push;
  for (Key key = 0; key < 60; ++key) {
    if (random.Below(3) == 0) continue;
    push.keys.push_back(key * 1'000'003);
    for (uint32_t j = 0; j < width; ++j) push.values.push_back(std::ldexp(static_cast<float>(random.Normal()), -static_cast<int>(key / 6)));
    push.nonzeros.push_back(static_cast<uint32_t>(random.Below(10)));
  }
  return push;
}
TablePush Compressed(const char* encoding, TablePush push, std::span<const GivenRows> given = {}) {
  Compressor(Tables(encoding), 1, 0).Compress({&push, 1}, given);
  return push;
}
uint64_t Sum(const std::vector<uint32_t>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), uint64_t{0});
}
TablePush Simple() {
  return {.table = 0, .keys = {0, 1, 2, 3}, .values = {0.1F, -4, 3, -0.2F}, .nonzeros = {10, 20, 30, 40}};
}

BOOST_AUTO_TEST_SUITE(CompressorTest)

BOOST_AUTO_TEST_CASE(a_writer_that_moves_goes_on_as_if_it_had_stayed) {
  for (const char* encoding : {"int8+feedback", "top_k:0.2+feedback", "random_k:0.3+feedback", "random_k:0.3", "onebit+feedback"}) {
    Random pushes(4);
    Compressor stays(Tables(encoding, 3), 5, 2);
    for (int round = 0; round < 20; ++round) {
      TablePush push = RandomPush(pushes, 3);
      stays.Compress({&push, 1}, {});
    }
    const Block state = stays.State();
    BOOST_TEST(state.size() > 0U);
    Compressor moved(Tables(encoding, 3), 5, 2);
    BOOST_REQUIRE(moved.GoOn(state).ok());
    for (int round = 0; round < 20; ++round) {
      TablePush one = RandomPush(pushes, 3), other = one;
      stays.Compress({&one, 1}, {});
      moved.Compress({&other, 1}, {});
      BOOST_TEST(one.values == other.values, encoding);
      BOOST_TEST(one.keys == other.keys, encoding);
    }
    for (size_t words = 0; words < state.size() / 8; ++words) {
      Compressor cut(Tables(encoding, 3), 5, 2);
      BOOST_TEST(absl::IsInvalidArgument(cut.GoOn(Block::Copy(state.As<uint64_t>().first(words)))));
    }
    Compressor other(Tables(encoding, 2), 5, 2);
    if (std::string(encoding).find("feedback") != std::string::npos) BOOST_TEST(absl::IsInvalidArgument(other.GoOn(state)));
  }
  Compressor exact(Tables("int8"), 5, 2);
  BOOST_TEST(exact.State().size() == 0U);
}

BOOST_AUTO_TEST_CASE(what_was_sent_and_what_is_kept_is_what_was_given) {
  for (const uint32_t width : {1, 3}) {
    for (const char* encoding : {"float16+feedback", "bfloat16+feedback", "int8+feedback", "onebit+feedback", "top_k:0.2+feedback", "random_k:0.3+feedback",
                                 "threshold:0.2+feedback", "top_k:0.1+int8+feedback", "random_k:0.5+onebit+feedback"}) {
      Random random(width);
      Compressor compressor(Tables(encoding, width), 5, 2);
      std::map<Key, std::vector<double>> given, sent;
      for (int round = 0; round < 200; ++round) {
        TablePush push = RandomPush(random, width);
        const uint64_t nonzeros = Sum(push.nonzeros);
        const auto add = [&](const TablePush& p, std::map<Key, std::vector<double>>& sums) {
          for (size_t i = 0; i < p.keys.size(); ++i) {
            sums[p.keys[i]].resize(width);
            for (uint32_t j = 0; j < width; ++j) sums[p.keys[i]][j] += double{p.values[i * width + j]};
          }
        };
        add(push, given);
        compressor.Compress({&push, 1}, {});
        add(push, sent);
        BOOST_TEST(Sum(push.nonzeros) + Sum(push.filtered_nonzeros) == nonzeros);
      }
      double kept_at_all = 0;
      for (const auto& [key, sum] : given) {
        const std::span<const float> kept = compressor.Kept(0, key);
        BOOST_REQUIRE_EQUAL(kept.size(), width);
        std::vector<double>& what = sent[key];
        what.resize(width);
        for (uint32_t j = 0; j < width; ++j) {
          BOOST_TEST(std::abs(what[j] + double{kept[j]} - sum[j]) < 1e-3, encoding << " key " << key);
          kept_at_all += std::abs(double{kept[j]});
        }
      }
      BOOST_TEST(kept_at_all > 0, encoding);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_small_gradient_arrives_in_the_end_where_there_is_feedback_and_never_where_there_is_none) {
  for (const bool feedback : {false, true}) {
    Compressor compressor(Tables(feedback ? "int8+feedback" : "int8"), 1, 0);
    double arrived = 0;
    for (int round = 0; round < 100; ++round) {
      TablePush push{.table = 0, .keys = {7, 8}, .values = {127, 0.25F}, .nonzeros = {}};
      compressor.Compress({&push, 1}, {});
      arrived += double{push.values[1]};
    }
    BOOST_TEST(arrived == (feedback ? 25 : 0));
  }
}

BOOST_AUTO_TEST_CASE(each_filter_keeps_its_rows_and_all_nonzeros) {
  const auto keys = [](const char* encoding, std::vector<float> weights = {}) {
    const TablePush simple = Simple();
    const GivenRows given{0, simple.keys, weights};
    const TablePush push = Compressed(encoding, Simple(), {&given, weights.empty() ? 0U : 1U});
    BOOST_TEST(Sum(push.nonzeros) + Sum(push.filtered_nonzeros) == 100U);
    BOOST_TEST(push.keys.size() + push.filtered.size() == 4U);
    BOOST_TEST(push.keys.size() == push.values.size());
    BOOST_TEST(push.keys.size() == push.nonzeros.size());
    return push.keys;
  };
  using Keys = std::vector<Key>;
  BOOST_TEST((keys("top_k:0.5") == Keys{1, 2}));
  BOOST_TEST((keys("top_k:0.01") == Keys{1}));
  BOOST_TEST((keys("threshold:0.15") == Keys{1, 2, 3}));
  BOOST_TEST((keys("threshold:100") == Keys{1}));
  BOOST_TEST(keys("random_k:0.5").size() == 2U);
  BOOST_TEST((keys("kkt:0.1", {0, 0, 0, 0}) == Keys{0, 1, 2}));   // key 0 is not penalised
  BOOST_TEST((keys("kkt:0.1", {0, 0, 0, 1}) == Keys{0, 1, 2, 3}));
  BOOST_TEST((keys("kkt:0.4", {0, 0, 0, 0}) == Keys{0, 1, 2, 3}));   // |gradient| > 0.5 - 0.4
  BOOST_TEST((keys("kkt:0.1") == Keys{0, 1, 2, 3}));                 // nothing is known of the weights
}

BOOST_AUTO_TEST_CASE(random_rows_without_feedback_keep_the_mean) {
  Compressor compressor(Tables("random_k:0.25"), 3, 0);
  std::map<Key, double> sums;
  constexpr int kRounds = 20'000;
  for (int round = 0; round < kRounds; ++round) {
    TablePush push = Simple();
    compressor.Compress({&push, 1}, {});
    BOOST_REQUIRE_EQUAL(push.keys.size(), 1U);
    sums[push.keys[0]] += double{push.values[0]};
  }
  for (size_t i = 0; i < 4; ++i) BOOST_TEST(std::abs(sums[i] / kRounds - double{Simple().values[i]}) < 0.15);
}

BOOST_AUTO_TEST_CASE(writers_draw_other_rows_and_the_same_writer_the_same_ones) {
  const auto drawn = [](uint32_t writer) {
    Random random(1);
    Compressor compressor(Tables("random_k:0.2"), 9, writer);
    std::vector<Key> all;
    for (int i = 0; i < 5; ++i) {
      TablePush push = RandomPush(random, 1);
      compressor.Compress({&push, 1}, {});
      all.insert(all.end(), push.keys.begin(), push.keys.end());
    }
    return all;
  };
  BOOST_TEST((drawn(1) == drawn(1)));
  BOOST_TEST((drawn(1) != drawn(2)));
}

BOOST_AUTO_TEST_CASE(what_is_not_finite_is_left_to_the_shard) {
  for (const float bad : {NAN, INFINITY}) {
    TablePush push = Simple();
    push.values[2] = bad;
    const TablePush after = Compressed("top_k:0.5+int8+feedback", push);
    BOOST_TEST(after.keys == push.keys);
    BOOST_TEST((after.code == ValueCode::kFloat32));
  }
}

BOOST_AUTO_TEST_CASE(tables_that_lose_nothing_and_empty_pushes_are_left_alone) {
  const TablePush push = Compressed("delta+cache+pull_float16", Simple());
  BOOST_TEST(push.values == Simple().values);
  BOOST_TEST((push.code == ValueCode::kFloat32));
  BOOST_TEST(Compressed("int8+top_k:0.5", {}).keys.empty());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
