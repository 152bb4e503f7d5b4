// Rule sgd: w -= rate * g.  With penalties: g + l2 * w for g, then the proximal step of l1 over the same rate (FOBOS).
// Source: Robbins, Monro, "A Stochastic Approximation Method", 1951; Duchi, Singer, JMLR 2009 (see SoftThreshold).
#include "ps/internal/element_rule.h"

namespace troupe {
namespace {

struct Sgd {
  static constexpr uint32_t kArrays = 1;
  static constexpr bool kCountsSteps = false;
  float rate, l1, l2;

  template <bool kPenalised>
  void Step(float at, float& value, float gradient) const {
    if constexpr (kPenalised) {
      value = internal::SoftThreshold(value - at * (gradient + l2 * value), at * l1);
    } else {
      value -= at * gradient;
    }
  }
};

const RegisterRule registration({.name = "sgd", .options = {internal::LearningRate()}, .make = [](const RuleNumbers& n) -> std::unique_ptr<UpdateRule> {
                                   return std::make_unique<internal::ElementRule<Sgd>>(internal::MakeKernel<Sgd>(n), n);
                                 }});

}   // namespace
}   // namespace troupe
