// Rule adam: m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= rate * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon).  State: m and v an element, and
// a row's own count t of the pushes that touched it, so that a rare row is corrected for its own short history. Source: Kingma, Ba, "Adam: A Method for
// Stochastic Optimization", ICLR 2015, Algorithm 1. l2 adds l2 * w to the gradient; l1 is the proximal step over each element's own rate: Yun, Lozano, Yang,
// "Adaptive Proximal Gradient Methods for Structured Neural Networks", NeurIPS 2021.
#include "ps/internal/element_rule.h"

namespace troupe {
namespace {

/// Adam at a given t: `rate` and `root` carry the bias corrections.
struct AdamStep {
  float rate;   // learning rate / (1 - b1^t)
  float root;   // 1 / sqrt(1 - b2^t)
  float learning_rate, beta1, beta2, epsilon, l1, l2;

  template <bool kPenalised>
  void Step(float& value, float& mean, float& square, float gradient) const {
    if constexpr (kPenalised) gradient += l2 * value;
    mean = beta1 * mean + (1 - beta1) * gradient;
    square = beta2 * square + (1 - beta2) * (gradient * gradient);
    const float scale = root * std::sqrt(square) + epsilon;
    value -= rate * mean / scale;
    if constexpr (kPenalised) value = internal::SoftThreshold(value, learning_rate * l1 / scale);
  }
};

class Adam {
 public:
  static constexpr uint32_t kSlots = 2;
  static constexpr bool kCountsSteps = true;

  explicit Adam(const RuleNumbers& n) : rate_(n.options[0]), beta1_(n.options[1]), beta2_(n.options[2]) {
    base_ = {.rate = 0,
             .root = 0,
             .learning_rate = static_cast<float>(rate_),
             .beta1 = static_cast<float>(beta1_),
             .beta2 = static_cast<float>(beta2_),
             .epsilon = static_cast<float>(n.options[3]),
             .l1 = static_cast<float>(n.l1),
             .l2 = static_cast<float>(n.l2)};
    for (uint32_t t = 0; t < kTabulated; ++t) steps_.push_back(Corrected(t));
  }

  AdamStep AtStep(float step) const { return step < kTabulated ? steps_[static_cast<size_t>(step)] : Corrected(step); }

 private:
  static constexpr uint32_t kTabulated = 4096;

  AdamStep Corrected(double step) const {
    AdamStep at = base_;
    at.rate = static_cast<float>(rate_ / (1 - std::pow(beta1_, step)));
    at.root = static_cast<float>(1 / std::sqrt(1 - std::pow(beta2_, step)));
    return at;
  }

  double rate_, beta1_, beta2_;
  AdamStep base_;
  std::vector<AdamStep> steps_;   // by t; the first is never used
};

const RegisterRule registration(
    {.name = "adam",
     .options = {{"learning_rate", 0.1, 1e-12, 1e6}, {"beta1", 0.9, 0, 0.99999}, {"beta2", 0.999, 0, 0.999999}, {"epsilon", 1e-8, 1e-12, 1}},
     .penalties = true,
     .make = [](const RuleNumbers& n) -> std::unique_ptr<UpdateRule> { return std::make_unique<internal::ElementRule<Adam>>(Adam(n), n); }});

}   // namespace
}   // namespace troupe
