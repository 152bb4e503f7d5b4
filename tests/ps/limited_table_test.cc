// Tables with limits: which keys get rows, which rows go, and rows that lie on a disk, against plain tables and plain maps.
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "actors/text.h"
#include "ps/call.h"
#include "ps/disk_tier.h"
#include "ps/export.h"
#include "ps/table.h"
#include "tests/support/faulty_tier.h"

namespace troupe {
namespace {

using testing::FaultyTiers;
using testing::TierFaults;

constexpr uint64_t kMemory = 1 << 20;

TableSpec Spec(const std::string& rule, uint32_t width = 1, RowLimits limits = {}, uint32_t ranges = 4) {
  TableSpec spec;
  spec.name = "w";
  spec.rule = rule;
  spec.width = width;
  spec.ranges = ranges;
  spec.limits = limits;
  return spec;
}
Table Make(const TableSpec& spec, const TierFactory& tiers = nullptr) {
  auto table = Table::Make(spec, 0, 1, tiers);
  BOOST_REQUIRE_MESSAGE(table.ok(), table.status().ToString());
  return std::move(*table);
}

/// Distinct keys and a gradient, cut into ranges.
struct Batch {
  std::map<uint32_t, std::vector<Key>> keys;
  std::map<uint32_t, std::vector<float>> numbers;

  Batch(const Table& table, const std::vector<Key>& all, std::mt19937_64& random) {
    for (const Key key : std::set<Key>(all.begin(), all.end())) {
      const uint32_t range = table.partition().RangeOf(key);
      keys[range].push_back(key);
      for (uint32_t i = 0; i < table.spec().width; ++i) numbers[range].push_back(static_cast<float>(random() % 1000) * 1e-3F - 0.5F);
    }
  }
  std::vector<RowsIn> In() const {
    std::vector<RowsIn> rows;
    for (const auto& [range, its] : keys) rows.push_back({RowSet::Of(range, its), numbers.at(range).data()});
    return rows;
  }
};
std::vector<Key> Drawn(std::mt19937_64& random, size_t n, uint64_t of) {
  std::vector<Key> keys(n);
  for (Key& key : keys) key = random() % of * 0x9e3779b97f4a7c15ULL;
  return keys;
}
absl::Status Push(Table& table, const Batch& batch) {
  const std::vector<RowsIn> rows = batch.In();
  if (absl::Status status = table.Check(rows); !status.ok()) return status;
  table.Apply(rows);
  return absl::OkStatus();
}
absl::Status Push(Table& table, const std::vector<Key>& keys, float gradient = 1) {
  std::mt19937_64 random(1);
  Batch batch(table, keys, random);
  for (auto& [range, numbers] : batch.numbers) std::fill(numbers.begin(), numbers.end(), gradient);
  return Push(table, batch);
}
std::vector<float> Pulled(const Table& table, const Batch& batch) {
  std::vector<float> values;
  for (const auto& [range, keys] : batch.keys) {
    std::vector<float> its(keys.size() * table.spec().width);
    const absl::Status status = table.Pull(range, keys, its.data());
    BOOST_REQUIRE_MESSAGE(status.ok(), status.ToString());
    values.insert(values.end(), its.begin(), its.end());
  }
  return values;
}
float Value(const Table& table, Key key) {
  float value = 0;
  BOOST_REQUIRE(table.Pull(table.partition().RangeOf(key), {&key, 1}, &value).ok());
  return value;
}
/// Every row's floats, exactly.
std::map<Key, std::vector<float>> Contents(const Table& table) {
  std::map<Key, std::vector<float>> rows;
  const uint32_t floats = table.rule().floats(table.spec().width);
  for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
    std::vector<Key> keys;
    table.Visit(range, [&](Key key, const float* row) {
      keys.push_back(key);
      rows.emplace(key, std::vector<float>(row, row + floats));
    });
    BOOST_REQUIRE(std::adjacent_find(keys.begin(), keys.end(), std::greater_equal<>()) == keys.end());
    BOOST_REQUIRE_EQUAL(keys.size(), table.rows(range));
  }
  return rows;
}
std::string Bytes(const Table& table) {
  std::string bytes;
  for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
    const Block block = table.Save(range);
    bytes.append(reinterpret_cast<const char*>(block.data()), block.size());
  }
  return bytes;
}
bool Same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}
std::map<Key, std::vector<double>> Values(const Table& table) {
  std::map<Key, std::vector<double>> values;
  for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
    table.EachRow(range, [&](const TableRows& rows) {
      for (size_t i = 0; i < rows.n; ++i) values.emplace(rows.key(i), std::vector<double>(rows.row(i).begin(), rows.row(i).end()));
    });
  }
  return values;
}

struct Case {
  const char* rule;
  uint32_t width;
  uint64_t keys;   // some four times what kMemory holds
};
constexpr Case kCases[] = {{"ftrl", 1, 160'000}, {"adam", 8, 36'000}, {"add", 1, 160'000}, {"sgd", 3, 150'000}};

BOOST_AUTO_TEST_SUITE(LimitedTableTest)

BOOST_AUTO_TEST_CASE(a_table_four_times_its_memory_is_the_plain_one_bit_for_bit) {
  for (const Case& c : kCases) {
    BOOST_TEST_CONTEXT(c.rule << " " << c.width) {
      TableSpec spec = Spec(c.rule, c.width);
      if (spec.rule != "add") spec.init = {RowInit::Kind::kNormal, 0.1, 3};
      Table plain = Make(spec);
      spec.limits.memory_max = kMemory;
      auto faults = std::make_shared<TierFaults>();
      Table small = Make(spec, FaultyTiers(faults));
      std::mt19937_64 random(7);
      for (int step = 0; step < 150; ++step) {
        const Batch batch(plain, Drawn(random, 3000, c.keys), random);
        switch (step % 10) {
          case 3:
            BOOST_REQUIRE(plain.Assign(batch.In()).ok());
            BOOST_REQUIRE(small.Assign(batch.In()).ok());
            break;
          case 6:
            BOOST_REQUIRE(Same(Pulled(plain, batch), Pulled(small, batch)));
            break;
          case 8: {
            const uint32_t range = static_cast<uint32_t>(step / 10) % 4;
            const auto change = [](const TableRows& rows, double* values) {
              for (size_t i = 0; i < rows.n * rows.width; ++i) values[i] *= rows.key(i / rows.width) % 3 == 0 ? 0.75 : 1;
            };
            plain.Change(range, change);
            small.Change(range, change);
            break;
          }
          default:
            BOOST_REQUIRE(Push(plain, batch).ok());
            BOOST_REQUIRE(Push(small, batch).ok());
        }
        BOOST_REQUIRE_LE(small.bytes(), kMemory);
        BOOST_REQUIRE_EQUAL(small.rows(), plain.rows());
      }
      BOOST_TEST(plain.bytes() > 3.5 * static_cast<double>(small.bytes()), "plain " << plain.bytes() << ", small " << small.bytes());
      BOOST_TEST(static_cast<double>(small.spilled()) > 0.6 * static_cast<double>(small.rows()));
      BOOST_TEST((Contents(plain) == Contents(small)));
      BOOST_TEST((Values(plain) == Values(small)));
      for (uint32_t range = 0; range < 4; ++range) {
        const Block a = ExportRange(plain, range), b = ExportRange(small, range);
        BOOST_TEST((a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0));
        std::vector<Key> keys;
        for (const Key key : Drawn(random, 300, c.keys)) {
          if (plain.partition().RangeOf(key) == range) keys.push_back(key);
        }
        std::vector<double> one(keys.size() * c.width), other(one.size());
        plain.Read(range, keys, one.data());
        small.Read(range, keys, other.data());
        BOOST_TEST((one == other));
      }
      BOOST_TEST(faults->gets > 0U);
      BOOST_TEST(small.bytes() <= kMemory);
    }
  }
}

BOOST_AUTO_TEST_CASE(rows_that_are_only_pulled_are_not_written_again) {
  auto faults = std::make_shared<TierFaults>();
  Table table = Make(Spec("adagrad", 1, {.memory_max = kMemory}), FaultyTiers(faults));
  std::mt19937_64 random(8);
  for (uint64_t i = 0; i < 20; ++i) {
    std::vector<Key> keys(8000);
    for (size_t k = 0; k < keys.size(); ++k) keys[k] = i * keys.size() + k;
    BOOST_REQUIRE(Push(table, keys).ok());
  }
  const auto pull_all = [&] {
    for (uint64_t first = 0; first < 160'000; first += 4000) {
      std::vector<Key> keys(4000);
      for (size_t k = 0; k < keys.size(); ++k) keys[k] = first + k;
      Pulled(table, Batch(table, keys, random));
      BOOST_REQUIRE_LE(table.bytes(), kMemory);
    }
  };
  pull_all();
  pull_all();   // all has been written once
  const uint64_t written = faults->rows_put;
  const uint64_t reads = faults->gets;
  pull_all();
  BOOST_TEST(faults->rows_put == written);
  BOOST_TEST(faults->gets >= reads + 40);
}

BOOST_AUTO_TEST_CASE(server_functions_see_and_change_rows_on_disk) {
  std::vector<Table> plain, small;
  plain.push_back(Make(Spec("sgd", 2)));
  small.push_back(Make(Spec("sgd", 2, {.memory_max = kMemory}), MemoryTiers()));
  std::mt19937_64 random(9);
  for (int step = 0; step < 60; ++step) {
    const Batch batch(plain[0], Drawn(random, 4000, 120'000), random);
    BOOST_REQUIRE(Push(plain[0], batch).ok());
    BOOST_REQUIRE(Push(small[0], batch).ok());
  }
  BOOST_TEST(small[0].spilled() > 0U);
  const auto same = [&](const FunctionCall& call) {
    const auto a = CallTables(call, plain), b = CallTables(call, small);
    BOOST_REQUIRE_MESSAGE(a.ok() && b.ok(), a.status().ToString() << b.status().ToString());
    BOOST_TEST((*a == *b));
  };
  same({.function = "norm"});
  same({.function = "sum"});
  same({.function = "top_k", .numbers = {{"k", {100}}}});
  same({.function = "apply", .numbers = {{"by", {0.5}}}, .words = {{"op", "scale"}}});
  same({.function = "norm"});
  BOOST_TEST((Contents(plain[0]) == Contents(small[0])));
  BOOST_TEST(small[0].bytes() <= kMemory);
}

BOOST_AUTO_TEST_CASE(a_key_gets_its_row_at_its_nth_push_and_what_came_before_is_counted) {
  TableSpec spec = Spec("sgd", 1, {.admit_after = 3});
  spec.rule_options = {{"learning_rate", 1}};
  spec.init = {RowInit::Kind::kUniform, 1, 5};
  Table table = Make(spec);
  float start = 0;
  spec.init.Fill(77, 1, &start);
  BOOST_REQUIRE(Push(table, {77, 78}).ok());
  BOOST_REQUIRE(Push(table, {77}).ok());
  BOOST_TEST(Value(table, 77) == start);
  BOOST_TEST(table.rows() == 0U);
  BOOST_TEST(table.dropped() == 3U);
  BOOST_REQUIRE(Push(table, {77, 78}).ok());
  BOOST_TEST(Value(table, 77) == start - 1);
  BOOST_TEST(table.rows() == 1U);
  BOOST_TEST(table.dropped() == 4U);
  BOOST_REQUIRE(Push(table, {77}).ok());
  BOOST_TEST(Value(table, 77) == start - 2);
  const Key assigned = 79;   // what is set is wanted
  const float value = 9;
  BOOST_REQUIRE(table.Assign(table.partition().RangeOf(assigned), {&assigned, 1}, &value).ok());
  BOOST_REQUIRE(Push(table, {79}).ok());
  BOOST_TEST(Value(table, 79) == 8);
  BOOST_TEST(table.dropped() == 4U);
}

BOOST_AUTO_TEST_CASE(admitted_rows_get_exactly_their_own_gradients) {
  std::mt19937_64 random(10);
  Table table = Make(Spec("sgd", 3, {.admit_after = 2}));
  Table plain = Make(Spec("sgd", 3));
  std::map<Key, int> touches;
  uint64_t dropped = 0;
  for (int step = 0; step < 60; ++step) {   // few enough that no key shares all its counters
    Batch batch(table, Drawn(random, 50, 400), random);
    BOOST_REQUIRE(Push(table, batch).ok());
    for (auto& [range, keys] : batch.keys) {
      std::vector<Key> left;
      std::vector<float> numbers;
      for (size_t i = 0; i < keys.size(); ++i) {
        if (++touches[keys[i]] < 2) {
          ++dropped;
          continue;
        }
        left.push_back(keys[i]);
        const auto from = batch.numbers[range].begin() + static_cast<ptrdiff_t>(3 * i);
        numbers.insert(numbers.end(), from, from + 3);
      }
      keys = left;
      batch.numbers[range] = numbers;
    }
    BOOST_REQUIRE(Push(plain, batch).ok());
  }
  BOOST_TEST((Contents(table) == Contents(plain)));
  BOOST_TEST(table.dropped() == dropped);
  BOOST_TEST(dropped > 300U);
}

BOOST_AUTO_TEST_CASE(rows_that_no_push_touches_go_after_their_time) {
  for (const uint64_t ttl : {uint64_t{1}, uint64_t{3}, uint64_t{40}}) {
    Table table = Make(Spec("sgd", 1, {.ttl = ttl}));
    BOOST_REQUIRE(Push(table, {1, 2, 3, 4, 5, 6, 7, 8}).ok());   // in round 0
    for (uint64_t round = 1; round <= 3 * ttl + 2; ++round) {
      table.SetRounds(round);
      const bool idle_too_long = round - 1 > ttl + ttl / 4;   // rounds without a touch: 1 .. round - 1
      if (round - 1 < ttl) BOOST_TEST(table.rows() == 8U, "ttl " << ttl << ", round " << round);
      if (idle_too_long) BOOST_TEST(table.rows() == 1U, "ttl " << ttl << ", round " << round);
      Value(table, 2);                        // a pull does not count
      BOOST_REQUIRE(Push(table, {1}).ok());   // a push does
    }
    BOOST_TEST(table.evicted() == 7U);
    BOOST_TEST(Value(table, 2) == 0);
  }
}

BOOST_AUTO_TEST_CASE(beyond_rows_max_the_least_lately_pushed_go) {
  Table table = Make(Spec("sgd", 1, {.rows_max = 400}, 1));
  std::vector<Key> first, second, third;
  for (Key key = 0; key < 200; ++key) first.push_back(key);
  for (Key key = 200; key < 400; ++key) second.push_back(key);
  for (Key key = 400; key < 410; ++key) third.push_back(key);
  BOOST_REQUIRE(Push(table, first).ok());
  table.SetRounds(1);
  BOOST_REQUIRE(Push(table, second).ok());
  table.SetRounds(2);
  BOOST_TEST(table.rows() == 400U);
  BOOST_REQUIRE(Push(table, {0, 1, 2}).ok());   // of the first, touched again
  BOOST_REQUIRE(Push(table, third).ok());
  BOOST_TEST(table.rows() == 350U);
  BOOST_TEST(table.evicted() == 60U);
  const auto rows = Contents(table);
  for (const Key key : {0, 1, 2, 199, 200, 399, 400, 409}) BOOST_TEST(rows.contains(static_cast<Key>(key)), key);
  for (Key key = 3; key < 63; ++key) BOOST_TEST(!rows.contains(key), key);
  BOOST_TEST(Value(table, 3) == 0);
}

BOOST_AUTO_TEST_CASE(all_limits_give_the_same_bytes_with_a_disk_and_without) {
  for (const RowLimits limits :
       {RowLimits{.admit_after = 2}, RowLimits{.ttl = 12}, RowLimits{.rows_max = 90'000}, RowLimits{.admit_after = 2, .ttl = 30, .rows_max = 50'000}}) {
    Table whole = Make(Spec("adagrad", 1, limits));
    RowLimits with = limits;
    with.memory_max = kMemory;
    Table tiered = Make(Spec("adagrad", 1, with), MemoryTiers());
    std::mt19937_64 random(11);
    uint64_t most = 0;
    for (uint64_t round = 1; round <= 120; ++round) {
      const Batch batch(whole, Drawn(random, 6000, round % 3 == 0 ? 20'000 : limits.admit_after > 1 ? 70'000 : 300'000), random);
      BOOST_REQUIRE(Push(whole, batch).ok());
      BOOST_REQUIRE(Push(tiered, batch).ok());
      const Batch other(whole, Drawn(random, 3000, 300'000), random);
      BOOST_REQUIRE(Same(Pulled(whole, other), Pulled(tiered, other)));
      whole.SetRounds(round);
      tiered.SetRounds(round);
      BOOST_REQUIRE_EQUAL(whole.rows(), tiered.rows());
      BOOST_REQUIRE_LE(tiered.bytes(), kMemory);
      most = std::max(most, tiered.spilled());
    }
    BOOST_TEST(most > 0U, "admit_after " << limits.admit_after << ", ttl " << limits.ttl);
    BOOST_TEST(whole.evicted() == tiered.evicted());
    BOOST_TEST(whole.dropped() == tiered.dropped());
    BOOST_TEST((Bytes(whole) == Bytes(tiered)));
  }
}

BOOST_AUTO_TEST_CASE(saved_ranges_come_back_with_rows_on_disk_and_go_on_alike) {
  const RowLimits limits{.admit_after = 2, .ttl = 50, .rows_max = 200'000, .memory_max = kMemory};
  Table table = Make(Spec("adam", 2, limits), MemoryTiers());
  Table again = Make(Spec("adam", 2, limits), MemoryTiers());
  std::mt19937_64 random(12);
  const auto step = [&](uint64_t round, std::vector<Table*> tables) {
    const Batch batch(table, Drawn(random, 5000, 60'000), random);
    for (Table* each : tables) {
      BOOST_REQUIRE(Push(*each, batch).ok());
      each->SetRounds(round);
    }
  };
  for (uint64_t round = 1; round <= 40; ++round) step(round, {&table});
  BOOST_REQUIRE(Push(again, Drawn(random, 5000, 60'000)).ok());   // is replaced
  BOOST_TEST(table.spilled() > 0U);
  for (uint32_t range = 0; range < 4; ++range) BOOST_REQUIRE(again.Load(range, table.Save(range)).ok());
  again.SetRounds(40, true);
  BOOST_TEST((Bytes(table) == Bytes(again)));
  BOOST_TEST(again.bytes() <= kMemory);
  BOOST_TEST(again.spilled() > 0U);
  BOOST_TEST(again.dropped() == table.dropped());
  for (uint64_t round = 41; round <= 160; ++round) step(round, {&table, &again});
  BOOST_TEST(table.evicted() > 0U);
  BOOST_TEST((Bytes(table) == Bytes(again)));

  const std::string before = Bytes(again);
  const Block good = table.Save(1);
  for (size_t size = 0; size < good.size(); size += 1 + good.size() / 997) BOOST_TEST(!again.Load(1, good.Slice(0, size)).ok());
  std::string longer(reinterpret_cast<const char*>(good.data()), good.size());
  longer.push_back('\0');
  BOOST_TEST(Message(again.Load(1, Block::Copy(longer.data(), longer.size()))).ends_with("bytes of range 1: 1 bytes too many"));
  BOOST_TEST(Message(again.Load(1, Make(Spec("adam", 2)).Save(1))).ends_with("not a range of a table, or of another version"));
  BOOST_TEST((Bytes(again) == before));
}

BOOST_AUTO_TEST_CASE(a_full_disk_stops_admission_and_keeps_what_there_is) {
  auto faults = std::make_shared<TierFaults>();
  Table plain = Make(Spec("adagrad"));
  Table small = Make(Spec("adagrad", 1, {.memory_max = kMemory}), FaultyTiers(faults));
  std::mt19937_64 random(13);
  for (int step = 0; step < 40; ++step) {
    const Batch batch(plain, Drawn(random, 4000, 100'000), random);
    BOOST_REQUIRE(Push(plain, batch).ok());
    BOOST_REQUIRE(Push(small, batch).ok());
  }
  faults->rows_left = 0;
  // Rows are taken while there is room in memory, then refused, each time with the reason; what is refused changes nothing.
  size_t taken = 0, refused = 0;
  std::vector<Key> last;
  for (int step = 0; step < 200; ++step) {
    const std::vector<Key> keys = Drawn(random, 100, 100'000'000);
    const Batch batch(plain, keys, random);
    const std::vector<RowsIn> rows = batch.In();
    const absl::Status status = small.Check(rows);
    if (!status.ok()) {
      ++refused;
      BOOST_TEST(absl::IsResourceExhausted(status));
      BOOST_TEST(Message(status).starts_with("table 'w': no new rows are taken, for range "), Message(status));
      BOOST_TEST(Message(status).ends_with("tier: no space left on device"), Message(status));
      continue;
    }
    ++taken;
    last = keys;
    small.Apply(rows);
    plain.Apply(rows);
  }
  BOOST_TEST(taken > 0U);
  BOOST_TEST(refused > 0U);
  const size_t slack = size_t{100} * 64;
  BOOST_TEST(small.bytes() <= kMemory + kMemory / 4 + slack);
  // Pushes to rows in memory go on; pulls find everything and do not fill the memory.
  for (int step = 0; step < 5; ++step) {
    BOOST_REQUIRE(Push(small, last).ok());
    BOOST_REQUIRE(Push(plain, last).ok());
  }
  const size_t bytes = small.bytes();
  for (int step = 0; step < 50; ++step) {
    const Batch batch(plain, Drawn(random, 4000, 100'000), random);
    BOOST_REQUIRE(Same(Pulled(plain, batch), Pulled(small, batch)));
    BOOST_REQUIRE_LE(small.bytes(), bytes + kMemory / 8);
  }
  BOOST_TEST((Contents(plain) == Contents(small)));
  // A change of all rows cannot be refused: what the disk does not take stays in memory.
  const auto halve = [](const TableRows& rows, double* values) {
    for (size_t i = 0; i < rows.n; ++i) values[i] *= 0.5;
  };
  for (uint32_t range = 0; range < 4; ++range) {
    plain.Change(range, halve);
    small.Change(range, halve);
  }
  BOOST_TEST((Contents(plain) == Contents(small)));
  // Room again: as if nothing had been.
  faults->rows_left = UINT64_MAX;
  for (int step = 0; step < 40; ++step) {
    const Batch batch(plain, Drawn(random, 4000, 100'000), random);
    BOOST_REQUIRE(Push(plain, batch).ok());
    BOOST_REQUIRE(Push(small, batch).ok());
  }
  BOOST_TEST((Contents(plain) == Contents(small)));
  BOOST_TEST(small.bytes() <= kMemory);
}

BOOST_AUTO_TEST_CASE(a_full_disk_lets_no_evicted_row_come_back) {
  auto faults = std::make_shared<TierFaults>();
  Table table = Make(Spec("sgd", 1, {.ttl = 4, .memory_max = kMemory}), FaultyTiers(faults));
  std::mt19937_64 random(14);
  for (int step = 0; step < 20; ++step) BOOST_REQUIRE(Push(table, Drawn(random, 5000, 100'000)).ok());
  BOOST_TEST(table.spilled() > 0U);
  const uint64_t rows = table.rows();
  faults->rows_left = 0;
  for (uint64_t round = 1; round < 12; ++round) table.SetRounds(round);
  BOOST_TEST(table.rows() == rows);   // none goes by halves
  faults->rows_left = UINT64_MAX;
  for (uint64_t round = 12; round < 24; ++round) table.SetRounds(round);
  BOOST_TEST(table.rows() == 0U);
  BOOST_TEST(table.evicted() == rows);
  BOOST_TEST(Contents(table).empty());
}

BOOST_AUTO_TEST_CASE(a_disk_that_cannot_be_read_makes_the_table_refuse_everything) {
  const auto filled = [](const std::shared_ptr<TierFaults>& faults) {
    Table table = Make(Spec("add", 1, {.memory_max = kMemory}), FaultyTiers(faults));
    std::mt19937_64 random(15);
    for (int step = 0; step < 30; ++step) BOOST_REQUIRE(Push(table, Drawn(random, 5000, 100'000)).ok());
    faults->unreadable = true;
    BOOST_REQUIRE(table.usable().ok());
    return table;
  };
  const auto refuses = [](Table& table) {
    const std::string expected = "table 'w': rows on the disk cannot be read: tier: input/output error";
    BOOST_TEST(absl::IsDataLoss(table.usable()));
    float value;
    const Key key = 1;
    BOOST_TEST(Message(table.Pull(table.partition().RangeOf(1), {&key, 1}, &value)) == expected);
    BOOST_TEST(Message(Push(table, {1})) == expected);
    BOOST_TEST(Message(table.Assign(table.partition().RangeOf(1), {&key, 1}, &value)) == expected);
  };
  std::mt19937_64 random(16);
  const std::vector<std::function<void(Table&)>> readings = {
      [&](Table& table) {
        const Batch batch(table, Drawn(random, 2000, 100'000), random);
        table.Apply(batch.In());
      },
      [&](Table& table) {
        for (const auto& [range, keys] : Batch(table, Drawn(random, 2000, 100'000), random).keys) {
          std::vector<double> values(keys.size());
          table.Read(range, keys, values.data());
        }
      },
      [](Table& table) { table.Save(0); },
      [](Table& table) { table.EachRow(1, [](const TableRows&) {}); },
      [](Table& table) { table.Change(1, [](const TableRows&, double*) {}); },
      [](Table& table) { ExportRange(table, 2); },
  };
  for (const auto& reading : readings) {
    Table table = filled(std::make_shared<TierFaults>());
    reading(table);
    refuses(table);
  }
  std::vector<Table> tables;
  tables.push_back(filled(std::make_shared<TierFaults>()));
  BOOST_TEST(absl::IsDataLoss(CallTables({.function = "norm"}, tables).status()));
}

BOOST_AUTO_TEST_CASE(memory_that_holds_too_little_and_rows_without_a_place_are_refused) {
  BOOST_TEST(Message(Table::Make(Spec("sgd", 1, {.memory_max = kMemory}), 0, 1).status()) ==
             "table 'w': memory_max is 1048576, but there is no place for the rows beyond it");
  BOOST_TEST(Message(Table::Make(Spec("adam", 4096, {.memory_max = kMemory}, 64), 0, 1, MemoryTiers()).status()) ==
             "table 'w': memory_max is 1048576, expected more: it holds fewer than 8 rows of 49160 bytes in each of 64 ranges");
}

BOOST_AUTO_TEST_CASE(rows_on_a_real_disk_are_the_same) {
  const std::string folder = "/tmp/troupe-limited-table-" + std::to_string(getpid());
  {
    Table plain = Make(Spec("ftrl"));
    Table small = Make(Spec("ftrl", 1, {.memory_max = kMemory}), DiskTiers(folder));
    std::mt19937_64 random(17);
    for (int step = 0; step < 40; ++step) {
      const Batch batch(plain, Drawn(random, 4000, 200'000), random);
      BOOST_REQUIRE(Push(plain, batch).ok());
      BOOST_REQUIRE(Push(small, batch).ok());
      BOOST_REQUIRE_LE(small.bytes(), kMemory + kMemory / 8);   // an eighth: what RocksDB takes beyond what it is told to
    }
    BOOST_TEST(small.spilled() > small.rows() / 2);
    BOOST_TEST((Contents(plain) == Contents(small)));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
