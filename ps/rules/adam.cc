// Rule adam: m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= rate * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon).  State: m and v an element, and
// a row's own count t of the pushes that touched it, so that a rare row is corrected for its own short history. Source: Kingma, Ba, "Adam: A Method for
// Stochastic Optimization", ICLR 2015, Algorithm 1. l2 adds l2 * w to the gradient; l1 is the proximal step over each element's own rate: Yun, Lozano, Yang,
// "Adaptive Proximal Gradient Methods for Structured Neural Networks", NeurIPS 2021.
#include "ps/internal/adam_kernel.h"

namespace troupe {
namespace {

const RegisterRule registration({.name = "adam", .options = internal::AdamOptions(), .make = [](const RuleNumbers& n) -> std::unique_ptr<UpdateRule> {
                                   return std::make_unique<internal::ElementRule<internal::Adam>>(internal::Adam(n), n);
                                 }});

}   // namespace
}   // namespace troupe
