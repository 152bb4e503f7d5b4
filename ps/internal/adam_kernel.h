// Adam's kernel, shared by the rules adam and adamw, which differ in their penalties.
#pragma once

#include <cmath>
#include <vector>

#include "ps/internal/element_rule.h"

namespace troupe::internal {

/// Adam at a given t: `mean_scale` and `root` carry the bias corrections.
struct AdamStep {
  float rate, l1, l2;
  float mean_scale;   // 1 / (1 - b1^t)
  float root;         // 1 / sqrt(1 - b2^t)
  float beta1, beta2, epsilon;

  struct Corrections {
    float mean_scale, root;
  };
  AdamStep With(const Corrections& corrections) const {
    AdamStep at = *this;
    at.mean_scale = corrections.mean_scale;
    at.root = corrections.root;
    return at;
  }

  template <bool kPenalised>
  void Step(float at, float& value, float& mean, float& square, float gradient) const {
    if constexpr (kPenalised) gradient += l2 * value;
    mean = beta1 * mean + (1 - beta1) * gradient;
    square = beta2 * square + (1 - beta2) * (gradient * gradient);
    const float scale = root * std::sqrt(square) + epsilon;
    value -= at * mean_scale * mean / scale;
    if constexpr (kPenalised) value = SoftThreshold(value, at * l1 / scale);
  }
};

/// options: learning_rate, beta1, beta2, epsilon.
class Adam {
 public:
  static constexpr uint32_t kArrays = 3;
  static constexpr bool kCountsSteps = true;

  explicit Adam(const RuleNumbers& n) : beta1_(n.options[1]), beta2_(n.options[2]) {
    base_ = MakeKernel<AdamStep>(n, 0, 0, n.options[1], n.options[2], n.options[3]);
    while (corrections_.size() < kTabulated && !AreOver()) corrections_.push_back(At(static_cast<double>(corrections_.size())));
  }

  using Corrections = AdamStep::Corrections;
  AdamStep AtStep(float step) const { return base_.With(CorrectionsAt(step)); }
  Corrections CorrectionsAt(float step) const {
    if (step > 0 && step < static_cast<float>(corrections_.size())) [[likely]]
      return corrections_[static_cast<size_t>(step)];
    return step > 0 && AreOver() ? corrections_.back() : At(step);
  }

 private:
  static constexpr uint32_t kTabulated = 20'000;   // where both are 1 with the usual beta2 of 0.999

  /// From the last of them on, all are the same.
  bool AreOver() const { return corrections_.size() > 1 && corrections_.back().mean_scale == 1 && corrections_.back().root == 1; }

  Corrections At(double step) const {
    return {static_cast<float>(1 / (1 - std::pow(beta1_, step))), static_cast<float>(1 / std::sqrt(1 - std::pow(beta2_, step)))};
  }

  double beta1_, beta2_;
  AdamStep base_;
  std::vector<Corrections> corrections_;   // by t; the first is never used
};

inline std::vector<RuleOption> AdamOptions() {
  return {{"learning_rate", 0.001, 1e-12, 1e6}, {"beta1", 0.9, 0, 0.99999}, {"beta2", 0.999, 0, 0.999999}, {"epsilon", 1e-8, 1e-12, 1}};
}

}   // namespace troupe::internal
