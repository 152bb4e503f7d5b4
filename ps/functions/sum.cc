// Function sum: adds up all rows. Answers width + 1 numbers: the sums of the columns, then how many rows there are (sparse: only those that exist).
// Sums are of doubles; a table of rule add gives its counts exactly to 2^53.
#include <utility>

#include "absl/strings/str_cat.h"
#include "ps/function.h"

namespace troupe {
namespace {

class Sum final : public ReadingFunction {
 public:
  explicit Sum(uint32_t width) : width_(width) {}

  FunctionValue Map(const RangeReader& rows) const override {
    FunctionValue part{{}, std::vector<double>(width_ + 1)};
    double* sums = part.numbers.data();
    rows.Each([&](const TableRows& block) {
      for (size_t i = 0; i < block.n; ++i)
        for (size_t j = 0; j < width_; ++j) sums[j] += block.values[i * width_ + j];
      sums[width_] += static_cast<double>(block.n);
    });
    return part;
  }
  absl::Status CheckPart(const FunctionValue& part) const override {
    if (part.keys.empty() && part.numbers.size() == width_ + 1) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("sum: a part of ", part.keys.size(), " keys and ", part.numbers.size(), " numbers, expected ", width_ + 1, " numbers"));
  }
  FunctionValue Merge(FunctionValue low, FunctionValue high) const override {
    for (size_t i = 0; i <= width_; ++i) low.numbers[i] += high.numbers[i];
    return low;
  }

 private:
  const size_t width_;
};

const RegisterFunction registration({.name = "sum", .read = [](ArgumentReader& arguments) -> std::unique_ptr<ReadingFunction> {
                                       return std::make_unique<Sum>(arguments.table().width);
                                     }});

}   // namespace
}   // namespace troupe
