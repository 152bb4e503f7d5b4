// Each rule against its formula in double precision, and both its forms against each other.
#include "ps/update_rule.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include "actors/text.h"

namespace troupe {
namespace {

/// One element, as the papers have it, in double.
struct Oracle {
  TableSpec spec;
  double w = 0, a = 0, b = 0, t = 0;

  double Option(const char* name, double otherwise) const { return spec.rule_options.contains(name) ? spec.rule_options.at(name) : otherwise; }

  void Push(double g, bool penalised) {
    const double l1 = penalised ? spec.l1 : 0, l2 = penalised ? spec.l2 : 0;
    const double rate = Option("learning_rate", 0.1);
    if (spec.rule == "add") {
      w += g;
    } else if (spec.rule == "ftrl") {
      const double sigma = (std::sqrt(b + g * g) - std::sqrt(b)) / rate;
      a += g - sigma * w;
      b += g * g;
      w = std::abs(a) <= l1 ? 0 : -(a - (a > 0 ? l1 : -l1)) / ((Option("beta", 1) + std::sqrt(b)) / rate + l2);
    } else {
      g += l2 * w;
      double scaled = rate, step = g;
      if (spec.rule == "adagrad") {
        a += g * g;
        scaled = rate / (std::sqrt(a) + 1e-8);
      }
      if (spec.rule == "adam") {
        const double b1 = Option("beta1", 0.9), b2 = Option("beta2", 0.999);
        t += 1;
        a = b1 * a + (1 - b1) * g;
        b = b2 * b + (1 - b2) * g * g;
        step = a / (1 - std::pow(b1, t));
        scaled = rate / (std::sqrt(b / (1 - std::pow(b2, t))) + Option("epsilon", 1e-8));
      }
      w -= scaled * step;
      const double sign = w < 0 ? -1 : 1;
      w = sign * std::max(std::abs(w) - scaled * l1, 0.0);
    }
  }
};

std::vector<TableSpec> Specs() {
  std::vector<TableSpec> specs;
  for (const std::string& rule : UpdateRuleNames()) {
    TableSpec spec;
    spec.rule = rule;
    specs.push_back(spec);
    if (rule == "add") continue;
    spec.rule_options["learning_rate"] = 0.03;
    spec.l1 = 0.02;
    specs.push_back(spec);
    spec.l2 = 0.1;
    specs.push_back(spec);
    spec.l1 = 0;
    specs.push_back(spec);
  }
  return specs;
}

std::unique_ptr<UpdateRule> Make(const TableSpec& spec) {
  auto rule = MakeUpdateRule(spec);
  BOOST_REQUIRE_MESSAGE(rule.ok(), rule.status().ToString());
  return std::move(*rule);
}

/// Rows of one width both ways: as rows of a store and as the arrays of a dense range.
struct BothForms {
  uint32_t width, state;
  uint64_t n, stride;
  std::vector<std::vector<float>> sparse;
  std::vector<float> dense;

  BothForms(const UpdateRule& rule, uint64_t rows, uint32_t row_width)
      : width(row_width),
        state(rule.state(width)),
        n(rows),
        stride(rows * width + 5),
        sparse(rows, std::vector<float>(width + state)),
        dense(stride * (2 + state)) {}

  DenseRows View(uint64_t first, uint64_t count, uint64_t unpenalised) {
    return {.values = dense.data(), .state = dense.data() + stride, .stride = stride, .width = width, .first = first, .n = count, .unpenalised = unpenalised};
  }
  std::vector<float> DenseRow(uint64_t row) const {
    std::vector<float> out;
    for (uint32_t array = 0; array < 1 + state / width; ++array) {
      const float* at = dense.data() + array * stride + row * width;
      out.insert(out.end(), at, at + width);
    }
    for (uint32_t extra = 0; extra < state % width; ++extra) out.push_back(dense[(1 + state / width + extra) * stride + row]);
    return out;
  }
};

}   // namespace

BOOST_AUTO_TEST_SUITE(UpdateRuleTest)

BOOST_AUTO_TEST_CASE(all_rules_are_registered) {
  const std::vector<std::string> expected{"adagrad", "adam", "add", "ftrl", "sgd"};
  BOOST_TEST(UpdateRuleNames() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(each_rule_follows_its_formula) {
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal;
  for (const TableSpec& spec : Specs()) {
    const auto rule = Make(spec);
    for (const bool penalised : {true, false}) {
      for (int row = 0; row < 50; ++row) {
        Oracle oracle{spec};
        std::vector<float> stored(1 + rule->state(1));
        float* at = stored.data();
        const double drift = normal(random), scale = std::exp(2 * normal(random));
        for (int push = 0; push < 100; ++push) {
          const float g = static_cast<float>(scale * (drift + normal(random)));
          const bool flags[] = {penalised};
          rule->ApplyRows({&at, 1}, &g, 1, flags);
          oracle.Push(g, penalised);
          BOOST_REQUIRE_MESSAGE(std::abs(stored[0] - oracle.w) <= 3e-4 * std::max(1.0, std::abs(oracle.w)),
                                spec.rule << " l1 " << spec.l1 << " l2 " << spec.l2 << " push " << push << ": " << stored[0] << ", expected " << oracle.w);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(dense_and_sparse_forms_are_equal_bit_for_bit) {
  std::mt19937_64 random(2);
  std::normal_distribution<float> normal;
  for (const TableSpec& spec : Specs()) {
    const auto rule = Make(spec);
    for (const uint32_t width : {1u, 2u, 3u, 7u, 8u, 33u, 600u}) {
      BothForms both(*rule, 37, width);
      const uint64_t unpenalised = 3;
      for (int push = 0; push < 30; ++push) {
        const uint64_t first = push % 3 == 0 ? 0 : random() % both.n;
        const uint64_t n = push % 3 == 0 ? both.n : random() % (both.n - first + 1);
        std::vector<float> gradient(n * width);
        for (float& g : gradient) g = normal(random);
        rule->ApplyDense(both.View(first, n, unpenalised), gradient.data());
        for (uint64_t i = 0; i < n; ++i) {
          float* row = both.sparse[first + i].data();
          const bool flags[] = {first + i >= unpenalised};
          rule->ApplyRows({&row, 1}, gradient.data() + i * width, width, flags);
        }
      }
      for (uint64_t i = 0; i < both.n; ++i) {
        const std::vector<float> dense = both.DenseRow(i);
        BOOST_REQUIRE_EQUAL(dense.size(), both.sparse[i].size());
        BOOST_REQUIRE_MESSAGE(std::memcmp(dense.data(), both.sparse[i].data(), dense.size() * sizeof(float)) == 0,
                              spec.rule << " width " << width << " row " << i);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(many_rows_at_once_are_the_same_as_one_by_one) {
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal;
  for (const TableSpec& spec : Specs()) {
    const auto rule = Make(spec);
    const uint32_t width = 3;
    BothForms at_once(*rule, 20, width), one_by_one(*rule, 20, width);
    for (int push = 0; push < 10; ++push) {
      std::vector<float> gradient(20 * width);
      for (float& g : gradient) g = normal(random);
      std::vector<float*> rows;
      for (auto& row : at_once.sparse) rows.push_back(row.data());
      rule->ApplyRows(rows, gradient.data(), width, {});
      for (size_t i = 0; i < 20; ++i) {
        float* row = one_by_one.sparse[i].data();
        const bool all[] = {true};
        rule->ApplyRows({&row, 1}, gradient.data() + i * width, width, all);
      }
    }
    BOOST_TEST(at_once.sparse == one_by_one.sparse);
  }
}

BOOST_AUTO_TEST_CASE(l1_makes_exact_zeros_of_what_carries_no_signal) {
  std::mt19937_64 random(4);
  std::normal_distribution<float> normal;
  for (const std::string rule_name : {"sgd", "adagrad", "adam", "ftrl"}) {
    TableSpec spec;
    spec.rule = rule_name;
    spec.l1 = rule_name == "ftrl" ? 60 : 0.5;   // ftrl's is on the sum of the gradients, the others' on each
    const auto rule = Make(spec);
    std::vector<float> noise(1 + rule->state(1)), signal = noise, spared = noise;
    float* rows[] = {noise.data(), signal.data(), spared.data()};
    const bool penalised[] = {true, true, false};
    for (int push = 0; push < 200; ++push) {
      const float n = 0.1f * normal(random);
      const float gradient[] = {n, -1 + n, n};
      rule->ApplyRows(rows, gradient, 1, penalised);
    }
    BOOST_TEST(noise[0] == 0, rule_name << ": " << noise[0]);
    BOOST_TEST(!std::signbit(noise[0]), rule_name);
    BOOST_TEST(signal[0] > 0, rule_name << ": " << signal[0]);
    BOOST_TEST(spared[0] != 0, rule_name);
  }
}

BOOST_AUTO_TEST_CASE(add_counts_exactly_to_two_to_the_48) {
  TableSpec spec;
  const auto rule = Make(spec);
  std::vector<float> stored(2);
  float* row = stored.data();
  std::mt19937_64 random(5);
  uint64_t expected = 0;
  const auto push = [&](uint64_t count) {
    const float g = static_cast<float>(count);
    BOOST_REQUIRE_EQUAL(static_cast<uint64_t>(g), count);
    rule->ApplyRows({&row, 1}, &g, 1, {});
    expected += count;
    BOOST_REQUIRE_EQUAL(rule->Value(row, 1, 0), static_cast<double>(expected));
  };
  for (int i = 0; i < 100000; ++i) push(1);
  for (int i = 0; i < 200000; ++i) push(random() % (1 << 23));   // to about 2^40
  for (int i = 0; i < 100000; ++i) push(1 + random() % 300);
  while (expected + (1ull << 46) < (1ull << 48)) push(((random() % (1 << 22)) << 23));
  for (int i = 0; i < 100000; ++i) push(1 + random() % 3);
  BOOST_TEST(expected > (1ull << 47));
}

BOOST_AUTO_TEST_CASE(add_keeps_the_error_of_sums_of_any_sign) {
  const auto rule = Make(TableSpec{});
  std::mt19937_64 random(6);
  std::normal_distribution<double> normal;
  std::vector<float> stored(2);
  float* row = stored.data();
  double expected = 0, size = 0;
  for (int i = 0; i < 100000; ++i) {
    const float g = static_cast<float>(normal(random) * std::exp(3 * normal(random)));
    rule->ApplyRows({&row, 1}, &g, 1, {});
    expected += g;
    size += std::abs(g);
    BOOST_REQUIRE(std::abs(rule->Value(row, 1, 0) - expected) <= 1e-12 * size);
  }
}

BOOST_AUTO_TEST_CASE(wrong_rules_and_options_are_named) {
  const auto message = [](TableSpec spec) {
    const auto rule = MakeUpdateRule(spec);
    return rule.ok() ? "" : rule.status().ToString();
  };
  const auto with = [](const std::string& rule, std::map<std::string, double> options, double l1 = 0, double l2 = 0) {
    TableSpec spec;
    spec.rule = rule;
    spec.rule_options = std::move(options);
    spec.l1 = l1;
    spec.l2 = l2;
    return spec;
  };
  BOOST_TEST(message(with("adagard", {})) == "NOT_FOUND: unknown rule 'adagard'; did you mean 'adagrad'?");
  BOOST_TEST(message(with("zzzzzzzzzz", {})) == "NOT_FOUND: unknown rule 'zzzzzzzzzz'; known: adagrad, adam, add, ftrl, sgd");
  BOOST_TEST(message(with("sgd", {{"learning_rat", 1}})) == "INVALID_ARGUMENT: rule 'sgd': unknown option 'learning_rat'; did you mean 'learning_rate'?");
  BOOST_TEST(message(with("add", {{"learning_rate", 1}})) == "INVALID_ARGUMENT: rule 'add' takes no options, 'learning_rate' was given");
  BOOST_TEST(message(with("adam", {{"beta1", 1}})) == "INVALID_ARGUMENT: rule 'adam': beta1 is 1, expected 0 .. 0.99999");
  BOOST_TEST(message(with("sgd", {{"learning_rate", 0}})).find("learning_rate is 0, expected 1e-12 .. 1") != std::string::npos);
  BOOST_TEST(message(with("sgd", {{"learning_rate", NAN}})).find("learning_rate is nan") != std::string::npos);
  BOOST_TEST(message(with("sgd", {{"learning_rate", INFINITY}})).find("learning_rate is inf") != std::string::npos);
  BOOST_TEST(message(with("sgd", {}, -1)) == "INVALID_ARGUMENT: l1 is -1, expected 0 .. 1e30");
  BOOST_TEST(message(with("sgd", {}, 0, NAN)) == "INVALID_ARGUMENT: l2 is nan, expected 0 .. 1e30");
  BOOST_TEST(message(with("add", {}, 1)) == "INVALID_ARGUMENT: l1 is 1, but rule 'add' has no penalties");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
