// Rule add: value += g, with the rounding error kept beside it: counts are exact to 2^48, and sums far beyond a float's 24 bits. State: the error, one an
// element. Source: the error of a float sum by Knuth, "The Art of Computer Programming", vol. 2, sec. 4.2.2, theorem B (TwoSum); then Dekker's shorter form,
// which holds because the sum is the larger of the two.
#include "ps/internal/element_rule.h"

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__)
#error "rule add needs the sums as written: no -ffast-math, no -fassociative-math"
#endif

namespace troupe {
namespace {

struct Add {
  static constexpr uint32_t kArrays = 2;
  static constexpr bool kCountsSteps = false;
  float rate = 1;

  template <bool kPenalised>
  void Step(float, float& value, float& error, float gradient) const {
    const float sum = value + gradient;
    const float part = sum - value;
    const float lost = (value - (sum - part)) + (gradient - part) + error;
    value = sum + lost;
    error = lost - (value - sum);
  }
};

class AddRule final : public internal::ElementRule<Add> {
 public:
  using ElementRule::ElementRule;
  bool wide() const override { return true; }
  void Set(float* row, uint32_t width, bool, const float* values) const override { std::fill_n(std::copy_n(values, width, row), width, 0.0f); }
  void SetDense(const DenseRows& rows, const float* values) const override {
    float* at = rows.arrays + rows.first * rows.width;
    std::copy_n(values, rows.n * rows.width, at);
    std::fill_n(at + rows.stride, rows.n * rows.width, 0.0f);
  }
  double Value(const float* row, uint32_t width, uint32_t i, bool) const override { return double{row[i]} + double{row[width + i]}; }
};

const RegisterRule registration(
    {.name = "add", .options = {}, .penalties = false, .scales = false, .make = [](const RuleNumbers& n) -> std::unique_ptr<UpdateRule> {
       return std::make_unique<AddRule>(Add{}, n);
     }});

}   // namespace
}   // namespace troupe
