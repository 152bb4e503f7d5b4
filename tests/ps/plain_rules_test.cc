// The limits of `troupe bench ps` compute what tables compute, else they would say nothing.
#include "ps/internal/plain_rules.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <random>

#include "ps/table.h"

namespace troupe::internal {
namespace {

std::vector<float> Normal(size_t n, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> numbers(n);
  for (float& x : numbers) x = normal(random);
  return numbers;
}

Table Make(const std::string& rule, uint32_t width, std::optional<uint64_t> rows) {
  TableSpec spec;
  spec.rule = rule;
  spec.width = width;
  spec.rows = rows;
  auto table = Table::Make(spec, 0, 1);
  BOOST_REQUIRE(table.ok());
  return std::move(*table);
}

void CheckClose(float ours, float plain, const std::string& about) {
  BOOST_REQUIRE_MESSAGE(std::abs(ours - plain) <= 1e-4f * std::max(1.0f, std::abs(plain)), about << ": " << ours << ", plain " << plain);
}

}   // namespace

BOOST_AUTO_TEST_SUITE(PlainRulesTest)

BOOST_AUTO_TEST_CASE(dense_loops_are_the_rules) {
  std::mt19937_64 random(1);
  for (const std::string& rule : UpdateRuleNames()) {
    for (const uint32_t width : {1u, 5u, 64u}) {
      const size_t rows = 700, n = rows * width;
      Table table = Make(rule, width, rows);
      PlainDense plain(rule, n, width);
      for (int push = 0; push < 20; ++push) {
        const std::vector<float> gradient = Normal(n, random);
        for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
          const Key first = table.partition().FirstRow(range);
          BOOST_REQUIRE(table.ApplyDense(range, first, table.partition().RowsIn(range), gradient.data() + first * width).ok());
        }
        plain.Push(gradient.data());
      }
      for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
        table.Visit(range, [&](Key key, const float* row) {
          for (uint32_t j = 0; j < width; ++j) CheckClose(row[j], plain.at(key * width + j), rule);
        });
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(rows_of_a_flat_array_are_those_of_a_sparse_table) {
  std::mt19937_64 random(2);
  for (const std::string rule : {"sgd", "adagrad", "adam", "ftrl"}) {
    for (const uint32_t width : {1u, 64u}) {
      const size_t rows = 500;
      Table table = Make(rule, width, std::nullopt);
      PlainRows plain(rule, rows, width);
      for (int push = 0; push < 20; ++push) {
        std::vector<std::vector<Key>> keys(table.partition().ranges());
        for (Key key = 0; key < rows; ++key) {
          if (random() % 3 != 0) keys[table.partition().RangeOf(key)].push_back(key);
        }
        for (uint32_t range = 0; range < keys.size(); ++range) {
          const std::vector<float> gradient = Normal(keys[range].size() * width, random);
          BOOST_REQUIRE(table.Apply(range, keys[range], gradient.data()).ok());
          push % 2 == 0 ? plain.Push(keys[range], gradient.data()) : plain.PushInSteps(keys[range], gradient.data());
        }
      }
      size_t seen = 0;
      for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
        table.Visit(range, [&](Key key, const float* row) {
          for (uint32_t j = 0; j < plain.floats(); ++j) CheckClose(row[j], plain.row(key)[j], rule);
          std::vector<float> pulled(width);
          plain.Pull({&key, 1}, pulled.data());
          for (uint32_t j = 0; j < width; ++j) BOOST_REQUIRE_EQUAL(pulled[j], plain.row(key)[j]);
          ++seen;
        });
      }
      BOOST_TEST(seen == rows);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe::internal
