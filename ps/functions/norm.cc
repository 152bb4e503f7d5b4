// Function norm: of all values of a table, or of the given columns, taken as one vector. Reads floats, adds up doubles.
//   kind      l2 (the default), l1 or max
//   columns   which; all where they are not given
// Answers one number. Rows of a sparse table that do not exist count as zeros.
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "ps/function.h"

namespace troupe {
namespace {

enum class Kind : uint8_t { kL2, kL1, kMax };

template <Kind kKind>
double Into(double sum, double x) {
  if constexpr (kKind == Kind::kL2) return sum + x * x;
  if constexpr (kKind == Kind::kL1) return sum + std::fabs(x);
  return std::fabs(x) > sum ? std::fabs(x) : sum;
}
template <Kind kKind>
double Both(double a, double b) {
  return kKind == Kind::kMax ? std::fmax(a, b) : a + b;
}

/// Eight sums side by side: an order that the compiler can keep in vectors.
template <Kind kKind>
double Of(const double* x, size_t n) {
  std::array<double, 8> sums{};
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (size_t j = 0; j < 8; ++j) sums[j] = Into<kKind>(sums[j], x[i + j]);
  for (; i < n; ++i) sums[i % 8] = Into<kKind>(sums[i % 8], x[i]);
  for (size_t half = 4; half > 0; half /= 2)
    for (size_t j = 0; j < half; ++j) sums[j] = Both<kKind>(sums[j], sums[j + half]);
  return sums[0];
}

template <Kind kKind>
class Norm final : public ReadingFunction {
 public:
  Norm(std::vector<uint32_t> columns, uint32_t width) : columns_(std::move(columns)), width_(width) {}

  FunctionValue Map(const RangeReader& rows) const override {
    double sum = 0;
    std::vector<double> chosen;
    rows.Each([&](const TableRows& block) {
      if (columns_.size() == width_) {
        sum = Both<kKind>(sum, Of<kKind>(block.values, block.n * width_));
        return;
      }
      chosen.clear();
      for (size_t i = 0; i < block.n; ++i)
        for (const uint32_t column : columns_) chosen.push_back(block.row(i)[column]);
      sum = Both<kKind>(sum, Of<kKind>(chosen.data(), chosen.size()));
    });
    return {{}, {sum}};
  }
  absl::Status CheckPart(const FunctionValue& part) const override {
    if (part.keys.empty() && part.numbers.size() == 1) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("norm: a part of ", part.keys.size(), " keys and ", part.numbers.size(), " numbers, expected one number"));
  }
  FunctionValue Merge(FunctionValue low, FunctionValue high) const override { return {{}, {Both<kKind>(low.numbers[0], high.numbers[0])}}; }
  FunctionValue Finish(FunctionValue whole) const override {
    if (kKind == Kind::kL2) whole.numbers[0] = std::sqrt(whole.numbers[0]);
    return whole;
  }

 private:
  const std::vector<uint32_t> columns_;   // rising
  const size_t width_;
};

const RegisterFunction registration({.name = "norm", .read = [](ArgumentReader& arguments) -> std::unique_ptr<ReadingFunction> {
                                       const std::string kind = arguments.Word("kind", {"l2", "l1", "max"});
                                       std::vector<uint32_t> columns = arguments.Columns();
                                       const uint32_t width = arguments.table().width;
                                       if (kind == "l1") return std::make_unique<Norm<Kind::kL1>>(std::move(columns), width);
                                       if (kind == "max") return std::make_unique<Norm<Kind::kMax>>(std::move(columns), width);
                                       return std::make_unique<Norm<Kind::kL2>>(std::move(columns), width);
                                     }});

}   // namespace
}   // namespace troupe
