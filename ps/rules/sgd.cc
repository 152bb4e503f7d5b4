// Rule sgd: w -= rate * g.  With penalties: g + l2 * w for g, then the proximal step of l1 over the same rate (FOBOS).
// Source: Robbins, Monro, "A Stochastic Approximation Method", 1951; Duchi, Singer, JMLR 2009 (see SoftThreshold).
#include "ps/internal/element_rule.h"

namespace troupe {
namespace {

struct Sgd {
  static constexpr uint32_t kSlots = 0;
  static constexpr bool kCountsSteps = false;
  float rate, l1, l2;

  template <bool kPenalised>
  void Step(float& value, float gradient) const {
    if constexpr (kPenalised) {
      value = internal::SoftThreshold(value - rate * (gradient + l2 * value), rate * l1);
    } else {
      value -= rate * gradient;
    }
  }
};

const RegisterRule registration(
    {.name = "sgd", .options = {{"learning_rate", 0.1, 1e-12, 1e6}}, .penalties = true, .make = [](const RuleNumbers& n) -> std::unique_ptr<UpdateRule> {
       const Sgd sgd{static_cast<float>(n.options[0]), static_cast<float>(n.l1), static_cast<float>(n.l2)};
       return std::make_unique<internal::ElementRule<Sgd>>(sgd, n);
     }});

}   // namespace
}   // namespace troupe
