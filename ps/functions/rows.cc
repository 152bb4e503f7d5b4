// Function rows: the rows of one range as they are, for whoever wants all of a table, range by range.
//   range    which, 0 .. ranges - 1
// Answers the keys of its rows (sparse: only those that exist), rising, and width numbers for each.
#include <utility>

#include "absl/strings/str_cat.h"
#include "ps/function.h"

namespace troupe {
namespace {

class RowsOfRange final : public ReadingFunction {
 public:
  RowsOfRange(uint32_t range, uint32_t width) : range_(range), width_(width) {}

  FunctionValue Map(const RangeReader& rows) const override {
    FunctionValue part;
    if (rows.range() != range_) return part;
    part.keys.reserve(rows.rows());
    part.numbers.reserve(rows.rows() * width_);
    rows.Each([&](const TableRows& block) {
      for (size_t i = 0; i < block.n; ++i) part.keys.push_back(block.key(i));
      part.numbers.insert(part.numbers.end(), block.values, block.values + block.n * width_);
    });
    return part;
  }
  absl::Status CheckPart(const FunctionValue& part) const override {
    if (part.numbers.size() == part.keys.size() * width_) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("rows: a part of ", part.keys.size(), " keys and ", part.numbers.size(), " numbers, expected ", width_, " for each"));
  }
  /// At most one of the two has any.
  FunctionValue Merge(FunctionValue low, FunctionValue high) const override { return low.keys.empty() ? std::move(high) : std::move(low); }

 private:
  const uint32_t range_;
  const size_t width_;
};

const RegisterFunction registration({.name = "rows", .read = [](ArgumentReader& arguments) -> std::unique_ptr<ReadingFunction> {
                                       const auto last = RangeCount(arguments.table()) - 1;
                                       const auto range = static_cast<uint32_t>(arguments.Whole("range", std::nullopt, 0, last));
                                       return std::make_unique<RowsOfRange>(range, arguments.table().width);
                                     }});

}   // namespace
}   // namespace troupe
