// Each rule against its formula in double precision, and both its forms against each other.
#include "ps/update_rule.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include "actors/text.h"
#include "ps/internal/step_counts.h"

namespace troupe {
namespace {

/// One row, as the papers have it, in double.
struct Oracle {
  TableSpec spec;
  std::vector<double> w, a, b;
  double t = 0;

  explicit Oracle(const TableSpec& s, size_t width = 1) : spec(s), w(width), a(width), b(width) {}
  double Option(const char* name, double otherwise) const { return spec.rule_options.contains(name) ? spec.rule_options.at(name) : otherwise; }

  void Push(const std::vector<double>& gradient, bool penalised, double scale) {
    t += 1;
    std::vector<double> r(w.size());
    for (size_t i = 0; i < w.size(); ++i) spec.rule == "lamb" ? Lamb(i, gradient[i], penalised, r[i]) : Element(i, gradient[i], penalised, scale);
    if (spec.rule != "lamb") return;
    double values = 0, directions = 0;
    for (size_t i = 0; i < w.size(); ++i) values += w[i] * w[i];
    for (const double x : r) directions += x * x;
    const double ratio = values > 0 && directions > 0 ? std::sqrt(values / directions) : 1;
    for (size_t i = 0; i < w.size(); ++i) w[i] -= Option("learning_rate", 0.001) * scale * ratio * r[i];
  }

 private:
  /// m / (1 - b1^t) and sqrt(v / (1 - b2^t)) + epsilon.
  std::pair<double, double> Moments(size_t i, double g) {
    const double b1 = Option("beta1", 0.9), b2 = Option("beta2", 0.999);
    a[i] = b1 * a[i] + (1 - b1) * g;
    b[i] = b2 * b[i] + (1 - b2) * g * g;
    return {a[i] / (1 - std::pow(b1, t)), std::sqrt(b[i] / (1 - std::pow(b2, t))) + Option("epsilon", 1e-8)};
  }
  void Lamb(size_t i, double g, bool penalised, double& r) {
    const auto [mean, root] = Moments(i, g);
    r = mean / root + (penalised ? Option("decay", 0.01) * w[i] : 0);
  }
  void Element(size_t i, double g, bool penalised, double scale) {
    const double l1 = penalised ? spec.l1 : 0, l2 = penalised ? spec.l2 : 0;
    const double rate = Option("learning_rate", spec.rule == "rmsprop" ? 0.01 : spec.rule.starts_with("adam") ? 0.001 : 0.1) * scale;
    if (spec.rule == "add") {
      w[i] += g;
      return;
    }
    if (spec.rule == "ftrl") {
      const double sigma = (std::sqrt(b[i] + g * g) - std::sqrt(b[i])) / rate;
      a[i] += g - sigma * w[i];
      b[i] += g * g;
      w[i] = std::abs(a[i]) <= l1 ? 0 : -(a[i] - (a[i] > 0 ? l1 : -l1)) / ((Option("beta", 1) + std::sqrt(b[i])) / rate + l2);
      return;
    }
    const double decay = spec.weight_decay + (spec.rule == "adamw" ? Option("decay", 0.01) : 0);
    if (penalised) w[i] -= rate * decay * w[i];
    g += l2 * w[i];
    double scaled = rate, step = g;
    if (spec.rule == "momentum" || spec.rule == "nesterov") {
      const double m = Option("momentum", 0.9);
      a[i] = m * a[i] + g;
      step = spec.rule == "momentum" ? a[i] : g + m * a[i];
    } else if (spec.rule == "adagrad") {
      a[i] += g * g;
      scaled = rate / (std::sqrt(a[i]) + 1e-8);
    } else if (spec.rule == "rmsprop") {
      const double d = Option("decay", 0.9);
      a[i] = d * a[i] + (1 - d) * g * g;
      scaled = rate / (std::sqrt(a[i]) + Option("epsilon", 1e-8));
    } else if (spec.rule.starts_with("adam")) {
      const auto [mean, root] = Moments(i, g);
      step = mean;
      scaled = rate / root;
    }
    w[i] -= scaled * step;
    const double sign = w[i] < 0 ? -1 : 1;
    w[i] = sign * std::max(std::abs(w[i]) - scaled * l1, 0.0);
  }
};

bool HasPenalties(const std::string& rule) {
  return rule != "add" && rule != "lamb";
}
bool HasScale(const std::string& rule) {
  return rule != "add" && rule != "ftrl";
}

std::vector<TableSpec> Specs() {
  std::vector<TableSpec> specs;
  for (const std::string& rule : UpdateRuleNames()) {
    TableSpec spec;
    spec.rule = rule;
    specs.push_back(spec);
    if (rule == "add") continue;
    spec.rule_options["learning_rate"] = 0.03;
    specs.push_back(spec);
    if (!HasPenalties(rule)) continue;
    spec.l1 = 0.02;
    specs.push_back(spec);
    spec.l2 = 0.1;
    specs.push_back(spec);
    spec.l1 = 0;
    spec.weight_decay = rule == "ftrl" ? 0 : 0.05;
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
  uint32_t width, floats;
  bool counted;
  uint64_t n, stride;
  std::vector<std::vector<float>> sparse;
  std::vector<float> dense;

  BothForms(const UpdateRule& rule, uint64_t rows, uint32_t row_width)
      : width(row_width),
        floats(rule.floats(width)),
        counted(rule.counts_pushes()),
        n(rows),
        stride(rows * width + 5),
        sparse(rows, std::vector<float>(floats)),
        dense(stride * (1 + floats)) {}

  DenseRows View(uint64_t first, uint64_t count, uint64_t unpenalised) {
    return {.arrays = dense.data(), .stride = stride, .width = width, .first = first, .n = count, .unpenalised = unpenalised};
  }
  std::vector<float> DenseRow(uint64_t row) const {
    std::vector<float> out;
    const uint32_t arrays = (floats - counted) / width;
    for (uint32_t array = 0; array < arrays; ++array) {
      const float* at = dense.data() + array * stride + row * width;
      out.insert(out.end(), at, at + width);
    }
    if (counted) out.push_back(internal::StepCounts(const_cast<float*>(dense.data()) + arrays * stride).At(row));
    return out;
  }
  void CheckEqual(const std::string& about) const {
    for (uint64_t i = 0; i < n; ++i) {
      const std::vector<float> row = DenseRow(i);
      BOOST_REQUIRE_EQUAL(row.size(), sparse[i].size());
      BOOST_REQUIRE_MESSAGE(std::memcmp(row.data(), sparse[i].data(), row.size() * sizeof(float)) == 0, about << " width " << width << " row " << i);
    }
  }
};

std::vector<float> Normal(size_t n, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> numbers(n);
  for (float& x : numbers) x = normal(random);
  return numbers;
}

}   // namespace

BOOST_AUTO_TEST_SUITE(UpdateRuleTest)

BOOST_AUTO_TEST_CASE(all_rules_are_registered) {
  const std::vector<std::string> expected{"adagrad", "adam", "adamw", "add", "ftrl", "lamb", "momentum", "nesterov", "rmsprop", "sgd"};
  BOOST_TEST(UpdateRuleNames() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(each_rule_follows_its_formula) {
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal;
  for (const TableSpec& spec : Specs()) {
    const auto rule = Make(spec);
    for (const uint32_t width : {1u, 5u}) {
      for (int row = 0; row < 50; ++row) {
        const bool penalised = row % 2 == 0;
        Oracle oracle(spec, width);
        std::vector<float> stored(rule->floats(width));
        float* at = stored.data();
        const double drift = normal(random), size = std::exp(2 * normal(random));
        for (int push = 0; push < 100; ++push) {
          std::vector<float> g(width);
          for (float& x : g) x = static_cast<float>(size * (drift + normal(random)));
          const float scale = HasScale(spec.rule) ? 0.5f + static_cast<float>(push % 3) : 1;
          const bool flags[] = {penalised};
          rule->ApplyRows({&at, 1}, g.data(), width, flags, scale);
          oracle.Push({g.begin(), g.end()}, penalised, scale);
          std::vector<float> values(width);
          rule->ReadRows({&at, 1}, width, flags, nullptr, values.data());
          for (uint32_t i = 0; i < width; ++i) {
            BOOST_REQUIRE_MESSAGE(std::abs(values[i] - oracle.w[i]) <= 4e-4 * std::max(1.0, std::abs(oracle.w[i])),
                                  spec.rule << " l1 " << spec.l1 << " l2 " << spec.l2 << " push " << push << ": " << values[i] << ", expected " << oracle.w[i]);
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(adam_corrects_a_row_at_any_of_its_pushes) {
  for (const double beta2 : {0.5, 0.999, 0.99999}) {   // their corrections are 1 in the table, at its end, and not within it
    TableSpec spec;
    spec.rule = "adam";
    spec.rule_options = {{"learning_rate", 0.1}, {"beta2", beta2}};
    const auto rule = Make(spec);
    for (const double t : {1, 2, 24, 100, 158, 159, 4095, 4096, 17'000, 19'999, 20'000, 20'001, 100'000, 1'000'000}) {
      Oracle oracle(spec);
      oracle.w = {1}, oracle.a = {0.3}, oracle.b = {0.2}, oracle.t = t - 1;
      std::vector<float> row{1, 0.3f, 0.2f, static_cast<float>(t - 1)};
      float* at = row.data();
      const float gradient = 0.5f;
      const bool penalised = false;
      rule->ApplyRows({&at, 1}, &gradient, 1, {&penalised, 1}, 1);
      oracle.Push({gradient}, false, 1);
      BOOST_TEST(std::abs(row[0] - oracle.w[0]) < 1e-5, "beta2 " << beta2 << ", push " << t << ": " << row[0] << ", expected " << oracle.w[0]);
      BOOST_TEST(row[3] == t);
    }
  }
}

BOOST_AUTO_TEST_CASE(dense_and_sparse_forms_are_equal_bit_for_bit) {
  std::mt19937_64 random(2);
  for (const TableSpec& spec : Specs()) {
    const auto rule = Make(spec);
    for (const uint32_t width : {1u, 2u, 3u, 7u, 8u, 33u, 600u}) {
      BothForms both(*rule, width == 2 ? 2100 : 37, width);   // of 2100 rows some counts are kept once a piece
      const uint64_t unpenalised = 3;
      for (int push = 0; push < 30; ++push) {
        const uint64_t first = push % 3 == 0 ? 0 : random() % both.n;
        const uint64_t n = push % 3 == 0 ? both.n : random() % (both.n - first + 1);
        const std::vector<float> numbers = Normal(n * width, random);
        const bool set = push % 10 == 9;
        set ? rule->SetDense(both.View(first, n, unpenalised), numbers.data()) : rule->ApplyDense(both.View(first, n, unpenalised), numbers.data(), 0.5f);
        for (uint64_t i = 0; i < n; ++i) {
          float* row = both.sparse[first + i].data();
          const bool flags[] = {first + i >= unpenalised};
          set ? rule->Set(row, width, flags[0], numbers.data() + i * width) : rule->ApplyRows({&row, 1}, numbers.data() + i * width, width, flags, 0.5f);
        }
        std::vector<float> dense(n * width), sparse(n * width);
        rule->ReadDense(both.View(first, n, unpenalised), dense.data());
        for (uint64_t i = 0; i < n; ++i) {
          float* row = both.sparse[first + i].data();
          const bool flags[] = {first + i >= unpenalised};
          rule->ReadRows({&row, 1}, width, flags, nullptr, sparse.data() + i * width);
        }
        BOOST_REQUIRE((n == 0 || std::memcmp(dense.data(), sparse.data(), dense.size() * sizeof(float)) == 0));
      }
      both.CheckEqual(spec.rule);
    }
  }
}

BOOST_AUTO_TEST_CASE(many_rows_at_once_are_the_same_as_one_by_one) {
  std::mt19937_64 random(3);
  constexpr size_t kRows = 150;   // more than scalar rows are gathered at a time
  for (const TableSpec& spec : Specs()) {
    for (const uint32_t width : {1u, 3u}) {
      const auto rule = Make(spec);
      BothForms at_once(*rule, kRows, width), one_by_one(*rule, kRows, width);
      for (int push = 0; push < 10; ++push) {
        const std::vector<float> gradient = Normal(kRows * width, random);
        std::vector<size_t> order(kRows);
        for (size_t i = 0; i < kRows; ++i) order[i] = i;
        if (push % 2 == 1) order[20] = order[70] = order[90] = 10;   // callers should not give a row twice, but what comes of it must not depend on blocks
        std::vector<float*> rows;
        for (const size_t i : order) rows.push_back(at_once.sparse[i].data());
        rule->ApplyRows(rows, gradient.data(), width, {}, 1);
        for (size_t i = 0; i < kRows; ++i) {
          float* row = one_by_one.sparse[order[i]].data();
          const bool all[] = {true};
          rule->ApplyRows({&row, 1}, gradient.data() + i * width, width, all, 1);
        }
      }
      BOOST_TEST((at_once.sparse == one_by_one.sparse), spec.rule << ", width " << width);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_set_is_read) {
  std::mt19937_64 random(7);
  for (const TableSpec& spec : Specs()) {
    const auto rule = Make(spec);
    for (const bool penalised : {true, false}) {
      std::vector<float> stored(rule->floats(4)), read(4);
      float* row = stored.data();
      const bool flags[] = {penalised};
      for (int i = 0; i < 20; ++i) {
        const std::vector<float> gradient = Normal(4, random);
        rule->ApplyRows({&row, 1}, gradient.data(), 4, flags, 1);
        std::vector<float> values = Normal(4, random);
        values[1] = 0;
        rule->Set(row, 4, penalised, values.data());
        rule->ReadRows({&row, 1}, 4, flags, nullptr, read.data());
        for (size_t j = 0; j < 4; ++j)
          BOOST_REQUIRE_MESSAGE(std::abs(read[j] - values[j]) <= 1e-6f * std::abs(values[j]), spec.rule << ": " << read[j] << ", set " << values[j]);
        for (uint32_t j = 0; j < 4; ++j) BOOST_REQUIRE(static_cast<float>(rule->Value(row, 4, j, penalised)) == read[j]);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_row_that_is_missing_reads_as_what_it_would_begin_with) {
  for (const std::string& name : UpdateRuleNames()) {
    TableSpec spec;
    spec.rule = name;
    const auto rule = Make(spec);
    for (const uint32_t width : {1u, 2u}) {
      std::vector<float> stored(rule->floats(width)), out(3 * width, 9);
      float* rows[] = {nullptr, stored.data(), nullptr};
      const std::vector<float> missing = {1, 2, 3, 4, 5, 6};
      rule->ReadRows(rows, width, {}, missing.data(), out.data());
      for (size_t i = 0; i < out.size(); ++i) BOOST_TEST(out[i] == (i / width == 1 ? 0 : missing[i]));
      rule->ReadRows(rows, width, {}, nullptr, out.data());
      for (const float x : out) BOOST_TEST(x == 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(l1_makes_exact_zeros_of_what_carries_no_signal) {
  std::mt19937_64 random(4);
  std::normal_distribution<float> normal;
  for (const std::string rule_name : {"sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "ftrl"}) {
    TableSpec spec;
    spec.rule = rule_name;
    spec.l1 = rule_name == "ftrl" ? 60 : 0.5;   // ftrl's is on the sum of the gradients, the others' on each
    const auto rule = Make(spec);
    std::vector<float> noise(rule->floats(1)), signal = noise, spared = noise;
    float* rows[] = {noise.data(), signal.data(), spared.data()};
    const bool penalised[] = {true, true, false};
    for (int push = 0; push < 200; ++push) {
      const float n = 0.1f * normal(random);
      const float gradient[] = {n, -1 + n, n};
      rule->ApplyRows(rows, gradient, 1, penalised, 1);
    }
    float values[3];
    rule->ReadRows(rows, 1, penalised, nullptr, values);
    BOOST_TEST(values[0] == 0, rule_name << ": " << values[0]);
    BOOST_TEST(!std::signbit(values[0]), rule_name);
    BOOST_TEST(values[1] > 0, rule_name << ": " << values[1]);
    BOOST_TEST(values[2] != 0, rule_name);
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
    rule->ApplyRows({&row, 1}, &g, 1, {}, 1);
    expected += count;
    BOOST_REQUIRE_EQUAL(rule->Value(row, 1, 0, true), static_cast<double>(expected));
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
    rule->ApplyRows({&row, 1}, &g, 1, {}, 1);
    expected += g;
    size += std::abs(g);
    BOOST_REQUIRE(std::abs(rule->Value(row, 1, 0, true) - expected) <= 1e-12 * size);
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
  BOOST_TEST(message(with("zzzzzzzzzz", {})) ==
             "NOT_FOUND: unknown rule 'zzzzzzzzzz'; known: adagrad, adam, adamw, add, ftrl, lamb, momentum, nesterov, rmsprop, sgd");
  BOOST_TEST(message(with("sgd", {{"learning_rat", 1}})) == "INVALID_ARGUMENT: rule 'sgd': unknown option 'learning_rat'; did you mean 'learning_rate'?");
  BOOST_TEST(message(with("add", {{"learning_rate", 1}})) == "INVALID_ARGUMENT: rule 'add' takes no options, 'learning_rate' was given");
  BOOST_TEST(message(with("adam", {{"beta1", 1}})) == "INVALID_ARGUMENT: rule 'adam': beta1 is 1, expected 0 .. 0.99999");
  BOOST_TEST(message(with("sgd", {{"learning_rate", 0}})).find("learning_rate is 0, expected 1e-12 .. 1") != std::string::npos);
  BOOST_TEST(message(with("sgd", {{"learning_rate", NAN}})).find("learning_rate is nan") != std::string::npos);
  BOOST_TEST(message(with("sgd", {{"learning_rate", INFINITY}})).find("learning_rate is inf") != std::string::npos);
  BOOST_TEST(message(with("sgd", {}, -1)) == "INVALID_ARGUMENT: l1 is -1, expected 0 .. 1e30");
  BOOST_TEST(message(with("sgd", {}, 0, NAN)) == "INVALID_ARGUMENT: l2 is nan, expected 0 .. 1e30");
  TableSpec scheduled = with("ftrl", {});
  scheduled.schedule = *ParseSchedule("cosine:10");
  BOOST_TEST(message(scheduled) == "INVALID_ARGUMENT: rule 'ftrl' has a fixed learning rate, but a schedule or a scale by staleness was given");
  BOOST_TEST(message(with("add", {}, 1)) == "INVALID_ARGUMENT: l1 is 1, but rule 'add' has no penalties");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
