// Server-side functions: each against a plain loop over the same rows, over any number of shards with the same bits; what they refuse; and changes of rows that
// count once whatever happens to their messages.
#include "ps/function.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "actors/random.h"
#include "actors/text.h"
#include "ps/call.h"
#include "ps/router.h"
#include "ps/shard.h"

namespace troupe {
namespace {

using Rows = std::map<Key, std::vector<double>>;

/// Of tests alone: how many values lie above `above`, by column. One file, as everybody's own.
class CountAbove final : public ReadingFunction {
 public:
  CountAbove(double above, uint32_t width) : above_(above), width_(width) {}
  FunctionValue Map(const RangeReader& rows) const override {
    FunctionValue part{{}, std::vector<double>(width_)};
    rows.Each([&](const TableRows& block) {
      for (size_t i = 0; i < block.n; ++i)
        for (uint32_t j = 0; j < width_; ++j) part.numbers[j] += block.row(i)[j] > above_;
    });
    return part;
  }
  absl::Status CheckPart(const FunctionValue& part) const override {
    return part.numbers.size() == width_ ? absl::OkStatus() : absl::InvalidArgumentError("count_above: a part of another width");
  }
  FunctionValue Merge(FunctionValue low, FunctionValue high) const override {
    for (uint32_t j = 0; j < width_; ++j) low.numbers[j] += high.numbers[j];
    return low;
  }

 private:
  const double above_;
  const uint32_t width_;
};
const RegisterFunction count_above({.name = "count_above", .read = [](ArgumentReader& arguments) -> std::unique_ptr<ReadingFunction> {
                                      return std::make_unique<CountAbove>(arguments.Number("above", 0, -1e9, 1e9), arguments.table().width);
                                    }});
/// Each value becomes its row's key.
class BecomeKey final : public ChangingFunction {
 public:
  void Change(const TableRows& rows, double* values) const override {
    for (size_t i = 0; i < rows.n; ++i)
      for (uint32_t j = 0; j < rows.width; ++j) *values++ = static_cast<double>(rows.key(i));
  }
};
const RegisterFunction become_key({.name = "become_key",
                                   .change = [](ArgumentReader&) -> std::unique_ptr<ChangingFunction> { return std::make_unique<BecomeKey>(); }});

TableSpec Dense(std::string name, std::string rule, uint32_t width, uint64_t rows) {
  return {.name = std::move(name), .width = width, .rows = rows, .rule = std::move(rule), .rule_options = {}, .ranges = 7};
}
TableSpec Sparse(std::string name, std::string rule, uint32_t width) {
  return {.name = std::move(name), .width = width, .rows = {}, .rule = std::move(rule), .rule_options = {}, .ranges = 11};
}

/// Tables with random rows over some shards, and the same rows plainly. Every other row has two pushes, so that rules have a state.
struct Job {
  std::vector<TableSpec> specs;
  std::vector<std::vector<Table>> shards;
  std::vector<Rows> plain;   // by table

  Job(std::vector<TableSpec> tables, uint32_t number_of_shards) : specs(std::move(tables)) {
    for (uint32_t shard = 0; shard < number_of_shards; ++shard) {
      shards.emplace_back();
      for (const TableSpec& spec : specs) shards.back().push_back(*Table::Make(spec, shard, number_of_shards));
    }
    for (uint32_t t = 0; t < specs.size(); ++t) {
      plain.emplace_back();
      Random random(t + 1);
      for (uint32_t i = 0; i < 300; ++i) {
        const Key key = specs[t].rows ? i % *specs[t].rows : random.Below(2) == 0 ? random.Below(400) : random.Next();
        std::vector<float> gradient(specs[t].width);
        for (float& x : gradient) x = static_cast<float>(random.Normal());
        Table& table = Holder(t, key);
        BOOST_REQUIRE(table.Apply(table.partition().RangeOf(key), {&key, 1}, gradient.data()).ok());
        plain[t][key] = {};
      }
      Refresh(t);
    }
  }
  Table& Holder(uint32_t t, Key key) {
    const uint32_t range = shards[0][t].partition().RangeOf(key);
    return shards[shards[0][t].partition().ShardOf(range)][t];
  }
  /// The plain rows, from single pulls.
  void Refresh(uint32_t t) {
    for (auto& [key, row] : plain[t]) {
      std::vector<float> values(specs[t].width);
      const Table& table = Holder(t, key);
      BOOST_REQUIRE(table.Pull(table.partition().RangeOf(key), {&key, 1}, values.data()).ok());
      row.assign(values.begin(), values.end());
      if (!table.rule().wide()) continue;
      table.Visit(table.partition().RangeOf(key), [&, k = key, &r = row](Key at, const float* floats) {
        for (uint32_t j = 0; at == k && j < specs[t].width; ++j) r[j] = table.rule().Value(floats, specs[t].width, j, true);
      });
    }
  }

  absl::StatusOr<FunctionValue> Call(const FunctionCall& call) const {
    std::vector<Called> called;
    for (const std::vector<Table>& tables : shards) {
      auto running = RunningCall::Start(call, tables);
      if (!running.ok()) return running.status();
      for (;;) {
        const auto done = running->Advance(1);
        if (!done.ok()) return done.status();
        if (*done) break;
      }
      called.push_back(running->Answer());
    }
    return MergeCalled(call, specs, called);
  }
  void Change(const FunctionCall& call) {
    const auto function = MakeFunction(call, specs);
    BOOST_REQUIRE_MESSAGE(function.ok(), function.status().ToString());
    for (std::vector<Table>& tables : shards) ChangeTables(call, *function->change, tables);
  }
};

/// The answer over one shard, with the same bits over others and over whole tables.
FunctionValue Everywhere(const std::vector<TableSpec>& specs, const FunctionCall& call) {
  Job one(specs, 1);
  const auto expected = one.Call(call);
  BOOST_REQUIRE_MESSAGE(expected.ok(), expected.status().ToString());
  for (const uint32_t shards : {2U, 3U, 5U, 16U}) {
    const auto value = Job(specs, shards).Call(call);
    BOOST_REQUIRE_MESSAGE(value.ok(), value.status().ToString());
    BOOST_TEST((*value == *expected), call.function << " with " << shards << " shards");
  }
  const auto local = CallTables(call, one.shards[0]);
  BOOST_REQUIRE_MESSAGE(local.ok(), local.status().ToString());
  BOOST_TEST((*local == *expected));
  return *expected;
}

bool Near(double a, double b) {
  return std::abs(a - b) <= 1e-12 * std::max({1.0, std::abs(a), std::abs(b)});
}

/// Dense, sparse; rules that hold their values, derive them, keep more than a float.
std::vector<std::vector<TableSpec>> Kinds() {
  std::vector<std::vector<TableSpec>> kinds;
  for (const char* rule : {"sgd", "adagrad", "ftrl", "add", "adam"}) {
    for (const uint32_t width : {1U, 3U}) {
      kinds.push_back({Dense("a", rule, width, 100), Dense("b", rule, width, 100)});
      kinds.push_back({Sparse("a", rule, width), Sparse("b", rule, width)});
    }
  }
  TableSpec spared = Sparse("a", "ftrl", 2);
  spared.l1 = 0.1;
  spared.penalised_from = 200;
  kinds.push_back({spared, spared});
  kinds.push_back({Dense("a", "sgd", 5000, 9), Dense("b", "sgd", 5000, 9)});   // rows longer than a block
  return kinds;
}

void CheckRefused(const absl::Status& status, std::string_view says) {
  BOOST_TEST(absl::IsInvalidArgument(status), status.ToString());
  BOOST_TEST(Message(status).find(says) != std::string::npos, "'" << Message(status) << "' does not say '" << says << "'");
}

}   // namespace

BOOST_AUTO_TEST_SUITE(FunctionTest)

BOOST_AUTO_TEST_CASE(norms_are_those_of_a_plain_loop) {
  for (const auto& specs : Kinds()) {
    const Job job(specs, 1);
    double squares = 0, first_squares = 0, sum = 0, most = 0;
    for (const auto& [key, row] : job.plain[0]) {
      first_squares += row[0] * row[0];
      for (const double x : row) {
        squares += x * x;
        sum += std::abs(x);
        most = std::max(most, std::abs(x));
      }
    }
    BOOST_TEST(Near(Everywhere(specs, {.function = "norm"}).numbers.at(0), std::sqrt(squares)));
    BOOST_TEST(Near(Everywhere(specs, {.function = "norm", .words = {{"kind", "l1"}}}).numbers.at(0), sum));
    BOOST_TEST(Everywhere(specs, {.function = "norm", .words = {{"kind", "max"}}}).numbers.at(0) == most);
    BOOST_TEST(Near(Everywhere(specs, {.function = "norm", .numbers = {{"columns", {0}}}}).numbers.at(0), std::sqrt(first_squares)));
  }
}

BOOST_AUTO_TEST_CASE(rows_of_all_ranges_are_all_rows_and_counted) {
  for (const auto& specs : Kinds()) {
    const Job job(specs, 1);
    Rows all;
    for (uint32_t range = 0; range < RangeCount(specs[0]); ++range) {
      const FunctionValue rows = Everywhere(specs, {.function = "rows", .numbers = {{"range", {static_cast<double>(range)}}}});
      BOOST_REQUIRE(rows.numbers.size() == rows.keys.size() * specs[0].width);
      BOOST_TEST(std::ranges::is_sorted(rows.keys));
      for (size_t i = 0; i < rows.keys.size(); ++i) {
        const auto first = rows.numbers.begin() + static_cast<ptrdiff_t>(i * specs[0].width);
        BOOST_TEST(all.emplace(rows.keys[i], std::vector<double>(first, first + specs[0].width)).second);
      }
    }
    for (const auto& [key, row] : job.plain[0]) BOOST_TEST((all[key] == row));
    BOOST_TEST(Everywhere(specs, {.function = "count"}).numbers.at(0) == static_cast<double>(all.size()));
    if (!specs[0].rows) BOOST_TEST(all.size() == job.plain[0].size());
  }
  const std::vector<TableSpec> sparse = {Sparse("a", "add", 2)};
  CheckRefused(MakeFunction({.function = "rows"}, sparse).status(), "range");
  CheckRefused(MakeFunction({.function = "rows", .numbers = {{"range", {11}}}}, sparse).status(), "range is 11, expected");
  const auto rows = MakeFunction({.function = "rows", .numbers = {{"range", {1}}}}, sparse);
  CheckRefused(rows->read->CheckPart({{1, 2}, {1, 2, 3}}), "a part of 2 keys and 3 numbers, expected 2 for each");
  CheckRefused(MakeFunction({.function = "count"}, sparse)->read->CheckPart({{}, {1, 2}}), "expected one number");
}

BOOST_AUTO_TEST_CASE(dot_of_two_tables_and_of_given_rows) {
  for (const auto& specs : Kinds()) {
    Job job(specs, 1);
    const uint32_t width = specs[0].width;
    double tables = 0, rows = 0;
    FunctionCall given{.function = "dot"};
    Random random(9);
    for (const auto& [key, row] : job.plain[0]) {
      const auto other = job.plain[1].find(key);
      for (uint32_t j = 0; other != job.plain[1].end() && j < width; ++j) tables += row[j] * other->second[j];
      if (random.Below(3) > 0) continue;
      given.keys.insert(given.keys.begin(), key);
      std::vector<float> values(width);
      for (uint32_t j = 0; j < width; ++j) rows += row[j] * (values[j] = static_cast<float>(random.Normal()));
      given.values.insert(given.values.begin(), values.begin(), values.end());
    }
    if (!specs[0].rows) {   // a row that does not exist
      given.keys.push_back(401);
      given.values.insert(given.values.end(), width, 1.0F);
      BOOST_REQUIRE(!job.plain[0].contains(401));
    }
    BOOST_TEST(Near(Everywhere(specs, {.function = "dot", .tables = {0, 1}}).numbers.at(0), tables));
    BOOST_TEST(Near(Everywhere(specs, given).numbers.at(0), rows));
  }
}

BOOST_AUTO_TEST_CASE(top_k_ranks_rows_and_breaks_ties_by_key) {
  for (const auto& specs : Kinds()) {
    const Job job(specs, 1);
    for (const char* by : {"value", "abs", "norm"}) {
      for (const bool smallest : {false, true}) {
        const uint32_t column = specs[0].width - 1;
        std::vector<std::pair<double, Key>> all;
        for (const auto& [key, row] : job.plain[0]) {
          double squares = 0;
          for (const double x : row) squares += x * x;
          const std::string how = by;
          const double measure = how == "norm" ? std::sqrt(squares) : how == "abs" ? std::abs(row[column]) : row[column];
          all.emplace_back(smallest ? measure : -measure, key);
        }
        std::sort(all.begin(), all.end());
        for (const size_t k : {size_t{1}, size_t{7}, size_t{1000}}) {
          const FunctionValue top = Everywhere(specs, {.function = "top_k",
                                                       .numbers = {{"k", {static_cast<double>(k)}}, {"column", {static_cast<double>(column)}}},
                                                       .words = {{"by", by}, {"order", smallest ? "smallest" : "largest"}}});
          BOOST_REQUIRE_EQUAL(top.keys.size(), std::min(k, all.size()));
          for (size_t i = 0; i < top.keys.size(); ++i) {
            BOOST_TEST(top.keys[i] == all[i].second);
            BOOST_TEST(Near(top.numbers[i], smallest ? all[i].first : -all[i].first));
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(equal_rows_come_by_rising_key) {
  const FunctionValue top = Everywhere({Dense("a", "sgd", 1, 300)}, {.function = "top_k", .numbers = {{"k", {5}}}});
  BOOST_TEST(top.keys.size() == 5U);
  Job job({Dense("a", "sgd", 1, 300)}, 3);
  job.Change({.function = "apply", .numbers = {{"to", {2}}}, .words = {{"op", "set"}}});
  BOOST_TEST((job.Call({.function = "top_k", .numbers = {{"k", {3}}}})->keys == std::vector<Key>{0, 1, 2}));
}

BOOST_AUTO_TEST_CASE(sums_over_rows_and_a_function_of_ones_own) {
  for (const auto& specs : Kinds()) {
    const Job job(specs, 1);
    std::vector<double> sums(specs[0].width + 1), above(specs[0].width);
    for (const auto& [key, row] : job.plain[0]) {
      for (uint32_t j = 0; j < specs[0].width; ++j) {
        sums[j] += row[j];
        above[j] += row[j] > 0.25;
      }
      ++sums.back();
    }
    const FunctionValue sum = Everywhere(specs, {.function = "sum"});
    BOOST_REQUIRE_EQUAL(sum.numbers.size(), sums.size());
    for (size_t j = 0; j < sums.size(); ++j) BOOST_TEST(Near(sum.numbers[j], sums[j]));
    BOOST_TEST((Everywhere(specs, {.function = "count_above", .numbers = {{"above", {0.25}}}}).numbers == above));
  }
}

BOOST_AUTO_TEST_CASE(counts_of_an_add_table_are_exact) {
  Job job({Dense("a", "add", 1, 2)}, 2);
  const Key key = 1;
  const float big = 1 << 24, one = 1;
  job.Change({.function = "apply", .numbers = {{"to", {0}}}, .words = {{"op", "set"}}});
  for (const float x : {big, one, one, one}) BOOST_REQUIRE(job.Holder(0, key).Apply(job.Holder(0, key).partition().RangeOf(key), {&key, 1}, &x).ok());
  BOOST_TEST(job.Call({.function = "sum"})->numbers.at(0) == (1 << 24) + 3);
  BOOST_TEST(job.Call({.function = "dot", .keys = {1}, .values = {1}})->numbers.at(0) == (1 << 24) + 3);
}

BOOST_AUTO_TEST_CASE(empty_tables_have_answers_too) {
  const std::vector<TableSpec> specs{Sparse("a", "sgd", 3)};
  std::vector<Table> tables;
  tables.push_back(*Table::Make(specs[0], 0, 1));
  BOOST_TEST(CallTables({.function = "norm"}, tables)->numbers.at(0) == 0.0);
  BOOST_TEST((CallTables({.function = "sum"}, tables)->numbers == std::vector<double>(4)));
  BOOST_TEST(CallTables({.function = "top_k", .numbers = {{"k", {3}}}}, tables)->keys.empty());
  BOOST_TEST(CallTables({.function = "split_search", .numbers = {{"features", {3}}}}, tables)->keys.empty());
  BOOST_TEST(CallTables({.function = "dot", .keys = {5}, .values = {1, 1, 1}}, tables)->numbers.at(0) == 0.0);
}

BOOST_AUTO_TEST_CASE(histograms_of_one_group_are_added_up) {
  for (const auto& specs : {std::vector{Sparse("a", "add", 6)}, std::vector{Dense("a", "sgd", 6, 120)}}) {
    const Job job(specs, 1);
    std::map<Key, std::vector<double>> groups;
    for (const auto& [key, row] : job.plain[0]) {
      groups[key % 5].resize(6);
      for (size_t j = 0; j < 6; ++j) groups[key % 5][j] += row[j];
    }
    const FunctionValue merged = Everywhere(specs, {.function = "histogram_merge", .numbers = {{"groups", {5}}}});
    BOOST_REQUIRE_EQUAL(merged.keys.size(), groups.size());
    size_t at = 0;
    for (const auto& [group, sum] : groups) {
      BOOST_TEST(merged.keys[at] == group);
      for (size_t j = 0; j < 6; ++j) BOOST_TEST(Near(merged.numbers[at * 6 + j], sum[j]));
      ++at;
    }
  }
}

BOOST_AUTO_TEST_CASE(splits_are_the_best_of_all_that_are_allowed) {
  constexpr uint64_t kFeatures = 4, kBins = 5;
  for (const bool dense : {false, true}) {
    const std::vector<TableSpec> specs{dense ? Dense("a", "add", 3 * kBins, 40) : Sparse("a", "add", 3 * kBins)};
    for (const bool strict : {false, true}) {
      const double lambda = 0.5, alpha = strict ? 0.2 : 0, weight = strict ? 1.5 : 0, rows_min = strict ? 2 : 0, min_gain = strict ? 0.3 : 0;
      const auto prepare = [](Job& job) {   // hessians and rows are not negative
        for (std::vector<Table>& tables : job.shards) {
          ChangeTables(
              {.function = "apply", .numbers = {{"columns", {1, 2, 4, 5, 7, 8, 10, 11, 13, 14}}}, .words = {{"op", "abs"}}},
              *MakeFunction({.function = "apply", .numbers = {{"columns", {1, 2, 4, 5, 7, 8, 10, 11, 13, 14}}}, .words = {{"op", "abs"}}}, job.specs)->change,
              tables);
        }
        job.Refresh(0);
      };
      Job job(specs, 1);
      prepare(job);
      const auto score = [&](double g, double h) { return std::pow(std::max(std::abs(g) - alpha, 0.0), 2) / (h + lambda); };
      struct Best {
        double gain = 0;
        Key feature = 0, bin = 0;
      };
      std::map<Key, Best> expected;
      for (const auto& [key, row] : job.plain[0]) {
        for (size_t bin = 0; bin + 1 < kBins; ++bin) {
          double left[3] = {}, right[3] = {};
          for (size_t b = 0; b < kBins; ++b)
            for (size_t i = 0; i < 3; ++i) (b <= bin ? left : right)[i] += row[3 * b + i];
          if (left[1] < weight || right[1] < weight || left[2] < rows_min || right[2] < rows_min) continue;
          const double gain = (score(left[0], left[1]) + score(right[0], right[1]) - score(left[0] + right[0], left[1] + right[1])) / 2 - min_gain;
          Best& best = expected[key / kFeatures];
          if (gain > best.gain + 1e-9) best = {gain, key % kFeatures, bin};
        }
      }
      std::erase_if(expected, [](const auto& node) { return node.second.gain <= 0; });
      const FunctionCall call{.function = "split_search",
                              .numbers = {{"features", {kFeatures}},
                                          {"lambda", {lambda}},
                                          {"alpha", {alpha}},
                                          {"min_child_weight", {weight}},
                                          {"min_child_rows", {rows_min}},
                                          {"min_gain", {min_gain}}}};
      const FunctionValue found = *job.Call(call);
      for (const uint32_t shards : {2U, 5U}) {
        Job other(specs, shards);
        prepare(other);
        BOOST_TEST((*other.Call(call) == found));
      }
      BOOST_REQUIRE_EQUAL(found.keys.size(), 3 * expected.size());
      BOOST_TEST(expected.size() > 2U);
      size_t at = 0;
      for (const auto& [node, best] : expected) {
        BOOST_TEST(found.keys[3 * at] == node);
        BOOST_TEST(found.keys[3 * at + 1] == best.feature);
        BOOST_TEST(found.keys[3 * at + 2] == best.bin);
        BOOST_TEST(Near(found.numbers[7 * at], best.gain));
        ++at;
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(of_equal_splits_the_lower_feature_and_bin_wins) {
  std::vector<Table> tables;
  tables.push_back(*Table::Make(Sparse("a", "add", 9), 0, 1));
  const float histogram[] = {-1, 1, 1, 0, 0, 0, 1, 1, 1};   // the empty bin in the middle may go to either side
  for (const Key key : {7, 6, 5, 1}) BOOST_REQUIRE(tables[0].Apply(tables[0].partition().RangeOf(key), {&key, 1}, histogram).ok());
  const FunctionValue found = *CallTables({.function = "split_search", .numbers = {{"features", {4}}, {"lambda", {0}}}}, tables);
  BOOST_TEST((found.keys == std::vector<Key>{0, 1, 0, 1, 1, 0}));
  BOOST_TEST((found.numbers == std::vector<double>{1, -1, 1, 1, 1, 1, 1, 1, -1, 1, 1, 1, 1, 1}));   // (1 + 1 - 0) / 2
}

BOOST_AUTO_TEST_CASE(apply_makes_of_every_row_what_a_plain_loop_makes) {
  const std::vector<std::pair<FunctionCall, std::function<double(double)>>> ops = {
      {{.function = "apply", .numbers = {{"by", {0.5}}}, .words = {{"op", "scale"}}}, [](double x) { return 0.5 * x; }},
      {{.function = "apply", .numbers = {{"by", {2}}}, .words = {{"op", "add"}}}, [](double x) { return x + 2; }},
      {{.function = "apply", .numbers = {{"to", {3}}}, .words = {{"op", "set"}}}, [](double) { return 3; }},
      {{.function = "apply", .numbers = {{"low", {-0.25}}, {"high", {0.125}}}, .words = {{"op", "clip"}}},
       [](double x) { return std::clamp(x, -0.25, 0.125); }},
      {{.function = "apply", .numbers = {{"low", {0}}}, .words = {{"op", "clip"}}}, [](double x) { return std::max(x, 0.0); }},
      {{.function = "apply", .words = {{"op", "abs"}}}, [](double x) { return std::abs(x); }},
      {{.function = "apply", .words = {{"op", "square"}}}, [](double x) { return x * x; }},
      {{.function = "apply", .words = {{"op", "exp"}}}, [](double x) { return std::exp(x); }},
      {{.function = "apply", .words = {{"op", "sqrt"}}}, [](double x) { return x < 0 ? x : std::sqrt(x); }},   // not finite: stays
      {{.function = "apply", .words = {{"op", "log"}}}, [](double x) { return x <= 0 ? x : std::log(x); }}};
  for (const auto& specs : Kinds()) {
    for (const uint32_t shards : {1U, 3U}) {
      for (const auto& [call, op] : ops) {
        Job job(specs, shards);
        std::vector<Rows> expected = job.plain;
        for (auto& [key, row] : expected[0])
          for (double& x : row) x = static_cast<float>(op(x));
        job.Change(call);
        job.Refresh(0);
        // ftrl makes its values of z when they are read; rows of add that stay as they are keep what they have beyond a float.
        const double tolerance = specs[0].rule == "ftrl" ? 1e-5 : specs[0].rule == "add" ? 1e-6 : 0;
        double worst = 0;
        for (const auto& [key, row] : expected[0])
          for (size_t j = 0; j < row.size(); ++j) worst = std::max(worst, std::abs(job.plain[0][key][j] - row[j]));
        BOOST_TEST(worst <= tolerance, call.words.at("op") << " on rule " << specs[0].rule << ": " << worst);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(apply_changes_the_columns_it_is_told_and_counts_what_it_could_not) {
  Job job({Dense("a", "sgd", 3, 20)}, 1);
  const std::vector<Rows> before = job.plain;
  job.Change({.function = "apply", .numbers = {{"to", {9}}, {"columns", {2, 0}}}, .words = {{"op", "set"}}});
  job.Refresh(0);
  for (const auto& [key, row] : before[0]) BOOST_TEST((job.plain[0][key] == std::vector<double>{9, row[1], 9}));
  job.Change({.function = "apply", .numbers = {{"to", {-1}}, {"columns", {2}}}, .words = {{"op", "set"}}});
  BOOST_TEST(job.shards[0][0].non_finite() == 0U);
  job.Change({.function = "apply", .numbers = {{"columns", {2}}}, .words = {{"op", "sqrt"}}});
  job.Change({.function = "apply", .numbers = {{"by", {3e38}}, {"columns", {0}}}, .words = {{"op", "scale"}}});   // beyond a float
  BOOST_TEST(job.shards[0][0].non_finite() == 40U);
  job.Refresh(0);
  for (const auto& [key, row] : before[0]) BOOST_TEST((job.plain[0][key] == std::vector<double>{9, row[1], -1}));
}

BOOST_AUTO_TEST_CASE(a_change_leaves_the_state_of_a_rule_and_rows_that_do_not_exist) {
  Job job({Sparse("a", "adagrad", 1)}, 1), same({Sparse("a", "adagrad", 1)}, 1);
  Table& table = job.shards[0][0];
  const uint64_t rows = table.rows();
  job.Change({.function = "become_key"});
  BOOST_TEST(table.rows() == rows);
  for (uint32_t range = 0; range < 11; ++range) {
    std::map<Key, float> state;
    same.shards[0][0].Visit(range, [&](Key key, const float* row) { state[key] = row[1]; });
    table.Visit(range, [&](Key key, const float* row) {
      BOOST_TEST(row[0] == static_cast<float>(key));
      BOOST_TEST(row[1] == state.at(key));
    });
  }
}

BOOST_AUTO_TEST_CASE(wrong_calls_are_named) {
  TableSpec drawn = Sparse("drawn", "sgd", 2);
  drawn.init = {.kind = RowInit::Kind::kNormal, .scale = 1};
  TableSpec fine = Dense("fine", "sgd", 2, 10);
  fine.ranges = 3;
  const std::vector<TableSpec> tables{Dense("d", "sgd", 2, 10), Sparse("s", "sgd", 2), Dense("wide", "sgd", 4, 10), Dense("long", "sgd", 2, 11), drawn, fine};
  const auto refused = [&](const FunctionCall& call, std::string_view says) { CheckRefused(MakeFunction(call, tables).status(), says); };
  refused({.function = "nrm"}, "unknown function 'nrm'; did you mean 'norm'?");
  refused({.function = "zzzzzzzzzzzzz"},
          "unknown function 'zzzzzzzzzzzzz'; known: apply, become_key, count, count_above, diff, dot, drop, fork, histogram_merge, merge, norm, rows, "
          "split_search, sum, top_k");
  refused({.function = "norm", .tables = {6}}, "function 'norm': table is 6, expected < 6");
  refused({.function = "norm", .tables = {}}, "function 'norm': 0 tables, expected 1");
  refused({.function = "norm", .tables = {0, 0}}, "function 'norm': 2 tables, expected 1");
  refused({.function = "dot", .tables = {0, 0, 0}}, "function 'dot': 3 tables, expected 1 .. 2");
  refused({.function = "norm", .words = {{"knd", "l1"}}}, "function 'norm': unknown argument 'knd'; did you mean 'kind'?");
  refused({.function = "norm", .numbers = {{"column", {1}}}}, "function 'norm': unknown argument 'column'; did you mean 'columns'?");
  refused({.function = "norm", .words = {{"kind", "l3"}}}, "function 'norm': unknown kind 'l3'; did you mean 'l");
  refused({.function = "norm", .numbers = {{"columns", {2}}}}, "function 'norm': column is 2, expected 0 .. 1");
  refused({.function = "norm", .numbers = {{"columns", {0.5}}}}, "column is 0.5");
  refused({.function = "norm", .numbers = {{"columns", {std::nan("")}}}}, "column is nan");
  refused({.function = "norm", .numbers = {{"columns", {1, 1}}}}, "columns has one twice");
  refused({.function = "norm", .numbers = {{"columns", {}}}}, "columns is empty");
  refused({.function = "norm", .keys = {1}}, "function 'norm': rows were given, but it takes none");
  refused({.function = "top_k"}, "function 'top_k': k is missing, expected 1 .. 1e+06");
  refused({.function = "top_k", .numbers = {{"k", {0}}}}, "function 'top_k': k is 0, expected 1 .. 1e+06");
  refused({.function = "top_k", .numbers = {{"k", {2.5}}}}, "k is 2.5, expected a whole number");
  refused({.function = "top_k", .numbers = {{"k", {1, 2}}}}, "k is 2 numbers, expected one");
  refused({.function = "top_k", .numbers = {{"k", {1}}, {"column", {2}}}}, "column is 2, expected 0 .. 1");
  refused({.function = "dot"}, "function 'dot': rows are missing, expected a second table or rows");
  refused({.function = "dot", .keys = {1}, .values = {1}}, "function 'dot': 1 values for 1 rows of width 2, expected 2");
  refused({.function = "dot", .keys = {1, 1}, .values = {1, 2, 3, 4}}, "row 1 is given twice");
  refused({.function = "dot", .keys = {10}, .values = {1, 2}}, "row is 10, expected < 10");
  refused({.function = "dot", .tables = {0, 1}}, "table 's' has no fixed rows (it is sparse), expected 10 rows as table 'd'");
  refused({.function = "dot", .tables = {0, 2}}, "table 'wide' has width 4, expected 2 as table 'd'");
  refused({.function = "dot", .tables = {0, 3}}, "table 'long' has 11 rows, expected 10 rows as table 'd'");
  refused({.function = "dot", .tables = {0, 5}}, "table 'fine' has 3 ranges, expected 7 as table 'd'");
  refused({.function = "dot", .tables = {1, 4}}, "table 'drawn' is sparse and its rows do not begin as zeros");
  refused({.function = "dot", .tables = {0, 0}, .keys = {1}}, "rows were given, but it takes none");
  refused({.function = "apply"}, "op is missing, expected one of scale, add");
  refused({.function = "apply", .words = {{"op", "scle"}}}, "unknown op 'scle'; did you mean 'scale'?");
  refused({.function = "apply", .words = {{"op", "scale"}}}, "by is missing");
  refused({.function = "apply", .numbers = {{"by", {INFINITY}}}, .words = {{"op", "add"}}}, "by is inf");
  refused({.function = "apply", .numbers = {{"low", {2}}, {"high", {1}}}, .words = {{"op", "clip"}}}, "high is 1, expected 2 ..");
  refused({.function = "apply", .numbers = {{"by", {2}}}, .words = {{"op", "abs"}}}, "unknown argument 'by'");
  refused({.function = "histogram_merge"}, "groups is missing");
  refused({.function = "split_search", .numbers = {{"features", {1}}}}, "table 'd' has width 2, expected a multiple of 3");
  const FunctionCall change{.function = "become_key"};
  std::vector<Table> made;
  for (const TableSpec& spec : tables) made.push_back(*Table::Make(spec, 0, 1));
  CheckRefused(RunningCall::Start(change, made).status(), "function 'become_key' changes rows: it travels with a push");
  CheckRefused(MergeCalled(change, tables, {}).status(), "function 'become_key' changes rows");
}

BOOST_AUTO_TEST_CASE(answers_that_are_cut_or_of_something_else_are_refused) {
  const std::vector<TableSpec> specs{Dense("a", "sgd", 3, 100)};
  const Job job(specs, 2);
  const FunctionCall call{.function = "norm"};
  std::vector<Called> good;
  for (const std::vector<Table>& tables : job.shards) {
    auto running = RunningCall::Start(call, tables);
    BOOST_REQUIRE(*running->Advance(UINT64_MAX));
    good.push_back(running->Answer());
  }
  BOOST_REQUIRE(MergeCalled(call, specs, good).ok());
  const auto refused = [&](std::string_view says, const std::function<void(std::vector<CalledPart>&, std::vector<double>&, Called&)>& spoil) {
    std::vector<Called> bad = good;
    const auto parts = bad[1].parts.As<CalledPart>();
    const auto numbers = bad[1].numbers.As<double>();
    std::vector<CalledPart> spoilt(parts.begin(), parts.end());
    std::vector<double> spoilt_numbers(numbers.begin(), numbers.end());
    spoil(spoilt, spoilt_numbers, bad[1]);
    bad[1].parts = Block::Adopt(std::move(spoilt));
    bad[1].numbers = Block::Adopt(std::move(spoilt_numbers));
    CheckRefused(MergeCalled(call, specs, bad).status(), says);
  };
  refused("function 'norm': answer of shard 1: a part of range 5, expected range 4 of 7", [](auto& parts, auto&, auto&) { parts[0].first = 5; });
  refused("answer of shard 1: a part of 3 ranges from 4, expected a power of two that divides it", [](auto& parts, auto&, auto&) { parts[0].size = 3; });
  refused("a part of 8 ranges from 4", [](auto& parts, auto&, auto&) { parts[0].size = 8; });
  refused("fewer keys or numbers than its parts say", [](auto& parts, auto&, auto&) { parts[0].numbers = 9; });
  refused("fewer keys or numbers than its parts say", [](auto& parts, auto&, auto&) { parts[0].keys = UINT64_MAX; });
  refused("more keys or numbers than its parts say", [](auto&, auto& numbers, auto&) { numbers.push_back(1); });
  refused("norm: a part of 0 keys and 2 numbers, expected one number", [](auto& parts, auto& numbers, auto&) {
    parts[0].numbers = 2;
    numbers.push_back(1);
  });
  refused("function 'norm': the parts end before range 4, expected 7 ranges", [](auto& parts, auto& numbers, auto&) {
    parts.clear();
    numbers.clear();
  });
  std::vector<Called> cut = good;
  cut[0].numbers = cut[0].numbers.Slice(0, 7);
  CheckRefused(MergeCalled(call, specs, cut).status(), "answer of shard 0: arrays are cut or not aligned");
  CheckRefused(MergeCalled(call, specs, {&good[1], 1}).status(), "a part of range 4, expected range 0 of 7");
  const std::vector<Called> twice{good[0], good[1], good[1]};
  CheckRefused(MergeCalled(call, specs, twice).status(), "answer of shard 2: a part of range 4");
  // Every function looks at its own parts.
  const std::vector<std::pair<FunctionCall, FunctionValue>> wrong = {
      {{.function = "dot", .tables = {0, 0}}, {{1}, {1}}},
      {{.function = "sum"}, {{}, {1}}},
      {{.function = "top_k", .numbers = {{"k", {1}}}}, {{1, 2}, {1, 2}}},
      {{.function = "top_k", .numbers = {{"k", {1}}}}, {{1}, {}}},
      {{.function = "histogram_merge", .numbers = {{"groups", {2}}}}, {{1, 0}, {1, 1, 1, 1, 1, 1}}},
      {{.function = "histogram_merge", .numbers = {{"groups", {2}}}}, {{2}, {1, 1, 1}}},
      {{.function = "histogram_merge", .numbers = {{"groups", {2}}}}, {{1}, {1}}},
      {{.function = "split_search", .numbers = {{"features", {2}}}}, {{1, 1}, {}}},
      {{.function = "split_search", .numbers = {{"features", {2}}}}, {{1, 1, 1}, {1}}},
      {{.function = "split_search", .numbers = {{"features", {2}}}}, {{1, 1, 1, 1, 1, 1}, std::vector<double>(14)}}};
  for (const auto& [function, part] : wrong) CheckRefused(MakeFunction(function, specs)->read->CheckPart(part), "a part of");
}

BOOST_AUTO_TEST_CASE(an_answer_that_is_too_long_is_refused) {
  std::vector<Table> tables;
  tables.push_back(*Table::Make(Sparse("a", "sgd", 65536), 0, 1));
  const std::vector<float> ones(65536, 1);
  for (Key key = 0; key < 150; ++key) BOOST_REQUIRE(tables[0].Apply(tables[0].partition().RangeOf(key), {&key, 1}, ones.data()).ok());
  CheckRefused(CallTables({.function = "histogram_merge", .numbers = {{"groups", {1000}}}}, tables).status(), "the answer of a shard takes more than");
  BOOST_TEST(CallTables({.function = "histogram_merge", .numbers = {{"groups", {10}}}}, tables).ok());
}

// --- changes as pushes ---

namespace {

constexpr uint32_t kWriters = 3;

/// Of one writer: counts, then x2, then counts, then +1, so that the order of gradients and changes can be seen. `after`: as a trainer's phases have it.
std::vector<Push> WritersMessages(const std::vector<TableSpec>& tables, uint32_t writer, size_t chunks) {
  const Router router(tables, 1);
  std::vector<Sequence> last(router.slots());
  std::vector<Push> messages;
  Round done = kFirstRound;
  for (uint64_t phase = 1; phase <= 4; ++phase) {
    const bool changes = phase % 2 == 0;
    for (uint64_t i = 1; i <= (changes ? 1U : 3U); ++i) {
      const bool end = changes || i == 3;
      const Round round = end ? MakeRound(phase + 1, 0) : MakeRound(phase, i);
      RoutedPush routed = router.Push({});
      if (!end) {
        TablePush push{.table = 0, .keys = {}, .values = {}, .nonzeros = {}};
        for (Key key = 0; key < 12; ++key) push.keys.push_back(key * 7);
        push.values.assign(24, static_cast<float>(1 + writer + i));
        routed = router.Push({push});
      }
      std::vector<PushPart> parts = routed.shards[0][0].parts;
      size_t row = 0;
      for (size_t begin = 0; begin == 0 || begin < parts.size(); begin += chunks) {
        const size_t stop = std::min(begin + chunks, parts.size());
        std::vector<PushPart> own(parts.begin() + static_cast<ptrdiff_t>(begin), parts.begin() + static_cast<ptrdiff_t>(stop));
        size_t rows = 0;
        for (PushPart& part : own) {
          part.sequence = round << 8;
          part.previous = std::exchange(last[router.Slot(part.table, part.range)], part.sequence);
          rows += part.count;
        }
        Push push{.writer = WriterId{writer}, .round = round, .previous = done, .parts = {}, .keys = {}, .values = {}};
        push.round_over = stop == parts.size();
        push.chunk = static_cast<uint32_t>(begin / chunks);
        push.parts = Block::Adopt(std::move(own));
        push.keys = routed.shards[0][0].keys.Slice(row * sizeof(Key), rows * sizeof(Key));
        push.values = routed.shards[0][0].values.Slice(row * 2 * sizeof(float), rows * 2 * sizeof(float));
        row += rows;
        push.after = phase == 1 ? 0 : phase == 4 ? MakeRound(4, 0) : phase == 2 ? MakeRound(2, 0) : MakeRound(3, 0);
        if (changes && writer == 0) {
          push.change =
              std::make_shared<const FunctionCall>(phase == 2 ? FunctionCall{.function = "apply", .numbers = {{"by", {2}}}, .words = {{"op", "scale"}}}
                                                              : FunctionCall{.function = "apply", .numbers = {{"by", {1}}}, .words = {{"op", "add"}}});
        }
        messages.push_back(push);
      }
      done = round;
    }
  }
  return messages;
}

std::vector<TableSpec> CountTables() {
  TableSpec spec = Sparse("n", "add", 2);
  spec.combine = TableSpec::Combine::kSum;
  return {spec};
}
Shard CountShard(const Consistency& consistency) {
  return *Shard::Make({.tables = CountTables(), .writers = kWriters, .consistency = consistency});
}
/// Two phases of 2 batches: (2 * (2+3 + 3+4 + 4+5) + 2+3 + 3+4 + 4+5) + 1.
constexpr double kCount = 3 * 21 + 1;

void CheckCounts(const Shard& shard, const std::string& about) {
  size_t rows = 0;
  for (uint32_t range = 0; range < 11; ++range) {
    shard.tables()[0].Visit(range, [&](Key, const float* row) {
      ++rows;
      BOOST_TEST(row[0] == kCount, about << ": " << row[0]);
    });
  }
  BOOST_TEST(rows == 12U);
}

}   // namespace

BOOST_AUTO_TEST_CASE(a_change_counts_once_and_in_its_place_whatever_happens_to_messages_and_shard) {
  for (const Consistency& consistency :
       {Consistency{}, Consistency{.kind = Consistency::Kind::kSsp, .staleness = 2}, Consistency{.kind = Consistency::Kind::kAsp}}) {
    for (uint64_t seed = 1; seed <= 60; ++seed) {
      Random random(seed);
      const size_t chunks = 1 + random.Below(20);
      std::vector<std::vector<Push>> script;
      for (uint32_t writer = 0; writer < kWriters; ++writer) script.push_back(WritersMessages(CountTables(), writer, chunks));
      Shard shard = CountShard(consistency);
      std::vector<SnapshotSection> saved = shard.Save();
      std::vector<size_t> next(kWriters);
      while (shard.applied() < MakeRound(5, 0)) {
        const uint64_t writer = random.Below(kWriters), what = random.Below(20);
        if (what == 0) saved = shard.Save();
        if (what == 1) {   // the shard falls back
          if (random.Below(2) == 0) shard = CountShard(consistency);
          BOOST_REQUIRE(shard.Load(saved).ok());
          for (uint32_t w = 0; w < kWriters; ++w) {
            const Round clock = shard.OnOpen({WriterId{w}})->clock;
            next[w] = static_cast<size_t>(std::ranges::count_if(script[w], [clock](const Push& push) { return push.round <= clock; }));
          }
        }
        const size_t message = what < 5 ? random.Below(script[writer].size()) : std::min(next[writer], script[writer].size() - 1);
        const auto pushed = shard.OnPush(script[writer][message]);
        if (absl::IsUnavailable(pushed.status())) continue;   // too early: it comes again
        BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
        if (message == next[writer] && pushed->outcome == Pushed::Outcome::kApplied) ++next[writer];
      }
      CheckCounts(shard, ToString(consistency) + ", seed " + std::to_string(seed));
    }
  }
}

BOOST_AUTO_TEST_CASE(bsp_applies_changes_after_the_gradients_in_the_order_of_the_writers) {
  Shard shard = *Shard::Make({.tables = CountTables(), .writers = 2, .consistency = {}});
  const Router router(CountTables(), 1);
  const Key key = 3;
  for (const uint32_t writer : {1U, 0U}) {
    RoutedPush routed = router.Push({{.table = 0, .keys = {key}, .values = {1, 1}, .nonzeros = {}}});
    routed.shards[0][0].parts[0].sequence = 1;
    Push push{.writer = WriterId{writer},
              .round = MakeRound(1, 1),
              .previous = kFirstRound,
              .parts = {},
              .keys = routed.shards[0][0].keys,
              .values = routed.shards[0][0].values};
    push.parts = Block::Adopt(routed.shards[0][0].parts);
    push.change = std::make_shared<const FunctionCall>(
        FunctionCall{.function = "apply", .numbers = {{"by", {writer == 0 ? 10.0 : 5.0}}}, .words = {{"op", writer == 0 ? "scale" : "add"}}});
    BOOST_REQUIRE(shard.OnPush(push).ok());
  }
  float values[2];
  BOOST_REQUIRE(shard.tables()[0].Pull(shard.tables()[0].partition().RangeOf(key), {&key, 1}, values).ok());
  BOOST_TEST(values[0] == 25.0F);   // (1 + 1) * 10 + 5
}

BOOST_AUTO_TEST_CASE(a_push_with_a_wrong_change_is_refused_and_changes_nothing) {
  Shard shard = CountShard({.kind = Consistency::Kind::kAsp});
  const auto push = [](const FunctionCall& call, bool over = true) {
    Push made{.round = MakeRound(1, 1), .previous = kFirstRound, .round_over = over, .parts = {}, .keys = {}, .values = {}};
    made.change = std::make_shared<const FunctionCall>(call);
    return made;
  };
  CheckRefused(shard.OnPush(push({.function = "aply"})).status(), "unknown function 'aply'; did you mean 'apply'?");
  CheckRefused(shard.OnPush(push({.function = "norm"})).status(), "function 'norm' changes nothing, expected one that changes rows");
  CheckRefused(shard.OnPush(push({.function = "apply"})).status(), "op is missing");
  CheckRefused(shard.OnPush(push({.function = "become_key"}, false)).status(), "a function before the end of its round");
  BOOST_TEST(shard.version() == 0U);
  BOOST_TEST(shard.min_clock() == kFirstRound);
  Push early = push({.function = "become_key"});
  early.after = MakeRound(1, 1);
  BOOST_TEST(absl::IsUnavailable(shard.OnPush(early).status()));
  BOOST_TEST(shard.version() == 0U);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
