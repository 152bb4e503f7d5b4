// Function diff: how two tables differ, as a branch and its table.
//   rows   so many of the rows that differ are answered too, those with the smallest keys; 0 .. 1,000,000; 0
// Answers three numbers: the l2 norm of the difference, the largest of its absolute values, how many rows differ; then, row by row, the first table's values
// and the second's. Keys: of those rows. A row that one of the two lacks counts as its initial values. Ranges that both share are not looked at.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ps/function.h"

namespace troupe {
namespace {

constexpr size_t kNumbers = 3;

class Diff final : public ReadingFunction {
 public:
  Diff(size_t width, size_t rows) : width_(width), rows_(rows) {}

  FunctionValue Map(const RangeReader& rows) const override {
    FunctionValue part{{}, std::vector<double>(kNumbers)};
    if (rows.Shared()) return part;
    const std::vector<Key> keys = Keys(rows);
    std::vector<double> a(keys.size() * width_), b(a.size());
    rows.Read(keys, a.data(), 0);
    rows.Read(keys, b.data(), 1);
    double squares = 0, largest = 0;
    for (size_t i = 0; i < keys.size(); ++i) {
      const double *x = a.data() + i * width_, *y = b.data() + i * width_;
      if (std::equal(x, x + width_, y)) continue;
      ++part.numbers[2];
      for (size_t j = 0; j < width_; ++j) {
        squares += (x[j] - y[j]) * (x[j] - y[j]);
        largest = std::max(largest, std::fabs(x[j] - y[j]));
      }
      if (part.keys.size() == rows_) continue;
      part.keys.push_back(keys[i]);
      part.numbers.insert(part.numbers.end(), x, x + width_);
      part.numbers.insert(part.numbers.end(), y, y + width_);
    }
    part.numbers[0] = squares;
    part.numbers[1] = largest;
    return part;
  }
  absl::Status CheckPart(const FunctionValue& part) const override {
    if (part.keys.size() <= rows_ && part.numbers.size() == kNumbers + 2 * width_ * part.keys.size() && std::is_sorted(part.keys.begin(), part.keys.end())) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(absl::StrCat("diff: a part of ", part.keys.size(), " keys and ", part.numbers.size(), " numbers, expected at most ",
                                                   rows_, " rising keys and ", kNumbers, " + ", 2 * width_, " numbers for each"));
  }
  FunctionValue Merge(FunctionValue low, FunctionValue high) const override {
    FunctionValue both{{}, {low.numbers[0] + high.numbers[0], std::max(low.numbers[1], high.numbers[1]), low.numbers[2] + high.numbers[2]}};
    for (size_t i = 0, j = 0; both.keys.size() < rows_ && (i < low.keys.size() || j < high.keys.size());) {
      const bool from_low = j == high.keys.size() || (i < low.keys.size() && low.keys[i] < high.keys[j]);
      const FunctionValue& from = from_low ? low : high;
      const size_t at = from_low ? i++ : j++;
      both.keys.push_back(from.keys[at]);
      const auto values = from.numbers.begin() + static_cast<ptrdiff_t>(kNumbers + 2 * width_ * at);
      both.numbers.insert(both.numbers.end(), values, values + static_cast<ptrdiff_t>(2 * width_));
    }
    return both;
  }
  FunctionValue Finish(FunctionValue whole) const override {
    whole.numbers[0] = std::sqrt(whole.numbers[0]);
    return whole;
  }

 private:
  /// Of either table, rising.
  static std::vector<Key> Keys(const RangeReader& rows) {
    std::vector<Key> keys;
    for (const size_t table : {0, 1}) {
      const auto middle = static_cast<ptrdiff_t>(keys.size());
      rows.Each(
          [&](const TableRows& block) {
            for (size_t i = 0; i < block.n; ++i) keys.push_back(block.key(i));
          },
          table);
      std::inplace_merge(keys.begin(), keys.begin() + middle, keys.end());
    }
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    return keys;
  }

  const size_t width_, rows_;
};

const RegisterFunction registration({.name = "diff", .tables_max = 2, .read = [](ArgumentReader& arguments) -> std::unique_ptr<ReadingFunction> {
                                       arguments.TwoTables();
                                       const uint64_t rows = arguments.Whole("rows", 0, 0, 1'000'000);
                                       return std::make_unique<Diff>(arguments.table().width, rows);
                                     }});

}   // namespace
}   // namespace troupe
