// Function count: how many rows there are (sparse: only those that exist), without reading them. Answers one number, exact to 2^53.
#include <utility>

#include "absl/strings/str_cat.h"
#include "ps/function.h"

namespace troupe {
namespace {

class Count final : public ReadingFunction {
 public:
  FunctionValue Map(const RangeReader& rows) const override { return {{}, {static_cast<double>(rows.rows())}}; }
  absl::Status CheckPart(const FunctionValue& part) const override {
    if (part.keys.empty() && part.numbers.size() == 1) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("count: a part of ", part.keys.size(), " keys and ", part.numbers.size(), " numbers, expected one number"));
  }
  FunctionValue Merge(FunctionValue low, FunctionValue high) const override {
    low.numbers[0] += high.numbers[0];
    return low;
  }
};

const RegisterFunction registration({.name = "count", .read = [](ArgumentReader&) -> std::unique_ptr<ReadingFunction> { return std::make_unique<Count>(); }});

}   // namespace
}   // namespace troupe
