// Tables against a plain map of rows with the same rule, under random calls; and every call that must change nothing.
#include "ps/table.h"

#include <algorithm>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "actors/text.h"
#include "ps/round_sum.h"

namespace troupe {
namespace {

TableSpec Spec(const std::string& rule, uint32_t width, std::optional<uint64_t> rows = {}, uint32_t ranges = 4) {
  TableSpec spec;
  spec.name = "w";
  spec.rule = rule;
  spec.width = width;
  spec.rows = rows;
  spec.ranges = ranges;
  if (rule != "add" && rule != "lamb") {
    spec.l1 = 0.01;
    spec.l2 = 0.02;
    spec.penalised_from = 3;
  }
  return spec;
}

Table Make(const TableSpec& spec, uint32_t shard = 0, uint32_t shards = 1) {
  auto table = Table::Make(spec, shard, shards);
  BOOST_REQUIRE_MESSAGE(table.ok(), table.status().ToString());
  return std::move(*table);
}

/// A table as one would write it without thought for speed.
struct Oracle {
  TableSpec spec;
  std::unique_ptr<UpdateRule> rule;
  std::map<Key, std::vector<float>> rows, sums;

  explicit Oracle(const TableSpec& s) : spec(s), rule(*MakeUpdateRule(s)) {
    for (Key key = 0; key < s.rows.value_or(0); ++key) Row(key);
  }
  std::vector<float>& Row(Key key) { return rows.try_emplace(key, rule->floats(spec.width)).first->second; }
  void Apply(Key key, const float* gradient) {
    float* row = Row(key).data();
    const bool penalised[] = {key >= spec.penalised_from};
    rule->ApplyRows({&row, 1}, gradient, spec.width, penalised, 1);
  }
  void Accumulate(Key key, const float* gradient) {
    auto& sum = sums.try_emplace(key, spec.width).first->second;
    for (uint32_t i = 0; i < spec.width; ++i) sum[i] += gradient[i];
  }
  void FinishRound(float divisor) {
    for (auto& [key, sum] : sums) {
      for (float& x : sum) x /= divisor;
      Apply(key, sum.data());
    }
    sums.clear();
  }
  void Assign(Key key, const float* values) { rule->Set(Row(key).data(), spec.width, key >= spec.penalised_from, values); }
};

/// A RoundSum that keeps what is added to it.
class OneRound {
 public:
  explicit OneRound(Table& table) : table_(table) {}
  void Accumulate(uint32_t range, const std::vector<Key>& keys, const std::vector<float>& gradient) {
    const auto& [kept_keys, kept_gradient] = kept_.emplace_back(keys, gradient);
    Add({RowSet::Of(range, kept_keys), kept_gradient.data()});
  }
  void AccumulateDense(uint32_t range, Key first, uint64_t n, const std::vector<float>& gradient) {
    Add({RowSet::Run(range, first, n), kept_.emplace_back(std::vector<Key>(), gradient).second.data()});
  }
  void Finish(float divisor) {
    sum_.ApplyTo(table_, divisor);
    kept_.clear();
  }

 private:
  void Add(const RowsIn& share) {
    BOOST_REQUIRE(table_.Check({&share, 1}).ok());
    sum_.Add(share);
  }
  Table& table_;
  RoundSum sum_;
  std::deque<std::pair<std::vector<Key>, std::vector<float>>> kept_;
};

std::map<Key, std::vector<float>> Contents(const Table& table) {
  std::map<Key, std::vector<float>> rows;
  const size_t floats = table.rule().floats(table.spec().width);
  for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
    Key last = 0;
    bool first = true;
    if (!table.Owns(range)) continue;
    table.Visit(range, [&](Key key, const float* row) {
      BOOST_REQUIRE((first || key > last));
      BOOST_REQUIRE_EQUAL(table.partition().RangeOf(key), range);
      first = false;
      last = key;
      rows.emplace(key, std::vector<float>(row, row + floats));
    });
  }
  return rows;
}

absl::Status Check(const Table& table, const RowSet& rows, const std::vector<float>& gradient) {
  const RowsIn in{rows, gradient.data()};
  return table.Check({&in, 1});
}

std::string Bytes(const Table& table) {
  std::string bytes;
  for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
    if (!table.Owns(range)) continue;
    const Block block = table.Save(range);
    bytes.append(reinterpret_cast<const char*>(block.data()), block.size());
  }
  return bytes;
}

/// Distinct keys of one range; sparse ones lie close, far and at the ends of what 64 bits hold.
std::vector<Key> KeysOf(const Table& table, uint32_t range, size_t wanted, std::mt19937_64& random) {
  const Partition& partition = table.partition();
  std::set<Key> keys;
  if (partition.dense()) {
    for (uint64_t i = 0; i < partition.RowsIn(range); ++i) {
      if (random() % partition.RowsIn(range) < wanted) keys.insert(partition.FirstRow(range) + i);
    }
    return {keys.begin(), keys.end()};
  }
  for (size_t i = 0; i < 8 * wanted + 8; ++i) {
    const Key choices[] = {0, 1, ~Key{0}, ~Key{0} - 1, random() % 3000, random(), Key{1} << 63, (random() % 64) << 58};
    const Key key = choices[random() % 8];
    if (partition.RangeOf(key) == range && keys.size() < wanted) keys.insert(key);
  }
  return {keys.begin(), keys.end()};
}

std::vector<float> Numbers(size_t n, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> numbers(n);
  for (float& x : numbers) x = normal(random);
  return numbers;
}

void RandomCalls(const TableSpec& spec, uint64_t seed) {
  std::mt19937_64 random(seed);
  Table table = Make(spec);
  OneRound round(table);
  Oracle oracle(spec);
  for (int call = 0; call < 300; ++call) {
    const uint32_t range = static_cast<uint32_t>(random() % table.partition().ranges());
    std::vector<Key> keys = KeysOf(table, range, random() % 10 == 0 ? 500 : random() % 40, random);
    const std::vector<float> numbers = Numbers(keys.size() * spec.width, random);
    const Key first = keys.empty() ? table.partition().FirstRow(range) : keys.front();
    size_t run = 0;   // leading keys that follow each other
    while (table.partition().dense() && run < keys.size() && keys[run] == first + run) ++run;
    switch (random() % 7) {
      case 0:
        BOOST_REQUIRE(table.Apply(range, keys, numbers.data()).ok());
        for (size_t i = 0; i < keys.size(); ++i) oracle.Apply(keys[i], &numbers[i * spec.width]);
        break;
      case 1:
      case 2:
        round.Accumulate(range, keys, numbers);
        for (size_t i = 0; i < keys.size(); ++i) oracle.Accumulate(keys[i], &numbers[i * spec.width]);
        break;
      case 3: {
        const float divisor = static_cast<float>(1 + random() % 3);
        round.Finish(divisor);
        oracle.FinishRound(divisor);
        break;
      }
      case 4:
        if (random() % 4 > 0) break;
        BOOST_REQUIRE(table.Assign(range, keys, numbers.data()).ok());
        for (size_t i = 0; i < keys.size(); ++i) oracle.Assign(keys[i], &numbers[i * spec.width]);
        break;
      case 5: {
        std::shuffle(keys.begin(), keys.end(), random);
        std::vector<float> out(keys.size() * spec.width, 99);
        BOOST_REQUIRE(table.Pull(range, keys, out.data()).ok());
        for (size_t i = 0; i < keys.size(); ++i) {
          const auto row = oracle.rows.find(keys[i]);
          for (uint32_t j = 0; j < spec.width; ++j) {
            const double value = row == oracle.rows.end() ? 0 : oracle.rule->Value(row->second.data(), spec.width, j, keys[i] >= spec.penalised_from);
            BOOST_REQUIRE_EQUAL(out[i * spec.width + j], static_cast<float>(value));
          }
        }
        break;
      }
      default:
        if (!table.partition().dense()) break;
        if (random() % 2) {
          BOOST_REQUIRE(table.ApplyDense(range, first, run, numbers.data()).ok());
          for (size_t i = 0; i < run; ++i) oracle.Apply(first + i, &numbers[i * spec.width]);
        } else {
          round.AccumulateDense(range, first, run, numbers);
          for (size_t i = 0; i < run; ++i) oracle.Accumulate(first + i, &numbers[i * spec.width]);
        }
    }
  }
  BOOST_TEST((Contents(table) == oracle.rows), spec.rule << " width " << spec.width << (spec.rows ? " dense" : " sparse"));
  BOOST_TEST(table.rows() == oracle.rows.size());
}

}   // namespace

BOOST_AUTO_TEST_SUITE(TableTest)

BOOST_AUTO_TEST_CASE(random_calls_leave_what_a_plain_map_holds) {
  uint64_t seed = 1;
  for (const std::string& rule : UpdateRuleNames()) {
    for (const uint32_t width : {1u, 3u, 20u}) {
      RandomCalls(Spec(rule, width), ++seed);
      RandomCalls(Spec(rule, width, 700), ++seed);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_round_survives_growth) {
  const TableSpec spec = Spec("adagrad", 2, {}, 1);
  Table table = Make(spec);
  OneRound round(table);
  Oracle oracle(spec);
  std::mt19937_64 random(7);
  for (int writer = 0; writer < 3; ++writer) {
    std::vector<Key> keys;
    for (Key key = 0; key < 20000; ++key) keys.push_back(key * 7919 * static_cast<Key>(writer + 1));
    const std::vector<float> gradient = Numbers(2 * keys.size(), random);
    round.Accumulate(0, keys, gradient);
    for (size_t i = 0; i < keys.size(); ++i) oracle.Accumulate(keys[i], &gradient[2 * i]);
  }
  round.Finish(3);
  oracle.FinishRound(3);
  BOOST_TEST((Contents(table) == oracle.rows));
}

BOOST_AUTO_TEST_CASE(rows_of_many_dense_ranges_in_one_push_change_as_one_by_one) {
  std::mt19937 random(11);
  for (const std::string& rule : UpdateRuleNames()) {
    for (const uint32_t width : {1u, 3u, 64u}) {
      for (const bool clips : {false, true}) {
        BOOST_TEST_CONTEXT(rule << " of width " << width << (clips ? ", clipped" : "")) {
          TableSpec spec = Spec(rule, width, 6'001, 13);
          spec.penalised_from = 700;   // in the middle of a range
          if (clips) spec.clip_value = 0.25;
          Table table = Make(spec), one_by_one = Make(spec);
          for (int push = 0; push < 3; ++push) {
            std::set<Key> distinct;
            while (distinct.size() < 1'500) distinct.insert(random() % 6'001);
            for (Key key = 500; key < 900; ++key) distinct.insert(key);   // a run
            std::vector<Key> keys(distinct.begin(), distinct.end());
            if (push == 1) std::shuffle(keys.begin(), keys.end(), random);
            std::ranges::stable_sort(keys, {}, [&](Key key) { return table.partition().RangeOf(key); });
            // The numbers lie in two arrays, with a gap in one of them.
            std::vector<float> numbers[2];
            for (auto& array : numbers) array.resize((keys.size() + 1) * width);
            for (auto& array : numbers) {
              for (float& x : array) x = static_cast<float>(random() % 1000) * 1e-3f - 0.5f;
            }
            std::vector<RowsIn> sets;
            for (size_t begin = 0, end; begin < keys.size(); begin = end) {
              const uint32_t range = table.partition().RangeOf(keys[begin]);
              for (end = begin; end < keys.size() && table.partition().RangeOf(keys[end]) == range; ++end) {
              }
              const size_t place = begin + (range > 4 ? 1 : 0);
              sets.push_back({RowSet::Of(range, {keys.data() + begin, end - begin}), numbers[range % 5 == 0 ? 1 : 0].data() + place * width});
            }
            BOOST_REQUIRE_EQUAL(table.Check(sets), absl::OkStatus());
            table.Apply(sets);
            for (const RowsIn& set : sets) {
              for (size_t i = 0; i < set.rows.n; ++i) {
                BOOST_REQUIRE_EQUAL(one_by_one.ApplyDense(set.rows.range, set.rows.keys[i], 1, set.numbers + i * width), absl::OkStatus());
              }
            }
          }
          for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
            const Block ours = table.Save(range), others = one_by_one.Save(range);
            BOOST_TEST(ours.size() == others.size());
            BOOST_TEST(std::memcmp(ours.data(), others.data(), ours.size()) == 0);
          }
          BOOST_TEST(table.clipped() == one_by_one.clipped());
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(numbers_that_are_not_finite_are_found_wherever_a_message_has_them) {
  Table table = Make(Spec("sgd", 3, 6'001, 13));
  std::vector<Key> keys;
  for (Key key = 0; key < 6'001; key += 5) keys.push_back(key);
  std::vector<float> numbers(keys.size() * 3, 0.5f);
  std::vector<RowsIn> sets;
  for (size_t begin = 0, end; begin < keys.size(); begin = end) {
    const uint32_t range = table.partition().RangeOf(keys[begin]);
    for (end = begin; end < keys.size() && table.partition().RangeOf(keys[end]) == range; ++end) {
    }
    sets.push_back({RowSet::Of(range, {keys.data() + begin, end - begin}), numbers.data() + begin * 3});
  }
  for (size_t at = 0; at < numbers.size(); at += 97) {
    numbers[at] = std::numeric_limits<float>::infinity();
    BOOST_TEST(table.Check(sets).message() == absl::StrCat("table 'w': gradient of key ", keys[at / 3], " is inf, expected a finite number"));
    BOOST_TEST(table.Assign(sets).message() == absl::StrCat("table 'w': value of key ", keys[at / 3], " is inf, expected a finite number"));
    numbers[at] = 0.5f;
  }
  BOOST_TEST(table.Check(sets) == absl::OkStatus());
}

BOOST_AUTO_TEST_CASE(a_round_of_one_push_is_the_push) {
  std::mt19937_64 random(8);
  for (const std::string& rule : UpdateRuleNames()) {
    for (const std::optional<uint64_t> rows : {std::optional<uint64_t>{}, std::optional<uint64_t>{50000}}) {
      const TableSpec spec = Spec(rule, 1, rows, 1);
      Table at_once = Make(spec), by_round = Make(spec);
      OneRound round(by_round);
      for (int push = 0; push < 3; ++push) {
        const std::vector<Key> keys = KeysOf(at_once, 0, 1000, random);
        const std::vector<float> gradient = Numbers(keys.size(), random);
        BOOST_REQUIRE(at_once.Apply(0, keys, gradient.data()).ok());
        round.Accumulate(0, keys, gradient);
        round.Finish(1);
        round.Finish(5);   // nothing was pushed: nothing changes
      }
      BOOST_TEST((Bytes(at_once) == Bytes(by_round)), rule);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_pull_makes_no_rows) {
  const Table table = Make(Spec("sgd", 2, {}, 1));
  const Key keys[] = {0, 5, ~Key{0}};
  float out[6] = {1, 1, 1, 1, 1, 1};
  BOOST_REQUIRE(table.Pull(0, keys, out).ok());
  for (const float x : out) BOOST_TEST(x == 0);
  BOOST_TEST(table.rows() == 0u);
}

BOOST_AUTO_TEST_CASE(each_shard_holds_its_own_ranges) {
  TableSpec spec = Spec("sgd", 1, 1000, 10);
  for (const uint32_t shards : {1u, 3u, 10u, 13u}) {
    uint64_t rows = 0;
    for (uint32_t shard = 0; shard < shards; ++shard) {
      const Table table = Make(spec, shard, shards);
      rows += table.rows();
      for (uint32_t range = 0; range < 12; ++range) {
        const bool owns = range < 10 && table.partition().ShardOf(range) == shard;
        BOOST_TEST(table.Owns(range) == owns);
        BOOST_TEST(table.Pull(range, {}, nullptr).ok() == owns);
      }
    }
    BOOST_TEST(rows == 1000u);
  }
}

BOOST_AUTO_TEST_CASE(errors_name_the_key_and_change_nothing) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  Table sparse = Make(Spec("adagrad", 2), 0, 2);
  Table dense = Make(Spec("adagrad", 2, 100), 0, 2);   // ranges of 25 rows, two of them here
  std::mt19937_64 random(9);
  const std::vector<Key> keys = KeysOf(sparse, 1, 20, random);
  const std::vector<Key> rows{30, 31, 40};
  BOOST_REQUIRE(keys.size() >= 3);
  const std::vector<float> good(2 * keys.size(), 1);
  BOOST_REQUIRE(sparse.Apply(1, keys, good.data()).ok());
  BOOST_REQUIRE(dense.Apply(1, rows, good.data()).ok());
  const std::string sparse_before = Bytes(sparse), dense_before = Bytes(dense);

  const auto expect = [](const absl::Status& status, const std::string& message) {
    BOOST_TEST(status.code() == absl::StatusCode::kInvalidArgument);
    BOOST_TEST(Message(status) == message);
  };
  for (const float bad : {nan, inf, -inf}) {
    std::vector<float> gradient = good;
    gradient[5] = bad;
    const std::string what = "table 'w': gradient of key ", is = absl::StrCat(" is ", Exact(bad), ", expected a finite number");
    expect(sparse.Apply(1, keys, gradient.data()), absl::StrCat(what, keys[2], is));
    expect(Check(sparse, RowSet::Of(1, keys), gradient), absl::StrCat(what, keys[2], is));
    expect(sparse.Assign(1, keys, gradient.data()), absl::StrCat("table 'w': value of key ", keys[2], is));
    expect(dense.Apply(1, rows, gradient.data()), what + "40" + is);
    expect(Check(dense, RowSet::Of(1, rows), gradient), what + "40" + is);
    expect(dense.ApplyDense(1, 25, 4, gradient.data()), what + "27" + is);
    expect(Check(dense, RowSet::Run(1, 25, 4), gradient), what + "27" + is);
    expect(dense.Assign(1, rows, gradient.data()), "table 'w': value of key 40" + is);
  }
  std::vector<float> out(2 * keys.size(), 7);
  const std::string wrong_range = absl::StrCat("table 'w': key ", keys[0], " is in range 1, expected range 0");
  expect(sparse.Pull(0, keys, out.data()), wrong_range);
  expect(sparse.Apply(0, keys, good.data()), wrong_range);
  expect(Check(sparse, RowSet::Of(0, keys), good), wrong_range);
  expect(sparse.Assign(0, keys, good.data()), wrong_range);
  expect(sparse.Pull(2, {}, nullptr), "table 'w': range 2 is not held here, expected 0 .. 1");
  expect(sparse.PullDense(0, 0, 1, out.data()), "table 'w': is sparse, expected a dense table for rows without keys");
  const Key beyond[] = {30, 100}, other[] = {30, 24};
  expect(dense.Pull(1, beyond, out.data()), "table 'w': key 100 is no row, expected below 100");
  expect(dense.Apply(1, other, good.data()), "table 'w': key 24 is in range 0, expected range 1");
  expect(dense.PullDense(1, 24, 2, out.data()), "table 'w': 2 rows from 24 are not in range 1, expected within 25 rows from 25");
  expect(dense.ApplyDense(1, 49, 2, good.data()), "table 'w': 2 rows from 49 are not in range 1, expected within 25 rows from 25");
  expect(Check(dense, RowSet::Run(1, 26, UINT64_MAX), good),
         "table 'w': 18446744073709551615 rows from 26 are not in range 1, expected within 25 rows from 25");
  for (const float x : out) BOOST_TEST(x == 7);
  BOOST_TEST((Bytes(sparse) == sparse_before));
  BOOST_TEST((Bytes(dense) == dense_before));
}

BOOST_AUTO_TEST_CASE(tables_that_cannot_be_are_refused) {
  BOOST_TEST(Table::Make(Spec("sgd", 0), 0, 1).status().code() == absl::StatusCode::kInvalidArgument);
  BOOST_TEST(Message(Table::Make(Spec("sgd", 1), 3, 2).status()) == "table 'w': shard is 3, expected at most the number of shards, 2");
  const absl::Status huge = Table::Make(Spec("sgd", 1, uint64_t{1} << 40), 0, 1).status();
  BOOST_TEST(huge.code() == absl::StatusCode::kResourceExhausted);
  BOOST_TEST(Message(huge).starts_with("table 'w' takes 4.4 TB, this machine has "));
}

BOOST_AUTO_TEST_CASE(an_assigned_value_is_exact_under_every_rule) {
  for (const std::optional<uint64_t> rows : {std::optional<uint64_t>{}, std::optional<uint64_t>{10}}) {
    Table table = Make(Spec("add", 1, rows, 1));
    const Key key[] = {4};
    for (const float g : {16777216.0f, 1.0f}) BOOST_REQUIRE(table.Apply(0, key, &g).ok());
    const float five = 5;
    BOOST_REQUIRE(table.Assign(0, key, &five).ok());
    table.Visit(0, [&](Key at, const float* row) {
      if (at == 4) BOOST_TEST(table.rule().Value(row, 1, 0, true) == 5);
    });
  }
}

BOOST_AUTO_TEST_CASE(rows_begin_with_values_that_only_seed_and_key_decide) {
  for (const RowInit::Kind kind : {RowInit::Kind::kUniform, RowInit::Kind::kNormal}) {
    for (const char* rule : {"sgd", "adam", "ftrl", "add"}) {
      TableSpec spec = Spec(rule, 8, {}, 1);
      spec.init = {kind, 0.5, 7};
      TableSpec dense_spec = spec;
      dense_spec.rows = 200;
      Table table = Make(spec), other = Make(spec), dense = Make(dense_spec);
      std::vector<Key> keys;
      for (Key key = 0; key < 200; ++key) keys.push_back(key);
      std::vector<float> read(1600), again(1600), of_dense(1600);
      BOOST_REQUIRE(table.Pull(0, keys, read.data()).ok());
      BOOST_TEST(table.rows() == 0u);
      const std::vector<float> nothing(1600);
      BOOST_REQUIRE(other.Assign(0, keys, read.data()).ok());
      BOOST_REQUIRE(dense.Pull(0, keys, of_dense.data()).ok());
      double sum = 0, squares = 0;
      for (size_t i = 0; i < read.size(); ++i) {
        BOOST_REQUIRE(std::abs(read[i] - of_dense[i]) <= 1e-6f);
        sum += read[i];
        squares += double{read[i]} * read[i];
      }
      const double deviation = kind == RowInit::Kind::kNormal ? 0.5 : 0.5 / std::sqrt(3);
      BOOST_TEST(std::abs(sum / 1600) < 0.05);
      BOOST_TEST(std::abs(std::sqrt(squares / 1600) - deviation) < 0.03);
      if (std::string(rule) == "add") {   // the first push finds them there
        BOOST_REQUIRE(table.Apply(0, keys, nothing.data()).ok());
        BOOST_REQUIRE(table.Pull(0, keys, again.data()).ok());
        BOOST_TEST((read == again));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(gradients_are_cut_by_value_then_by_norm) {
  for (const std::optional<uint64_t> rows : {std::optional<uint64_t>{}, std::optional<uint64_t>{10}}) {
    TableSpec spec;
    spec.rule = "sgd";
    spec.rule_options = {{"learning_rate", 1}};
    spec.width = 2;
    spec.ranges = 1;
    spec.rows = rows;
    spec.clip_value = 4;
    spec.clip_norm = 2.5;
    Table table = Make(spec);
    const std::vector<Key> keys = {1, 2, 3};
    const std::vector<float> gradient = {3, 4, -9, 0, 1, -2};   // norm 5; cut to -4, then to -2.5; left alone
    BOOST_REQUIRE(table.Apply(0, keys, gradient.data()).ok());
    std::vector<float> out(6);
    BOOST_REQUIRE(table.Pull(0, keys, out.data()).ok());
    const std::vector<float> expected = {-1.5f, -2, 2.5f, 0, -1, 2};
    for (size_t i = 0; i < 6; ++i) BOOST_TEST(out[i] == expected[i]);
    BOOST_TEST(table.clipped() == 2u);
  }
}

BOOST_AUTO_TEST_CASE(numbers_that_are_not_finite_are_dropped_or_clipped_and_counted_where_the_table_says_so) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const NonFinite what : {NonFinite::kDrop, NonFinite::kClip}) {
    for (const std::optional<uint64_t> rows : {std::optional<uint64_t>{}, std::optional<uint64_t>{10}}) {
      TableSpec spec;
      spec.rule = "sgd";
      spec.rule_options = {{"learning_rate", 1}};
      spec.width = 2;
      spec.ranges = 1;
      spec.rows = rows;
      spec.clip_value = 10;
      spec.non_finite = what;
      Table table = Make(spec);
      const std::vector<Key> keys = {1, 2, 3};
      const std::vector<float> gradient = {nan, 1, -inf, 2, 3, 4};
      BOOST_REQUIRE(table.Apply(0, keys, gradient.data()).ok());
      std::vector<float> out(6);
      BOOST_REQUIRE(table.Pull(0, keys, out.data()).ok());
      const std::vector<float> expected = what == NonFinite::kDrop ? std::vector<float>{0, 0, 0, 0, -3, -4} : std::vector<float>{0, -1, 10, -2, -3, -4};
      for (size_t i = 0; i < 6; ++i) BOOST_TEST(out[i] == expected[i]);
      BOOST_TEST(table.non_finite() == 2u);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_schedule_scales_the_rate_by_the_table_s_step) {
  TableSpec spec;
  spec.rule = "sgd";
  spec.rule_options = {{"learning_rate", 1}};
  spec.ranges = 1;
  spec.schedule = *ParseSchedule("step:10:0.5");
  Table table = Make(spec);
  const std::vector<Key> key = {3};
  const float one = 1;
  float out = 0;
  BOOST_REQUIRE(table.Apply(0, key, &one).ok());
  table.SetStep(25);
  BOOST_REQUIRE(table.Apply(0, key, &one).ok());
  BOOST_REQUIRE(table.Pull(0, key, &out).ok());
  BOOST_TEST(out == -1.25f);
}

BOOST_AUTO_TEST_CASE(a_saved_range_loads_whatever_the_order_of_its_making) {
  std::mt19937_64 random(10);
  for (const std::string& rule : UpdateRuleNames()) {
    for (const std::optional<uint64_t> rows : {std::optional<uint64_t>{}, std::optional<uint64_t>{331}}) {
      const TableSpec spec = Spec(rule, 3, rows);
      Table table = Make(spec), backwards = Make(spec), loaded = Make(spec);
      for (uint32_t range = 0; range < 4; ++range) {
        std::vector<Key> keys = KeysOf(table, range, 200, random);
        std::vector<float> gradient(3 * keys.size(), 0.5f);
        BOOST_REQUIRE(table.Apply(range, keys, gradient.data()).ok());
        std::reverse(keys.begin(), keys.end());
        BOOST_REQUIRE(backwards.Apply(range, keys, gradient.data()).ok());
        BOOST_REQUIRE(loaded.Apply(range, keys, gradient.data()).ok());   // what was there is gone after a load
      }
      BOOST_TEST((Bytes(table) == Bytes(backwards)));
      for (uint32_t range = 0; range < 4; ++range) BOOST_REQUIRE(loaded.Load(range, table.Save(range)).ok());
      BOOST_TEST((Bytes(table) == Bytes(loaded)));
      BOOST_TEST((Contents(table) == Contents(loaded)));
    }
  }
}

/// Ranges of several whole pieces of StepCounts, pushed to as a whole and in part, beside a sparse table of the same rows.
BOOST_AUTO_TEST_CASE(rows_that_were_pushed_to_at_different_times_keep_their_own_counts) {
  std::mt19937_64 random(12);
  const uint64_t rows = 5000;
  for (const std::string rule : {"adam", "adamw", "lamb"}) {
    for (const uint32_t width : {1u, 3u}) {
      TableSpec spec = Spec(rule, width, rows, 2), sparse_spec = Spec(rule, width, {}, 2);
      Table table = Make(spec), sparse = Make(sparse_spec);
      std::optional<Table> view;
      for (int push = 0; push < 12; ++push) {
        const Key first = push % 3 == 2 ? random() % rows : 0, n = push % 3 == 2 ? 1 + random() % (rows - first) : rows;
        std::vector<float> gradient(n * width);
        for (float& g : gradient) g = static_cast<float>(random() % 1000) * 1e-3f - 0.5f;
        for (Key key = first; key < first + n;) {
          const uint32_t range = table.partition().RangeOf(key);
          const uint64_t here = std::min(first + n, table.partition().FirstRow(range + 1)) - key;
          BOOST_REQUIRE(table.ApplyDense(range, key, here, gradient.data() + (key - first) * width).ok());
          key += here;
        }
        for (Key key = first; key < first + n; ++key) {
          BOOST_REQUIRE(sparse.Apply(sparse.partition().RangeOf(key), {&key, 1}, gradient.data() + (key - first) * width).ok());
        }
        std::map<Key, std::vector<float>> expected, found;
        for (uint32_t range = 0; range < 2; ++range) {
          sparse.Visit(range, [&](Key key, const float* row) { expected[key].assign(row, row + 3 * width + 1); });
          table.Visit(range, [&](Key key, const float* row) { found[key].assign(row, row + 3 * width + 1); });
        }
        BOOST_REQUIRE((expected == found));
        if (push == 5) {   // a table that is loaded, and one whose ranges were shared with a view, go on alike
          Table loaded = Make(spec);
          for (uint32_t range = 0; range < 2; ++range) BOOST_REQUIRE(loaded.Load(range, table.Save(range)).ok());
          BOOST_REQUIRE((Bytes(loaded) == Bytes(table)));
          table = std::move(loaded);
        }
        if (push == 8) view.emplace(table.Fork());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(counts_of_pushes_that_are_none_are_refused) {
  TableSpec spec;
  spec.rule = "adam";
  spec.rows = 10;
  spec.ranges = 1;
  Table table = *Table::Make(spec, 0, 1);
  const Block saved = table.Save(0);
  for (const float count : {-1.0f, -0.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 3.0f}) {
    std::string changed(reinterpret_cast<const char*>(saved.data()), saved.size());
    std::memcpy(changed.data() + changed.size() - sizeof count, &count, sizeof count);
    const Block bytes = Block::Copy(changed.data(), changed.size());
    BOOST_TEST(table.Load(0, bytes).ok() == (count == 3.0f));
    const Block now = table.Save(0);
    BOOST_TEST(std::ranges::equal(now.As<std::byte>(), (count == 3.0f ? bytes : saved).As<std::byte>()));
  }
}

BOOST_AUTO_TEST_CASE(bytes_of_anything_else_are_refused_and_change_nothing) {
  std::mt19937_64 random(11);
  for (const std::optional<uint64_t> rows : {std::optional<uint64_t>{}, std::optional<uint64_t>{40}}) {
    const TableSpec spec = Spec("adagrad", 2, rows);
    Table table = Make(spec);
    const std::vector<Key> keys = KeysOf(table, 1, 8, random);
    BOOST_REQUIRE(keys.size() > 2);
    BOOST_REQUIRE(table.Apply(1, keys, std::vector<float>(2 * keys.size(), 1).data()).ok());
    const std::string before = Bytes(table);
    const Block saved = table.Save(1);
    const auto refused = [&](uint32_t range, const Block& bytes) {
      const absl::Status status = table.Load(range, bytes);
      BOOST_TEST(status.code() == absl::StatusCode::kInvalidArgument, status.ToString());
      BOOST_REQUIRE((Bytes(table) == before));
    };
    for (size_t cut = 0; cut < saved.size(); ++cut) refused(1, saved.Slice(0, cut));
    std::string longer(reinterpret_cast<const char*>(saved.data()), saved.size());
    longer += '\0';
    refused(1, Block::Copy(longer.data(), longer.size()));
    refused(2, saved);                     // another range
    refused(9, saved);                     // no range
    for (size_t at = 0; at < 64; ++at) {   // every byte of the header
      std::string changed(reinterpret_cast<const char*>(saved.data()), saved.size());
      changed[at] = static_cast<char>(changed[at] ^ 0x10);
      refused(1, Block::Copy(changed.data(), changed.size()));
    }
    for (const TableSpec& other : {Spec("sgd", 2, rows), Spec("adagrad", 3, rows), Spec("adagrad", 2, rows, 5), Spec("add", 2, rows), Spec("adagrad", 2, 41)}) {
      Table another = Make(other);
      refused(1, another.Save(1));
    }
    if (rows) continue;
    for (const size_t at : {size_t{64}, size_t{72}}) {   // a key of another range, and keys that do not rise
      std::string changed(reinterpret_cast<const char*>(saved.data()), saved.size());
      std::memcpy(changed.data() + at, changed.data() + 80, 8);
      refused(1, Block::Copy(changed.data(), changed.size()));
    }
    std::string changed(reinterpret_cast<const char*>(saved.data()), saved.size());
    Key low = 0;
    while (table.partition().RangeOf(low) == 1) ++low;
    std::memcpy(changed.data() + 64, &low, 8);
    refused(1, Block::Copy(changed.data(), changed.size()));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
