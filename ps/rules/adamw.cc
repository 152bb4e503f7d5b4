// Rule adamw: adam, and w -= rate * decay * w beside it: the decay goes by the learning rate alone, not by each element's own. State as adam.
// Source: Loshchilov, Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, Algorithm 2.
#include "ps/internal/adam_kernel.h"

namespace troupe {
namespace {

std::vector<RuleOption> Options() {
  std::vector<RuleOption> options = internal::AdamOptions();
  options.push_back({"decay", 0.01, 0, 1});
  return options;
}

const RegisterRule registration({.name = "adamw", .options = Options(), .make = [](const RuleNumbers& n) -> std::unique_ptr<UpdateRule> {
                                   RuleNumbers numbers = n;
                                   numbers.weight_decay += n.options[4];
                                   return std::make_unique<internal::ElementRule<internal::Adam>>(internal::Adam(n), numbers);
                                 }});

}   // namespace
}   // namespace troupe
