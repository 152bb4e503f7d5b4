// Rule rmsprop: s = d s + (1 - d) g^2;  w -= rate * g / (sqrt(s) + epsilon).  State: s, one an element, from 0. Penalties: l2 adds l2 * w to g, l1 is the
// proximal step over each element's own rate.
// Source: Tieleman, Hinton, "Lecture 6.5: rmsprop", Coursera: Neural Networks for Machine Learning, 2012.
#include "ps/internal/element_rule.h"

namespace troupe {
namespace {

struct RmsProp {
  static constexpr uint32_t kArrays = 2;
  static constexpr bool kCountsSteps = false;
  float rate, l1, l2, decay, epsilon;

  template <bool kPenalised>
  void Step(float at, float& value, float& squares, float gradient) const {
    if constexpr (kPenalised) gradient += l2 * value;
    squares = decay * squares + (1 - decay) * (gradient * gradient);
    const float scale = std::sqrt(squares) + epsilon;
    value -= at * gradient / scale;
    if constexpr (kPenalised) value = internal::SoftThreshold(value, at * l1 / scale);
  }
};

const RegisterRule registration({.name = "rmsprop",
                                 .options = {{"learning_rate", 0.01, 1e-12, 1e6}, {"decay", 0.9, 0, 0.999999}, {"epsilon", 1e-8, 1e-12, 1}},
                                 .make = [](const RuleNumbers& n) -> std::unique_ptr<UpdateRule> {
                                   return std::make_unique<internal::ElementRule<RmsProp>>(internal::MakeKernel<RmsProp>(n, n.options[1], n.options[2]), n);
                                 }});

}   // namespace
}   // namespace troupe
