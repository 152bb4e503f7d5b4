// Rule nesterov: v = m v + g;  w -= rate * (g + m v), the gradient being taken where w will be.  State: v, one an element, from 0. Penalties: l2 adds l2 * w to
// g, l1 is the proximal step over the same rate.
// Source: Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning", ICML 2013, eqs. 3-4, in the form that keeps
// the point of the gradient: Bengio, Boulanger-Lewandowski, Pascanu, "Advances in optimizing recurrent networks", 2013, sec. 3.5.
#include "ps/internal/element_rule.h"

namespace troupe {
namespace {

struct Nesterov {
  static constexpr uint32_t kArrays = 2;
  static constexpr bool kCountsSteps = false;
  float rate, l1, l2, momentum;

  template <bool kPenalised>
  void Step(float at, float& value, float& velocity, float gradient) const {
    if constexpr (kPenalised) gradient += l2 * value;
    velocity = momentum * velocity + gradient;
    value -= at * (gradient + momentum * velocity);
    if constexpr (kPenalised) value = internal::SoftThreshold(value, at * l1);
  }
};

const RegisterRule registration({.name = "nesterov",
                                 .options = {internal::LearningRate(), {"momentum", 0.9, 0, 0.9999}},
                                 .make = [](const RuleNumbers& n) -> std::unique_ptr<UpdateRule> {
                                   return std::make_unique<internal::ElementRule<Nesterov>>(internal::MakeKernel<Nesterov>(n, n.options[1]), n);
                                 }});

}   // namespace
}   // namespace troupe
