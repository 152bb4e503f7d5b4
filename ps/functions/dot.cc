// Function dot: the inner product of two tables of one shape, or of a table and the rows given with the call. Reads floats, adds up doubles by rising key.
// Answers one number. A row that does not exist in one of two sparse tables counts as zeros.
#include <algorithm>
#include <array>
#include <map>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "actors/text.h"
#include "ps/function.h"

namespace troupe {
namespace {

/// Eight sums side by side: an order that the compiler can keep in vectors.
double Of(const double* a, const double* b, size_t n) {
  std::array<double, 8> sums{};
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (size_t j = 0; j < 8; ++j) sums[j] += a[i + j] * b[i + j];
  for (; i < n; ++i) sums[i % 8] += a[i] * b[i];
  for (size_t half = 4; half > 0; half /= 2)
    for (size_t j = 0; j < half; ++j) sums[j] += sums[j + half];
  return sums[0];
}

class Dot : public ReadingFunction {
 public:
  explicit Dot(uint32_t width) : width_(width) {}
  absl::Status CheckPart(const FunctionValue& part) const override {
    if (part.keys.empty() && part.numbers.size() == 1) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("dot: a part of ", part.keys.size(), " keys and ", part.numbers.size(), " numbers, expected one number"));
  }
  FunctionValue Merge(FunctionValue low, FunctionValue high) const override { return {{}, {low.numbers[0] + high.numbers[0]}}; }

 protected:
  const size_t width_;
};

class DotOfTables final : public Dot {
 public:
  using Dot::Dot;
  FunctionValue Map(const RangeReader& rows) const override {
    double sum = 0;
    std::vector<Key> keys;
    std::vector<double> other;
    rows.Each([&](const TableRows& block) {
      keys.resize(block.n);
      other.resize(block.n * width_);
      for (size_t i = 0; i < block.n; ++i) keys[i] = block.key(i);
      rows.Read(keys, other.data(), 1);
      sum += Of(block.values, other.data(), other.size());
    });
    return {{}, {sum}};
  }
};

class DotOfRows final : public Dot {
 public:
  DotOfRows(const TableSpec& spec, std::span<const Key> keys, std::span<const float> values) : Dot(spec.width) {
    const Partition partition(spec, 1);
    std::vector<size_t> order(keys.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return keys[a] < keys[b]; });
    for (const size_t i : order) {
      Rows& rows = rows_[partition.RangeOf(keys[i])];
      rows.keys.push_back(keys[i]);
      rows.values.insert(rows.values.end(), values.begin() + static_cast<ptrdiff_t>(i * width_), values.begin() + static_cast<ptrdiff_t>((i + 1) * width_));
    }
  }
  FunctionValue Map(const RangeReader& rows) const override {
    const auto given = rows_.find(rows.range());
    if (given == rows_.end()) return {{}, {0}};
    std::vector<double> values(given->second.values.size());
    rows.Read(given->second.keys, values.data());
    return {{}, {Of(values.data(), given->second.values.data(), values.size())}};
  }

 private:
  struct Rows {
    std::vector<Key> keys;
    std::vector<double> values;
  };
  std::map<uint32_t, Rows> rows_;   // by range
};

/// Tables whose ranges hold the same keys.
void CheckShapes(ArgumentReader& arguments) {
  const TableSpec &a = arguments.table(0), &b = arguments.table(1);
  if (a.width != b.width) arguments.Refuse(absl::StrCat("table '", b.name, "' has width ", b.width, ", expected ", a.width, " as table '", a.name, "'"));
  if (a.rows != b.rows) {
    const auto rows = [](const TableSpec& spec) { return spec.rows ? absl::StrCat(*spec.rows, " rows") : "no fixed rows (it is sparse)"; };
    arguments.Refuse(absl::StrCat("table '", b.name, "' has ", rows(b), ", expected ", rows(a), " as table '", a.name, "'"));
  }
  if (RangeCount(a) != RangeCount(b))
    arguments.Refuse(absl::StrCat("table '", b.name, "' has ", RangeCount(b), " ranges, expected ", RangeCount(a), " as table '", a.name, "'"));
  for (const TableSpec& spec : {a, b}) {
    if (!spec.rows && spec.init.kind != RowInit::Kind::kZero)
      arguments.Refuse(absl::StrCat("table '", spec.name, "' is sparse and its rows do not begin as zeros: its rows are without number"));
  }
}

/// InvalidArgument: not rows of the table, one twice, or not as many values.
void CheckRows(ArgumentReader& arguments, std::span<const Key> keys) {
  const TableSpec& spec = arguments.table();
  const std::span<const float> values = arguments.values();
  if (keys.empty()) arguments.Refuse("rows are missing, expected a second table or rows");
  if (values.size() != keys.size() * spec.width)
    arguments.Refuse(absl::StrCat(values.size(), " values for ", keys.size(), " rows of width ", spec.width, ", expected ", keys.size() * spec.width));
  std::vector<Key> sorted(keys.begin(), keys.end());
  std::sort(sorted.begin(), sorted.end());
  if (const auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end())
    arguments.Refuse(absl::StrCat("row ", *twice, " is given twice"));
  if (spec.rows && !sorted.empty() && sorted.back() >= *spec.rows) arguments.Refuse(absl::StrCat("row is ", sorted.back(), ", expected < ", *spec.rows));
}

const RegisterFunction registration({.name = "dot", .tables_max = 2, .read = [](ArgumentReader& arguments) -> std::unique_ptr<ReadingFunction> {
                                       if (arguments.tables() == 2) {
                                         CheckShapes(arguments);
                                         return std::make_unique<DotOfTables>(arguments.table().width);
                                       }
                                       const std::span<const Key> keys = arguments.keys();
                                       CheckRows(arguments, keys);
                                       if (!arguments.ok()) return nullptr;   // rows that cannot be read
                                       return std::make_unique<DotOfRows>(arguments.table(), keys, arguments.values());
                                     }});

}   // namespace
}   // namespace troupe
