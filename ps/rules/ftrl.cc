// Rule ftrl: s = (sqrt(n + g^2) - sqrt(n)) / alpha;  z += g - s w;  n += g^2;  w = 0 where |z| <= l1, else -(z - sign(z) l1) / ((beta + sqrt(n)) / alpha + l2).
// State: z and n an element. A value that was assigned without a push holds until the next push, which makes w from z and n.
// Source: McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013, Algorithm 1 (FTRL-Proximal), with w made at the push and not at the pull.
#include "ps/internal/element_rule.h"

namespace troupe {
namespace {

struct Ftrl {
  static constexpr uint32_t kSlots = 2;
  static constexpr bool kCountsSteps = false;
  float alpha, beta, l1, l2;

  template <bool kPenalised>
  void Step(float& value, float& z, float& n, float gradient) const {
    const float sum = n + gradient * gradient;
    const float root = std::sqrt(sum);
    z += gradient - (root - std::sqrt(n)) / alpha * value;
    n = sum;
    const float rate = (beta + root) / alpha;
    if constexpr (kPenalised) {
      value = 0.0f - internal::SoftThreshold(z, l1) / (rate + l2);
    } else {
      value = 0.0f - z / rate;
    }
  }
};

const RegisterRule registration(
    {.name = "ftrl",
     .options = {{"learning_rate", 0.1, 1e-12, 1e6}, {"beta", 1, 1e-6, 1e6}},
     .penalties = true,
     .make = [](const RuleNumbers& n) -> std::unique_ptr<UpdateRule> {
       const Ftrl ftrl{static_cast<float>(n.options[0]), static_cast<float>(n.options[1]), static_cast<float>(n.l1), static_cast<float>(n.l2)};
       return std::make_unique<internal::ElementRule<Ftrl>>(ftrl, n);
     }});

}   // namespace
}   // namespace troupe
