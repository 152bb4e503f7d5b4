// Rule momentum: v = m v + g;  w -= rate * v.  State: v, one an element, from 0. Penalties: l2 adds l2 * w to g, l1 is the proximal step over the same rate.
// Source: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964 (the heavy ball).
#include "ps/internal/element_rule.h"

namespace troupe {
namespace {

struct Momentum {
  static constexpr uint32_t kArrays = 2;
  static constexpr bool kCountsSteps = false;
  float rate, l1, l2, momentum;

  template <bool kPenalised>
  void Step(float at, float& value, float& velocity, float gradient) const {
    if constexpr (kPenalised) gradient += l2 * value;
    velocity = momentum * velocity + gradient;
    value -= at * velocity;
    if constexpr (kPenalised) value = internal::SoftThreshold(value, at * l1);
  }
};

const RegisterRule registration({.name = "momentum",
                                 .options = {internal::LearningRate(), {"momentum", 0.9, 0, 0.9999}},
                                 .make = [](const RuleNumbers& n) -> std::unique_ptr<UpdateRule> {
                                   return std::make_unique<internal::ElementRule<Momentum>>(internal::MakeKernel<Momentum>(n, n.options[1]), n);
                                 }});

}   // namespace
}   // namespace troupe
