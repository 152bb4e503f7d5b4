// Rule ftrl: s = (sqrt(n + g^2) - sqrt(n)) / alpha;  z += g - s w;  n += g^2;  w = 0 where |z| <= l1, else -(z - sign(z) l1) / ((beta + sqrt(n)) / alpha + l2).
// A row is z and n; its values are made of them when they are read. A value that is assigned becomes the z that gives it.
// Source: McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013, Algorithm 1 (FTRL-Proximal) and sec. 3 (only z and n are kept).
#include "ps/internal/element_rule.h"

namespace troupe {
namespace {

struct Ftrl {
  static constexpr uint32_t kArrays = 2;
  static constexpr bool kCountsSteps = false;
  float rate;   // alpha
  float l1, l2, beta;
  float inverse;   // 1 / alpha: a product takes a fifth of a division

  float Read(float z, float n, bool penalised) const {
    const float by_rate = (beta + std::sqrt(n)) * inverse;
    return penalised ? 0.0f - internal::SoftThreshold(z, l1) / (by_rate + l2) : 0.0f - z / by_rate;
  }
  void Set(float value, float& z, float n, bool penalised) const {
    const float by_rate = (beta + std::sqrt(n)) * inverse;
    if (value == 0) {
      z = 0;
    } else {
      z = penalised ? -value * (by_rate + l2) - std::copysign(l1, value) : -value * by_rate;
    }
  }

  template <bool kPenalised>
  void Step(float, float& z, float& n, float gradient) const {
    const float sum = n + gradient * gradient;
    const float root = std::sqrt(sum), before = std::sqrt(n);
    const float by_rate = (beta + before) * inverse;
    float value;
    if constexpr (kPenalised) {
      value = 0.0f - internal::SoftThreshold(z, l1) / (by_rate + l2);
    } else {
      value = 0.0f - z / by_rate;
    }
    z += gradient - (root - before) * inverse * value;
    n = sum;
  }
};

const RegisterRule registration({.name = "ftrl",
                                 .options = {internal::LearningRate(), {"beta", 1, 1e-6, 1e6}},
                                 .scales = false,
                                 .make = [](const RuleNumbers& n) -> std::unique_ptr<UpdateRule> {
                                   return std::make_unique<internal::ElementRule<Ftrl>>(internal::MakeKernel<Ftrl>(n, n.options[1], 1 / n.options[0]), n);
                                 }});

}   // namespace
}   // namespace troupe
