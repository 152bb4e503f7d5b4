#include "ps/bench_rules.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "ps/internal/bench_batches.h"
#include "ps/internal/bench_compare.h"
#include "ps/internal/plain_rules.h"
#include "ps/table.h"

namespace troupe {
namespace {

using internal::Batches;
using internal::Compare;
using internal::PlainDense;
using internal::PlainRows;

constexpr size_t kDenseFloats = 10'000'000;
constexpr size_t kMillion = 1'000'000;
constexpr uint32_t kWide = 64;

Table MakeTable(const std::string& rule, uint32_t width, std::optional<uint64_t> rows) {
  TableSpec spec;
  spec.rule = rule;
  spec.width = width;
  spec.rows = rows;
  auto table = Table::Make(spec, 0, 1);
  TROUPE_CHECK(table.ok());
  return std::move(*table);
}

std::vector<float> Gradient(size_t n) {
  std::vector<float> gradient(n);
  std::mt19937 random(1);
  for (float& g : gradient) g = static_cast<float>(random() % 1000) * 1e-3f - 0.5f;
  return gradient;
}

/// The whole table in one push; lamb by rows of 64 floats, which are its layers, else scalar rows.
BenchRow DensePush(const std::string& rule) {
  const uint32_t width = rule == "lamb" ? kWide : 1;
  Table table = MakeTable(rule, width, kDenseFloats / width);
  PlainDense plain(rule, kDenseFloats, width);
  const std::vector<float> gradient = Gradient(kDenseFloats);
  const Partition& partition = table.partition();
  const auto push = [&] {
    for (uint32_t range = 0; range < partition.ranges(); ++range) {
      const Key first = partition.FirstRow(range);
      TROUPE_CHECK(table.ApplyDense(range, first, partition.RowsIn(range), gradient.data() + first * width).ok());
    }
  };
  return Compare(absl::StrCat("dense push 10M floats ", rule), kDenseFloats / 1e6, "Mfloats/s", push, [&] { plain.Push(gradient.data()); });
}

/// A table and plain rows that hold the same rows.
struct Pair {
  Table table;
  PlainRows plain;
  Pair(const std::string& rule, bool dense, const Batches::Shape& shape)
      : table(MakeTable(rule, shape.width, dense ? std::optional<uint64_t>(shape.rows + 1) : std::nullopt)), plain(rule, shape.rows + 1, shape.width) {
    std::vector<std::vector<Key>> rows(table.partition().ranges());
    for (Key row = 1; row <= shape.rows; ++row) rows[table.partition().RangeOf(shape.KeyOf(row))].push_back(row);
    std::mt19937 random(3);
    for (uint32_t range = 0; range < rows.size(); ++range) {
      std::shuffle(rows[range].begin(), rows[range].end(), random);   // a table meets its keys in no order
      const std::vector<float> zeros(rows[range].size() * shape.width);
      plain.Push(rows[range], zeros.data());
      for (Key& row : rows[range]) row = shape.KeyOf(row);
      TROUPE_CHECK(table.Apply(range, rows[range], zeros.data()).ok());
    }
  }

  BenchRow Push(const std::string& name, const Batches& batches, void (PlainRows::*plain_push)(std::span<const Key>, const float*) = &PlainRows::Push) {
    const auto push = [&] {
      for (size_t b = 0; b < batches.batches.size(); ++b) {
        const std::vector<RowsIn> rows = batches.In(b);
        TROUPE_CHECK(table.Check(rows).ok());
        table.Apply(rows);
      }
    };
    return Compare(name, batches.millions(), "Mkeys/s", push, [&] {
      for (size_t b = 0; b < batches.batches.size(); ++b) (plain.*plain_push)(batches.RowsOf(b), batches.GradientOf(b));
    });
  }
  BenchRow Pull(const std::string& name, const Batches& batches) {
    std::vector<float> out(batches.keys.size() * batches.width);
    const auto pull = [&] {
      for (size_t b = 0; b < batches.batches.size(); ++b) TROUPE_CHECK(table.Pull(batches.Out(b, out.data())).ok());
    };
    return Compare(name, batches.millions(), "Mkeys/s", pull, [&] {
      for (size_t b = 0; b < batches.batches.size(); ++b) plain.Pull(batches.RowsOf(b), out.data() + batches.batches[b].front().begin * batches.width);
    });
  }
};

/// Of scalar rows 10,000 keys at once, of wide ones 1,000. Keys are the rows' numbers, as of features and vocabularies, or `hashed`: a flat array is indexed by
/// the numbers then, which a user who has hashes would have to look up first.
void SparsePushes(const std::string& rule, uint32_t width, size_t millions, bool hashed, std::vector<BenchRow>* rows) {
  const Batches::Shape shape{
      .rows = millions * kMillion, .batch = width == 1 ? 10'000u : 1'000u, .count = width == 1 ? 100u : 300u, .width = width, .hashed = hashed};
  Pair pair(rule, false, shape);
  const Batches batches(pair.table.partition(), shape);
  const std::string name =
      absl::StrCat("sparse push ", shape.batch, " of ", millions, "M rows of ", width, hashed ? ", keys hashes, " : ", ", rule, "; limit: a flat array, ");
  rows->push_back(pair.Push(name + "gather, update, scatter", batches, &PlainRows::PushInSteps));
  rows->push_back(pair.Push(name + "a row at once", batches));
  if (width == kWide && rule == "sgd" && !hashed) rows->push_back(pair.Pull("sparse pull 1000 of 1M rows of 64; limit: a flat array", batches));
}

void DenseByKeys(std::vector<BenchRow>* rows) {
  const Batches::Shape shape{.rows = kMillion, .batch = 1'000, .count = 300, .width = kWide};
  Pair pair("sgd", true, shape);
  const Batches batches(pair.table.partition(), shape);
  rows->push_back(pair.Push("dense push 1000 of 1M rows of 64 sgd; limit: a flat array", batches));
  rows->push_back(pair.Pull("dense pull 1000 of 1M rows of 64; limit: a flat array", batches));
}

double ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  double pages = 0, resident = 0;
  TROUPE_CHECK(bool(statm >> pages >> resident));
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}
/// Since the start, or, where the system lets it be forgotten, since ForgetPeak.
double PeakBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kilobytes;
    if (word == "VmHWM:" && status >> kilobytes) return kilobytes * 1024;
  }
  TROUPE_CHECK(false);
}
void ForgetPeak() {
  std::ofstream("/proc/self/clear_refs") << 5;
}

/// What the system says that keys of one float and two of FTRL's take, in the end and while their table grows from nothing. The limit: an array of them.
std::vector<BenchRow> Memory100M() {
  constexpr size_t kKeys = 100'000'000, kBatch = 100'000;
  struct PlainKey {
    Key key;
    float z, n;
  };
  const double before_plain = ResidentBytes();
  auto plain = std::make_unique<std::vector<PlainKey>>(kKeys, PlainKey{1, 1, 1});
  const double limit = (ResidentBytes() - before_plain) / kKeys;
  TROUPE_CHECK((*plain)[kKeys / 2].key == 1);
  plain.reset();

  const std::vector<float> gradient(kBatch, 0.5f);
  std::vector<std::vector<Key>> by_range;
  const double before = ResidentBytes();
  ForgetPeak();
  Table table = MakeTable("ftrl", 1, std::nullopt);
  by_range.resize(table.partition().ranges());
  for (size_t first = 0; first < kKeys; first += kBatch) {
    for (std::vector<Key>& keys : by_range) keys.clear();
    for (size_t i = first; i < first + kBatch; ++i) {
      const Key key = i * 0x9e3779b97f4a7c15;   // odd: distinct keys
      by_range[table.partition().RangeOf(key)].push_back(key);
    }
    for (uint32_t range = 0; range < by_range.size(); ++range) TROUPE_CHECK(table.Apply(range, by_range[range], gradient.data()).ok());
  }
  TROUPE_CHECK(table.rows() == kKeys);
  const double rest = (ResidentBytes() - before) / kKeys, peak = (PeakBytes() - before) / kKeys;
  return {{.name = "100M keys with ftrl, resident; limit: an array of them", .value = rest, .unit = "bytes/key", .limit = limit, .ratio = limit / rest},
          {.name = "the same, the most while they came; limit: in the end", .value = peak, .unit = "bytes/key", .limit = rest, .ratio = rest / peak}};
}

}   // namespace

std::vector<BenchRow> BenchRules(bool full) {
  std::vector<BenchRow> rows;
  for (const char* rule : {"add", "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "ftrl", "lamb"}) rows.push_back(DensePush(rule));
  for (const uint32_t width : {1u, kWide}) {
    for (const char* rule : {"sgd", "adagrad", "adam", "ftrl"}) SparsePushes(rule, width, 1, false, &rows);
    for (const char* rule : {"sgd", "ftrl"}) SparsePushes(rule, width, 1, true, &rows);
  }
  DenseByKeys(&rows);
  if (full) {   // scalars that no cache holds, beside a flat array that none holds either
    for (const char* rule : {"sgd", "adagrad", "adam", "ftrl"}) SparsePushes(rule, 1, 64, false, &rows);
    for (BenchRow& row : Memory100M()) rows.push_back(std::move(row));
  }
  return rows;
}

}   // namespace troupe
