// Rule adagrad: s += g^2;  w -= rate * g / (sqrt(s) + 1e-8).  State: s, one an element, from 0.
// Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", JMLR 2011: fig. 1 with a diagonal matrix; the
// l1 penalty is its composite mirror descent update (sec. 5.1): the proximal step over each element's own rate. l2 adds l2 * w to the gradient.
#include "ps/internal/element_rule.h"

namespace troupe {
namespace {

struct AdaGrad {
  static constexpr uint32_t kArrays = 2;
  static constexpr bool kCountsSteps = false;
  static constexpr float kEpsilon = 1e-8f;
  float rate, l1, l2;

  template <bool kPenalised>
  void Step(float at, float& value, float& squares, float gradient) const {
    if constexpr (kPenalised) gradient += l2 * value;
    squares += gradient * gradient;
    const float scale = std::sqrt(squares) + kEpsilon;
    value -= at * gradient / scale;
    if constexpr (kPenalised) value = internal::SoftThreshold(value, at * l1 / scale);
  }
};

const RegisterRule registration({.name = "adagrad", .options = {internal::LearningRate()}, .make = [](const RuleNumbers& n) -> std::unique_ptr<UpdateRule> {
                                   return std::make_unique<internal::ElementRule<AdaGrad>>(internal::MakeKernel<AdaGrad>(n), n);
                                 }});

}   // namespace
}   // namespace troupe
