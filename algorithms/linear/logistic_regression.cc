// Binary logistic regression by mini-batch gradient steps. Table "w": weights of the features, key 0 the intercept. Labels 0 or 1. Loss: log loss, nats.
// Source: Hastie, Tibshirani, Friedman, "The Elements of Statistical Learning", 2nd ed., sec. 4.4.1.
#include <algorithm>
#include <cmath>
#include <utility>

#include "algorithms/registry.h"
#include "algorithms/step.h"

namespace troupe {
namespace {

class LogisticRegression final : public StepAlgorithm {
 public:
  Task task() const override { return Task::kBinary; }
  std::string doc() const override {
    return "binary logistic regression by mini-batch gradient steps (Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, sec. 4.4.1)";
  }

 protected:
  /// With e = exp(-|m|), which never overflows: loss = max(m, 0) - y m + log(1 + e). The logarithms are taken of products of 512 factors of at most 2.
  double Derivative(std::span<const float> margin, std::span<const float> labels, std::span<float> derivative) const override {
    double loss = 0, product = 1;
    for (size_t i = 0; i < margin.size(); ++i) {
      const float m = margin[i], y = labels[i], e = std::exp(-std::abs(m));
      derivative[i] = (m >= 0 ? 1 : e) / (1 + e) - y;
      loss += std::max(m, 0.0f) - y * m;
      product *= 1.0 + static_cast<double>(e);
      if (i % 512 == 511) loss += std::log(std::exchange(product, 1));
    }
    return loss + std::log(product);
  }
  float Prediction(float margin) const override {
    const float e = std::exp(-std::abs(margin));
    return (margin >= 0 ? 1 : e) / (1 + e);
  }
};

TROUPE_REGISTER("logistic_regression", LogisticRegression);

}   // namespace
}   // namespace troupe
