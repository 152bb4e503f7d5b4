// Function histogram_merge: adds up rows that are histograms of one thing, each pushed under a key of its own (by worker, by tree node): rows whose keys leave
// the same rest when divided by `groups`.
//   groups   how many things there are, 1 .. 2^53
// Answers the groups that have rows, rising, and a histogram of the table's width for each.
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ps/function.h"

namespace troupe {
namespace {

class HistogramMerge final : public ReadingFunction {
 public:
  HistogramMerge(uint64_t groups, uint32_t width) : groups_(groups), width_(width) {}

  FunctionValue Map(const RangeReader& rows) const override {
    std::map<Key, std::vector<double>> sums;
    rows.Each([&](const TableRows& block) {
      for (size_t i = 0; i < block.n; ++i) {
        std::vector<double>& sum = sums[block.key(i) % groups_];
        sum.resize(width_);
        for (size_t j = 0; j < width_; ++j) sum[j] += block.values[i * width_ + j];
      }
    });
    FunctionValue part;
    for (const auto& [group, sum] : sums) {
      part.keys.push_back(group);
      part.numbers.insert(part.numbers.end(), sum.begin(), sum.end());
    }
    return part;
  }
  absl::Status CheckPart(const FunctionValue& part) const override {
    bool rising = part.keys.empty() || part.keys.back() < groups_;
    for (size_t i = 1; i < part.keys.size(); ++i) rising = rising && part.keys[i - 1] < part.keys[i];
    if (rising && part.numbers.size() == part.keys.size() * width_) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("histogram_merge: a part of ", part.keys.size(), " groups and ", part.numbers.size(),
                                                   " numbers, expected rising groups below ", groups_, " and ", width_, " numbers for each"));
  }
  FunctionValue Merge(FunctionValue low, FunctionValue high) const override {
    FunctionValue both;
    for (size_t i = 0, j = 0; i < low.keys.size() || j < high.keys.size();) {
      const bool from_low = i < low.keys.size() && (j == high.keys.size() || low.keys[i] <= high.keys[j]);
      const bool from_high = j < high.keys.size() && (i == low.keys.size() || high.keys[j] <= low.keys[i]);
      both.keys.push_back(from_low ? low.keys[i] : high.keys[j]);
      for (size_t n = 0; n < width_; ++n) both.numbers.push_back((from_low ? low.numbers[i * width_ + n] : 0) + (from_high ? high.numbers[j * width_ + n] : 0));
      i += from_low;
      j += from_high;
    }
    return both;
  }

 private:
  const uint64_t groups_;
  const size_t width_;
};

const RegisterFunction registration({.name = "histogram_merge", .read = [](ArgumentReader& arguments) -> std::unique_ptr<ReadingFunction> {
                                       return std::make_unique<HistogramMerge>(arguments.Whole("groups", std::nullopt, 1, uint64_t{1} << 53),
                                                                               arguments.table().width);
                                     }});

}   // namespace
}   // namespace troupe
