// Function top_k: the rows that stand highest, e.g. the features with the largest weights.
//   k        how many, 1 .. 1,000,000; fewer where there are fewer rows
//   by       value (the default) or abs of one column, or norm: the l2 norm of the whole row
//   column   which, for value and abs; 0
//   order    largest (the default) or smallest first
// Answers keys and what they were compared by, in order; of two that are equal the lower key comes first. Only rows that exist are looked at.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ps/function.h"

namespace troupe {
namespace {

constexpr uint64_t kMost = 1'000'000;

class TopK final : public ReadingFunction {
 public:
  enum class By : uint8_t { kValue, kAbs, kNorm };
  TopK(size_t k, By by, uint32_t column, bool smallest) : k_(k), by_(by), column_(column), sign_(smallest ? -1 : 1) {}

  FunctionValue Map(const RangeReader& rows) const override {
    std::vector<Ranked> best;   // a heap, once it is full: the lowest at the front
    rows.Each([&](const TableRows& block) {
      for (size_t i = 0; i < block.n; ++i) {
        const Ranked row{block.key(i), Measure(block.row(i))};
        if (best.size() < k_) {
          best.push_back(row);
          if (best.size() == k_) std::make_heap(best.begin(), best.end(), before_);
        } else if (before_(row, best.front())) {
          std::pop_heap(best.begin(), best.end(), before_);
          best.back() = row;
          std::push_heap(best.begin(), best.end(), before_);
        }
      }
    });
    std::sort(best.begin(), best.end(), before_);
    FunctionValue part;
    for (const Ranked& row : best) Append(part, row.key, row.measure);
    return part;
  }

  absl::Status CheckPart(const FunctionValue& part) const override {
    if (part.keys.size() != part.numbers.size() || part.keys.size() > k_) {
      return absl::InvalidArgumentError(
          absl::StrCat("top_k: a part of ", part.keys.size(), " keys and ", part.numbers.size(), " numbers, expected as many and at most ", k_));
    }
    return absl::OkStatus();
  }
  FunctionValue Merge(FunctionValue low, FunctionValue high) const override {
    FunctionValue both;
    for (size_t i = 0, j = 0; both.keys.size() < k_ && i + j < low.keys.size() + high.keys.size();) {
      const bool first = j == high.keys.size() || (i < low.keys.size() && before_({low.keys[i], low.numbers[i]}, {high.keys[j], high.numbers[j]}));
      FunctionValue& from = first ? low : high;
      size_t& at = first ? i : j;
      Append(both, from.keys[at], from.numbers[at]);
      ++at;
    }
    return both;
  }
  FunctionValue Finish(FunctionValue whole) const override {
    for (double& number : whole.numbers) number *= sign_;
    return whole;
  }

 private:
  struct Ranked {
    Key key;
    double measure;   // times the sign: more is better
  };
  static bool Before(const Ranked& a, const Ranked& b) { return a.measure != b.measure ? a.measure > b.measure : a.key < b.key; }
  static void Append(FunctionValue& to, Key key, double measure) {
    to.keys.push_back(key);
    to.numbers.push_back(measure);
  }
  double Measure(std::span<const double> row) const {
    double measure = row[column_];
    if (by_ == By::kAbs) measure = std::fabs(measure);
    if (by_ == By::kNorm) {
      double squares = 0;
      for (const double x : row) squares += x * x;
      measure = std::sqrt(squares);
    }
    return std::isnan(measure) ? -std::numeric_limits<double>::infinity() : sign_ * measure;   // no number is behind all others
  }

  static constexpr auto before_ = &Before;
  const size_t k_;
  const By by_;
  const uint32_t column_;
  const double sign_;
};

const RegisterFunction registration(
    {.name = "top_k", .read = [](ArgumentReader& arguments) -> std::unique_ptr<ReadingFunction> {
       const uint64_t k = arguments.Whole("k", std::nullopt, 1, kMost);
       const std::string by = arguments.Word("by", {"value", "abs", "norm"});
       const auto column = static_cast<uint32_t>(arguments.Whole("column", 0, 0, arguments.table().width - 1));
       const bool smallest = arguments.Word("order", {"largest", "smallest"}) == "smallest";
       return std::make_unique<TopK>(k, by == "norm" ? TopK::By::kNorm : by == "abs" ? TopK::By::kAbs : TopK::By::kValue, column, smallest);
     }});

}   // namespace
}   // namespace troupe
