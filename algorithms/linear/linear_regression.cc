// Linear regression by mini-batch gradient steps. Table "w": weights of the features, key 0 the intercept. Labels: any finite number.
// Loss: half the squared error. Source: Hastie, Tibshirani, Friedman, "The Elements of Statistical Learning", 2nd ed., sec. 3.2.
#include "algorithms/registry.h"
#include "algorithms/step.h"

namespace troupe {
namespace {

class LinearRegression final : public StepAlgorithm {
 public:
  Task task() const override { return Task::kRegression; }
  std::string doc() const override {
    return "linear regression, squared loss, by mini-batch gradient steps (Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, sec. 3.2)";
  }

 protected:
  double Derivative(std::span<const float> margin, std::span<const float> labels, std::span<float> derivative) const override {
    double loss = 0;
    for (size_t i = 0; i < margin.size(); ++i) {
      derivative[i] = margin[i] - labels[i];
      loss += 0.5 * static_cast<double>(derivative[i]) * static_cast<double>(derivative[i]);
    }
    return loss;
  }
  float Prediction(float margin) const override { return margin; }
};

TROUPE_REGISTER("linear_regression", LinearRegression);

}   // namespace
}   // namespace troupe
