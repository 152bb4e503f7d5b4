#include "ps/bench.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <random>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "ps/call.h"
#include "ps/disk_tier.h"
#include "ps/internal/bench_batches.h"
#include "ps/internal/bench_compare.h"
#include "ps/round_sum.h"
#include "ps/table.h"

namespace troupe {
namespace {

using internal::Batches;
using internal::Compare;

/// One flat open-addressing table with AdaGrad's row, without ranges, checks or other rules.
class PlainTable {
 public:
  struct Row {
    Key key;
    float w, g;
  };
  explicit PlainTable(size_t slots) : rows_(slots, Row{0, 0, 0}), mask_(slots - 1) {}
  Row& At(Key key) {
    size_t i = HashKey(key) & mask_;
    while (rows_[i].key != key && rows_[i].key != 0) i = (i + 1) & mask_;
    rows_[i].key = key;
    return rows_[i];
  }
  void Push(std::span<const Key> keys, const float* gradient) {
    for (size_t i = 0; i < keys.size(); ++i) {
      Row& row = At(keys[i]);
      row.g += gradient[i] * gradient[i];
      row.w -= 0.1f * gradient[i] / (std::sqrt(row.g) + 1e-8f);
    }
  }

 private:
  std::vector<Row> rows_;
  size_t mask_;
};

class SparseBench {
 public:
  SparseBench(size_t rows, size_t slots) : rows_(rows), table_(*Table::Make(Spec(), 0, 1)), plain_(slots) {
    const Batches all(table_.partition(), {.rows = rows, .batch = rows * 4, .count = 1});
    table_.Apply(all.In(0));
    plain_.Push(all.keys, all.gradient.data());
  }

  BenchRow Push(size_t batch, size_t count) {
    const Batches batches(table_.partition(), {.rows = rows_, .batch = batch, .count = count});
    const auto push = [&] {
      for (size_t b = 0; b < count; ++b) {
        const std::vector<RowsIn> rows = batches.In(b);
        TROUPE_CHECK(table_.Check(rows).ok());
        table_.Apply(rows);
      }
    };
    return Compare(Name("push", batch), batches.millions(), "Mkeys/s", push, [&] { plain_.Push(batches.keys, batches.gradient.data()); });
  }
  /// Two writers push the same keys, then the round ends. The plain loop takes both pushes as they come.
  BenchRow Round(size_t batch, size_t count) {
    const Batches batches(table_.partition(), {.rows = rows_, .batch = batch, .count = count});
    RoundSum sum;
    const auto round = [&] {
      for (size_t b = 0; b < count; ++b) {
        const std::vector<RowsIn> rows = batches.In(b);
        for (int writer = 0; writer < 2; ++writer) {
          TROUPE_CHECK(table_.Check(rows).ok());
          for (const RowsIn& share : rows) sum.Add(share);
        }
        sum.ApplyTo(table_, 2);
      }
    };
    const auto plain = [&] {
      for (const auto& parts : batches.batches) {
        const size_t begin = parts.front().begin, n = parts.back().end - begin;
        for (int writer = 0; writer < 2; ++writer) plain_.Push({batches.keys.data() + begin, n}, batches.gradient.data() + begin);
      }
    };
    return Compare(Name("BSP round of 2 writers", batch), 2 * batches.millions(), "Mkeys/s", round, plain);
  }
  BenchRow Pull(size_t batch, size_t count) {
    const Batches batches(table_.partition(), {.rows = rows_, .batch = batch, .count = count});
    std::vector<float> out(batches.keys.size());
    const auto pull = [&] {
      for (size_t b = 0; b < count; ++b) TROUPE_CHECK(table_.Pull(batches.Out(b, out.data())).ok());
    };
    return Compare(Name("pull", batch), batches.millions(), "Mkeys/s", pull, [&] {
      for (size_t i = 0; i < out.size(); ++i) out[i] = plain_.At(batches.keys[i]).w;
    });
  }

 private:
  static TableSpec Spec() {
    TableSpec spec;
    spec.rule = "adagrad";
    return spec;
  }
  std::string Name(const char* what, size_t batch) const { return absl::StrCat("sparse adagrad ", what, ", ", batch, " of ", rows_ / 1000000, "M keys"); }

  size_t rows_;
  Table table_;
  PlainTable plain_;
};

/// A table that is four times as large as the memory it may take beside the same table in memory: pull and push of each batch, as training does, by the clock
/// on the wall. Every key alike is the worst that can be; where a tenth of the keys makes nine tenths of the touches, they stay in memory.
std::vector<BenchRow> QuarterInMemory(size_t rows, bool full) {
  const std::string folder = absl::StrCat(std::filesystem::temp_directory_path().string(), "/troupe-bench-", getpid());
  TableSpec spec;
  spec.rule = "adagrad";
  Table whole = *Table::Make(spec, 0, 1);
  const Batches all(whole.partition(), {.rows = rows, .batch = rows * 4, .count = 1});
  whole.Apply(all.In(0));
  spec.limits.memory_max = whole.bytes() / 4;
  auto made = Table::Make(spec, 0, 1, DiskTiers(folder));
  TROUPE_CHECK(made.ok());
  Table quarter = std::move(*made);
  const size_t at_once = 20'000;
  for (const Batches::Part& part : all.batches[0]) {
    for (size_t begin = part.begin; begin < part.end; begin += at_once) {
      const Batches::Part piece{part.range, begin, std::min(begin + at_once, part.end)};
      TROUPE_CHECK(quarter.Apply(piece.range, all.KeysOf(piece), all.gradient.data() + begin).ok());
    }
  }
  std::vector<BenchRow> result;
  uint64_t round = 0;
  for (const double hot : {0.1, 1.0}) {
    if (hot == 1 && !full) break;   // takes 10 s
    const size_t batch = 1'700, count = 100;
    const Batches batches(whole.partition(), {.rows = rows, .batch = batch, .count = count, .hot = hot});
    std::vector<float> out(batches.keys.size());
    const auto pull_and_push = [&](Table& table) {
      for (size_t b = 0; b < count; ++b) {
        TROUPE_CHECK(table.Pull(batches.Out(b, out.data())).ok());
        const std::vector<RowsIn> rows_in = batches.In(b);
        TROUPE_CHECK(table.Check(rows_in).ok());
        table.Apply(rows_in);
        table.SetRounds(++round);
      }
    };
    result.push_back(Compare(
        absl::StrCat("a quarter of ", rows / 1'000'000, "M keys in memory, ", hot < 1 ? "90 % of touches to 10 %" : "all alike"),
        static_cast<double>(batches.keys.size()) / 1e6, "Mkeys/s", [&] { pull_and_push(quarter); }, [&] { pull_and_push(whole); }, internal::WallSeconds));
  }
  return result;
}

/// Function norm over a whole dense table, all slices one after the other. The plain loop has eight sums of doubles too.
BenchRow DenseNorm(size_t n) {
  TableSpec spec;
  spec.rule = "sgd";
  spec.rows = n;
  std::vector<Table> tables;
  tables.push_back(*Table::Make(spec, 0, 1));
  std::vector<float> plain(n);
  std::mt19937 random(3);
  for (float& x : plain) x = static_cast<float>(random() % 1000) * 1e-3f - 0.5f;
  const Partition& partition = tables[0].partition();
  for (uint32_t range = 0; range < partition.ranges(); ++range) {
    const Key first = partition.FirstRow(range);
    TROUPE_CHECK(tables[0].ApplyDense(range, first, partition.RowsIn(range), plain.data() + first).ok());
  }
  double ours = 0, other = 0;
  BenchRow row = Compare(
      absl::StrCat("dense norm ", n / 1000000, "M floats"), static_cast<double>(n) / 1e6, "Mfloats/s",
      [&] { ours += CallTables({.function = "norm"}, tables)->numbers[0]; },
      [&] {
        double sums[8] = {};
        for (size_t i = 0; i + 8 <= n; i += 8)
          for (size_t j = 0; j < 8; ++j) sums[j] += double{plain[i + j]} * double{plain[i + j]};
        for (const double sum : sums) other += sum;
      });
  TROUPE_CHECK(ours > 0 && other > 0);   // both are needed
  return row;
}

/// A view of a dense table beside a copy of as many pointers; then, with that view, the first push to each range beside a copy of the range.
std::vector<BenchRow> DenseViews(size_t n) {
  TableSpec spec;
  spec.rule = "sgd";
  spec.rows = n;
  Table table = *Table::Make(spec, 0, 1);
  const Partition& partition = table.partition();
  const size_t ranges = partition.ranges();
  constexpr size_t kViews = 1000;
  const std::vector<std::shared_ptr<int>> pointers(ranges, std::make_shared<int>(0));
  size_t made = 0;
  std::vector<BenchRow> rows;
  rows.push_back(Compare(
      absl::StrCat("view of a dense table of ", n / 1000000, "M floats, made and dropped"), kViews / 1e3, "K/s",
      [&] {
        for (size_t i = 0; i < kViews; ++i) made += table.Fork().partition().ranges();
      },
      [&] {
        for (size_t i = 0; i < kViews; ++i) made += std::vector<std::shared_ptr<int>>(pointers).size();
      }));
  TROUPE_CHECK(made > 0);
  const size_t range_bytes = table.bytes() / ranges;
  const std::vector<std::byte> from(table.bytes(), std::byte{1});
  std::vector<std::byte> to(table.bytes(), std::byte{2});
  const float one = 1;
  std::optional<Table> view;
  rows.push_back(Compare(
      absl::StrCat("first push to ", ranges, " dense ranges of ", range_bytes >> 10, " KiB after a view"), static_cast<double>(table.bytes()) / 1e9, "GB/s",
      [&] {
        view.emplace(table.Fork());   // the one before ends: its memory is what the copies use
        for (uint32_t range = 0; range < ranges; ++range) TROUPE_CHECK(table.ApplyDense(range, partition.FirstRow(range), 1, &one).ok());
      },
      [&] {
        for (size_t range = 0; range < ranges; ++range) std::memcpy(to.data() + range * range_bytes, from.data() + range * range_bytes, range_bytes);
        asm volatile("" : : "r"(to.data()) : "memory");
      }));
  return rows;
}

}   // namespace

std::vector<BenchRow> BenchTables(bool full) {
  std::vector<BenchRow> rows;
  rows.push_back(DenseNorm(10'000'000));
  for (BenchRow& row : DenseViews(10'000'000)) rows.push_back(std::move(row));
  SparseBench sparse(1'000'000, 1 << 21);
  rows.push_back(sparse.Push(100'000, 3));
  rows.push_back(sparse.Push(1'700, 200));
  for (BenchRow& row : QuarterInMemory(1'000'000, full)) rows.push_back(std::move(row));
  if (!full) return rows;
  rows.push_back(sparse.Round(1'700, 200));
  rows.push_back(sparse.Pull(1'700, 200));
  SparseBench large(10'000'000, 1 << 25);
  rows.push_back(large.Push(100'000, 3));
  rows.push_back(large.Push(1'700, 200));
  return rows;
}

}   // namespace troupe
